//! `leafgate keys`.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use leafgate_nats_jwt::{CurveKey, KeyKind, SigningKey};
#[expect(
    clippy::disallowed_types,
    reason = "the program is an edge: it draws random numbers"
)]
use rand_core::OsRng;
use secrecy::ExposeSecret;
use serde::Serialize;

use super::Context;
use super::error::{CliError, Exit};
use super::files::write_new_secret;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make a key: its seed goes into a new file, its public half is printed.
    Generate {
        /// What the key stands for.
        kind: Kind,
        /// The file for the seed, which must not exist.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// Signs the callout's answers (SA…, A…).
    Account,
    /// Logs a replica, a leaf link or an application in (SU…, U…).
    User,
    /// Identifies a server (SN…, N…).
    Server,
    /// Opens what is sealed for the callout (SX…, X…).
    Curve,
}

#[derive(Serialize)]
struct Generated<'a> {
    kind: &'a str,
    public_key: String,
    seed_file: &'a Path,
}

pub(super) fn run(command: &Command, context: &Context) -> Result<Exit, CliError> {
    let Command::Generate { kind, out } = command;
    let (public_key, seed) = generate(*kind);
    write_new_secret(out, seed.expose_secret())?;
    let kind = kind.to_possible_value();
    let generated = Generated {
        kind: kind.as_ref().map_or("", |kind| kind.get_name()),
        public_key,
        seed_file: out,
    };
    context
        .console
        .show(&generated, |_| generated.public_key.clone())?;
    Ok(Exit::Done)
}

fn generate(kind: Kind) -> (String, secrecy::SecretString) {
    let signing = |kind| {
        let key = SigningKey::generate(kind, &mut OsRng);
        (key.public().as_str().to_owned(), key.seed().clone())
    };
    match kind {
        Kind::Account => signing(KeyKind::Account),
        Kind::User => signing(KeyKind::User),
        Kind::Server => signing(KeyKind::Server),
        Kind::Curve => {
            let key = CurveKey::generate(&mut OsRng);
            (key.public().as_str().to_owned(), key.seed().clone())
        }
    }
}
