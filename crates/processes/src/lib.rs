//! Finds, starts, watches and stops child processes: nats-servers and leafgate's own binaries, for `leafgate dev`,
//! `leafgate demo`, load tests and tests.
//!
//! Unix only. Every child gets a process group of its own, so Ctrl-C in a terminal reaches the parent alone, which
//! then stops its children in the order it wants; a watchdog ends them when the parent dies without having done so
//! (see [`Child`]). A tokio runtime with IO and time must be running where children are started or awaited.

mod binary;
mod child;
mod log;
mod nats_server;

pub use binary::{FindNatsServerError, NatsServerBinary, ParseServerVersionError, ServerVersion};
pub use child::{AwaitChildError, Child, LogExcerpt, StartChildError};
pub use log::{Log, LogMark};
pub use nats_server::{NatsServer, Ports, StartNatsServerError};
pub use nix::sys::signal::Signal;
