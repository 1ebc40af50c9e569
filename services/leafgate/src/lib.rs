//! The programs of leafgate, as thin layers over its libraries.

pub mod callout;
pub mod cli;
pub mod demo;
pub mod dev;
pub mod local;
pub mod wiring;

use leafgate_runtime::Environment;

/// A decision makes and drops many small values on several threads; glibc's allocator takes twice
/// the time for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The process's environment: read once, at the edge.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the environment"
)]
fn environment() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Prints an error with its causes to standard error.
#[expect(clippy::print_stderr, reason = "the programs' own error output")]
fn complain(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}
