use std::hash::Hash;
use std::net::IpAddr;
use std::time::Duration;

use quick_cache::sync::Cache;

/// Origins that are remembered. Whoever commands more addresses than that makes the service forget some.
const REMEMBERED: usize = 16_384;

/// What each wrong attempt costs…
const COST: Duration = Duration::from_secs(6);
/// …and how much an origin may owe before it has to wait.
const CREDIT: Duration = Duration::from_secs(60);

/// Slows down whoever tries credentials of one kind: ten wrong attempts at once, then one every six seconds, for each
/// address and for each key. `K` is the public part of a key.
///
/// Who has shown the right secret of a key from an address is judged by that pair alone. Thus nobody locks others out,
/// neither by knowing the public part of their key nor by sharing their address.
#[derive(Debug)]
pub(crate) struct Guesses<K> {
    /// When an origin's debt will be paid, on the monotonic clock.
    debts: Cache<Origin<K>, Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Origin<K> {
    Address(IpAddr),
    Key(K),
    Known(IpAddr, K),
}

impl<K: Clone + Eq + Hash> Guesses<K> {
    pub(crate) fn new() -> Self {
        Self {
            debts: Cache::new(REMEMBERED),
        }
    }

    /// How long this address has to wait before it may try this key again; nothing if it may.
    pub(crate) fn wait(&self, address: IpAddr, key: Option<&K>, now: Duration) -> Option<Duration> {
        let origins = self.origins(address, key);
        let debt = origins.iter().filter_map(|origin| self.debts.get(origin));
        let due = debt.max()?.saturating_sub(now);
        due.checked_sub(CREDIT).filter(|wait| !wait.is_zero())
    }

    /// A wrong attempt.
    pub(crate) fn failed(&self, address: IpAddr, key: Option<&K>, now: Duration) {
        for origin in self.origins(address, key) {
            let debt = self.debts.get(&origin).unwrap_or_default();
            self.debts.insert(origin, debt.max(now) + COST);
        }
    }

    /// The right secret.
    pub(crate) fn succeeded(&self, address: IpAddr, key: &K) {
        let pair = Origin::Known(network(address), key.clone());
        if self.debts.get(&pair).is_none() {
            self.debts.insert(pair, Duration::ZERO);
        }
    }

    fn origins(&self, address: IpAddr, key: Option<&K>) -> Vec<Origin<K>> {
        let address = network(address);
        let Some(key) = key else {
            return vec![Origin::Address(address)];
        };
        let pair = Origin::Known(address, key.clone());
        if self.debts.get(&pair).is_some() {
            vec![pair]
        } else {
            vec![Origin::Address(address), Origin::Key(key.clone())]
        }
    }
}

/// Of an IPv6 address the network, of which one host commands every address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use leafgate_access::{ApiKey, ApiKeyId, Authority, NewApiKey, Scope};
    use leafgate_identity::UnixMs;

    use super::*;

    const HERE: &str = "192.0.2.1";
    const THERE: &str = "192.0.2.2";
    const NOW: Duration = Duration::from_secs(1_000);

    fn key() -> ApiKeyId {
        let new = NewApiKey {
            name: String::new(),
            authority: Authority {
                roles: Default::default(),
                scope: Scope::everything(),
            },
            created_by: String::new(),
            expires_at: UnixMs::MAX,
        };
        ApiKey::generate(new, UnixMs::new(0)).0.id
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn ten_attempts_then_one_every_six_seconds() {
        let (guesses, key) = (Guesses::new(), key());
        for _ in 0..10 {
            assert_eq!(guesses.wait(ip(HERE), Some(&key), NOW), None);
            guesses.failed(ip(HERE), Some(&key), NOW);
        }
        assert_eq!(guesses.wait(ip(HERE), Some(&key), NOW), None);
        guesses.failed(ip(HERE), Some(&key), NOW);
        assert_eq!(guesses.wait(ip(HERE), Some(&key), NOW), Some(COST));
        assert_eq!(guesses.wait(ip(HERE), Some(&key), NOW + COST), None);
        // The address is slowed for other keys too, and the key from other addresses.
        assert_eq!(guesses.wait(ip(HERE), None, NOW), Some(COST));
        assert_eq!(guesses.wait(ip(THERE), Some(&key), NOW), Some(COST));
        assert_eq!(guesses.wait(ip(THERE), None, NOW), None);
    }

    #[test]
    fn who_has_shown_the_secret_is_not_locked_out_by_others() {
        let (guesses, key) = (Guesses::new(), key());
        guesses.succeeded(ip(HERE), &key);
        for _ in 0..100 {
            guesses.failed(ip(THERE), Some(&key), NOW);
            guesses.failed(ip(HERE), None, NOW);
        }
        assert_eq!(guesses.wait(ip(HERE), Some(&key), NOW), None);
        assert!(guesses.wait(ip(THERE), Some(&key), NOW).is_some());
        // Somebody at the same address who tries the same key is slowed with its rightful bearer.
        for _ in 0..100 {
            guesses.failed(ip(HERE), Some(&key), NOW);
        }
        assert!(guesses.wait(ip(HERE), Some(&key), NOW).is_some());
    }

    #[test]
    fn addresses_of_one_network_are_one() {
        let guesses = Guesses::<ApiKeyId>::new();
        for host in 0..20 {
            guesses.failed(ip(&format!("2001:db8::{host:x}")), None, NOW);
        }
        assert!(guesses.wait(ip("2001:db8::ffff"), None, NOW).is_some());
        assert_eq!(guesses.wait(ip("2001:db8:0:1::1"), None, NOW), None);
        assert_eq!(network(ip("::ffff:192.0.2.1")), ip(HERE));
    }
}
