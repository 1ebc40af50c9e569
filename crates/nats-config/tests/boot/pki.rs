//! A scratch PKI as leafgate's own: a root, one intermediate for devices and one for servers. Device and server
//! files hold leaf and intermediate; `ca.crt`, for clients, is the root.

use std::fs;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

type Authority = CertifiedIssuer<'static, KeyPair>;

/// Writes the certificates of everybody into `folder`.
pub(crate) fn write(folder: &Path) {
    let root = Authority::self_signed(authority("root", 1), key()).unwrap();
    let issuer = |name| Authority::signed_by(authority(name, 0), key(), &root).unwrap();
    let (devices, servers) = (issuer("devices"), issuer("servers"));
    for (name, authority) in [("ca", &root), ("devices", &devices), ("servers", &servers)] {
        fs::write(folder.join(format!("{name}.crt")), authority.pem()).unwrap();
    }
    for name in ["hub", "demo-0", "demo-1"] {
        end_entity(folder, name, &servers, true);
    }
    // Issued by `devices`: two devices, a program's client certificate, and one that passes for a server's but for
    // its issuer.
    for name in ["device-0001", "device-0002", "callout"] {
        end_entity(folder, name, &devices, false);
    }
    end_entity(folder, "device-as-server", &devices, true);
}

fn authority(name: &str, path_len: u8) -> CertificateParams {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_len));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn end_entity(folder: &Path, name: &str, issuer: &Authority, server: bool) {
    let mut params = named(name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    if server {
        params
            .extended_key_usages
            .push(ExtendedKeyUsagePurpose::ServerAuth);
        let names = ["127.0.0.1", "localhost"].map(str::to_owned);
        params.subject_alt_names = CertificateParams::new(names).unwrap().subject_alt_names;
    }
    let key = key();
    let certificate = params.signed_by(&key, issuer).unwrap();
    let chain = format!("{}{}", certificate.pem(), issuer.pem());
    fs::write(folder.join(format!("{name}.crt")), chain).unwrap();
    fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
}

fn named(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params
}

fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}
