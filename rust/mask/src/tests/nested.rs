use bytes::{BufMut, BytesMut};

use super::{detectors, rewrite, rewrite_one, row, scanned};
use crate::{ColumnPlan, Opaque, RowError, RowPlan};

fn binary(oid: u32, value: &[u8]) -> Option<Vec<u8>> {
    rewrite_one(ColumnPlan::scan(&detectors(), oid, Opaque::Scan), 1, value).map(Option::unwrap)
}

fn array(element: u32, values: &[Option<&[u8]>]) -> Vec<u8> {
    let mut out = BytesMut::new();
    out.put_i32(1);
    out.put_i32(i32::from(values.contains(&None)));
    out.put_u32(element);
    out.put_i32(values.len() as i32);
    out.put_i32(1);
    for value in values {
        out.put_i32(value.map_or(-1, |value| value.len() as i32));
        out.put_slice(value.unwrap_or_default());
    }
    out.to_vec()
}

fn record(fields: &[(u32, Option<&[u8]>)]) -> Vec<u8> {
    let mut out = BytesMut::new();
    out.put_i32(fields.len() as i32);
    for (oid, value) in fields {
        out.put_u32(*oid);
        out.put_i32(value.map_or(-1, |value| value.len() as i32));
        out.put_slice(value.unwrap_or_default());
    }
    out.to_vec()
}

#[test]
fn arrays_as_text() {
    for (oid, value, expected) in [
        (1009, "{a,123-45-6789,NULL}", "{a,\"****6789\",NULL}"),
        (1009, "{\"x 123-45-6789\",\"a \\\" b\"}", "{\"x ****6789\",\"a \\\" b\"}"),
        (1015, "{{a,123-45-6789},{c,d}}", "{{a,\"****6789\"},{c,d}}"),
        (1009, "[0:1]={x,123-45-6789}", "[0:1]={x,\"****6789\"}"),
        (1009, "{\"(555) 123-4567\"}", "{\"<\\\"no\\\\phone\\\",}>\"}"),
        (3807, "{\"{\\\"s\\\": \\\"123-45-6789\\\"}\"}", "{\"{\\\"s\\\": \\\"****6789\\\"}\"}"),
        (199, "{\"[\\\"\\\\u0031\\\\u0032\\\\u0033-45-6789\\\"]\"}", "{\"[\\\"****6789\\\"]\"}"),
        (1009, "{\"\\\\123-45-6789\"}", "{\"\\\\****6789\"}"),
    ] {
        assert_eq!(scanned(oid, value).as_deref(), Some(expected), "{value}");
    }
    assert_eq!(scanned(1009, "{a,b,\"123 45\",NULL}"), None);
    assert_eq!(scanned(1007, "{4111111111111111}"), None, "numbers are no text");
    // Not built like an array: nothing of it is shown.
    let scan = ColumnPlan::scan(&detectors(), 1009, Opaque::Scan);
    assert_eq!(rewrite_one(scan, 0, b"{\"123-45-6789"), Some(None));
}

#[test]
fn arrays_in_binary() {
    let value = array(25, &[Some(b"x"), None, Some(b"123-45-6789"), Some(b"")]);
    let expected = array(25, &[Some(b"x"), None, Some(b"****6789"), Some(b"")]);
    assert_eq!(binary(1009, &value), Some(expected));
    assert_eq!(binary(1009, &array(25, &[Some(b"x"), None])), None);
    assert_eq!(binary(1009, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 25]), None);
    let json = array(3802, &[Some(b"\x01\"123-45-6789\"")]);
    assert_eq!(binary(3807, &json), Some(array(3802, &[Some(b"\x01\"****6789\"")])));
    // Not built like an array: nothing of it is shown.
    for broken in [&value[..value.len() - 1], &[&value[..], b"z"].concat()] {
        let scan = |opaque| ColumnPlan::scan(&detectors(), 1009, opaque);
        assert_eq!(rewrite_one(scan(Opaque::Scan), 1, broken), Some(None));
        assert_eq!(rewrite_one(scan(Opaque::Null), 1, broken), Some(None));
        let plan = RowPlan::new(vec![scan(Opaque::Refuse)]);
        assert_eq!(rewrite(&plan, &[1], &row(&[Some(broken)])), Err(RowError::Refused(0)));
    }
}

#[test]
fn rows_in_binary_and_text() {
    let inner = record(&[(25, Some(b"123-45-6789")), (23, Some(&[0, 0, 0, 1]))]);
    let value = record(&[(23, Some(&[0, 0, 0, 9])), (2249, Some(&inner)), (25, None), (114, Some(b"\"123-45-6780\""))]);
    let inner = record(&[(25, Some(b"****6789")), (23, Some(&[0, 0, 0, 1]))]);
    let expected = record(&[(23, Some(&[0, 0, 0, 9])), (2249, Some(&inner)), (25, None), (114, Some(b"\"****6780\""))]);
    assert_eq!(binary(2249, &value), Some(expected));
    assert_eq!(scanned(2249, "(1,\"123-45-6789\",x)").as_deref(), Some("(1,\"***********\",x)"));
    let composite = ColumnPlan::scan_composite(&detectors(), Opaque::Scan);
    assert_eq!(rewrite_one(composite, 1, &value), Some(binary(2249, &value)));
}

#[test]
fn rows_nested_without_end_are_not_shown() {
    let mut value = record(&[(25, Some(b"123-45-6789"))]);
    for _ in 0..40 {
        value = record(&[(2249, Some(&value))]);
    }
    let masked = binary(2249, &value).unwrap();
    assert!(masked.len() < value.len());
    assert!(!masked.windows(5).any(|window| window == b"45-67"));
}

#[test]
fn unknown_types_follow_the_callers_word() {
    let value = b"\0\0\0\x0b123-45-6789\0";
    assert_eq!(binary(70_000, value).unwrap(), b"\0\0\0\x0b***********\0");
    assert_eq!(scanned(70_000, "123-45-6789").as_deref(), Some("***********"));
    let null = ColumnPlan::scan(&detectors(), 70_000, Opaque::Null);
    assert_eq!(rewrite_one(null.clone(), 1, b"anything"), Some(None));
    assert_eq!(rewrite_one(null, 0, b"anything"), None);
}

#[test]
fn types_that_hold_no_text_are_not_looked_at() {
    for oid in [16, 17, 20, 21, 23, 26, 700, 701, 1082, 1114, 1184, 1700, 2950, 869, 1007, 1016, 790, 3904] {
        assert!(matches!(ColumnPlan::scan(&detectors(), oid, Opaque::Scan), ColumnPlan::Pass), "type {oid}");
    }
}
