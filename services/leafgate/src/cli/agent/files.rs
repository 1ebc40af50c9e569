//! The files of one certificate and its key.
//!
//! Both are links into a folder of the agent beside the certificate, `.NAME.agent`, whose link `current` names the folder
//! of one version:
//!
//! ```text
//! leaf-1.crt -> .leaf-1.crt.agent/current/certificate.pem
//! leaf-1.key -> .leaf-1.crt.agent/current/key.pem
//! .leaf-1.crt.agent/current -> 5b1f…
//! .leaf-1.crt.agent/5b1f…/{certificate.pem,key.pem,renew-after}
//! ```
//!
//! A new version is written and flushed as a whole, then `current` is replaced by one rename, so that both names change
//! in the same moment. Whoever dies between any two steps leaves a pair that fits; the next run goes on from there.
//! A reader that opens one file before that moment and the other after it reads two versions, as with any two files:
//! it is told to read again once both are in place.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use leafgate_identity::UnixMs;
use leafgate_runtime::read_secret;
use secrecy::{ExposeSecret, SecretString};

use super::Pair;
use crate::cli::error::{CliError, Exit};
use crate::cli::files::read_text;

const CERTIFICATE: &str = "certificate.pem";
const KEY: &str = "key.pem";
const RENEW_AFTER: &str = "renew-after";
const CURRENT: &str = "current";
const PENDING_KEY: &str = "pending.key";
const ANNOUNCED: &str = "announced";

