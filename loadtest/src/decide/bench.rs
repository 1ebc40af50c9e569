use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use leafgate_identity::UnixMs;
use leafgate_runtime::{Clock as _, SystemClock};

use crate::answer::{AnswerCheck, Tally};
use crate::bench_server::BenchServer;
use crate::contender::{Contender, Service, Surroundings};
use crate::fleet::Fleet;
use crate::load::{Generator, Load, Outcome};
use crate::report::Figures;
use crate::request::{Caller, Expected, MadeUpServer, Request};
use crate::scale::Scale;
use crate::usage::{cpu_time, resident_bytes};
use crate::{leafgate_service, peer_service};

/// How long a service may take to answer its first request.
const START_LIMIT: Duration = Duration::from_secs(60);
const START_POLL: Duration = Duration::from_millis(50);

/// Warms caches: in parallel enough to be quick, few enough not to be a load.
const WARMING: Load = Load::InFlight(32);

/// The programs under test.
pub(super) struct Services {
    pub(super) leafgate: PathBuf,
    pub(super) policy: PathBuf,
    pub(super) peer: PathBuf,
    pub(super) peer_args: Vec<String>,
}

/// Everything that stays while services come and go.
pub(super) struct Bench {
    pub(super) nats: BenchServer,
    pub(super) clock: SystemClock,
    generator: Generator,
    fleet: Arc<Fleet>,
    database: PathBuf,
    services: Services,
    dir: PathBuf,
    next_client_id: AtomicU64,
}

impl Bench {
    pub(super) fn new(
        nats: BenchServer,
        fleet: Fleet,
        database: PathBuf,
        services: Services,
        clock: SystemClock,
        dir: PathBuf,
    ) -> Self {
        Self {
            generator: Generator {
                client: nats.asking.clone(),
                clock: clock.clone(),
            },
            nats,
            clock,
            fleet: Arc::new(fleet),
            database,
            services,
            dir,
            next_client_id: AtomicU64::new(1),
        }
    }

    pub(super) async fn stop(self) -> Result<()> {
        self.nats.stop().await
    }

    /// Starts a service, warms it, puts every load of `scale` on it and stops it.
    pub(super) async fn run(
        &self,
        contender: Contender,
        sealed: bool,
        scale: &Scale,
    ) -> Result<Vec<Figures>> {
        let dir = tempfile::Builder::new()
            .prefix(contender.name())
            .disable_cleanup(true)
            .tempdir_in(&self.dir)
            .context("can't make a folder for a service")?
            .keep();
        let around = Surroundings {
            nats: &self.nats,
            fleet: &self.fleet,
            database: &self.database,
            sealed,
            dir: &dir,
        };
        let command = match contender {
            Contender::Leafgate => {
                leafgate_service::command(&self.services.leafgate, &self.services.policy, &around)?
            }
            Contender::Peer => {
                let mut command = peer_service::command(&self.services.peer, &around);
                command.args(&self.services.peer_args);
                command
            }
        };
        let mut service = Service::start(contender, command, &dir)?;
        let measured = self.measure(&mut service, sealed, scale).await;
        let measured = match (measured, service.has_ended()?) {
            (Err(error), Some(end)) => Err(error.context(end)),
            (measured, _) => measured,
        };
        let stopped = service.stop().await;
        let figures = measured
            .with_context(|| format!("{} failed (--work-dir keeps its log)", contender.name()))?;
        stopped?;
        Ok(figures)
    }

    async fn measure(
        &self,
        service: &mut Service,
        sealed: bool,
        scale: &Scale,
    ) -> Result<Vec<Figures>> {
        self.await_first_answer(service, sealed).await?;
        self.warm(sealed).await?;
        let process = service.process()?;
        let mut figures = Vec::with_capacity(scale.loads.len());
        for load in &scale.loads {
            let requests = self.requests(scale.requests, sealed).await?;
            let asked_at = self.clock.now();
            let before = cpu_time(process)?;
            let outcome = self.generator.run(&requests, *load).await?;
            let used = cpu_time(process)?.saturating_sub(before);
            let resident = resident_bytes(process)?;
            let measured = Figures::new(&outcome, used, resident);
            let tally = self.check(requests, outcome, sealed, asked_at).await?;
            ensure!(tally.granted == scale.requests, "{} grants", tally.granted);
            figures.push(measured);
        }
        Ok(figures)
    }

