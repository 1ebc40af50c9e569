use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use leafgate_identity::SerialNumber;

/// Where serial numbers come from.
pub trait SerialSource: Send + Sync {
    /// Draws a serial number that nobody can foretell and that does not come again.
    ///
    /// # Errors
    /// There is no randomness to be had.
    fn draw(&self) -> Result<SerialNumber, DrawSerialError>;
}

/// Serial numbers of 128 random bits: twice what RFC 5280's users ask for (CA/Browser Forum
/// baseline requirements, section 7.1), so that a collision is out of the question.
#[derive(Clone, Copy, Debug, Default)]
pub struct RandomSerials;

impl SerialSource for RandomSerials {
    #[expect(
        clippy::disallowed_methods,
        reason = "the edge for serial numbers: others take a SerialSource"
    )]
    fn draw(&self) -> Result<SerialNumber, DrawSerialError> {
        let mut bytes = [0; 16];
        SystemRandom::new()
            .fill(&mut bytes)
            .map_err(|_| DrawSerialError)?;
        SerialNumber::from_be_bytes(&bytes).map_err(|_| DrawSerialError)
    }
}

/// No serial number could be drawn.
#[derive(Debug, thiserror::Error)]
#[error("the system's random number generator failed")]
pub struct DrawSerialError;
