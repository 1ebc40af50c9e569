use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::kv::Doc;

/// A write of one document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Write {
    pub(crate) path: String,
    /// The version that it is to replace; 0 if there must be no such document.
    pub(crate) version: u64,
    /// What the document then holds; none if it is removed.
    pub(crate) data: Option<Map<String, Value>>,
}

/// The writes of a commit.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    writes: Vec<Write>,
    by_path: HashMap<String, usize>,
}

impl Pending {
    pub(crate) fn new(writes: Vec<Write>) -> Self {
        let places = writes.iter().enumerate();
        let by_path = places.map(|(place, write)| (write.path.clone(), place));
        Self {
            by_path: by_path.collect(),
            writes,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    pub(crate) fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// What a document is once its write was carried out, whether it was by the time that it was read or not.
    pub(crate) fn overlay(&self, path: &str, read: Doc) -> Doc {
        let write = self.by_path.get(path).map(|place| &self.writes[*place]);
        match write {
            Some(write) if write.version == read.version => Doc {
                version: read.version + 1,
                data: write.data.clone(),
                written_at: None,
            },
            _ => read,
        }
    }

    /// What a folder gets.
    pub(crate) fn names_in(&self, folder: &str) -> impl Iterator<Item = String> {
        let made = self.writes.iter().filter(|write| write.data.is_some());
        made.filter_map(move |write| {
            let name = write.path.strip_prefix(folder)?.strip_prefix('/')?;
            Some(match name.split_once('/') {
                Some((folder, _)) => format!("{folder}/"),
                None => name.to_owned(),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn content(value: &Value) -> Option<Map<String, Value>> {
        value.as_object().cloned()
    }

    fn write(path: &str, version: u64, data: Option<Map<String, Value>>) -> Write {
        Write {
            path: path.to_owned(),
            version,
            data,
        }
    }

    fn doc(version: u64, data: Option<Map<String, Value>>) -> Doc {
        Doc {
            version,
            data,
            written_at: None,
        }
    }

    #[test]
    fn a_write_counts_until_it_is_carried_out_and_never_over_what_is_newer() {
        let (old, new) = (content(&json!({"a": 1})), content(&json!({"a": 2})));
        let pending = Pending::new(vec![write("devices/x", 3, new.clone())]);
        let seen = |read: Doc| {
            let doc = pending.overlay("devices/x", read);
            (doc.version, doc.data)
        };
        assert_eq!(seen(doc(3, old.clone())), (4, new.clone()));
        assert_eq!(seen(doc(4, new.clone())), (4, new));
        let by_hand = content(&json!({"a": 9}));
        assert_eq!(seen(doc(5, by_hand.clone())), (5, by_hand));
        assert_eq!(pending.overlay("devices/y", doc(3, old.clone())).data, old);
    }

    #[test]
    fn a_removal_counts_too() {
        let pending = Pending::new(vec![write("a", 1, None)]);
        assert_eq!(pending.overlay("a", doc(1, content(&json!({})))).data, None);
        assert_eq!(pending.overlay("a", doc(0, None)).data, None);
    }

    #[test]
    fn folders_get_what_is_made() {
        let some = || content(&json!({}));
        let pending = Pending::new(vec![
            write("a/b", 0, some()),
            write("a/c/d", 0, some()),
            write("a/e", 1, None),
            write("ab/f", 0, some()),
        ]);
        let mut names: Vec<_> = pending.names_in("a").collect();
        names.sort();
        assert_eq!(names, ["b", "c/"]);
    }
}
