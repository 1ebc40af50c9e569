//! Certificate chains of any bytes: none makes the parser panic, and what it accepts yields
//! device ids that are single NATS tokens.

#![no_main]

mod chain;

libfuzzer_sys::fuzz_target!(|data: &[u8]| chain::check(data));
