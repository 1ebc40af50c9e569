use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use async_nats::{Client, ConnectOptions};
use futures::StreamExt as _;
use leafgate_processes::{NatsServer, NatsServerBinary, ServerVersion};
use nkeys::{KeyPair, XKey};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::request::{MadeUpServer, SERVER_NAME};

/// More than are ever in flight, so that neither side drops or waits.
const CAPACITY: usize = 65_536;

/// A real nats-server with the accounts of a leaf cluster but without `auth_callout`: with one,
/// it takes authorization requests from no client.
pub(crate) struct BenchServer {
    server: NatsServer,
    pub(crate) version: ServerVersion,
    pub(crate) url: String,
    pub(crate) seeds: SeedFiles,
    /// A server that the system account knows.
    pub(crate) made_up: Arc<MadeUpServer>,
    /// In the AUTH account: where the made-up server asks.
    pub(crate) asking: Client,
    vouching: JoinHandle<()>,
}

/// What services log in and sign with.
pub(crate) struct SeedFiles {
    pub(crate) auth_user: PathBuf,
    pub(crate) system_user: PathBuf,
    pub(crate) issuer: PathBuf,
    pub(crate) xkey: PathBuf,
}

impl BenchServer {
    pub(crate) async fn start(binary: &NatsServerBinary, dir: &Path) -> Result<Self> {
        let [service, asking, system, tester] = std::array::from_fn(|_| KeyPair::new_user());
        let issuer = KeyPair::new_account();
        let xkey = XKey::new();
        let seeds = SeedFiles {
            auth_user: write_seed(dir, "auth-user.seed", &service.seed()?)?,
            system_user: write_seed(dir, "system-user.seed", &system.seed()?)?,
            issuer: write_seed(dir, "issuer.seed", &issuer.seed()?)?,
            xkey: write_seed(dir, "xkey.seed", &xkey.seed()?)?,
        };
        let config = dir.join("nats-server.conf");
        fs::write(
            &config,
            configuration([&service, &asking, &system, &tester]),
        )
        .context("can't write the nats-server configuration")?;
        let server = NatsServer::start(
            "nats-server",
            binary,
            &config,
            &dir.join("nats-server.log"),
            &dir.join("ports"),
        )
        .await?;
        let url = format!("nats://{}", server.ports().client);

        let public_xkey = XKey::from_public_key(&xkey.public_key())?;
        let made_up = Arc::new(MadeUpServer::new(issuer.public_key(), public_xkey));
        let asking = connect(&url, &asking).await?;
        let vouching = vouch(connect(&url, &tester).await?, made_up.id.clone()).await?;
        Ok(Self {
            server,
            version: binary.version(),
            url,
            seeds,
            made_up,
            asking,
            vouching,
        })
    }

    pub(crate) async fn stop(mut self) -> Result<()> {
        self.vouching.abort();
        self.server
            .stop(Duration::from_secs(5))
            .await
            .context("can't stop nats-server")?;
        Ok(())
    }
}

fn write_seed(dir: &Path, name: &str, seed: &str) -> Result<PathBuf> {
    let path = dir.join(name);
    fs::File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| writeln!(file, "{seed}"))
        .with_context(|| format!("can't write {}", path.display()))?;
    Ok(path)
}

fn configuration(users: [&KeyPair; 4]) -> String {
    let [service, asking, system, tester] = users.map(KeyPair::public_key);
    format!(
        r#"listen: "127.0.0.1:-1"
server_name: loadtest
accounts {{
  AUTH {{ users: [ {{ nkey: {service} }}, {{ nkey: {asking} }} ] }}
  DEVICES {{}}
  SYS {{ users: [ {{ nkey: {system} }}, {{ nkey: {tester} }} ] }}
}}
system_account: SYS
"#
    )
}

async fn connect(url: &str, user: &KeyPair) -> Result<Client> {
    ConnectOptions::with_nkey(user.seed()?)
        .name("leafgate-loadtest")
        .client_capacity(CAPACITY)
        .subscription_capacity(CAPACITY)
        .connect(url)
        .await
        .with_context(|| format!("can't connect to {url}"))
}

/// Answers for the made-up server when somebody asks the system account whether it exists, as
/// nats-server's `events.go: idzReq` does.
async fn vouch(client: Client, id: String) -> Result<JoinHandle<()>> {
    let mut questions = client
        .subscribe(format!("$SYS.REQ.SERVER.{id}.IDZ"))
        .await?;
    client.flush().await?;
    let answer = json!({ "name": SERVER_NAME, "host": "0.0.0.0", "id": id }).to_string();
    Ok(tokio::spawn(async move {
        while let Some(question) = questions.next().await {
            if let Some(reply) = question.reply {
                // A lost connection ends the run anyway: the service stops answering.
                let _ = client.publish(reply, answer.clone().into()).await;
            }
        }
    }))
}
