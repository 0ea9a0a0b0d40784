//! A segment file: its name, its header record, and the seal that ends it.
//!
//! `store/<kind>/<node>-<kind>-<sequence in 16 hex digits>.seg` begins with a header record and ends, once sealed, with a
//! skippable frame: the seal's JSON, its length (u32, big-endian) and eight magic bytes, so that the seal is found from
//! the end. The seal's root covers every record; the next segment's header names it, which chains a node's segments.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use model::SessionId;
use serde::{Deserialize, Serialize};

use crate::canonical::Kind;
use crate::frame;

/// The version of the segment format.
pub(crate) const FORMAT: u32 = 1;
const SEAL_END: &[u8; 8] = b"penseal1";
/// Ranges kept per session; after that the last one grows over what lies between.
const RANGES: usize = 256;
/// No seal is believed beyond this, in bytes.
const LONGEST_SEAL: u64 = 256 << 20;

/// Names one segment of a trail.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SegmentName {
    /// The node that wrote it.
    pub node: String,
    /// What it holds.
    pub kind: Kind,
    /// Counts from 1 within the node and kind.
    pub sequence: u64,
}

impl SegmentName {
    /// The file's name.
    #[must_use]
    pub fn file(&self) -> String {
        format!("{}-{}-{:016x}.seg", self.node, self.kind.name(), self.sequence)
    }

    /// The file's path in `store`.
    #[must_use]
    pub fn path(&self, store: &Path) -> PathBuf {
        store.join(self.kind.name()).join(self.file())
    }

    /// The name that `file` spells, if it is a segment's.
    #[must_use]
    pub fn parse(file: &str) -> Option<Self> {
        let mut parts = file.strip_suffix(".seg")?.rsplitn(3, '-');
        let (sequence, kind, node) = (parts.next()?, parts.next()?, parts.next()?);
        let kind = Kind::ALL.into_iter().find(|known| known.name() == kind)?;
        let sequence = u64::from_str_radix(sequence, 16).ok()?;
        let name = Self { node: node.to_owned(), kind, sequence };
        (name.file() == file).then_some(name)
    }
}

/// The body of a segment's first record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    pub format: u32,
    pub node: String,
    pub kind: String,
    pub sequence: u64,
    /// Microseconds of Unix time.
    pub created: u64,
    /// The root of the segment before, in hex; `None` for a node's first.
    pub previous: Option<String>,
    /// The id of the key that encrypts or signs this segment; none does in this version.
    pub key: Option<String>,
}

/// Where a session's records are: how many, and the byte ranges of whole frames that hold them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub(crate) struct Entry {
    pub records: u64,
    pub ranges: Vec<(u64, u64)>,
}

/// What stands at the end of a sealed segment. Everything but the root can be derived again from the records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seal {
    pub format: u32,
    pub records: u64,
    /// Bytes of canonical records.
    pub bytes: u64,
    /// BLAKE3 over the BLAKE3 of each canonical record, in hex.
    pub root: String,
    /// Times of the earliest and latest record, in microseconds of Unix time.
    pub first: u64,
    pub last: u64,
    pub sessions: HashMap<String, Entry>,
    /// Sessions that were open when the segment was sealed, whatever segment they began in (evidence only).
    pub open: Vec<String>,
}

impl Seal {
    /// The seal as the frame that ends a segment.
    pub(crate) fn frame(&self) -> io::Result<Vec<u8>> {
        let mut content = serde_json::to_vec(self)?;
        let length = u32::try_from(content.len()).map_err(io::Error::other)?;
        content.extend_from_slice(&length.to_be_bytes());
        content.extend_from_slice(SEAL_END);
        let mut out = Vec::with_capacity(content.len() + 8);
        frame::append_skippable(frame::SEAL, &content, &mut out);
        Ok(out)
    }

    /// The seal at the end of `file`, and the offset at which its frame begins. `None` if the segment is not sealed.
    pub(crate) fn find(file: &File) -> io::Result<Option<(Self, u64)>> {
        let Some((start, length)) = locate(file)? else { return Ok(None) };
        let mut json = vec![0; length];
        file.read_exact_at(&mut json, start + 8)?;
        Ok(serde_json::from_slice(&json).ok().map(|seal| (seal, start)))
    }

    /// Whether `file` ends like a sealed segment.
    pub(crate) fn exists(file: &File) -> io::Result<bool> {
        locate(file).map(|found| found.is_some())
    }
}

