use bytes::{BufMut, BytesMut};
use serde_json::json;

use super::{detectors, mask};
use crate::{ColumnPlan, CopyError, CopyFormat, CopyRewriter, Opaque, RowPlan};

fn scan(oid: u32) -> ColumnPlan {
    ColumnPlan::scan(&detectors(), oid, Opaque::Scan)
}

fn plan() -> RowPlan {
    RowPlan::new(vec![ColumnPlan::Pass, scan(25), scan(114)])
}

/// What the client gets of `data` when it comes in pieces of `size` bytes, and how many cells were masked.
fn copied(plan: &RowPlan, format: &CopyFormat, data: &[u8], size: usize) -> Result<(Vec<u8>, usize), CopyError> {
    let mut rewriter = CopyRewriter::new(plan.clone(), format.clone(), 10_000);
    let mut out = BytesMut::new();
    let mut masked = 0;
    for piece in data.chunks(size) {
        let before = out.len();
        let outcome = rewriter.push(piece, &mut out)?;
        masked += outcome.masked_cells;
        if outcome.verbatim {
            assert_eq!(out.len(), before);
            out.put_slice(piece);
        }
    }
    rewriter.finish()?;
    Ok((out.to_vec(), masked))
}

fn check(plan: &RowPlan, format: &CopyFormat, data: &[u8], expected: &[u8]) {
    for size in 1..=data.len() + 1 {
        let (out, _) = copied(plan, format, data, size).unwrap();
        let shown = String::from_utf8_lossy(&out);
        assert_eq!(out, expected, "in pieces of {size}: {shown}");
    }
}

#[test]
fn text_lines() {
    let format = CopyFormat::text();
    let data = b"1\tx 123-45-6789\t{\"s\": \"123-45-6780\"}\n2\tnothing\t\\N\n123-45-6789\ta\\tb\\n123-45-6789\t1\n";
    let expected = b"1\tx ****6789\t{\"s\": \"****6780\"}\n2\tnothing\t\\N\n123-45-6789\ta\\tb\\n****6789\t1\n";
    check(&plan(), &format, data, expected);
    check(&plan(), &format, b"1\t2\t3\n\\.\n", b"1\t2\t3\n\\.\n");
    // JSON's own escapes have their backslashes doubled by COPY.
    let hidden = b"1\tx\t{\"s\": \"\\\\u0031\\\\u0032\\\\u0033-45-6789\"}\n";
    check(&plan(), &format, hidden, b"1\tx\t{\"s\": \"****6789\"}\n");
}

#[test]
fn text_with_other_delimiters_nulls_and_a_header() {
    let format = CopyFormat::Text { delimiter: b'|', null: (*b"").into(), header: true };
    let data = b"123-45-6789|b|c\n1|123-45-6789\\|\\|(555) 123-4567|\n";
    let expected = b"123-45-6789|b|c\n1|****6789\\|\\|<\"no\\\\phone\",}>|\n";
    check(&plan(), &format, data, expected);
}

#[test]
fn csv_lines() {
    let format = CopyFormat::csv();
    let data = b"1,\"x, \"\"y\"\"\n123-45-6789\",\"{\"\"s\"\": \"\"123-45-6780\"\"}\"\n2,,\n3,123-45-6789,\"\"\n";
    let expected = b"1,\"x, \"\"y\"\"\n****6789\",\"{\"\"s\"\": \"\"****6780\"\"}\"\n2,,\n3,\"****6789\",\"\"\n";
    check(&plan(), &format, data, expected);
    let other = CopyFormat::Csv { delimiter: b';', quote: b'\'', escape: b'\\', null: (*b"N").into(), header: true };
    let data = b"'a\n123-45-6789';b;c\n1;'it\\'s 123-45-6789';N\n";
    check(&plan(), &other, data, b"'a\n123-45-6789';b;c\n1;'it\\'s ****6789';N\n");
}

