//! What a registry API answers in place of what was asked for, as errors.

use std::time::Duration;

use leafgate_api::{ProblemDocument, ProblemType};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};

use crate::cli::console::plain;
use crate::cli::error::{ALL_KNOW_IT, CliError, Exit};

const DEFAULT_WAIT: Duration = Duration::from_secs(1);

/// Why a request was not answered as it was meant, and whether it makes sense to wait.
pub(super) struct Failure {
    pub(super) error: CliError,
    pub(super) wait: Option<Duration>,
}

impl Failure {
    pub(super) async fn answered(name: &str, response: Response) -> Self {
        let status = response.status();
        let wait = retry_after(response.headers());
        let busy = matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        );
        let error = match response.bytes().await {
            Ok(body) => error_of_answer(name, status, &body),
            Err(error) => unreachable(name, error),
        };
        Self {
            error,
            wait: busy.then(|| wait.unwrap_or(DEFAULT_WAIT)),
        }
    }

    /// An answer that broke off may be asked for again; a server that isn't there is told at once.
    pub(super) fn unanswered(name: &str, error: reqwest::Error) -> Self {
        let wait = (!error.is_connect() && !error.is_builder()).then_some(DEFAULT_WAIT);
        Self {
            error: unreachable(name, error),
            wait,
        }
    }

    pub(super) fn into_error(self, longest: Duration) -> CliError {
        match self.wait {
            Some(wait) if wait > longest => self
                .error
                .hint(format!("try again in {} s", wait.as_secs()))
                .after(wait),
            Some(wait) => self.error.after(wait),
            None => self.error,
        }
    }
}

/// The error that an answer tells.
fn error_of_answer(name: &str, status: StatusCode, body: &[u8]) -> CliError {
    let Ok(problem) = serde_json::from_slice::<ProblemDocument>(body) else {
        let error = format!("{name} answers with {status}, and not as a registry API");
        return CliError::new(exit_of_status(status.as_u16()), error)
            .hint("is it the address of a leafgate-registry?");
    };
    let kind = problem.problem_type();
    let exit = kind.map_or_else(|| exit_of_status(problem.status), exit_of_problem);
    let error = CliError::told(exit, kind, &plain(&problem.detail));
    let error = match kind {
        Some(ProblemType::DeviceUnknown) => error
            .hint("leafgate device list shows those that there are; ids are exact, case included"),
        Some(ProblemType::IssuerTooYoung) => error.hint(ALL_KNOW_IT),
        Some(ProblemType::PageTokenInvalid) => {
            error.hint("--after takes what the list before said, with the same filters")
        }
        _ => error,
    };
    error.hint(format!("request {} to {name}", plain(&problem.request_id)))
}

fn exit_of_problem(problem: ProblemType) -> Exit {
    match problem {
        // It is the client's address that is refused, whatever it asks for.
        ProblemType::AttemptsTooMany => Exit::Refused,
        other => exit_of_status(other.status()),
    }
}

fn exit_of_status(status: u16) -> Exit {
    match status {
        401 | 403 => Exit::Refused,
        404 => Exit::NotFound,
        409 | 412 | 429 => Exit::Conflict,
        408 | 501..=599 => Exit::Unreachable,
        400..=499 => Exit::Usage,
        _ => Exit::Wrong,
    }
}

/// RFC 9110 section 10.2.3, as seconds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

pub(super) fn unreachable(name: &str, error: reqwest::Error) -> CliError {
    let refused = error.is_connect() && mentions_certificate(&error);
    let verb = if error.is_connect() {
        "can't be reached"
    } else {
        "broke off"
    };
    let why = cause_of(error);
    let error = CliError::new(Exit::Unreachable, format!("{name} {verb}: {why}"));
    if refused {
        return error.hint("name the CA that certifies it with --ca-file, or LEAFGATE_CA_FILE");
    }
    error
}

/// What lies at the bottom of it, without the address, which may be long.
pub(super) fn cause_of(error: reqwest::Error) -> String {
    let error = error.without_url();
    let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| {
        error.source()
    });
    causes.last().map(ToString::to_string).unwrap_or_default()
}

fn mentions_certificate(error: &dyn std::error::Error) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .any(|error| error.to_string().contains("invalid peer certificate"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_has_an_exit_status() {
        for (problem, exit) in [
            (ProblemType::RequestMalformed, Exit::Usage),
            (ProblemType::CredentialsInvalid, Exit::Refused),
            (ProblemType::ScopeExceeded, Exit::Refused),
            (ProblemType::DeviceUnknown, Exit::NotFound),
            (ProblemType::DeviceExists, Exit::Conflict),
            (ProblemType::VersionMismatch, Exit::Conflict),
            (ProblemType::IssuanceLimited, Exit::Conflict),
            (ProblemType::AttemptsTooMany, Exit::Refused),
            (ProblemType::Internal, Exit::Wrong),
            (ProblemType::NotSupported, Exit::Unreachable),
            (ProblemType::RegistryUnavailable, Exit::Unreachable),
        ] {
            assert_eq!(exit_of_problem(problem), exit, "{problem:?}");
        }
    }

    #[test]
    fn an_answer_of_something_else_is_no_riddle() {
        let error = error_of_answer("https://x", StatusCode::NOT_FOUND, b"<html>");
        assert!(
            error.message().contains("not as a registry API"),
            "{}",
            error.message()
        );
        assert_eq!(error.exit(), Exit::NotFound);
    }
}
