use std::sync::Arc;
use std::thread;

use anyhow::{Context, ensure};
use async_nats::connection::State;
use leafgate_runtime::{LogOutput, Shutdown};
use leafgate_sessions::Login;
use tokio::sync::{oneshot, watch};

use crate::peers::say_alive;
use crate::worker::{Shared, Worker};

/// The threads that answer requests.
pub(crate) struct Workers {
    threads: Vec<thread::JoinHandle<()>>,
    pub(crate) subscriptions: Vec<Subscription>,
}

/// Whether a worker takes requests.
#[derive(Clone)]
pub(crate) struct Subscription {
    client: async_nats::Client,
    subscribed: watch::Receiver<bool>,
}

impl Subscription {
    pub(crate) fn is_live(&self) -> bool {
        // A worker that has ended, be it by panic, has dropped the sender.
        let runs = self.subscribed.has_changed().is_ok();
        runs && *self.subscribed.borrow() && self.client.connection_state() == State::Connected
    }
}

impl Workers {
    /// Starts `count` of them, or as many as fit the machine for 0, each connected or connecting.
    pub(crate) async fn start(
        shared: &Arc<Shared>,
        login: &Login,
        count: usize,
        log: &LogOutput,
        may_serve: &watch::Receiver<bool>,
        shutdown: &Shutdown,
    ) -> anyhow::Result<Self> {
        let count = match count {
            0 => thread::available_parallelism().map_or(1, |cores| usize::from(cores).div_ceil(2)),
            count => count,
        };
        let mut workers = Self {
            threads: Vec::new(),
            subscriptions: Vec::new(),
        };
        for number in 0..count {
            let (shared, login, log) = (shared.clone(), login.clone(), log.writer());
            let (may_serve, shutdown) = (may_serve.clone(), shutdown.clone());
            let (subscribed, is_subscribed) = watch::channel(false);
            let (connected, connection) = oneshot::channel();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .context("worker runtime")?;
            let thread = thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || {
                    runtime.block_on(async move {
                        match Worker::connect(shared, &login, number, log).await {
                            Ok(worker) => {
                                let client = worker.client();
                                tokio::spawn(say_alive(client.clone(), login.replica));
                                let _ = connected.send(Ok(client));
                                worker.run(may_serve, subscribed, shutdown).await;
                            }
                            Err(error) => {
                                let _ = connected.send(Err(error));
                            }
                        }
                    });
                })
                .context("worker thread")?;
            let client = connection.await.context("a worker died at start")??;
            workers.threads.push(thread);
            workers.subscriptions.push(Subscription {
                client,
                subscribed: is_subscribed,
            });
        }
        Ok(workers)
    }

    /// Waits until every worker has drained.
    ///
    /// # Errors
    /// A worker panicked.
    pub(crate) async fn join(self) -> anyhow::Result<()> {
        let mut panicked = 0;
        for thread in self.threads {
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            panicked += usize::from(!matches!(joined, Ok(Ok(()))));
        }
        ensure!(panicked == 0, "workers ended by panic: {panicked}");
        Ok(())
    }
}
