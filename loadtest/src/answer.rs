use anyhow::{Context as _, Result, bail, ensure};
use data_encoding::BASE64URL_NOPAD;
use leafgate_identity::UnixMs;
use nkeys::KeyPair;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::request::{Expected, MadeUpServer, Request};

/// Every answer is read; one of this many also has its signatures verified, which costs more
/// than all the rest.
const VERIFY_EVERY: usize = 16;

/// Wrong answers that are told in full.
const SHOWN: usize = 5;

/// Reads answers as a nats-server and its operator would, with code that shares nothing with the
/// service: the `nkeys` crate and the shipped policy, written out.
pub(crate) struct AnswerCheck<'a> {
    pub(crate) server: &'a MadeUpServer,
    /// Whether answers are sealed.
    pub(crate) sealed: bool,
    /// When the requests were signed.
    pub(crate) asked_at: UnixMs,
}

/// What the answers of a run were.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) granted: usize,
    pub(crate) refused: usize,
    pub(crate) silent: usize,
    pub(crate) wrong: usize,
    /// What was wrong with the first few.
    pub(crate) complaints: Vec<String>,
}

impl Tally {
    fn add(mut self, other: Self) -> Self {
        self.granted += other.granted;
        self.refused += other.refused;
        self.silent += other.silent;
        self.wrong += other.wrong;
        self.complaints.extend(other.complaints);
        self.complaints.truncate(SHOWN);
        self
    }
}

impl AnswerCheck<'_> {
    /// Checks the answer to every request, on every core.
    pub(crate) fn check_all(
        &self,
        requests: &[Request],
        answers: &[Option<bytes::Bytes>],
    ) -> Result<Tally> {
        ensure!(
            requests.len() == answers.len(),
            "requests and answers differ in number"
        );
        let issuer =
            &KeyPair::from_public_key(&self.server.issuer).context("the issuer's public key")?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let share = requests.len().div_ceil(cores).max(1);
        Ok(std::thread::scope(|scope| {
            let workers: Vec<_> = requests
                .chunks(share)
                .zip(answers.chunks(share))
                .map(|(requests, answers)| {
                    scope.spawn(move || {
                        let mut tally = Tally::default();
                        for (index, (request, answer)) in requests.iter().zip(answers).enumerate() {
                            let key = index.is_multiple_of(VERIFY_EVERY).then_some(issuer);
                            if let Err(error) =
                                self.check(request, answer.as_deref(), key, &mut tally)
                            {
                                tally.wrong += 1;
                                if tally.complaints.len() < SHOWN {
                                    tally
                                        .complaints
                                        .push(format!("device {}: {error:#}", request.device));
                                }
                            }
                        }
                        tally
                    })
                })
                .collect();
            workers
                .into_iter()
                .map(|worker| worker.join().expect("checking does not panic"))
                .fold(Tally::default(), Tally::add)
        }))
    }

    /// Counts the answer where it is the right one. With `key` the signatures are verified.
    fn check(
        &self,
        request: &Request,
        answer: Option<&[u8]>,
        key: Option<&KeyPair>,
        tally: &mut Tally,
    ) -> Result<()> {
        let Some(payload) = answer else {
            ensure!(request.expected == Expected::Silence, "no answer");
            tally.silent += 1;
            return Ok(());
        };
        ensure!(
            request.expected != Expected::Silence,
            "an answer where none may be given"
        );
        let opened;
        let payload = if self.sealed {
            opened = self.server.open(payload)?;
            &opened
        } else {
            payload
        };
        let response: Claims<Response> = decode(payload, key).context("the response")?;
        ensure!(
            response.iss == self.server.issuer,
            "signed by {}",
            response.iss
        );
        ensure!(
            response.sub == request.user_nkey,
            "for user {}",
            response.sub
        );
        ensure!(
            response.aud == self.server.id,
            "for server {}",
            response.aud
        );
        ensure!(
            response.nats.claim_type == "authorization_response" && response.nats.version == 2,
            "of type {} {}",
            response.nats.claim_type,
            response.nats.version
        );
        match (request.expected, &response.nats.jwt, &response.nats.error) {
            (Expected::Grant, Some(user), None) => {
                self.check_user(request, user, key)
                    .context("the user JWT")?;
                tally.granted += 1;
            }
            (Expected::Refusal, None, Some(error)) if !error.is_empty() => tally.refused += 1,
            (expected, _, Some(error)) => bail!("{expected:?} expected, refused as {error:?}"),
            (expected, _, None) => bail!("{expected:?} expected, granted"),
        }
        Ok(())
    }

    /// The grant of `policies/device.toml` to this device, and nothing besides.
    fn check_user(&self, request: &Request, token: &str, key: Option<&KeyPair>) -> Result<()> {
        let user: Claims<User> = decode(token.as_bytes(), key)?;
        let id = &*request.device;
        ensure!(user.iss == self.server.issuer, "signed by {}", user.iss);
        ensure!(user.sub == request.user_nkey, "for user {}", user.sub);
        ensure!(user.aud == "DEVICES", "for account {}", user.aud);
        ensure!(user.name.as_deref() == Some(id), "named {:?}", user.name);
        ensure!(
            user.nats.claim_type == "user" && user.nats.version == 2,
            "of type {} {}",
            user.nats.claim_type,
            user.nats.version
        );
        let publish = [
            format!("device.{id}.metrics.>"),
            format!("device.{id}.status"),
            format!("device.{id}.renew"),
        ];
        let subscribe = [
            format!("device.{id}.cmd"),
            format!("device.{id}.cmd.>"),
            format!("_INBOX.{id}.>"),
        ];
        ensure!(
            user.nats.publish.is_exactly(&publish),
            "publish {:?}",
            user.nats.publish
        );
        ensure!(
            user.nats.subscribe.is_exactly(&subscribe),
            "subscribe {:?}",
            user.nats.subscribe
        );
        let responses = &user.nats.responses;
        ensure!(
            responses
                .as_ref()
                .is_some_and(|it| it.max == 1 && it.ttl == 60_000_000_000),
            "responses {responses:?}"
        );
        let limits = (user.nats.subs, user.nats.payload);
        ensure!(limits == (100, 65_536), "limits {limits:?}");
        let types = &user.nats.allowed_connection_types;
        ensure!(types == &["STANDARD"], "connection types {types:?}");
        // 12 h ± 20 %, and the seconds that the run itself took.
        let hours = (user.exp - self.asked_at.as_secs()) as f64 / 3600.0;
        ensure!((9.5..=14.5).contains(&hours), "expires in {hours:.2} h");
        ensure!(
            user.nbf.is_none(),
            "has a nbf, which skewed clocks would trip over"
        );
        Ok(())
    }
}

