//! Reading a trail back: by whoever replays, searches or rebuilds an index; also while it is being written.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use model::{Exchange, SessionId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use crate::canonical::{Content, Kind};
use crate::evidence::{self, Evidence};
use crate::recover::list;
use crate::scan::{Scanner, Step, records as frame_records};
use crate::segment::{Seal, SegmentName};

pub use crate::summary::{SessionSummary, sessions};
pub use crate::verify::{Problem, Report, verify};

/// A place of the trail that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The segment's file name, or the store's path.
    pub segment: String,
    /// Offset in the file in bytes.
    pub offset: u64,
    /// What is wrong there.
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "segment {} at byte {}: {}", self.segment, self.offset, self.what)
    }
}

impl std::error::Error for Damage {}

impl Damage {
    pub(crate) fn new(name: &SegmentName, offset: u64, what: impl Into<String>) -> Self {
        Self { segment: name.file(), offset, what: what.into() }
    }

    fn store(store: &Path, error: &io::Error) -> Self {
        Self { segment: store.display().to_string(), offset: 0, what: error.to_string() }
    }
}

/// One record of the trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The segment it is in.
    pub segment: Arc<SegmentName>,
    /// Offset in bytes of the frame that holds it.
    pub offset: u64,
    /// What the body is.
    pub content: Content,
    /// The exchange it belongs to; exchange 0 is the session itself.
    pub exchange: Exchange,
    /// When, in microseconds of Unix time.
    pub time: u64,
    /// A JSON object for evidence, the bytes themselves for payload.
    pub body: Vec<u8>,
}

impl Record {
    /// The kind of evidence, such as `asked`, if it is evidence.
    #[must_use]
    pub fn kind(&self) -> Option<&str> {
        if self.content == Content::Evidence { evidence::kind(&self.body) } else { None }
    }

    /// The body as `T`, if it is evidence of that kind and well-formed.
    #[must_use]
    pub fn parse<T: Evidence + DeserializeOwned>(&self) -> Option<T> {
        if self.kind()? == T::KIND { serde_json::from_slice(&self.body).ok() } else { None }
    }
}

/// Which records to read. Left out means all.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Query {
    /// Of this session only.
    #[serde(deserialize_with = "session")]
    pub session: Option<SessionId>,
    /// Of this kind only.
    #[serde(deserialize_with = "kind")]
    pub kind: Option<Kind>,
    /// Of the exchange with this id only.
    pub exchange: Option<u64>,
    /// Not before this time, in microseconds of Unix time.
    pub from: Option<u64>,
    /// Not after this time, in microseconds of Unix time.
    pub to: Option<u64>,
}

fn session<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SessionId>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| text.parse()).transpose().map_err(serde::de::Error::custom)
}

fn kind<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Kind>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    let found = Kind::ALL.into_iter().find(|kind| kind.name() == text);
    found.map(Some).ok_or_else(|| serde::de::Error::custom("a kind is 'evidence' or 'payload'"))
}

impl Query {
    fn admits(&self, exchange: &Exchange, time: u64) -> bool {
        self.session.is_none_or(|session| session == exchange.session)
            && self.exchange.is_none_or(|id| id == exchange.id)
            && self.from.is_none_or(|from| from <= time)
            && self.to.is_none_or(|to| time <= to)
    }

    /// Whether a sealed segment can hold anything that is asked for.
    fn wants(&self, seal: &Seal) -> bool {
        self.from.is_none_or(|from| from <= seal.last) && self.to.is_none_or(|to| seal.first <= to)
    }
}

/// All segments in `store`, ordered by kind, node and sequence.
///
/// # Errors
/// The store cannot be read.
pub fn segments(store: &Path) -> Result<Vec<SegmentName>, Damage> {
    let mut all = Vec::new();
    for kind in Kind::ALL {
        all.extend(list(store, kind).map_err(|error| Damage::store(store, &error))?);
    }
    Ok(all)
}

/// The records that `query` asks for, by time. With [`Query::session`] set, the order is the one in which they were written.
/// Over all sessions it is nearly so: sessions race for the segments, so neighbours of different sessions, or of different
/// kinds, may have changed places.
///
/// A frame that is damaged is an error in the iteration, after which reading goes on with the next segment. The growing
/// end of a live segment is simply the end.
///
/// # Errors
/// The store cannot be read.
pub fn records(store: &Path, query: Query) -> Result<Records, Damage> {
    let mut streams: Vec<Stream> = Vec::new();
    for name in segments(store)? {
        if query.kind.is_some_and(|kind| kind != name.kind) {
            continue;
        }
        match streams.iter_mut().find(|stream| stream.node == name.node && stream.kind == name.kind) {
            Some(stream) => stream.segments.push_back(name),
            None => streams.push(Stream::new(store, name)),
        }
    }
    Ok(Records { query, streams })
}

