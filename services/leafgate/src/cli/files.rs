//! Files that the caller names.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use super::error::{CliError, Exit};

const PRIVATE_MODE: u32 = 0o600;

/// Longer than any policy, certificate or request that people write.
const MAX_BYTES: u64 = 1 << 20;

/// Reads a text file; `-` is standard input.
pub(crate) fn read_text(path: &Path) -> Result<String, CliError> {
    let read = if path == Path::new("-") {
        bounded(io::stdin().lock())
    } else {
        fs::File::open(path).and_then(bounded)
    };
    read.map_err(|error| CliError::file("read", path, &error))
}

fn bounded(source: impl Read) -> io::Result<String> {
    let mut text = String::new();
    source.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(io::Error::other("it is longer than 1 MiB"));
    }
    Ok(text)
}

/// Writes a new file that only its owner may read, and overwrites none.
pub(crate) fn write_new_secret(path: &Path, secret: &str) -> Result<(), CliError> {
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(PRIVATE_MODE)
        .open(path)
        .and_then(|mut file| {
            // The mode given at creation passes through the umask.
            file.set_permissions(Permissions::from_mode(PRIVATE_MODE))?;
            writeln!(file, "{secret}")?;
            file.sync_all()
        });
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => CliError::new(
            Exit::Conflict,
            format!(
                "{} exists, and a secret is never overwritten",
                path.display()
            ),
        )
        .hint("name another file, or remove this one if nothing needs it any more"),
        _ => CliError::file("write", path, &error),
    })
}

/// Writes a file that only its owner may read, in place of an older one as a whole.
pub(crate) fn replace_private(path: &Path, text: &str) -> Result<(), CliError> {
    let failed = |error: io::Error| CliError::file("write", path, &error);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let draft = path.with_file_name(name);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(PRIVATE_MODE)
        .open(&draft)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&draft, path));
    written.map_err(failed)
}

/// Makes a folder, and those above it, where there is none.
pub(crate) fn make_folder(path: &Path) -> Result<(), CliError> {
    fs::create_dir_all(path).map_err(|error| CliError::file("make the folder", path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn secrets_are_private_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seed");
        write_new_secret(&path, "first").unwrap();
        assert_eq!(mode(&path), 0o600);
        let refused = write_new_secret(&path, "second").unwrap_err();
        assert_eq!(refused.exit(), Exit::Conflict);
        assert_eq!(fs::read_to_string(&path).unwrap(), "first\n");
    }

    #[test]
    fn a_replaced_file_is_private_whatever_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("callout.toml");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        replace_private(&path, "new").unwrap();
        assert_eq!(
            (mode(&path), fs::read_to_string(&path).unwrap()),
            (0o600, "new".to_owned())
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_too_long_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("long");
        fs::write(&path, vec![b'a'; 1 << 20]).unwrap();
        assert!(read_text(&path).is_ok());
        fs::write(&path, vec![b'a'; (1 << 20) + 1]).unwrap();
        assert_eq!(read_text(&path).unwrap_err().exit(), Exit::Usage);
    }
}
