//! Requests that ask for more than they may have.

use leafgate_identity::UnixMs;
use leafgate_pki::{IssueError, Issuer, Profile, PublicKeyInfo};

use super::openssl::Folder;
use super::the_certificate_is_what_was_prepared;

/// Subjects and extensions, as openssl's options.
const REQUESTS: [&[&str]; 6] = [
    &["-subj", "/CN=device-9999.device.synadia.local"],
    &["-subj", "/O=Root/OU=Admins/CN=root/serialNumber=1"],
    &["-subj", "/UID=root/CN=root"],
    &[
        "-subj",
        "/CN=ca",
        "-addext",
        "basicConstraints=critical,CA:TRUE",
        "-addext",
        "keyUsage=critical,keyCertSign,cRLSign",
    ],
    &[
        "-subj",
        "/CN=x",
        "-addext",
        "subjectAltName=DNS:device-9999.device.synadia.local,DNS:*,IP:127.0.0.1,URI:spiffe://x,email:a@example.org",
    ],
    &[
        "-subj",
        "/CN=x",
        "-addext",
        "extendedKeyUsage=serverAuth,OCSPSigning,anyExtendedKeyUsage",
        "-addext",
        "certificatePolicies=1.2.3.4",
    ],
];

/// A certificate with nothing of the request but its key, or none.
pub(super) async fn requests_give_nothing_but_their_key(
    issuer: &dyn Issuer,
    profile: &Profile,
    now: UnixMs,
) {
    let folder = Folder::new();
    for (number, options) in REQUESTS.iter().enumerate() {
        let key = folder.path(&format!("key-{number}"));
        let make = [
            "genpkey",
            "-algorithm",
            "EC",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-out",
        ];
        folder.openssl(&[&make[..], &[&key]].concat());
        let csr = folder.openssl(&[&["req", "-new", "-key", &key], *options].concat());
        let key = PublicKeyInfo::from_csr_pem(&csr).expect("a request that openssl made");
        let prepared = issuer
            .prepare(profile.clone(), key.clone(), now)
            .expect("the issuer is valid now");
        match issuer.issue(prepared).await {
            Ok(issued) => {
                the_certificate_is_what_was_prepared(issuer, profile, &key, &issued);
            }
            Err(IssueError::Refused(_)) => {}
            Err(error) => panic!("{options:?}: {error:?}"),
        }
    }
}
