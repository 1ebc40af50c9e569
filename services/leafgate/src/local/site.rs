use std::fs::{self, File};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use leafgate_processes::{NatsServer, NatsServerBinary};
use leafgate_registry::Act;

use super::callouts::CalloutFiles;
use super::endpoints::{Endpoints, RegistryEndpoints};
use super::keys::{COMMAND_APPLICATION, TELEMETRY_APPLICATION};
use super::options::SiteOptions;
use super::plan::{Plan, REPLICAS_MAX};
use super::registrar::open_registrar_on;
use super::registry_api::{RegistryFiles, keep_admin_key};
use super::{LocalDir, LocalKeys, RegistryProcess, ServiceProcess};

/// How long a part may take to end in order before it is ended.
const GRACE: Duration = Duration::from_secs(2);

/// A hub, a leaf cluster linked to it, callout replicas and a registry, all running.
#[derive(Debug)]
pub struct LocalSite {
    dir: LocalDir,
    /// Keeps others from running a site in the same folder.
    _lock: File,
    nats_server: NatsServerBinary,
    hub: NatsServer,
    leaves: Vec<NatsServer>,
    callouts: Vec<ServiceProcess>,
    files: CalloutFiles,
    registry: Option<LocalRegistry>,
}

/// The registry, with what it is started from.
#[derive(Debug)]
struct LocalRegistry {
    process: RegistryProcess,
    files: RegistryFiles,
}

impl LocalSite {
    /// Starts everything in `dir` and waits until devices can log in. What an earlier site left
    /// there lives on: registry, authorities and keys.
    ///
    /// # Errors
    /// A site runs there already, or which part did not start and why, with the end of its log.
    pub async fn start(dir: LocalDir, options: &SiteOptions, act: &Act) -> anyhow::Result<Self> {
        ensure!(
            options.replicas <= REPLICAS_MAX,
            "at most {REPLICAS_MAX} callout replicas can be run here, not {}",
            options.replicas
        );
        ensure!(options.leaf_nodes >= 1, "at least one leaf node is needed");
        let lock = dir.lock()?;
        let environment = options.registry_environment();
        let registrar = open_registrar_on(&dir, &options.store_in(&dir), &environment, act).await?;
        let plan = Plan::new(&dir, options, &registrar, act).await?;
        let hub = plan.start_hub().await?;
        let leaves = plan.start_leaves(&hub).await?;
        let files = plan.callout_files(&leaves).await?;
        let mut callouts = Vec::new();
        for ordinal in 0..options.replicas {
            callouts.push(files.start(&dir, ordinal).await?);
        }
        let registry = match &options.registry {
            Some(service) => {
                keep_admin_key(&registrar, &dir.admin_token(), act).await?;
                let files = plan.registry_files(&leaves, service).await?;
                let process = files.start(&dir).await?;
                Some(LocalRegistry { process, files })
            }
            None => None,
        };
        let site = Self {
            registry,
            _lock: lock,
            nats_server: options.nats_server.clone(),
            hub,
            leaves,
            callouts,
            files,
            dir,
        };
        site.endpoints().write(&site.dir.endpoints())?;
        Ok(site)
    }

    /// Where everything can be reached.
    pub fn endpoints(&self) -> Endpoints {
        let keys = LocalKeys::in_folder(&self.dir.keys());
        Endpoints {
            device_url: format!("tls://{}", self.leaves[0].ports().client),
            hub_url: format!("tls://{}", self.hub.ports().client),
            hub_telemetry_nkey_file: keys.path(TELEMETRY_APPLICATION),
            hub_command_nkey_file: keys.path(COMMAND_APPLICATION),
            hub_command_inbox_prefix: leafgate_nats_config::subjects::COMMAND_INBOX_PREFIX
                .to_owned(),
            ca_file: self.files.ca_file.clone(),
            health_url: self
                .callouts
                .first()
                .map(|callout| format!("http://{}/health", callout.health())),
            registry: self.registry.as_ref().map(|registry| RegistryEndpoints {
                registry_url: registry.process.url.clone(),
                admin_token_file: self.dir.admin_token(),
                crl_url: registry.process.device_status.crl.to_string(),
                ocsp_url: registry.process.device_status.ocsp.to_string(),
            }),
            pids: super::endpoints::Pids {
                hub: self.hub.pid(),
                leaf: self.leaves.iter().map(NatsServer::pid).collect(),
                callout: self.callouts.iter().map(ServiceProcess::pid).collect(),
                registry: self
                    .registry
                    .as_ref()
                    .map(|registry| registry.process.process.pid()),
            },
        }
    }

