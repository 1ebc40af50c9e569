//! Certificates in a CMS message, as EST hands them over.

use leafgate_pki::{Intermediate, KeyPairPem, certs_only};

use crate::support::{TestCa, device, issue, openssl};

#[tokio::test]
async fn openssl_makes_the_same_of_the_same_certificates() {
    let test = TestCa::create();
    let issuer = test.ca.load(Intermediate::Devices).unwrap();
    let key = || KeyPairPem::generate().unwrap().public;
    let one = issue(&issuer, device("0001"), key()).await;
    let other = issue(&issuer, device("0002"), key()).await;
    let path = |name: &str| test.path(name).to_str().unwrap().to_owned();
    for chain in [
        one.certificate_pem.clone(),
        one.chain_pem.clone(),
        format!("{}{}", one.chain_pem, other.certificate_pem),
    ] {
        let ders: Vec<_> = pem::parse_many(&chain).unwrap();
        let made = certs_only(ders.iter().map(|block| block.contents()));
        test.write("chain.pem", &chain);
        let theirs = path("theirs.p7");
        openssl(
            &[
                &["crl2pkcs7", "-nocrl", "-certfile", &path("chain.pem")][..],
                &["-outform", "DER", "-out", &theirs],
            ]
            .concat(),
        );
        // PKCS #7 keeps the order of the file; CMS, written anew, is DER.
        openssl(
            &[
                &["cms", "-cmsout", "-inform", "DER", "-in", &theirs][..],
                &["-outform", "DER", "-out", &theirs],
            ]
            .concat(),
        );
        assert_eq!(made, std::fs::read(&theirs).unwrap());

        std::fs::write(path("ours.p7"), &made).unwrap();
        let read = |tool: &[&str]| {
            let (ours, certificates) = (path("ours.p7"), path("read.pem"));
            openssl(
                &[
                    tool,
                    &["-inform", "DER", "-in", &ours, "-out", &certificates],
                ]
                .concat(),
            );
            let text = std::fs::read_to_string(&certificates).unwrap();
            sorted(pem::parse_many(text).unwrap())
        };
        let expected = sorted(ders);
        assert_eq!(read(&["pkcs7", "-print_certs"]), expected);
        let shown = openssl(&[
            "cms",
            "-cmsout",
            "-print",
            "-inform",
            "DER",
            "-in",
            &path("ours.p7"),
        ]);
        for part in [
            "pkcs7-signedData",
            "version: 1",
            "pkcs7-data",
            "eContent: <ABSENT>",
        ] {
            assert!(shown.contains(part), "{shown}");
        }
    }
}

fn sorted(mut blocks: Vec<pem::Pem>) -> Vec<pem::Pem> {
    blocks.sort_by(|a, b| a.contents().cmp(b.contents()));
    blocks
}
