//! What this process logs.

use std::sync::Mutex;

/// Everything that was logged in this process since the first world began.
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Captured;

impl std::io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Captures all that our own crates log, down to the finest.
pub(super) fn capture_log() {
    let filter = "off,leafgate_access=trace,leafgate_registrar=trace,leafgate_registry_api=trace,leafgate_store_sql=trace";
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(|| Captured)
        .try_init();
}

pub(crate) fn captured_log() -> String {
    String::from_utf8(LOG.lock().unwrap().clone()).unwrap()
}
