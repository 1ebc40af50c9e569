//! `leafgate device export`.

use std::path::{Path, PathBuf};

use futures::StreamExt;
use leafgate_api::Device;
use leafgate_runtime::Clock;

use super::ReadingArguments;
use crate::cli::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::files::{draft_public, publish};
use crate::cli::progress::Progress;
use crate::cli::registry::Registry;
use crate::cli::table::count;
use crate::local::Draft;

/// How much is written at once.
const PIECE_BYTES: usize = 64 * 1024;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    filter: ReadingArguments,
    /// The file for them, which comes into being whole or not at all; without it they are printed.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) async fn run(
    registry: &dyn Registry,
    context: &Context,
    arguments: &Arguments,
) -> Result<Exit, CliError> {
    let filter = arguments.filter.at(context.clock.now());
    let mut place = match arguments.out.as_deref() {
        Some(path) => Place::File(draft_public(path)?),
        None => Place::Output(context),
    };
    let mut devices = registry.export(&filter).await?;
    let progress = Progress::new(None, arguments.out.is_none());
    let mut piece = String::new();
    let mut seen = 0;
    while let Some(device) = devices.next().await.transpose()? {
        piece.push_str(&line(&device)?);
        seen += 1;
        progress.advance(1, || count(seen, "device"));
        if piece.len() >= PIECE_BYTES {
            place.write(&piece)?;
            piece.clear();
        }
    }
    place.write(&piece)?;
    drop(progress);
    if let Place::File(draft) = place {
        let path = draft.path().to_owned();
        publish(draft, "")?;
        let (devices, path) = (count(seen, "device"), Path::display(&path));
        context
            .console
            .print_text(&format!("{devices} in {path}"))?;
    }
    Ok(Exit::Done)
}

fn line(device: &Device) -> Result<String, CliError> {
    let text = serde_json::to_string(device);
    let text =
        text.map_err(|error| CliError::new(Exit::Wrong, format!("can't write JSON: {error}")))?;
    Ok(text + "\n")
}

enum Place<'a> {
    File(Draft),
    Output(&'a Context),
}

impl Place<'_> {
    fn write(&mut self, piece: &str) -> Result<(), CliError> {
        match self {
            Self::Output(context) => context.console.print_raw(piece.as_bytes()),
            Self::File(draft) => draft
                .append(piece)
                .map_err(|error| CliError::file("write", draft.path(), &error)),
        }
    }
}
