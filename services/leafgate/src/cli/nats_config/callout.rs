use std::path::Path;

use super::arguments::{AbsolutePaths, Arguments};
use crate::local::LocalKeys;
use crate::local::keys::{ISSUER, XKEY, auth_seed, system_seed};

/// The configuration of one callout replica.
pub(super) fn render(arguments: &Arguments, paths: &AbsolutePaths, replica: &str) -> String {
    let keys = LocalKeys::in_folder(&paths.callout_keys_dir);
    let seed = |name: &str| quote_path(&keys.path(name));
    let port = arguments.device_port;
    let urls = arguments.leaf_nodes.iter().map(|node| {
        let host = node.host.as_str();
        let brackets = host.contains(':');
        quote(&if brackets {
            format!("tls://[{host}]:{port}")
        } else {
            format!("tls://{host}:{port}")
        })
    });
    let urls: Vec<String> = urls.collect();
    let policies: Vec<String> = paths.policies.iter().map(|path| quote_path(path)).collect();
    format!(
        "\
# The callout replica {replica} of site {site}, for leafgate-callout. Made by leafgate: make it
# anew rather than edit it, or override a key by LEAFGATE_<SECTION>__<KEY>.
# Check it with: leafgate config check --config FILE
site = {site_text}
replica = {replica_text}
subject_prefix = {prefix}

# Devices' log-ins are asked about over this connection.
[nats]
urls = [{urls}]
ca_file = {ca}
cert_file = {certificate}
key_file = {key}
nkey_seed_file = {auth}
# As strong as the servers themselves: whoever holds it can let anybody in.
issuer_seed_file = {issuer}
xkey_seed_file = {xkey}

# Servers are verified and sessions ended over this one.
[system]
nkey_seed_file = {system}

[store]
url = {store}

[[trust_domain]]
name = {domain}
issuers = [{devices_ca}]
policies = [{policies}]

# Probes and metrics.
[http]
listen = {listen}
",
        site = arguments.site,
        site_text = quote(arguments.site.as_str()),
        replica_text = quote(replica),
        prefix = quote(&arguments.subject_prefix.to_string()),
        urls = urls.join(", "),
        ca = quote_path(&paths.ca_file),
        certificate = quote_path(&paths.callout_cert_file),
        key = quote_path(&paths.callout_key_file),
        auth = seed(&auth_seed(replica)),
        issuer = seed(ISSUER),
        xkey = seed(XKEY),
        system = seed(&system_seed(replica)),
        store = quote(&paths.store_url),
        domain = quote(arguments.trust_domain.as_str()),
        devices_ca = quote_path(&paths.devices_ca_file),
        policies = policies.join(", "),
        listen = quote(&arguments.health_listen.to_string()),
    )
}

fn quote(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn quote_path(path: &Path) -> String {
    quote(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_texts_are_one_toml_value() {
        for text in [
            "plain",
            "with \"quotes\"",
            "back\\slash",
            "line\nbreak",
            "'",
            "#",
        ] {
            let file = format!("value = {}", quote(text));
            let table: toml::Table = toml::from_str(&file).unwrap();
            assert_eq!(table["value"].as_str(), Some(text));
        }
    }
}
