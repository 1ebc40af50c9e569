//! What documents hold, and what they are called.

use leafgate_registry::{Document, DocumentName, StoreError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::RegistrarError;

pub(crate) fn decode<T: DeserializeOwned>(document: &Document) -> Result<T, RegistrarError> {
    T::deserialize(&document.body).map_err(|error| {
        let Document { kind, name, .. } = document;
        RegistrarError::Store(StoreError::Corrupt {
            what: format!("{kind} {name}: {error}"),
        })
    })
}

pub(crate) fn encode(content: &impl Serialize) -> Value {
    serde_json::to_value(content).expect("records of texts, numbers and times are JSON")
}

/// The name of a document from ids and hashes, which are all of its alphabet.
pub(crate) fn document_name(text: &str) -> DocumentName {
    DocumentName::parse(text).expect("ids and hashes name documents")
}
