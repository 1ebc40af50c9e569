//! The CA seen from outside: what it takes, what it signs, and how it is kept on disk.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod certs_only;
mod checkers;
mod csr;
mod directory;
mod issuer;
mod load;
mod ocsp;
mod openssl;
mod revocation;
mod root_list;
mod rotation;
mod signed_elsewhere;
mod status_urls;
mod support;
