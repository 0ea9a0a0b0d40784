//! Letters to a session from outside its two connections. One small allocation, because every idle session has one.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;
use std::time::Instant;

use gate::Event;
use tokio::sync::oneshot;

use crate::locked;

/// What can be sent to a session.
#[derive(Debug)]
pub(crate) enum Letter {
    /// Something for the gate.
    Gate(Event),
    /// The client wants what is under way cancelled; to be told, or dropped, when that has had its effect.
    Cancel(oneshot::Sender<()>),
    /// The gateway drains: end when idle, or at this time.
    Drain(Instant),
}

/// One session's letters.
#[derive(Default)]
pub(crate) struct Mailbox {
    /// Set while letters may wait, so that a busy session need not take the lock to see that none do.
    full: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    letters: VecDeque<Letter>,
    waker: Option<Waker>,
    closed: bool,
}

impl Mailbox {
    /// Sends a letter. False when the session is over.
    pub fn send(&self, letter: Letter) -> bool {
        let waker = {
            let mut inner = locked(&self.inner);
            if inner.closed {
                return false;
            }
            inner.letters.push_back(letter);
            self.full.store(true, Ordering::Release);
            inner.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// The oldest letter, if any.
    pub fn take(&self) -> Option<Letter> {
        if !self.full.load(Ordering::Acquire) {
            return None;
        }
        let mut inner = locked(&self.inner);
        let letter = inner.letters.pop_front();
        self.full.store(!inner.letters.is_empty(), Ordering::Release);
        letter
    }

    /// Wakes `waker` at the next letter. True when one waits already.
    pub fn wait(&self, waker: &Waker) -> bool {
        let mut inner = locked(&self.inner);
        if !inner.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            inner.waker = Some(waker.clone());
        }
        !inner.letters.is_empty()
    }

    /// Takes no more letters.
    pub fn close(&self) {
        let mut inner = locked(&self.inner);
        inner.closed = true;
        inner.letters.clear();
        inner.waker = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_arrive_in_order_until_the_box_is_closed() {
        let mailbox = Mailbox::default();
        assert!(mailbox.take().is_none());
        assert!(mailbox.send(Letter::Gate(Event::Tick)) && mailbox.send(Letter::Drain(Instant::now())));
        assert!(mailbox.wait(Waker::noop()));
        assert!(matches!(mailbox.take(), Some(Letter::Gate(Event::Tick))));
        assert!(matches!(mailbox.take(), Some(Letter::Drain(_))));
        assert!(mailbox.take().is_none() && !mailbox.wait(Waker::noop()));
        mailbox.close();
        assert!(!mailbox.send(Letter::Gate(Event::Tick)));
    }
}
