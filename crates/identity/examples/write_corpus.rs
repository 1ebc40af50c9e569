//! Writes the seed corpus of the fuzz target `parse_chain` from the samples that the tests use:
//! `cargo run -p leafgate-identity --example write_corpus`. Files of other names, such as inputs
//! that a fuzzer found, stay.

#[path = "../tests/support/mod.rs"]
mod support;

use std::{fs, io};

fn main() -> io::Result<()> {
    let dir = support::corpus_dir();
    fs::create_dir_all(&dir)?;
    for sample in support::samples::all() {
        fs::write(dir.join(sample.file), sample.bytes)?;
    }
    Ok(())
}
