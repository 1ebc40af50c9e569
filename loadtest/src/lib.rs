//! Load for leafgate over real nats-servers, and figures that say under which load and beside
//! which peer they were measured.
//!
//! The tool acts as a nats-server would: it signs authorization requests with a server nkey of
//! its own, has the system account vouch for that server, and publishes the requests where
//! nats-server would publish them. So the service under test does all of its work, and no CPU goes
//! into TLS handshakes.

mod answer;
mod bench_server;
mod cli;
mod contender;
mod decide;
mod fleet;
mod leafgate_service;
mod load;
mod peer_service;
mod record;
mod registry;
mod report;
mod request;
mod scale;
mod usage;

pub use cli::main;
pub use contender::Contender;
pub use decide::{DecideArgs, decide};
pub use report::{Figures, Machine, Report, Row};
pub use scale::ScaleName;
