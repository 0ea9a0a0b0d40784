//! What happens at the start: find what a crash left behind, keep every whole record, and seal it.

use std::collections::HashSet;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::{Fault, SessionId};

use crate::canonical::Kind;
use crate::chain::Chain;
use crate::frame;
use crate::scan::{Scanner, Step, data_end, tally_frame};
use crate::segment::{Seal, SegmentName, Tally};
use crate::trail::{TrailSettings, unusable};

/// What opening a trail found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovery {
    /// Sessions that were open when the last process died. Their ends are in the trail now.
    pub lost: Vec<SessionId>,
    /// Segments that had no seal and have one now.
    pub sealed: Vec<SegmentName>,
    /// Ends of segments that held no whole frame. They were cut off, and kept beside the segment.
    pub torn: Vec<Torn>,
}

/// The end of a segment that held no whole frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    /// The segment.
    pub segment: SegmentName,
    /// Where the last whole frame ended, in bytes.
    pub offset: u64,
    /// How many bytes were cut off.
    pub bytes: u64,
    /// The file that keeps them.
    pub kept: PathBuf,
    /// What was wrong with them.
    pub why: String,
}

/// Makes a folder, and those above it, for the gateway's user alone.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// All segments in `store` of one kind, ordered by node and sequence. A store without the kind's folder has none.
pub(crate) fn list(store: &Path, kind: Kind) -> io::Result<Vec<SegmentName>> {
    let entries = match std::fs::read_dir(store.join(kind.name())) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        names.extend(name.to_str().and_then(SegmentName::parse).filter(|name| name.kind == kind));
    }
    names.sort_unstable();
    Ok(names)
}

/// Recovers one kind of this node's segments and returns its growing end, ready to be written.
pub(crate) fn chain(
    store: &Arc<Path>,
    settings: &TrailSettings,
    kind: Kind,
    recovery: &mut Recovery,
) -> Result<Chain, Fault> {
    let end = recover(store, &settings.node, kind, recovery).map_err(|error| unusable(store, &error))?;
    let next = SegmentName { node: settings.node.clone(), kind, sequence: end.sequence + 1 };
    recovery.lost.extend(&end.open);
    recovery.lost.sort_unstable();
    let mut chain = Chain::new(Arc::clone(store), next, settings.segment_bytes, end.root, end.open);
    chain.begin()?;
    Ok(chain)
}

/// Where a node's segments end.
#[derive(Debug, Default)]
struct End {
    sequence: u64,
    root: Option<String>,
    open: HashSet<SessionId>,
}

impl End {
    fn after(name: &SegmentName, seal: &Seal) -> Self {
        let open = seal.open.iter().filter_map(|id| id.parse().ok()).collect();
        Self { sequence: name.sequence, root: Some(seal.root.clone()), open }
    }
}

fn recover(store: &Path, node: &str, kind: Kind, recovery: &mut Recovery) -> io::Result<End> {
    let mut end = End::default();
    let names: Vec<_> = list(store, kind)?.into_iter().filter(|name| name.node == node).collect();
    let last = names.len().saturating_sub(1);
    for (place, name) in names.iter().enumerate() {
        let path = name.path(store);
        let file = File::open(&path)?;
        // Seals grow with the number of sessions: only the last is needed, or the one before a segment without one.
        let next_is_open = place < last && !Seal::exists(&File::open(names[place + 1].path(store))?)?;
        let sealed = Seal::exists(&file)?;
        if sealed && place < last && !next_is_open {
            end.sequence = name.sequence;
            continue;
        }
        match Seal::find(&file)?.filter(|_| sealed) {
            Some((seal, _)) => end = End::after(name, &seal),
            None => end = reseal(&path, name, end, recovery)?,
        }
    }
    Ok(end)
}

/// Keeps every whole record of a segment without a seal, and seals it. A segment without a single one is removed.
fn reseal(path: &Path, name: &SegmentName, before: End, recovery: &mut Recovery) -> io::Result<End> {
    let mut open = before.open.clone();
    let (tally, at, why) = scan(path, &mut open)?;
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let size = data_end(&file, at)?;
    if size > at {
        let kept = keep(&file, path, (at, size))?;
        recovery.torn.push(Torn { segment: name.clone(), offset: at, bytes: size - at, kept, why });
    }
    if tally.records() == 0 {
        std::fs::remove_file(path)?;
        return Ok(before);
    }
    file.set_len(at)?;
    let seal = tally.seal(open.iter());
    file.write_all_at(&seal.frame()?, at)?;
    file.sync_all()?;
    recovery.sealed.push(name.clone());
    Ok(End::after(name, &seal))
}

/// Walks to the end of the last whole frame: what was found, where it ends, and what is wrong with what follows.
fn scan(path: &Path, open: &mut HashSet<SessionId>) -> io::Result<(Tally, u64, String)> {
    let mut tally = Tally::default();
    let mut scanner = Scanner::open(path)?;
    loop {
        let start = scanner.offset();
        let why = match scanner.step()? {
            Step::Records(from, to) => match tally_frame(scanner.content(), (from, to), &mut tally, open) {
                Ok(()) => continue,
                Err(malformed) => malformed.to_string(),
            },
            Step::Skippable(_, magic) if magic != frame::SEAL => continue,
            Step::Skippable(..) => "a seal that is not at the end".to_owned(),
            Step::End => String::new(),
            Step::Torn(_) | Step::TornSeal(_) => "the segment ends within a frame".to_owned(),
            Step::Bad(_, why) => why.to_owned(),
        };
        return Ok((tally, start, why));
    }
}

/// Copies a torn end into a file of its own: evidence is never thrown away, not even when it cannot be read.
fn keep(file: &File, path: &Path, (at, end): (u64, u64)) -> io::Result<PathBuf> {
    let kept = path.with_extension(format!("{at:x}.torn"));
    let mut copy = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&kept)?;
    let mut source = file;
    io::Seek::seek(&mut source, io::SeekFrom::Start(at))?;
    io::copy(&mut io::Read::take(&mut source, end - at), &mut copy)?;
    copy.sync_all()?;
    Ok(kept)
}
