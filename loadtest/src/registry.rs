mod database;
mod fill;
mod import;
mod lists;
mod look_ups;
mod ocsp;
mod report;
mod revocations;

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use leafgate_access::Role;
use leafgate_identity::DeviceId;
use leafgate_runtime::{Clock as _, SystemClock};

use self::database::Databases;
#[cfg(test)]
pub(crate) use self::report::TABLE;
pub use self::report::{RegistryReport, RegistryRow};
use crate::machine::{Machine, load_average};
use crate::scale::{ScaleName, at_least_one};
use crate::site::{Site, new_devices, registry_binary};

/// What to measure, with what.
#[derive(Debug, Clone, Args)]
pub struct RegistryArgs {
    /// How much to measure.
    #[arg(long, value_enum, default_value = "full")]
    pub scale: ScaleName,
    /// The leafgate-registry to measure [default: the one beside this program].
    #[arg(long, value_name = "FILE")]
    pub registry_bin: Option<PathBuf>,
    /// Measure on this store only.
    #[arg(long, value_enum, value_name = "STORE")]
    pub only: Option<StoreName>,
    /// Devices in the registry, 100 or more, in place of the scale's.
    #[arg(long, value_name = "N", value_parser = device_count)]
    pub devices: Option<usize>,
}

/// Reads how many devices there are to be. Of fewer, a tenth could not be revoked beforehand and enough be left.
fn device_count(text: &str) -> Result<usize, String> {
    match at_least_one(text)? {
        0..100 => Err("at least 100".to_owned()),
        devices => Ok(devices),
    }
}

/// Where a registry is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StoreName {
    /// PostgreSQL.
    Postgres,
    /// SQLite.
    Sqlite,
}

impl StoreName {
    /// Every store.
    pub const ALL: [Self; 2] = [Self::Postgres, Self::Sqlite];
}

impl RegistryArgs {
    /// Everything by default.
    pub fn new(scale: ScaleName) -> Self {
        Self {
            scale,
            registry_bin: None,
            only: None,
            devices: None,
        }
    }

    fn scale(&self) -> RegistryScale {
        let mut scale = match self.scale {
            ScaleName::Full => RegistryScale {
                devices: 1_000_000,
                few_devices: 1_000,
                import_rounds: 10,
                revoked: 100_000,
                look_ups: 5_000,
                runs: 5,
                lists: vec![100_000, 1_000_000],
                revocations: 50,
                ocsp: 20_000,
                limit: Duration::from_secs(60 * 60),
            },
            ScaleName::Small => RegistryScale {
                devices: 3_000,
                few_devices: 500,
                import_rounds: 2,
                revoked: 100,
                look_ups: 100,
                runs: 1,
                lists: vec![1_000],
                revocations: 5,
                ocsp: 200,
                limit: Duration::from_secs(5 * 60),
            },
        };
        if let Some(devices) = self.devices {
            scale.devices = devices;
            scale.few_devices = scale.few_devices.min(devices);
            scale.revoked = scale.revoked.min(devices / 10);
        }
        scale
    }
}

struct RegistryScale {
    /// Devices in the registry, each with a certificate.
    devices: usize,
    /// Devices in the small registry that look-ups are compared with.
    few_devices: usize,
    /// Parts of the import, between which its peer takes its turns.
    import_rounds: usize,
    /// Certificates that are revoked.
    revoked: usize,
    /// Look-ups of one run.
    look_ups: usize,
    /// Runs of which the median is reported.
    runs: usize,
    /// Lengths of revocation lists.
    lists: Vec<usize>,
    /// Revocations one after the other.
    revocations: usize,
    /// Certificates whose status is asked for.
    ocsp: usize,
    /// After this long a store is given up.
    limit: Duration,
}

/// Measures what a large registry costs. Progress goes to `progress`, line by line.
///
/// # Errors
/// A program is missing or can't be run, an answer is wrong or missing, or the machine refuses.
pub async fn registry(args: &RegistryArgs, progress: &mut dyn Write) -> Result<RegistryReport> {
    let binary = registry_binary(args.registry_bin.as_ref())?;
    let scale = args.scale();
    let (machine, load_average) = (Machine::this()?, load_average()?);
    let mut rows = Vec::new();
    let mut versions = Vec::new();
    for store in StoreName::ALL {
        if args.only.is_some_and(|only| only != store) {
            continue;
        }
        let mut bench = RegistryBench {
            scale: &scale,
            binary: binary.clone(),
            progress,
            rows: &mut rows,
        };
        let measured = tokio::time::timeout(scale.limit, bench.measure(store));
        let version = measured
            .await
            .with_context(|| format!("the run took longer than {:?}", scale.limit))??;
        versions.push(version);
    }
    Ok(RegistryReport {
        at: SystemClock::start().now(),
        load_average,
        machine,
        stores: versions.join(", "),
        devices: scale.devices,
        runs: scale.runs,
        rows,
    })
}

