//! What devices ask of the API on their own: enrolment with a token, renewal with their certificate, over REST and EST.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod bench;
mod enrol;
mod est;
mod est_openssl;
mod hostile;
mod proxied;
mod races;
mod renewal;
mod renewal_refused;
mod rotating;
mod rotation;
mod service_renewal;
#[path = "../api/support/mod.rs"]
#[expect(dead_code, reason = "shared with the tests of the rest of the API")]
mod support;
mod tokens;
