//! Tokens and boxes that the Go libraries made (`vectors/go`), read and made again here.

#![expect(clippy::unwrap_used, reason = "a test may panic anywhere")]
#![expect(
    unreachable_pub,
    reason = "the support module is compiled into each test"
)]

mod support;

use support::Vectors;

#[test]
fn what_go_encoded_is_read_and_encoded_alike() {
    Vectors::committed().check();
}

#[test]
fn what_is_encoded_here_is_read_alike() {
    Vectors::committed().encoded_here().check();
}
