//! `leafgate-loadtest`.

use std::process::ExitCode;

/// As the programs have it: imports run in this process.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    leafgate_loadtest::main()
}
