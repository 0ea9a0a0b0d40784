//! The growing end of one node's segments of one kind: append, roll, seal, and what to do when the disk says no.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{Exchange, Fault, FaultKind, SessionId, Whose};
use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use crate::canonical::{self, Content, Head};
use crate::clock;
use crate::evidence::Mark;
use crate::frame;
use crate::segment::{FORMAT, Header, SegmentName, Tally};
use crate::window::Window;

/// After a failure nothing touches the disk for this long.
const RETRY: Duration = Duration::from_secs(1);
/// Part of a segment that only the ends of sessions may use once no new segment can be had: one in this many bytes.
const RESERVE: u64 = 16;
/// Commits up to this are copied into a mapping, in bytes; touching many new pages there costs more than one write.
const COPIED: usize = 16 << 10;

/// One commit: frames of one session, and what they hold.
#[derive(Debug, Default)]
pub(crate) struct Commit<'a> {
    pub session: Option<SessionId>,
    /// Whole frames, in order.
    pub frames: &'a [u8],
    /// Hashes of the canonical records in the frames, concatenated.
    pub leaves: &'a [u8],
    /// Bytes of the canonical records.
    pub canonical: u64,
    /// Times of the first and the last record.
    pub times: (u64, u64),
    /// Whether the session is open after this.
    pub mark: Option<Mark>,
}

/// The segment that is being written.
#[derive(Debug)]
struct Open {
    file: Arc<File>,
    /// End of the last whole frame, in bytes.
    at: u64,
    /// Bytes set aside for this file on the disk.
    room: u64,
    /// Whether those bytes are really set aside, so that writing to them cannot meet a full disk.
    reserved: bool,
    /// Where small commits are copied to.
    window: Option<Window>,
    /// A failed write may have left bytes after `at`.
    ragged: bool,
    tally: Tally,
}

/// A file whose data must reach the disk; a folder whose entries must.
pub(crate) type Dirty = Vec<Arc<File>>;

/// The growing end.
#[derive(Debug)]
pub(crate) struct Chain {
    store: Arc<Path>,
    /// The segment that is, or will next be, written.
    next: SegmentName,
    segment_bytes: u64,
    /// The root of the last sealed segment.
    previous: Option<String>,
    current: Option<Open>,
    open_sessions: HashSet<SessionId>,
    failed: Option<(Instant, String)>,
    closed: bool,
    written: u64,
    records: u64,
    dirty: Dirty,
}

impl Chain {
    /// The growing end after the segments that are there: `next` is not, `previous` is the root of the one before it,
    /// and `open_sessions` were open at its end.
    pub(crate) fn new(
        store: Arc<Path>,
        next: SegmentName,
        segment_bytes: u64,
        previous: Option<String>,
        open_sessions: HashSet<SessionId>,
    ) -> Self {
        Self {
            store,
            next,
            segment_bytes,
            previous,
            current: None,
            open_sessions,
            failed: None,
            closed: false,
            written: 0,
            records: 0,
            dirty: Vec::new(),
        }
    }

    /// Appends a commit with one copy or write. When this returns `Ok`, the kernel has the bytes; the number is how many bytes
    /// this chain has been given so far.
    pub(crate) fn append(&mut self, commit: &Commit<'_>) -> Result<u64, Fault> {
        self.admit()?;
        match self.try_append(commit) {
            Ok(()) => {
                self.failed = None;
                Ok(self.written)
            }
            Err(error) => Err(self.fail(&error)),
        }
    }

    /// Begins the first segment, so that a store that cannot be written shows at the start.
    pub(crate) fn begin(&mut self) -> Result<(), Fault> {
        self.open_next(0).map_err(|error| self.fail(&error))
    }

    /// Seals the current segment. Nothing can be appended afterwards.
    pub(crate) fn close(&mut self) -> Result<(), Fault> {
        self.closed = true;
        self.seal().map_err(|error| unrecordable(&error.to_string()))
    }

