//! zstd frames: made by hand, without compression, and measured before they are believed.
//!
//! Every frame announces its content's size and carries a checksum, so `zstd -dc` prints any segment's records. What is
//! recorded before it is released is not compressed: at its fastest, zstd costs several times what hashing and writing
//! cost together. Sealed segments can be compressed at leisure (see [`crate::compact`]); readers take any zstd frame.

use zstd::bulk::Decompressor;

use crate::xxh64::xxh64;

/// A frame is closed once it holds this much, in bytes of content.
pub(crate) const FRAME_CONTENT: usize = 64 << 10;
/// No frame is read that announces more than this, in bytes of content.
pub(crate) const LONGEST_CONTENT: usize = 16 << 20;

const MAGIC: u32 = 0xFD2F_B528;
const SKIPPABLE: u32 = 0x184D_2A50;
/// The skippable frame that seals a segment.
pub(crate) const SEAL: u32 = SKIPPABLE | 0xE;
const CHECKSUM: u8 = 1 << 2;
const SINGLE_SEGMENT: u8 = 1 << 5;
/// No block of a frame is longer than this, by zstd's format.
const LONGEST_BLOCK: usize = 128 << 10;

/// Bytes of a frame before its content: magic number, descriptor, size of the content, header of the first block.
const FRONT: usize = 12;

/// Begins a frame at the end of `out`; what is appended from here on is its content. Returns where it begins.
pub(crate) fn begin(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; FRONT]);
    start
}

/// Bytes of content in the frame that [`begin`] began at `start`.
pub(crate) fn content_bytes(out: &[u8], start: usize) -> usize {
    out.len().saturating_sub(start + FRONT)
}

/// Ends the frame that [`begin`] began at `start`. Without content there is no frame.
pub(crate) fn end(out: &mut Vec<u8>, start: usize) {
    let length = content_bytes(out, start);
    if length == 0 {
        out.truncate(start);
        return;
    }
    let check = xxh64(&out[start + FRONT..]).to_le_bytes();
    if length > LONGEST_BLOCK {
        split_blocks(out, start);
    }
    let front = &mut out[start..start + FRONT];
    front[..4].copy_from_slice(&MAGIC.to_le_bytes());
    // One segment, a checksum, four bytes for the content's size.
    front[4] = SINGLE_SEGMENT | CHECKSUM | 2 << 6;
    front[5..9].copy_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    front[9..].copy_from_slice(&block_header(length.min(LONGEST_BLOCK), length <= LONGEST_BLOCK));
    out.extend_from_slice(&check[..4]);
}

/// The header of a block of `length` bytes that are stored as they are.
fn block_header(length: usize, last: bool) -> [u8; 3] {
    let [a, b, c, ..] = ((length << 3) | usize::from(last)).to_le_bytes();
    [a, b, c]
}

/// Puts headers between the blocks of content that is too long for one. Rare: only the longest texts are.
fn split_blocks(out: &mut Vec<u8>, start: usize) {
    let first = start + FRONT + LONGEST_BLOCK;
    let rest = out.split_off(first);
    let count = rest.len().div_ceil(LONGEST_BLOCK);
    for (place, block) in rest.chunks(LONGEST_BLOCK).enumerate() {
        out.extend_from_slice(&block_header(block.len(), place + 1 == count));
        out.extend_from_slice(block);
    }
}

/// Appends a skippable frame with `content`, which readers of the records pass over.
pub(crate) fn append_skippable(magic: u32, content: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&magic.to_le_bytes());
    out.extend_from_slice(&u32::try_from(content.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(content);
}

/// What stands at the start of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    /// A whole frame with records: its length and its content's, in bytes.
    Records { length: usize, content: usize },
    /// A skippable frame, whole or not: its whole length in bytes, and its magic number.
    Skippable { length: usize, magic: u32 },
    /// The start of a frame. At least this many bytes are needed to say more.
    More(usize),
    /// No frame of ours, for this reason.
    Bad(&'static str),
}

fn le_u32(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes))
}

/// Measures the frame at the start of `bytes` without decoding it.
pub(crate) fn measure(bytes: &[u8]) -> Measure {
    let Some(magic) = le_u32(bytes) else { return Measure::More(4) };
    if magic & !0xF == SKIPPABLE {
        let Some(size) = le_u32(&bytes[4..]) else { return Measure::More(8) };
        return Measure::Skippable { length: 8 + size as usize, magic };
    }
    if magic != MAGIC {
        return Measure::Bad("there is no frame here");
    }
    match header(bytes) {
        Ok((at, content)) => blocks(bytes, at, content),
        Err(other) => other,
    }
}

/// The header's end and the content's size, both in bytes.
fn header(bytes: &[u8]) -> Result<(usize, usize), Measure> {
    let descriptor = *bytes.get(4).ok_or(Measure::More(5))?;
    let single = descriptor & SINGLE_SEGMENT != 0;
    if descriptor & 0b1_1011 != 0 || descriptor & CHECKSUM == 0 {
        return Err(Measure::Bad("the frame has no checksum, or wants what no trail uses"));
    }
    let at = if single { 5 } else { 6 };
    let (width, base) = match (descriptor >> 6, single) {
        (0, true) => (1, 0),
        (0, false) => return Err(Measure::Bad("the frame does not announce its size")),
        (1, _) => (2, 256),
        (2, _) => (4, 0),
        _ => (8, 0),
    };
    let field = bytes.get(at..at + width).ok_or(Measure::More(at + width))?;
    let size = field.iter().rev().fold(0_u64, |size, byte| size << 8 | u64::from(*byte)).saturating_add(base);
    match usize::try_from(size) {
        Ok(size) if size <= LONGEST_CONTENT => Ok((at + width, size)),
        _ => Err(Measure::Bad("the frame announces more content than any frame of a trail holds")),
    }
}

/// Walks the blocks from `at` to the frame's end.
fn blocks(bytes: &[u8], mut at: usize, content: usize) -> Measure {
    // No frame is longer than its content stored in whole blocks, so a walk that goes on is hostile.
    let bound = zstd::zstd_safe::compress_bound(content) + 64;
    loop {
        let Some(field) = bytes.get(at..at + 3) else { return Measure::More(at + 3) };
        let block = usize::from(field[0]) | usize::from(field[1]) << 8 | usize::from(field[2]) << 16;
        let length = match (block >> 1) & 3 {
            0 | 2 => block >> 3,
            1 => 1,
            _ => return Measure::Bad("the frame has a block of an unknown kind"),
        };
        at += 3 + length;
        if length > LONGEST_BLOCK || at > bound {
            return Measure::Bad("the frame is longer than its content can be");
        }
        if block & 1 == 1 {
            let length = at + 4;
            return if bytes.len() < length { Measure::More(length) } else { Measure::Records { length, content } };
        }
    }
}

/// Reads frames.
pub(crate) struct Unframer {
    decompressor: Decompressor<'static>,
}

impl Unframer {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self { decompressor: Decompressor::new()? })
    }

    /// Decodes one whole `frame` that was measured to hold `content` bytes, into `out`, replacing what is there.
    pub(crate) fn decode(&mut self, frame: &[u8], content: usize, out: &mut Vec<u8>) -> Result<(), &'static str> {
        out.clear();
        out.reserve(content);
        let decoded = self.decompressor.decompress_to_buffer(frame, out);
        match decoded {
            Ok(length) if length == content => Ok(()),
            _ => Err("the frame's content does not match its checksum"),
        }
    }
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