/// An iteration over the records of a trail.
pub struct Records {
    query: Query,
    streams: Vec<Stream>,
}

impl Iterator for Records {
    type Item = Result<Record, Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        for place in 0..self.streams.len() {
            if let Err(damage) = self.streams[place].peek(&self.query) {
                return Some(Err(damage));
            }
        }
        // Within a session no two times are alike, so there the earliest is the only one.
        let earliest = self.streams.iter_mut().min_by_key(|stream| stream.ready.front().map_or(u64::MAX, |r| r.time));
        earliest.and_then(|stream| stream.ready.pop_front()).map(Ok)
    }
}

/// One node's segments of one kind, in order.
struct Stream {
    store: Arc<Path>,
    node: String,
    kind: Kind,
    segments: VecDeque<SegmentName>,
    current: Option<Reading>,
    ready: VecDeque<Record>,
}

/// A segment that is being read.
struct Reading {
    name: Arc<SegmentName>,
    scanner: Scanner,
    /// Ranges of the file that are left to read; `None` means everything.
    ranges: Option<VecDeque<(u64, u64)>>,
    sealed: bool,
}

impl Stream {
    fn new(store: &Path, first: SegmentName) -> Self {
        let (node, kind) = (first.node.clone(), first.kind);
        Self { store: store.into(), node, kind, segments: [first].into(), current: None, ready: VecDeque::new() }
    }

    /// Reads on until a record is ready or nothing is left.
    fn peek(&mut self, query: &Query) -> Result<(), Damage> {
        while self.ready.is_empty() {
            let Some(reading) = &mut self.current else {
                let Some(name) = self.segments.pop_front() else { return Ok(()) };
                self.current = open(&self.store, name, query)?;
                continue;
            };
            match reading.frame(query, &mut self.ready, self.segments.is_empty()) {
                Ok(true) => {}
                Ok(false) => self.current = None,
                Err(damage) => {
                    self.current = None;
                    return Err(damage);
                }
            }
        }
        Ok(())
    }
}

/// Opens a segment; `None` if its seal says that it holds nothing that is asked for.
fn open(store: &Path, name: SegmentName, query: &Query) -> Result<Option<Reading>, Damage> {
    let failed = |error: io::Error| Damage::new(&name, 0, error.to_string());
    let scanner = Scanner::open(&name.path(store)).map_err(failed)?;
    let seal = Seal::find(scanner.file()).map_err(failed)?;
    let mut ranges = None;
    if let Some((seal, _)) = &seal {
        if !query.wants(seal) {
            return Ok(None);
        }
        if let Some(session) = query.session {
            let entry = seal.sessions.get(&session.to_string()).cloned().unwrap_or_default();
            ranges = Some(entry.ranges.into());
        }
    }
    Ok(Some(Reading { name: Arc::new(name), scanner, ranges, sealed: seal.is_some() }))
}

impl Reading {
    /// Reads one frame; `false` at the segment's end.
    fn frame(&mut self, query: &Query, ready: &mut VecDeque<Record>, last: bool) -> Result<bool, Damage> {
        if !self.seek() {
            return Ok(false);
        }
        let step = self.scanner.step().map_err(|error| self.damage(self.scanner.offset(), error.to_string()))?;
        match step {
            Step::Records(offset, _) => self.take(query, ready, offset).map(|()| true),
            Step::Skippable(..) => Ok(true),
            Step::End => Ok(false),
            Step::Torn(_) | Step::TornSeal(_) if last && !self.sealed => Ok(false),
            Step::Torn(offset) | Step::TornSeal(offset) => Err(self.damage(offset, "the segment ends within a frame")),
            Step::Bad(offset, why) => Err(self.damage(offset, why)),
        }
    }

    /// Goes to the next range that is left; `false` if none is.
    fn seek(&mut self) -> bool {
        let Some(ranges) = &mut self.ranges else { return true };
        while let Some((start, end)) = ranges.front().copied() {
            if self.scanner.offset() < end {
                self.scanner.seek(start.max(self.scanner.offset()));
                return true;
            }
            ranges.pop_front();
        }
        false
    }

    fn take(&self, query: &Query, ready: &mut VecDeque<Record>, offset: u64) -> Result<(), Damage> {
        for record in frame_records(self.scanner.content()) {
            let (head, body, _) = record.map_err(|malformed| self.damage(offset, malformed.to_string()))?;
            if head.content == Content::Header || !query.admits(&head.exchange, head.time) {
                continue;
            }
            ready.push_back(Record {
                segment: Arc::clone(&self.name),
                offset,
                content: head.content,
                exchange: head.exchange,
                time: head.time,
                body: body.to_vec(),
            });
        }
        Ok(())
    }

    fn damage(&self, offset: u64, what: impl Into<String>) -> Damage {
        Damage::new(&self.name, offset, what)
    }
}
