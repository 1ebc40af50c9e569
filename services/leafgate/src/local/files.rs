use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

const PRIVATE_MODE: u32 = 0o600;
/// What the umask leaves of it.
const PUBLIC_MODE: u32 = 0o666;

/// Writes a new file with one line that only its owner may read.
pub(crate) fn write_secret(path: &Path, secret: &str) -> io::Result<()> {
    let mut file = create_new(path, PRIVATE_MODE)?;
    let written = writeln!(file, "{secret}").and_then(|()| file.sync_all());
    written.inspect_err(|_| {
        // Part of a secret is none, and it would stand in the way of a whole one.
        let _ = fs::remove_file(path);
    })
}

fn create_new(path: &Path, mode: u32) -> io::Result<File> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    if mode == PRIVATE_MODE {
        // The mode given at creation passes through the umask.
        file.set_permissions(Permissions::from_mode(mode))?;
    }
    Ok(file)
}

/// A file in the making, beside the one that it will replace as a whole. That there is one shows
/// that the place can be written to, before something is done that can't be done twice.
#[derive(Debug)]
pub(crate) struct Draft {
    file: File,
    draft: PathBuf,
    path: PathBuf,
}

impl Draft {
    /// A file that everybody may read.
    pub(crate) fn public(path: &Path) -> io::Result<Self> {
        Self::create(path, PUBLIC_MODE)
    }

    /// A file that only its owner may read, whatever the one that it replaces is.
    pub(crate) fn private(path: &Path) -> io::Result<Self> {
        Self::create(path, PRIVATE_MODE)
    }

    fn create(path: &Path, mode: u32) -> io::Result<Self> {
        let mut name = match path.file_name() {
            Some(name) => name.to_owned(),
            None => return Err(io::ErrorKind::IsADirectory.into()),
        };
        match fs::symlink_metadata(path) {
            Ok(present) if present.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            // A link or a device would be replaced, not written to.
            Ok(present) if !present.is_file() => {
                return Err(io::Error::other("it is there, and no regular file"));
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(_) | Err(_) => {}
        }
        name.push(format!(".{}.new", std::process::id()));
        let draft = path.with_file_name(name);
        // One that a killed process left behind. In a container all of them have the same id.
        let _ = fs::remove_file(&draft);
        Ok(Self {
            file: create_new(&draft, mode)?,
            draft,
            path: path.to_owned(),
        })
    }

    /// The file that comes into being.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts a file with this text into its place.
    pub(crate) fn publish(mut self, text: &str) -> io::Result<()> {
        self.write(text)?;
        self.put_in_place()
    }

    /// Writes a part of the text, which [`publish`](Self::publish) ends.
    pub(crate) fn append(&mut self, text: &str) -> io::Result<()> {
        self.file.write_all(text.as_bytes())
    }

    /// Writes the text, for files that must come into being together.
    pub(super) fn write(&mut self, text: &str) -> io::Result<()> {
        self.file.write_all(text.as_bytes())?;
        self.file.sync_all()
    }

    /// Puts the file with what was written into its place.
    pub(super) fn put_in_place(self) -> io::Result<()> {
        fs::rename(&self.draft, &self.path)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // One that was published is there no more.
        let _ = fs::remove_file(&self.draft);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    /// Publishes a private file, which is then the only one in its folder.
    fn assert_publishes(path: &Path) {
        Draft::private(path).unwrap().publish("new").unwrap();
        assert_eq!(
            (mode(path), fs::read_to_string(path).unwrap()),
            (0o600, "new".to_owned())
        );
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn secrets_are_private_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seed");
        write_secret(&path, "first").unwrap();
        assert_eq!(mode(&path), 0o600);
        let refused = write_secret(&path, "second").unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "first\n");
    }

    #[test]
    fn a_published_file_is_private_whatever_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("callout.toml");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert_publishes(&path);
    }

    #[test]
    fn a_draft_that_is_given_up_leaves_everything_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0001.crt");
        fs::write(&path, "old").unwrap();
        drop(Draft::public(&path).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_killed_process_of_the_same_id_left_behind_is_no_obstacle() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0001.key");
        let left = format!("0001.key.{}.new", std::process::id());
        fs::write(folder.path().join(left), "half a k").unwrap();
        assert_publishes(&path);
    }

    #[test]
    fn only_a_regular_file_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("elsewhere", &link).unwrap();
        assert!(Draft::public(&link).is_err());
        for path in [folder.path(), Path::new("/")] {
            let refused = Draft::public(path).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::IsADirectory);
        }
        let nowhere = Draft::public(&folder.path().join("none/file")).unwrap_err();
        assert_eq!(nowhere.kind(), io::ErrorKind::NotFound);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
