use leafgate_identity::UnixMs;
use leafgate_registry::{Cursor, Document, DocumentKind, DocumentName, Page};
use serde::de::DeserializeOwned;

use crate::content::{decode, document_name};
use crate::error::RegistrarError;
use crate::registrar::Registrar;

/// How many documents one transaction forgets.
const FORGET_AT_ONCE: usize = 1000;

impl Registrar {
    /// Forgets the documents whose time is over: requests, keys and tokens long ended, certificates. To be called every
    /// few minutes. Gives their number.
    ///
    /// # Errors
    /// The store fails.
    pub async fn forget_expired_documents(&self, now: UnixMs) -> Result<usize, RegistrarError> {
        let mut forgotten = 0;
        loop {
            let some = self.store.forget_expired(now, FORGET_AT_ONCE).await?;
            forgotten += some;
            if some < FORGET_AT_ONCE {
                return Ok(forgotten);
            }
        }
    }

    /// A document with its content.
    pub(crate) async fn document<T: DeserializeOwned>(
        &self,
        kind: DocumentKind,
        name: &str,
    ) -> Result<Option<(Document, T)>, RegistrarError> {
        let document = self.store.document(kind, &document_name(name)).await?;
        let Some(document) = document else {
            return Ok(None);
        };
        let content = decode(&document)?;
        Ok(Some((document, content)))
    }

    /// The contents of documents of a kind.
    pub(crate) async fn documents<T: DeserializeOwned>(
        &self,
        kind: DocumentKind,
        after: Option<&Cursor<DocumentName>>,
        limit: usize,
    ) -> Result<Page<T, DocumentName>, RegistrarError> {
        let page = self.store.documents(kind, after, limit).await?;
        Ok(Page {
            items: page.items.iter().map(decode).collect::<Result<_, _>>()?,
            next: page.next,
        })
    }
}
