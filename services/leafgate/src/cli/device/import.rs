//! `leafgate device import`.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use leafgate_api::{ImportOutcome, ImportResult};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::cli::Context;
use crate::cli::console::{Colour, plain};
use crate::cli::error::{CliError, Exit};
use crate::cli::progress::Progress;
use crate::cli::registry::{Line, Registry};
use crate::cli::table::count;

/// Far longer than the longest line that a registry takes.
const MAX_LINE_BYTES: u64 = 1 << 20;
/// Lines that are read ahead.
const AHEAD: usize = 1024;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The devices (NDJSON): on each line one, as in {"id": "0001", "device_type": "pump"} with
    /// "site", "attributes", "trust_domain" and "pending" where wanted; - reads standard input.
    file: PathBuf,
}

pub(super) async fn run(
    registry: &dyn Registry,
    context: &Context,
    arguments: &Arguments,
) -> Result<Exit, CliError> {
    let input = Input::open(&arguments.file)?;
    let progress = Progress::new(input.length, false);
    let (lines, reading) = input.lines();
    let mut results = registry.import(lines).await?;
    let mut counts: HashMap<ImportOutcome, usize> = HashMap::new();
    while let Some(result) = results.next().await.transpose()? {
        *counts.entry(result.outcome).or_default() += 1;
        progress.beside(|| show(context, &result))?;
        progress.advance(1, || summary(&counts));
    }
    drop(progress);
    // What could not be read comes before how many there were.
    let read = reading.await;
    read.map_err(|error| CliError::new(Exit::Wrong, error.to_string()))??;
    context.console.print_text(&summary(&counts))?;
    Ok(match counts.get(&ImportOutcome::Failed) {
        None => Exit::Done,
        Some(_) => Exit::Wrong,
    })
}

/// To people, only what went wrong.
fn show(context: &Context, result: &ImportResult) -> Result<(), CliError> {
    context.console.show_some(result, |style| {
        let problem = result.problem.as_ref()?;
        let id = result.id.as_ref().map(|id| format!(" ({id})"));
        let failed = style.paint(Colour::Bad, "failed:");
        Some(format!(
            "line {}{} {failed} {}",
            result.line,
            id.unwrap_or_default(),
            plain(&problem.detail)
        ))
    })
}

fn summary(counts: &HashMap<ImportOutcome, usize>) -> String {
    let of = |outcome| counts.get(&outcome).copied().unwrap_or(0);
    format!(
        "{} registered, {} unchanged, {} failed",
        count(of(ImportOutcome::Registered), "device"),
        of(ImportOutcome::Unchanged),
        of(ImportOutcome::Failed)
    )
}

/// Where the lines come from.
struct Input {
    path: PathBuf,
    source: Box<dyn BufRead + Send>,
    /// How many lines there are, if that can be told.
    length: Option<u64>,
}

impl Input {
    fn open(path: &Path) -> Result<Self, CliError> {
        let unreadable = |error: io::Error| CliError::file("read", path, &error);
        if path == Path::new("-") {
            return Ok(Self {
                path: path.to_owned(),
                source: Box::new(BufReader::new(io::stdin())),
                length: None,
            });
        }
        let open = || File::open(path).map_err(unreadable);
        let file = open()?;
        let is_file = file.metadata().map_err(unreadable)?.is_file();
        let length = is_file.then(open).transpose()?;
        let length = length.map(lines_in).transpose().map_err(unreadable)?;
        Ok(Self {
            path: path.to_owned(),
            source: Box::new(BufReader::new(file)),
            length,
        })
    }

    /// The lines that hold something, read on a thread of their own, and how the reading ends.
    fn lines(mut self) -> (BoxStream<'static, Line>, JoinHandle<Result<(), CliError>>) {
        let (sender, receiver) = mpsc::channel(AHEAD);
        let reading = tokio::task::spawn_blocking(move || {
            let mut number = 0;
            while let Some(text) = self.next(number + 1)? {
                number += 1;
                let is_blank = text.trim().is_empty();
                // Nobody takes any more where the import has failed.
                if !is_blank && sender.blocking_send(Line { number, text }).is_err() {
                    break;
                }
            }
            Ok(())
        });
        let lines = stream::unfold(receiver, |mut receiver| async {
            receiver.recv().await.map(|line| (line, receiver))
        });
        (lines.boxed(), reading)
    }

    fn next(&mut self, number: u64) -> Result<Option<String>, CliError> {
        let mut line = Vec::new();
        let read = (&mut self.source)
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut line);
        let length = read.map_err(|error| CliError::file("read", &self.path, &error))?;
        if length == 0 {
            return Ok(None);
        }
        if line.last() != Some(&b'\n') && line.len() as u64 == MAX_LINE_BYTES {
            let error = format!(
                "{}:{number}: the line is longer than 1 MiB",
                self.path.display()
            );
            return Err(CliError::usage(error).hint("write one device on each line (NDJSON)"));
        }
        let text = String::from_utf8_lossy(&line);
        Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
    }
}

fn lines_in(mut file: File) -> io::Result<u64> {
    let mut buffer = vec![0; 64 * 1024];
    let mut lines = 0;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(lines);
        }
        let ends = buffer[..read].iter().filter(|byte| **byte == b'\n');
        lines += ends.count() as u64;
    }
}
