use leafgate_nats_jwt::{KeyKind, ServerKey, SigningKey};
#[expect(clippy::disallowed_types, reason = "a test draws its own keys")]
use rand_core::OsRng;

use super::*;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// What replica "own" has heard of the connection of replica "other".
struct Stage {
    signs: SignsOfLife,
    other: Place,
}

impl Stage {
    fn set() -> Self {
        let server = SigningKey::generate(KeyKind::Server, &mut OsRng);
        Self {
            signs: SignsOfLife::new(name("own")),
            other: Place {
                server_id: ServerKey::try_from(*server.public()).unwrap(),
                client_id: 14,
            },
        }
    }

    /// Both say that they live, every two seconds from `from` to `to`, these included.
    fn both(&mut self, from: u64, to: u64) {
        for now in (from..=to).step_by(2) {
            self.signs.hear(name("other"), Some(self.other), secs(now));
            self.own(now, now);
        }
    }

    /// Only this replica does.
    fn own(&mut self, from: u64, to: u64) {
        for now in (from..=to).step_by(2) {
            self.signs.hear(name("own"), None, secs(now));
        }
    }

    fn frozen(&mut self, now: u64) -> Vec<Place> {
        let frozen = self.signs.take_frozen(secs(now));
        frozen.into_iter().map(|(_, place)| place).collect()
    }
}

#[test]
fn a_connection_that_falls_silent_is_frozen_after_ten_seconds() {
    let mut stage = Stage::set();
    stage.both(0, 20);
    assert_eq!(stage.frozen(20), []);
    stage.own(22, 28);
    assert_eq!(stage.frozen(29), []);
    stage.own(30, 30);
    assert_eq!(stage.frozen(30), [stage.other]);
    // Told once; and again only once it has lived again.
    assert_eq!(stage.frozen(31), []);
    stage.both(32, 32);
    stage.own(34, 42);
    assert_eq!(stage.frozen(42), [stage.other]);
}

#[test]
fn a_pause_is_no_freeze() {
    let mut stage = Stage::set();
    stage.both(0, 20);
    stage.own(22, 28);
    stage.both(29, 31);
    stage.own(32, 38);
    assert_eq!(stage.frozen(38), []);
}

#[test]
fn whoever_did_not_run_itself_judges_nobody_for_that_time() {
    let mut stage = Stage::set();
    stage.both(0, 20);
    // It runs again and has read nothing yet.
    assert_eq!(stage.frozen(80), []);
    // Its own signs come first, those of the other have waited behind them.
    stage.own(80, 88);
    assert_eq!(stage.frozen(88), []);
    stage.both(89, 89);
    assert_eq!(stage.frozen(89), []);
}

#[test]
fn silence_counts_from_the_end_of_an_own_pause() {
    let mut stage = Stage::set();
    stage.both(0, 20);
    stage.own(80, 90);
    assert_eq!(stage.frozen(90), [stage.other]);
}

#[test]
fn whoever_hears_nothing_at_all_judges_nobody() {
    let mut stage = Stage::set();
    stage.signs.hear(name("other"), Some(stage.other), secs(0));
    assert_eq!(stage.frozen(60), []);
    stage.own(60, 60);
    assert_eq!(stage.frozen(66), []);
    assert_eq!(stage.frozen(600), []);
}

#[test]
fn a_connection_that_could_not_be_ended_is_told_again() {
    let mut stage = Stage::set();
    stage.both(0, 0);
    stage.own(2, 10);
    let (replica, place) = stage.signs.take_frozen(secs(10)).remove(0);
    assert_eq!(replica, name("other"));
    stage.signs.put_off(replica, place, secs(11));
    stage.own(12, 20);
    assert_eq!(stage.frozen(20), []);
    stage.own(22, 22);
    assert_eq!(stage.frozen(22), [stage.other]);
}

#[test]
fn a_replica_shares_work_until_it_has_been_silent_for_long() {
    let mut signs = SignsOfLife::new(name("own"));
    signs.hear(name("own"), None, secs(0));
    // As versions do that vouch for no connection.
    signs.hear(name("older"), None, secs(0));
    assert_eq!(signs.others(secs(14)).collect::<Vec<_>>(), [&name("older")]);
    assert_eq!(signs.others(secs(15)).count(), 0);
    signs.hear(name("own"), None, secs(15));
    assert_eq!(signs.take_frozen(secs(15)), []);
}

#[test]
fn made_up_connections_take_only_so_much_memory() {
    let mut stage = Stage::set();
    for client_id in 0..2 * CONNECTIONS as u64 {
        let place = Place {
            client_id,
            ..stage.other
        };
        stage.signs.hear(name("other"), Some(place), secs(0));
    }
    stage.own(0, 10);
    assert_eq!(stage.frozen(10).len(), CONNECTIONS);
}
