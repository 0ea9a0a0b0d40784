//! Buffers for building commits, one set per thread, so that an idle session owns none.

use std::cell::{Cell, RefCell};

use model::{Fault, SessionId};

use crate::canonical::{self, Head};
use crate::chain::Commit;
use crate::evidence::Mark;
use crate::frame::{self, FRAME_CONTENT};

/// Buffers that grew beyond this are not kept, in bytes.
const KEPT: usize = 4 << 20;
/// A thread keeps this many hashers for answers to come.
const KEPT_HASHERS: usize = 64;

/// The records of one commit to one chain, in frames.
#[derive(Debug, Default)]
pub(crate) struct Build {
    frames: Vec<u8>,
    /// Where the frame that is being filled begins.
    filling: Option<usize>,
    leaves: Vec<u8>,
    canonical: u64,
    times: (u64, u64),
    mark: Option<Mark>,
}

impl Build {
    /// Adds a record whose body `write` appends; the mark it returns is the commit's.
    pub(crate) fn add(
        &mut self,
        head: &Head,
        write: impl FnOnce(&mut Vec<u8>) -> Result<Option<Mark>, Fault>,
    ) -> Result<(), Fault> {
        let mut mark = None;
        let filling = *self.filling.get_or_insert_with(|| frame::begin(&mut self.frames));
        let start = canonical::append(&mut self.frames, head, |out| {
            mark = write(out)?;
            Ok::<_, Fault>(())
        })?;
        let record = &self.frames[start..];
        self.leaves.extend_from_slice(blake3::hash(record).as_bytes());
        self.canonical += record.len() as u64;
        if self.times.0 == 0 {
            self.times.0 = head.time;
        }
        self.times.1 = head.time;
        self.mark = mark.or(self.mark);
        if frame::content_bytes(&self.frames, filling) >= FRAME_CONTENT {
            self.end_frame();
        }
        Ok(())
    }

    fn end_frame(&mut self) {
        if let Some(start) = self.filling.take() {
            frame::end(&mut self.frames, start);
        }
    }

    /// The finished commit; `None` if no record was added.
    pub(crate) fn finish(&mut self, session: SessionId) -> Option<Commit<'_>> {
        self.end_frame();
        if self.leaves.is_empty() {
            return None;
        }
        Some(Commit {
            session: Some(session),
            frames: &self.frames,
            leaves: &self.leaves,
            canonical: self.canonical,
            times: self.times,
            mark: self.mark,
        })
    }

    fn reset(&mut self) {
        for buffer in [&mut self.frames, &mut self.leaves] {
            buffer.clear();
            if buffer.capacity() > KEPT {
                *buffer = Vec::new();
            }
        }
        (self.filling, self.canonical, self.times, self.mark) = (None, 0, (0, 0), None);
    }
}

/// What one commit needs while it is built.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub evidence: Build,
    pub payload: Build,
}

thread_local! {
    static SCRATCH: Cell<Option<Scratch>> = const { Cell::new(None) };
    // Boxed as the sessions that borrow them hold them: they are too large to be moved about.
    #[expect(clippy::vec_box)]
    static HASHERS: RefCell<Vec<Box<blake3::Hasher>>> = const { RefCell::new(Vec::new()) };
}

/// Takes this thread's scratch. A thread builds one commit at a time, so one is enough.
pub(crate) fn take() -> Scratch {
    SCRATCH.take().unwrap_or_default()
}

/// Gives a scratch back.
pub(crate) fn give(mut scratch: Scratch) {
    scratch.evidence.reset();
    scratch.payload.reset();
    SCRATCH.set(Some(scratch));
}

/// Takes a hasher that has hashed nothing: they are large, and every answer needs one.
pub(crate) fn take_hasher() -> Box<blake3::Hasher> {
    HASHERS.with_borrow_mut(Vec::pop).unwrap_or_default()
}

/// Gives a hasher back.
pub(crate) fn give_hasher(mut hasher: Box<blake3::Hasher>) {
    HASHERS.with_borrow_mut(|kept| {
        if kept.len() < KEPT_HASHERS {
            hasher.reset();
            kept.push(hasher);
        }
    });
}
