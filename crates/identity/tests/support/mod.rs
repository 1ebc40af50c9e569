//! Certificate chains, good and hostile, always the same bytes.

#![allow(dead_code, reason = "each target uses a part of it")]

#[path = "../../../../fuzz/fuzz_targets/parse_chain/chain.rs"]
pub(crate) mod chain;
pub(crate) mod der;
pub(crate) mod issue;
pub(crate) mod samples;

use std::path::PathBuf;

/// Where the corpus of the fuzz target lies.
pub(crate) fn corpus_dir() -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../fuzz/corpus/parse_chain"
    ))
}
