use std::collections::{HashMap, VecDeque};

use leafgate_identity::{SerialNumber, UnixMs};
use leafgate_pki::{CertStatus, CrlReason, RevokedEntry};

/// The revoked certificates of one issuer.
///
/// They come from two sides: read from the registry at first, and told by the feed from then on. Each keeps the number
/// of the event that told of it, so that a list can hold exactly what was revoked before its own number was taken:
/// whoever makes it, a list never lacks what one with a lower number has.
#[derive(Debug)]
pub(super) struct Revoked {
    entries: HashMap<SerialNumber, Entry>,
    /// What was known of a feed that is not followed any more, until everything is read anew: revocations are final.
    former: HashMap<SerialNumber, Entry>,
    /// Which reading of the registry is wanted; it grows with everything that makes an earlier one worthless.
    wanted_reading: u64,
    /// Which reading the entries are of.
    reading: Option<u64>,
    /// Numbers of events whose revocations are on no list yet, oldest first; 0 stands for everything that was revoked
    /// before the feed was followed.
    unlisted: VecDeque<u64>,
    /// Grows whenever there may be further entries.
    additions: u64,
}

impl Default for Revoked {
    /// Nothing is known.
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
            former: HashMap::new(),
            wanted_reading: 0,
            reading: None,
            unlisted: VecDeque::from([0]),
            additions: 0,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) at: UnixMs,
    pub(super) reason: CrlReason,
    /// End of the certificate's validity.
    pub(super) not_after: UnixMs,
    /// The event that told of it; 0 if it was read.
    pub(super) seq: u64,
}

impl Revoked {
    /// The state of a certificate, if it is known to be revoked.
    pub(super) fn status(&self, serial: &SerialNumber) -> Option<CertStatus> {
        let found = self
            .entries
            .get(serial)
            .or_else(|| self.former.get(serial))?;
        Some(CertStatus::Revoked {
            at: found.at,
            reason: found.reason,
        })
    }

    /// Takes what an event told.
    pub(super) fn insert(&mut self, serial: SerialNumber, entry: Entry) {
        self.entries.entry(serial).or_insert(entry);
        self.additions += 1;
        self.want_list(entry.seq);
    }

    /// Takes that an event may have revoked certificates without saying which.
    pub(super) fn doubt(&mut self, seq: u64) {
        self.wanted_reading += 1;
        self.want_list(seq);
    }

    fn want_list(&mut self, seq: u64) {
        if self.unlisted.back() != Some(&seq) {
            self.unlisted.push_back(seq);
        }
    }

    /// Another feed is followed from now on.
    pub(super) fn start_over(&mut self) {
        self.former.extend(self.entries.drain());
        self.unlisted = VecDeque::from([0]);
        self.wanted_reading += 1;
    }

    /// Makes the next list wait for a new reading.
    pub(super) fn want_reading(&mut self) {
        self.wanted_reading += 1;
    }

    pub(super) fn wanted_reading(&self) -> u64 {
        self.wanted_reading
    }

    /// Whether nothing is missing.
    pub(super) fn is_whole(&self) -> bool {
        self.reading == Some(self.wanted_reading)
    }

    /// Takes what the registry holds, read after the event `since` was applied; every event up to the end of the
    /// reading must have been applied too. Says whether that was the reading wanted.
    pub(super) fn take_reading(
        &mut self,
        reading: u64,
        since: u64,
        mut read: HashMap<SerialNumber, Entry>,
    ) -> bool {
        if reading != self.wanted_reading {
            return false;
        }
        for (serial, entry) in self.entries.drain() {
            match read.get_mut(&serial) {
                Some(read) => read.seq = entry.seq,
                None if entry.seq > since => {
                    read.insert(serial, entry);
                }
                // It has ended.
                None => {}
            }
        }
        self.entries = read;
        self.additions += 1;
        self.former = HashMap::new();
        self.reading = Some(reading);
        true
    }

    /// Grows whenever there may be further [`serials`](Self::serials).
    pub(super) fn additions(&self) -> u64 {
        self.additions
    }

    /// All that is known.
    pub(super) fn serials(&self) -> impl Iterator<Item = SerialNumber> {
        self.entries.keys().copied()
    }

    /// What a list says whose number was taken by the event `seq`: what was revoked before, and had not ended when the
    /// list before it was made. Each entry thus appears on one list after its end (RFC 5280 section 3.3).
    pub(super) fn entries_of_list(&self, seq: u64, previous: UnixMs) -> Vec<RevokedEntry> {
        self.entries
            .iter()
            .filter(|(_, entry)| entry.seq < seq && entry.not_after > previous)
            .map(|(serial, entry)| RevokedEntry {
                serial: *serial,
                revoked_at: entry.at,
                reason: entry.reason,
            })
            .collect()
    }

    /// Takes that the list of [`entries_of_list`](Self::entries_of_list) is served: what had ended before it is
    /// forgotten.
    pub(super) fn listed(&mut self, seq: u64, previous: UnixMs) {
        while self.unlisted.front().is_some_and(|first| *first < seq) {
            self.unlisted.pop_front();
        }
        self.entries
            .retain(|_, entry| entry.seq >= seq || entry.not_after > previous);
    }

