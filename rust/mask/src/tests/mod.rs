mod classes;
mod copy;
mod json;
mod library;
mod nested;
mod properties;
mod rows;
mod types;

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use serde_json::json;

use crate::{ColumnPlan, Detectors, MaskKind, Rewriter, RowError, RowPlan, TypedMask};

pub(crate) const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

pub(crate) fn kind(value: serde_json::Value) -> MaskKind {
    MaskKind::read(&value).unwrap()
}

pub(crate) fn kinds() -> Vec<MaskKind> {
    [
        json!({"full": true}),
        json!({"null": true}),
        json!({"replace": "hidden"}),
        json!({"keep_first": 2}),
        json!({"keep_last": 4}),
        json!({"hmac": {"key": KEY, "id": "k1"}}),
    ]
    .into_iter()
    .map(kind)
    .collect()
}

pub(crate) fn mask(value: serde_json::Value, oid: u32) -> ColumnPlan {
    ColumnPlan::Mask(TypedMask::for_type(&kind(value), oid).unwrap())
}

/// All five detectors; SSNs keep their last four, e-mail becomes a pseudonym, phones a fixed text that needs escaping,
/// the others stars.
pub(crate) fn detectors() -> Arc<Detectors> {
    let masks = [
        ("us_ssn", Some(kind(json!({"keep_last": 4})))),
        ("email", Some(kind(json!({"hmac": {"key": KEY, "id": "k1"}})))),
        ("phone", Some(kind(json!({"replace": "<\"no\\phone\",}>"})))),
        ("payment_card", None),
        ("iban", None),
    ];
    Arc::new(Detectors::new(&masks).unwrap())
}

/// A DataRow's body.
pub(crate) fn row(cells: &[Option<&[u8]>]) -> Vec<u8> {
    let mut body = BytesMut::new();
    body.put_u16(cells.len() as u16);
    for cell in cells {
        match cell {
            Some(value) => {
                body.put_i32(value.len() as i32);
                body.put_slice(value);
            }
            None => body.put_i32(-1),
        }
    }
    body.to_vec()
}

/// Takes a DataRow's body apart without any of the crate's code.
pub(crate) fn cells(mut body: &[u8]) -> Vec<Option<Vec<u8>>> {
    let mut int = |bytes: usize| {
        let (taken, rest) = body.split_at(bytes);
        body = rest;
        taken.to_vec()
    };
    let count = u16::from_be_bytes(int(2).try_into().unwrap());
    let cells = (0..count)
        .map(|_| match i32::from_be_bytes(int(4).try_into().unwrap()) {
            -1 => None,
            length => Some(int(usize::try_from(length).unwrap())),
        })
        .collect();
    assert!(body.is_empty());
    cells
}

/// Rewrites one row; `None` if it is to be forwarded as it is.
pub(crate) fn rewrite(plan: &RowPlan, formats: &[i16], body: &[u8]) -> Result<Option<Vec<Option<Vec<u8>>>>, RowError> {
    let mut out = BytesMut::from(&b"before"[..]);
    let outcome = Rewriter::new().rewrite_row(plan, formats, body, &mut out);
    let frame = out.strip_prefix(b"before").unwrap();
    let Ok(outcome) = outcome else {
        assert!(frame.is_empty(), "an error leaves nothing behind");
        return outcome.map(|_| None);
    };
    assert_eq!(outcome.changed, outcome.masked_cells > 0);
    if !outcome.changed {
        assert!(frame.is_empty());
        return Ok(None);
    }
    assert_eq!(frame[0], b'D');
    assert_eq!(u32::from_be_bytes(frame[1..5].try_into().unwrap()) as usize, frame.len() - 1);
    Ok(Some(cells(&frame[5..])))
}

/// Rewrites the only value of a one-column row; `None` if it stays as it is.
pub(crate) fn rewrite_one(plan: ColumnPlan, format: i16, value: &[u8]) -> Option<Option<Vec<u8>>> {
    let rewritten = rewrite(&RowPlan::new(vec![plan]), &[format], &row(&[Some(value)])).unwrap();
    rewritten.map(|mut cells| cells.remove(0))
}

/// A text value of type `oid` under the detectors, as text.
pub(crate) fn scanned(oid: u32, value: &str) -> Option<String> {
    let plan = ColumnPlan::scan(&detectors(), oid, crate::Opaque::Scan);
    rewrite_one(plan, 0, value.as_bytes()).map(|value| String::from_utf8(value.unwrap()).unwrap())
}
