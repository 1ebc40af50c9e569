//! A registry in SQLite, its feed followed, its lists and answers served over HTTP, and OpenSSL to judge them.

mod http;
mod lists;
mod ocsp;
mod openssl;
mod outages;
mod signer;
mod world;
