//! `leafgate-loadtest`.

use std::process::ExitCode;

fn main() -> ExitCode {
    leafgate_loadtest::main()
}
