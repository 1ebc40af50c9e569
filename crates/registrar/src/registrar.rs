use std::fmt;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use leafgate_access::{Permission, Principal};
use leafgate_identity::{DeviceId, TrustDomain, TrustDomainName, TrustDomains, UnixMs};
use leafgate_registry::{
    Certificate, Change, CommitError, DeviceRecord, DeviceStore, DocumentName,
};

use crate::error::RegistrarError;
use crate::guard::Guard;
use crate::issuers::Issuers;
use crate::limits::IssuanceLimits;
use crate::once::{self, Once, RecordedRequest, RequestKey};
use crate::tries::Tries;
use crate::turns::Turns;

/// Carries out what is asked of the registry.
///
/// All methods take the [`Act`](leafgate_registry::Act) that is recorded; its time is the present
/// for everything that is decided.
#[derive(Clone)]
pub struct Registrar {
    pub(crate) store: Arc<dyn DeviceStore>,
    pub(crate) issuers: Issuers,
    pub(crate) domains: Arc<ArcSwap<TrustDomains>>,
    pub(crate) overlap: Duration,
    pub(crate) limits: IssuanceLimits,
    pub(crate) renew_grace: Duration,
    pub(crate) guard: Guard,
    pub(crate) once: Option<Arc<Once>>,
    pub(crate) turns: Arc<Turns>,
    random: fn() -> u32,
}

impl Registrar {
    /// For how long an older certificate counts once its device has logged in with a newer one,
    /// unless [`with_overlap`](Self::with_overlap) says otherwise.
    pub const DEFAULT_OVERLAP: Duration = Duration::from_secs(24 * 3600);
    /// For how long after its end a certificate can be renewed, unless
    /// [`with_renew_grace`](Self::with_renew_grace) says otherwise.
    pub const DEFAULT_RENEW_GRACE: Duration = Duration::from_secs(90 * 24 * 3600);

    /// How long an issuer must have been prepared before it is activated, unless the caller of
    /// [`activate_issuer`](Self::activate_issuer) knows better.
    pub const DEFAULT_ACTIVATE_AFTER: Duration = Duration::from_secs(24 * 3600);

    /// Joins a store with issuers. The trust domains say how devices are named. `random` gives
    /// uniform numbers, which spread the tries of those who change the same record at a time.
    ///
    /// What waits to try again needs a tokio runtime with its timer.
    pub fn new(
        store: Arc<dyn DeviceStore>,
        issuers: Issuers,
        domains: Arc<TrustDomains>,
        random: fn() -> u32,
    ) -> Self {
        Self {
            store,
            issuers,
            domains: Arc::new(ArcSwap::new(domains)),
            overlap: Self::DEFAULT_OVERLAP,
            limits: IssuanceLimits::default(),
            renew_grace: Self::DEFAULT_RENEW_GRACE,
            guard: Guard::default(),
            once: None,
            turns: Arc::default(),
            random,
        }
    }

    /// Lets older certificates count for this long once their device has logged in with a newer
    /// one.
    #[must_use]
    pub fn with_overlap(mut self, overlap: Duration) -> Self {
        self.overlap = overlap;
        self
    }

