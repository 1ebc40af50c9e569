use std::collections::HashSet;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use leafgate_nats_jwt::{
    AuthorizationRequest, CurveKey, CurvePublicKey, DeriveSharedBoxError, ServerKey, SharedBox,
    XkeyBinding,
};
use leafgate_runtime::{Clock, Shutdown};
use leafgate_sessions::SystemAccount;
use quick_cache::sync::Cache;

/// How often servers that are known are asked whether they still live.
const RECHECK: Duration = Duration::from_secs(60);

/// For how long an id that nobody answered to is not asked for again.
const REFUSE_FOR: Duration = Duration::from_secs(1);

/// The same for an id that could not be asked for.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// Bounds what made-up ids and xkeys can take of memory.
const REMEMBERED: usize = 1024;

/// The servers that may ask: those that the system account knows. A valid signature alone proves
/// nothing, because a server makes its key anew at each start and signs with the key that the
/// request names.
pub(crate) struct Servers {
    system: Option<SystemAccount>,
    clock: Arc<dyn Clock>,
    known: RwLock<HashSet<ServerKey>>,
    refused: Cache<ServerKey, Duration>,
    curve_key: Option<CurveKey>,
    xkeys: Cache<CurvePublicKey, Arc<ServerXkey>>,
}

/// A server's xkey, and what it has been proven to belong to.
pub(crate) struct ServerXkey {
    pub(crate) shared: SharedBox,
    binding: OnceLock<XkeyBinding>,
}

/// What is known of a server id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Known,
    Refused,
    Unasked,
}

impl Servers {
    /// Without `system` every server is taken at its word.
    pub(crate) fn new(
        system: Option<SystemAccount>,
        curve_key: Option<CurveKey>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            system,
            clock,
            known: RwLock::default(),
            refused: Cache::new(REMEMBERED),
            curve_key,
            xkeys: Cache::new(REMEMBERED),
        }
    }

    pub(crate) fn requires_sealing(&self) -> bool {
        self.curve_key.is_some()
    }

    /// The box shared with the server that has this xkey, computed once; `None` without an xkey of
    /// our own.
    pub(crate) fn server_xkey(
        &self,
        xkey: &CurvePublicKey,
    ) -> Result<Option<Arc<ServerXkey>>, DeriveSharedBoxError> {
        let Some(own) = &self.curve_key else {
            return Ok(None);
        };
        self.xkeys
            .get_or_insert_with(xkey, || {
                Ok(Arc::new(ServerXkey {
                    shared: own.shared(xkey)?,
                    binding: OnceLock::new(),
                }))
            })
            .map(Some)
    }

    pub(crate) fn standing(&self, id: &ServerKey) -> Standing {
        if self.system.is_none() || self.read_known().contains(id) {
            return Standing::Known;
        }
        match self.refused.get(id) {
            Some(until) if self.clock.monotonic() < until => Standing::Refused,
            _ => Standing::Unasked,
        }
    }

    /// Asks the system account for the id and remembers the answer.
    pub(crate) async fn ask(&self, id: &ServerKey) -> Standing {
        let Some(system) = &self.system else {
            return Standing::Known;
        };
        match system.identify(id.as_str()).await {
            Ok(Some(status)) => {
                // Requests that came together ask together.
                if self.write_known().insert(*id) {
                    tracing::info!(
                        server = status.name,
                        server_id = status.id,
                        "server verified"
                    );
                }
                Standing::Known
            }
            Ok(None) => {
                self.refuse_for(id, REFUSE_FOR);
                Standing::Refused
            }
            Err(error) => {
                self.refuse_for(id, RETRY_AFTER);
                tracing::warn!(
                    server_id = id.as_str(),
                    error = &error as &dyn std::error::Error,
                    "a new server can't be verified"
                );
                Standing::Refused
            }
        }
    }

    /// Every minute, forgets the servers that no longer live. Those that can't be asked stay.
    pub(crate) async fn recheck(&self, shutdown: Shutdown) {
        let Some(system) = &self.system else { return };
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(RECHECK) => {}
            }
            let known: Vec<ServerKey> = self.read_known().iter().copied().collect();
            for id in known {
                if let Ok(None) = system.identify(id.as_str()).await {
                    tracing::info!(server_id = id.as_str(), "server gone");
                    self.write_known().remove(&id);
                }
            }
        }
    }

    fn refuse_for(&self, id: &ServerKey, time: Duration) {
        self.refused.insert(*id, self.clock.monotonic() + time);
    }

    fn read_known(&self) -> RwLockReadGuard<'_, HashSet<ServerKey>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_known(&self) -> RwLockWriteGuard<'_, HashSet<ServerKey>> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServerXkey {
    /// What a verified signature has bound this xkey to.
    pub(crate) fn binding(&self) -> Option<&XkeyBinding> {
        self.binding.get()
    }

    /// Binds the xkey to the server whose signature on `request` was verified, once that server is
    /// known.
    pub(crate) fn bind(&self, request: &AuthorizationRequest) {
        if self.binding.get().is_none()
            && let Some(binding) = request.xkey_binding()
        {
            self.binding.get_or_init(|| binding);
        }
    }
}
