//! Buffers and a compressor for building commits, shared by all sessions so that an idle session owns none.

use std::io;
use std::sync::Mutex;

use model::Fault;

use crate::canonical::{self, Head};
use crate::chain::{Commit, unrecordable};
use crate::evidence::Mark;
use crate::flush::lock;
use crate::frame::{FRAME_CONTENT, Framer};

/// Buffers that grew beyond this are not kept, in bytes.
const KEPT: usize = 4 << 20;
/// As many are kept as threads can be building commits at once, on any machine that matters.
const KEPT_COUNT: usize = 64;

/// The records of one commit to one chain, on their way into frames.
#[derive(Debug, Default)]
pub(crate) struct Build {
    records: Vec<u8>,
    frames: Vec<u8>,
    leaves: Vec<u8>,
    canonical: u64,
    time: u64,
    mark: Option<Mark>,
}

impl Build {
    /// Adds a record whose body `write` appends; the mark it returns is the commit's.
    pub(crate) fn add(
        &mut self,
        framer: &mut Framer,
        head: &Head,
        write: impl FnOnce(&mut Vec<u8>) -> Result<Option<Mark>, Fault>,
    ) -> Result<(), Fault> {
        let mut mark = None;
        let start = canonical::append(&mut self.records, head, |out| {
            mark = write(out)?;
            Ok::<_, Fault>(())
        })?;
        let record = &self.records[start..];
        self.leaves.extend_from_slice(blake3::hash(record).as_bytes());
        self.canonical += record.len() as u64;
        self.time = head.time;
        self.mark = mark.or(self.mark);
        if self.records.len() >= FRAME_CONTENT { self.close_frame(framer) } else { Ok(()) }
    }

    fn close_frame(&mut self, framer: &mut Framer) -> Result<(), Fault> {
        let framed = framer.append(&self.records, &mut self.frames);
        self.records.clear();
        framed.map_err(|error| unrecordable(&error.to_string()))
    }

    /// The finished commit; `None` if no record was added.
    pub(crate) fn finish(
        &mut self,
        framer: &mut Framer,
        session: model::SessionId,
    ) -> Result<Option<Commit<'_>>, Fault> {
        self.close_frame(framer)?;
        if self.leaves.is_empty() {
            return Ok(None);
        }
        Ok(Some(Commit {
            session: Some(session),
            frames: &self.frames,
            leaves: &self.leaves,
            canonical: self.canonical,
            time: self.time,
            mark: self.mark,
        }))
    }

    fn reset(&mut self) {
        for buffer in [&mut self.records, &mut self.frames, &mut self.leaves] {
            buffer.clear();
            if buffer.capacity() > KEPT {
                *buffer = Vec::new();
            }
        }
        (self.canonical, self.time, self.mark) = (0, 0, None);
    }
}

/// What one commit needs while it is built.
pub(crate) struct Scratch {
    pub framer: Framer,
    pub evidence: Build,
    pub payload: Build,
}

/// Scratches that wait for their next use.
#[derive(Default)]
pub(crate) struct Pool(Mutex<Vec<Scratch>>);

impl Pool {
    pub(crate) fn take(&self) -> Result<Scratch, Fault> {
        if let Some(scratch) = lock(&self.0).pop() {
            return Ok(scratch);
        }
        let framer = Framer::new().map_err(|error: io::Error| unrecordable(&error.to_string()))?;
        Ok(Scratch { framer, evidence: Build::default(), payload: Build::default() })
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
