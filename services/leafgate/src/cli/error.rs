//! How a command ends: its exit status, and what it says when it failed.

use std::error::Error;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use leafgate_api::ProblemType;
use leafgate_pki::{InitCaError, LoadCaError, OpenCaError};
use leafgate_registrar::{ErrorKind, RegistrarError, VerifyAuditError};
use leafgate_registry::StoreError;
use leafgate_runtime::{LoadConfigError, ReadSecretError};

use crate::local::{LogInError, OpenLocalDirError};

/// What a command ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// The check came out wrong.
    Wrong = 1,
    /// The command or its input makes no sense.
    Usage = 2,
    /// What it names does not exist.
    NotFound = 3,
    /// The present state does not allow it.
    Conflict = 4,
    /// The server refused.
    Refused = 5,
    /// The server or the registry can't be reached.
    Unreachable = 6,
}

/// The list of exit statuses in the help.
pub(crate) const EXIT_STATUSES: &str = "\
Exit status: 0 done, 1 the check or demo came out wrong, 2 usage or input, 3 not found,
4 conflict or state, 5 refused, 6 server or registry unreachable";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// How an issuer is activated that was prepared too short a time ago.
pub(crate) const ALL_KNOW_IT: &str = "give --now if all of them know it";

/// Why a command failed, for the person who called it.
#[derive(Debug)]
pub(crate) struct CliError {
    exit: Exit,
    message: String,
    hints: Vec<String>,
    /// What a registry API called it.
    problem: Option<ProblemType>,
    /// After which time a registry API wants to be asked again.
    retry_after: Option<Duration>,
}

impl CliError {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            hints: Vec::new(),
            problem: None,
            retry_after: None,
        }
    }

    /// What a registry API said. Behind a semicolon, as with [`caused`](Self::caused), stands what to do.
    pub(crate) fn told(exit: Exit, problem: Option<ProblemType>, detail: &str) -> Self {
        let (what, mend) = what_and_mend(detail);
        Self {
            hints: mend.map(str::to_owned).into_iter().collect(),
            problem,
            ..Self::new(exit, what)
        }
    }

    /// Wrong input.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// A failure with a file that the caller named.
    pub(crate) fn file(verb: &str, path: &Path, error: &io::Error) -> Self {
        Self::usage(format!("can't {verb} {}: {error}", path.display()))
    }

    /// What went wrong below, with its causes. Errors say what is wrong, then, behind a
    /// semicolon, what to do: that part becomes a hint.
    pub(crate) fn caused(exit: Exit, error: &(dyn Error + 'static)) -> Self {
        let causes = std::iter::successors(Some(error), |error| (*error).source());
        Self::of_chain(exit, causes)
    }

    fn of_chain<'a>(exit: Exit, chain: impl Iterator<Item = &'a (dyn Error + 'static)>) -> Self {
        let mut message = String::new();
        let mut hints = Vec::new();
        for error in chain {
            let text = error.to_string();
            let (what, mend) = what_and_mend(&text);
            hints.extend(mend.map(str::to_owned));
            // An error of another library may have shown its cause already.
            if !message.ends_with(what) {
                if !message.is_empty() {
                    message.push_str(": ");
                }
                message.push_str(what);
            }
        }
        Self {
            hints,
            ..Self::new(exit, message)
        }
    }

    /// A further line that says what to do.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The same with another exit status.
    #[must_use]
    pub(crate) fn exiting(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// The same with the time after which it makes sense to ask again.
    #[must_use]
    pub(crate) fn after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// After which time it makes sense to ask again, where a server said so.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// The message, of one line or several.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// What a registry API called it.
    pub(crate) fn problem(&self) -> Option<ProblemType> {
        self.problem
    }

    /// What to do, a line each.
    pub(crate) fn hints(&self) -> &[String] {
        &self.hints
    }
}

/// Errors say what is wrong, then, behind a semicolon, what to do.
fn what_and_mend(text: &str) -> (&str, Option<&str>) {
    match text.split_once("; ") {
        Some((what, mend)) if !what.contains('\n') => (what, Some(mend)),
        _ => (text, None),
    }
}

impl From<RegistrarError> for CliError {
    fn from(error: RegistrarError) -> Self {
        let cli = Self::caused(exit_of_registrar(&error), &error);
        match error {
            RegistrarError::DeviceUnknown { .. } => cli.hint(
                "leafgate device list shows those that there are; ids are exact, case included",
            ),
            RegistrarError::IssuerTooYoung { .. } => cli.hint(ALL_KNOW_IT),
            _ => cli,
        }
    }
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        Self::caused(exit_of_store(&error), &error)
    }
}

