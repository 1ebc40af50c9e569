use std::fmt;
use std::path::Path;
use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use leafgate_identity::{UnixMs, Validity};
use pkcs8::pkcs5::pbes2;
use pkcs8::{EncryptedPrivateKeyInfo, PrivateKeyInfo, SecretDocument};
use rcgen::KeyPair;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::authority::{Authority, JoinAuthorityError, ca_params};
use crate::encoding::{
    CERTIFICATE_LABEL, encode_pem, encode_private_key, key_from_pkcs8, spki_hash_of_key,
    whole_seconds,
};
use crate::files::{
    ReadCaFileError, SECRET_MODE, WriteCaFileError, read_certificate, read_key, read_secret,
    write_new,
};
use crate::issuer::BACKDATE;
use crate::issuer::{PrepareError, RevokedEntry, SignCrlError};
use crate::key_pair::GenerateKeyError;
use crate::serial::{DrawSerialError, RandomSerials, SerialSource};
use crate::status_url::StatusUrl;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// How long a root lives.
const ROOT_LIFETIME: Duration = Duration::from_secs(20 * 365 * DAY.as_secs());
/// How long an intermediate lives.
pub const INTERMEDIATE_LIFETIME: Duration = Duration::from_secs(10 * 365 * DAY.as_secs());

const ENCRYPTED_KEY_LABEL: &str = "ENCRYPTED PRIVATE KEY";
/// scrypt with N = 2^14 stays under the 32 MiB that OpenSSL lets it use; five passes make up for
/// the smaller N (OWASP password storage cheat sheet).
const SCRYPT_LOG_N: u8 = 14;
const SCRYPT_R: u32 = 8;
const SCRYPT_P: u32 = 5;
const AES_256_KEY_BYTES: usize = 32;
const MIN_PASSPHRASE_CHARS: usize = 12;

/// The root of a CA. Its key signs intermediates and their revocation list, and is kept away
/// from running services.
pub struct RootAuthority {
    authority: Authority,
}

impl RootAuthority {
    /// Makes a new P-256 root key and a certificate for it. Its common name is `subject` and a
    /// few digits of the key's hash, so that no two roots share a name.
    ///
    /// # Errors
    /// No key or serial number can be made, or `now` is out of range.
    pub fn create(subject: &str, now: UnixMs) -> Result<Self, CreateRootError> {
        let key = generate().ok_or(CreateRootError::Key)?;
        let now = whole_seconds(now);
        let validity = Validity {
            not_before: now.saturating_sub(BACKDATE),
            not_after: now.saturating_add(ROOT_LIFETIME),
        };
        let name = distinct_name(subject, &key);
        let certificate = ca_params(&name, 1, RandomSerials.draw()?, validity)
            .self_signed(&*key)
            .map_err(|source| CreateRootError::Certificate(source.into()))?;
        Ok(Self {
            authority: Authority::new(certificate.der(), key)?,
        })
    }

    /// Reads a root from its certificate and its encrypted key.
    ///
    /// # Errors
    /// A file can't be read, the passphrase is wrong, or the two don't belong together.
    pub fn read_encrypted(
        certificate: &Path,
        key: &Path,
        passphrase: &SecretString,
    ) -> Result<Self, ReadRootError> {
        let certificate_der = read_certificate(certificate)?;
        let encrypted = read_secret(key)?;
        let not_a_key = || ReadRootError::NotAnEncryptedKey { path: key.into() };
        let (label, document) =
            SecretDocument::from_pem(encrypted.expose_secret().trim()).map_err(|_| not_a_key())?;
        if label != ENCRYPTED_KEY_LABEL {
            return Err(not_a_key());
        }
        let pkcs8 = EncryptedPrivateKeyInfo::try_from(document.as_bytes())
            .map_err(|_| not_a_key())?
            .decrypt(passphrase.expose_secret())
            .map_err(|_| ReadRootError::Passphrase { path: key.into() })?;
        let key = key_from_pkcs8(pkcs8.as_bytes()).ok_or_else(not_a_key)?;
        Ok(Self {
            authority: Authority::new(&certificate_der, key)?,
        })
    }

    /// Reads a root from its certificate and its unencrypted key, as a CA for development has it.
    ///
    /// # Errors
    /// A file can't be read, or the two don't belong together.
    pub fn read_plain(certificate: &Path, key: &Path) -> Result<Self, ReadRootError> {
        let certificate_der = read_certificate(certificate)?;
        Ok(Self {
            authority: Authority::new(&certificate_der, read_key(key)?)?,
        })
    }

    /// The root certificate in PEM.
    pub fn certificate_pem(&self) -> &str {
        self.authority.certificate_pem()
    }

    /// Makes a key and an intermediate certificate for it, below which there can be no other CA.
    /// Its common name is `subject` and a few digits of the key's hash. `root_crl` is where the
    /// root's list is served, if it is.
    ///
    /// # Errors
    /// No key or serial number can be made, or the root is not valid at `now`.
    pub fn issue_intermediate(
        &self,
        subject: &str,
        root_crl: Option<&StatusUrl>,
        now: UnixMs,
    ) -> Result<NewIntermediate, PrepareError> {
        let key = generate().ok_or_else(|| PrepareError::Refused(GenerateKeyError.into()))?;
        Ok(NewIntermediate {
            certificate_pem: self.certify_intermediate(
                subject,
                &key,
                root_crl.map(StatusUrl::as_str),
                now,
            )?,
            private_key_pem: encode_private_key(key.serialized_der()),
        })
    }

