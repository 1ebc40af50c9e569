//! Randomness at the service's edge: nonces, and jitter.

use rand_core::{OsRng, RngCore};

/// Uniform in 0.0..1.0.
pub(crate) fn fraction() -> f64 {
    f64::from(OsRng.next_u32()) / (f64::from(u32::MAX) + 1.0)
}

pub(crate) fn nonce<const N: usize>() -> [u8; N] {
    let mut nonce = [0; N];
    OsRng.fill_bytes(&mut nonce);
    nonce
}
