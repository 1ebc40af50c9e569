use std::borrow::Borrow;

use crate::event::Event;
use crate::head::Head;

impl Head {
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
}
