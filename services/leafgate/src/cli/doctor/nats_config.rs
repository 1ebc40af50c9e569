use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::Doctor;
use crate::cli::files::read_text;

const CHECK: &str = "nats-config";

impl Doctor<'_> {
    /// Looks at what a nats-server's configuration says of devices' TLS: whose certificates it takes, and what it does
    /// while nobody can say whether they are revoked.
    pub(super) fn check_nats_config(&mut self, path: &Path) {
        let target = path.display().to_string();
        let text = match read_text(path) {
            Ok(text) => text,
            Err(error) => {
                let remedy = "name the file that is there";
                return self.report.fail(CHECK, &target, error.message(), remedy);
            }
        };
        let as_rendered = "set it in the tls block as leafgate nats-config does";
        let Some(tls) = device_tls(&text) else {
            let detail = "it has no tls block for clients";
            return self.report.fail(CHECK, &target, detail, as_rendered);
        };
        match value(&tls, "verify").as_deref() {
            Some("true") => self
                .report
                .ok(CHECK, &target, "clients must have certificates"),
            _ => {
                let detail = "clients need no certificate: verify is not true";
                self.report.fail(CHECK, &target, detail, as_rendered);
            }
        }
        match value(&tls, "ca_file") {
            None => self
                .report
                .fail(CHECK, &target, "it names no ca_file", as_rendered),
            Some(file) => {
                let folder = path.parent().unwrap_or(Path::new(""));
                self.check_ca_file(&target, &folder.join(file));
            }
        }
        match (
            tls.contains("ocsp_peer"),
            value(&tls, "allow_when_ca_unreachable").as_deref(),
        ) {
            (false, _) => {
                let detail =
                    "revoked certificates are refused by the callout alone: it has no ocsp_peer";
                let remedy =
                    "render it with leafgate nats-config for a registry that serves status";
                self.report.warn(CHECK, &target, detail, remedy);
            }
            (true, Some("true")) => {
                let detail = "revoked certificates are refused at the handshake";
                self.report.ok(CHECK, &target, detail);
            }
            (true, _) => {
                let detail = "every device stays out while the OCSP responder can't be reached";
                let remedy = "set allow_when_ca_unreachable: true in ocsp_peer";
                self.report.warn(CHECK, &target, detail, remedy);
            }
        }
    }

    fn check_ca_file(&mut self, target: &str, path: &PathBuf) {
        self.check_certificate_file(CHECK, path);
        let Some(issuers) = &self.issuers else {
            return;
        };
        let devices = CertificateDer::from_pem_slice(issuers.devices.as_bytes()).ok();
        let named = CertificateDer::pem_file_iter(path);
        let mut named = named.into_iter().flatten().filter_map(Result::ok);
        let is_there = devices.is_some_and(|devices| named.any(|it| it == devices));
        let file = path.display();
        if is_there {
            let detail = format!("{file} holds the registry's issuer of devices");
            self.report.ok(CHECK, target, detail);
        } else {
            let detail = format!("{file} does not hold the registry's issuer of devices");
            let remedy = "put the registry's devices.crt there, and reload the nats-server";
            self.report.fail(CHECK, target, detail, remedy);
        }
    }
}

/// The content of the outermost `tls` block, which is that of the listener for clients.
fn device_tls(text: &str) -> Option<String> {
    let text = without_comments(text);
    let mut depth = 0_usize;
    let mut word = String::new();
    for (at, character) in text.char_indices() {
        match character {
            '{' | '[' => {
                if character == '{'
                    && depth == 0
                    && word.trim_end_matches([':', '=', ' ']).ends_with("tls")
                {
                    return block(&text[at..]).map(str::to_owned);
                }
                depth += 1;
                word.clear();
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                word.clear();
            }
            '\n' => word.clear(),
            other => word.push(other),
        }
    }
    None
}

/// What stands between a brace and its counterpart.
fn block(text: &str) -> Option<&str> {
    let mut depth = 0_usize;
    for (at, character) in text.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return Some(&text[1..at]);
        }
    }
    None
}

/// nats-server takes `#` and `//` as the beginning of a comment, where a value or a key could begin.
fn without_comments(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let trimmed = line.trim_start();
        match trimmed.starts_with('#') || trimmed.starts_with("//") {
            true => "",
            false => line.split(" #").next().unwrap_or_default(),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The value of a key, in the forms that nats-server takes: `key: value`, `key = value`, `key value`.
fn value(block: &str, key: &str) -> Option<String> {
    let parts = block.split(['\n', ',', '{', '}']);
    parts.into_iter().find_map(|part| {
        let rest = part.trim().strip_prefix(key)?;
        let value = rest.trim_start().trim_start_matches([':', '=']).trim();
        let is_key = rest.starts_with([':', '=', ' ', '\t']);
        (is_key && !value.is_empty()).then(|| value.trim_matches(['"', '\'']).to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_of_the_clients_listener_is_read_in_every_form() {
        for text in [
            "cluster {\n  tls { verify: false }\n}\ntls {\n  ca_file: \"a.crt\"\n  verify: true\n}\n",
            "# tls { verify: false }\ntls: { ca_file = 'a.crt', verify = true }\n",
            "leafnodes { remotes: [ { tls { verify: false } } ] }\ntls {\n  verify true # as it must\n  ca_file a.crt\n}",
        ] {
            let tls = device_tls(text).unwrap();
            assert_eq!(value(&tls, "verify").as_deref(), Some("true"), "{tls}");
            assert_eq!(value(&tls, "ca_file").as_deref(), Some("a.crt"), "{tls}");
            assert_eq!(value(&tls, "ca"), None);
        }
        assert_eq!(device_tls("cluster { tls { verify: true } }"), None);
        // No configuration of a nats-server, and no reason to give up.
        assert_eq!(device_tls("tls [ verify ]\nport: 4222"), None);
        let tls =
            device_tls("tls { ocsp_peer: { verify: true, allow_when_ca_unreachable: true } }");
        let allowed = value(&tls.unwrap(), "allow_when_ca_unreachable");
        assert_eq!(allowed.as_deref(), Some("true"));
    }
}