impl From<VerifyAuditError> for CliError {
    fn from(error: VerifyAuditError) -> Self {
        let exit = match &error {
            // An event that no version could have written breaks the chain as surely.
            VerifyAuditError::Store(source) => exit_of_store(source),
            VerifyAuditError::Chain(_)
            | VerifyAuditError::Truncated { .. }
            | VerifyAuditError::HeadDiffers { .. }
            | VerifyAuditError::CheckpointDiffers { .. }
            | VerifyAuditError::CutShort { .. } => Exit::Wrong,
        };
        Self::caused(exit, &error)
    }
}

impl From<OpenLocalDirError> for CliError {
    fn from(error: OpenLocalDirError) -> Self {
        Self::caused(exit_of_local_dir(&error), &error)
    }
}

impl From<InitCaError> for CliError {
    fn from(error: InitCaError) -> Self {
        Self::caused(exit_of_init(&error), &error)
    }
}

impl From<LogInError> for CliError {
    fn from(error: LogInError) -> Self {
        let exit = exit_of_log_in(&error);
        let cli = Self::caused(exit, &error);
        match error {
            LogInError::Refused => Self::new(
                exit,
                "Authorization Violation: the reason is in leafgate's log",
            ),
            LogInError::Handshake(_) => cli.hint(
                "the server does not trust the issuer of this certificate, or it has expired",
            ),
            LogInError::Unreachable(_) => cli,
        }
    }
}

impl From<ReadSecretError> for CliError {
    fn from(error: ReadSecretError) -> Self {
        Self::caused(Exit::Usage, &error)
    }
}

impl From<anyhow::Error> for CliError {
    fn from(error: anyhow::Error) -> Self {
        let exit = error.chain().find_map(exit_of).unwrap_or(Exit::Wrong);
        Self::of_chain(exit, error.chain())
    }
}

