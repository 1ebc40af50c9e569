use anyhow::{Context as _, Result, ensure};
use hdrhistogram::Histogram;
use leafgate_identity::DeviceId;
use leafgate_registry::{CertificateQuery, DeviceStore, Query};
use leafgate_runtime::{Clock as _, SystemClock};

use super::RegistryScale;
use super::database::Database;
use super::report::{Goal, RegistryRow};
use crate::figures::median;

/// How many ids share all but their last digit.
const TEN: usize = 10;

/// How many look-ups among many are made before as many among few: what else the machine does meets both alike.
const TURN: usize = 50;

/// A prime that no number of devices is a multiple of: places a stride apart visit all of them.
const STRIDE: usize = 7_368_787;

/// Latencies in microseconds.
#[derive(Default)]
struct Run {
    p50: f64,
    p99: f64,
}

/// Looks devices up one after the other as a log-in does, among many and among few in turns, and searches them by the
/// beginning of their names.
pub(super) async fn measure(
    clock: &SystemClock,
    large: &Database,
    small: &Database,
    ids: &[DeviceId],
    scale: &RegistryScale,
) -> Result<Vec<RegistryRow>> {
    let bench = LookUps {
        clock,
        count: scale.look_ups,
    };
    let among_many = large.open_read_only().await?;
    let among_few = small.open_read_only().await?;
    let few = &ids[..scale.few_devices];
    let tens = ids.len() / TEN * TEN;
    let mut runs: [Vec<Run>; 5] = Default::default();
    for run in 0..=scale.runs {
        let [of_many, of_few] = bench
            .log_ins([(&*among_many, ids), (&*among_few, few)], run)
            .await?;
        let measured = [
            of_many,
            of_few,
            bench.devices(&*among_many, ids, 1, run).await?,
            bench.devices(&*among_many, &ids[..tens], TEN, run).await?,
            bench.certificates(&*among_many, &ids[..tens], run).await?,
        ];
        // The first run makes connections and fills caches.
        if run > 0 {
            for (runs, run) in runs.iter_mut().zip(measured) {
                runs.push(run);
            }
        }
    }
    let of = |index: usize, figure: fn(&Run) -> f64| {
        median(runs[index].iter().map(figure)).context("there is a run")
    };
    let row = |what: &str, leafgate, beside: String, figure, goal| RegistryRow {
        store: Some(large.kind()),
        what: what.to_owned(),
        leafgate,
        beside: Some((beside, figure)),
        digits: 0,
        goal,
    };
    let at_few = || format!("{} devices", few.len());
    let key = || "look-up by id".to_owned();
    let p50 = |run: &Run| run.p50;
    let p99 = |run: &Run| run.p99;
    let key_look_up = of(0, p50)?;
    Ok(vec![
        row(
            "log-in look-up, p99 µs",
            of(0, p99)?,
            at_few(),
            of(1, p99)?,
            Goal::AtMostOf(2.0),
        ),
        row(
            "log-in look-up, p50 µs",
            key_look_up,
            at_few(),
            of(1, p50)?,
            Goal::None,
        ),
        row(
            "1 device by name prefix, p50 µs",
            of(2, p50)?,
            key(),
            key_look_up,
            Goal::AtMostOf(5.0),
        ),
        row(
            "10 devices by name prefix, p50 µs",
            of(3, p50)?,
            key(),
            key_look_up,
            Goal::AtMostOf(5.0),
        ),
        row(
            "10 certificates by name prefix, p50 µs",
            of(4, p50)?,
            key(),
            key_look_up,
            Goal::AtMostOf(5.0),
        ),
    ])
}

struct LookUps<'a> {
    clock: &'a SystemClock,
    count: usize,
}

impl LookUps<'_> {
    /// Looks up in either registry, a few times each in turn.
    async fn log_ins(
        &self,
        among: [(&dyn DeviceStore, &[DeviceId]); 2],
        run: usize,
    ) -> Result<[Run; 2]> {
        let mut latencies = [Latencies::new()?, Latencies::new()?];
        for turn in (0..self.count).step_by(TURN) {
            for ((store, ids), latencies) in among.iter().zip(&mut latencies) {
                for number in turn..self.count.min(turn + TURN) {
                    let id = &ids[self.place(run, number) % ids.len()];
                    let found = latencies.of(self.clock, store.load(id)).await?;
                    let found = found.context("a device is missing")?;
                    ensure!(
                        found.device.id == *id && found.certificates.len() == 1,
                        "{found:?}"
                    );
                }
            }
        }
        Ok(latencies.map(|latencies| latencies.run()))
    }

    /// Finds this many at a time: one, or those that share all but their last digit.
    async fn devices(
        &self,
        store: &dyn DeviceStore,
        ids: &[DeviceId],
        together: usize,
        run: usize,
    ) -> Result<Run> {
        self.times(run, async |place| {
            let id = ids[place % ids.len()].as_str();
            let end = id.len() - usize::from(together == TEN);
            let query = Query {
                id_prefix: Some(id[..end].to_owned()),
                ..Query::default()
            };
            let found = store.find(&query).await?;
            ensure!(
                found.items.len() == together && found.next.is_none(),
                "{found:?}"
            );
            Ok(())
        })
        .await
    }

    async fn certificates(
        &self,
        store: &dyn DeviceStore,
        ids: &[DeviceId],
        run: usize,
    ) -> Result<Run> {
        self.times(run, async |place| {
            let id = ids[place % ids.len()].as_str();
            let query = CertificateQuery {
                device_prefix: Some(id[..id.len() - 1].to_owned()),
                ..CertificateQuery::default()
            };
            let found = store.find_certificates(&query).await?;
            ensure!(
                found.items.len() == TEN && found.next.is_none(),
                "{found:?}"
            );
            Ok(())
        })
        .await
    }

    async fn times(&self, run: usize, look_up: impl AsyncFn(usize) -> Result<()>) -> Result<Run> {
        let mut latencies = Latencies::new()?;
        for number in 0..self.count {
            let look_up = look_up(self.place(run, number));
            latencies.of(self.clock, look_up).await?;
        }
        Ok(latencies.run())
    }

    fn place(&self, run: usize, number: usize) -> usize {
        (run * self.count + number).wrapping_mul(STRIDE)
    }
}

struct Latencies(Histogram<u64>);

impl Latencies {
    fn new() -> Result<Self> {
        let histogram = Histogram::new(3).context("can't make a histogram")?;
        Ok(Self(histogram))
    }

    /// Waits, and takes down how long.
    async fn of<T, E>(
        &mut self,
        clock: &SystemClock,
        look_up: impl Future<Output = Result<T, E>>,
    ) -> Result<T>
    where
        anyhow::Error: From<E>,
    {
        let started = clock.monotonic();
        let found = look_up.await?;
        let elapsed = clock.monotonic() - started;
        self.0.record(u64::try_from(elapsed.as_nanos())?)?;
        Ok(found)
    }

    fn run(&self) -> Run {
        let us = |quantile| self.0.value_at_quantile(quantile) as f64 / 1e3;
        Run {
            p50: us(0.5),
            p99: us(0.99),
        }
    }
}
