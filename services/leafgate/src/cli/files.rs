//! Files that the caller names.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use leafgate_pki::{KeyPairPem, write_csr};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use secrecy::SecretString;

use super::error::{CliError, Exit};
use crate::local::{CredentialFiles, Draft, write_secret};

/// Longer than any policy, certificate or request that people write.
const MAX_BYTES: u64 = 1 << 20;

/// The registry knows the certificate as issued, and nobody has it.
pub(crate) const LOST_CERTIFICATE: &str =
    "a certificate was issued and is lost; ask for another once the file can be written";

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
    write_secret(path, secret).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => kept(path),
        _ => unwritable(path, &error),
    })
}

/// Writes a file that only its owner may read, in place of an older one as a whole.
pub(crate) fn replace_private(path: &Path, text: &str) -> Result<(), CliError> {
    Draft::private(path)
        .and_then(|draft| draft.publish(text))
        .map_err(|error| unwritable(path, &error))
}

/// A public file in the making, before anything is done that could not be written then.
pub(crate) fn draft_public(path: &Path) -> Result<Draft, CliError> {
    Draft::public(path).map_err(|error| unwritable(path, &error))
}

/// Finishes what [`draft_public`] began.
pub(crate) fn publish(draft: Draft, text: &str) -> Result<(), CliError> {
    let path = draft.path().to_owned();
    draft
        .publish(text)
        .map_err(|error| unwritable(&path, &error))
}

/// The places of a certificate and its key, before they are made.
pub(crate) fn prepare_credentials(stem: &Path) -> Result<CredentialFiles, CliError> {
    CredentialFiles::prepare(stem).map_err(|error| CliError::from(error).exiting(Exit::Usage))
}

/// A new key of whoever has this name, and the certificate request for it: the key itself goes nowhere but into its file.
pub(crate) fn make_key(name: &str) -> Result<(SecretString, String), CliError> {
    let KeyPairPem {
        private_key_pem, ..
    } = KeyPairPem::generate().map_err(|error| CliError::caused(Exit::Wrong, &error))?;
    let request =
        write_csr(&private_key_pem, name).map_err(|error| CliError::caused(Exit::Wrong, &error))?;
    Ok((private_key_pem, request))
}

/// A place for a new secret, before it is made.
pub(crate) fn draft_secret(path: &Path) -> Result<Draft, CliError> {
    if fs::symlink_metadata(path).is_ok() {
        return Err(kept(path));
    }
    Draft::private(path).map_err(|error| unwritable(path, &error))
}

/// Finishes what [`draft_secret`] began; `lost` says what is to be done where it can't be written after all.
pub(crate) fn publish_secret(draft: Draft, secret: &str, lost: &str) -> Result<(), CliError> {
    publish(draft, &format!("{secret}\n")).map_err(|error| error.hint(lost))
}

/// Finishes what [`prepare_credentials`] began.
pub(crate) fn write_credentials(
    files: CredentialFiles,
    chain_pem: &str,
    private_key_pem: &SecretString,
) -> Result<(), CliError> {
    files.write(chain_pem, private_key_pem).map_err(|error| {
        let error = CliError::from(error).exiting(Exit::Usage);
        error.hint(LOST_CERTIFICATE)
    })
}

fn kept(path: &Path) -> CliError {
    let error = format!(
        "{} exists, and a secret is never overwritten",
        path.display()
    );
    CliError::new(Exit::Conflict, error)
        .hint("name another file, or remove this one if nothing needs it any more")
}

fn unwritable(path: &Path, error: &io::Error) -> CliError {
    CliError::file("write", path, error)
}

/// The certificates of a file as trust anchors.
pub(crate) fn load_roots(path: &Path) -> Result<RootCertStore, String> {
    let wrong = |problem: String| format!("{}: {problem}", path.display());
    let mut roots = RootCertStore::empty();
    for certificate in
        CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))?
    {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong("it holds no certificate in PEM".to_owned()));
    }
    Ok(roots)
}

/// Makes a folder, and those above it, where there is none.
pub(crate) fn make_folder(path: &Path) -> Result<(), CliError> {
    fs::create_dir_all(path).map_err(|error| CliError::file("make the folder", path, &error))
}

/// Lines that say what is in which file.
pub(crate) fn explain_files(files: &[(&Path, &str)]) -> String {
    let names = files.iter().map(|(path, _)| path.display().to_string());
    let names: Vec<String> = names.collect();
    let width = names.iter().map(|name| name.chars().count()).max();
    let width = width.unwrap_or(0);
    let lines = names.iter().zip(files);
    let lines: Vec<String> = lines
        .map(|(name, (_, what))| format!("  {name:<width$}   {what}"))
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

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