    /// A service is ready when it answers: no sooner, whatever it says of itself.
    async fn await_first_answer(&self, service: &mut Service, sealed: bool) -> Result<()> {
        let deadline = self.clock.monotonic() + START_LIMIT;
        loop {
            let request = self.requests(1, sealed).await?;
            match self.generator.run(&request, WARMING).await {
                Ok(_) => return Ok(()),
                Err(_) if self.clock.monotonic() < deadline => {
                    if let Some(end) = service.has_ended()? {
                        bail!(end);
                    }
                    tokio::time::sleep(START_POLL).await;
                }
                Err(error) => return Err(error.context("the service never got ready")),
            }
        }
    }

    /// Has every caller ask twice, and among them those who must be refused or ignored.
    async fn warm(&self, sealed: bool) -> Result<()> {
        let asked_at = self.clock.now();
        let mut requests = self.intruders(sealed)?;
        requests.extend(self.sign(self.fleet.strangers.iter(), sealed)?);
        let intruders = requests.len();
        requests.extend(self.requests(2 * self.fleet.callers.len(), sealed).await?);
        let expected = requests.len() - intruders;
        let outcome = self.generator.run(&requests, WARMING).await?;
        let tally = self.check(requests, outcome, sealed, asked_at).await?;
        ensure!(
            tally.granted == expected && tally.refused + tally.silent == intruders,
            "{tally:?} of {expected} callers and {intruders} intruders"
        );
        Ok(())
    }

    /// Requests that deserve no answer.
    fn intruders(&self, sealed: bool) -> Result<Vec<Request>> {
        let callers = self.fleet.callers.iter().take(1);
        let made_up = &self.nats.made_up;
        let unknown = MadeUpServer::new(made_up.issuer.clone(), made_up.service_xkey.clone());
        let now = self.clock.now();
        let mut requests = unknown.ask_for(callers.clone(), 1, sealed, now)?;
        if !sealed {
            // In a box the sender is authenticated already, and the signature may go unread.
            for mut request in made_up.ask_for(callers, 1, sealed, now)? {
                request.payload = with_other_signature(&request.payload);
                requests.push(request);
            }
        }
        for request in &mut requests {
            request.expected = Expected::Silence;
        }
        Ok(requests)
    }

    /// `count` fresh requests, from all callers in turn.
    async fn requests(&self, count: usize, sealed: bool) -> Result<Vec<Request>> {
        let fleet = Arc::clone(&self.fleet);
        let server = Arc::clone(&self.nats.made_up);
        let first = self.take_client_ids(count);
        let now = self.clock.now();
        tokio::task::spawn_blocking(move || {
            let callers = fleet.callers.iter().cycle().take(count);
            server.ask_for(callers, first, sealed, now)
        })
        .await
        .context("signing requests failed")?
    }

    fn sign<'c>(
        &self,
        callers: impl ExactSizeIterator<Item = &'c Caller>,
        sealed: bool,
    ) -> Result<Vec<Request>> {
        let first = self.take_client_ids(callers.len());
        self.nats
            .made_up
            .ask_for(callers, first, sealed, self.clock.now())
    }

    fn take_client_ids(&self, count: usize) -> u64 {
        self.next_client_id
            .fetch_add(count as u64, Ordering::Relaxed)
    }

    async fn check(
        &self,
        requests: Vec<Request>,
        outcome: Outcome,
        sealed: bool,
        asked_at: UnixMs,
    ) -> Result<Tally> {
        let server = Arc::clone(&self.nats.made_up);
        let tally = tokio::task::spawn_blocking(move || {
            let check = AnswerCheck {
                server: &server,
                sealed,
                asked_at,
            };
            check.check_all(&requests, &outcome.answers)
        })
        .await
        .context("checking answers failed")??;
        if tally.wrong > 0 {
            bail!(
                "{} wrong answers\n  {}",
                tally.wrong,
                tally.complaints.join("\n  ")
            );
        }
        Ok(tally)
    }
}

/// The same token under a signature of the right form that does not verify.
fn with_other_signature(token: &[u8]) -> Bytes {
    let mut token = token.to_vec();
    // 86 characters of base64 carry the signature; this one is in its first half, the point R.
    let changed = token.len() - 80;
    token[changed] = if token[changed] == b'A' { b'B' } else { b'A' };
    token.into()
}
