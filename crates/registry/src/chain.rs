use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;

use crate::event::Event;

/// The SHA-256 that binds an event to all before it; in text 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventHash([u8; 32]);

impl EventHash {
    /// What stands for the hash before the first event.
    pub const ZERO: Self = Self([0; 32]);

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for EventHash {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for EventHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for EventHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for EventHash {
    type Err = ParseEventHashError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = HEXLOWER
            .decode(text.as_bytes())
            .ok()
            .and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(ParseEventHashError)
    }
}

impl serde::Serialize for EventHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for EventHash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A text that is no [`EventHash`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event hash is 64 lower-case hex digits")]
pub struct ParseEventHashError;

/// The newest event of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Head {
    /// Its place; 0 while there is none.
    pub seq: u64,
    /// Its hash; zeros while there is none.
    pub hash: EventHash,
}

impl Head {
    /// The head of a chain without events.
    pub const GENESIS: Self = Self {
        seq: 0,
        hash: EventHash::ZERO,
    };

    /// The head after `event`, if that is what truly follows.
    ///
    /// # Errors
    /// [`ChainError`], when it is not the next one, doesn't continue this head, or was altered.
    pub fn follow(&self, event: &Event) -> Result<Self, ChainError> {
        let expected = self.seq + 1;
        if event.seq != expected {
            Err(ChainError::Gap {
                seq: expected,
                found: event.seq,
            })
        } else if event.previous_hash != self.hash {
            Err(ChainError::Unlinked { seq: event.seq })
        } else if event.computed_hash() != event.hash {
            Err(ChainError::Altered { seq: event.seq })
        } else {
            Ok(event.head())
        }
    }
}

/// Checks a whole chain from its first event, and gives its head. That the chain was not cut short only shows by
/// comparing that head with one known from elsewhere: the store's position, or a signed checkpoint.
///
/// # Errors
/// [`ChainError`] at the first event that doesn't follow.
pub fn verify_chain<E: Borrow<Event>>(
    events: impl IntoIterator<Item = E>,
) -> Result<Head, ChainError> {
    events
        .into_iter()
        .try_fold(Head::GENESIS, |head, event| head.follow(event.borrow()))
}

/// Where a chain of events is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// Events are missing, doubled or out of order.
    #[error("event {seq} is missing from the chain; event {found} stands in its place")]
    Gap {
        /// The number that should have come.
        seq: u64,
        /// The number that came.
        found: u64,
    },
    /// The event doesn't name the hash of the one before.
    #[error("event {seq} does not continue the event before it: one of the two was replaced")]
    Unlinked {
        /// The event's number.
        seq: u64,
    },
    /// The event's content doesn't give its hash.
    #[error("event {seq} was altered after it was written: its content does not give its hash")]
    Altered {
        /// The event's number.
        seq: u64,
    },
}

impl ChainError {
    /// The first number in the chain that can't be trusted.
    pub const fn seq(&self) -> u64 {
        match self {
            Self::Gap { seq, .. } | Self::Unlinked { seq } | Self::Altered { seq } => *seq,
        }
    }
}

#[cfg(test)]
mod tests {
    use leafgate_identity::UnixMs;
    use serde_json::json;

    use super::*;
    use crate::event::{EventBody, EventKind};

    fn chain(length: u64) -> Vec<Event> {
        let mut head = Head::GENESIS;
        let mut append = |number| {
            let event = EventBody {
                at: UnixMs::new(1_000),
                actor: "test".to_owned(),
                kind: EventKind::CrlNumbered,
                device: None,
                detail: json!({ "number": number }),
            }
            .after(&head);
            head = event.head();
            event
        };
        (1..=length).map(&mut append).collect()
    }

    #[test]
    fn a_whole_chain_gives_its_head() {
        let events = chain(5);
        assert_eq!(verify_chain(&events), Ok(events[4].head()));
        assert_eq!(verify_chain(Vec::<Event>::new()), Ok(Head::GENESIS));
    }

    #[test]
    fn every_kind_of_tampering_shows_at_its_event() {
        let events = chain(5);

        let mut altered = events.clone();
        altered[2].detail = json!({"number": 33});
        assert_eq!(verify_chain(&altered), Err(ChainError::Altered { seq: 3 }));

        let mut rehashed = altered;
        rehashed[2].hash = rehashed[2].computed_hash();
        assert_eq!(
            verify_chain(&rehashed),
            Err(ChainError::Unlinked { seq: 4 })
        );

        let mut shortened = events.clone();
        shortened.remove(2);
        assert_eq!(
            verify_chain(&shortened),
            Err(ChainError::Gap { seq: 3, found: 4 })
        );

        let mut swapped = events;
        swapped.swap(1, 2);
        assert_eq!(
            verify_chain(&swapped),
            Err(ChainError::Gap { seq: 2, found: 3 })
        );
    }

    #[test]
    fn a_hash_survives_its_text_and_nothing_else_passes() {
        let hash = EventHash::from([0xa5; 32]);
        assert_eq!(hash.to_string().parse(), Ok(hash));
        for wrong in [
            "",
            "a5",
            &"A5".repeat(32),
            &"a5".repeat(33),
            &"g5".repeat(32),
        ] {
            assert_eq!(
                wrong.parse::<EventHash>(),
                Err(ParseEventHashError),
                "{wrong:?}"
            );
        }
    }
}
