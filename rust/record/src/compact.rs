//! Compressing a sealed segment at leisure.
//!
//! Hashes cover canonical records, so the root and with it the chain of seals stay what they are; only the frames and the
//! index of where sessions are change. Nothing on the way of a client's bytes waits for this.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use zstd::bulk::Compressor;

use crate::read::Damage;
use crate::scan::{Scanner, Step, tally_frame};
use crate::segment::{Seal, SegmentName, Tally};

/// Content of one compressed frame, in bytes: large enough to compress well, small enough to read one session from.
const CONTENT: usize = 1 << 20;

/// Compresses the sealed segment `name` in `store` with zstd at `level` (1 to 19), replacing its file at once when all of
/// the new one is on the disk. Returns the bytes it took before and takes now.
///
/// # Errors
/// The segment is not sealed, is not what was sealed, or the new file cannot be written. Then the old one stays.
pub fn segment(store: &Path, name: &SegmentName, level: i32) -> Result<(u64, u64), Damage> {
    let path = name.path(store);
    let fresh = path.with_extension("compact");
    let done = write(&path, &fresh, level).map_err(|error| Damage::new(name, 0, error.to_string()));
    if done.is_err() {
        let _ = std::fs::remove_file(&fresh);
    }
    done
}

fn write(path: &Path, fresh: &Path, level: i32) -> io::Result<(u64, u64)> {
    let mut scanner = Scanner::open(path)?;
    let (old, end) = Seal::find(scanner.file())?.ok_or(io::Error::other("only a sealed segment is compressed"))?;
    let before = scanner.file().metadata()?.len();
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(fresh)?;
    let mut copy = Copy::new(file, level)?;
    while scanner.offset() < end {
        match scanner.step()? {
            Step::Records(..) => copy.add(scanner.content())?,
            Step::Skippable(..) => {}
            step => return Err(io::Error::other(format!("the segment is damaged ({step:?})"))),
        }
    }
    let after = copy.finish(old)?;
    std::fs::rename(fresh, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())?;
    Ok((before, after))
}

/// The new file.
struct Copy {
    file: File,
    at: u64,
    compressor: Compressor<'static>,
    content: Vec<u8>,
    tally: Tally,
}

impl Copy {
    fn new(file: File, level: i32) -> io::Result<Self> {
        let mut compressor = Compressor::new(level)?;
        compressor.include_checksum(true)?;
        Ok(Self { file, at: 0, compressor, content: Vec::new(), tally: Tally::default() })
    }

    fn add(&mut self, records: &[u8]) -> io::Result<()> {
        if self.content.len() + records.len() > CONTENT {
            self.flush()?;
        }
        self.content.extend_from_slice(records);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.content.is_empty() {
            return Ok(());
        }
        let frame = self.compressor.compress(&self.content)?;
        self.file.write_all(&frame)?;
        let range = (self.at, self.at + frame.len() as u64);
        tally_frame(&self.content, range, &mut self.tally, &mut HashSet::new()).map_err(io::Error::other)?;
        self.at = range.1;
        self.content.clear();
        Ok(())
    }

    fn finish(mut self, old: Seal) -> io::Result<u64> {
        self.flush()?;
        let seal = Seal { open: old.open, ..self.tally.seal(std::iter::empty()) };
        if seal.root != old.root {
            return Err(io::Error::other("the segment's records are not those that were sealed"));
        }
        let frame = seal.frame()?;
        self.file.write_all(&frame)?;
        self.file.sync_all()?;
        Ok(self.at + frame.len() as u64)
    }
}
