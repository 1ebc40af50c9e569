//! What every leafgate service needs around its own work: configuration, clock, telemetry, the
//! health listener and an orderly end.

mod clock;
mod config;
mod http;
mod probe;
mod secret;
mod sections;
mod setup;
mod shutdown;
mod telemetry;
mod vault_section;

pub use clock::{Clock, SystemClock};
pub use config::{Environment, LoadConfigError, load_config};
pub use http::{HealthListener, Readiness, ReadinessReport, StartListenerError};
pub use probe::{ProbeError, probe};
pub use secret::{ReadSecretError, read_secret};
pub use sections::{
    LogConfig, ReadTextError, StoreConfig, TrustDomainConfig, read_text, subject_prefix,
};
pub use setup::{SetUpError, SetUpProblems};
pub use shutdown::{Shutdown, shutdown_on_signals};
pub use telemetry::{InitTelemetryError, LogFormat, LogLine, LogOutput, LogWriter, init_telemetry};
pub use vault_section::{VaultConfig, VaultLogInConfig};
