use std::path::{Path, PathBuf};

use crate::conf::{self, Conf, Value};
use crate::error::RenderNatsConfigError;
use crate::input::{Listen, Name, RouteSecret, ServerAddress};

/// Time for a TLS handshake. Devices behind slow links need more than nats-server's 2 s.
const TLS_TIMEOUT_SECS: u32 = 5;

/// Time for an OCSP responder, within that of the handshake.
const OCSP_TIMEOUT_SECS: u32 = 2;

/// What nats-server keeps for a client that does not read (`MAX_PENDING_SIZE` in const.go). It boots with no larger
/// payload than that.
const MAX_PENDING_BYTES: u32 = 64 << 20;

/// What is one server's own.
#[derive(Clone, Debug)]
pub struct Node {
    /// Name of the server, and of its file.
    pub server_name: Name,
    /// Where clients connect: devices to a leaf node, applications to the hub.
    pub client: Listen,
    /// Where leaf nodes connect. On the hub: the sites. On a leaf node: devices that run a leaf node of their own,
    /// where a policy lets them; leave it out otherwise.
    pub leafnode: Option<Listen>,
    /// Where `/varz`, `/connz` and so on are served, without any log-in: loopback or a protected network only.
    pub monitoring: Option<Listen>,
    /// Where the server tells the ports that it took, for those it was left free to choose.
    pub ports_file_dir: Option<PathBuf>,
    /// The server's own certificate, of profile nats-server: it serves every listener and identifies the server to
    /// the others.
    pub certificate: Certificate,
    /// The cluster it belongs to.
    pub cluster: Option<Cluster>,
    /// JetStream, off by default.
    pub jetstream: Option<JetStream>,
    /// On a leaf node: whether devices' certificates are checked by OCSP at the handshake.
    pub ocsp: Option<OcspPeer>,
}

/// The check of devices' certificates at the TLS handshake (nats-server's `ocsp_peer`), which holds while the callout
/// is down. It asks the responder that the certificate names; a certificate that names none passes.
#[derive(Clone, Debug)]
pub struct OcspPeer {
    /// Where the server keeps answers, a folder of its own.
    pub cache_dir: PathBuf,
}

/// A certificate with its key, as nats-server reads them.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// PEM: the server's certificate, then the intermediate that issued it.
    pub cert_file: PathBuf,
    /// PEM.
    pub key_file: PathBuf,
}

/// Several servers that act as one.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// The same for all of them, and another than that of any cluster they link to.
    pub name: Name,
    /// Where the others connect.
    pub listen: Listen,
    /// The others; the server itself may be among them.
    pub routes: Vec<ServerAddress>,
    /// What they show each other besides their certificates. Without it any server with a certificate of the
    /// `servers` issuer that reaches this port is let in, those of other sites included.
    pub secret: Option<RouteSecret>,
}

/// Where and how much JetStream stores.
#[derive(Clone, Debug)]
pub struct JetStream {
    /// The folder.
    pub store_dir: PathBuf,
    /// Told apart from the domains of the clusters it links to.
    pub domain: Name,
    /// Most bytes in memory.
    pub max_memory_bytes: u64,
    /// Most bytes in the folder.
    pub max_file_bytes: u64,
}

/// What a server takes at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// Clients at a time.
    pub max_connections: u32,
    /// Bytes of one message.
    pub max_payload_bytes: u32,
    /// Time for a client to take what is sent to it, in seconds, before it is dropped as too slow.
    pub write_deadline_secs: u32,
    /// TLS handshakes per second on the client port; more are refused before any cryptography.
    pub connection_rate_limit: u32,
    /// Time over which a server that leaves hands its clients over, in seconds, 30 at least.
    pub lame_duck_secs: u32,
    /// Time for a log-in, the callout's answer included, in seconds.
    pub authorization_timeout_secs: u32,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            max_payload_bytes: 1 << 20,
            write_deadline_secs: 10,
            connection_rate_limit: 500,
            lame_duck_secs: 30,
            authorization_timeout_secs: 3,
        }
    }
}

