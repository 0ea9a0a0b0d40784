//! Where the rows of a held result wait: first in memory, then encrypted in a file that has no name.
//!
//! The key lives in this process's memory only and each spool has its own, so what is left on the disk after a crash is
//! noise. Every block is authenticated with its place, so a block that was changed or moved is a fault, never rows.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::error::Unspecified;
use bytes::BytesMut;
use model::{Fault, FaultKind, Whose};
use zeroize::{Zeroize, Zeroizing};

use crate::recover::make_folder;

/// Bytes encrypted at once.
const BLOCK: usize = 64 << 10;
const TAG: usize = 16;
const SEALED: u64 = (BLOCK + TAG) as u64;

/// The room that all spools of a gateway share.
#[derive(Debug, Clone)]
pub struct SpoolSpace {
    folder: Arc<Path>,
    left: Arc<AtomicU64>,
    bytes: u64,
}

impl SpoolSpace {
    /// Room for `bytes` in memory and in `folder` together. The folder is made if it is not there.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn new(folder: impl Into<PathBuf>, bytes: u64) -> Result<Self, Fault> {
        let folder = folder.into();
        make_folder(&folder).map_err(|error| failed(&error.to_string()))?;
        Ok(Self { folder: folder.into(), left: Arc::new(AtomicU64::new(bytes)), bytes })
    }

    /// An empty spool that keeps up to `memory_bytes` in memory and takes `most_bytes` altogether. It costs nothing until
    /// something is pushed.
    #[must_use]
    pub fn spool(&self, memory_bytes: usize, most_bytes: u64) -> Spool {
        Spool {
            space: self.clone(),
            memory_bytes,
            most_bytes,
            reserved: 0,
            length: 0,
            head: Fifo::default(),
            blocks: None,
            tail: Fifo::default(),
        }
    }

    /// Bytes taken by all spools.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.bytes.saturating_sub(self.left.load(Ordering::Relaxed))
    }

    fn reserve(&self, bytes: u64) -> bool {
        let take = |left: u64| left.checked_sub(bytes);
        self.left.fetch_update(Ordering::AcqRel, Ordering::Relaxed, take).is_ok()
    }

    fn release(&self, bytes: u64) {
        self.left.fetch_add(bytes, Ordering::AcqRel);
    }
}

/// Why a spool did not take bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// There is no room. Nothing was taken; the target must wait until there is.
    Full,
    /// The spool cannot be used any more, and what it held must not be released.
    Failed(Fault),
}

/// Bytes in memory, taken from the front.
#[derive(Default)]
struct Fifo {
    bytes: Vec<u8>,
    taken: usize,
}

impl Fifo {
    fn len(&self) -> usize {
        self.bytes.len() - self.taken
    }

    fn take(&mut self, out: &mut BytesMut, most: usize) -> usize {
        let count = self.len().min(most);
        out.extend_from_slice(&self.bytes[self.taken..self.taken + count]);
        self.taken += count;
        if self.len() == 0 {
            self.clear();
        }
        count
    }

    fn clear(&mut self) {
        self.bytes.zeroize();
        self.taken = 0;
    }
}

impl Drop for Fifo {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

/// Encrypted blocks in a file without a name.
struct Blocks {
    file: File,
    key: LessSafeKey,
    /// Blocks written, which is the nonce of the next: no nonce is used twice with one key.
    written: u64,
    /// Blocks of them that were taken.
    taken: u64,
}

/// An ordered, bounded, encrypted store for the bytes of one held result.
pub struct Spool {
    space: SpoolSpace,
    memory_bytes: usize,
    most_bytes: u64,
    /// Bytes reserved in the space; a file's are given back when all of it was taken.
    reserved: u64,
    length: u64,
    head: Fifo,
    blocks: Option<Blocks>,
    /// What came after the last block, or a block that is being taken once `head` is empty.
    tail: Fifo,
}

impl Spool {
    /// Appends `bytes`: all of them or none.
    ///
    /// # Errors
    /// There is no room, or the file cannot be written.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        let count = bytes.len() as u64;
        if self.reserved.saturating_add(count) > self.most_bytes || !self.space.reserve(count) {
            return Err(Refused::Full);
        }
        self.reserved += count;
        self.length += count;
        let in_memory = self.blocks.is_none() && self.tail.len() == 0;
        if in_memory && self.head.len() + bytes.len() <= self.memory_bytes {
            self.head.bytes.extend_from_slice(bytes);
            return Ok(());
        }
        self.spill(bytes).map_err(|fault| {
            self.clear();
            Refused::Failed(fault)
        })
    }

