use std::fs::{self, File};
use std::path::{Path, PathBuf};

use leafgate_identity::{SpkiHash, UnixMs};
use rcgen::KeyPair;
use secrecy::ExposeSecret;
use x509_parser::extensions::{DistributionPointName, GeneralName, ParsedExtension};
use zeroize::Zeroizing;

use crate::directory::CaDirectory;
use crate::encoding::{CERTIFICATE_LABEL, encode_pem, encode_private_key, spki_hash_of_key};
use crate::files::{
    ReadCaFileError, WriteCaFileError, read_certificates, replace, sync_folder, write_new_like,
};
use crate::intermediates::{KeyFile, spki_of};
use crate::issuer::PrepareError;
use crate::key_pair::GenerateKeyError;
use crate::profile::Intermediate;
use crate::root::RootAuthority;

/// An intermediate that was added to a CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextIntermediate {
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub issuer: SpkiHash,
    /// The file of its key.
    pub key: PathBuf,
    /// The file of all certificates of its kind, its own the last.
    pub certificates: PathBuf,
}

impl CaDirectory {
    /// Adds an intermediate of this kind: its key in a file of its own, then its certificate at the end of the others,
    /// for the users that the present files have. It is there from the moment that the certificates' file is replaced.
    /// A key that a run left without a certificate gets one, so that nothing remains of a run that was interrupted.
    ///
    /// # Errors
    /// The root is that of another CA, there is more than one intermediate already and `another` is not set, or a file
    /// can't be read or written.
    pub fn prepare_next(
        &self,
        intermediate: Intermediate,
        root: &RootAuthority,
        another: bool,
        now: UnixMs,
    ) -> Result<NextIntermediate, PrepareNextError> {
        let _turn = self.lock()?;
        if !self.is_of(root)? {
            return Err(PrepareNextError::RootForeign {
                certificate: self.root_certificate(),
            });
        }
        let certificates = self.certificate(intermediate);
        let present = read_certificates(&certificates)?;
        if present.len() > 1 && !another {
            return Err(PrepareNextError::RotationUnfinished {
                certificates,
                count: present.len(),
            });
        }
        let keys = self.read_keys(intermediate)?;
        let Some(like) = keys.first().map(|it| it.path.clone()) else {
            return Err(PrepareNextError::KeyMissing {
                folder: self.path().into(),
            });
        };
        let (key, file) = self.next_key(intermediate, &present, keys, &like)?;
        let certificate = root.certify_intermediate(
            &format!("leafgate {intermediate}"),
            &key,
            present.iter().rev().find_map(|it| root_crl(it)).as_deref(),
            now,
        )?;
        replace(&certificates, &(bundle(&present) + &certificate))?;
        Ok(NextIntermediate {
            issuer: spki_hash_of_key(&key),
            key: file,
            certificates,
        })
    }

    /// The key for the next certificate: one that has none, or a new one.
    fn next_key(
        &self,
        intermediate: Intermediate,
        certificates: &[Vec<u8>],
        keys: Vec<KeyFile>,
        like: &Path,
    ) -> Result<(Zeroizing<KeyPair>, PathBuf), PrepareNextError> {
        let certified: Vec<_> = certificates.iter().filter_map(|it| spki_of(it)).collect();
        let left = keys.into_iter().find(|it| !certified.contains(&it.spki));
        if let Some(KeyFile { path, key, .. }) = left {
            return Ok((key, path));
        }
        let key = KeyPair::generate().map(Zeroizing::new);
        let key = key.map_err(|_| PrepareError::Refused(GenerateKeyError.into()))?;
        let file = self.further_key(intermediate, &spki_hash_of_key(&key));
        let text = encode_private_key(key.serialized_der());
        write_new_like(&file, text.expose_secret(), like)?;
        Ok((key, file))
    }

