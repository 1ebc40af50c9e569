//! The system account of a NATS cluster, as far as leafgate needs it: which servers are real, which
//! connections live, how to end one, and who comes and goes; and how a service logs in to it and to
//! the other accounts of the cluster.

mod account;
mod connz;
mod events;
mod log_in;
mod login;

pub use account::{AskSystemError, KickOutcome, ServerStatus, SystemAccount};
pub use connz::{Connection, ConnectionFilter};
pub use events::{SessionEvent, SessionEventKind, SessionEvents};
pub use log_in::LogIn;
pub use login::{ConnectError, Login, LoginFiles, SystemConfig};

#[cfg(test)]
mod tests;