    /// Moves up to `most` bytes from the front to the end of `out`. Returns whether more is left.
    ///
    /// # Errors
    /// The file cannot be read, or is not what was written. Then the spool is empty.
    pub fn take(&mut self, out: &mut BytesMut, most: usize) -> Result<bool, Fault> {
        let mut left = most;
        while left > 0 && self.length > 0 {
            if self.head.len() == 0
                && let Err(fault) = self.refill()
            {
                self.clear();
                return Err(fault);
            }
            let count = self.head.take(out, left);
            left -= count;
            self.length -= count as u64;
        }
        if self.length == 0 {
            self.reset();
        }
        Ok(self.length > 0)
    }

    /// Bytes that wait.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.length
    }

    /// Bytes of memory taken.
    #[must_use]
    pub const fn in_memory(&self) -> usize {
        self.head.bytes.capacity() + self.tail.bytes.capacity()
    }

    /// Whether nothing waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Throws everything away: memory is overwritten, the file and its key are gone.
    pub fn clear(&mut self) {
        self.blocks = None;
        self.length = 0;
        self.reset();
    }

    /// Appends to the tail, and moves whole blocks of it into the file.
    fn spill(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        for piece in bytes.chunks(BLOCK) {
            let split = piece.len().min(BLOCK - self.tail.bytes.len().min(BLOCK));
            self.tail.bytes.extend_from_slice(&piece[..split]);
            if self.tail.bytes.len() >= BLOCK {
                self.seal_tail()?;
            }
            self.tail.bytes.extend_from_slice(&piece[split..]);
        }
        Ok(())
    }

    fn seal_tail(&mut self) -> Result<(), Fault> {
        let blocks = match &mut self.blocks {
            Some(blocks) => blocks,
            none => none.insert(Blocks::new(&self.space.folder)?),
        };
        self.tail.bytes.reserve_exact(TAG);
        blocks.write(&mut self.tail.bytes)?;
        self.tail.clear();
        Ok(())
    }

    /// Fills the empty head with the next block, or with the tail once no block is left.
    fn refill(&mut self) -> Result<(), Fault> {
        match &mut self.blocks {
            Some(blocks) if blocks.taken < blocks.written => blocks.read(&mut self.head.bytes),
            _ => {
                std::mem::swap(&mut self.head, &mut self.tail);
                Ok(())
            }
        }
    }

    /// Begins anew once nothing waits, and gives back what was reserved.
    fn reset(&mut self) {
        self.head.clear();
        self.tail.clear();
        // Dropping the file frees its blocks on the disk; the next one gets a key of its own.
        self.blocks = None;
        self.space.release(std::mem::take(&mut self.reserved));
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.clear();
    }
}

impl std::fmt::Debug for Spool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spool").field("length", &self.length).finish_non_exhaustive()
    }
}

impl Blocks {
    fn new(folder: &Path) -> Result<Self, Fault> {
        let file = tempfile::tempfile_in(folder).map_err(|error| failed(&error.to_string()))?;
        let mut secret = Zeroizing::new([0_u8; 32]);
        aws_lc_rs::rand::fill(&mut *secret).map_err(|Unspecified| failed("no random key can be had"))?;
        let key = UnboundKey::new(&AES_256_GCM, &*secret).map_err(|Unspecified| failed("no key can be made"))?;
        Ok(Self { file, key: LessSafeKey::new(key), written: 0, taken: 0 })
    }

    /// Encrypts one whole block in place and appends it to the file.
    fn write(&mut self, block: &mut Vec<u8>) -> Result<(), Fault> {
        let sealed = self.key.seal_in_place_append_tag(nonce(self.written), Aad::empty(), block);
        sealed.map_err(|Unspecified| failed("a block cannot be encrypted"))?;
        let place = self.written * SEALED;
        self.file.write_all_at(block, place).map_err(|error| failed(&error.to_string()))?;
        self.written += 1;
        Ok(())
    }

    /// Reads and decrypts the next block. Its place is its nonce: a block that was moved does not open.
    fn read(&mut self, block: &mut Vec<u8>) -> Result<(), Fault> {
        block.resize(BLOCK + TAG, 0);
        let read = self.file.read_exact_at(block, self.taken * SEALED);
        read.map_err(|error| failed(&error.to_string()))?;
        let opened = self.key.open_in_place(nonce(self.taken), Aad::empty(), block);
        opened.map_err(|Unspecified| failed("its file is not what was written"))?;
        block.truncate(BLOCK);
        self.taken += 1;
        Ok(())
    }
}

fn nonce(count: u64) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[NONCE_LEN - 8..].copy_from_slice(&count.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

fn failed(why: &str) -> Fault {
    Fault::new(Whose::Gateway, FaultKind::Internal, format!("the result cannot wait for its review: {why}"))
        .hint("the gateway's operator must give the spool's folder room and access")
}

#[cfg(test)]
#[path = "spool_tests.rs"]
mod tests;
