use std::future::pending;
use std::panic::resume_unwind;

/// Begins some work in a task of its own, and gives what comes of it.
///
/// A stream of such works may be read slowly. Those that have begun would else stop amid an act whenever nobody reads,
/// with a connection to the store that others wait for, perhaps whoever is to read on.
pub(crate) fn on_its_own<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> impl Future<Output = T> + Send {
    let task = tokio::spawn(work);
    async move {
        match task.await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // The runtime ends, and whoever waits for this with it.
                Err(_) => pending().await,
            },
        }
    }
}
