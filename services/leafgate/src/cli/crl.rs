//! `leafgate ca crl`.

use std::path::{Path, PathBuf};

use leafgate_identity::UnixMs;
use leafgate_pki::{Intermediate, crl_pem};
use leafgate_runtime::Clock;
use serde::Serialize;
use x509_parser::parse_x509_crl;
use x509_parser::pem::parse_x509_pem;

use super::Context;
use super::certificate::expiry_cell;
use super::error::{CliError, Exit};
use super::files::{draft_public, make_folder, publish, read_text};
use super::registry::RegistryArguments;
use super::table::{NONE, Table};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    registry: RegistryArguments,
    /// The folder for root.crl, devices.crl and servers.crl (PEM); older ones are replaced.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Serialize)]
struct ListsView {
    crls: Vec<CrlView>,
}

#[derive(Serialize)]
struct CrlView {
    issuer: String,
    file: PathBuf,
    number: Option<u64>,
    revoked: usize,
    this_update: UnixMs,
    next_update: Option<UnixMs>,
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> Result<Exit, CliError> {
    let Arguments { registry, out } = arguments;
    let registrar = registry.registrar(&context.environment).await?;
    let root = read_text(&registry.authorities()?.root_crl())?;
    make_folder(out)?;
    // Each list takes a number, so the places come first.
    let place = |name: &str| draft_public(&out.join(format!("{name}.crl")));
    let names = [
        "root",
        Intermediate::Devices.as_str(),
        Intermediate::Servers.as_str(),
    ];
    let [root_place, devices_place, servers_place] = names.map(place);
    let places = [root_place?, devices_place?, servers_place?];
    let lists = registrar.build_crls(&context.act()).await?;
    let of = |intermediate| -> Vec<String> {
        let lists = lists.iter().filter(|it| it.intermediate == intermediate);
        lists.map(|it| crl_pem(&it.der)).collect()
    };
    // One file for each kind, with a list of each issuer of it.
    let files = [
        vec![root],
        of(Intermediate::Devices),
        of(Intermediate::Servers),
    ];
    let mut view = ListsView { crls: Vec::new() };
    for ((name, place), lists) in names.into_iter().zip(places).zip(files) {
        for list in &lists {
            view.crls.push(read(name, place.path(), list)?);
        }
        publish(place, &lists.concat())?;
    }
    context.console.show(&view, |style| {
        let mut table = Table::new(&["FILE", "NUMBER", "REVOKED", "NEXT"]);
        for crl in &view.crls {
            table.push(vec![
                crl.file.display().to_string().into(),
                crl.number
                    .map_or(NONE.to_owned(), |number| number.to_string())
                    .into(),
                crl.revoked.to_string().into(),
                crl.next_update.map_or(NONE.into(), |next_update| {
                    expiry_cell(next_update, context.clock.now())
                }),
            ]);
        }
        table.render(style)
    })?;
    Ok(Exit::Done)
}

fn read(issuer: &str, file: &Path, text: &str) -> Result<CrlView, CliError> {
    let unreadable = || CliError::usage(format!("the revocation list of {issuer} can't be read"));
    let (_, pem) = parse_x509_pem(text.as_bytes()).map_err(|_| unreadable())?;
    let (_, list) = parse_x509_crl(&pem.contents).map_err(|_| unreadable())?;
    Ok(CrlView {
        issuer: issuer.to_owned(),
        file: file.to_owned(),
        number: list
            .crl_number()
            .and_then(|number| u64::try_from(number).ok()),
        revoked: list.iter_revoked_certificates().count(),
        this_update: UnixMs::from_secs(list.last_update().timestamp()),
        next_update: list
            .next_update()
            .map(|at| UnixMs::from_secs(at.timestamp())),
    })
}
