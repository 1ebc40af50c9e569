use leafgate_identity::{DeviceId, UnixMs};
use leafgate_pki::{Intermediate, Issued, KeyPairPem, PublicKeyInfo};
use leafgate_registry::{Act, DeviceRecord, DeviceState, Holder, NewDevice};
use secrecy::SecretString;

use crate::error::RegistrarError;
use crate::issuance::Plan;
use crate::occasion::Occasion;
use crate::registrar::{Registrar, device_after};
use crate::renew_after::renew_after;

/// The key that a certificate is asked for.
#[derive(Clone, Copy, Debug)]
pub enum CertificateKey<'a> {
    /// One that is made here and handed out with the certificate.
    New,
    /// The one in this certificate request (PEM), of which nothing else is used.
    Csr(&'a str),
}

/// A device's certificate, handed out.
#[derive(Debug)]
pub struct DeviceCredentials {
    /// The device afterwards.
    pub device: DeviceRecord,
    /// The certificate.
    pub issued: Issued,
    /// Its private key, if it was made here. It is kept nowhere.
    pub private_key_pem: Option<SecretString>,
    /// When it is best renewed.
    pub renew_after: UnixMs,
    /// Whether it was made for this request. It was not if the device has one for the same key
    /// that is not due for renewal.
    pub newly_issued: bool,
}

impl Registrar {
    /// Registers a device and issues its first certificate, registration and intent in one
    /// commit.
    ///
    /// # Errors
    /// As [`register`](Self::register) and [`issue`](Self::issue). A pending device is refused
    /// before anything is done; [`RegistrarError::RegisteredWithoutCertificate`] says that the
    /// device stays registered.
    pub async fn register_with_certificate(
        &self,
        new: NewDevice,
        key: CertificateKey<'_>,
        act: &Act,
    ) -> Result<DeviceCredentials, RegistrarError> {
        if new.pending {
            return Err(RegistrarError::NotIssuable {
                id: new.id,
                state: DeviceState::Pending,
            });
        }
        self.check_name(&new)?;
        let (key, private_key_pem) = key.resolve()?;
        let first = Holder::Device {
            id: new.id.clone(),
            generation: 1,
        };
        self.check_key(&key.spki_hash(), &first, act.at).await?;
        let (record, plan) = self.register_and_prepare(&new, &key, act).await?;
        let (device, issued) = self
            .sign_and_record(record, plan, Occasion::Issue, act)
            .await
            .map_err(|source| RegistrarError::RegisteredWithoutCertificate {
                id: new.id,
                source: Box::new(source),
            })?;
        Ok(DeviceCredentials::new(device, issued, private_key_pem))
    }

    async fn register_and_prepare(
        &self,
        new: &NewDevice,
        key: &PublicKeyInfo,
        act: &Act,
    ) -> Result<(DeviceRecord, Plan), RegistrarError> {
        let signer = self.signer(Intermediate::Devices).await?;
        let mut tries = self.tries();
        loop {
            let register = self.build_registration(new, act).await?;
            let (prepare, plan) =
                self.prepare(&*signer, device_after(&register), key, Occasion::Issue, act)?;
            let record = device_after(&prepare).clone();
            if self.commit(&[register, prepare]).await? {
                return Ok((record, plan));
            }
            tries.again(&new.id).await?;
        }
    }

    /// Makes a key and issues a certificate for it. See [`issue`](Self::issue).
    ///
    /// # Errors
    /// As [`issue`](Self::issue).
    pub async fn issue_with_new_key(
        &self,
        id: &DeviceId,
        act: &Act,
    ) -> Result<DeviceCredentials, RegistrarError> {
        self.issue(id, CertificateKey::New, act).await
    }

    /// Issues a certificate for the key in a certificate request. See [`issue`](Self::issue).
    ///
    /// # Errors
    /// As [`issue`](Self::issue).
    pub async fn sign_csr(
        &self,
        id: &DeviceId,
        csr_pem: &str,
        act: &Act,
    ) -> Result<DeviceCredentials, RegistrarError> {
        self.issue(id, CertificateKey::Csr(csr_pem), act).await
    }

    /// Issues a certificate to an active or quarantined device. The older ones of its present
    /// generation count as before; [`note_log_in`](Self::note_log_in) ends them.
    ///
    /// A device that has a certificate for the same key gets that one again, until it is due for
    /// renewal: nothing is recorded then.
    ///
    /// # Errors
    /// There is no such device, its state allows no certificate, it has as many as it may, its
    /// trust domain is served by another issuer, the request or its key is refused, or the store
    /// or the issuer fails. [`RegistrarError::NotSigned`] and
    /// [`RegistrarError::SignedNotRecorded`] say how far it came; in neither case is there
    /// anything to clean up, but a new one to ask for.
    pub async fn issue(
        &self,
        id: &DeviceId,
        key: CertificateKey<'_>,
        act: &Act,
    ) -> Result<DeviceCredentials, RegistrarError> {
        let (key, private_key_pem) = key.resolve()?;
        let record = self.load(id).await?;
        let (device, issued, newly_issued) = self
            .issue_for(record, &key, Occasion::Issue, |_| Ok(()), act)
            .await?;
        let credentials = DeviceCredentials::new(device, issued, private_key_pem);
        Ok(DeviceCredentials {
            newly_issued,
            ..credentials
        })
    }

    /// Issues a certificate for this key to a device as it was just read, or gives the one that the device has. `admit`
    /// refuses devices of whatever record it doesn't like. Says whether the certificate is new.
    pub(crate) async fn issue_for(
        &self,
        record: DeviceRecord,
        key: &PublicKeyInfo,
        occasion: Occasion,
        admit: impl Fn(&DeviceRecord) -> Result<(), RegistrarError> + Send + Sync,
        act: &Act,
    ) -> Result<(DeviceRecord, Issued, bool), RegistrarError> {
        self.guard.before(&record.device)?;
        admit(&record)?;
        occasion.check(&record.device)?;
        let spki = key.spki_hash();
        self.check_key(&spki, &record.device.holder(), act.at)
            .await?;
        if let Some(issued) = self.find_issued(&record, &spki, act.at).await? {
            return Ok((record, issued, false));
        }
        let signer = self.signer(Intermediate::Devices).await?;
        self.check_requests(&record.device, &*signer, act.at)
            .await?;
        let prepare = |record: &DeviceRecord| {
            admit(record)?;
            self.prepare(&*signer, record, key, occasion, act)
        };
        let (record, plan) = self.change_record(record, prepare).await?;
        let (device, issued) = self.sign_and_record(record, plan, occasion, act).await?;
        Ok((device, issued, true))
    }
}

impl DeviceCredentials {
    /// A certificate that was made just now.
    pub(crate) fn new(
        device: DeviceRecord,
        issued: Issued,
        private_key_pem: Option<SecretString>,
    ) -> Self {
        Self {
            device,
            renew_after: renew_after(issued.validity, &issued.fingerprint),
            issued,
            private_key_pem,
            newly_issued: true,
        }
    }
}

impl CertificateKey<'_> {
    pub(crate) fn resolve(self) -> Result<(PublicKeyInfo, Option<SecretString>), RegistrarError> {
        match self {
            Self::New => {
                let KeyPairPem {
                    private_key_pem,
                    public,
                } = KeyPairPem::generate()?;
                Ok((public, Some(private_key_pem)))
            }
            Self::Csr(pem) => Ok((PublicKeyInfo::from_csr_pem(pem)?, None)),
        }
    }
}
