//! Attacks on the reader and the writer.

use bytes::{BufMut, BytesMut};
use proptest::prelude::*;

use crate::{LONGEST_FRAME, Limits, Malformed, Reader, Writer};

/// One read of any kind, for random sequences of reads.
#[derive(Debug, Clone)]
enum Step {
    U8,
    U16,
    U32,
    U64,
    I16,
    I32,
    Bytes(usize),
    Cstr,
    Sized,
    Count(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::U8),
        Just(Step::U16),
        Just(Step::U32),
        Just(Step::U64),
        Just(Step::I16),
        Just(Step::I32),
        any::<usize>().prop_map(Step::Bytes),
        (0_usize..64).prop_map(Step::Bytes),
        Just(Step::Cstr),
        Just(Step::Sized),
        any::<usize>().prop_map(Step::Count),
    ]
}

fn take(reader: &mut Reader<'_>, step: &Step) -> Result<(), Malformed> {
    match step {
        Step::U8 => reader.u8().map(drop),
        Step::U16 => reader.u16().map(drop),
        Step::U32 => reader.u32().map(drop),
        Step::U64 => reader.u64().map(drop),
        Step::I16 => reader.i16().map(drop),
        Step::I32 => reader.i32().map(drop),
        Step::Bytes(count) => reader.bytes(*count).map(drop),
        Step::Cstr => reader.cstr().map(drop),
        Step::Sized => reader.sized().map(drop),
        Step::Count(least) => reader.count(*least).map(drop),
    }
}

proptest! {
    #[test]
    fn hostile_bytes_are_read_within_bounds(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        steps in prop::collection::vec(step(), 0..50),
    ) {
        let mut reader = Reader::new(&bytes);
        for step in &steps {
            let before = reader.offset();
            match take(&mut reader, step) {
                Ok(()) => prop_assert!(reader.offset() >= before),
                Err(malformed) => prop_assert!(malformed.offset <= bytes.len()),
            }
            prop_assert!(reader.offset() <= bytes.len());
            prop_assert_eq!(reader.offset() + reader.remaining(), bytes.len());
        }
        let left = reader.remaining();
        prop_assert_eq!(reader.rest().len(), left);
        prop_assert!(reader.end().is_ok());
    }

    #[test]
    fn what_is_written_is_read(
        tag in any::<u8>(),
        text in prop::collection::vec(1_u8.., 0..50),
        value in prop::option::of(prop::collection::vec(any::<u8>(), 0..50)),
        number in any::<u64>(),
    ) {
        let mut out = BytesMut::from(&b"before"[..]);
        out.framed(tag, |out| {
            out.put_cstr(&text)?;
            out.put_sized(value.as_deref())?;
            out.put_u64(number);
            Ok(())
        }).unwrap();
        let mut reader = Reader::new(&out);
        prop_assert_eq!(reader.bytes(6).unwrap(), b"before");
        prop_assert_eq!(reader.u8().unwrap(), tag);
        prop_assert_eq!(reader.u32().unwrap() as usize, out.len() - 7);
        prop_assert_eq!(reader.cstr().unwrap(), &text[..]);
        prop_assert_eq!(reader.sized().unwrap(), value.as_deref());
        prop_assert_eq!(reader.u64().unwrap(), number);
        prop_assert!(reader.end().is_ok());
    }

    #[test]
    fn a_message_cut_anywhere_is_malformed_and_nothing_else(cut in 0_usize..25) {
        let mut out = BytesMut::new();
        out.put_cstr(b"name").unwrap();
        out.put_sized(Some(b"value")).unwrap();
        out.put_u64(7);
        out.put_i16(-1);
        prop_assert_eq!(out.len(), 24);
        let read = |bytes: &[u8]| -> Result<(), Malformed> {
            let mut reader = Reader::new(bytes);
            reader.cstr()?;
            reader.sized()?;
            reader.u64()?;
            reader.i16()?;
            reader.end()
        };
        prop_assert_eq!(read(&out[..cut.min(24)]).is_ok(), cut >= 24);
    }
}

#[test]
fn numbers_are_big_endian() {
    let mut reader = Reader::new(&[0x80, 0, 1, 0xff, 0xff, 0xff, 0xfe]);
    assert_eq!(reader.u8(), Ok(0x80));
    assert_eq!(reader.u16(), Ok(1));
    assert_eq!(reader.i32(), Ok(-2));
    assert_eq!(reader.u8().map_err(|malformed| malformed.offset), Err(7));
}

#[test]
fn announced_lengths_are_not_believed() {
    let mut reader = Reader::new(&[0xff, 0xff, 0xff, 0xfe, 0]);
    assert_eq!(reader.sized(), Err(Malformed::new("a length is negative", 0)));
    let mut reader = Reader::new(&[0x7f, 0xff, 0xff, 0xff, 0]);
    assert!(reader.sized().is_err());
    let mut reader = Reader::new(&[0xff, 0xff, 0, 0]);
    assert!(reader.count(4).is_err());
    let mut reader = Reader::new(&[0, 1, 0, 0, 0, 9]);
    assert_eq!(reader.count(4), Ok(1));
}

#[test]
fn a_failed_frame_leaves_no_trace() {
    let mut out = BytesMut::from(&b"kept"[..]);
    assert!(out.framed(b'Q', |out| out.put_cstr(b"a\0b")).is_err());
    assert_eq!(&out[..], b"kept");
    let robbed = out.framed(b'Q', |out| {
        out.clear();
        Ok(())
    });
    assert!(robbed.is_err());
}

#[test]
fn no_frame_beyond_the_limit() {
    assert!(Limits::check(10, 10).is_ok());
    assert!(Limits::check(11, 10).is_err());
    assert!(Limits::check(LONGEST_FRAME + 1, usize::MAX).is_err());
    assert!(Limits::default().message_bytes <= LONGEST_FRAME);
}

#[test]
fn a_malformed_message_says_where() {
    let fault = Malformed::new("a string has no end", 3).fault(model::Whose::Client, "Query");
    assert_eq!(fault.message, "malformed Query message: a string has no end (at byte 3)");
    assert_eq!(fault.whose, model::Whose::Client);
}
