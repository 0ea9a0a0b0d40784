//! How many statements an identity runs a second, over all its sessions on all threads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use model::{Fault, FaultKind, Whose};
use protocols::Request;

use crate::session::Session;

const SECOND: u64 = 1_000_000_000;

/// What one identity has run lately. Every statement takes its share of a second; more than one second is not lent, so
/// that a rested identity may run a second's worth at once. One number, and no lock.
#[derive(Debug)]
pub struct Pace {
    began: Instant,
    /// When everything taken is paid for, in nanoseconds since `began`.
    paid: AtomicU64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { began: Instant::now(), paid: AtomicU64::new(0) }
    }
}

impl Pace {
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// For tests: no time passes.
    #[cfg(test)]
    pub fn stopped() -> Self {
        Self { began: Instant::now() + std::time::Duration::from_secs(86_400), ..Self::default() }
    }

    /// Takes `count` statements of `per_second`: all of them, or none and `false`.
    fn take(&self, now: u64, count: u64, per_second: u32) -> bool {
        let share = (SECOND / u64::from(per_second.max(1))).saturating_mul(count);
        let paid = |paid: u64| {
            let after = paid.max(now).saturating_add(share);
            (after - now <= SECOND).then_some(after)
        };
        self.paid.fetch_update(Ordering::Relaxed, Ordering::Relaxed, paid).is_ok()
    }

    /// Whether nothing would change if this were forgotten.
    #[must_use]
    pub fn is_rested(&self) -> bool {
        self.paid.load(Ordering::Relaxed) <= self.now()
    }
}

impl Session {
    /// Why the statements of `request` may not run now, if the identity has run too many lately. What ends a
    /// transaction may always run, or a client that is told to wait could not even leave its transaction.
    pub(crate) fn too_often(&self, request: &Request) -> Option<Fault> {
        let most = self.rules.statements_per_second()?;
        if request.in_transaction && request.statements.iter().all(|one| matches!(one.kind, "commit" | "rollback")) {
            return None;
        }
        let count = request.statements.len() as u64;
        if self.pace.take(self.pace.now(), count, most) {
            return None;
        }
        let identity = &self.principal.identity;
        let (message, hint) = if count > u64::from(most) {
            let message = format!(
                "this text has {count} statements, and identity \"{identity}\" may run {most} a second \
                 (limits.statements_per_second)"
            );
            (message, "send them in smaller parts, or raise limits.statements_per_second")
        } else {
            let message = format!(
                "identity \"{identity}\" has run all {most} statements a second it may, over all its sessions \
                 (limits.statements_per_second)"
            );
            (message, "send it again in a moment, or raise limits.statements_per_second")
        };
        let fault = Fault::new(Whose::Client, FaultKind::TooOften, message).hint(hint);
        Some(fault.reference(self.reference(request.exchange)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_seconds_worth_at_once_and_then_as_time_passes() {
        let pace = Pace::default();
        assert!((0..5).all(|_| pace.take(0, 1, 5)) && !pace.take(0, 1, 5));
        assert!(!pace.take(SECOND / 5 - 1, 1, 5), "a moment too early");
        assert!(pace.take(SECOND / 5, 1, 5) && !pace.take(SECOND / 5, 1, 5));
        assert!((0..5).all(|_| pace.take(9 * SECOND, 1, 5)) && !pace.take(9 * SECOND, 1, 5), "rest is not saved up");
    }

    #[test]
    fn a_text_of_several_statements_takes_all_or_none() {
        let pace = Pace::default();
        assert!(!pace.take(0, 6, 5) && pace.take(0, 5, 5) && !pace.take(0, 1, 5));
        assert!(
            !Pace::default().take(0, u64::MAX, 1) && Pace::default().take(0, 1, 1) && Pace::default().take(0, 0, 1)
        );
    }

    #[test]
    fn another_limit_counts_from_the_next_statement_on() {
        let pace = Pace::default();
        assert!(pace.take(0, 1, 1) && !pace.take(0, 1, 1) && !pace.take(0, 1, 1000));
        assert!(pace.take(SECOND / 2, 1, 1000) && !pace.take(SECOND / 2, 1, 1));
    }

    #[test]
    fn threads_together_take_no_more_than_one_would() {
        let pace = Arc::new(Pace::default());
        let taken = std::thread::scope(|scope| {
            let one = || (0..1000).filter(|_| pace.take(7, 1, 1500)).count();
            let threads = [(); 4].map(|()| scope.spawn(one));
            threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
        });
        assert_eq!(taken, 1500);
        assert!(!pace.is_rested());
    }

    proptest! {
        /// Over any span, no more than the span's worth and one second's worth runs.
        #[test]
        fn the_bound_holds_over_every_span(
            most in 1_u32..100_000,
            asked in proptest::collection::vec((0..SECOND / 4, 1_u64..50), 1..200),
        ) {
            let (pace, mut now, mut run) = (Pace::default(), 0, 0);
            for (wait, count) in asked {
                now += wait;
                run += if pace.take(now, count, most) { count } else { 0 };
                let worth = u128::from(SECOND + now) / u128::from(SECOND / u64::from(most));
                prop_assert!(u128::from(run) <= worth);
            }
        }
    }
}
