use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use leafgate_identity::{DeviceId, DeviceIdentity, UnixMs};
use leafgate_nats_jwt::ServerKey;
use leafgate_policy::ConnectionFacts;
use serde::{Deserialize, Serialize};

const SHARDS: usize = 64;

/// How long after its request was received a session may still be about to begin, generously:
/// nats-server waits 2 s for the answer.
const BEGINS_WITHIN: Duration = Duration::from_secs(5);

/// A session that so many listings in a row lack has ended. One may lack it by chance: connections
/// come and go while it is made page by page.
const LISTINGS: u32 = 2;

/// A connection that this replica let in, or is deciding about: enough to end it, and to decide
/// again whether it may stay.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) place: Place,
    pub(crate) identity: Arc<DeviceIdentity>,
    pub(crate) connection: ConnectionFacts,
    /// When its request was received, by the monotonic clock.
    pub(crate) received: Duration,
    /// A hash of what was granted, and until when; `None` while it is being decided.
    pub(crate) granted: Option<Granted>,
    /// How many listings of live connections in a row have lacked it.
    pub(crate) missed: u32,
}

/// Where a connection lives: nats-server's id for itself and its number for the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) server_id: ServerKey,
    pub(crate) client_id: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) permission_hash: u64,
    pub(crate) until: UnixMs,
}

/// Which sessions this replica has granted, by device.
///
/// A session is recorded before its device is looked up, so that whoever evicts the device sees
/// every session whose decision could rest on the evicted record.
#[derive(Debug)]
pub(crate) struct Grants {
    shards: Vec<Mutex<HashMap<DeviceId, Vec<Session>>>>,
    hasher: RandomState,
}

impl Grants {
    pub(crate) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
        }
    }

    /// Remembers a session that is about to be decided; once, however often it is decided.
    pub(crate) fn record(&self, session: Session) {
        let mut shard = self.shard(&session.identity.id);
        let sessions = shard.entry(session.identity.id.clone()).or_default();
        match sessions
            .iter_mut()
            .find(|known| known.place == session.place)
        {
            Some(known) => *known = session,
            None => sessions.push(session),
        }
    }

    /// Notes what was granted. A session that was taken meanwhile stays taken.
    pub(crate) fn settle(&self, id: &DeviceId, place: &Place, granted: Granted) {
        if let Some(session) = self
            .shard(id)
            .get_mut(id)
            .and_then(|sessions| sessions.iter_mut().find(|session| session.place == *place))
        {
            session.granted = Some(granted);
        }
    }

    /// Forgets one session: refused, or gone.
    pub(crate) fn forget(&self, id: &DeviceId, place: &Place) {
        let mut shard = self.shard(id);
        if let Some(sessions) = shard.get_mut(id) {
            sessions.retain(|session| session.place != *place);
            if sessions.is_empty() {
                shard.remove(id);
            }
        }
    }

    /// Forgets and returns all sessions of a device.
    pub(crate) fn take(&self, id: &DeviceId) -> Vec<Session> {
        self.shard(id).remove(id).unwrap_or_default()
    }

    /// The sessions of a device.
    pub(crate) fn of(&self, id: &DeviceId) -> Vec<Session> {
        self.shard(id).get(id).cloned().unwrap_or_default()
    }

    /// The devices that have sessions.
    pub(crate) fn devices(&self) -> Vec<DeviceId> {
        let each = self.shards.iter();
        each.flat_map(|shard| lock(shard).keys().cloned().collect::<Vec<_>>())
            .collect()
    }

    /// Forgets sessions whose JWT has run out: the server has ended them.
    pub(crate) fn purge(&self, now: UnixMs) {
        for shard in &self.shards {
            lock(shard).retain(|_, sessions| {
                sessions
                    .retain(|session| session.granted.is_none_or(|granted| granted.until > now));
                !sessions.is_empty()
            });
        }
    }

    /// Compares with a listing of live connections that was asked for at the monotonic time
    /// `asked_at`: the sessions that have been missing too often to live.
    pub(crate) fn missing(&self, live: &HashSet<Place>, asked_at: Duration) -> Vec<Session> {
        let mut missing = Vec::new();
        for shard in &self.shards {
            for session in lock(shard).values_mut().flatten() {
                if live.contains(&session.place) {
                    session.missed = 0;
                } else if session.received + BEGINS_WITHIN < asked_at {
                    session.missed = session.missed.saturating_add(1);
                }
                if session.missed >= LISTINGS {
                    missing.push(session.clone());
                }
            }
        }
        missing
    }

    /// How many sessions are remembered.
    pub(crate) fn len(&self) -> usize {
        let each = self.shards.iter();
        each.map(|shard| lock(shard).values().map(Vec::len).sum::<usize>())
            .sum()
    }

    fn shard(&self, id: &DeviceId) -> MutexGuard<'_, HashMap<DeviceId, Vec<Session>>> {
        lock(&self.shards[self.hasher.hash_one(id) as usize % SHARDS])
    }
}

