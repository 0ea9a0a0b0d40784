//! The trail: one per process and node, shared by all sessions.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread::JoinHandle;

use model::{Fault, FaultKind, SessionId, Whose};
use serde::{Deserialize, Serialize};

use crate::canonical::{Kind, Place};
use crate::chain::{Commit, unrecordable};
use crate::evidence::{Evidence, LOST, Operator, SessionClosed};
use crate::flush::{Chains, Flush, Position, lock};
use crate::recover::{self, Recovery};
use crate::session::SessionTrail;

/// What "recorded" means before bytes are released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// The kernel has the bytes: they survive the death of the process.
    #[default]
    Process,
    /// The disk has the bytes: they survive a loss of power.
    Disk,
}

/// Where and how the trail is kept. The `trail` part of the settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrailSettings {
    /// The folder of all segments. Made if it is not there.
    pub store: PathBuf,
    /// What "recorded" means.
    #[serde(default)]
    pub durability: Durability,
    /// This node's id: 1 to 64 letters, digits, `.`, `_` and `-`.
    pub node: String,
    /// Bytes after which a segment is sealed and the next one begun.
    #[serde(default = "segment_bytes")]
    pub segment_bytes: u64,
}

const fn segment_bytes() -> u64 {
    64 << 20
}

/// Bounds of [`TrailSettings::segment_bytes`]: small enough to scan after a crash, large enough to hold its own seal.
const SEGMENT_BYTES: std::ops::RangeInclusive<u64> = 64 << 10..=4 << 30;

/// Totals since the trail was opened, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Records of evidence.
    pub evidence_records: u64,
    /// Bytes of evidence as stored.
    pub evidence_bytes: u64,
    /// Records of payload.
    pub payload_records: u64,
    /// Bytes of payload as stored.
    pub payload_bytes: u64,
}

/// The trail of this node. Clones share it; the last one dropped seals it.
#[derive(Clone)]
pub struct Trail(Arc<Inner>);

pub(crate) struct Inner {
    chains: Arc<Chains>,
    flush: Option<Arc<Flush>>,
    flusher: Mutex<Option<JoinHandle<()>>>,
    /// Held for as long as the trail is open, so that no second process writes the same node's segments.
    _lock: File,
}

impl Trail {
    /// Opens the trail for writing: takes the node's lock, recovers what a crash left behind, and begins new segments.
    ///
    /// # Errors
    /// The settings make no sense, another process has the node's lock, or the store cannot be read or written.
    pub fn open(settings: &TrailSettings) -> Result<(Self, Recovery), Fault> {
        check(settings)?;
        let store: Arc<Path> = settings.store.as_path().into();
        for kind in Kind::ALL {
            recover::make_folder(&store.join(kind.name())).map_err(|error| unusable(&store, &error))?;
        }
        let held = take_lock(&store, &settings.node)?;
        let mut recovery = Recovery::default();
        let payload = recover::chain(&store, settings, Kind::Payload, &mut recovery)?;
        let evidence = recover::chain(&store, settings, Kind::Evidence, &mut recovery)?;
        let chains = Arc::new(Chains { payload: Mutex::new(payload), evidence: Mutex::new(evidence) });
        let (flush, flusher) = start_flusher(settings.durability, &chains)?;
        let trail = Self(Arc::new(Inner { chains, flush, flusher: Mutex::new(flusher), _lock: held }));
        trail.close_lost(&recovery.lost)?;
        Ok((trail, recovery))
    }

    /// A writer for one session. Writes nothing by itself.
    #[must_use]
    pub fn session(&self, session: SessionId) -> SessionTrail {
        SessionTrail::new(self.clone(), session)
    }

    /// Records what an operator or reviewer did, outside any session.
    ///
    /// # Errors
    /// The trail cannot be written.
    pub fn operator(&self, act: &Operator) -> Result<Position, Fault> {
        self.session(SessionId([0; 16])).evidence(Place::default(), act)
    }

    /// Whether everything up to `position` is as durable as the settings ask.
    #[must_use]
    pub fn durable(&self, position: Position) -> bool {
        self.0.flush.as_ref().is_none_or(|flush| flush.covers(position))
    }

    /// Like [`Trail::durable`], and wakes `waker` when asking again may give another answer.
    ///
    /// # Errors
    /// The disk failed: nothing can become durable any more.
    pub fn poll_durable(&self, position: Position, waker: &Waker) -> Poll<Result<(), Fault>> {
        self.0.flush.as_ref().map_or(Poll::Ready(Ok(())), |flush| flush.poll(position, waker))
    }

    /// Blocks until everything up to `position` is as durable as the settings ask. Not for threads that carry sessions.
    ///
    /// # Errors
    /// The disk failed: nothing can become durable any more.
    pub fn wait_durable(&self, position: Position) -> Result<(), Fault> {
        self.0.flush.as_ref().map_or(Ok(()), |flush| flush.wait(position))
    }

    /// Whether the trail could be written when it was last tried. New sessions are refused while it could not.
    ///
    /// # Errors
    /// The fault that writing met.
    pub fn health(&self) -> Result<(), Fault> {
        let chains = [&self.0.chains.payload, &self.0.chains.evidence];
        let failed = chains.into_iter().find_map(|chain| lock(chain).failure());
        failed.or_else(|| self.0.flush.as_ref().and_then(|flush| flush.failure())).map_or(Ok(()), Err)
    }

