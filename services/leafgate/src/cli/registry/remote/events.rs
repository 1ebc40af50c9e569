//! Events of a registry API: pages of them, and a stream that goes on where it broke off.

use std::collections::VecDeque;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use leafgate_api::{Event, EventList};
use reqwest::Response;
use reqwest::header::HeaderValue;
use tokio::time::timeout;

use super::access::Patience;
use super::lines::Lines;
use super::request::Request;
use super::{Access, PAGE, RemoteRegistry};
use crate::cli::error::{CliError, Exit};
use crate::cli::registry::Results;

/// How long nothing may come: a stream shows every 15 s that it is alive.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);

/// Events after one, or the newest.
pub(super) async fn list(
    registry: &RemoteRegistry,
    after: Option<u64>,
    limit: u32,
) -> Result<EventList, CliError> {
    let page = |after: u64, size: u32| {
        registry
            .get(&["events"])
            .query("after", Some(after))
            .query("page_size", Some(size.min(PAGE)))
            .read::<EventList>()
    };
    let begin = match after {
        Some(after) => after,
        None => page(0, 1).await?.newest.saturating_sub(u64::from(limit)),
    };
    let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut all: Vec<Event> = Vec::new();
    let mut after = begin;
    loop {
        let missing = u32::try_from(wanted - all.len()).unwrap_or(PAGE);
        let found = page(after, missing).await?;
        let ends = found.next_after >= found.newest || found.next_after == after;
        all.extend(found.events);
        after = found.next_after;
        if ends || all.len() >= wanted {
            return Ok(EventList {
                events: all,
                next_after: after,
                newest: found.newest,
                epoch: found.epoch,
            });
        }
    }
}

/// Events as they come.
pub(super) async fn follow(
    registry: &RemoteRegistry,
    after: Option<u64>,
) -> Result<Results<Event>, CliError> {
    let mut following = Following {
        access: registry.access.clone(),
        authorization: registry.authorization.clone(),
        place: Place::After(after),
        response: None,
        messages: Messages::default(),
        ready: VecDeque::new(),
    };
    // That the first try fails is told before anything is printed. What comes from now on begins with an event that
    // is known, so that nothing is lost when the stream breaks off before its first event.
    if after.is_none() {
        let newest = list(registry, Some(0), 1).await?;
        following.place = Place::After(Some(newest.newest));
    }
    following.response = Some(following.ask().await?);
    let events = stream::unfold(Some(following), |following| async {
        let mut following = following?;
        match following.next().await {
            Ok(event) => Some((Ok(event), Some(following))),
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(events.boxed())
}

struct Following {
    access: Access,
    authorization: HeaderValue,
    place: Place,
    response: Option<Response>,
    messages: Messages,
    ready: VecDeque<(String, Event)>,
}

/// Where to go on.
enum Place {
    After(Option<u64>),
    /// After the event with this id of the stream, which names the feed's life too.
    Id(String),
}

impl Following {
    async fn ask(&self) -> Result<Response, CliError> {
        let request: Request = self.access.get(&["events", "stream"]);
        let request = request.bearer(&self.authorization);
        match &self.place {
            Place::After(after) => request.query("after", *after),
            Place::Id(id) => request.header("last-event-id", id),
        }
        .send()
        .await
    }

    async fn next(&mut self) -> Result<Event, CliError> {
        loop {
            if let Some((id, event)) = self.ready.pop_front() {
                self.place = Place::Id(id);
                return Ok(event);
            }
            match self.response.as_mut() {
                Some(response) => match timeout(SILENCE_LIMIT, response.chunk()).await {
                    Ok(Ok(Some(bytes))) => {
                        let complete = self.messages.push(&bytes)?;
                        for message in complete {
                            self.ready.extend(message.event()?);
                        }
                    }
                    // It ends when the server does, and breaks off when the connection does.
                    Ok(Ok(None) | Err(_)) | Err(_) => self.response = None,
                },
                None => self.ask_again().await?,
            }
        }
    }

    async fn ask_again(&mut self) -> Result<(), CliError> {
        self.messages = Messages::default();
        let mut patience = Patience::default();
        let mut failure = CliError::new(Exit::Unreachable, "the stream of events broke off");
        loop {
            patience.wait(failure).await?;
            match self.ask().await {
                Ok(response) => {
                    self.response = Some(response);
                    return Ok(());
                }
                Err(error) => failure = error,
            }
        }
    }
}

/// A message of a stream of server-sent events (HTML Standard, section 9.2.6).
#[derive(Debug, Default, PartialEq, Eq)]
struct Message {
    id: String,
    data: String,
}

impl Message {
    fn event(self) -> Result<Option<(String, Event)>, CliError> {
        if self.data.is_empty() {
            return Ok(None);
        }
        let event = serde_json::from_str(&self.data).map_err(|error| {
            CliError::new(Exit::Wrong, format!("an event can't be read: {error}"))
        })?;
        Ok(Some((self.id, event)))
    }
}

/// Puts the messages of a stream together.
#[derive(Debug, Default)]
struct Messages {
    lines: Lines,
    message: Message,
}

impl Messages {
    /// The messages that these bytes complete.
    fn push(&mut self, bytes: &[u8]) -> Result<Vec<Message>, CliError> {
        let lines = self.lines.push(bytes)?;
        Ok(lines.iter().filter_map(|line| self.line(line)).collect())
    }

    fn line(&mut self, line: &str) -> Option<Message> {
        if line.is_empty() {
            return Some(std::mem::take(&mut self.message));
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.message.id = value.to_owned(),
            "data" => {
                if !self.message.data.is_empty() {
                    self.message.data.push('\n');
                }
                self.message.data.push_str(value);
            }
            // Comments keep the connection alive; other fields mean nothing here.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_the_same_however_the_stream_is_cut() {
        let text = ": alive\n\nid: e:7\ndata: {\"a\":1}\r\n\nevent: x\ndata: one\ndata:two\n\n";
        let message = |id: &str, data: &str| Message {
            id: id.to_owned(),
            data: data.to_owned(),
        };
        let expected = [
            message("", ""),
            message("e:7", "{\"a\":1}"),
            message("", "one\ntwo"),
        ];
        for size in 1..=text.len() {
            let mut messages = Messages::default();
            let chunks = text.as_bytes().chunks(size);
            let found: Vec<Message> = chunks.flat_map(|it| messages.push(it).unwrap()).collect();
            assert_eq!(found, expected, "{size}");
        }
    }
}
