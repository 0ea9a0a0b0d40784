//! Whether a trail is what was written: checksums, hashes, sequence, and the chain of seals.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use model::{Exchange, SessionId};
use serde::Serialize;

use crate::canonical::{Content, Direction, Kind};
use crate::evidence::Answered;
use crate::frame;
use crate::read::{self, Damage, Query};
use crate::scan::{Scanner, Step, records, tally_frame};
use crate::segment::{FORMAT, Header, Seal, SegmentName, Tally};

/// What verifying a trail found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    /// Segments read.
    pub segments: u64,
    /// Segments without a seal: being written, or left by a crash and not yet recovered.
    pub unsealed: u64,
    /// Records read.
    pub records: u64,
    /// Bytes of canonical records read.
    pub bytes: u64,
    /// Answers whose payload matches the hash in their evidence.
    pub answers: u64,
    /// Answers whose payload is not in the store: kept as a digest only, or past its retention.
    pub absent: u64,
    /// Everything that is not as it was written. Empty means that the trail is sound.
    pub problems: Vec<Problem>,
}

/// Something in a trail that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The segment's file name.
    pub segment: String,
    /// Offset in the file in bytes.
    pub offset: u64,
    /// What is wrong there.
    pub what: String,
}

impl From<Damage> for Problem {
    fn from(damage: Damage) -> Self {
        Self { segment: damage.segment, offset: damage.offset, what: damage.what }
    }
}

/// Reads the whole trail and checks it.
///
/// # Errors
/// The store cannot be read at all. What is wrong within it is in the report.
pub fn verify(store: &Path) -> Result<Report, Damage> {
    let mut report = Report::default();
    let mut before: Option<Before> = None;
    for name in read::segments(store)? {
        let same = before.take().filter(|last| last.name.node == name.node && last.name.kind == name.kind);
        before = Some(segment(store, name, same, &mut report));
    }
    payloads(store, &mut report)?;
    Ok(report)
}

impl Report {
    fn problem(&mut self, name: &SegmentName, offset: u64, what: impl Into<String>) {
        self.problems.push(Damage::new(name, offset, what).into());
    }
}

/// What the next segment of a chain must agree with.
struct Before {
    name: SegmentName,
    /// The root in its seal, if it is sealed.
    root: Option<String>,
    /// Sessions open at its end, if the chain is known from its beginning.
    open: Option<HashSet<SessionId>>,
}

/// Checks one segment by itself and against the one `before` it.
fn segment(store: &Path, name: SegmentName, before: Option<Before>, report: &mut Report) -> Before {
    report.segments += 1;
    let known = before.as_ref().and_then(|before| before.open.clone());
    let walked = match walk(store, &name, known.clone().unwrap_or_default(), report) {
        Ok(walked) => walked,
        Err(error) => {
            report.problem(&name, 0, error.to_string());
            return Before { name, root: None, open: None };
        }
    };
    let whole = known.is_some() || walked.header.as_ref().is_some_and(|header| header.previous.is_none());
    let found = walked.tally.seal(walked.open.iter());
    report.records += found.records;
    report.bytes += found.bytes;
    header(&name, walked.header, before, report);
    match &walked.seal {
        None => report.unsealed += 1,
        Some(seal) if walked.sound => compare(&name, seal, found, whole, walked.end, report),
        Some(_) => {}
    }
    Before { name, root: walked.seal.map(|seal| seal.root), open: whole.then_some(walked.open) }
}

/// Checks a seal against what was found: the records, and everything that is derived from them.
fn compare(name: &SegmentName, seal: &Seal, mut found: Seal, whole: bool, at: u64, report: &mut Report) {
    if (seal.records, seal.bytes, &seal.root) != (found.records, found.bytes, &found.root) {
        return report.problem(name, at, "the segment's records are not those that were sealed");
    }
    let mut seal = seal.clone();
    seal.open.sort_unstable();
    found.open.sort_unstable();
    if !whole {
        found.open.clone_from(&seal.open);
    }
    if seal != found {
        report.problem(name, at, "the segment's index does not match its records");
    }
}

fn header(name: &SegmentName, header: Option<Header>, before: Option<Before>, report: &mut Report) {
    let Some(header) = header else {
        return report.problem(name, 0, "the segment does not begin with a header");
    };
    let named = (header.node.as_str(), header.kind.as_str(), header.sequence);
    if header.format != FORMAT || named != (&name.node, name.kind.name(), name.sequence) {
        report.problem(name, 0, "the header belongs to another segment, or to a later version");
    }
    // The first segment that retention left names one that is gone; that is not a gap.
    let Some(Before { name: last, root, .. }) = before else { return };
    if last.sequence + 1 != name.sequence {
        report.problem(name, 0, format!("segments are missing after {}", last.file()));
    } else if root.is_none() {
        report.problem(name, 0, format!("the segment before, {}, has no seal", last.file()));
    } else if header.previous != root {
        report.problem(name, 0, format!("the header names another seal than that of {}", last.file()));
    }
}

/// What one segment holds.
struct Walked {
    tally: Tally,
    open: HashSet<SessionId>,
    header: Option<Header>,
    seal: Option<Seal>,
    /// Whether every frame could be read.
    sound: bool,
    end: u64,
}

