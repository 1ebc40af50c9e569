//! The real program in a folder of its own.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use leafgate::local::{LocalDir, open_registrar};
use leafgate_registry::{Act, Actor};
use leafgate_runtime::{Clock, SystemClock};
use serde_json::Value;

use crate::api::Api;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(50);

/// A scratch folder with the program.
pub(crate) struct Desk {
    folder: tempfile::TempDir,
    /// What its commands work against, if not a registry in a folder.
    pub(crate) api: Option<Api>,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) exit: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Desk {
    /// An empty folder.
    pub(crate) fn empty() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            api: None,
        }
    }

    /// A folder whose commands work against a registry API, as its first administrator.
    pub(crate) fn with_api() -> Self {
        Self::with_api_of("")
    }

    /// The same with further sections of the API's configuration.
    pub(crate) fn with_api_of(sections: &str) -> Self {
        let mut desk = Self::empty();
        desk.api = Some(Api::start_with(&desk, sections));
        desk
    }

    /// Both kinds of registry, to do the same with.
    pub(crate) fn with_either() -> [Self; 2] {
        [Self::with_registry(), Self::with_api()]
    }

    /// A folder with a registry in `.leafgate`, as `leafgate dev` leaves it.
    pub(crate) fn with_registry() -> Self {
        let desk = Self::empty();
        let dir = LocalDir::create(&desk.path(".leafgate")).unwrap();
        let act = Act {
            actor: Actor::parse("test").unwrap(),
            at: SystemClock::start().now(),
        };
        let opened = runtime().block_on(async { open_registrar(&dir, &act).await.map(drop) });
        opened.unwrap();
        desk
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn read(&self, name: impl AsRef<Path>) -> String {
        let path = self.path(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// A file of JSON.
    pub(crate) fn json_file(&self, name: &str) -> Value {
        serde_json::from_str(&self.read(name)).unwrap()
    }

    /// The permission bits of a file.
    pub(crate) fn mode(&self, name: impl AsRef<Path>) -> u32 {
        let metadata = fs::metadata(self.path(name)).unwrap();
        metadata.permissions().mode() & 0o777
    }

    /// `leafgate` with these arguments, without a terminal.
    pub(crate) fn command<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_leafgate"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .env("USER", "tester")
            .stdin(Stdio::null());
        if let Some(api) = &self.api {
            command
                .env("LEAFGATE_URL", api.url())
                .env("LEAFGATE_TOKEN_FILE", "admin.key")
                .env("LEAFGATE_CA_FILE", "server/registry/ca/root.crt");
        }
        command
    }

    /// Runs `leafgate` with the words of a line.
    pub(crate) fn run(&self, line: &str) -> Done {
        self.run_with(line.split_whitespace())
    }

    pub(crate) fn run_with<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Done {
        self.command(arguments).output().unwrap().into()
    }

    /// What a command that must succeed prints.
    pub(crate) fn ok(&self, line: &str) -> String {
        let done = self.run(line);
        assert_eq!(done.exit, 0, "leafgate {line}: {done:#?}");
        done.stdout
    }

    /// What a command that must succeed prints as JSON.
    pub(crate) fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.ok(&format!("{line} --output json"))).unwrap()
    }

    /// What a command says that must end with this status and print nothing; of a registry API, without the line
    /// that names the request.
    pub(crate) fn fails(&self, line: &str, exit: i32) -> String {
        let done = self.run(line);
        assert_eq!(
            (done.exit, done.stdout.as_str()),
            (exit, ""),
            "leafgate {line}: {done:#?}"
        );
        let said = done.stderr.split_inclusive('\n');
        said.filter(|line| !line.starts_with("  request "))
            .collect()
    }

    /// What `openssl` with the words of a line prints, which must succeed.
    pub(crate) fn openssl(&self, line: &str) -> String {
        let done = self.run_openssl(line);
        assert_eq!(done.exit, 0, "openssl {line}: {done:#?}");
        done.stdout
    }

    /// Runs `openssl` with the words of a line.
    pub(crate) fn run_openssl(&self, line: &str) -> Done {
        let mut command = Command::new("openssl");
        command
            .args(line.split_whitespace())
            .current_dir(self.folder.path());
        command.output().unwrap().into()
    }
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        Self {
            exit: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// The folder of the whole project.
pub(crate) fn project() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap().to_owned()
}

/// Asks until there is an answer.
pub(crate) fn eventually<T>(awaited: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let mut waited = Duration::ZERO;
    while waited < PATIENCE {
        if let Some(answer) = ask() {
            return answer;
        }
        thread::sleep(PAUSE);
        waited += PAUSE;
    }
    panic!("{awaited} was not seen within {PATIENCE:?}");
}

/// A runtime for what the library does asynchronously.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().unwrap()
}
