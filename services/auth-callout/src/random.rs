//! Randomness at the service's edge: nonces, and jitter.

#[expect(
    clippy::disallowed_types,
    reason = "the service's edge: random numbers are drawn here"
)]
use rand_core::OsRng;
use rand_core::{CryptoRng, RngCore};

/// The system's random numbers.
pub(crate) fn rng() -> impl RngCore + CryptoRng {
    OsRng
}

/// Uniform in 0.0..1.0.
pub(crate) fn fraction() -> f64 {
    f64::from(rng().next_u32()) / (f64::from(u32::MAX) + 1.0)
}

pub(crate) fn nonce<const N: usize>() -> [u8; N] {
    let mut nonce = [0; N];
    rng().fill_bytes(&mut nonce);
    nonce
}
