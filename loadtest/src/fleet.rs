use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use leafgate_identity::{CnPattern, DeviceId, SpkiHash, UnixMs};
use leafgate_pki::{EmbeddedCa, Intermediate, Issued, Issuer as _, KeyPairPem, Profile, RootKey};
use serde::Serialize;

use crate::request::{Caller, Expected};
use crate::scale::Scale;

/// The devices of a site, as the registry and as the peer know them, and those of them that
/// connect.
pub(crate) struct Fleet {
    /// Devices that must be let in, each with the one certificate issued to it.
    pub(crate) callers: Vec<Caller>,
    /// Some that must not.
    pub(crate) strangers: Vec<Caller>,
    /// The key hash of the CA that issued all their certificates.
    pub(crate) issuer: SpkiHash,
    /// The certificate of that CA.
    pub(crate) issuer_file: PathBuf,
    /// One JSON object per device and line, for the peer.
    pub(crate) devices_file: PathBuf,
}

/// A device as it is to be recorded.
pub(crate) struct Member {
    pub(crate) id: DeviceId,
    pub(crate) enabled: bool,
    pub(crate) certificate: Option<IssuedKey>,
}

/// A certificate with the hash of its key, which records hold too.
pub(crate) struct IssuedKey {
    pub(crate) issued: Issued,
    pub(crate) public_key: SpkiHash,
}

impl Fleet {
    /// Makes a CA, as many devices as `scale` says, and certificates for those that connect.
    pub(crate) async fn create(
        scale: &Scale,
        dir: &Path,
        now: UnixMs,
    ) -> Result<(Self, Vec<Member>)> {
        let files = leafgate_pki::init(&dir.join("ca"), RootKey::DevPlain, now)?;
        let ca = files.load(Intermediate::Devices)?;
        let chain_end: Arc<str> = ca.certificate_pem().into();
        let caller = |id: &DeviceId, issued: &Issued, expected| Caller {
            device: id.as_str().into(),
            chain: [
                issued.certificate_pem.as_str().into(),
                Arc::clone(&chain_end),
            ],
            expected,
        };

        let mut members = Vec::with_capacity(scale.devices);
        let mut callers = Vec::with_capacity(scale.connecting);
        for number in 0..scale.devices {
            let id = DeviceId::parse(&format!("pump-{number:06}"))?;
            let certificate = if number < scale.connecting {
                let certificate = issue(&ca, &id, now).await?;
                callers.push(caller(&id, &certificate.issued, Expected::Grant));
                Some(certificate)
            } else {
                None
            };
            members.push(Member {
                id,
                enabled: true,
                certificate,
            });
        }

        let unregistered = DeviceId::parse("unregistered")?;
        let disabled = DeviceId::parse("disabled")?;
        let disabled_certificate = issue(&ca, &disabled, now).await?;
        let known = &members[0].id;
        let strangers = vec![
            caller(
                &unregistered,
                &issue(&ca, &unregistered, now).await?.issued,
                Expected::Refusal,
            ),
            caller(&disabled, &disabled_certificate.issued, Expected::Refusal),
            // Signed by the right CA for a known device, but never recorded as issued to it.
            caller(
                known,
                &issue(&ca, known, now).await?.issued,
                Expected::Refusal,
            ),
        ];
        members.push(Member {
            id: disabled,
            enabled: false,
            certificate: Some(disabled_certificate),
        });

        let devices_file = dir.join("devices.ndjson");
        write_devices(&devices_file, &members)
            .with_context(|| format!("can't write {}", devices_file.display()))?;
        let fleet = Self {
            callers,
            strangers,
            issuer: ca.spki(),
            issuer_file: files.certificate(Intermediate::Devices),
            devices_file,
        };
        Ok((fleet, members))
    }
}

async fn issue(ca: &EmbeddedCa, id: &DeviceId, now: UnixMs) -> Result<IssuedKey> {
    let profile = Profile::device(&CnPattern::default(), id)?;
    let key = KeyPairPem::generate()?.public;
    let public_key = key.spki_hash();
    let issued = ca.issue(ca.prepare(profile, key, now)?).await?;
    Ok(IssuedKey { issued, public_key })
}

fn write_devices(path: &Path, members: &[Member]) -> Result<()> {
    #[derive(Serialize)]
    struct Line<'a> {
        id: &'a str,
        state: &'static str,
        fingerprint: String,
    }
    let mut file = BufWriter::new(File::create(path)?);
    for member in members {
        let line = Line {
            id: member.id.as_str(),
            state: if member.enabled { "active" } else { "disabled" },
            fingerprint: member
                .certificate
                .as_ref()
                .map(|certificate| certificate.issued.fingerprint.to_string())
                .unwrap_or_default(),
        };
        serde_json::to_writer(&mut file, &line)?;
        file.write_all(b"\n")?;
    }
    file.flush()?;
    Ok(())
}