impl ServerLimits {
    pub(crate) fn check(&self) -> Result<(), RenderNatsConfigError> {
        check_limit(
            "max_payload_bytes",
            self.max_payload_bytes,
            MAX_PENDING_BYTES,
        )?;
        for (what, limit) in [
            ("max_connections", self.max_connections),
            ("write_deadline_secs", self.write_deadline_secs),
            ("connection_rate_limit", self.connection_rate_limit),
            (
                "authorization_timeout_secs",
                self.authorization_timeout_secs,
            ),
        ] {
            check_limit(what, limit, u32::MAX)?;
        }
        if self.lame_duck_secs < 30 {
            return Err(RenderNatsConfigError::LameDuckTooShort {
                secs: self.lame_duck_secs,
            });
        }
        Ok(())
    }

    pub(crate) fn write(&self, conf: &mut Conf) {
        conf.comment(
            "Ceilings of this server. A payload is also limited per account, where accounts say so.",
        );
        conf.set("max_connections", self.max_connections);
        conf.set("max_payload", self.max_payload_bytes);
        conf.set("write_deadline", format!("{}s", self.write_deadline_secs));
        conf.comment(
            "A server that is restarted asks its clients to go elsewhere, spread over this time: restart nodes one by \
             one with `nats-server --signal ldm`. nats-server refuses less than 30 s.",
        );
        conf.set("lame_duck_duration", format!("{}s", self.lame_duck_secs));
    }
}

impl Node {
    pub(crate) fn check(&self) -> Result<(), RenderNatsConfigError> {
        let routes = self.cluster.as_ref().map(|cluster| &cluster.listen);
        for (listener, listen) in [
            ("clients", Some(&self.client)),
            ("leaf nodes", self.leafnode.as_ref()),
            ("monitoring", self.monitoring.as_ref()),
            ("routes", routes),
        ] {
            if listen.is_some_and(|listen| listen.port() == 0) {
                return Err(RenderNatsConfigError::PortZero {
                    server: self.server_name.to_string(),
                    listener,
                });
            }
        }
        Ok(())
    }

    /// nats-server's own rule: without a cluster block the server's name stands for the cluster's.
    pub(crate) fn cluster_name(&self) -> &Name {
        self.cluster
            .as_ref()
            .map_or(&self.server_name, |cluster| &cluster.name)
    }

    pub(crate) fn write_identity(&self, conf: &mut Conf) -> Result<(), RenderNatsConfigError> {
        conf.set("server_name", &self.server_name);
        conf.set("host", self.client.host());
        conf.set("port", self.client.port());
        if let Some(monitoring) = &self.monitoring {
            conf.comment("Monitoring asks nobody who they are: keep this address inside.");
            conf.set("http", monitoring.to_string());
        }
        if let Some(folder) = &self.ports_file_dir {
            conf.comment("Tells the ports that were left open (-1).");
            conf.set("ports_file_dir", conf::path(folder)?);
        }
        Ok(())
    }

    pub(crate) fn write_cluster(
        &self,
        conf: &mut Conf,
        servers_ca_file: &Path,
    ) -> Result<(), RenderNatsConfigError> {
        let Some(cluster) = &self.cluster else {
            return Ok(());
        };
        let tls = self.tls(servers_ca_file)?;
        conf.comment(
            "Routes carry every account. They trust the issuer of servers alone, so a device's certificate does not \
             pass; still keep this port inside the cluster's network.",
        );
        conf.block("cluster", |conf| {
            conf.set("name", &cluster.name);
            conf.set("host", cluster.listen.host());
            conf.set("port", cluster.listen.port());
            // Addresses that servers gossip to clients are seldom reachable for them or in a certificate.
            conf.set("no_advertise", true);
            let mut user = String::new();
            if let Some(secret) = &cluster.secret {
                conf.comment(
                    "Servers of other clusters hold certificates of the same issuer, but not this.",
                );
                conf.block("authorization", |conf| {
                    conf.set("user", "route");
                    conf.set("password", secret.expose());
                    conf.set("timeout", TLS_TIMEOUT_SECS);
                });
                user = format!("route:{}@", secret.expose());
            }
            conf.set("tls", tls);
            let routes = cluster
                .routes
                .iter()
                .map(|route| format!("tls://{user}{route}"));
            conf.set("routes", routes.collect::<Vec<_>>());
        });
        Ok(())
    }