/// Called before each step that changes something; an error ends the act there, as a crash would.
type BeforeStep = Box<dyn Fn(&'static str) -> io::Result<()> + Send + Sync>;

/// A certificate and its key, in the places where their user finds them.
pub(crate) struct CertificateFiles {
    certificate: PathBuf,
    key: PathBuf,
    home: PathBuf,
    before_step: BeforeStep,
    /// Held as long as this lives.
    _lock: File,
}

impl CertificateFiles {
    /// Takes these files into care. Nobody else may have them in care at the same time.
    pub(crate) fn open(certificate: &Path, key: &Path) -> Result<Self, CliError> {
        Self::open_with(certificate, key, Box::new(|_| Ok(())))
    }

    fn open_with(
        certificate: &Path,
        key: &Path,
        before_step: BeforeStep,
    ) -> Result<Self, CliError> {
        let name = certificate
            .file_name()
            .ok_or_else(|| CliError::usage("the certificate's path names no file"))?;
        for path in [certificate, key] {
            fs::metadata(path).map_err(|error| CliError::file("read", path, &error))?;
        }
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(".agent");
        let home = certificate.with_file_name(hidden);
        fs::create_dir_all(&home)
            .and_then(|()| open_to_readers(&home))
            .map_err(|error| CliError::file("make the folder", &home, &error))?;
        let path = home.join("lock");
        let lock = File::create(&path).map_err(|error| CliError::file("write", &path, &error))?;
        lock.try_lock().map_err(|_| {
            let error = format!("another agent takes care of {}", certificate.display());
            CliError::new(Exit::Conflict, error).hint("end it, or let it do its work")
        })?;
        Ok(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            home,
            before_step,
            _lock: lock,
        })
    }

    /// The certificate and key as their user finds them.
    pub(crate) fn present(&self) -> Result<Pair, CliError> {
        let chain = read_text(&self.certificate)?;
        let key = read_secret(&self.key)?;
        Pair::parse(chain, key).map_err(|error| {
            let names = format!("{} and {}", self.certificate.display(), self.key.display());
            CliError::caused(Exit::Usage, &error).hint(format!("mend {names}"))
        })
    }

    /// When the registry wants the present certificate renewed, if it said so.
    pub(crate) fn renew_after(&self, present: &Pair) -> Option<UnixMs> {
        let text = fs::read_to_string(self.version(present).join(RENEW_AFTER)).ok()?;
        text.trim().parse().ok()
    }

    /// Makes links of plain files, with the same content, so that both can be replaced at once.
    pub(crate) fn adopt(&self, present: &Pair) -> Result<(), CliError> {
        self.try_adopt(present).map_err(|error| self.failed(&error))
    }

    /// The key that a renewal was begun with, so that the registry answers the same key with the same certificate.
    pub(crate) fn pending_key(&self) -> Option<SecretString> {
        read_secret(&self.home.join(PENDING_KEY)).ok()
    }

    /// Keeps a new key, before a certificate is asked for it.
    pub(crate) fn keep_pending_key(&self, key_pem: &SecretString) -> Result<(), CliError> {
        let kept = (self.before_step)("keep the new key")
            .and_then(|()| self.replace(PENDING_KEY, key_pem.expose_secret()));
        kept.map_err(|error| self.failed(&error))
    }

    /// Drops the key that a renewal was begun with.
    pub(crate) fn forget_pending_key(&self) -> Result<(), CliError> {
        let forgotten = (self.before_step)("forget the pending key")
            .and_then(|()| remove_if_there(&self.home.join(PENDING_KEY)));
        forgotten.map_err(|error| self.failed(&error))
    }

    /// Puts a new certificate and key in the place of the present ones.
    pub(crate) fn swap_in(&self, new: &Pair, renew_after: UnixMs) -> Result<(), CliError> {
        let swapped = self
            .write_version(new, Some(renew_after))
            .and_then(|()| self.point_at(new));
        swapped.map_err(|error| self.failed(&error))
    }

    /// Whether the user of the files was told of this certificate; `None` if there never was anything to tell.
    pub(crate) fn is_announced(&self, present: &Pair) -> Option<bool> {
        let told = fs::read_to_string(self.home.join(ANNOUNCED)).ok()?;
        Some(told.trim() == present.fingerprint.to_string())
    }

    /// Notes that the user of the files uses this certificate, and drops those before it. Its key is pending no more.
    pub(crate) fn note_announced(&self, present: &Pair) -> Result<(), CliError> {
        self.forget_pending_key()?;
        let noted = self
            .drop_other_versions()
            .and_then(|()| (self.before_step)("note the announcement"))
            .and_then(|()| self.replace(ANNOUNCED, &present.fingerprint.to_string()));
        noted.map_err(|error| self.failed(&error))
    }

    fn try_adopt(&self, present: &Pair) -> io::Result<()> {
        let places = [(&self.certificate, CERTIFICATE), (&self.key, KEY)];
        let targets = places.map(|(path, name)| self.target(path, name));
        let is_link = |path: &Path, target: &Path| fs::read_link(path).is_ok_and(|it| it == target);
        let mut links = places.iter().zip(&targets);
        let is_current = self
            .current()
            .is_some_and(|now| now == self.version(present));
        if is_current && links.all(|((path, _), target)| is_link(path, target)) {
            return Ok(());
        }
        self.write_version(present, None)?;
        self.point_at(present)?;
        for ((path, _), target) in places.iter().zip(&targets) {
            if !is_link(path, target) {
                (self.before_step)("make a link of a file")?;
                replace_by_link(path, target)?;
            }
        }
        Ok(())
    }

    /// What the link in the place of a file names: relative where it can be, so that the folder may be moved.
    fn target(&self, path: &Path, name: &str) -> PathBuf {
        let home = match self.home.file_name() {
            Some(own) if path.parent() == self.certificate.parent() => PathBuf::from(own),
            _ => fs::canonicalize(&self.home).unwrap_or_else(|_| self.home.clone()),
        };
        home.join(CURRENT).join(name)
    }

    fn version(&self, pair: &Pair) -> PathBuf {
        self.home.join(pair.fingerprint.to_string())
    }

    /// Writes the folder of a version, as a whole. A key keeps the mode and owner of the one before it, or its user
    /// could not read it any more.
    fn write_version(&self, pair: &Pair, renew_after: Option<UnixMs>) -> io::Result<()> {
        let version = self.version(pair);
        let is_there = version.join(KEY).exists() && version.join(CERTIFICATE).exists();
        if !is_there {
            let draft = version.with_extension("new");
            remove_folder(&draft)?;
            (self.before_step)("make the folder of a version")?;
            fs::create_dir(&draft)?;
            open_to_readers(&draft)?;
            let like = |path: &Path| fs::metadata(path);
            let chain = &pair.chain_pem;
            write_like(&draft.join(CERTIFICATE), chain, &like(&self.certificate)?)?;
            (self.before_step)("write the key")?;
            let key = pair.key_pem.expose_secret();
            write_like(&draft.join(KEY), &format!("{key}\n"), &like(&self.key)?)?;
            sync(&draft)?;
            remove_folder(&version)?;
            (self.before_step)("name the version")?;
            fs::rename(&draft, &version)?;
            sync(&self.home)?;
        }
        let Some(renew_after) = renew_after else {
            return Ok(());
        };
        (self.before_step)("write when to renew")?;
        replace_file(&version.join(RENEW_AFTER), &renew_after.to_string())
    }

    fn point_at(&self, pair: &Pair) -> io::Result<()> {
        if self.current().is_some_and(|now| now == self.version(pair)) {
            return Ok(());
        }
        (self.before_step)("swap")?;
        let target = PathBuf::from(pair.fingerprint.to_string());
        replace_by_link(&self.home.join(CURRENT), &target)
    }

    /// The folder that both files lead into.
    fn current(&self) -> Option<PathBuf> {
        let target = fs::read_link(self.home.join(CURRENT)).ok()?;
        Some(self.home.join(target))
    }

    fn drop_other_versions(&self) -> io::Result<()> {
        let current = self.current();
        for entry in fs::read_dir(&self.home)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() && Some(entry.path()) != current {
                (self.before_step)("drop an older version")?;
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    fn replace(&self, name: &str, text: &str) -> io::Result<()> {
        replace_file(&self.home.join(name), text)
    }

    fn failed(&self, error: &io::Error) -> CliError {
        let whose = self.certificate.display();
        CliError::usage(format!("can't keep the files of {whose}: {error}")).hint(format!(
            "the agent must be able to write {} and {}, and to give files the owner of those before",
            self.home.display(),
            self.certificate.parent().unwrap_or(Path::new(".")).display()
        ))
    }
}

/// Whatever the umask: the user of the files may be another than the agent, and each file has a mode of its own.
fn open_to_readers(folder: &Path) -> io::Result<()> {
    fs::set_permissions(folder, Permissions::from_mode(0o755))
}

/// Writes a file that only its owner reads, in place of an older one as a whole.
fn replace_file(path: &Path, text: &str) -> io::Result<()> {
    let draft = path.with_extension("new");
    remove_if_there(&draft)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)?;
    writeln!(file, "{}", text.trim_end())?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    sync(path.parent().unwrap_or(Path::new(".")))
}

/// Writes a new file with the mode and the owner of another.
fn write_like(path: &Path, text: &str, like: &fs::Metadata) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    let own = file.metadata()?;
    if (own.uid(), own.gid()) != (like.uid(), like.gid()) {
        chown(path, Some(like.uid()), Some(like.gid()))?;
    }
    file.set_permissions(Permissions::from_mode(like.mode() & 0o777))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn replace_by_link(path: &Path, target: &Path) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let draft = path.with_file_name(name);
    remove_if_there(&draft)?;
    symlink(target, &draft)?;
    fs::rename(&draft, path)?;
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
    sync(folder.unwrap_or(Path::new(".")))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn remove_folder(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Flushes the names within a folder.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests;
