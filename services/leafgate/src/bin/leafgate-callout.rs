//! `leafgate-callout`: one replica of the auth callout, as clusters run it.

fn main() -> std::process::ExitCode {
    leafgate::callout::main()
}