/// Where the seal's frame begins and how long its JSON is, both in bytes.
fn locate(file: &File) -> io::Result<Option<(u64, usize)>> {
    let size = file.metadata()?.len();
    let Some(end) = size.checked_sub(12) else { return Ok(None) };
    let mut tail = [0; 12];
    file.read_exact_at(&mut tail, end)?;
    let Some((length, magic)) = tail.split_first_chunk::<4>() else { return Ok(None) };
    let length = u64::from(u32::from_be_bytes(*length));
    if magic != SEAL_END || length > LONGEST_SEAL {
        return Ok(None);
    }
    let Some(start) = end.checked_sub(length + 8) else { return Ok(None) };
    let mut front = [0; 8];
    file.read_exact_at(&mut front, start)?;
    let expected = frame::Measure::Skippable { length: usize::try_from(length + 20).unwrap_or(0), magic: frame::SEAL };
    let found = frame::measure(&front) == expected;
    Ok(found.then_some((start, usize::try_from(length).unwrap_or(0))))
}

/// Everything known about a segment's records while they are written or scanned; becomes its seal.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    root: blake3::Hasher,
    records: u64,
    bytes: u64,
    first: Option<u64>,
    last: u64,
    sessions: HashMap<SessionId, Entry, ahash::RandomState>,
    ranges: usize,
}

impl Tally {
    /// Adds records to the root: `leaves` is the concatenated hashes of canonical records that take `bytes` together,
    /// the first and the last written at `times`.
    pub(crate) fn add(&mut self, leaves: &[u8], bytes: u64, times: (u64, u64)) {
        self.root.update(leaves);
        self.records += (leaves.len() / blake3::OUT_LEN) as u64;
        self.bytes += bytes;
        self.first = Some(self.first.map_or(times.0, |first| first.min(times.0)));
        self.last = self.last.max(times.1);
    }

    /// Notes that `range` of the file holds `records` records of `session`.
    pub(crate) fn index(&mut self, session: SessionId, records: u64, range: (u64, u64)) {
        let entry = self.sessions.entry(session).or_default();
        entry.records += records;
        let full = entry.ranges.len() >= RANGES;
        match entry.ranges.last_mut() {
            Some(last) if last.1 >= range.0 || full => last.1 = range.1,
            _ => {
                entry.ranges.push(range);
                self.ranges += 1;
            }
        }
    }

    /// An upper bound of the seal's frame in bytes, if `open` sessions are open.
    pub(crate) fn seal_bytes(&self, open: usize) -> u64 {
        (512 + self.sessions.len() * 90 + self.ranges * 44 + open * 30) as u64
    }

    /// How many records there are.
    pub(crate) const fn records(&self) -> u64 {
        self.records
    }

    /// The seal of what was added so far.
    pub(crate) fn seal<'a>(&self, open: impl Iterator<Item = &'a SessionId>) -> Seal {
        Seal {
            format: FORMAT,
            records: self.records,
            bytes: self.bytes,
            root: self.root.finalize().to_hex().to_string(),
            first: self.first.unwrap_or(0),
            last: self.last,
            sessions: self.sessions.iter().map(|(id, entry)| (id.to_string(), entry.clone())).collect(),
            open: open.map(ToString::to_string).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_and_others_are_refused() {
        let name = SegmentName { node: "eu-west-1".into(), kind: Kind::Payload, sequence: 0x1f };
        assert_eq!(name.file(), "eu-west-1-payload-000000000000001f.seg");
        assert_eq!(SegmentName::parse(&name.file()), Some(name));
        for file in ["", "a-payload-1.seg", "a-payload-000000000000001F.seg", "a-other-0000000000000001.seg", "x.torn"]
        {
            assert_eq!(SegmentName::parse(file), None, "{file}");
        }
    }

    #[test]
    fn many_ranges_become_few() {
        let mut tally = Tally::default();
        let session = SessionId([1; 16]);
        for place in 0..1000 {
            tally.index(session, 1, (place * 10, place * 10 + 5));
        }
        let seal = tally.seal(std::iter::empty());
        let entry = &seal.sessions[&session.to_string()];
        assert_eq!(entry.records, 1000);
        assert_eq!(entry.ranges.len(), RANGES);
        assert_eq!(entry.ranges.last().unwrap().1, 9995);
        assert!((seal.frame().unwrap().len() as u64) < tally.seal_bytes(0));
    }
}
