use leafgate_registry::FeedPosition;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::pending::Write;
use crate::failure::Failure;
use crate::kv::{Doc, Kv, all};
use crate::layout;

/// Writes of this many bytes of JSON stand in the head; it is read with every look-up.
const INLINE_BYTES: usize = 32 * 1024;

/// Larger commits are in parts of about this many bytes: Consul takes 512 KiB a document, Vault's own storage 1 MiB.
const PART_BYTES: usize = 192 * 1024;

/// The document at the end of the chain.
pub(super) struct Head {
    pub(super) position: FeedPosition,
    pub(super) commit: String,
    pub(super) pending: Pending,
}

/// The writes of the newest commit, unless they are known to be carried out.
pub(super) enum Pending {
    None,
    /// In the head itself.
    Writes(Vec<Write>),
    /// In this many documents below [`layout::COMMITS`].
    Parts(usize),
}

#[derive(Serialize, Deserialize)]
struct Stored {
    epoch: String,
    seq: u64,
    hash: String,
    commit: String,
    #[serde(default)]
    writes: Vec<Write>,
    #[serde(default)]
    parts: usize,
}

impl Head {
    /// The head that a document is; none if there is none.
    pub(super) fn of(kv: &Kv, doc: &Doc) -> Result<Option<Self>, Failure> {
        let Some(data) = &doc.data else {
            return Ok(None);
        };
        let wrong = |problem: &dyn std::fmt::Display| {
            Failure::Record(format!("{}: {problem}", kv.name(layout::HEAD)))
        };
        let stored: Stored =
            serde_json::from_value(Value::Object(data.clone())).map_err(|error| wrong(&error))?;
        let position = FeedPosition {
            epoch: stored.epoch.parse().map_err(|error| wrong(&error))?,
            seq: stored.seq,
            hash: stored.hash.parse().map_err(|error| wrong(&error))?,
        };
        Ok(Some(Self {
            position,
            commit: stored.commit,
            pending: match (stored.parts, stored.writes) {
                (0, writes) if writes.is_empty() => Pending::None,
                (0, writes) => Pending::Writes(writes),
                (parts, _) => Pending::Parts(parts),
            },
        }))
    }

    pub(super) fn data(&self) -> Map<String, Value> {
        let (writes, parts): (&[Write], usize) = match &self.pending {
            Pending::None => (&[], 0),
            Pending::Writes(writes) => (writes, 0),
            Pending::Parts(parts) => (&[], *parts),
        };
        let data = json!({
            "epoch": self.position.epoch.to_string(),
            "seq": self.position.seq,
            "hash": self.position.hash,
            "commit": self.commit,
            "writes": writes,
            "parts": parts,
        });
        object(data)
    }
}

/// The writes, cut into parts; none if they fit into the head.
pub(super) fn cut(writes: &[Write]) -> Option<Vec<&[Write]>> {
    let sizes: Vec<_> = writes
        .iter()
        .map(|write| json!(write).to_string().len())
        .collect();
    if sizes.iter().sum::<usize>() <= INLINE_BYTES {
        return None;
    }
    let (mut parts, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (place, size) in sizes.iter().enumerate() {
        if place > start && bytes + size > PART_BYTES {
            parts.push(&writes[start..place]);
            (start, bytes) = (place, 0);
        }
        bytes += size;
    }
    parts.push(&writes[start..]);
    Some(parts)
}

fn part(commit: &str, number: usize) -> String {
    format!("{}/{commit}/{number:05}", layout::COMMITS)
}

/// Writes the parts of a commit that is to come.
pub(super) async fn write_parts(kv: &Kv, commit: &str, parts: &[&[Write]]) -> Result<(), Failure> {
    let acts = parts.iter().enumerate().map(async |(number, writes)| {
        let data = object(json!({ "writes": writes }));
        // One that is there is what an earlier attempt wrote.
        kv.write(&part(commit, number), 0, &data).await
    });
    all(acts.collect()).await?;
    Ok(())
}

/// The writes of a commit from its parts; none if one is gone.
pub(super) async fn read_parts(
    kv: &Kv,
    commit: &str,
    count: usize,
) -> Result<Option<Vec<Write>>, Failure> {
    let acts = (0..count).map(async |number| kv.read(&part(commit, number)).await);
    let mut writes = Vec::new();
    for (number, doc) in all(acts.collect()).await?.into_iter().enumerate() {
        let Some(mut data) = doc.data else {
            return Ok(None);
        };
        let stored = data.remove("writes").unwrap_or_default();
        let some: Vec<Write> = serde_json::from_value(stored).map_err(|error| {
            Failure::Record(format!("{}: {error}", kv.name(&part(commit, number))))
        })?;
        writes.extend(some);
    }
    Ok(Some(writes))
}

/// Removes what there is of the parts of a commit.
pub(super) async fn remove_parts(kv: &Kv, commit: &str) -> Result<(), Failure> {
    let folder = format!("{}/{commit}", layout::COMMITS);
    let names = kv.list(&folder).await?;
    let acts = names
        .iter()
        .map(async |name| kv.purge(&format!("{folder}/{name}")).await);
    all(acts.collect()).await?;
    Ok(())
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => unreachable!("it is written as an object"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writes(count: usize, bytes: usize) -> Vec<Write> {
        let write = |number| Write {
            path: format!("devices/{number}"),
            version: 0,
            data: Some(object(json!({ "text": "x".repeat(bytes) }))),
        };
        (0..count).map(write).collect()
    }

    #[test]
    fn small_commits_are_not_cut() {
        assert!(cut(&[]).is_none());
        assert!(cut(&writes(10, 1_000)).is_none());
    }

    #[test]
    fn large_commits_are_cut_into_parts_that_are_not_too_large() {
        for (count, bytes) in [(1, 40_000), (1, 400_000), (500, 1_000), (3, 150_000)] {
            let writes = writes(count, bytes);
            let parts = cut(&writes).expect("a large commit");
            assert_eq!(parts.concat(), writes);
            for part in parts {
                let size = json!(part).to_string().len();
                assert!(part.len() == 1 || size < 256 * 1024, "{size}");
            }
        }
    }
}
