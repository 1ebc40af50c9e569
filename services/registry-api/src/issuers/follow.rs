use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use leafgate_registrar::{IssuerKeys, RegistrarError};
use leafgate_registry::Act;
use leafgate_runtime::Shutdown;

use crate::app::App;
use crate::refusals::own_actor;

/// How often the files of issuers are looked at, and whether this process can sign as the registry wants it.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What a service knows of its issuers, beside their keys.
#[derive(Debug, Default)]
pub(crate) struct IssuerWatch {
    /// The key of an issuer that is to sign is not here.
    lacks_key: AtomicBool,
    /// The issuers can't be read.
    unreadable: AtomicBool,
}

impl IssuerWatch {
    /// Whether the key of an issuer that is to sign is not here.
    pub(crate) fn lacks_key(&self) -> bool {
        self.lacks_key.load(Ordering::Relaxed)
    }
}

/// Follows the issuers' source and the files of the trust domains until `shutdown`: what an operator prepared is known,
/// served and recorded within seconds.
pub(crate) async fn follow_issuers(app: Arc<App>, shutdown: Shutdown) {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    let mut is_noted = false;
    while shutdown.run_until_cancelled(looks.tick()).await.is_some() {
        if let Some(keys) = read(&app).await {
            take_over(&app, keys);
            is_noted = false;
        }
        reload_domains(&app).await;
        if !is_noted {
            is_noted = note(&app).await;
        }
        look_for_keys(&app).await;
    }
}

async fn read(app: &Arc<App>) -> Option<IssuerKeys> {
    let source = Arc::clone(app.authority.source.as_ref()?);
    let read = tokio::task::spawn_blocking(move || source.read()).await;
    let unreadable = &app.issuer_watch.unreadable;
    match read.map_err(anyhow::Error::from).flatten() {
        Ok(keys) => {
            unreadable.store(false, Ordering::Relaxed);
            keys
        }
        Err(error) => {
            if !unreadable.swap(true, Ordering::Relaxed) {
                let error: &dyn std::error::Error = error.as_ref();
                tracing::warn!(
                    error,
                    "the issuers can't be read anew; going on with those that were read"
                );
            }
            None
        }
    }
}

fn take_over(app: &Arc<App>, keys: IssuerKeys) {
    let issuers = &app.authority.issuers;
    let before: Vec<_> = issuers.all().iter().map(|it| it.spki()).collect();
    issuers.replace(keys);
    let all = issuers.all();
    let after: Vec<_> = all.iter().map(|it| it.spki()).collect();
    for issuer in after.iter().filter(|it| !before.contains(it)) {
        tracing::info!(%issuer, "an issuer's key has come");
    }
    for issuer in before.iter().filter(|it| !after.contains(it)) {
        tracing::info!(%issuer, "an issuer's key has gone: nothing of its certificates is told any more");
    }
    if let Err(error) = app.revocations.set_issuers(&all) {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "an issuer's certificates get no revocation status"
        );
    }
}

async fn reload_domains(app: &Arc<App>) {
    let of = Arc::clone(app);
    let reloaded = tokio::task::spawn_blocking(move || of.device_issuers.reload()).await;
    if let Ok(Some(domains)) = reloaded {
        tracing::info!("the trust domains' issuers have changed");
        app.registrar.replace_domains(domains);
    }
}

async fn note(app: &App) -> bool {
    let act = Act {
        actor: own_actor(),
        at: app.clock.now(),
    };
    match app.registrar.note_issuers(&act).await {
        Ok(noted) => {
            for issuer in noted {
                tracing::info!(%issuer, "issuer recorded");
            }
            true
        }
        Err(error) => {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "issuers could not be recorded: trying again"
            );
            false
        }
    }
}

/// Tells once when this process has no key to sign with, and once when it has again.
async fn look_for_keys(app: &App) {
    let lacks = &app.issuer_watch.lacks_key;
    match app.registrar.check_keys().await {
        Ok(()) => {
            if lacks.swap(false, Ordering::Relaxed) {
                tracing::info!("the keys of the issuers that sign are here");
            }
        }
        Err(error @ RegistrarError::IssuerKeyMissing { .. }) => {
            if !lacks.swap(true, Ordering::Relaxed) {
                tracing::error!(error = &error as &dyn std::error::Error, "can't sign");
            }
        }
        // That the registry can't be read is told where it is followed.
        Err(_) => {}
    }
}