/// The exit status that an error within a chain asks for, if it is one of ours.
fn exit_of(error: &(dyn Error + 'static)) -> Option<Exit> {
    if error.is::<OpenCaError>() || error.is::<LoadCaError>() {
        return Some(Exit::Unreachable);
    }
    if error.is::<LoadConfigError>() {
        return Some(Exit::Usage);
    }
    let registrar = error.downcast_ref().map(exit_of_registrar);
    registrar
        .or_else(|| error.downcast_ref().map(exit_of_store))
        .or_else(|| error.downcast_ref().map(exit_of_local_dir))
        .or_else(|| error.downcast_ref().map(exit_of_log_in))
        .or_else(|| error.downcast_ref().map(exit_of_init))
}

fn exit_of_store(error: &StoreError) -> Exit {
    match error {
        StoreError::Unavailable { .. } | StoreError::Unsupported { .. } => Exit::Unreachable,
        StoreError::Corrupt { .. } => Exit::Wrong,
    }
}

fn exit_of_local_dir(error: &OpenLocalDirError) -> Exit {
    match error {
        OpenLocalDirError::Missing { .. } => Exit::Unreachable,
        OpenLocalDirError::Foreign { .. }
        | OpenLocalDirError::Kept { .. }
        | OpenLocalDirError::InUse { .. } => Exit::Conflict,
        OpenLocalDirError::Unusable { .. } => Exit::Usage,
    }
}

fn exit_of_init(error: &InitCaError) -> Exit {
    match error {
        InitCaError::Exists { .. }
        | InitCaError::NotEmpty { .. }
        | InitCaError::RootKeyExists { .. } => Exit::Conflict,
        InitCaError::RootKeyInside { .. } | InitCaError::RootKey(_) | InitCaError::Write(_) => {
            Exit::Usage
        }
        InitCaError::Root(_) | InitCaError::Intermediate(_) | InitCaError::Crl(_) => Exit::Wrong,
    }
}

fn exit_of_registrar(error: &RegistrarError) -> Exit {
    match error.kind() {
        ErrorKind::Input => Exit::Usage,
        ErrorKind::NotFound => Exit::NotFound,
        ErrorKind::Conflict | ErrorKind::TooMany => Exit::Conflict,
        ErrorKind::Forbidden => Exit::Refused,
        ErrorKind::Unavailable => Exit::Unreachable,
        ErrorKind::Failed => Exit::Wrong,
    }
}

fn exit_of_log_in(error: &LogInError) -> Exit {
    match error {
        LogInError::Refused | LogInError::Handshake(_) => Exit::Refused,
        LogInError::Unreachable(_) => Exit::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use anyhow::Context;
    use leafgate_identity::DeviceId;
    use leafgate_registry::{Action, BuildChangeError, DeviceState};

    use super::*;

    fn id() -> DeviceId {
        DeviceId::parse("0001").unwrap()
    }

    fn unavailable() -> StoreError {
        StoreError::unavailable("the registry x.db does not exist", io::Error::other("gone"))
    }

    #[test]
    fn every_kind_of_failure_has_its_exit_status() {
        let illegal = BuildChangeError::TransitionIllegal {
            id: id(),
            state: DeviceState::Revoked,
            action: Action::Enable,
        };
        let csr = leafgate_pki::PublicKeyInfo::from_csr_pem("no PEM").unwrap_err();
        for (error, exit) in [
            (RegistrarError::DeviceUnknown { id: id() }, Exit::NotFound),
            (RegistrarError::Change(illegal), Exit::Conflict),
            (RegistrarError::Csr(csr), Exit::Usage),
            (RegistrarError::Store(unavailable()), Exit::Unreachable),
            (
                RegistrarError::Unconfirmed(unavailable()),
                Exit::Unreachable,
            ),
        ] {
            assert_eq!(CliError::from(error).exit(), exit);
        }
        let corrupt = || StoreError::Corrupt {
            what: "event 3".to_owned(),
        };
        for (error, exit) in [
            (VerifyAuditError::Store(unavailable()), Exit::Unreachable),
            (VerifyAuditError::Store(corrupt()), Exit::Wrong),
            (VerifyAuditError::HeadDiffers { seq: 3 }, Exit::Wrong),
        ] {
            assert_eq!(CliError::from(error).exit(), exit);
        }
        // Read directly or on behalf of the registrar, a broken registry is one thing.
        assert_eq!(CliError::from(corrupt()).exit(), Exit::Wrong);
        assert_eq!(
            CliError::from(RegistrarError::Store(corrupt())).exit(),
            Exit::Wrong
        );
        assert_eq!(CliError::from(unavailable()).exit(), Exit::Unreachable);
        assert_eq!(CliError::from(LogInError::Refused).exit(), Exit::Refused);
    }

    #[test]
    fn a_known_error_is_found_beneath_what_was_said_about_it() {
        let missing = OpenLocalDirError::Missing {
            path: PathBuf::from("x"),
        };
        let wrapped = Err::<(), _>(missing).context("opening").unwrap_err();
        assert_eq!(CliError::from(wrapped).exit(), Exit::Unreachable);
        assert_eq!(CliError::from(anyhow::anyhow!("odd")).exit(), Exit::Wrong);
    }

    #[test]
    fn what_to_do_stands_apart_from_what_is_wrong() {
        let illegal = BuildChangeError::TransitionIllegal {
            id: id(),
            state: DeviceState::Revoked,
            action: Action::Enable,
        };
        let error = CliError::from(RegistrarError::Change(illegal));
        assert_eq!(error.message(), "0001 is revoked: enable does not apply");
        assert_eq!(
            error.hints(),
            ["a revocation is final: delete the device and register it again"]
        );
    }

    #[test]
    fn causes_follow_each_other() {
        let error = CliError::from(RegistrarError::Store(unavailable()));
        assert_eq!(
            error.message(),
            "the registry can't be read or written: the registry x.db does not exist: gone"
        );
    }
}