    /// Totals since the trail was opened.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let (payload_bytes, payload_records) = lock(&self.0.chains.payload).counts();
        let (evidence_bytes, evidence_records) = lock(&self.0.chains.evidence).counts();
        Counts { evidence_records, evidence_bytes, payload_records, payload_bytes }
    }

    /// Seals both segments. Every later write fails.
    ///
    /// # Errors
    /// A seal cannot be written; the segment is sealed when the trail is next opened.
    pub fn close(&self) -> Result<(), Fault> {
        self.0.close()
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }

    /// Writes the end of every session that was open when the last process died.
    fn close_lost(&self, lost: &[SessionId]) -> Result<(), Fault> {
        let mut position = Position::default();
        for session in lost {
            let closed = SessionClosed { reason: LOST.into(), ..SessionClosed::default() };
            position = position.and(self.session(*session).evidence(Place::default(), &closed)?);
        }
        self.wait_durable(position)
    }
}

impl fmt::Debug for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trail").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

impl Inner {
    /// Appends what is there, payload first: after a crash no evidence speaks of payload that is not there.
    pub(crate) fn append(
        &self,
        payload: Option<&Commit<'_>>,
        evidence: Option<&Commit<'_>>,
    ) -> Result<Position, Fault> {
        let mut position = Position::default();
        if let Some(commit) = payload {
            position.payload = lock(&self.chains.payload).append(commit)?;
        }
        if let Some(commit) = evidence {
            position.evidence = lock(&self.chains.evidence).append(commit)?;
        }
        Ok(position)
    }

    fn close(&self) -> Result<(), Fault> {
        let payload = lock(&self.chains.payload).close();
        let evidence = lock(&self.chains.evidence).close();
        if let Some(flush) = &self.flush {
            flush.stop();
        }
        if let Some(flusher) = lock(&self.flusher).take() {
            let _ = flusher.join();
        }
        payload.and(evidence)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // What cannot be sealed now is sealed when the trail is next opened.
        let _ = self.close();
    }
}

fn check(settings: &TrailSettings) -> Result<(), Fault> {
    let node = &settings.node;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if node.is_empty() || node.len() > 64 || node.starts_with('.') || !node.bytes().all(allowed) {
        let message = format!("the trail's node id {node:?} cannot be part of a file's name");
        return Err(Fault::new(Whose::Gateway, FaultKind::Internal, message)
            .hint("use 1 to 64 letters, digits, '.', '_' and '-', and no '.' in front"));
    }
    if !SEGMENT_BYTES.contains(&settings.segment_bytes) {
        let message = format!("the trail's segments cannot have {} bytes", settings.segment_bytes);
        return Err(Fault::new(Whose::Gateway, FaultKind::Internal, message).hint("choose from 64 KiB to 4 GiB"));
    }
    Ok(())
}

fn take_lock(store: &Path, node: &str) -> Result<File, Fault> {
    let path = store.join(format!("{node}.lock"));
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(|error| unusable(store, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            let message = format!("another process writes the trail of node {node:?} in {}", store.display());
            let fault = Fault::new(Whose::Gateway, FaultKind::Unrecordable, message);
            Err(fault.hint("stop it, or give this gateway a node id or store of its own"))
        }
        Err(std::fs::TryLockError::Error(error)) => Err(unusable(store, &error)),
    }
}

/// The fault of a store that cannot be used, told to the operator who starts the gateway.
pub(crate) fn unusable(store: &Path, error: &std::io::Error) -> Fault {
    let message = format!("the trail's store {} cannot be used: {error}", store.display());
    Fault::new(Whose::Gateway, FaultKind::Unrecordable, message).hint("check the folder's owner, mode and free space")
}

type Flusher = (Option<Arc<Flush>>, Option<JoinHandle<()>>);

fn start_flusher(durability: Durability, chains: &Arc<Chains>) -> Result<Flusher, Fault> {
    if durability == Durability::Process {
        return Ok((None, None));
    }
    let flush = Arc::new(Flush::default());
    let (theirs, chains) = (Arc::clone(&flush), Arc::clone(chains));
    let thread = std::thread::Builder::new().name("penstock-flush".into()).spawn(move || theirs.run(&chains));
    let thread = thread.map_err(|error| unrecordable(&error.to_string()))?;
    Ok((Some(flush), Some(thread)))
}

/// Evidence that any type of body can be.
pub(crate) fn evidence_body<E: Evidence>(body: &E, out: &mut Vec<u8>) -> Result<Option<crate::evidence::Mark>, Fault> {
    let start = out.len();
    let mark = crate::evidence::write(body, out).map_err(|error| unrecordable(&error.to_string()))?;
    if out.len() - start > crate::canonical::LONGEST_BODY {
        let message = "the evidence of this request is longer than the trail holds in one record";
        return Err(Fault::new(Whose::Client, FaultKind::TooLarge, message).hint("send a shorter statement"));
    }
    Ok(mark)
}
