//! What all sessions' buffers take together, and the bound on it.
//!
//! Sessions count what they keep in coarse steps, so that a session with small requests never touches what all share:
//! what a thread works on just now is counted only once it is large, what a session keeps while it waits is counted
//! from a few KiB on. What is counted never exceeds the bound; a session that needs more than is left ends with an error
//! that says so, before the machine has to end the gateway.

use std::sync::atomic::{AtomicUsize, Ordering};

use model::{Fault, FaultKind, Whose};

/// What a waiting session keeps below this is part of what any session costs, in bytes.
const SMALL: usize = 32 << 10;
/// What waits is counted in multiples of this, in bytes.
const GRAIN: usize = 64 << 10;
/// What is worked on is counted when it has grown by this much, in bytes. The work of one thread at a time.
const STEP: usize = 1 << 20;
/// Sessions that keep more than this, and new ones, leave an eighth of the bound to the others, in bytes.
const LARGE: usize = 1 << 20;

/// What all sessions keep, in bytes.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    used: AtomicUsize,
}

impl Memory {
    /// Bytes counted now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Refuses a new session when what is left of `most` bytes is needed by those that are open.
    pub fn room(&self, most: usize) -> Result<(), Fault> {
        if self.used() < open_to_large(most) {
            return Ok(());
        }
        let message = format!("the gateway's buffers have filled the {} they may take (limits.memory)", told(most));
        Err(Fault::new(Whose::Gateway, FaultKind::TooMany, message)
            .hint("try again later, end sessions that keep much waiting, or raise limits.memory"))
    }

    fn take(&self, bytes: usize, most: usize) -> bool {
        let add = |used: usize| used.checked_add(bytes).filter(|after| *after <= most);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }
}

/// What is open to large sessions of `most` bytes.
const fn open_to_large(most: usize) -> usize {
    most - most / 8
}

fn told(bytes: usize) -> String {
    format!("{} MiB", bytes >> 20)
}

/// What one session has counted of what it keeps, in bytes. Must be given back with [`Share::end`].
#[derive(Debug, Default)]
pub(crate) struct Share(usize);

impl Share {
    /// Whether a session that keeps `kept` bytes while it works has to count anew.
    pub const fn outgrown(&self, kept: usize) -> bool {
        kept > self.0 + STEP
    }

    /// What to count for a session that waits with `kept` bytes, if that changes.
    pub const fn at_rest(&self, kept: usize) -> Option<usize> {
        let wanted = if kept <= SMALL { 0 } else { kept.next_multiple_of(GRAIN) };
        if wanted > self.0 || (wanted < self.0 && (wanted == 0 || wanted + 4 * GRAIN <= self.0)) {
            Some(wanted)
        } else {
            None
        }
    }

    /// Counts `bytes` from now on, of `most` that all sessions may take together.
    pub fn count(&mut self, bytes: usize, memory: &Memory, most: usize) -> Result<(), Fault> {
        if bytes <= self.0 {
            memory.used.fetch_sub(self.0 - bytes, Ordering::Relaxed);
            self.0 = bytes;
            return Ok(());
        }
        let open = if bytes > LARGE { open_to_large(most) } else { most };
        if !memory.take(bytes - self.0, open) {
            let message = format!(
                "this session needs {} KiB of buffers, more than is left of the {} that all sessions may take \
                 (limits.memory)",
                bytes >> 10,
                told(most)
            );
            return Err(Fault::new(Whose::Gateway, FaultKind::TooLarge, message)
                .hint("send and fetch smaller pieces, try again later, or raise limits.memory"));
        }
        self.0 = bytes;
        Ok(())
    }

    /// Gives everything back.
    pub fn end(&mut self, memory: &Memory) {
        memory.used.fetch_sub(std::mem::take(&mut self.0), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const MOST: usize = 64 << 20;

    #[test]
    fn small_sessions_count_nothing_and_large_ones_in_steps() {
        let mut share = Share::default();
        assert!(!share.outgrown(STEP) && share.outgrown(STEP + 1));
        assert_eq!((share.at_rest(0), share.at_rest(SMALL), share.at_rest(SMALL + 1)), (None, None, Some(GRAIN)));
        let memory = Memory::default();
        share.count(10 * GRAIN, &memory, MOST).unwrap();
        assert_eq!(memory.used(), 10 * GRAIN);
        assert_eq!((share.at_rest(10 * GRAIN), share.at_rest(10 * GRAIN + 1)), (None, Some(11 * GRAIN)));
        assert_eq!((share.at_rest(7 * GRAIN), share.at_rest(6 * GRAIN)), (None, Some(6 * GRAIN)));
        assert_eq!(share.at_rest(SMALL), Some(0));
        share.end(&memory);
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn the_bound_is_never_passed_and_large_sessions_leave_room_for_small_ones() {
        let memory = Memory::default();
        let mut shares: Vec<Share> = Vec::new();
        let refused = loop {
            let mut share = Share::default();
            match share.count(5 << 20, &memory, MOST) {
                Ok(()) => shares.push(share),
                Err(fault) => break fault,
            }
        };
        assert_eq!((shares.len(), refused.kind), (11, FaultKind::TooLarge));
        assert!(refused.message.contains("5120 KiB") && refused.message.contains("64 MiB"), "{refused}");
        assert!(memory.room(MOST).is_ok(), "a new session needs little");
        let mut small = 0;
        let mut share = Share::default();
        while share.count(GRAIN, &memory, MOST).is_ok() {
            shares.push(std::mem::take(&mut share));
            small += 1;
        }
        assert_eq!((small, memory.used()), (9 * 16, MOST));
        assert_eq!(memory.room(MOST).unwrap_err().kind, FaultKind::TooMany);
        let mut last = shares.pop().unwrap();
        last.end(&memory);
        assert!(Share::default().count(GRAIN, &memory, MOST).is_ok());
    }

    #[test]
    fn a_bound_that_was_lowered_keeps_what_is_counted_and_takes_no_more() {
        let memory = Memory::default();
        let mut share = Share::default();
        share.count(40 << 20, &memory, MOST).unwrap();
        assert!(share.count(41 << 20, &memory, 32 << 20).is_err());
        assert_eq!(memory.used(), 40 << 20, "a refused step counts nothing");
        share.count(1 << 20, &memory, 32 << 20).unwrap();
        assert_eq!(memory.used(), 1 << 20);
    }
}
