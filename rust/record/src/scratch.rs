//! Buffers for building commits, shared by all sessions so that an idle session owns none.

use std::sync::Mutex;

use model::{Fault, SessionId};

use crate::canonical::{self, Head};
use crate::chain::Commit;
use crate::evidence::Mark;
use crate::flush::lock;
use crate::frame::{self, FRAME_CONTENT};

/// Buffers that grew beyond this are not kept, in bytes.
const KEPT: usize = 4 << 20;
/// As many are kept as threads can be building commits at once, on any machine that matters.
const KEPT_COUNT: usize = 64;

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

/// Scratches that wait for their next use.
#[derive(Default)]
pub(crate) struct Pool(Mutex<Vec<Scratch>>);

impl Pool {
    pub(crate) fn take(&self) -> Scratch {
        lock(&self.0).pop().unwrap_or_default()
    }

    pub(crate) fn put(&self, mut scratch: Scratch) {
        scratch.evidence.reset();
        scratch.payload.reset();
        let mut kept = lock(&self.0);
        if kept.len() < KEPT_COUNT {
            kept.push(scratch);
        }
    }
}
