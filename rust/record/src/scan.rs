//! Walking a segment's frames from front to back, whatever state the file is in.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use model::SessionId;
use wire::{Malformed, Reader};

use crate::canonical::{self, Content, Head};
use crate::evidence::{self, Mark};
use crate::frame::{self, Measure, Unframer};
use crate::segment::Tally;

/// Bytes read at once.
const CHUNK: usize = 256 << 10;
/// How room begins that is set aside and not yet written.
const BLANK: [u8; 4] = [0; 4];

/// What stands at an offset of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// A frame with records from the first offset to the second; [`Scanner::content`] has them.
    Records(u64, u64),
    /// A skippable frame from the first offset on.
    Skippable(u64, u32),
    /// The file ends here, between two frames, or nothing but room set aside follows.
    End,
    /// The file ends within a frame with records that begins here, or something follows room that was never written.
    Torn(u64),
    /// The file ends within a skippable frame that begins here.
    TornSeal(u64),
    /// There is no sound frame here, for this reason.
    Bad(u64, &'static str),
}

/// A walk over one segment.
pub(crate) struct Scanner {
    file: File,
    at: u64,
    buffer: Vec<u8>,
    /// Offset in the file of the buffer's first byte.
    base: u64,
    unframer: Unframer,
    content: Vec<u8>,
}

impl Scanner {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: File::open(path)?,
            at: 0,
            buffer: Vec::new(),
            base: 0,
            unframer: Unframer::new()?,
            content: Vec::new(),
        })
    }

    pub(crate) const fn file(&self) -> &File {
        &self.file
    }

    /// Goes on at `offset`, which must be a frame's.
    pub(crate) const fn seek(&mut self, offset: u64) {
        self.at = offset;
    }

    /// Where the next step is.
    pub(crate) const fn offset(&self) -> u64 {
        self.at
    }

    /// The canonical records of the last frame.
    pub(crate) fn content(&self) -> &[u8] {
        &self.content
    }

    /// The next frame.
    pub(crate) fn step(&mut self) -> io::Result<Step> {
        let start = self.at;
        let mut need = 0;
        loop {
            if need > 0 && !self.fill(need)? {
                let size = self.file.metadata()?.len();
                return Ok(if size <= start { Step::End } else { Step::Torn(start) });
            }
            if self.window().starts_with(&BLANK) {
                return self.blank(start);
            }
            match frame::measure(self.window()) {
                Measure::More(least) if least > need => need = least,
                Measure::More(_) => return Ok(Step::Bad(start, "the frame cannot be measured")),
                Measure::Bad(why) => return Ok(Step::Bad(start, why)),
                Measure::Skippable { length, magic } => return self.skip(start, length as u64, magic),
                Measure::Records { length, content } => return Ok(self.decode(start, length, content)),
            }
        }
    }

    fn window(&self) -> &[u8] {
        let skip = self.at.checked_sub(self.base).and_then(|skip| usize::try_from(skip).ok());
        skip.and_then(|skip| self.buffer.get(skip..)).unwrap_or(&[])
    }

    /// Sees to it that `need` bytes from here on are in the buffer; `false` if the file does not have them.
    fn fill(&mut self, need: usize) -> io::Result<bool> {
        if self.window().len() >= need {
            return Ok(true);
        }
        let left = self.file.metadata()?.len().saturating_sub(self.at);
        if left < need as u64 {
            return Ok(false);
        }
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(need.max(CHUNK));
        self.buffer.resize(want, 0);
        self.file.read_exact_at(&mut self.buffer, self.at)?;
        self.base = self.at;
        Ok(true)
    }

    /// What is set aside and not yet written reads as zeros to the file's end.
    fn blank(&self, start: u64) -> io::Result<Step> {
        Ok(if data_end(&self.file, start)? == start { Step::End } else { Step::Torn(start) })
    }

    fn skip(&mut self, start: u64, length: u64, magic: u32) -> io::Result<Step> {
        if start + length > self.file.metadata()?.len() {
            return Ok(Step::TornSeal(start));
        }
        self.at = start + length;
        Ok(Step::Skippable(start, magic))
    }

    fn decode(&mut self, start: u64, length: usize, content: usize) -> Step {
        let skip = usize::try_from(self.at.saturating_sub(self.base)).unwrap_or(usize::MAX);
        let frame = self.buffer.get(skip..).and_then(|rest| rest.get(..length)).unwrap_or(&[]);
        match self.unframer.decode(frame, content, &mut self.content) {
            Ok(()) => {
                self.at = start + length as u64;
                Step::Records(start, self.at)
            }
            Err(why) => Step::Bad(start, why),
        }
    }
}

/// Where in `file` the zeros begin that it ends with, not before `from`.
pub(crate) fn data_end(file: &File, from: u64) -> io::Result<u64> {
    let (mut end, mut chunk) = (file.metadata()?.len(), vec![0; CHUNK]);
    while end > from {
        let start = end.saturating_sub(CHUNK as u64).max(from);
        let part = &mut chunk[..usize::try_from(end - start).map_err(io::Error::other)?];
        file.read_exact_at(part, start)?;
        if let Some(last) = part.iter().rposition(|byte| *byte != 0) {
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(from)
}

/// The records in a frame's content: head, body and the bytes that are hashed.
pub(crate) fn records(content: &[u8]) -> impl Iterator<Item = Result<(Head, &[u8], &[u8]), Malformed>> {
    let mut reader = Reader::new(content);
    std::iter::from_fn(move || {
        if reader.is_empty() {
            return None;
        }
        let start = reader.offset();
        let read = canonical::read(&mut reader);
        if read.is_err() {
            reader.rest();
        }
        Some(read.map(|(head, body)| (head, body, &content[start..reader.offset()])))
    })
}

/// Adds all records of a frame at `range` to `tally` and follows which sessions are `open`. On error nothing is changed.
pub(crate) fn tally_frame(
    content: &[u8],
    range: (u64, u64),
    tally: &mut Tally,
    open: &mut HashSet<SessionId>,
) -> Result<(), Malformed> {
    let found = records(content).collect::<Result<Vec<_>, _>>()?;
    for (head, body, record) in found {
        tally.add(blake3::hash(record).as_bytes(), record.len() as u64, (head.time, head.time));
        let session = head.exchange.session;
        if head.content != Content::Header {
            tally.index(session, 1, range);
        }
        match (head.content == Content::Evidence).then(|| evidence::mark(body)).flatten() {
            Some(Mark::Opened) => drop(open.insert(session)),
            Some(Mark::Closed) => drop(open.remove(&session)),
            None => {}
        }
    }
    Ok(())
}
