//! The system account of a NATS cluster, as far as leafgate needs it: which servers are real, which
//! connections live, how to end one, and who comes and goes.

mod account;
mod connz;
mod events;

pub use account::{AskSystemError, KickOutcome, ServerStatus, SystemAccount};
pub use connz::{Connection, ConnectionFilter};
pub use events::{SessionEvent, SessionEventKind, SessionEvents};

#[cfg(test)]
mod tests;
