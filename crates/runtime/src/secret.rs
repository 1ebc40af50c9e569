use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;

/// Longest file that is read: more is no seed, key or passphrase.
const MAX_BYTES: u64 = 64 * 1024;

/// Reads a secret from a file, without its final line break.
///
/// A file that everybody may read is refused. Its group may read it only where this process is
/// not the owner, as with a Kubernetes `fsGroup`.
///
/// # Errors
/// [`ReadSecretError`] names the file and how to mend it, never its content.
pub fn read_secret(path: &Path) -> Result<SecretString, ReadSecretError> {
    let unreadable = |source| ReadSecretError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    let own = metadata.uid() == nix::unistd::geteuid().as_raw();
    check_mode(path, metadata.mode() & 0o777, own)?;
    // With room for all of it, so that growing leaves no copy behind.
    let mut text = Zeroizing::new(String::with_capacity(MAX_BYTES as usize + 1));
    file.take(MAX_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(ReadSecretError::TooLong {
            path: path.to_owned(),
        });
    }
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(ReadSecretError::Empty {
            path: path.to_owned(),
        });
    }
    Ok(SecretString::from(secret))
}

fn check_mode(path: &Path, mode: u32, own: bool) -> Result<(), ReadSecretError> {
    let (forbidden, allowed) = if own { (0o077, 0o600) } else { (0o037, 0o640) };
    if mode & forbidden != 0 {
        return Err(ReadSecretError::TooOpen {
            path: path.to_owned(),
            mode,
            allowed,
        });
    }
    Ok(())
}

/// Why a secret could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadSecretError {
    /// The file can't be opened or is not UTF-8.
    #[error("can't read the secret file {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Others may read or change the file.
    #[error("the secret file {} has mode {mode:04o}: others may read or change it; run chmod {allowed:o} {}", path.display(), path.display())]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// The most that it may have.
        allowed: u32,
    },
    /// The file is longer than any secret.
    #[error("the secret file {} has more than 64 KiB: is it the right file?", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// The file holds nothing.
    #[error("the secret file {} is empty", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use secrecy::ExposeSecret;

    use super::*;

    fn file_with_mode(content: &str, mode: u32) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), content).unwrap();
        fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
        file
    }

    #[test]
    fn a_private_file_is_read_without_its_line_break() {
        let file = file_with_mode("SUAX\r\n", 0o600);
        assert_eq!(read_secret(file.path()).unwrap().expose_secret(), "SUAX");
    }

    #[test]
    fn a_file_of_ours_that_others_may_read_is_refused() {
        for mode in [0o644, 0o640, 0o604, 0o660] {
            let file = file_with_mode("SUAX\n", mode);
            let refused = read_secret(file.path()).unwrap_err();
            assert!(
                matches!(refused, ReadSecretError::TooOpen { .. }),
                "{mode:o}"
            );
            assert!(!refused.to_string().contains("SUAX"));
        }
    }

    #[test]
    fn a_file_of_another_owner_may_be_read_by_its_group_and_no_more() {
        let path = Path::new("seed");
        for mode in [0o400, 0o440, 0o600, 0o640] {
            assert!(check_mode(path, mode, false).is_ok(), "{mode:o}");
        }
        for mode in [0o444, 0o604, 0o642, 0o660, 0o650] {
            let refused = check_mode(path, mode, false).unwrap_err();
            assert!(refused.to_string().ends_with("chmod 640 seed"), "{refused}");
        }
        let refused = check_mode(path, 0o640, true).unwrap_err();
        assert!(refused.to_string().ends_with("chmod 600 seed"), "{refused}");
    }

    #[test]
    fn a_file_that_is_no_secret_by_its_size_is_refused() {
        let file = file_with_mode(&"x".repeat(64 * 1024 + 1), 0o600);
        let refused = read_secret(file.path()).unwrap_err();
        assert!(matches!(refused, ReadSecretError::TooLong { .. }));
    }

    #[test]
    fn an_empty_or_missing_file_is_an_error() {
        let file = file_with_mode("\n", 0o600);
        assert!(matches!(
            read_secret(file.path()),
            Err(ReadSecretError::Empty { .. })
        ));
        assert!(matches!(
            read_secret(Path::new("/nonexistent/seed")),
            Err(ReadSecretError::Unreadable { .. })
        ));
    }
}
