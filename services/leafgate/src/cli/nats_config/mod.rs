//! `leafgate nats-config`.

mod arguments;
mod callout;
mod next;
mod secrets;
mod servers;

use std::path::PathBuf;

use serde::Serialize;

pub(super) use self::arguments::Arguments;
use self::secrets::Secrets;
use super::Context;
use super::error::{CliError, Exit};
use super::files::{make_folder, replace_private};
use super::table::{Table, count};

#[derive(Serialize)]
struct ConfigView {
    files: Vec<FileView>,
    keys_dir: PathBuf,
    /// The site as the hub has to know it, if that is configured elsewhere.
    site: SiteView,
}

#[derive(Serialize)]
struct SiteView {
    name: String,
    telemetry_key: String,
    command_key: String,
}

#[derive(Serialize)]
struct FileView {
    path: PathBuf,
    role: &'static str,
}

pub(super) fn run(arguments: &Arguments, context: &Context) -> Result<Exit, CliError> {
    let paths = arguments.absolute_paths()?;
    let secrets = Secrets::load_or_make(arguments, &paths)?;
    let servers = servers::render(arguments, &paths, &secrets)?;
    make_folder(&arguments.out)?;
    let written = servers
        .write_to(&arguments.out)
        .map_err(|error| CliError::caused(Exit::Usage, &error))?;
    let hubs = arguments.hub_nodes().len();
    let mut files: Vec<FileView> = written
        .into_iter()
        .enumerate()
        .map(|(number, path)| FileView {
            path,
            role: if number < hubs { "hub" } else { "leaf" },
        })
        .collect();
    for replica in &secrets.replicas {
        let path = arguments.out.join(format!("{}.toml", replica.name));
        replace_private(
            &path,
            &callout::render(arguments, &paths, replica.name.as_str()),
        )?;
        files.push(FileView {
            path,
            role: "callout",
        });
    }
    let public_key = |key| Ok::<_, CliError>(servers::public(key)?.to_string());
    let view = ConfigView {
        files,
        keys_dir: paths.keys_dir.clone(),
        site: SiteView {
            name: arguments.site.to_string(),
            telemetry_key: public_key(&secrets.telemetry_link)?,
            command_key: public_key(&secrets.command_link)?,
        },
    };
    context.console.show(&view, |style| {
        let mut table = Table::new(&["FILE", "FOR"]);
        for file in &view.files {
            let role = match file.role {
                "hub" => "nats-server of the hub",
                "leaf" => "nats-server of the leaf cluster; holds the seeds of its links",
                _ => "leafgate-callout",
            };
            table.push(vec![file.path.display().to_string().into(), role.into()]);
        }
        format!(
            "{}\n{}, readable by you alone; the seeds are in {}\nNext:\n{}",
            table.render(style),
            count(view.files.len(), "file"),
            view.keys_dir.display(),
            next::lines(arguments, &paths, &view),
        )
    })?;
    Ok(Exit::Done)
}