    /// Removes an intermediate of this kind for good: its key, then its certificate from among the others. Doing it again
    /// ends what was interrupted.
    ///
    /// # Errors
    /// There is no such intermediate, it is the only one, or a file can't be read or written.
    pub fn remove(
        &self,
        intermediate: Intermediate,
        issuer: &SpkiHash,
    ) -> Result<(), RemoveIntermediateError> {
        let _turn = self.lock()?;
        let file = self.certificate(intermediate);
        let mut certificates = read_certificates(&file)?;
        let before = certificates.len();
        certificates.retain(|it| spki_of(it).as_ref() != Some(issuer));
        if certificates.len() == before {
            return Err(RemoveIntermediateError::Unknown {
                issuer: *issuer,
                certificates: file,
            });
        }
        let keys = self.read_keys(intermediate)?;
        let is_left = |it: &KeyFile| certificates.iter().any(|der| spki_of(der) == Some(it.spki));
        if !keys.iter().any(is_left) {
            return Err(RemoveIntermediateError::Last { certificates: file });
        }
        // The key first: alone it would be taken for that of the next intermediate.
        for key in keys.iter().filter(|it| it.spki == *issuer) {
            let failed = |source| WriteCaFileError::new(&key.path, source);
            fs::remove_file(&key.path).map_err(failed)?;
            sync_folder(self.path()).map_err(failed)?;
        }
        Ok(replace(&file, &bundle(&certificates))?)
    }

    /// Of those who change the folder's files at a time each takes its turn.
    pub(crate) fn lock(&self) -> Result<File, WriteCaFileError> {
        let failed = |source| WriteCaFileError::new(self.path(), source);
        let folder = File::open(self.path()).map_err(failed)?;
        folder.lock().map_err(failed)?;
        Ok(folder)
    }

    /// Whether this is the root of the folder.
    pub(crate) fn is_of(&self, root: &RootAuthority) -> Result<bool, ReadCaFileError> {
        let own = read_certificates(&self.root_certificate())?;
        let own = own.first().map(|own| encode_pem(CERTIFICATE_LABEL, own));
        Ok(own.as_deref() == Some(root.certificate_pem()))
    }
}

fn bundle(certificates: &[Vec<u8>]) -> String {
    let blocks = certificates
        .iter()
        .map(|it| encode_pem(CERTIFICATE_LABEL, it));
    blocks.collect()
}

/// Where an intermediate says that its root's list is served, in whatever form its maker chose.
fn root_crl(certificate_der: &[u8]) -> Option<String> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate_der).ok()?;
    certificate.extensions().iter().find_map(|extension| {
        let ParsedExtension::CRLDistributionPoints(points) = extension.parsed_extension() else {
            return None;
        };
        points.points.iter().find_map(|point| {
            let Some(DistributionPointName::FullName(names)) = &point.distribution_point else {
                return None;
            };
            names.iter().find_map(|name| match name {
                GeneralName::URI(url) => Some((*url).to_owned()),
                _ => None,
            })
        })
    })
}

/// Why there is no further intermediate. What was written before the failure serves the next run.
#[derive(Debug, thiserror::Error)]
pub enum PrepareNextError {
    /// The root's key belongs to another CA.
    #[error("the root's key is not that of {}", certificate.display())]
    RootForeign {
        /// The file of the CA's root certificate.
        certificate: PathBuf,
    },
    /// A rotation has begun and not ended.
    #[error("{} holds {count} intermediates: the rotation before is not over", certificates.display())]
    RotationUnfinished {
        /// The file of the certificates.
        certificates: PathBuf,
        /// How many it holds.
        count: usize,
    },
    /// There is no present key.
    #[error("{} holds no key of an intermediate: prepare where the keys are", folder.display())]
    KeyMissing {
        /// The CA's folder.
        folder: PathBuf,
    },
    /// A file of the CA can't be used.
    #[error(transparent)]
    Read(#[from] ReadCaFileError),
    /// The certificate could not be made.
    #[error("an intermediate certificate could not be made")]
    Certificate(#[from] PrepareError),
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] WriteCaFileError),
}

/// Why an intermediate was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveIntermediateError {
    /// It is none of this CA.
    #[error("{} holds no intermediate with key {issuer}", certificates.display())]
    Unknown {
        /// SHA-256 of its SubjectPublicKeyInfo.
        issuer: SpkiHash,
        /// The file of the certificates.
        certificates: PathBuf,
    },
    /// Nothing could sign any more.
    #[error("no other intermediate in {} has its key here: prepare and activate another first", certificates.display())]
    Last {
        /// The file of the certificates.
        certificates: PathBuf,
    },
    /// A file of the CA can't be used.
    #[error(transparent)]
    Read(#[from] ReadCaFileError),
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] WriteCaFileError),
}
