use leafgate_identity::{DeviceId, Fingerprint};
use serde::{Deserialize, Serialize};

/// A device has come with a certificate that takes the place of older ones: what the callout tells
/// the registry on `leafgate.v1.log-in` (JSON).
///
/// It is a hint, sent once and not waited for; the device's next log-in repeats it. Only replicas
/// of the callout may publish it, and whoever hears it reads the registry again. So the most that
/// one made up can do is what a log-in with that certificate does: start the overlap, at whose end
/// the older certificates of the same device stop counting. A replica's user, who could also answer
/// nats-server's questions, gains nothing by that; but a device that never received its new
/// certificate is then locked out until it is enrolled anew.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LogIn {
    /// Who came.
    pub device_id: DeviceId,
    /// SHA-256 of the certificate that it came with.
    pub fingerprint: Fingerprint,
}
