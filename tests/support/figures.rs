//! What was seen of faults at full scale, for the page on performance.

use std::path::PathBuf;
use std::sync::Mutex;

use leafgate_loadtest::{FAULTS, Machine, day, load_average, markdown_row};

use super::act;

/// Adds a row to the table of faults in the document that `LEAFGATE_FIGURES` names, as `make chaos` does. Without it
/// nothing is written: at a small scale figures mean nothing.
///
/// `count` is how often it happened.
pub fn record_fault(what: &str, count: usize, outcome: &str) {
    static DOCUMENT: Mutex<()> = Mutex::new(());
    let Some(document) = std::env::var_os("LEAFGATE_FIGURES") else {
        return;
    };
    let _document = DOCUMENT.lock().unwrap();
    let row = markdown_row(&[
        day(act().at),
        what.to_owned(),
        count.to_string(),
        outcome.to_owned(),
        format!("{:.2}", load_average().unwrap()),
        Machine::this().unwrap().to_string(),
    ]);
    FAULTS.add(&PathBuf::from(document), vec![row]).unwrap();
}