/// Measurements on one store after the other.
struct RegistryBench<'a> {
    scale: &'a RegistryScale,
    binary: PathBuf,
    progress: &'a mut dyn Write,
    rows: &'a mut Vec<RegistryRow>,
}

impl RegistryBench<'_> {
    /// Makes every measurement on a store, and gives its version.
    async fn measure(&mut self, name: StoreName) -> Result<String> {
        let clock = SystemClock::start();
        let folder = tempfile::tempdir().context("can't make a temporary folder")?;
        let site = Site::create(folder.path(), &clock)?;
        let databases = Databases::start(name, folder.path());
        let ids = device_ids(self.scale.devices)?;

        let large = databases.create().await?;
        for row in import::measure(&site, &databases, &large, &ids, self.scale).await? {
            self.note(row)?;
        }
        let started = clock.monotonic();
        let issuer = site.devices_ca()?;
        let filled = fill::certify(&site, &large, &issuer, ids.len(), self.scale.revoked).await?;
        let took = clock.monotonic() - started;
        writeln!(
            self.progress,
            "{filled} changes more for certificates, {} of them revoked: {:.0} changes/s",
            self.scale.revoked,
            filled as f64 / took.as_secs_f64()
        )?;
        let small = databases.create().await?;
        let few = &ids[..self.scale.few_devices];
        site.import(&site.registrar(small.store())?, new_devices(few))
            .await?;
        fill::certify(&site, &small, &issuer, few.len(), 0).await?;
        databases.settle(&large)?;
        databases.settle(&small)?;

        for row in look_ups::measure(&clock, &large, &small, &ids, self.scale).await? {
            self.note(row)?;
        }
        // Lists are made without the store.
        if self.rows.iter().all(|row| row.store.is_some()) {
            for row in lists::measure(&clock, &issuer, &self.scale.lists, self.scale.runs).await? {
                self.note(row)?;
            }
        }
        let registrar = site.registrar(large.store())?;
        let key = site.api_key(&registrar, Role::Admin).await?;
        let started = clock.monotonic();
        let service = site.start_registry(&self.binary, large.url()).await?;
        let took = clock.monotonic() - started;
        writeln!(
            self.progress,
            "leafgate-registry serves, its revocation list too, after {took:.1?}"
        )?;
        let served = async {
            let mut rows = ocsp::measure(
                &clock, &databases, &large, &service, &issuer, &ids, self.scale,
            )
            .await?;
            rows.extend(
                revocations::measure(&clock, &large, &service, &issuer, &key, &ids, self.scale)
                    .await?,
            );
            anyhow::Ok(rows)
        };
        for row in served.await.with_context(|| service.log_tail())? {
            self.note(row)?;
        }
        service.stop().await?;
        leafgate_registrar::verify_audit(&*large.store()).await?;
        databases.version(&large).await
    }

    fn note(&mut self, row: RegistryRow) -> Result<()> {
        writeln!(self.progress, "{row}")?;
        self.rows.push(row);
        Ok(())
    }
}

fn device_ids(count: usize) -> Result<Vec<DeviceId>> {
    let ids = (0..count).map(|number| Ok(DeviceId::parse(&format!("unit-{number:07}"))?));
    ids.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_enough_devices_for_every_measurement() {
        for text in ["", "0", "9", "99"] {
            assert!(device_count(text).is_err(), "{text:?}");
        }
        for scale in [ScaleName::Full, ScaleName::Small] {
            let mut args = RegistryArgs::new(scale);
            args.devices = Some(device_count("100").unwrap());
            let scale = args.scale();
            assert_eq!(
                (scale.devices, scale.few_devices, scale.revoked),
                (100, 100, 10)
            );
            assert!(scale.revocations <= scale.devices - scale.revoked);
        }
    }
}