    /// The first event whose revocations are on no list.
    pub(super) fn first_unlisted(&self) -> Option<u64> {
        self.unlisted.front().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serial(number: u8) -> SerialNumber {
        SerialNumber::from_be_bytes(&[number]).unwrap()
    }

    fn entry(seq: u64, not_after: i64) -> Entry {
        Entry {
            at: UnixMs::new(5),
            reason: CrlReason::Superseded,
            not_after: UnixMs::new(not_after),
            seq,
        }
    }

    fn on_list(revoked: &Revoked, seq: u64, previous: i64) -> Vec<SerialNumber> {
        let mut serials: Vec<_> = revoked
            .entries_of_list(seq, UnixMs::new(previous))
            .iter()
            .map(|entry| entry.serial)
            .collect();
        serials.sort();
        serials
    }

    fn reading(serials: &[(u8, i64)]) -> HashMap<SerialNumber, Entry> {
        let entries = serials.iter();
        entries
            .map(|(number, not_after)| (serial(*number), entry(0, *not_after)))
            .collect()
    }

    #[test]
    fn a_list_holds_what_was_revoked_before_its_number() {
        let mut revoked = Revoked::default();
        revoked.insert(serial(1), entry(10, 100));
        revoked.insert(serial(2), entry(12, 100));
        assert_eq!(on_list(&revoked, 11, 0), [serial(1)]);
        assert_eq!(on_list(&revoked, 13, 0), [serial(1), serial(2)]);
        assert_eq!(revoked.first_unlisted(), Some(0));
        revoked.listed(10, UnixMs::new(0));
        assert_eq!(revoked.first_unlisted(), Some(10));
        revoked.listed(11, UnixMs::new(0));
        assert_eq!(revoked.first_unlisted(), Some(12));
        revoked.listed(13, UnixMs::new(0));
        assert_eq!(revoked.first_unlisted(), None);
    }

    #[test]
    fn an_entry_leaves_one_list_after_its_end() {
        let mut revoked = Revoked::default();
        revoked.insert(serial(1), entry(1, 100));
        // The list before was made before the end, at it, and after.
        assert_eq!(on_list(&revoked, 9, 99), [serial(1)]);
        assert_eq!(on_list(&revoked, 9, 100), []);
        revoked.listed(9, UnixMs::new(99));
        assert!(revoked.status(&serial(1)).is_some());
        revoked.listed(9, UnixMs::new(100));
        assert_eq!(revoked.status(&serial(1)), None);
    }

    #[test]
    fn a_reading_joins_what_the_feed_told_meanwhile() {
        let mut revoked = Revoked::default();
        assert!(!revoked.is_whole());
        revoked.insert(serial(1), entry(5, 100));
        revoked.insert(serial(2), entry(9, 100));
        revoked.insert(serial(3), entry(10, 100));
        let wanted = revoked.wanted_reading();
        // Event 8 was the last one applied before. The first has ended, the third came too late to be read.
        assert!(revoked.take_reading(wanted, 8, reading(&[(2, 200), (7, 300)])));
        assert!(revoked.is_whole());
        assert_eq!(on_list(&revoked, 9, 0), [serial(7)]);
        assert_eq!(on_list(&revoked, 11, 0), [2, 3, 7].map(serial));
        assert_eq!(on_list(&revoked, 11, 150), [serial(2), serial(7)]);
    }

    #[test]
    fn a_reading_that_something_overtook_is_not_taken() {
        let mut revoked = Revoked::default();
        for overtake in [
            (|revoked: &mut Revoked| revoked.doubt(3)) as fn(&mut Revoked),
            Revoked::start_over,
            Revoked::want_reading,
        ] {
            let wanted = revoked.wanted_reading();
            overtake(&mut revoked);
            assert!(!revoked.take_reading(wanted, 0, reading(&[(1, 100)])));
            assert!(!revoked.is_whole());
        }
        let wanted = revoked.wanted_reading();
        assert!(revoked.take_reading(wanted, 0, HashMap::new()));
        assert!(revoked.is_whole());
    }

    #[test]
    fn what_was_revoked_stays_so_until_everything_is_read_anew() {
        let mut revoked = Revoked::default();
        revoked.insert(serial(1), entry(5, 100));
        revoked.listed(6, UnixMs::new(0));
        revoked.start_over();
        assert_eq!(revoked.first_unlisted(), Some(0));
        assert!(revoked.status(&serial(1)).is_some());
        assert_eq!(on_list(&revoked, 99, 0), []);
        let wanted = revoked.wanted_reading();
        assert!(revoked.take_reading(wanted, 0, HashMap::new()));
        assert_eq!(revoked.status(&serial(1)), None);
    }

    #[test]
    fn a_doubtful_event_wants_a_list_and_a_reading() {
        let mut revoked = Revoked::default();
        let wanted = revoked.wanted_reading();
        assert!(revoked.take_reading(wanted, 0, HashMap::new()));
        revoked.listed(3, UnixMs::new(0));
        revoked.doubt(4);
        assert_eq!(revoked.first_unlisted(), Some(4));
        assert!(!revoked.is_whole());
    }
}
