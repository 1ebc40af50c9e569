//! `leafgate`: everything on one machine, and the tool for operators.

fn main() -> std::process::ExitCode {
    leafgate::cli::main()
}
