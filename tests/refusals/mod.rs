//! Who is refused, by whom, and for which reason: tables of log-ins that must fail.
//!
//! - [`handshake`]: by nats-server, before leafgate hears of them;
//! - [`connection`]: by leafgate, on real connections;
//! - [`message`]: by leafgate, as messages that no honest nats-server would send, or about
//!   connections that are hard to make;
//! - [`clock`]: by, or in spite of, clocks that disagree.

mod clock;
mod connection;
mod handshake;
mod message;
