//! The growing end of a segment, mapped into memory: a small commit is a copy there instead of a call to the kernel.
//!
//! What is copied into a shared mapping belongs to the kernel's page cache at once, so it survives the death of the
//! process exactly as a write does. The pages must exist on the disk before: a file whose room could not be set aside is
//! never mapped, because a full disk would then show as a signal instead of an error. They are written once with zeros
//! before they are mapped: the first touch of a page that has no block yet costs three times as much (measured on ext4).
#![expect(unsafe_code, reason = "mapping a file is not safe in Rust's terms; see each block")]

use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::ptr::NonNull;
use std::sync::atomic::{Ordering, fence};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// How much of the file is mapped at once, in bytes: a multiple of every page size.
const LENGTH: u64 = 256 << 10;
/// The mapping begins at a multiple of this, in bytes.
const ALIGNMENT: u64 = 64 << 10;

/// A part of a file that can be written by copying.
#[derive(Debug)]
pub(crate) struct Window {
    /// Offset in the file of the first byte that is mapped.
    start: u64,
    length: usize,
    base: NonNull<c_void>,
}

// SAFETY: the mapping belongs to this value alone; nothing in it is tied to a thread.
unsafe impl Send for Window {}

impl Window {
    /// Maps what follows `at` in `file`, up to `room` bytes from the file's beginning, and makes the file that long. All
    /// of it must be set aside on the disk.
    pub(crate) fn open(file: &File, at: u64, room: u64) -> io::Result<Self> {
        let start = at - at % ALIGNMENT;
        let end = (start + LENGTH).min(room);
        let length = usize::try_from(end.saturating_sub(start)).map_err(io::Error::other)?;
        // Bytes beyond a file's end cannot be touched. Zeros begin no frame.
        let blank = vec![0; usize::try_from(end.saturating_sub(at)).map_err(io::Error::other)?];
        file.write_all_at(&blank, at)?;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing of this program.
        let base = unsafe { mmap(std::ptr::null_mut(), length, access, MapFlags::SHARED, file, start) }?;
        let base = NonNull::new(base).ok_or_else(|| io::Error::other("a file was mapped at address zero"))?;
        Ok(Self { start, length, base })
    }

    /// Copies `bytes` to offset `at` of the file; `false` if they are not all within the window.
    ///
    /// The first four bytes are copied last: until then a frame there does not begin, whoever reads the file meanwhile.
    pub(crate) fn write(&mut self, bytes: &[u8], at: u64) -> bool {
        let Some(skip) = at.checked_sub(self.start).and_then(|skip| usize::try_from(skip).ok()) else { return false };
        let Some((magic, rest)) = bytes.split_first_chunk::<4>() else { return bytes.is_empty() };
        if skip.checked_add(bytes.len()).is_none_or(|end| end > self.length) {
            return false;
        }
        // SAFETY: skip + bytes.len() <= length, so all bytes written lie within the mapping, which is writable for as
        // long as `self` lives and which no reference points into. The file is as long as the mapping: it is made so
        // before, and its owner lets go of the window before cutting it.
        unsafe {
            let place = self.base.as_ptr().cast::<u8>().add(skip);
            std::ptr::copy_nonoverlapping(rest.as_ptr(), place.add(magic.len()), rest.len());
            fence(Ordering::Release);
            std::ptr::copy_nonoverlapping(magic.as_ptr(), place, magic.len());
        }
        true
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's, and nothing refers to it any more.
        let unmapped = unsafe { munmap(self.base.as_ptr(), self.length) };
        debug_assert!(unmapped.is_ok(), "{unmapped:?}");
    }
}
