//! `leafgate ca`.

use std::path::{Path, PathBuf};

use leafgate_identity::{SpkiHash, UnixMs, certificate_blocks};
use leafgate_pki::{CaDirectory, Intermediate, RootKey};
use leafgate_runtime::{Clock, read_secret};
use serde::Serialize;
use x509_parser::pem::parse_x509_pem;

use super::error::{CliError, Exit};
use super::files::read_text;
use super::moment::relative;
use super::table::Table;
use super::{Context, crl, root, rotate};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make a root, its revocation list, and the two intermediates that sign devices and servers.
    Init {
        /// The folder for the CA, which must be empty or not exist.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// The file for the root's key, encrypted; keep it away from every service.
        #[arg(long, value_name = "FILE")]
        root_out: PathBuf,
        /// The file that holds the passphrase of the root's key.
        #[arg(long, value_name = "FILE")]
        passphrase_file: PathBuf,
    },
    /// Show the certificates of a CA.
    Show {
        /// The folder that `leafgate ca init` made.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// Write the revocation lists: new ones of devices and servers, and that of the root.
    Crl(crl::Arguments),
    /// Renew the revocation list of the root, which is current for a year.
    RootCrl(root::Arguments),
    /// Replace the intermediate that signs devices or servers: prepare, activate, retire.
    Rotate(rotate::Arguments),
}

#[derive(Serialize)]
struct CaView {
    certificates: Vec<AuthorityView>,
}

#[derive(Serialize)]
struct AuthorityView {
    name: String,
    file: PathBuf,
    subject: String,
    /// What trust domains and logs call an issuer.
    public_key: SpkiHash,
    not_before: UnixMs,
    not_after: UnixMs,
}

pub(super) async fn run(command: &Command, context: &Context) -> Result<Exit, CliError> {
    match command {
        Command::Init {
            out,
            root_out,
            passphrase_file,
        } => {
            let passphrase = &read_secret(passphrase_file)?;
            let root_key = RootKey::Encrypted {
                out: root_out,
                passphrase,
            };
            let ca = leafgate_pki::init(out, root_key, context.clock.now())?;
            let next = format!(
                "The root's key is in {}: keep it and its passphrase offline, apart from each other.",
                root_out.display()
            );
            show(&ca, Some(&next), context)
        }
        Command::Show { folder } => {
            let ca = CaDirectory::open(folder)
                .map_err(|error| CliError::caused(Exit::NotFound, &error))?;
            show(&ca, None, context)
        }
        Command::Crl(arguments) => crl::run(arguments, context).await,
        Command::RootCrl(arguments) => root::run(arguments, context),
        Command::Rotate(arguments) => rotate::run(arguments, context).await,
    }
}

fn show(ca: &CaDirectory, next: Option<&str>, context: &Context) -> Result<Exit, CliError> {
    let view = CaView {
        certificates: [
            read("root", &ca.root_certificate())?,
            read("devices", &ca.certificate(Intermediate::Devices))?,
            read("servers", &ca.certificate(Intermediate::Servers))?,
        ]
        .into_iter()
        .flatten()
        .collect(),
    };
    context.console.show(&view, |style| {
        let mut table = Table::new(&["NAME", "SUBJECT", "EXPIRES", "FILE", "PUBLIC KEY"]);
        for it in &view.certificates {
            table.push(vec![
                it.name.as_str().into(),
                it.subject.as_str().into(),
                relative(it.not_after, context.clock.now()).into(),
                it.file.display().to_string().into(),
                it.public_key.to_string().into(),
            ]);
        }
        let next = next.iter().map(|next| format!("\n{next}"));
        format!("{}{}", table.render(style), next.collect::<String>())
    })?;
    Ok(Exit::Done)
}

/// The certificates in a file, one at least.
fn read(name: &str, file: &Path) -> Result<Vec<AuthorityView>, CliError> {
    let text = read_text(file)?;
    let blocks = certificate_blocks(&text);
    if blocks.is_empty() {
        return Err(unreadable(file));
    }
    let all = blocks
        .into_iter()
        .map(|block| read_block(name, file, block));
    all.collect()
}

fn unreadable(file: &Path) -> CliError {
    CliError::usage(format!("{} holds no certificate", file.display()))
}

fn read_block(name: &str, file: &Path, block: &str) -> Result<AuthorityView, CliError> {
    let unreadable = || unreadable(file);
    let (_, pem) = parse_x509_pem(block.as_bytes()).map_err(|_| unreadable())?;
    let certificate = pem.parse_x509().map_err(|_| unreadable())?;
    let validity = certificate.validity();
    Ok(AuthorityView {
        name: name.to_owned(),
        subject: certificate.subject().to_string(),
        public_key: SpkiHash::of_spki_der(certificate.public_key().raw),
        not_before: UnixMs::from_secs(validity.not_before.timestamp()),
        not_after: UnixMs::from_secs(validity.not_after.timestamp()),
        file: file.to_owned(),
    })
}