/// No code that holds these locks can panic half-way through a change.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use leafgate_identity::{Fingerprint, SerialNumber, SpkiHash, TrustDomainName, Validity};
    use leafgate_nats_jwt::{KeyKind, SigningKey};
    use leafgate_policy::ConnectionType;
    #[expect(clippy::disallowed_types, reason = "a test draws its own keys")]
    use rand_core::OsRng;

    use super::*;

    const NOW: UnixMs = UnixMs::from_secs(1_795_226_584);

    fn session(client_id: u64) -> Session {
        let key = SigningKey::generate(KeyKind::Server, &mut OsRng);
        Session {
            place: Place {
                server_id: ServerKey::try_from(*key.public()).unwrap(),
                client_id,
            },
            identity: Arc::new(DeviceIdentity {
                domain: TrustDomainName::parse("default").unwrap(),
                id: DeviceId::parse("0001").unwrap(),
                serial: SerialNumber::from_be_bytes(&[1]).unwrap(),
                fingerprint: Fingerprint::from_bytes([1; 32]),
                issuer: SpkiHash::from_bytes([2; 32]),
                validity: Validity {
                    not_before: NOW,
                    not_after: NOW,
                },
            }),
            connection: ConnectionFacts {
                connection_type: ConnectionType::Standard,
                source: None,
            },
            received: Duration::ZERO,
            granted: None,
            missed: 0,
        }
    }

    fn until(until: UnixMs) -> Granted {
        Granted {
            permission_hash: 7,
            until,
        }
    }

    #[test]
    fn a_session_is_seen_before_and_after_it_is_settled() {
        let (grants, session) = (Grants::new(), session(14));
        let id = session.identity.id.clone();
        grants.record(session.clone());
        grants.record(session.clone());
        assert_eq!(grants.of(&id).len(), 1);
        grants.settle(&id, &session.place, until(NOW));
        assert_eq!(grants.take(&id)[0].granted, Some(until(NOW)));
        assert_eq!(grants.len(), 0);
    }

    #[test]
    fn a_session_that_was_taken_stays_taken() {
        let (grants, session) = (Grants::new(), session(14));
        let id = session.identity.id.clone();
        grants.record(session.clone());
        assert_eq!(grants.take(&id).len(), 1);
        grants.settle(&id, &session.place, until(NOW));
        assert_eq!(grants.len(), 0);
    }

    #[test]
    fn sessions_end_one_by_one_and_run_out() {
        let (grants, first, second) = (Grants::new(), session(14), session(15));
        let id = first.identity.id.clone();
        for session in [&first, &second] {
            grants.record(session.clone());
            grants.settle(&id, &session.place, until(NOW));
        }
        grants.forget(&id, &first.place);
        assert_eq!(grants.of(&id)[0].place, second.place);
        grants.purge(NOW.saturating_sub(Duration::from_secs(1)));
        assert_eq!(grants.devices(), [id]);
        grants.purge(NOW);
        assert!(grants.devices().is_empty());
    }

    #[test]
    fn a_session_is_missing_once_two_listings_in_a_row_lack_it() {
        let (grants, session) = (Grants::new(), session(14));
        grants.record(session.clone());
        let (nothing, listed) = (HashSet::new(), HashSet::from([session.place]));
        let at = Duration::from_secs;
        assert!(grants.missing(&nothing, at(60)).is_empty());
        assert!(grants.missing(&listed, at(120)).is_empty());
        assert!(grants.missing(&nothing, at(180)).is_empty());
        let missing = grants.missing(&nothing, at(240));
        assert_eq!(missing[0].place, session.place);
        // Whoever asks judges whether the listing could have had it.
        assert_eq!(grants.len(), 1);
        assert!(grants.missing(&listed, at(300)).is_empty());
    }

    #[test]
    fn a_session_that_may_yet_begin_is_not_missing() {
        let grants = Grants::new();
        grants.record(session(14));
        for _ in 0..3 {
            let missing = grants.missing(&HashSet::new(), BEGINS_WITHIN);
            assert!(missing.is_empty());
        }
    }
}
