mod certificates;
mod leafgate;
mod report;
mod vault;

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use hyper::Request;
use leafgate_identity::{CnPattern, DeviceId};
use leafgate_runtime::{Clock as _, SystemClock};
use leafgate_store_sql::PostgresStore;
use leafgate_testkit::postgres::{PostgresServer, PostgresSettings};
use nix::unistd::Pid;

use self::certificates::{Wish, check};
use self::leafgate::LeafgateIssuer;
#[cfg(test)]
pub(crate) use self::report::TABLE;
pub use self::report::{IssueFigures, IssueReport, IssueRow};
use self::vault::VaultIssuer;
use crate::http::{HttpServer, Replies, Whole};
use crate::machine::{Machine, load_average};
use crate::scale::ScaleName;
use crate::site::{Site, postgres_options, registry_binary};
use crate::usage::{cpu_time, resident_bytes};

/// What to measure, with what.
#[derive(Debug, Clone, Args)]
pub struct IssueArgs {
    /// How much to measure.
    #[arg(long, value_enum, default_value = "full")]
    pub scale: ScaleName,
    /// The leafgate-registry to measure [default: the one beside this program].
    #[arg(long, value_name = "FILE")]
    pub registry_bin: Option<PathBuf>,
    /// Measure only this one.
    #[arg(long, value_enum, value_name = "SERVICE")]
    pub only: Option<IssueContender>,
    /// Certificates of one measurement, in place of the scale's.
    #[arg(long, value_name = "N", value_parser = crate::scale::at_least_one)]
    pub requests: Option<usize>,
    /// Measurements of which the median counts, in place of the scale's.
    #[arg(long, value_name = "N", value_parser = crate::scale::at_least_one)]
    pub runs: Option<usize>,
}

/// A service that signs certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum IssueContender {
    /// `leafgate-registry` on PostgreSQL.
    Leafgate,
    /// Vault's PKI engine on its file back end.
    Vault,
}

impl IssueArgs {
    /// Everything by default.
    pub fn new(scale: ScaleName) -> Self {
        Self {
            scale,
            registry_bin: None,
            only: None,
            requests: None,
            runs: None,
        }
    }

    fn scale(&self) -> IssueScale {
        let mut scale = match self.scale {
            ScaleName::Full => IssueScale {
                requests: 10_000,
                runs: 3,
                connections: vec![64, 16],
                limit: Duration::from_secs(20 * 60),
            },
            ScaleName::Small => IssueScale {
                requests: 200,
                runs: 1,
                connections: vec![16],
                limit: Duration::from_secs(5 * 60),
            },
        };
        scale.requests = self.requests.unwrap_or(scale.requests);
        scale.runs = self.runs.unwrap_or(scale.runs);
        scale
    }
}

struct IssueScale {
    /// Certificates of a measurement, each for a device of its own.
    requests: usize,
    /// Measurements of which the median is reported.
    runs: usize,
    /// How many connections ask at a time; the first is the one that the ratio is judged by.
    connections: Vec<usize>,
    /// After this long the run is given up.
    limit: Duration,
}

/// Something that signs for whoever asks over HTTPS.
trait Issuing {
    fn server(&self) -> &HttpServer;
    fn request(&self, wish: &Wish) -> Result<Request<Whole>>;
    fn process(&self) -> Result<Pid>;
    /// The certificate of its CA.
    fn issuer_pem(&self) -> &str;
    /// The member of its answers that holds the certificate.
    fn certificate_at(&self) -> &'static str;
    fn status(&self) -> u16;
}

/// Measures what it costs to sign certificate requests, leafgate and Vault in turns. Progress goes to `progress`, line by
/// line.
///
/// # Errors
/// A program is missing or can't be run, a service answers wrongly or not at all, a certificate is not what was asked
/// for or is not in the registry, or the machine refuses.
pub async fn issue(args: &IssueArgs, progress: &mut dyn Write) -> Result<IssueReport> {
    let scale = args.scale();
    tokio::time::timeout(scale.limit, measure(args, &scale, progress))
        .await
        .with_context(|| format!("the run took longer than {:?}", scale.limit))?
}

