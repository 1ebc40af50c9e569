use super::*;

fn options(url: &str) -> PostgresOptions {
    PostgresOptions {
        url: url.to_owned(),
        password_file: None,
        ca_file: None,
    }
}

fn target(url: &str) -> Target {
    Target::of(&options(url)).unwrap()
}

fn problem(options: &PostgresOptions) -> String {
    let error = Target::of(options).err().unwrap();
    assert!(matches!(error, StoreError::Unsupported { .. }), "{error:?}");
    error.to_string()
}

#[test]
fn a_url_is_read_and_shown_without_its_password() {
    for (url, shown) in [
        (
            "postgres://u:p@db.example/r",
            "postgres://u@db.example:5432/r",
        ),
        (
            "postgresql://u@db.example:6432/r",
            "postgres://u@db.example:6432/r",
        ),
        ("postgres://u:p@[::1]:6432/r", "postgres://u@[::1]:6432/r"),
        ("postgres://u:p@[::1]/r", "postgres://u@[::1]:5432/r"),
        (
            "postgres://u:p@%2Frun%2Fpg/r",
            "postgres://u@/r?host=/run/pg&port=5432",
        ),
        (
            "postgres:///r?host=/run/pg&user=u&password=p&port=6432",
            "postgres://u@/r?host=/run/pg&port=6432",
        ),
        ("postgres://h?user=u&dbname=r", "postgres://u@h:5432/r"),
    ] {
        assert_eq!(target(url).to_string(), shown, "{url}");
        assert!(format!("{:?}", options(url)).contains(shown), "{url}");
    }
}

#[test]
fn what_a_password_may_hold_arrives() {
    for (url, password) in [
        (
            "postgres://u:p%3Aa%2Fs%3Fs%40w%25rd%23@h/r",
            "p:a/s?s@w%rd#",
        ),
        ("postgres://u:a:b@h/r", "a:b"),
        ("postgres://u:a@b@h/r", "a@b"),
        ("postgres://u:gr%C3%BCn+1@h/r", "grün+1"),
        ("postgres://u@h/r?password=a%26b", "a&b"),
        ("postgres://u@h/r", ""),
    ] {
        let found = target(url).password().unwrap();
        assert_eq!(found.expose_secret(), password, "{url}");
    }
}

#[test]
fn tls_is_verified_unless_the_server_is_here() {
    let mode = |url: &str, ca_file: Option<&str>| {
        let options = PostgresOptions {
            ca_file: ca_file.map(PathBuf::from),
            ..options(url)
        };
        let mode = Target::of(&options).unwrap().ssl_mode;
        format!("{mode:?}")
    };
    for (url, ca_file, expected) in [
        ("postgres://u@db.example/r", None, "VerifyFull"),
        ("postgres://u@10.0.0.7/r", None, "VerifyFull"),
        ("postgres://u@localhost.example/r", None, "VerifyFull"),
        ("postgres://u@db.example/r?sslmode=require", None, "Require"),
        ("postgres://u@db.example/r?sslmode=disable", None, "Disable"),
        ("postgres://u@localhost/r", None, "Prefer"),
        ("postgres://u@127.0.0.9/r", None, "Prefer"),
        ("postgres://u@[::1]/r", None, "Prefer"),
        ("postgres://u@localhost/r", Some("ca.pem"), "VerifyFull"),
        (
            "postgres://u@localhost/r?sslrootcert=ca.pem",
            None,
            "VerifyFull",
        ),
        ("postgres://u@%2Frun%2Fpg/r", None, "Disable"),
        (
            "postgres://u@%2Frun%2Fpg/r?sslmode=verify-full",
            None,
            "Disable",
        ),
    ] {
        assert_eq!(mode(url, ca_file), expected, "{url} {ca_file:?}");
    }
}

#[test]
fn a_wrong_url_is_told_without_what_may_be_a_secret() {
    for (url, expected) in [
        ("", "begins with something else"),
        ("mysql://u:secret@h/r", "begins with something else"),
        ("postgres://u:secret@h", "must name user and database"),
        ("postgres://h/r", "must name user and database"),
        ("postgres://u:secret@/r", "names no host"),
        ("postgres://u:secret@a,b/r", "names several hosts"),
        ("postgres://u:secret/x@h/r", "port is not a number"),
        ("postgres://u@h/r?secret=1", "a parameter that is none of"),
        ("postgres://u:7?secret@h/r", "a parameter that is none of"),
        ("postgres://u:secret%zz@h/r", "two hex digits"),
        ("postgres://u:secret%ff@h/r", "in UTF-8"),
        ("postgres://u:secret%2", "two hex digits"),
        (
            "postgres://u:secret@h/r?sslmode=verify-ca",
            "use verify-full",
        ),
        ("postgres://u@h/r?sslmode=secret", "none of disable, prefer"),
        ("postgres://u@h/r?sslcert=secret", "come together"),
        (
            "postgres://u@h/r?sslmode=require&sslrootcert=secret",
            "no use",
        ),
    ] {
        let problem = problem(&options(url));
        assert!(problem.contains(expected), "{url}: {problem}");
        let debug = format!("{:?}", options(url));
        assert!(!problem.contains("secret") && !debug.contains("secret"));
    }
}

#[test]
fn one_password_and_one_ca_file_are_enough() {
    let both_passwords = PostgresOptions {
        password_file: Some("file".into()),
        ..options("postgres://u:p@h/r")
    };
    assert!(problem(&both_passwords).contains("there is a password file"));
    let both_ca_files = PostgresOptions {
        ca_file: Some("file".into()),
        ..options("postgres://u@h/r?sslrootcert=other")
    };
    assert!(problem(&both_ca_files).contains("there is a CA file"));
}
