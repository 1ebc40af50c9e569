//! `leafgate-registry`: the registry API, as clusters run it.

fn main() -> std::process::ExitCode {
    leafgate::registry::main()
}
