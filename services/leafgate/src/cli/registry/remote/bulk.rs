//! Many devices of a registry API, as streams of lines.

use std::collections::VecDeque;

use futures::StreamExt;
use futures::stream;
use leafgate_api::{ApplyBulk, BulkResult, Device};
use leafgate_identity::DeviceId;
use reqwest::Response;
use serde::de::DeserializeOwned;

use super::RemoteRegistry;
use super::access::Patience;
use super::described::filtered;
use super::failure::cause_of;
use super::lines::Lines;
use crate::cli::error::{CliError, Exit};
use crate::cli::registry::{DeviceFilter, Results};

/// Devices in the order of their ids; an answer that breaks off is continued.
pub(super) fn export(registry: &RemoteRegistry, filter: &DeviceFilter) -> Results<Device> {
    let exporting = Exporting {
        registry: registry.clone(),
        filter: filter.clone(),
        after: None,
        answer: None,
        patience: Patience::default(),
    };
    let devices = stream::unfold(Some(exporting), |exporting| async {
        let mut exporting = exporting?;
        match exporting.next().await.transpose()? {
            Ok(device) => Some((Ok(device), Some(exporting))),
            Err(error) => Some((Err(error), None)),
        }
    });
    devices.boxed()
}

struct Exporting {
    registry: RemoteRegistry,
    filter: DeviceFilter,
    after: Option<DeviceId>,
    answer: Option<Answer<Device>>,
    patience: Patience,
}

impl Exporting {
    async fn next(&mut self) -> Result<Option<Device>, CliError> {
        loop {
            let Some(answer) = &mut self.answer else {
                let request = filtered(self.registry.get(&["bulk", "export"]), &self.filter);
                let sent = request.query("after", self.after.as_ref()).send().await;
                match sent {
                    Ok(response) => self.answer = Some(Answer::new(response)),
                    Err(error) => self.patience.wait(error).await?,
                }
                continue;
            };
            match answer.next().await {
                Ok(Some(device)) => {
                    self.after = Some(device.id.clone());
                    self.patience = Patience::default();
                    return Ok(Some(device));
                }
                Ok(None) => return Ok(None),
                Err(error) => {
                    self.answer = None;
                    self.patience.wait(error).await?;
                }
            }
        }
    }
}

/// Changes many devices.
pub(super) async fn apply(
    registry: &RemoteRegistry,
    change: &ApplyBulk,
) -> Result<Results<BulkResult>, CliError> {
    let request = registry
        .access
        .request(reqwest::Method::POST, &["bulk", "apply"]);
    let request = request.bearer(&registry.authorization).json(change)?;
    let answer = Answer::new(request.send().await?);
    let results = stream::unfold(Some(answer), |answer| async {
        let mut answer: Answer<BulkResult> = answer?;
        match answer.next().await.transpose()? {
            Ok(result) => Some((Ok(result), Some(answer))),
            Err(error) => {
                let hint = "the devices that were not told of may be as they were: run it again";
                Some((Err(error.hint(hint)), None))
            }
        }
    });
    Ok(results.boxed())
}

/// An answer of one JSON value on each line.
pub(super) struct Answer<T> {
    response: Response,
    lines: Lines,
    ready: VecDeque<T>,
}

impl<T: DeserializeOwned> Answer<T> {
    pub(super) fn new(response: Response) -> Self {
        Self {
            response,
            lines: Lines::default(),
            ready: VecDeque::new(),
        }
    }

    /// The next value; an error if the answer breaks off.
    pub(super) async fn next(&mut self) -> Result<Option<T>, CliError> {
        loop {
            if let Some(value) = self.ready.pop_front() {
                return Ok(Some(value));
            }
            let chunk = self.response.chunk().await.map_err(broken_off)?;
            let Some(bytes) = chunk else {
                return Ok(None);
            };
            for line in self.lines.push(&bytes)? {
                let value = serde_json::from_str(&line).map_err(|error| {
                    let error = format!("the registry's answer can't be read: {error}");
                    CliError::new(Exit::Wrong, error)
                })?;
                self.ready.push_back(value);
            }
        }
    }
}

fn broken_off(error: reqwest::Error) -> CliError {
    let why = cause_of(error);
    CliError::new(
        Exit::Unreachable,
        format!("the registry's answer broke off: {why}"),
    )
}