    pub(crate) fn write_jetstream(&self, conf: &mut Conf) -> Result<(), RenderNatsConfigError> {
        let Some(jetstream) = &self.jetstream else {
            return Ok(());
        };
        let bytes = |bytes: u64| Value::Number(i64::try_from(bytes).unwrap_or(i64::MAX));
        let store_dir = conf::path(&jetstream.store_dir)?;
        conf.comment("Hub and leaf tell their JetStreams apart by domain.");
        conf.block("jetstream", |conf| {
            conf.set("store_dir", store_dir);
            conf.set("domain", &jetstream.domain);
            conf.set("max_memory_store", bytes(jetstream.max_memory_bytes));
            conf.set("max_file_store", bytes(jetstream.max_file_bytes));
        });
        Ok(())
    }

    pub(crate) fn write_ocsp_cache(&self, conf: &mut Conf) -> Result<(), RenderNatsConfigError> {
        let Some(ocsp) = &self.ocsp else {
            return Ok(());
        };
        let cache_dir = conf::path(&ocsp.cache_dir)?;
        conf.comment(
            "What OCSP responders have answered, until it ends. What they have called revoked is kept, so that it \
             stays refused while they can't be reached.",
        );
        conf.block("ocsp_cache", |conf| {
            conf.set("type", "local");
            conf.set("local_store", cache_dir);
            conf.set("preserve_revoked", true);
        });
        Ok(())
    }

    /// TLS towards devices: as [`tls`](Self::tls), with a check by OCSP where there is one.
    pub(crate) fn device_tls(&self, ca_file: &Path) -> Result<Value, RenderNatsConfigError> {
        let mut tls = self.tls_settings(ca_file)?;
        tls.extend(self.ocsp_peer());
        Ok(Value::Map(tls))
    }

    /// With responders that can't be reached everybody is let in who was not known as revoked: the callout decides
    /// anyway, and an outage of one must not be an outage of both.
    fn ocsp_peer(&self) -> Option<(&'static str, Value)> {
        self.ocsp.as_ref().map(|_| {
            let settings = vec![
                ("verify", true.into()),
                ("ca_timeout", OCSP_TIMEOUT_SECS.into()),
                ("allow_when_ca_unreachable", true.into()),
            ];
            ("ocsp_peer", Value::Map(settings))
        })
    }

    /// TLS in which both sides show a certificate of the issuer in `ca_file`.
    pub(crate) fn tls(&self, ca_file: &Path) -> Result<Value, RenderNatsConfigError> {
        Ok(Value::Map(self.tls_settings(ca_file)?))
    }

    fn tls_settings(
        &self,
        ca_file: &Path,
    ) -> Result<Vec<(&'static str, Value)>, RenderNatsConfigError> {
        let mut tls = self.own_certificate()?;
        tls.extend([
            ("ca_file", conf::path(ca_file)?),
            ("verify", true.into()),
            ("timeout", TLS_TIMEOUT_SECS.into()),
        ]);
        Ok(tls)
    }

    /// The same on the client port, where handshakes are also counted.
    pub(crate) fn client_tls(
        &self,
        ca_file: Option<&Path>,
        limits: &ServerLimits,
    ) -> Result<Value, RenderNatsConfigError> {
        let mut tls = self.own_certificate()?;
        if let Some(ca_file) = ca_file {
            tls.extend([("ca_file", conf::path(ca_file)?), ("verify", true.into())]);
            tls.extend(self.ocsp_peer());
        }
        tls.extend([
            ("timeout", TLS_TIMEOUT_SECS.into()),
            ("connection_rate_limit", limits.connection_rate_limit.into()),
        ]);
        Ok(Value::Map(tls))
    }

    fn own_certificate(&self) -> Result<Vec<(&'static str, Value)>, RenderNatsConfigError> {
        Ok(vec![
            ("cert_file", conf::path(&self.certificate.cert_file)?),
            ("key_file", conf::path(&self.certificate.key_file)?),
        ])
    }
}

pub(crate) fn check_limit(
    what: &'static str,
    limit: u32,
    most: u32,
) -> Result<(), RenderNatsConfigError> {
    match limit {
        0 => Err(RenderNatsConfigError::ZeroLimit { what }),
        _ if limit > most => Err(RenderNatsConfigError::LimitTooLarge { what, most }),
        _ => Ok(()),
    }
}
