use std::fs;

use crate::support::{Desk, Done};

#[test]
fn credentials_are_private_and_belong_together() {
    let desk = Desk::with_registry();
    let said = desk.ok("device register 0001 --out devices");
    let json = desk.ok("device issue 0001 --out devices --output json");
    for output in [&said, &json] {
        assert!(!output.contains("PRIVATE KEY"), "{output}");
    }
    assert_eq!(desk.mode("devices/0001.key"), 0o600);
    let of_key = desk.openssl("pkey -in devices/0001.key -pubout");
    let of_certificate = desk.openssl("x509 -in devices/0001.crt -noout -pubkey");
    assert_eq!(of_key, of_certificate);
    desk.openssl(
        "verify -x509_strict -CAfile devices/ca.crt -untrusted devices/0001.crt devices/0001.crt",
    );
    let statuses = desk.json("device show 0001")["certificates"].clone();
    assert_eq!(
        (&statuses[0]["status"], &statuses[1]["status"]),
        (&"issued".into(), &"issued".into()),
        "the older one counts until the newer one has logged in"
    );
    let files: Vec<_> = fs::read_dir(desk.path("devices")).unwrap().collect();
    assert_eq!(files.len(), 3, "{files:?}");
}

#[test]
fn the_ca_of_another_registry_is_not_overwritten() {
    let desk = Desk::with_registry();
    fs::create_dir(desk.path("devices")).unwrap();
    desk.write("devices/ca.crt", "of somebody else");
    let said = desk.fails("device register 0001 --out devices", 4);
    assert!(
        said.contains("devices/ca.crt is there already and not the root of this registry"),
        "{said}"
    );
    assert_eq!(desk.read("devices/ca.crt"), "of somebody else");
    desk.fails("device show 0001", 3);
}

#[test]
fn a_request_is_signed_for_its_key_alone() {
    let desk = Desk::with_registry();
    desk.ok("device register 0001");
    desk.openssl("req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout own.key -out own.csr -subj /CN=device-0002.device.synadia.local");

    desk.ok("device sign 0001 --csr own.csr --out own.crt");
    let subject = desk.openssl("x509 -in own.crt -noout -subject");
    assert_eq!(
        subject.trim(),
        "subject=CN = device-0001.device.synadia.local"
    );
    assert_eq!(
        desk.openssl("x509 -in own.crt -noout -pubkey"),
        desk.openssl("pkey -in own.key -pubout")
    );
    assert_eq!(desk.read("own.crt").matches("BEGIN CERTIFICATE").count(), 2);

    let printed = desk.ok("device sign 0001 --csr own.csr");
    assert_eq!(printed.matches("-----BEGIN CERTIFICATE-----\n").count(), 2);
    assert!(
        printed.starts_with("-----BEGIN") && printed.ends_with("-----\n"),
        "{printed}"
    );
    let again = desk.json("device sign 0001 --csr own.csr");
    let certificate = again["certificate_pem"].as_str().unwrap();
    assert!(certificate.starts_with("-----BEGIN CERTIFICATE-----"));
    assert!(
        printed.starts_with(certificate),
        "the same for the same request"
    );
    assert_eq!(again["certificates"].as_array().unwrap().len(), 1);
}

#[test]
fn a_request_can_come_from_standard_input() {
    let desk = Desk::with_registry();
    desk.ok("device register 0001");
    desk.openssl("req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout own.key -out own.csr -subj /CN=x");
    let mut command = desk.command(["device", "sign", "0001", "--csr", "-"]);
    command.stdin(fs::File::open(desk.path("own.csr")).unwrap());
    let done: Done = command.output().unwrap().into();
    assert_eq!(done.exit, 0, "{done:#?}");
    assert!(done.stdout.starts_with("-----BEGIN CERTIFICATE-----"));
}

#[test]
fn what_is_no_request_is_refused_before_anything_is_done() {
    let desk = Desk::with_registry();
    desk.ok("device register 0001 --out devices");
    for (file, words) in [
        (
            "devices/0001.key",
            "this is a private key, which must stay where it is used",
        ),
        (
            "devices/ca.crt",
            "a PEM block \"CERTIFICATE\" found where a CERTIFICATE REQUEST is expected",
        ),
        (
            "devices/none.csr",
            "can't read devices/none.csr: No such file",
        ),
    ] {
        let said = desk.fails(&format!("device sign 0001 --csr {file}"), 2);
        assert!(said.contains(words), "{said}");
    }
    assert_eq!(desk.json("device show 0001")["version"], 3);
}

#[test]
fn nothing_is_issued_that_can_not_be_written() {
    let desk = Desk::with_registry();
    desk.ok("device register 0001");
    desk.openssl("req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout own.key -out own.csr -subj /CN=x");
    fs::create_dir_all(desk.path("devices/0001.crt")).unwrap();
    fs::create_dir_all(desk.path("others/0001.key")).unwrap();
    fs::create_dir_all(desk.path("others/0002.key")).unwrap();
    desk.write("file", "");
    std::os::unix::fs::symlink("elsewhere", desk.path("link")).unwrap();
    for (line, words) in [
        (
            "device sign 0001 --csr own.csr --out none/own.crt",
            "error: can't write none/own.crt: No such file or directory",
        ),
        (
            "device sign 0001 --csr own.csr --out file/own.crt",
            "error: can't write file/own.crt: Not a directory",
        ),
        (
            "device sign 0001 --csr own.csr --out devices",
            "error: can't write devices/0001.crt: is a directory",
        ),
        (
            "device sign 0001 --csr own.csr --out link",
            "error: can't write link: it is there, and no regular file",
        ),
        (
            "device issue 0001 --out devices",
            "error: can't write devices/0001.crt: is a directory",
        ),
        (
            "device issue 0001 --out others",
            "error: can't write others/0001.key: is a directory",
        ),
        (
            "device issue 0001 --out file",
            "error: can't make the folder file: File exists",
        ),
        (
            "device register 0002 --out others",
            "error: can't write others/0002.key: is a directory",
        ),
    ] {
        let said = desk.fails(line, 2);
        assert!(said.starts_with(words), "leafgate {line}: {said}");
        assert!(!said.contains("lost"), "leafgate {line}: {said}");
    }
    assert_eq!(
        desk.json("audit list")["events"].as_array().unwrap().len(),
        1
    );
    let drafts = |folder: &str| -> usize {
        let entries = fs::read_dir(desk.path(folder)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name());
        names
            .filter(|name| name.to_string_lossy().ends_with(".new"))
            .count()
    };
    assert_eq!([drafts("."), drafts("devices"), drafts("others")], [0; 3]);
}

#[test]
fn a_certificate_goes_into_a_folder_under_the_name_of_its_device() {
    let desk = Desk::with_registry();
    desk.ok("device register 0001");
    desk.openssl("req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout own.key -out own.csr -subj /CN=x");
    fs::create_dir(desk.path("devices")).unwrap();
    let json = desk.json("device sign 0001 --csr own.csr --out devices");
    assert_eq!(json["files"]["certificate"], "devices/0001.crt");
    assert!(desk.read("devices/0001.crt").starts_with("-----BEGIN"));
    let said = desk.ok("device sign 0001 --csr own.csr --out devices");
    assert!(said.ends_with("\n  devices/0001.crt\n"), "{said}");
    assert_eq!(fs::read_dir(desk.path("devices")).unwrap().count(), 1);
}
