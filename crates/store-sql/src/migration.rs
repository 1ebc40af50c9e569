use std::fmt::Display;

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;
use leafgate_registry::StoreError;

/// One step of a schema. Steps are only ever added: one that was released never changes again.
pub(crate) struct Migration {
    pub(crate) version: i64,
    pub(crate) name: &'static str,
    pub(crate) sql: &'static str,
}

impl Migration {
    pub(crate) fn checksum(&self) -> String {
        HEXLOWER.encode(digest::digest(&digest::SHA256, self.sql.as_bytes()).as_ref())
    }
}

/// The steps of `known` that a database still lacks, after a check that those it has, in their order with version and
/// checksum, are ours.
///
/// # Errors
/// [`StoreError::Unsupported`] if it has others.
pub(crate) fn pending(
    known: &'static [Migration],
    applied: &[(i64, String)],
    database: &impl Display,
) -> Result<&'static [Migration], StoreError> {
    for (place, (version, checksum)) in applied.iter().enumerate() {
        let what = match known.get(place) {
            Some(step) if step.version == *version && step.checksum() == *checksum => continue,
            Some(step) => format!(
                "step {} ({}) of the schema of {database} is not the one that this program has: \
                 it was edited; use the leafgate that made it, or restore a backup",
                step.version, step.name
            ),
            None => format!(
                "{database} has schema {version}, this program knows only up to {}: use a newer leafgate",
                known.len()
            ),
        };
        return Err(StoreError::Unsupported { what });
    }
    Ok(&known[applied.len()..])
}

/// What to say of a database that lacks a step and is opened for reading only.
pub(crate) fn lacks(database: &impl Display, step: &Migration) -> StoreError {
    StoreError::Unsupported {
        what: format!(
            "{database} lacks step {} ({}) of the schema; let a process of this version that may write open it first",
            step.version, step.name
        ),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Fails where a released step was edited, or steps are not numbered from 1 without gaps.
    pub(crate) fn assert_as_released(known: &[Migration], checksums: &[&str]) {
        let found: Vec<_> = known
            .iter()
            .map(|step| (step.version, step.checksum()))
            .collect();
        let expected: Vec<_> = (1..)
            .zip(checksums.iter().map(ToString::to_string))
            .collect();
        assert_eq!(found, expected);
    }
}
