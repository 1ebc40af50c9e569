use leafgate_identity::UnixMs;
use serde::{Deserialize, Serialize};

use crate::authority::{Authority, Principal};
use crate::bearer::{self, bearer_text};

bearer_text! {
    /// The public part of an API key: 13 of `a-z 2-7`.
    ApiKeyId,
    /// An API key as its bearer presents it: `lgk_<id>_<secret>`. Its secret part never shows.
    ApiKeyText,
    ParseApiKeyError,
    "lgk",
    "API key"
}

/// A key with which a program calls the API, as recorded: the key itself is not kept, only the SHA-256 of its 256
/// random bits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Its public part.
    pub id: ApiKeyId,
    /// What people call it.
    pub name: String,
    /// What its bearer may do.
    pub authority: Authority,
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

/// A key that is about to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewApiKey {
    /// What people call it.
    pub name: String,
    /// What its bearer may do.
    pub authority: Authority,
    /// Who makes it.
    pub created_by: String,
    /// When it ends.
    pub expires_at: UnixMs,
}

impl ApiKey {
    /// Makes a key, and gives the text that its bearer presents; the text is kept nowhere.
    pub fn generate(new: NewApiKey, now: UnixMs) -> (Self, ApiKeyText) {
        let text = ApiKeyText::generate();
        let key = Self {
            id: text.id.clone(),
            name: new.name,
            authority: new.authority,
            created_by: new.created_by,
            created_at: now,
            expires_at: new.expires_at,
            revoked_at: None,
            secret_sha256: bearer::hash(&text.secret),
        };
        (key, text)
    }

    /// Whether this text is the key's, in constant time.
    pub fn is(&self, text: &ApiKeyText) -> bool {
        self.id == text.id && bearer::matches(&text.secret, &self.secret_sha256)
    }

    /// Whether it counts at `now`.
    pub fn counts(&self, now: UnixMs) -> bool {
        self.revoked_at.is_none() && now < self.expires_at
    }

    /// Whoever bears it.
    pub fn principal(&self) -> Principal {
        Principal {
            name: format!("api-key:{}", self.id),
            authority: self.authority.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::role::Role;
    use crate::scope::Scope;

    fn key(expires_at: i64) -> (ApiKey, ApiKeyText) {
        let new = NewApiKey {
            name: "line 4".to_owned(),
            authority: Authority {
                roles: [Role::Provisioner].into_iter().collect(),
                scope: Scope::everything(),
            },
            created_by: "cli:root".to_owned(),
            expires_at: UnixMs::new(expires_at),
        };
        ApiKey::generate(new, UnixMs::new(1_000))
    }

    #[test]
    fn a_key_knows_its_own_text_and_no_other() {
        let ((one, text), (other, other_text)) = (key(2_000), key(2_000));
        let presented = ApiKeyText::parse(text.expose().expose_secret()).unwrap();
        assert!(one.is(&presented) && !other.is(&presented) && !one.is(&other_text));
        let mixed = ApiKeyText {
            id: text.id,
            secret: other_text.secret,
        };
        assert!(!one.is(&mixed));
    }

    #[test]
    fn a_key_counts_until_its_end_or_revocation() {
        let (mut key, _) = key(2_000);
        assert!(key.counts(UnixMs::new(1_999)) && !key.counts(UnixMs::new(2_000)));
        key.revoked_at = Some(UnixMs::new(1_500));
        assert!(!key.counts(UnixMs::new(1_600)));
    }

    #[test]
    fn neither_record_nor_debug_output_holds_the_secret() {
        let (key, text) = key(2_000);
        let whole = text.expose();
        let secret = whole.expose_secret().rsplit('_').next().unwrap();
        for shown in [
            format!("{key:?}"),
            format!("{text:?}"),
            serde_json::to_string(&key).unwrap(),
        ] {
            assert!(!shown.contains(secret), "{shown}");
        }
        let read: ApiKey = serde_json::from_str(&serde_json::to_string(&key).unwrap()).unwrap();
        assert_eq!(read, key);
    }

    #[test]
    fn other_texts_are_refused_unrepeated() {
        let (_, text) = key(2_000);
        let good = text.expose();
        let good = good.expose_secret();
        for wrong in [
            "",
            "lgk",
            "lgk__",
            &good[1..],
            &good[..good.len() - 1],
            &format!("{good}_"),
            &format!("{good}a"),
            &good.to_uppercase(),
            &good.replace("lgk_", "xyz_"),
        ] {
            let refused = ApiKeyText::parse(wrong).unwrap_err();
            assert!(wrong.is_empty() || !refused.to_string().contains(wrong) || wrong == "lgk");
        }
    }
}
