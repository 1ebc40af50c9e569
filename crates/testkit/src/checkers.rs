//! pkilint and zlint, which `make test-tools` installs. Everything here panics where they can't be run.

use std::path::{Path, PathBuf};
use std::process::Command;

/// All of zlint's sources but the RFCs: the rules of the public web. (Naming the RFCs instead is
/// not possible, zlint 3.6.1 knows only some of them by name.)
const NO_RFC: &str = "Apple,CABF_BR,CABF_EV,CABF_SMIME_BR,Community,ETSI_ESI,Mozilla";

/// Panics with what they find in a certificate in PEM, and with `what` it is.
pub fn assert_certificate_is_clean(what: &str, certificate: &Path) {
    assert_eq!(pkilint("lint_pkix_cert", &[], certificate), "", "{what}");
    assert_eq!(zlint(certificate), "", "{what}");
}

/// What pkilint finds in a file, warnings included; nothing if all is well.
pub fn pkilint(program: &str, args: &[&str], file: &Path) -> String {
    let output = Command::new(tool(&format!("pkilint/bin/{program}")))
        .args(["lint", "--severity", "WARNING"])
        .args(args)
        .arg(file)
        .output()
        .expect("it runs");
    let said = text(output.stdout);
    let complaint = text(output.stderr);
    assert!(complaint.is_empty(), "{complaint}");
    // It counts its findings in its exit status.
    assert_eq!(output.status.success(), said.trim().is_empty(), "{said}");
    said.trim().to_owned()
}

/// What zlint finds in a certificate or list in PEM, by the RFCs; nothing if all is well.
pub fn zlint(file: &Path) -> String {
    let output = Command::new(tool("zlint/3.6.1/zlint"))
        .args(["-excludeSources", NO_RFC, "-pretty"])
        .arg(file)
        .output()
        .expect("it runs");
    let said = text(output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains(r#""result": "pass""#),
        "nothing was checked: {said}"
    );
    let findings = ["warn", "error", "fatal"].map(|level| format!(r#""result": "{level}""#));
    let mut name = "";
    let mut found = Vec::new();
    for line in said.lines() {
        if line.ends_with(": {") {
            name = line.trim();
        }
        // It applies its filters to certificates only; this prefix marks the rules of the public
        // web for lists.
        let counts = !name.starts_with(r#""e_cab_"#);
        if counts && findings.iter().any(|finding| line.contains(finding)) {
            found.push(name);
        }
    }
    found.join("\n")
}

fn tool(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../.tools")
        .join(path);
    assert!(
        path.is_file(),
        "{} is missing: run make test-tools",
        path.display()
    );
    path
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("text")
}
