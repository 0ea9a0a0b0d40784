//! Slows whoever guesses: after a few failed proofs, an address or a user must wait, longer each time.
//!
//! The table is bounded. A user can be made to wait by somebody else's guesses, so users are given more failures and a
//! shorter wait than addresses.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::locked;

/// The most entries per table.
const MOST: usize = 10_000;
/// Failures are forgotten after this long without a new one.
const FORGET: Duration = Duration::from_secs(600);

/// How many failures are free, and how long the wait can become.
struct Terms {
    free: u32,
    longest: Duration,
}

const ADDRESS: Terms = Terms { free: 50, longest: Duration::from_secs(60) };
const USER: Terms = Terms { free: 20, longest: Duration::from_secs(5) };

/// Who failed lately.
#[derive(Default)]
pub(crate) struct Throttle {
    addresses: Mutex<HashMap<IpAddr, Failures>>,
    users: Mutex<HashMap<String, Failures>>,
}

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    last: Instant,
}

impl Failures {
    /// How long is still to wait.
    fn wait(self, terms: &Terms, now: Instant) -> Option<Duration> {
        let beyond = self.count.checked_sub(terms.free)?;
        let whole = Duration::from_millis(250).saturating_mul(1 << beyond.min(16)).min(terms.longest);
        (self.last + whole).checked_duration_since(now).filter(|left| !left.is_zero())
    }
}

impl Throttle {
    /// How long this address or this user must still wait, if at all.
    pub fn wait(&self, address: IpAddr, user: &str, now: Instant) -> Option<Duration> {
        let by_address = locked(&self.addresses).get(&network(address)).and_then(|known| known.wait(&ADDRESS, now));
        let by_user = locked(&self.users).get(start_of(user)).and_then(|known| known.wait(&USER, now));
        by_address.max(by_user)
    }

    /// Counts a failed proof.
    pub fn failed(&self, address: IpAddr, user: &str, now: Instant) {
        count(&mut locked(&self.addresses), network(address), now);
        count(&mut locked(&self.users), start_of(user).to_owned(), now);
    }

    /// Forgets the failures of a user that proved itself, and halves its address's: somebody there is honest.
    pub fn succeeded(&self, address: IpAddr, user: &str) {
        locked(&self.users).remove(start_of(user));
        if let Some(known) = locked(&self.addresses).get_mut(&network(address)) {
            known.count /= 2;
        }
    }
}

fn count<K: Hash + Eq + Clone>(table: &mut HashMap<K, Failures>, key: K, now: Instant) {
    if table.len() >= MOST && !table.contains_key(&key) {
        table.retain(|_, known| now.saturating_duration_since(known.last) < FORGET);
        if table.len() >= MOST {
            let oldest = table.iter().min_by_key(|(_, known)| known.last).map(|(key, _)| key.clone());
            oldest.map(|key| table.remove(&key));
        }
    }
    let known = table.entry(key).or_insert(Failures { count: 0, last: now });
    if now.saturating_duration_since(known.last) >= FORGET {
        known.count = 0;
    }
    *known = Failures { count: known.count.saturating_add(1), last: now };
}

/// As much of a user's name as is kept: nobody's table grows by long names.
fn start_of(user: &str) -> &str {
    user.char_indices().nth(64).map_or(user, |(end, _)| &user[..end])
}

/// What one party controls: an IPv4 address, or the first 64 bits of an IPv6 address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn failures_beyond_the_free_ones_make_wait_longer_each_time() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..ADDRESS.free - 1 {
            throttle.failed(HERE, "a", now);
            assert_eq!(throttle.wait(HERE, "a", now), None);
        }
        throttle.failed(HERE, "a", now);
        assert_eq!(throttle.wait(HERE, "b", now), Some(Duration::from_millis(250)), "another user, same address");
        throttle.failed(HERE, "b", now);
        assert_eq!(throttle.wait(HERE, "a", now), Some(Duration::from_millis(500)));
        assert_eq!(throttle.wait(HERE, "a", now + Duration::from_millis(500)), None);
        (0..99).for_each(|_| throttle.failed(HERE, "a", now));
        assert_eq!(throttle.wait(HERE, "c", now), Some(ADDRESS.longest));
        let elsewhere = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        assert_eq!(throttle.wait(elsewhere, "a", now), Some(USER.longest));
        assert_eq!(throttle.wait(elsewhere, "c", now), None);
    }

    #[test]
    fn success_forgives_and_time_forgets() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        (0..12).for_each(|_| throttle.failed(HERE, "a", now));
        throttle.succeeded(HERE, "a");
        assert_eq!(throttle.wait(HERE, "a", now), None);
        (0..12).for_each(|_| throttle.failed(HERE, "a", now));
        let later = now + FORGET;
        throttle.failed(HERE, "a", later);
        assert_eq!(throttle.wait(HERE, "a", later), None);
    }

    #[test]
    fn the_table_is_bounded_and_one_network_is_one_guesser() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for number in 0..11_000_u16 {
            let address = Ipv6Addr::new(0x2001, 0xdb8, 0, number, 0, 0, 0, number);
            throttle.failed(address.into(), &format!("user {number}"), now + Duration::from_millis(number.into()));
        }
        assert!(locked(&throttle.addresses).len() <= MOST && locked(&throttle.users).len() <= MOST);
        let neighbour = Ipv6Addr::new(0x2001, 0xdb8, 0, 10_999, 1, 2, 3, 4);
        (0..9).for_each(|_| throttle.failed(neighbour.into(), "x", now + Duration::from_secs(11)));
        assert!(throttle.wait(neighbour.into(), "y", now + Duration::from_secs(11)).is_some());
    }
}
