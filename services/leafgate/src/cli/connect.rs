//! `leafgate connect`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_nats::{ConnectErrorKind, Message, Subscriber};
use data_encoding::BASE64;
use futures::StreamExt;
use leafgate_runtime::shutdown_on_signals;
use serde::Serialize;
use tokio::time::timeout;

use super::Context;
use super::console::{Colour, plain};
use super::device::parse_id;
use super::error::{CliError, Exit};
use super::moment::parse_duration;
use super::table::count;
use crate::local::{Credentials, Device, Endpoints, LogInError};

/// How long a refusal of what was just asked for may take to arrive: nats-server confirms nothing
/// that it allows.
const REFUSAL_TIME: Duration = Duration::from_millis(300);

/// For as long as it takes.
const FOREVER: Duration = Duration::from_secs(u32::MAX as u64);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The device to act as.
    id: String,
    /// The folder with ID.crt, ID.key and ca.crt.
    #[arg(long, value_name = "DIR", default_value = ".")]
    cert_dir: PathBuf,
    /// The server [default: that of the local site that runs in --dir].
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The folder of the local site.
    #[arg(
        long,
        value_name = "DIR",
        env = "LEAFGATE_DIR",
        default_value = ".leafgate"
    )]
    dir: PathBuf,
    /// Publish to this subject.
    #[arg(long = "pub", value_names = ["SUBJECT", "PAYLOAD"], num_args = 1..=2)]
    publish: Vec<String>,
    /// Print what arrives on this subject until Ctrl-C, or until --count messages have.
    #[arg(long = "sub", value_name = "SUBJECT")]
    subscribe: Option<String>,
    /// Answer each message that asks for an answer with this.
    #[arg(long, value_name = "TEXT", requires = "subscribe")]
    reply: Option<String>,
    /// End after this many messages.
    #[arg(long, value_name = "N", requires = "subscribe", value_parser = clap::value_parser!(u32).range(1..))]
    count: Option<u32>,
    /// How long to wait for the log-in and, with --count, for the messages.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    timeout: Duration,
}

#[derive(Serialize)]
struct MessageView<'a> {
    subject: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> Result<Exit, CliError> {
    let id = parse_id(&arguments.id)?;
    let credentials = Credentials::in_folder(&arguments.cert_dir, id.as_str());
    for file in [&credentials.certificate, &credentials.key, &credentials.ca] {
        check_readable(file, &arguments.cert_dir)?;
    }
    let url = match &arguments.url {
        Some(url) => url.clone(),
        None => local_url(&arguments.dir)?,
    };
    let session = Session {
        url: &url,
        id: id.as_str(),
        credentials: &credentials,
        arguments,
        context,
    };
    session.run().await
}

fn check_readable(file: &Path, folder: &Path) -> Result<(), CliError> {
    File::open(file).map(drop).map_err(|error| {
        CliError::file("read", file, &error).hint(format!(
            "leafgate device register ID --out {} writes ID.crt, ID.key and ca.crt; name their folder with --cert-dir",
            folder.display()
        ))
    })
}

/// The address that the local site in this folder tells while it runs.
fn local_url(dir: &Path) -> Result<String, CliError> {
    let path = dir.join("endpoints.json");
    let endpoints = Endpoints::read(&path).map_err(|error| {
        CliError::from(error)
            .exiting(Exit::Unreachable)
            .hint("or name the server with --url")
    })?;
    Ok(endpoints.device_url)
}

/// One device's visit.
struct Session<'a> {
    url: &'a str,
    id: &'a str,
    credentials: &'a Credentials,
    arguments: &'a Arguments,
    context: &'a Context,
}

