use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Access;
use super::access::jitter;
use super::failure::{Failure, unreachable};
use crate::cli::error::{CliError, Exit};
use crate::complain;

/// How often a request is sent at most.
const TRIES: u32 = 4;
/// The longest that is waited before a request is sent again; who is told to wait longer is better told so.
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// Longer than any answer but a stream.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// A request, as often as it is sent.
pub(in crate::cli::registry) struct Request {
    access: Access,
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Option<Vec<u8>>,
}

impl Request {
    pub(super) fn new(access: Access, method: Method, url: Url) -> Self {
        Self {
            access,
            method,
            url,
            headers: HeaderMap::new(),
            body: None,
        }
    }

    pub(in crate::cli::registry) fn bearer(mut self, authorization: &HeaderValue) -> Self {
        self.headers.insert(AUTHORIZATION, authorization.clone());
        self
    }

    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    pub(super) fn if_version(self, version: u64) -> Self {
        self.header("if-match", &format!("\"{version}\""))
    }

    /// A parameter of the query, if there is a value for it.
    pub(super) fn query(mut self, name: &str, value: Option<impl ToString>) -> Self {
        if let Some(value) = value {
            self.url
                .query_pairs_mut()
                .append_pair(name, &value.to_string());
        }
        self
    }

    pub(in crate::cli::registry) fn json(
        mut self,
        body: &impl Serialize,
    ) -> Result<Self, CliError> {
        let body = serde_json::to_vec(body)
            .map_err(|error| CliError::new(Exit::Wrong, format!("can't write JSON: {error}")))?;
        self.body = Some(body);
        let json = HeaderValue::from_static("application/json");
        self.headers.insert(CONTENT_TYPE, json);
        Ok(self)
    }

    /// Sends it, and reads the answer.
    pub(in crate::cli::registry) async fn read<T: DeserializeOwned>(self) -> Result<T, CliError> {
        Ok(self.read_with_headers().await?.0)
    }

    /// The same with the headers of the answer.
    pub(super) async fn read_with_headers<T: DeserializeOwned>(
        self,
    ) -> Result<(T, HeaderMap), CliError> {
        let name = self.access.name();
        let broken = |error: reqwest::Error| unreachable(&name, error);
        let mut response = self.send().await?;
        let headers = std::mem::take(response.headers_mut());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                let error = format!("{name} answers with more than {MAX_ANSWER_BYTES} bytes");
                return Err(CliError::new(Exit::Wrong, error));
            }
            body.extend_from_slice(&chunk);
        }
        let read = serde_json::from_slice(&body).map_err(|error| {
            let error = format!("{name} does not answer as a registry API: {error}");
            CliError::new(Exit::Wrong, error).hint("is it the address of a leafgate-registry?")
        })?;
        Ok((read, headers))
    }

    /// Sends it, until it is answered otherwise than with a request to wait.
    pub(super) async fn send(self) -> Result<Response, CliError> {
        let mut tries = 1;
        loop {
            let failure = match self.build().send().await {
                Ok(response) if response.status().is_success() => return Ok(response),
                Ok(response) => Failure::answered(&self.access.name(), response).await,
                Err(error) => Failure::unanswered(&self.access.name(), error),
            };
            let wait = failure.wait.filter(|wait| *wait <= LONGEST_WAIT);
            match wait {
                Some(wait) if tries < TRIES => {
                    complain(&format!(
                        "{}; trying again in {} s",
                        failure.error.message(),
                        wait.as_secs_f64().ceil()
                    ));
                    tokio::time::sleep(wait + jitter(wait / 2)).await;
                    tries += 1;
                }
                _ => return Err(failure.into_error(LONGEST_WAIT)),
            }
        }
    }

    fn build(&self) -> RequestBuilder {
        let Self {
            access,
            method,
            url,
            headers,
            body,
            ..
        } = self;
        let request = access.client.request(method.clone(), url.clone());
        let request = request.headers(headers.clone());
        match body {
            Some(body) => request.body(body.clone()),
            None => request,
        }
    }
}
