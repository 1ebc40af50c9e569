//! `leafgate-loadtest`.

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    leafgate_loadtest::main().await
}
