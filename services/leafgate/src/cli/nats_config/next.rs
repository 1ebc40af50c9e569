use std::net::IpAddr;
use std::path::Path;

use leafgate_nats_config::RegistryReplica;

use super::arguments::{AbsolutePaths, Arguments, NodeName};
use super::{ConfigView, SiteView};
use crate::local::LocalKeys;
use crate::local::keys::{auth_seed, devices_seed, system_seed};

/// What is left to do with the files, a line each.
pub(super) fn lines(arguments: &Arguments, paths: &AbsolutePaths, view: &ConfigView) -> String {
    let mut lines = files_to_copy(arguments);
    let nodes = || arguments.hub_nodes().iter().chain(&arguments.leaf_nodes);
    lines.extend(nodes().map(|node| issue_to_node(arguments, node)));
    lines.push(issue_to_callout(arguments));
    lines.extend(programs_to_start(arguments, paths, view));
    let indented: Vec<String> = lines.iter().map(|line| format!("  {line}")).collect();
    indented.join("\n")
}

fn files_to_copy(arguments: &Arguments) -> Vec<String> {
    let policies = arguments.policies.iter();
    let policies: Vec<String> = policies.map(|path| path.display().to_string()).collect();
    vec![
        format!(
            "have root.crt, devices.crt and servers.crt of the CA as {}, {} and {}",
            arguments.ca_file.display(),
            arguments.devices_ca_file.display(),
            arguments.servers_ca_file.display()
        ),
        format!("have the policies as {}", policies.join(", ")),
    ]
}

/// Servers verify each other by the host under which they are reached.
fn issue_to_node(arguments: &Arguments, node: &NodeName) -> String {
    let (name, host) = (node.name.as_str(), node.host.as_str());
    let further_name = match host.parse::<IpAddr>() {
        Ok(_) => format!(" --ip {host}"),
        Err(_) if host == name => String::new(),
        Err(_) => format!(" --dns {host}"),
    };
    issue(
        name,
        &format!("nats-server{further_name}"),
        &arguments.certificate_of(name),
        &arguments.key_of(name),
    )
}

fn issue_to_callout(arguments: &Arguments) -> String {
    let certificate = &arguments.callout_cert_file;
    let name = certificate.file_stem().unwrap_or_default();
    let name = name.to_string_lossy();
    let key = &arguments.callout_key_file;
    issue(&name, "nats-client", certificate, key)
}

fn issue(name: &str, profile: &str, certificate: &Path, key: &Path) -> String {
    let folder = certificate.parent().unwrap_or(Path::new(""));
    let out = match folder.as_os_str() {
        here if here.is_empty() => Path::new("."),
        _ => folder,
    };
    let out = out.display();
    let line = format!("leafgate service issue {name} --profile {profile} --out {out}");
    let written = |suffix: &str| folder.join(format!("{name}.{suffix}"));
    if certificate == written("crt") && key == written("key") {
        return line;
    }
    format!(
        "{line}   and have its files as {} and {}",
        certificate.display(),
        key.display()
    )
}

fn programs_to_start(
    arguments: &Arguments,
    paths: &AbsolutePaths,
    view: &ConfigView,
) -> Vec<String> {
    let first = |role| {
        let file = view.files.iter().find(|file| file.role == role);
        file.map(|file| file.path.display().to_string())
    };
    let mut lines = Vec::new();
    if let Some(file) = first("hub") {
        lines.push(format!(
            "nats-server -c {file}   each node with its own file"
        ));
        let SiteView {
            name,
            telemetry_key,
            command_key,
        } = &view.site;
        lines.push(format!(
            "where the hub has further sites, it knows this one by --further-site {name}={telemetry_key},{command_key}"
        ));
    }
    lines.extend(first("leaf").map(|file| format!("nats-server -c {file}")));
    if let Some(file) = first("callout") {
        lines.push(format!("leafgate config check --config {file}"));
        lines.push(format!(
            "leafgate-callout --config {file}   each replica with its own file"
        ));
    }
    if arguments.registry_replicas_max > 0 {
        let keys = LocalKeys::in_folder(&paths.callout_keys_dir);
        let replica = RegistryReplica::default_name(0);
        let seed = |name: String| keys.path(&name).display().to_string();
        lines.push(format!(
            "where leafgate-registry runs, its [nats] has urls, ca_file, cert_file and key_file like those of a \
             callout, replica {replica}, nkey_seed_file {} and devices_nkey_seed_file {}; its [system] has \
             nkey_seed_file {}",
            seed(auth_seed(replica.as_str())),
            seed(devices_seed(replica.as_str())),
            seed(system_seed(replica.as_str())),
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_files_must_be_renamed_is_told() {
        let line = |certificate, key| {
            let (certificate, key) = (Path::new(certificate), Path::new(key));
            issue("leaf-1", "nats-server --ip 10.0.0.7", certificate, key)
        };
        let command = "leafgate service issue leaf-1 --profile nats-server --ip 10.0.0.7 --out";
        assert_eq!(
            line("/etc/tls/leaf-1.crt", "/etc/tls/leaf-1.key"),
            format!("{command} /etc/tls")
        );
        assert_eq!(line("leaf-1.crt", "leaf-1.key"), format!("{command} ."));
        assert_eq!(
            line("/etc/tls/tls.crt", "/etc/tls/tls.key"),
            format!(
                "{command} /etc/tls   and have its files as /etc/tls/tls.crt and /etc/tls/tls.key"
            )
        );
    }
}
