//! Where tokens don't appear.

use std::io;
use std::sync::{Arc, Mutex};

use leafgate_registry::DeviceStore;
use leafgate_testkit::store_conformance::records::{id, register};
use tracing_subscriber::fmt::MakeWriter;

use super::*;

/// A log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// However much is logged.
#[tokio::test(flavor = "current_thread")]
async fn no_log_and_no_debug_form_holds_a_token_or_a_secret() {
    let role = AppRole::new(json!({ "token_ttl": "3s" })).await;
    let Some(VaultLogInConfig::AppRole { secret_id_file, .. }) = &role.config.log_in else {
        panic!()
    };
    let secret_id = fs::read_to_string(secret_id_file).unwrap();
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .finish();
    // To tracing, one subscriber alone is that of whichever thread comes by an event first; and if that has none, nobody
    // is ever told of the event.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    // All tasks of this test run on this thread.
    let guard = tracing::subscriber::set_default(subscriber);
    let vault = Vault::connect(&role.config, &Default::default())
        .await
        .unwrap();
    let store = VaultStore::open(&vault, &role.scratch.config())
        .await
        .unwrap();
    register(&store, "0001").await;
    role.read_until(&store, "a renewal", |seen| seen.renewals() >= 1)
        .await;
    let first = role.watched.token();
    let revoke = json!({ "token": first });
    role.scratch
        .admin
        .request("POST", "auth/token/revoke", revoke)
        .await;
    store.load(&id("0001")).await.unwrap();
    let second = role.watched.token();
    assert_ne!(first, second);
    drop(guard);

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("logging in to Vault again"), "{log}");
    let shown = format!("{log} {vault:?} {:?}", role.config);
    // The administrator's requests are logged too, and hold tokens in their bodies only.
    for secret in [first.as_str(), &second, secret_id.trim()] {
        assert!(!shown.contains(secret), "it shows a secret");
    }
}