    /// Its folder.
    pub fn dir(&self) -> &LocalDir {
        &self.dir
    }

    /// The callout replicas.
    pub fn callouts(&mut self) -> &mut [ServiceProcess] {
        &mut self.callouts
    }

    /// The registry, if it has one.
    pub fn registry(&mut self) -> Option<&mut RegistryProcess> {
        self.registry.as_mut().map(|registry| &mut registry.process)
    }

    /// The servers of the leaf cluster.
    pub fn leaves(&mut self) -> &mut [NatsServer] {
        &mut self.leaves
    }

    /// Writes the configuration of the replica with this ordinal, for one that is started by other
    /// means, and returns its path.
    ///
    /// # Errors
    /// It can't be written.
    pub fn write_callout_config(&self, ordinal: usize) -> anyhow::Result<PathBuf> {
        self.files.write(&self.dir, ordinal)
    }

    /// Starts the replica with this ordinal again, after it has ended.
    ///
    /// # Errors
    /// It does not get ready.
    pub async fn restart_callout(&mut self, ordinal: usize) -> anyhow::Result<()> {
        self.callouts[ordinal] = self.files.start(&self.dir, ordinal).await?;
        Ok(())
    }

    /// Starts the registry again, after it has ended.
    ///
    /// # Errors
    /// It does not get ready.
    pub async fn restart_registry(&mut self) -> anyhow::Result<()> {
        if let Some(LocalRegistry { process, files }) = &mut self.registry {
            *process = files.start(&self.dir).await?;
        }
        Ok(())
    }

    /// Starts a server of the leaf cluster again, after it has ended. Where it listened on a free
    /// port it takes another one.
    ///
    /// # Errors
    /// It does not get ready.
    pub async fn restart_leaf(&mut self, ordinal: usize) -> anyhow::Result<()> {
        let name = self.leaves[ordinal].child().name().to_owned();
        let nats = self.dir.nats();
        let config = nats.join(format!("{name}.conf"));
        let log = self.dir.logs().join(format!("{name}.log"));
        self.leaves[ordinal] =
            NatsServer::start(&name, &self.nats_server, &config, &log, &nats).await?;
        Ok(())
    }

    /// Ends everything in order: the services finish what they have begun, then the servers leave.
    ///
    /// # Errors
    /// What could not be ended.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let registry = self.registry.as_mut();
        let registry = registry.map(|registry| &mut registry.process.process);
        for service in registry.into_iter().chain(&mut self.callouts) {
            service.stop(GRACE).await?;
        }
        for leaf in &mut self.leaves {
            leaf.stop(GRACE).await?;
        }
        self.hub.stop(GRACE).await?;
        fs::remove_file(self.dir.endpoints()).context("endpoints.json")
    }

    /// Returns when a part has ended by itself, with what its log says last.
    pub async fn watch(&mut self) -> anyhow::Error {
        let hub = std::iter::once(self.hub.child_mut());
        let leaves = self.leaves.iter_mut().map(NatsServer::child_mut);
        let registry = self.registry.as_mut();
        let registry = registry.map(|registry| &mut registry.process.process);
        let services = self.callouts.iter_mut().chain(registry);
        let services = services.map(ServiceProcess::child_mut);
        let ends = hub.chain(leaves).chain(services).map(|child| {
            Box::pin(async move {
                let status = child.wait().await;
                let said = child.log().tail(5);
                anyhow::anyhow!("{} ended by itself ({status:?}):\n{said}", child.name())
            })
        });
        futures::future::select_all(ends).await.0
    }
}