fn walk(store: &Path, name: &SegmentName, mut open: HashSet<SessionId>, report: &mut Report) -> io::Result<Walked> {
    let mut scanner = Scanner::open(&name.path(store))?;
    let mut tally = Tally::default();
    let found = Seal::find(scanner.file())?;
    let sealed_at = found.as_ref().map(|(_, at)| *at);
    let (mut first, mut sound) = (None, true);
    let end = loop {
        let offset = scanner.offset();
        let what = match scanner.step()? {
            Step::Records(from, to) => {
                first = first.or_else(|| Some(header_in(scanner.content())));
                match tally_frame(scanner.content(), (from, to), &mut tally, &mut open) {
                    Ok(()) => continue,
                    Err(malformed) => malformed.to_string(),
                }
            }
            Step::Skippable(at, frame::SEAL) if sealed_at == Some(at) => break at,
            Step::Skippable(_, frame::SEAL) => "a seal that is not at the end".to_owned(),
            Step::Skippable(..) => "a frame that no trail has".to_owned(),
            Step::End | Step::Torn(_) if sealed_at.is_none() => break offset,
            Step::TornSeal(_) => "the seal is cut short: by a crash that is not yet recovered, or by hand".to_owned(),
            Step::End | Step::Torn(_) => "the segment ends within a frame".to_owned(),
            Step::Bad(_, why) => why.to_owned(),
        };
        report.problem(name, offset, what);
        sound = false;
        break offset;
    };
    Ok(Walked { tally, open, header: first.flatten(), seal: found.map(|(seal, _)| seal), sound, end })
}

fn header_in(content: &[u8]) -> Option<Header> {
    let (head, body, _) = records(content).next()?.ok()?;
    if head.content == Content::Header { serde_json::from_slice(body).ok() } else { None }
}

/// An answer whose payload and evidence have not both been read. Sessions race for the segments, so in a reading of the
/// whole trail either may come first.
#[derive(Default)]
struct Pending {
    hasher: Option<blake3::Hasher>,
    /// Hash and count of bytes in the evidence, and where that is.
    said: Option<(Arc<str>, u64, Arc<SegmentName>, u64)>,
}

/// Checks that what evidence says was delivered is what the payload holds.
fn payloads(store: &Path, report: &mut Report) -> Result<(), Damage> {
    let mut pending: HashMap<Exchange, Pending> = HashMap::new();
    // Damage was reported when its segment was walked.
    for record in read::records(store, Query::default())?.flatten() {
        if record.content == Content::Payload(Direction::ToClient) {
            let answer = pending.entry(record.exchange).or_default();
            answer.hasher.get_or_insert_default().update(&record.body);
        } else if let Some(Answered { hash: Some(hash), bytes, .. }) = record.parse() {
            let answer = pending.entry(record.exchange).or_default();
            answer.said = Some((hash.into(), bytes, record.segment, record.offset));
        } else {
            continue;
        }
        if pending.get(&record.exchange).is_some_and(Pending::is_whole)
            && let Some(answer) = pending.remove(&record.exchange)
        {
            answer.check(record.exchange, report);
        }
    }
    // Payload without evidence is an answer that a crash cut short; evidence without payload is checked here.
    for (exchange, answer) in pending {
        answer.check(exchange, report);
    }
    Ok(())
}

impl Pending {
    fn is_whole(&self) -> bool {
        match (&self.hasher, &self.said) {
            (Some(hasher), Some((_, bytes, ..))) => hasher.count() >= *bytes,
            _ => false,
        }
    }

    fn check(self, exchange: Exchange, report: &mut Report) {
        let Some((hash, _, segment, offset)) = self.said else { return };
        match self.hasher {
            None => report.absent += 1,
            Some(hasher) if hasher.finalize().to_hex().as_str() == hash.as_ref() => report.answers += 1,
            Some(_) => {
                let what = format!("the payload of exchange {exchange} is not what its evidence says");
                report.problem(&segment, offset, what);
            }
        }
    }
}

/// Which kinds of segment a session's records are in, for an index: file names by kind.
pub(crate) fn holders(store: &Path, kind: Kind) -> Result<HashMap<String, Vec<String>>, Damage> {
    let mut holders: HashMap<String, Vec<String>> = HashMap::new();
    for name in read::segments(store)?.into_iter().filter(|name| name.kind == kind) {
        for session in sessions_in(store, &name).map_err(|error| Damage::new(&name, 0, error.to_string()))? {
            holders.entry(session).or_default().push(name.file());
        }
    }
    Ok(holders)
}

/// The sessions in a segment: from its seal, or from its records if it has none.
fn sessions_in(store: &Path, name: &SegmentName) -> io::Result<Vec<String>> {
    let mut scanner = Scanner::open(&name.path(store))?;
    let seal = match Seal::find(scanner.file())? {
        Some((seal, _)) => seal,
        None => {
            let (mut tally, mut open) = (Tally::default(), HashSet::new());
            while let Step::Records(from, to) = scanner.step()? {
                if tally_frame(scanner.content(), (from, to), &mut tally, &mut open).is_err() {
                    break;
                }
            }
            tally.seal(std::iter::empty())
        }
    };
    Ok(seal.sessions.into_keys().collect())
}