impl Session<'_> {
    async fn run(&self) -> Result<Exit, CliError> {
        let mut device = self.log_in().await?;
        self.context
            .console
            .remark(&format!("{} is logged in at {}", self.id, self.url));
        let subscriber = match &self.arguments.subscribe {
            Some(subject) => Some(subscribe(&device, subject).await?),
            None => None,
        };
        if let [subject, payload @ ..] = &self.arguments.publish[..] {
            let payload = payload.first().cloned().unwrap_or_default();
            publish(&device, subject, payload).await?;
            if let Ok(refusal) = device.refusal(REFUSAL_TIME).await {
                return Err(self.refused(&refusal));
            }
            self.context
                .console
                .remark(&format!("published to {subject}"));
        }
        match subscriber {
            Some(subscriber) => self.listen(&mut device, subscriber).await,
            None => Ok(Exit::Done),
        }
    }

    async fn log_in(&self) -> Result<Device, CliError> {
        let attempt = Device::log_in(self.url, self.id, self.credentials);
        match timeout(self.arguments.timeout, attempt).await {
            Ok(outcome) => outcome.map_err(|error| self.explain(error)),
            Err(_) => {
                let waited = self.arguments.timeout;
                let error = format!("{} did not answer within {waited:?}", self.url);
                Err(CliError::new(Exit::Unreachable, error))
            }
        }
    }

    fn explain(&self, error: LogInError) -> CliError {
        let url = self.url;
        let kind = match &error {
            LogInError::Unreachable(error) => Some(error.kind()),
            LogInError::Refused | LogInError::Handshake(_) => None,
        };
        let cli = CliError::from(error);
        match kind {
            None => cli,
            Some(ConnectErrorKind::ServerParse) => cli
                .exiting(Exit::Usage)
                .hint("a server is named like tls://127.0.0.1:4222"),
            Some(_) => cli.hint(format!("is a server running at {url}?")),
        }
    }

    /// Prints messages until enough have come, or it is told to end, or the session does.
    async fn listen(
        &self,
        device: &mut Device,
        mut subscriber: Subscriber,
    ) -> Result<Exit, CliError> {
        let wanted = self.arguments.count;
        let limit = wanted.map_or(FOREVER, |_| self.arguments.timeout);
        let shutdown = shutdown_on_signals().map_err(|error| {
            CliError::new(Exit::Wrong, format!("can't wait for signals: {error}"))
        })?;
        let deadline = tokio::time::sleep(limit);
        tokio::pin!(deadline);
        let mut seen = 0;
        loop {
            let client = device.client.clone();
            tokio::select! {
                message = subscriber.next() => match message {
                    Some(message) => self.take(&client, &message).await?,
                    None => return Err(self.ended().await),
                },
                refusal = device.refusal(FOREVER) => match refusal {
                    Ok(refusal) => return Err(self.refused(&refusal)),
                    Err(_) => return Err(self.ended().await),
                },
                () = &mut deadline => {
                    let waited = self.arguments.timeout;
                    let wanted = count(usize::try_from(wanted.unwrap_or(0)).unwrap_or(usize::MAX), "message");
                    let error = format!("{seen} of {wanted} came within {waited:?}");
                    return Err(CliError::new(Exit::Wrong, error));
                }
                () = shutdown.cancelled() => return Ok(Exit::Done),
            }
            seen += 1;
            if wanted == Some(seen) {
                return Ok(Exit::Done);
            }
        }
    }

    async fn take(&self, client: &async_nats::Client, message: &Message) -> Result<(), CliError> {
        let text = std::str::from_utf8(&message.payload).ok();
        let view = MessageView {
            subject: message.subject.as_str(),
            reply: message.reply.as_ref().map(async_nats::Subject::as_str),
            payload: text,
            payload_base64: text.is_none().then(|| BASE64.encode(&message.payload)),
        };
        self.context.console.show_next(&view, |style| {
            let payload = text.map_or_else(
                || format!("({})", count(message.payload.len(), "byte")),
                plain,
            );
            let subject = style.paint(Colour::Quiet, &plain(view.subject));
            format!("{subject}   {payload}")
        })?;
        if let (Some(to), Some(reply)) = (&message.reply, &self.arguments.reply) {
            client
                .publish(to.clone(), reply.clone().into())
                .await
                .map_err(|error| CliError::caused(Exit::Unreachable, &error))?;
            flush(client).await?;
        }
        Ok(())
    }

    /// What nats-server said no to.
    fn refused(&self, server_said: &str) -> CliError {
        let words = server_said
            .trim_start_matches("server error: ")
            .trim_start_matches("nats: ");
        let error = CliError::new(Exit::Refused, plain(words));
        error.hint(format!(
            "leafgate policy explain {} tells what the device may publish and subscribe to",
            self.id
        ))
    }

    /// Why the session ended, which a further log-in tells.
    async fn ended(&self) -> CliError {
        match self.log_in().await {
            Ok(_) => CliError::new(Exit::Unreachable, "the server ended the session").hint(
                "a log-in works again; perhaps the device was changed, or the server restarted",
            ),
            Err(error) if error.exit() == Exit::Refused => CliError::new(
                Exit::Refused,
                format!(
                    "the server ended the session and refuses another: {}",
                    error.message()
                ),
            ),
            Err(error) => error,
        }
    }
}

async fn subscribe(device: &Device, subject: &str) -> Result<Subscriber, CliError> {
    let subscriber = device.client.subscribe(subject.to_owned()).await;
    let subscriber = subscriber.map_err(|error| CliError::caused(Exit::Usage, &error))?;
    flush(&device.client).await?;
    Ok(subscriber)
}

async fn publish(device: &Device, subject: &str, payload: String) -> Result<(), CliError> {
    let published = device
        .client
        .publish(subject.to_owned(), payload.into())
        .await;
    published.map_err(|error| CliError::caused(Exit::Usage, &error))?;
    flush(&device.client).await
}

async fn flush(client: &async_nats::Client) -> Result<(), CliError> {
    let flushed = client.flush().await;
    flushed.map_err(|error| CliError::caused(Exit::Unreachable, &error))
}