    /// Bounds how many certificates a device gets.
    #[must_use]
    pub fn with_limits(mut self, limits: IssuanceLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Lets certificates be renewed for this long after their end.
    #[must_use]
    pub fn with_renew_grace(mut self, grace: Duration) -> Self {
        self.renew_grace = grace;
        self
    }

    /// The same registrar for one request of somebody who needs this permission on every device that is registered or
    /// changed, as it is and as it will be: nobody moves a device into or out of their scope.
    #[must_use]
    pub fn on_behalf_of(&self, principal: &Principal, permission: Permission) -> Self {
        let mut registrar = self.clone();
        registrar.guard.on_behalf_of = Some(Arc::new((principal.clone(), permission)));
        registrar
    }

    /// The same registrar for one request that is about this version of a device and no other.
    #[must_use]
    pub fn if_version(&self, version: u64) -> Self {
        let mut registrar = self.clone();
        registrar.guard.version = Some(version);
        registrar
    }

    /// For what follows from a change that was allowed.
    pub(crate) fn unguarded(&self) -> Self {
        let mut registrar = self.clone();
        registrar.guard = Guard::default();
        registrar
    }

    /// The same registrar for one act that must not be carried out twice: its first commit records the request, or fails
    /// with [`RegistrarError::RequestRepeated`] if it is recorded. An act that changes nothing records nothing.
    ///
    /// Two that come at a time may both find that there is nothing recorded and nothing in their way. The one that comes
    /// second is refused with `RequestRepeated`, or for the first one's sake, such as by an id that is taken.
    #[must_use]
    pub fn once(&self, key: RequestKey) -> Self {
        let mut registrar = self.clone();
        registrar.once = Some(Arc::new(Once::new(key)));
        registrar
    }

    /// For what comes before an act, and is right whether or not the act comes about: it records no request.
    pub(crate) fn beside_request(&self) -> Self {
        let mut registrar = self.clone();
        registrar.once = None;
        registrar
    }

    /// The request that is recorded under this name, if it is not too long ago.
    ///
    /// # Errors
    /// The store fails.
    pub async fn find_request(
        &self,
        name: &DocumentName,
        now: UnixMs,
    ) -> Result<Option<RecordedRequest>, RegistrarError> {
        once::find(&*self.store, name, now).await
    }

    /// Names devices by these trust domains from now on, in every clone: the files of their issuers have changed.
    pub fn replace_domains(&self, domains: Arc<TrustDomains>) {
        self.domains.store(domains);
    }

    /// Two uniform numbers.
    pub(crate) fn random(&self) -> [u32; 2] {
        [(self.random)(), (self.random)()]
    }

    pub(crate) fn domain(&self, name: &TrustDomainName) -> Result<TrustDomain, RegistrarError> {
        find_domain(&self.domains.load(), name).cloned()
    }

    pub(crate) async fn load(&self, id: &DeviceId) -> Result<DeviceRecord, RegistrarError> {
        let found = self.store.load(id).await?;
        found.ok_or_else(|| RegistrarError::DeviceUnknown { id: id.clone() })
    }

    /// The tries of a new act.
    pub(crate) fn tries(&self) -> Tries {
        Tries::new(self.random)
    }

    /// Builds a change from the record as it stands and commits it; builds it anew from the newer
    /// record when somebody else came first. What `build` gives beside the change comes back with
    /// the record afterwards.
    pub(crate) async fn change_device<T: Send, E: From<RegistrarError>>(
        &self,
        id: &DeviceId,
        build: impl FnMut(&DeviceRecord) -> Result<(Change, T), E> + Send,
    ) -> Result<(DeviceRecord, T), E> {
        let record = self.load(id).await?;
        self.change_record(record, build).await
    }

    /// The same with the record as it was just read.
    pub(crate) async fn change_record<T: Send, E: From<RegistrarError>>(
        &self,
        mut record: DeviceRecord,
        mut build: impl FnMut(&DeviceRecord) -> Result<(Change, T), E> + Send,
    ) -> Result<(DeviceRecord, T), E> {
        let mut tries = self.tries();
        loop {
            self.guard.before(&record.device)?;
            let (change, with) = build(&record)?;
            self.guard.after(&device_after(&change).device)?;
            if self.commit(slice::from_ref(&change)).await? {
                return Ok((device_after(&change).clone(), with));
            }
            tries.again(&record.device.id).await?;
            record = self.load(&record.device.id).await?;
        }
    }

    /// Commits, or says with `false` that the act must be built anew: a record changed meanwhile,
    /// or the serial number that was drawn is taken.
    pub(crate) async fn commit(&self, changes: &[Change]) -> Result<bool, RegistrarError> {
        let refusal = match &self.once {
            None => self.store.commit(changes).await.map(drop),
            Some(once) => once.commit(&*self.store, changes).await,
        };
        let Err(refusal) = refusal else {
            return Ok(true);
        };
        if let (Some(once), Some(first)) = (&self.once, changes.first())
            && !matches!(refusal, CommitError::Store(_))
            && once.is_repeated(&*self.store, first.event().at).await?
        {
            return Err(RegistrarError::RequestRepeated);
        }
        match refusal {
            conflict @ (CommitError::Conflict { .. } | CommitError::SerialTaken { .. }) => {
                tracing::debug!(%conflict, "trying again");
                Ok(false)
            }
            CommitError::IdTaken { id, existing } => Err(RegistrarError::IdTaken { id, existing }),
            CommitError::Store(source) => Err(RegistrarError::of_commit(source)),
        }
    }
}

impl fmt::Debug for Registrar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registrar")
            .field("domains", &self.domains)
            .field("overlap", &self.overlap)
            .finish_non_exhaustive()
    }
}

pub(crate) fn find_domain<'a>(
    domains: &'a TrustDomains,
    name: &TrustDomainName,
) -> Result<&'a TrustDomain, RegistrarError> {
    let found = domains.by_name(name);
    found.ok_or_else(|| RegistrarError::TrustDomainUnknown {
        name: name.clone(),
        known: domains.iter().map(|known| known.name.clone()).collect(),
    })
}

/// The device as it is after a change of a device.
pub(crate) fn device_after(change: &Change) -> &DeviceRecord {
    change
        .device_after()
        .expect("a change built from a device changes that device")
}

/// The certificate as it is after a change of a service's certificate.
pub(crate) fn service_after(change: &Change) -> &Certificate {
    change
        .service_certificate_after()
        .expect("a change built from a service's certificate changes that certificate")
}
