//! The corpus of the fuzz target `parse_chain`, on every toolchain.

mod support;

use std::{collections::BTreeMap, fs};
use support::{chain, corpus_dir, samples};

#[test]
fn every_file_of_the_corpus_holds() {
    let mut files = 0;
    for entry in fs::read_dir(corpus_dir()).expect("the corpus") {
        let path = entry.expect("an entry").path();
        chain::check(&fs::read(&path).expect("a file"));
        files += 1;
    }
    assert!(files >= samples::all().len());
}

#[test]
fn the_corpus_holds_every_sample_as_it_is_made() {
    let mut names = BTreeMap::new();
    for sample in samples::all() {
        let file = sample.file;
        assert_eq!(names.insert(file, ()), None, "{file} occurs twice");
        let committed = fs::read(corpus_dir().join(file)).unwrap_or_default();
        assert!(
            committed == sample.bytes,
            "{file} differs; run `cargo run -p leafgate-identity --example write_corpus`"
        );
    }
}
