use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

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
    let mut file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    check_mode(path, &metadata)?;
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(unreadable)?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(ReadSecretError::Empty {
            path: path.to_owned(),
        });
    }
    Ok(SecretString::from(secret))
}

fn check_mode(path: &Path, metadata: &fs::Metadata) -> Result<(), ReadSecretError> {
    let mode = metadata.mode() & 0o777;
    let own = metadata.uid() == nix::unistd::geteuid().as_raw();
    let forbidden = if own { 0o077 } else { 0o007 };
    if mode & forbidden != 0 {
        return Err(ReadSecretError::TooOpen {
            path: path.to_owned(),
            mode,
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
    /// Others than its owner may read the file.
    #[error("the secret file {} has mode {mode:04o}: others may read it; run chmod 600 {}", path.display(), path.display())]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
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