    /// Bytes given so far, and the files to sync so that they are on the disk, if `durable` of them already are.
    pub(crate) fn take_dirty(&mut self, durable: u64) -> (u64, Dirty) {
        let mut dirty = std::mem::take(&mut self.dirty);
        if self.written != durable {
            dirty.extend(self.current.as_ref().map(|open| Arc::clone(&open.file)));
        }
        (self.written, dirty)
    }

    /// Bytes and records given so far.
    pub(crate) const fn counts(&self) -> (u64, u64) {
        (self.written, self.records)
    }

    /// Why the chain cannot be written now, if it cannot. A while after a failed write nobody knows: the next one tells.
    pub(crate) fn failure(&self) -> Option<Fault> {
        self.admit().err()
    }

    fn admit(&self) -> Result<(), Fault> {
        if self.closed {
            return Err(unrecordable("it is closed"));
        }
        match &self.failed {
            Some((since, why)) if since.elapsed() < RETRY => Err(unrecordable(why)),
            _ => Ok(()),
        }
    }

    fn fail(&mut self, error: &io::Error) -> Fault {
        let why = error.to_string();
        let fault = unrecordable(&why);
        self.failed = Some((Instant::now(), why));
        fault
    }

    fn try_append(&mut self, commit: &Commit<'_>) -> io::Result<()> {
        let need = commit.frames.len() as u64;
        if !self.fits(need, RESERVE) {
            match self.open_next(need) {
                Err(_) if commit.mark == Some(Mark::Closed) && self.fits(need, u64::MAX) => {}
                other => other?,
            }
        }
        let Some(open) = &mut self.current else { return Err(io::Error::other("no segment is open")) };
        open.write(commit)?;
        self.written += need;
        self.records += (commit.leaves.len() / blake3::OUT_LEN) as u64;
        match (commit.mark, commit.session) {
            (Some(Mark::Opened), Some(session)) => drop(self.open_sessions.insert(session)),
            (Some(Mark::Closed), Some(session)) => drop(self.open_sessions.remove(&session)),
            _ => {}
        }
        Ok(())
    }

    /// Whether `need` bytes fit the current segment, with room left for its seal and one part in `reserve` of it.
    fn fits(&self, need: u64, reserve: u64) -> bool {
        let Some(open) = &self.current else { return false };
        let seal = open.tally.seal_bytes(self.open_sessions.len() + 1) + 256;
        open.at + need + seal + open.room / reserve <= open.room
    }

    /// Opens the next segment with room for `need` bytes, then seals the current one. In this order: a disk without room
    /// for another segment leaves the current one as it is.
    fn open_next(&mut self, need: u64) -> io::Result<()> {
        let room = self.segment_bytes.max(need.saturating_mul(2).saturating_add(4096));
        let mut name = self.next.clone();
        name.sequence += u64::from(self.current.is_some());
        let path = name.path(&self.store);
        let (file, reserved) = create(&path, room)?;
        let opened = self.seal().and_then(|()| self.head(file, room, reserved, &name));
        match opened {
            Ok(open) => {
                self.next = name;
                self.dirty.push(Arc::clone(&open.file));
                if let Some(folder) = path.parent() {
                    self.dirty.push(Arc::new(File::open(folder)?));
                }
                self.current = Some(open);
                Ok(())
            }
            Err(error) => {
                let _ = std::fs::remove_file(&path);
                Err(error)
            }
        }
    }