fn decode<T: DeserializeOwned>(token: &[u8], key: Option<&KeyPair>) -> Result<Claims<T>> {
    let token = std::str::from_utf8(token).context("not text")?;
    let (signed, signature) = token.rsplit_once('.').context("not a JWT")?;
    let (header, claims) = signed.split_once('.').context("not a JWT")?;
    let header: Header = serde_json::from_slice(&base64(header)?).context("header")?;
    ensure!(
        header.alg == "ed25519-nkey" && header.typ == "JWT",
        "header {header:?}"
    );
    let signature = base64(signature)?;
    ensure!(
        signature.len() == 64,
        "a signature of {} bytes",
        signature.len()
    );
    if let Some(key) = key {
        key.verify(signed.as_bytes(), &signature)
            .context("forged")?;
    }
    serde_json::from_slice(&base64(claims)?).context("claims")
}

fn base64(text: &str) -> Result<Vec<u8>> {
    BASE64URL_NOPAD
        .decode(text.as_bytes())
        .context("not base64url")
}

#[derive(Debug, Deserialize)]
struct Header {
    typ: String,
    alg: String,
}

#[derive(Debug, Deserialize)]
struct Claims<T> {
    iss: String,
    sub: String,
    aud: String,
    name: Option<String>,
    #[serde(default)]
    exp: i64,
    nbf: Option<i64>,
    nats: T,
}

#[derive(Debug, Deserialize)]
struct Response {
    #[serde(rename = "type")]
    claim_type: String,
    version: u8,
    jwt: Option<String>,
    error: Option<String>,
}

#[derive(Debug, Deserialize)]
struct User {
    #[serde(rename = "type")]
    claim_type: String,
    version: u8,
    #[serde(rename = "pub", default)]
    publish: Subjects,
    #[serde(rename = "sub", default)]
    subscribe: Subjects,
    #[serde(rename = "resp")]
    responses: Option<Responses>,
    subs: i64,
    payload: i64,
    #[serde(default)]
    allowed_connection_types: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Subjects {
    allow: Vec<String>,
    deny: Vec<String>,
}

impl Subjects {
    fn is_exactly(&self, allowed: &[String]) -> bool {
        self.deny.is_empty()
            && self.allow.len() == allowed.len()
            && allowed.iter().all(|subject| self.allow.contains(subject))
    }
}

#[derive(Debug, Deserialize)]
struct Responses {
    max: i32,
    ttl: i64,
}

#[cfg(test)]
mod tests;
