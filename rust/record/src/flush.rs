//! Getting records onto the disk: one thread, one round of syncs for everybody who waits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use model::Fault;

use crate::chain::{Chain, unrecordable};

/// Whatever nobody waits for still reaches the disk this often.
const IDLE: Duration = Duration::from_secs(1);

/// How far both chains have come, in bytes given to each since the trail was opened. Later positions of the same trail
/// cover earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    pub(crate) evidence: u64,
    pub(crate) payload: u64,
}

impl Position {
    /// The position that covers both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { evidence: self.evidence.max(other.evidence), payload: self.payload.max(other.payload) }
    }
}

/// The two chains. Locked in this order when both are: payload, evidence.
#[derive(Debug)]
pub(crate) struct Chains {
    pub payload: Mutex<Chain>,
    pub evidence: Mutex<Chain>,
}

/// Locks, whatever happened to an earlier holder: every mutation of a chain leaves it consistent or marked ragged.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug, Default)]
struct Wanted {
    wakers: Vec<Waker>,
    asked: bool,
    stop: bool,
    /// A sync failed. The kernel may have dropped the pages, so no later sync can be believed.
    failed: Option<String>,
}

/// The flusher's side of a trail with durability `disk`.
#[derive(Debug, Default)]
pub(crate) struct Flush {
    evidence: AtomicU64,
    payload: AtomicU64,
    wanted: Mutex<Wanted>,
    changed: Condvar,
    done: Condvar,
}

impl Flush {
    /// Whether everything up to `position` is on the disk.
    pub(crate) fn covers(&self, position: Position) -> bool {
        self.evidence.load(Ordering::Acquire) >= position.evidence
            && self.payload.load(Ordering::Acquire) >= position.payload
    }

    /// Asks for `position` and registers `waker` for when it may be there.
    pub(crate) fn poll(&self, position: Position, waker: &Waker) -> Poll<Result<(), Fault>> {
        let mut wanted = lock(&self.wanted);
        if let Some(why) = &wanted.failed {
            return Poll::Ready(Err(unrecordable(why)));
        }
        if self.covers(position) {
            return Poll::Ready(Ok(()));
        }
        wanted.wakers.push(waker.clone());
        self.ask(&mut wanted);
        Poll::Pending
    }

    /// Blocks until `position` is on the disk.
    pub(crate) fn wait(&self, position: Position) -> Result<(), Fault> {
        let mut wanted = lock(&self.wanted);
        loop {
            if let Some(why) = &wanted.failed {
                return Err(unrecordable(why));
            }
            if self.covers(position) {
                return Ok(());
            }
            if wanted.stop {
                return Err(unrecordable("it is closed"));
            }
            self.ask(&mut wanted);
            wanted = self.done.wait(wanted).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Why nothing can become durable any more, if so.
    pub(crate) fn failure(&self) -> Option<Fault> {
        lock(&self.wanted).failed.as_ref().map(|why| unrecordable(why))
    }

    /// Ends the flusher's thread after a last round.
    pub(crate) fn stop(&self) {
        lock(&self.wanted).stop = true;
        self.changed.notify_one();
    }

    fn ask(&self, wanted: &mut Wanted) {
        if !wanted.asked {
            wanted.asked = true;
            self.changed.notify_one();
        }
    }

    /// The flusher's thread.
    pub(crate) fn run(&self, chains: &Arc<Chains>) {
        loop {
            let stop = self.sleep();
            let result = self.round(chains);
            let wakers = self.tell(result);
            wakers.into_iter().for_each(Waker::wake);
            if stop {
                return;
            }
        }
    }

    /// Waits until somebody asks, or [`IDLE`] has passed. Returns whether to stop.
    fn sleep(&self) -> bool {
        let wanted = lock(&self.wanted);
        let idle = |wanted: &mut Wanted| !wanted.asked && !wanted.stop;
        let woken = self.changed.wait_timeout_while(wanted, IDLE, idle);
        let (mut wanted, _) = woken.unwrap_or_else(PoisonError::into_inner);
        // Who asks from here on may have come too late for this round, and gets the next.
        wanted.asked = false;
        wanted.stop
    }

    /// Syncs everything both chains were given until now. Payload first: evidence speaks about it.
    fn round(&self, chains: &Chains) -> std::io::Result<()> {
        for (chain, durable) in [(&chains.payload, &self.payload), (&chains.evidence, &self.evidence)] {
            let (written, dirty) = lock(chain).take_dirty(durable.load(Ordering::Acquire));
            for file in dirty {
                file.sync_data()?;
            }
            durable.store(written, Ordering::Release);
        }
        Ok(())
    }

    /// Publishes the round's result and takes everybody who waits for one.
    fn tell(&self, result: std::io::Result<()>) -> Vec<Waker> {
        let mut wanted = lock(&self.wanted);
        if let Err(error) = result {
            wanted.failed.get_or_insert(format!("a sync failed ({error}); restart the gateway once the disk is sound"));
        }
        self.done.notify_all();
        std::mem::take(&mut wanted.wakers)
    }
}
