//! Buffers for reading, one small stock per thread: a session owns one only while bytes are in it.

use std::cell::RefCell;

use bytes::BytesMut;

/// Room for one read, in bytes. Large reads carry large results; a thread needs only a few such buffers.
pub(crate) const READ: usize = 128 << 10;
/// How many buffers a thread keeps.
const MOST: usize = 8;
/// A buffer that grew beyond this for one large message is not kept, in bytes.
const LARGEST: usize = 1 << 20;

thread_local! {
    static STOCK: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer with room for a read.
pub(crate) fn take() -> BytesMut {
    let mut buffer = STOCK.with_borrow_mut(Vec::pop).unwrap_or_default();
    // Takes the whole storage back if nobody else holds a part of it any more.
    buffer.reserve(READ);
    buffer
}

/// Gives a buffer back. Its content is dropped.
pub(crate) fn give(mut buffer: BytesMut) {
    buffer.clear();
    // A small one would have to grow at its next use, which costs more than it saves.
    if (READ / 2..=LARGEST).contains(&buffer.capacity()) {
        STOCK.with_borrow_mut(|stock| {
            if stock.len() < MOST {
                stock.push(buffer);
            }
        });
    }
}
