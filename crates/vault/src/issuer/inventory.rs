use async_trait::async_trait;
use leafgate_identity::SerialNumber;
use leafgate_pki::{Inventory, InventoryError};
use reqwest::Method;
use serde_json::{Value, json};

use super::VaultIssuer;
use crate::failure::Failure;

#[async_trait]
impl Inventory for VaultIssuer {
    async fn serials(&self) -> Result<Vec<SerialNumber>, InventoryError> {
        self.list("certs").await
    }

    async fn certificate(&self, serial: &SerialNumber) -> Result<Option<Vec<u8>>, InventoryError> {
        let path = format!("{}/cert/{}", self.engine.mount, with_colons(serial));
        let answer = self.engine.vault.request(Method::GET, &path, None).await?;
        if answer.status == 404 {
            return Ok(None);
        }
        let text = answer.body.pointer("/data/certificate");
        let block = text.and_then(Value::as_str).map(pem::parse);
        match block {
            Some(Ok(block)) => Ok(Some(block.into_contents())),
            _ => Err(self.engine.odd(&path, &answer).into()),
        }
    }

    async fn revoked(&self) -> Result<Vec<SerialNumber>, InventoryError> {
        self.list("certs/revoked").await
    }

    async fn revoke(&self, serial: &SerialNumber) -> Result<(), InventoryError> {
        let path = format!("{}/revoke", self.engine.mount);
        let body = json!({ "serial_number": with_colons(serial) });
        let answer = self
            .engine
            .vault
            .request(Method::POST, &path, Some(&body))
            .await?;
        if answer.status < 300 || self.certificate(serial).await?.is_none() {
            return Ok(());
        }
        Err(self.engine.odd(&path, &answer).into())
    }
}

impl VaultIssuer {
    async fn list(&self, folder: &str) -> Result<Vec<SerialNumber>, InventoryError> {
        let path = format!("{}/{folder}", self.engine.mount);
        let list = Method::from_bytes(b"LIST").expect("a token (RFC 9110 section 5.6.2)");
        let answer = self.engine.vault.request(list, &path, None).await?;
        let keys = answer.body.pointer("/data/keys").and_then(Value::as_array);
        match keys {
            Some(keys) => Ok(keys
                .iter()
                .filter_map(|key| parse_serial(key.as_str()?))
                .collect()),
            None if answer.status == 404 && answer.errors().is_empty() => Ok(Vec::new()),
            None => Err(self.engine.odd(&path, &answer).into()),
        }
    }
}

/// `39:dd:2e:…`, as Vault names certificates.
fn with_colons(serial: &SerialNumber) -> String {
    let bytes: Vec<String> = serial
        .as_be_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    bytes.join(":")
}

/// A certificate's name in Vault: hexadecimal with `:` or `-`. Other names in the same folder are of no certificate.
fn parse_serial(text: &str) -> Option<SerialNumber> {
    let bytes: Option<Vec<u8>> = text
        .split([':', '-'])
        .map(|byte| u8::from_str_radix(byte, 16).ok())
        .collect();
    SerialNumber::from_be_bytes(&bytes?).ok()
}

impl From<Failure> for InventoryError {
    fn from(failure: Failure) -> Self {
        match failure {
            failure @ Failure::Unsupported(_) => Self::Failed(failure.into()),
            failure => Self::Unavailable(failure.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_numbers_are_named_as_vault_does() {
        let serial = SerialNumber::from_be_bytes(&[0x39, 0x0d, 0xff]).unwrap();
        assert_eq!(with_colons(&serial), "39:0d:ff");
        assert_eq!(parse_serial("39:0d:ff"), Some(serial));
        assert_eq!(parse_serial("39-0d-ff"), Some(serial));
        assert_eq!(parse_serial("unified"), None);
    }
}
