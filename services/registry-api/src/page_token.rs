use std::str::FromStr;

use aws_lc_rs::digest;
use data_encoding::BASE64URL_NOPAD;
use leafgate_api::ProblemType;
use leafgate_registry::Cursor;

use crate::problem::Problem;

const DIGEST_BYTES: usize = 16;

/// Which list a page token belongs to: an endpoint with its filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ListDigest([u8; DIGEST_BYTES]);

impl ListDigest {
    /// The list at this path with these filters, whatever their order.
    pub(crate) fn new<'a>(
        path: &str,
        filters: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let mut filters: Vec<_> = filters.into_iter().collect();
        filters.sort_unstable();
        let mut context = digest::Context::new(&digest::SHA256);
        let pairs = filters.iter().flat_map(|(name, value)| [*name, *value]);
        for part in std::iter::once(path).chain(pairs) {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut bytes = [0; DIGEST_BYTES];
        bytes.copy_from_slice(&context.finish().as_ref()[..DIGEST_BYTES]);
        Self(bytes)
    }

    /// What the client is given to ask for the next page with.
    pub(crate) fn token<K>(&self, next: &Cursor<K>) -> String
    where
        Cursor<K>: std::fmt::Display,
    {
        let mut bytes = self.0.to_vec();
        bytes.extend(next.to_string().into_bytes());
        BASE64URL_NOPAD.encode(&bytes)
    }

    /// The place that a token of this list stands for.
    pub(crate) fn place<K>(&self, token: &str) -> Result<Cursor<K>, Problem>
    where
        Cursor<K>: FromStr,
    {
        self.read(token).ok_or_else(|| {
            Problem::new(
                ProblemType::PageTokenInvalid,
                "page_token was given by another list, or with other filters: repeat those of the first page unchanged",
            )
        })
    }

    fn read<K>(&self, token: &str) -> Option<Cursor<K>>
    where
        Cursor<K>: FromStr,
    {
        let bytes = BASE64URL_NOPAD.decode(token.as_bytes()).ok()?;
        let cursor = bytes.strip_prefix(&self.0)?;
        std::str::from_utf8(cursor).ok()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use leafgate_identity::DeviceId;

    use super::*;

    #[test]
    fn a_token_is_good_for_its_list_alone() {
        let list = |path, filters: &[(&'static str, &'static str)]| {
            ListDigest::new(path, filters.iter().copied())
        };
        let pumps = list(
            "/v1/devices",
            &[("device_type", "pump"), ("state", "active")],
        );
        let place = Cursor::after(DeviceId::parse("0007").unwrap());
        let token = pumps.token(&place);
        let same = list(
            "/v1/devices",
            &[("state", "active"), ("device_type", "pump")],
        );
        assert_eq!(same.place(&token).unwrap(), place);
        for other in [
            list("/v1/devices", &[]),
            list("/v1/devices", &[("device_type", "pump")]),
            list(
                "/v1/certificates",
                &[("device_type", "pump"), ("state", "active")],
            ),
            list(
                "/v1/devices",
                &[("device_type", "pum"), ("pstate", "active")],
            ),
        ] {
            assert!(other.place::<DeviceId>(&token).is_err());
        }
        for wrong in ["", "x", &place.to_string(), &token[1..]] {
            assert!(pumps.place::<DeviceId>(wrong).is_err(), "{wrong:?}");
        }
    }
}