fn binary(rows: &[&[Option<&[u8]>]]) -> Vec<u8> {
    let mut out = BytesMut::from(&b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\x04extn"[..]);
    for row in rows {
        out.put_slice(&super::row(row));
    }
    out.put_i16(-1);
    out.to_vec()
}

#[test]
fn binary_rows() {
    let data = binary(&[
        &[Some(b"1"), Some(b"123-45-6789"), Some(b"\"123-45-6780\"")],
        &[Some(b"1"), None, Some(b"1")],
        &[None, Some(b"(555) 123-4567"), None],
    ]);
    let expected = binary(&[
        &[Some(b"1"), Some(b"****6789"), Some(b"\"****6780\"")],
        &[Some(b"1"), None, Some(b"1")],
        &[None, Some(b"<\"no\\phone\",}>"), None],
    ]);
    check(&plan(), &CopyFormat::Binary, &data, &expected);
}

#[test]
fn what_does_not_change_goes_on_as_it_came() {
    for (format, data) in [
        (CopyFormat::text(), b"1\t2\t3\n".to_vec()),
        (CopyFormat::csv(), b"1,2,3\n".to_vec()),
        (CopyFormat::Binary, binary(&[&[None, None, None]])),
    ] {
        let mut rewriter = CopyRewriter::new(plan(), format, 100);
        let mut out = BytesMut::new();
        assert!(rewriter.push(&data, &mut out).unwrap().verbatim);
        assert!(out.is_empty());
        assert_eq!(rewriter.finish(), Ok(()));
    }
}

#[test]
fn whole_masks_work_too() {
    let plan = RowPlan::new(vec![mask(json!({"keep_last": 4}), 25), mask(json!({"null": true}), 25)]);
    check(&plan, &CopyFormat::text(), b"abcdefgh\tsecret\n\\N\t\\N\n", b"****efgh\t\\N\n\\N\t\\N\n");
    check(&plan, &CopyFormat::csv(), b"abcdefgh,secret\n,\n", b"\"****efgh\",\n,\n");
    let data = binary(&[&[Some(b"abcdefgh"), Some(b"secret")]]);
    check(&plan, &CopyFormat::Binary, &data, &binary(&[&[Some(b"****efgh"), None]]));
}

#[test]
fn data_that_cannot_be_read_is_not_delivered() {
    let fails = |format: CopyFormat, data: &[u8]| copied(&plan(), &format, data, data.len()).unwrap_err();
    assert_eq!(fails(CopyFormat::text(), b"1\t2\n"), CopyError::Malformed("not as many columns as announced"));
    assert_eq!(fails(CopyFormat::text(), b"1\t2\t3"), CopyError::Incomplete);
    assert_eq!(fails(CopyFormat::csv(), b"1,2,\"3\n"), CopyError::Incomplete);
    assert_eq!(fails(CopyFormat::text(), &[b'x'; 20_000]), CopyError::TooLarge);
    assert!(matches!(fails(CopyFormat::Binary, b"PGCOPX\n\xff\r\n\0"), CopyError::Malformed(_)));
    let good = binary(&[&[None, None, None]]);
    assert!(matches!(fails(CopyFormat::Binary, &[&good[..], b"x"].concat()), CopyError::Malformed(_)));
    assert_eq!(fails(CopyFormat::Binary, &good[..good.len() - 1]), CopyError::Incomplete);
    assert_eq!(fails(CopyFormat::Binary, &good[..good.len() - 2]), CopyError::Incomplete);
    for (place, byte) in [(11, 1), (15, 0xff), (16, 0x7f), (23, 0x7f), (25, 0x80)] {
        let mut hostile = good.clone();
        hostile[place] = byte;
        assert!(copied(&plan(), &CopyFormat::Binary, &hostile, 7).is_err(), "byte {place}");
    }
    let refused = RowPlan::new(vec![ColumnPlan::Refuse]);
    assert_eq!(copied(&refused, &CopyFormat::text(), b"x\n", 9), Err(CopyError::Refused(0)));
}

#[test]
fn a_plan_that_passes_everything_does_not_look() {
    let plan = RowPlan::new(vec![ColumnPlan::Pass]);
    assert_eq!(copied(&plan, &CopyFormat::text(), b"any\tthing", 3), Ok((b"any\tthing".to_vec(), 0)));
    assert_eq!(copied(&RowPlan::new(vec![]), &CopyFormat::text(), b"\n", 1), Ok((b"\n".to_vec(), 0)));
}