    /// The certificate (PEM) of an intermediate that has a key.
    pub(crate) fn certify_intermediate(
        &self,
        subject: &str,
        key: &KeyPair,
        root_crl: Option<&str>,
        now: UnixMs,
    ) -> Result<String, PrepareError> {
        let name = distinct_name(subject, key);
        let certificate =
            self.authority
                .issue_intermediate(&name, key, root_crl, now, INTERMEDIATE_LIFETIME)?;
        Ok(encode_pem(CERTIFICATE_LABEL, certificate.der()))
    }

    /// Signs the root's revocation list, whose entries are intermediates, and returns its DER.
    ///
    /// # Errors
    /// `next_update` does not come after `now`, or a date is out of range.
    pub fn sign_crl(
        &self,
        entries: &[RevokedEntry],
        number: u64,
        now: UnixMs,
        next_update: UnixMs,
    ) -> Result<Vec<u8>, SignCrlError> {
        self.authority.sign_crl(entries, number, now, next_update)
    }

    /// Writes the root's key to a new file with mode 0600: PKCS #8, encrypted by PBES2 with
    /// scrypt and AES-256-CBC (RFC 8018, RFC 7914), which `openssl pkey` reads.
    ///
    /// # Errors
    /// The passphrase is too short or has line breaks, the file exists, or it can't be written.
    #[expect(
        clippy::disallowed_methods,
        reason = "salt and initialisation vector of a file that is written once"
    )]
    pub fn write_encrypted(
        &self,
        path: &Path,
        passphrase: &SecretString,
    ) -> Result<(), WriteRootError> {
        check_passphrase(passphrase)?;
        let mut salt_and_iv = [0; 32];
        SystemRandom::new()
            .fill(&mut salt_and_iv)
            .map_err(|_| WriteRootError::Encrypt)?;
        let (salt, iv) = salt_and_iv.split_at(16);
        let iv = iv.try_into().map_err(|_| WriteRootError::Encrypt)?;
        let text = encrypt(self.authority.key_pkcs8(), passphrase, salt, iv)
            .ok_or(WriteRootError::Encrypt)?;
        Ok(write_new(path, &text, SECRET_MODE)?)
    }

    pub(crate) fn private_key_pem(&self) -> SecretString {
        encode_private_key(self.authority.key_pkcs8())
    }
}

impl fmt::Debug for RootAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RootAuthority")
            .field("spki", &self.authority.spki())
            .finish_non_exhaustive()
    }
}

/// An intermediate that the root has just signed.
#[derive(Debug)]
pub struct NewIntermediate {
    /// Its certificate.
    pub certificate_pem: String,
    /// Its key: PKCS #8 in PEM, unencrypted.
    pub private_key_pem: SecretString,
}

fn generate() -> Option<Zeroizing<KeyPair>> {
    KeyPair::generate().ok().map(Zeroizing::new)
}

fn distinct_name(subject: &str, key: &KeyPair) -> String {
    let hash = spki_hash_of_key(key).to_string();
    format!("{subject} {}", &hash[..8])
}

pub(crate) fn check_passphrase(passphrase: &SecretString) -> Result<(), WriteRootError> {
    let passphrase = passphrase.expose_secret();
    if passphrase.chars().count() < MIN_PASSPHRASE_CHARS {
        return Err(WriteRootError::PassphraseTooShort);
    }
    if passphrase.contains(['\r', '\n']) {
        return Err(WriteRootError::PassphraseOfManyLines);
    }
    Ok(())
}

fn encrypt(
    pkcs8: &[u8],
    passphrase: &SecretString,
    salt: &[u8],
    iv: &[u8; 16],
) -> Option<Zeroizing<String>> {
    let scrypt =
        pkcs8::pkcs5::scrypt::Params::new(SCRYPT_LOG_N, SCRYPT_R, SCRYPT_P, AES_256_KEY_BYTES)
            .ok()?;
    let parameters = pbes2::Parameters::scrypt_aes256cbc(scrypt, salt, iv).ok()?;
    PrivateKeyInfo::try_from(pkcs8)
        .ok()?
        .encrypt_with_params(parameters, passphrase.expose_secret())
        .ok()?
        .to_pem(ENCRYPTED_KEY_LABEL, pkcs8::LineEnding::LF)
        .ok()
}

/// Why a root could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CreateRootError {
    /// No key could be made.
    #[error("can't make a key: the system's random number generator failed")]
    Key,
    /// No serial number could be drawn.
    #[error("no serial number could be drawn")]
    Serial(#[from] DrawSerialError),
    /// The certificate could not be made.
    #[error("the root certificate could not be made")]
    Certificate(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The new certificate and key don't fit each other.
    #[error("the new root certificate can't be used")]
    Join(#[from] JoinAuthorityError),
}

/// Why a root could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadRootError {
    /// A file can't be used.
    #[error(transparent)]
    File(#[from] ReadCaFileError),
    /// The key file has another form.
    #[error("{} holds no encrypted private key (BEGIN ENCRYPTED PRIVATE KEY)", path.display())]
    NotAnEncryptedKey {
        /// The file.
        path: std::path::PathBuf,
    },
    /// The key can't be decrypted.
    #[error("the passphrase does not open {}", path.display())]
    Passphrase {
        /// The file.
        path: std::path::PathBuf,
    },
    /// The certificate and the key don't make a root.
    #[error("the root certificate and key can't be used")]
    Join(#[from] JoinAuthorityError),
}

/// Why a root's key was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteRootError {
    /// The passphrase is too easy to guess.
    #[error("the passphrase must have at least {MIN_PASSPHRASE_CHARS} characters")]
    PassphraseTooShort,
    /// OpenSSL would read the first line only.
    #[error("the passphrase must be one line")]
    PassphraseOfManyLines,
    /// Encryption failed.
    #[error("the root key could not be encrypted")]
    Encrypt,
    /// The file could not be written.
    #[error(transparent)]
    File(#[from] WriteCaFileError),
}
