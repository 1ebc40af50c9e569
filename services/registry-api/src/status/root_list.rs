use std::path::Path;

use bytes::Bytes;
use leafgate_pki::{ParseListError, SignedList};

use super::RevocationStatus;
use super::issuer::{ServedList, entity_tag};

impl RevocationStatus {
    /// The root's list as its file has it now: whoever takes the root's key out of the safe replaces the file.
    pub(super) async fn root_list(&self) -> Option<ServedList> {
        let path = self.root_list.as_ref()?;
        match read(path).await {
            Ok(list) => {
                self.root_list_fault.ends();
                Some(list)
            }
            Err(error) => {
                if self.root_list_fault.begins() {
                    tracing::warn!(
                        path = %path.display(),
                        error = &error as &dyn std::error::Error,
                        "the root's revocation list can't be served"
                    );
                }
                None
            }
        }
    }
}

async fn read(path: &Path) -> Result<ServedList, ReadListError> {
    let list = SignedList::parse(&tokio::fs::read(path).await?)?;
    Ok(ServedList {
        tag: entity_tag(&list.der),
        der: Bytes::from(list.der),
        this_update: list.this_update,
        next_update: list.next_update,
    })
}

#[derive(Debug, thiserror::Error)]
enum ReadListError {
    #[error("its file can't be read")]
    File(#[from] std::io::Error),
    #[error("its file holds something else")]
    Content(#[from] ParseListError),
}
