use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use async_nats::{Client, Message};
use futures::{FutureExt, StreamExt};
use leafgate_nats_config::subjects::{LOG_IN, REGISTRY_QUEUE};
use leafgate_registry::{Act, Actor};
use leafgate_runtime::Shutdown;
use leafgate_sessions::LogIn;

use crate::app::App;

/// Log-ins that are looked into at once.
const CONCURRENCY: usize = 16;

/// Hears from the callout of devices that came with a new certificate, and starts the overlap at whose end their older
/// ones stop counting. Each is heard by one replica.
pub(super) async fn hear(app: Arc<App>, client: Client, shutdown: Shutdown) {
    let log_ins = match client.queue_subscribe(LOG_IN, REGISTRY_QUEUE.into()).await {
        Ok(log_ins) => log_ins,
        Err(error) => {
            tracing::error!(%error, "can't listen to log-ins");
            return;
        }
    };
    let noting = log_ins.for_each_concurrent(CONCURRENCY, move |message| {
        let app = Arc::clone(&app);
        async move {
            // A bug that one log-in meets must not end the hearing of all.
            let noted = AssertUnwindSafe(note(app, message)).catch_unwind().await;
            if noted.is_err() {
                tracing::error!("a log-in that the callout told of met a bug");
            }
        }
    });
    shutdown.run_until_cancelled(noting).await;
}

async fn note(app: Arc<App>, message: Message) {
    let log_in: LogIn = match serde_json::from_slice(&message.payload) {
        Ok(log_in) => log_in,
        Err(error) => {
            tracing::warn!(%error, "a log-in that the callout told of can't be read");
            return;
        }
    };
    let LogIn {
        device_id,
        fingerprint,
    } = log_in;
    let act = Act {
        actor: Actor::parse("callout").expect("a plain word"),
        at: app.clock.now(),
    };
    match app
        .registrar
        .note_log_in(&device_id, &fingerprint, &act)
        .await
    {
        Ok(Some(_)) => tracing::info!(
            device = device_id.as_str(),
            %fingerprint,
            "a new certificate is in use; the older ones end with the overlap"
        ),
        Ok(None) => {}
        // The next log-in is told of again.
        Err(error) => tracing::warn!(
            device = device_id.as_str(),
            error = &error as &dyn std::error::Error,
            "the overlap of a new certificate could not be started"
        ),
    }
}
