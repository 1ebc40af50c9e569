//! Log-in by access tokens, with a provider that serves its documents over HTTPS.

mod claims;
mod documents;
mod outage;
mod properties;
mod rotation;
mod signatures;
mod support;
