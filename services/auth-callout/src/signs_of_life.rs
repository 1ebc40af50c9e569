use std::collections::HashMap;
use std::time::Duration;

use leafgate_nats_config::Name;

use crate::grants::Place;

/// How often each connection of a replica says that it lives.
pub(crate) const ALIVE_EVERY: Duration = Duration::from_secs(2);

/// After how long without a word a replica no longer counts among those that share work.
const GONE_AFTER: Duration = Duration::from_secs(15);

/// After how long without a word a connection counts as frozen: a process that is only paused, or
/// on a busy machine, misses fewer signs in a row.
const FROZEN_AFTER: Duration = Duration::from_secs(10);

/// Where own signs stay away for longer than this, it may be this replica that did not run, or its
/// connection that brought nothing: the silence of others then says nothing about them.
const OWN_GAP: Duration = Duration::from_secs(5);

/// Bounds what made-up signs can take of memory.
const CONNECTIONS: usize = 4096;

/// The signs of life of replicas, each of which vouches for the connection that it was sent over,
/// and what follows from them. Times are monotonic and those at which a sign was read.
#[derive(Debug)]
pub(crate) struct SignsOfLife {
    own_name: Name,
    own: Option<Own>,
    others: HashMap<Name, Duration>,
    connections: HashMap<Place, Heard>,
}

/// Own signs, as they come back from the server.
#[derive(Debug, Clone, Copy)]
struct Own {
    /// Since when they have come without a gap.
    since: Duration,
    last: Duration,
}

#[derive(Debug)]
struct Heard {
    replica: Name,
    at: Duration,
}

impl SignsOfLife {
    pub(crate) fn new(own_name: Name) -> Self {
        Self {
            own_name,
            own: None,
            others: HashMap::new(),
            connections: HashMap::new(),
        }
    }

    /// A sign of life was read at `now`, of the connection at `place` where it says so.
    pub(crate) fn hear(&mut self, replica: Name, place: Option<Place>, now: Duration) {
        if replica == self.own_name {
            let since = match self.own {
                Some(own) if now.saturating_sub(own.last) <= OWN_GAP => own.since,
                _ => now,
            };
            self.own = Some(Own { since, last: now });
            return;
        }
        if let Some(place) = place
            && (self.connections.len() < CONNECTIONS || self.connections.contains_key(&place))
        {
            let replica = replica.clone();
            self.connections.insert(place, Heard { replica, at: now });
        }
        self.others.insert(replica, now);
    }

    /// The other replicas that live.
    pub(crate) fn others(&mut self, now: Duration) -> impl Iterator<Item = &Name> {
        self.others
            .retain(|_, heard| now.saturating_sub(*heard) < GONE_AFTER);
        self.others.keys()
    }

    /// Connections of other replicas that would have been heard if they lived; each once, unless
    /// it is heard again or put off.
    pub(crate) fn take_frozen(&mut self, now: Duration) -> Vec<(Name, Place)> {
        let Some(own) = self.own else {
            return Vec::new();
        };
        if now.saturating_sub(own.last) > OWN_GAP {
            return Vec::new();
        }
        self.connections
            .extract_if(|_, heard| now.saturating_sub(heard.at.max(own.since)) >= FROZEN_AFTER)
            .map(|(place, heard)| (heard.replica, place))
            .collect()
    }

    /// Gives a connection as much time again: it could not be ended.
    pub(crate) fn put_off(&mut self, replica: Name, place: Place, now: Duration) {
        let heard = Heard { replica, at: now };
        self.connections.entry(place).or_insert(heard);
    }
}

#[cfg(test)]
mod tests;
