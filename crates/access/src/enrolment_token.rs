use std::collections::{BTreeMap, BTreeSet};

use leafgate_identity::{DeviceId, SpkiHash, TrustDomainName, UnixMs};
use serde::{Deserialize, Serialize};

use crate::bearer::{self, bearer_text};
use crate::scope::Target;

bearer_text! {
    /// The public part of an enrolment token: 13 of `a-z 2-7`.
    EnrolmentTokenId,
    /// An enrolment token as its bearer presents it: `lge_<id>_<secret>`. Its secret part never shows.
    EnrolmentTokenText,
    ParseEnrolmentTokenError,
    "lge",
    "enrolment token"
}

impl EnrolmentTokenId {
    /// The name of its bearer in the audit trail and the log.
    pub fn actor_name(&self) -> String {
        format!("enrolment-token:{self}")
    }
}

/// What lets new devices in, as recorded: the token itself is not kept, only the SHA-256 of its 256 random bits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolmentToken {
    /// Its public part.
    pub id: EnrolmentTokenId,
    /// What people call it.
    pub name: String,
    /// Which devices it lets in.
    pub admits: Admits,
    /// The trust domain of those devices.
    pub trust_domain: TrustDomainName,
    /// Their type.
    pub device_type: String,
    /// Their site; `None` if they may be at any.
    pub site: Option<String>,
    /// The attributes of those that it registers.
    pub attributes: BTreeMap<String, String>,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: UnixMs,
    /// When it ends.
    pub expires_at: UnixMs,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<UnixMs>,
    /// SHA-256 of the secret part, in lower-case hex.
    secret_sha256: String,
}

/// Which devices an enrolment token lets in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Admits {
    /// Those with these ids.
    Ids(BTreeSet<DeviceId>),
    /// Those with these ids, each with the one key of this hash.
    Manifest(BTreeMap<DeviceId, SpkiHash>),
    /// So many that are not registered yet, whatever they are called. They wait for approval.
    Unnamed {
        /// How many.
        max_uses: u32,
    },
}

/// An enrolment token that is about to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEnrolmentToken {
    /// What people call it.
    pub name: String,
    /// Which devices it lets in.
    pub admits: Admits,
    /// The trust domain of those devices.
    pub trust_domain: TrustDomainName,
    /// Their type.
    pub device_type: String,
    /// Their site; `None` if they may be at any.
    pub site: Option<String>,
    /// The attributes of those that it registers.
    pub attributes: BTreeMap<String, String>,
    /// Who makes it.
    pub created_by: String,
    /// When it ends.
    pub expires_at: UnixMs,
}

impl NewEnrolmentToken {
    /// The devices that it lets in, as a scope looks at them.
    pub fn target(&self) -> Target<'_> {
        Target {
            trust_domain: self.trust_domain.as_str(),
            site: self.site.as_deref(),
            device_type: &self.device_type,
        }
    }
}

impl EnrolmentToken {
    /// Makes a token, and gives the text that its bearer presents; the text is kept nowhere.
    pub fn generate(new: NewEnrolmentToken, now: UnixMs) -> (Self, EnrolmentTokenText) {
        let text = EnrolmentTokenText::generate();
        let token = Self {
            id: text.id.clone(),
            name: new.name,
            admits: new.admits,
            trust_domain: new.trust_domain,
            device_type: new.device_type,
            site: new.site,
            attributes: new.attributes,
            created_by: new.created_by,
            created_at: now,
            expires_at: new.expires_at,
            revoked_at: None,
            secret_sha256: bearer::hash(&text.secret),
        };
        (token, text)
    }

    /// Whether this text is the token's, in constant time.
    pub fn is(&self, text: &EnrolmentTokenText) -> bool {
        self.id == text.id && bearer::matches(&text.secret, &self.secret_sha256)
    }

    /// The devices that it lets in, as a scope looks at them.
    pub fn target(&self) -> Target<'_> {
        Target {
            trust_domain: self.trust_domain.as_str(),
            site: self.site.as_deref(),
            device_type: &self.device_type,
        }
    }
}

impl Admits {
    /// How many devices it lets in at most.
    pub fn max_uses(&self) -> usize {
        match self {
            Self::Ids(ids) => ids.len(),
            Self::Manifest(manifest) => manifest.len(),
            Self::Unnamed { max_uses } => usize::try_from(*max_uses).unwrap_or(usize::MAX),
        }
    }

    /// The ids that it names; none if it names none.
    pub fn ids(&self) -> impl Iterator<Item = &DeviceId> {
        let (ids, manifest) = match self {
            Self::Ids(ids) => (Some(ids.iter()), None),
            Self::Manifest(manifest) => (None, Some(manifest.keys())),
            Self::Unnamed { .. } => (None, None),
        };
        ids.into_iter()
            .flatten()
            .chain(manifest.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn token(admits: Admits) -> (EnrolmentToken, EnrolmentTokenText) {
        let new = NewEnrolmentToken {
            name: "line 4".to_owned(),
            admits,
            trust_domain: TrustDomainName::parse("factory").unwrap(),
            device_type: "pump".to_owned(),
            site: Some("north".to_owned()),
            attributes: BTreeMap::new(),
            created_by: "cli:root".to_owned(),
            expires_at: UnixMs::new(2_000),
        };
        EnrolmentToken::generate(new, UnixMs::new(1_000))
    }

    #[test]
    fn a_token_is_known_by_its_text_and_is_no_api_key() {
        let (one, text) = token(Admits::Unnamed { max_uses: 1 });
        let (other, _) = token(Admits::Unnamed { max_uses: 1 });
        let presented = EnrolmentTokenText::parse(text.expose().expose_secret()).unwrap();
        assert!(one.is(&presented) && !other.is(&presented));
        assert!(crate::ApiKeyText::parse(text.expose().expose_secret()).is_err());
        let error = EnrolmentTokenText::parse("lgk_a_b").unwrap_err();
        assert_eq!(
            error.to_string(),
            "this is no enrolment token: one reads lge_<id>_<secret>, in lower case"
        );
    }

    #[test]
    fn a_record_survives_its_json_and_holds_no_secret() {
        let id = DeviceId::parse("0001").unwrap();
        let key = SpkiHash::from_bytes([7; 32]);
        for (admits, json, ids) in [
            (
                Admits::Ids([id.clone()].into()),
                r#"{"ids":["0001"]}"#.to_owned(),
                1,
            ),
            (
                Admits::Manifest([(id, key)].into()),
                format!(r#"{{"manifest":{{"0001":"{key}"}}}}"#),
                1,
            ),
            (
                Admits::Unnamed { max_uses: 3 },
                r#"{"unnamed":{"max_uses":3}}"#.to_owned(),
                0,
            ),
        ] {
            assert_eq!(serde_json::to_string(&admits).unwrap(), json);
            assert_eq!(admits.ids().count(), ids);
            let (token, text) = token(admits);
            let json = serde_json::to_string(&token).unwrap();
            assert_eq!(
                serde_json::from_str::<EnrolmentToken>(&json).unwrap(),
                token
            );
            let whole = text.expose();
            let secret = whole.expose_secret().rsplit('_').next().unwrap();
            assert!(!json.contains(secret) && !format!("{text:?}").contains(secret));
        }
    }
}