    fn head(&self, file: File, room: u64, reserved: bool, name: &SegmentName) -> io::Result<Open> {
        let created = clock::now();
        let header = Header {
            format: FORMAT,
            node: name.node.clone(),
            kind: name.kind.name().to_owned(),
            sequence: name.sequence,
            created,
            previous: self.previous.clone(),
            key: None,
        };
        let exchange = Exchange { session: SessionId([0; 16]), channel: 0, id: 0 };
        let head = Head { content: Content::Header, exchange, time: created };
        let mut frames = Vec::new();
        let start = frame::begin(&mut frames);
        let record = canonical::append(&mut frames, &head, |out| serde_json::to_writer(out, &header))?;
        let canonical = (frames.len() - record) as u64;
        let leaf = blake3::hash(&frames[record..]);
        frame::end(&mut frames, start);
        let mut open = Open::new(file, room, reserved);
        open.write(&Commit {
            frames: &frames,
            leaves: leaf.as_bytes(),
            canonical,
            times: (created, created),
            ..Commit::default()
        })?;
        Ok(open)
    }

    /// Seals the current segment, if there is one, and lets go of it.
    fn seal(&mut self) -> io::Result<()> {
        let Some(open) = &mut self.current else { return Ok(()) };
        let seal = open.tally.seal(self.open_sessions.iter());
        open.append(&seal.frame()?)?;
        open.window = None;
        // Gives back what was set aside and not used.
        open.file.set_len(open.at)?;
        self.previous = Some(seal.root);
        self.dirty.push(Arc::clone(&open.file));
        self.current = None;
        self.next.sequence += 1;
        Ok(())
    }
}

impl Open {
    fn new(file: File, room: u64, reserved: bool) -> Self {
        let file = Arc::new(file);
        Self { file, at: 0, room, reserved, window: None, ragged: false, tally: Tally::default() }
    }

    fn write(&mut self, commit: &Commit<'_>) -> io::Result<()> {
        let start = self.at;
        self.append(commit.frames)?;
        self.tally.add(commit.leaves, commit.canonical, commit.times);
        if let Some(session) = commit.session {
            self.tally.index(session, (commit.leaves.len() / blake3::OUT_LEN) as u64, (start, self.at));
        }
        Ok(())
    }

    /// Adds bytes behind the last whole frame; what a failed write left there is cut off first.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.ragged {
            self.cut()?;
            self.ragged = false;
        }
        if !self.copy(bytes)
            && let Err(error) = self.file.write_all_at(bytes, self.at)
        {
            self.ragged = self.cut().is_err();
            return Err(error);
        }
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Copies a small commit into the window, which moves on with the segment's end; `false` if it must be written.
    fn copy(&mut self, bytes: &[u8]) -> bool {
        if !self.reserved || bytes.len() > COPIED || self.at + bytes.len() as u64 > self.room {
            return false;
        }
        if self.window.as_mut().is_some_and(|window| window.write(bytes, self.at)) {
            return true;
        }
        // The old one goes first: a large write may have gone past it.
        self.window = None;
        self.window = Window::open(&self.file, self.at, self.room).ok();
        self.window.as_mut().is_some_and(|window| window.write(bytes, self.at))
    }

    /// Cuts the file behind the last whole frame.
    fn cut(&mut self) -> io::Result<()> {
        self.window = None;
        self.file.set_len(self.at)
    }
}

/// Creates a segment's file and sets `room` bytes aside for it without changing its length, so that a full disk shows
/// here and not in the middle of a write. Whether they are really set aside is also returned.
fn create(path: &Path, room: u64) -> io::Result<(File, bool)> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
    match rustix::fs::fallocate(&file, FallocateFlags::KEEP_SIZE, 0, room) {
        Ok(()) => Ok((file, true)),
        // Some network and stacked file systems cannot set room aside; there, each write finds out for itself.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok((file, false)),
        Err(error) => {
            let _ = std::fs::remove_file(path);
            Err(error.into())
        }
    }
}

/// The fault of a trail that cannot be written because of `why`.
pub(crate) fn unrecordable(why: &str) -> Fault {
    Fault::new(Whose::Gateway, FaultKind::Unrecordable, format!("the gateway's trail cannot be written: {why}"))
        .hint("the gateway's operator must give the trail's store room and access again; then retry")
}
