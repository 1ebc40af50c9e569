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
mod figures;
mod fleet;
mod http;
mod issue;
mod leafgate_service;
mod load;
mod machine;
mod peer_service;
mod record;
mod registry;
mod report;
mod request;
mod scale;
mod site;
mod table;
mod usage;

pub use cli::main;
pub use contender::Contender;
pub use decide::{DecideArgs, decide};
pub use issue::{IssueArgs, IssueContender, IssueFigures, IssueReport, IssueRow, issue};
pub use machine::{Machine, load_average};
pub use record::{FAULTS, MarkdownTable, day, markdown_row};
pub use registry::{RegistryArgs, RegistryReport, RegistryRow, StoreName, registry};
pub use report::{Figures, Report, Row};
pub use scale::ScaleName;