async fn measure(
    args: &IssueArgs,
    scale: &IssueScale,
    progress: &mut dyn Write,
) -> Result<IssueReport> {
    let (machine, load_average) = (Machine::this()?, load_average()?);
    let clock = SystemClock::start();
    let folder = tempfile::tempdir().context("can't make a temporary folder")?;
    let site = Site::create(folder.path(), &clock)?;
    let takes_part = |contender| args.only.is_none_or(|only| only == contender);
    // What it acknowledges is on the disk, as everywhere else.
    let postgres = PostgresServer::start(&PostgresSettings {
        durable: true,
        ..PostgresSettings::default()
    });
    let database = postgres.create_database();
    let measurements = scale.runs * scale.connections.len() + 1;
    let ids = device_ids(scale.requests * measurements)?;

    let leafgate = if takes_part(IssueContender::Leafgate) {
        writeln!(progress, "registering {} devices", ids.len())?;
        let binary = registry_binary(args.registry_bin.as_ref())?;
        Some(LeafgateIssuer::start(&site, &binary, &database.url(), &ids).await?)
    } else {
        None
    };
    let vault = if takes_part(IssueContender::Vault) {
        Some(VaultIssuer::start(&site).await?)
    } else {
        None
    };

    let mut ids = ids.chunks(scale.requests);
    let mut next_wishes = || {
        wishes(
            ids.next()
                .context("there are devices for every measurement")?,
        )
    };
    let measured = async {
        let bench = IssueBench {
            clock: &clock,
            postgres: &postgres,
        };
        let warming = next_wishes()?;
        for issuer in issuers(leafgate.as_ref(), vault.as_ref()) {
            bench.run(issuer, &warming, scale.connections[0]).await?;
        }
        let mut rows = Vec::new();
        for connections in &scale.connections {
            let (mut of_leafgate, mut of_vault) = (Vec::new(), Vec::new());
            for run in 1..=scale.runs {
                let wishes = next_wishes()?;
                for (name, issuer, figures) in [
                    (
                        "leafgate",
                        leafgate.as_ref().map(as_issuing),
                        &mut of_leafgate,
                    ),
                    ("Vault", vault.as_ref().map(as_issuing), &mut of_vault),
                ] {
                    let Some(issuer) = issuer else { continue };
                    let measured = bench.run(issuer, &wishes, *connections).await?;
                    writeln!(
                        progress,
                        "{name}, {connections} connections, run {run} of {}: {:.0} certificates per CPU second, {:.0}/s",
                        scale.runs, measured.per_cpu_s, measured.per_s
                    )?;
                    figures.push(measured);
                }
            }
            rows.push(IssueRow {
                connections: *connections,
                runs: scale.runs,
                requests: scale.requests,
                leafgate: IssueFigures::median(&of_leafgate),
                vault: IssueFigures::median(&of_vault),
            });
        }
        anyhow::Ok(rows)
    };
    let rows = measured.await;
    let rows = match &leafgate {
        Some(leafgate) => rows.with_context(|| leafgate.log_tail())?,
        None => rows?,
    };
    let at = clock.now();
    if let Some(leafgate) = leafgate {
        let issued = scale.requests * measurements;
        leafgate.stop().await?;
        check_registry(&database.url(), issued, &database.sql(ISSUED)).await?;
    }
    Ok(IssueReport {
        at,
        machine,
        load_average,
        postgres: database.sql(POSTGRES_VERSION),
        vault: leafgate_testkit::vault::VERSION.to_owned(),
        rows,
    })
}

/// Without what its packager adds.
const POSTGRES_VERSION: &str = "SELECT split_part(current_setting('server_version'), ' ', 1)";

const ISSUED: &str = "SELECT count(*) FROM certificates WHERE status = 'issued'";

/// Every certificate that was answered is in the registry, and the chain of its events holds.
async fn check_registry(url: &str, expected: usize, issued: &str) -> Result<()> {
    anyhow::ensure!(
        issued.parse() == Ok(expected),
        "the registry holds {issued} issued certificates, and {expected} were answered"
    );
    let store = PostgresStore::open_read_only(&postgres_options(url)).await?;
    leafgate_registrar::verify_audit(&store).await?;
    Ok(())
}

fn as_issuing<T: Issuing>(issuer: &T) -> &dyn Issuing {
    issuer
}

fn issuers<'a>(
    leafgate: Option<&'a LeafgateIssuer>,
    vault: Option<&'a VaultIssuer>,
) -> impl Iterator<Item = &'a dyn Issuing> {
    let leafgate = leafgate.map(as_issuing);
    leafgate.into_iter().chain(vault.map(as_issuing))
}

fn device_ids(count: usize) -> Result<Vec<DeviceId>> {
    let ids = (0..count).map(|number| Ok(DeviceId::parse(&format!("unit-{number:07}"))?));
    ids.collect()
}

fn wishes(ids: &[DeviceId]) -> Result<Vec<Wish>> {
    let pattern = CnPattern::default();
    ids.iter().map(|id| Wish::make(id, &pattern)).collect()
}

struct IssueBench<'a> {
    clock: &'a SystemClock,
    postgres: &'a PostgresServer,
}

impl IssueBench<'_> {
    async fn run(
        &self,
        issuer: &dyn Issuing,
        wishes: &[Wish],
        connections: usize,
    ) -> Result<IssueFigures> {
        let requests: Result<Vec<_>> = wishes.iter().map(|wish| issuer.request(wish)).collect();
        let (service, generator) = (issuer.process()?, Pid::this());
        let before = [
            cpu_time(service)?,
            self.database_time()?,
            cpu_time(generator)?,
        ];
        let replies = issuer
            .server()
            .run(self.clock, requests?, connections)
            .await?;
        let after = [
            cpu_time(service)?,
            self.database_time()?,
            cpu_time(generator)?,
        ];
        let used: [Duration; 3] =
            std::array::from_fn(|index| after[index].saturating_sub(before[index]));
        let resident = resident_bytes(service)?;
        let Replies {
            elapsed,
            latencies_us,
            replies,
        } = replies;
        check(issuer, wishes, &replies)?;
        Ok(IssueFigures::new(
            wishes.len(),
            elapsed,
            used,
            &latencies_us,
            resident,
        ))
    }

    /// What all processes of the database have used, the ones that ended meanwhile left out: those that serve
    /// connections of a running service stay.
    fn database_time(&self) -> Result<Duration> {
        let ids = self.postgres.process_ids();
        let times = ids.into_iter().filter_map(|id| {
            let process = Pid::from_raw(i32::try_from(id).ok()?);
            cpu_time(process).ok()
        });
        Ok(times.sum())
    }
}
