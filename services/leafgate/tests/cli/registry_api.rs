//! The command line against a registry API: what it has of its own.

use crate::support::Desk;

#[test]
fn the_request_is_named_that_failed() {
    let desk = Desk::with_api();
    let done = desk.run("device show 0001");
    assert_eq!(done.exit, 3, "{done:#?}");
    let lines: Vec<&str> = done.stderr.lines().collect();
    assert_eq!(lines[0], "error: there is no device 0001");
    let url = desk.api.as_ref().unwrap().url();
    assert!(
        lines[2].starts_with("  request ") && lines[2].ends_with(&format!(" to {url}")),
        "{done:#?}"
    );
}
