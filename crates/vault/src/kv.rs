use std::collections::HashMap;

use futures::stream::{self, StreamExt, TryStreamExt};
use leafgate_identity::UnixMs;
use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::client::Vault;
use crate::client::http::Answer;
use crate::failure::Failure;

/// How many requests one act sends at a time.
const CONCURRENCY: usize = 16;

/// A KV engine, version 2 (<https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2>).
#[derive(Debug, Clone)]
pub(crate) struct Kv {
    vault: Vault,
    mount: String,
}

/// A document as it was read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Doc {
    /// What Vault counts with every write, whoever writes; 0 if there never was one. A deleted document keeps its own.
    pub(crate) version: u64,
    /// Its content; none if it is deleted or never was.
    pub(crate) data: Option<Map<String, Value>>,
    /// When this version was written, by Vault's clock.
    pub(crate) written_at: Option<UnixMs>,
}

impl Kv {
    /// The engine at `mount`.
    ///
    /// # Errors
    /// There is none, or it is another one: version 1 takes the requests of version 2 for keys of odd names.
    pub(crate) async fn open(vault: Vault, mount: &str) -> Result<Self, Failure> {
        let mount = mount.trim_matches('/').to_owned();
        let path = format!("sys/internal/ui/mounts/{mount}");
        match vault.request(Method::GET, &path, None).await {
            Ok(answer) => {
                let version = answer
                    .body
                    .pointer("/data/options/version")
                    .and_then(Value::as_str);
                if version != Some("2") {
                    return Err(Failure::Unsupported(format!(
                        "{mount} at Vault at {} is no KV engine of version 2; make one: vault secrets enable -path={mount} \
                         kv-v2, or upgrade it: vault kv enable-versioning {mount}",
                        vault.address()
                    )));
                }
            }
            // Whoever may not know is told by the first request that it makes.
            Err(Failure::Denied { .. }) => {}
            Err(failure) => return Err(failure),
        }
        Ok(Self { vault, mount })
    }

    /// How a person finds a document.
    pub(crate) fn name(&self, path: &str) -> String {
        format!("{}/{path}", self.mount)
    }

    pub(crate) fn mount(&self) -> &str {
        &self.mount
    }

    pub(crate) fn address(&self) -> String {
        self.vault.address()
    }

    /// Reads a document.
    pub(crate) async fn read(&self, path: &str) -> Result<Doc, Failure> {
        let url = format!("{}/data/{path}", self.mount);
        let answer = self.vault.request(Method::GET, &url, None).await?;
        self.check_found(&answer)?;
        let metadata = answer.body.pointer("/data/metadata");
        let Some(metadata) = metadata else {
            return match answer.status {
                404 => Ok(Doc::default()),
                _ => Err(self.odd(path, &answer)),
            };
        };
        let version = metadata.get("version").and_then(Value::as_u64);
        let data = answer.body.pointer("/data/data");
        let written_at = metadata.get("created_time").and_then(Value::as_str);
        Ok(Doc {
            version: version.ok_or_else(|| self.odd(path, &answer))?,
            data: data.and_then(Value::as_object).cloned(),
            written_at: written_at.and_then(|text| text.parse().ok()),
        })
    }

    /// Reads documents, some at a time.
    pub(crate) async fn read_all(
        &self,
        paths: impl IntoIterator<Item = String>,
    ) -> Result<HashMap<String, Doc>, Failure> {
        let reads: Vec<_> = paths
            .into_iter()
            .map(async |path| Ok::<_, Failure>((self.read(&path).await?, path)))
            .collect();
        stream::iter(reads)
            .buffer_unordered(CONCURRENCY)
            .map_ok(|(doc, path)| (path, doc))
            .try_collect()
            .await
    }

    /// Writes a document where it is still at `version`, and says whether it was.
    pub(crate) async fn write(
        &self,
        path: &str,
        version: u64,
        data: &Map<String, Value>,
    ) -> Result<bool, Failure> {
        let url = format!("{}/data/{path}", self.mount);
        let body = json!({ "options": { "cas": version }, "data": data });
        let answer = self.vault.request(Method::POST, &url, Some(&body)).await?;
        self.check_found(&answer)?;
        let written = answer.body.pointer("/data/version").and_then(Value::as_u64);
        match written {
            Some(_) => Ok(true),
            None if answer
                .errors()
                .contains("check-and-set parameter did not match") =>
            {
                Ok(false)
            }
            None => Err(self.odd(path, &answer)),
        }
    }

    /// Removes a document with all of its versions, as if it had never been.
    pub(crate) async fn purge(&self, path: &str) -> Result<(), Failure> {
        let url = format!("{}/metadata/{path}", self.mount);
        let answer = self.vault.request(Method::DELETE, &url, None).await?;
        self.check_found(&answer)?;
        if answer.status == 400 {
            return Err(self.odd(path, &answer));
        }
        Ok(())
    }

    /// The names in a folder, deleted documents among them; those of folders end with `/`.
    pub(crate) async fn list(&self, folder: &str) -> Result<Vec<String>, Failure> {
        let url = format!("{}/metadata/{folder}", self.mount);
        let list = Method::from_bytes(b"LIST").expect("a token (RFC 9110 section 5.6.2)");
        let mut answer = self.vault.request(list, &url, None).await?;
        self.check_found(&answer)?;
        let keys = answer.body.pointer_mut("/data/keys").map(Value::take);
        match keys.map(serde_json::from_value) {
            Some(Ok(names)) => Ok(names),
            None if answer.status == 404 => Ok(Vec::new()),
            _ => Err(self.odd(folder, &answer)),
        }
    }

    /// 404 tells of a missing document without, of a missing engine with errors.
    fn check_found(&self, answer: &Answer) -> Result<(), Failure> {
        let errors = answer.errors();
        if answer.status == 404 && !errors.is_empty() {
            return Err(Failure::Unsupported(format!(
                "there is no KV engine at {} of Vault at {}{errors}; make one: vault secrets enable -path={} kv-v2",
                self.mount,
                self.vault.address(),
                self.mount
            )));
        }
        Ok(())
    }

    fn odd(&self, path: &str, answer: &Answer) -> Failure {
        Failure::Unwell {
            address: format!("{}, asked for {}", self.vault.address(), self.name(path)),
            status: answer.status,
            errors: answer.errors(),
        }
    }
}

/// Carries out acts, some at a time, until one fails.
pub(crate) async fn all<T>(
    acts: Vec<impl Future<Output = Result<T, Failure>>>,
) -> Result<Vec<T>, Failure> {
    stream::iter(acts).buffered(CONCURRENCY).try_collect().await
}
