//! Randomness at the service's edge: request ids, and pauses that spread tries.

#[expect(
    clippy::disallowed_types,
    reason = "the service's edge: random numbers are drawn here"
)]
use rand_core::OsRng;
use rand_core::RngCore;

pub(crate) fn number() -> u32 {
    OsRng.next_u32()
}

pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    OsRng.fill_bytes(&mut bytes);
    bytes
}

/// Uniform in 0.0..1.0.
pub(crate) fn fraction() -> f64 {
    f64::from(number()) / (f64::from(u32::MAX) + 1.0)
}
