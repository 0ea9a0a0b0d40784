use bytes::BytesMut;
use serde_json::json;

use super::{cells, detectors, mask, rewrite, row};
use crate::{ColumnPlan, Opaque, Rewriter, RowError, RowPlan};

#[test]
fn masked_columns_change_and_the_others_do_not() {
    let plan = RowPlan::new(vec![
        ColumnPlan::Pass,
        mask(json!({"keep_last": 4}), 25),
        mask(json!({"null": true}), 25),
        mask(json!({"full": true}), 23),
        ColumnPlan::Pass,
    ]);
    let body = row(&[Some(b"1"), Some(b"123-45-6789"), Some(b"x"), Some(b"42"), Some(b"\xff\x00")]);
    let rewritten = rewrite(&plan, &[], &body).unwrap().unwrap();
    let expected: [Option<&[u8]>; 5] = [Some(b"1"), Some(b"****6789"), None, Some(b"0"), Some(b"\xff\x00")];
    assert_eq!(rewritten.iter().map(Option::as_deref).collect::<Vec<_>>(), expected);
}

#[test]
fn null_stays_null_and_such_a_row_is_not_copied() {
    let plan = RowPlan::new(vec![mask(json!({"full": true}), 25), ColumnPlan::Pass]);
    assert_eq!(rewrite(&plan, &[], &row(&[None, Some(b"x")])), Ok(None));
}

#[test]
fn rows_without_a_hit_are_not_copied() {
    let plan = RowPlan::new(vec![ColumnPlan::scan(&detectors(), 25, Opaque::Scan); 3]);
    let body = row(&[Some(b"nothing"), None, Some(b"2024-01-15 12:30:45 @ noon, 4 of 12")]);
    assert_eq!(rewrite(&plan, &[], &body), Ok(None));
}

#[test]
fn several_hits_in_several_cells() {
    let plan = RowPlan::new(vec![ColumnPlan::scan(&detectors(), 25, Opaque::Scan); 3]);
    let body = row(&[Some(b"a 123-45-6789 b 987-65-4321"), Some(b"x"), Some(b"card 4111111111111111")]);
    let body = body.as_slice();
    let rewritten = rewrite(&plan, &[0], body).unwrap().unwrap();
    // 987 is no area; 4321 stays.
    assert_eq!(rewritten[0].as_deref(), Some(&b"a ****6789 b 987-65-4321"[..]));
    assert_eq!(rewritten[1].as_deref(), Some(&b"x"[..]));
    assert_eq!(rewritten[2].as_deref(), Some(&b"card ****************"[..]));
}

#[test]
fn formats_are_one_for_all_or_one_each() {
    let plan = RowPlan::new(vec![mask(json!({"full": true}), 23), mask(json!({"full": true}), 23)]);
    let body = row(&[Some(b"\0\0\0\x2a"), Some(b"42")]);
    let rewritten = rewrite(&plan, &[1, 0], &body).unwrap().unwrap();
    assert_eq!(rewritten, [Some(vec![0; 4]), Some(b"0".to_vec())]);
    let rewritten = rewrite(&plan, &[1], &body).unwrap().unwrap();
    assert_eq!(rewritten, [Some(vec![0; 4]), Some(vec![0; 4])]);
    let three = RowPlan::new(vec![mask(json!({"full": true}), 23); 3]);
    let body = row(&[Some(b"1"), Some(b"1"), Some(b"1")]);
    assert!(matches!(rewrite(&three, &[0, 1], &body), Err(RowError::Malformed(_))));
    assert!(matches!(rewrite(&plan, &[2], &row(&[Some(b"1"), None])), Err(RowError::Malformed(_))));
}

#[test]
fn a_refused_column_stops_the_row() {
    let plan = RowPlan::new(vec![mask(json!({"full": true}), 25), ColumnPlan::Refuse]);
    assert_eq!(rewrite(&plan, &[], &row(&[Some(b"a"), Some(b"b")])), Err(RowError::Refused(1)));
    assert_eq!(rewrite(&plan, &[], &row(&[None, None])), Err(RowError::Refused(1)));
    assert_eq!(plan.refused(), Some(1));
    let plan = RowPlan::new(vec![ColumnPlan::scan(&detectors(), 99_999, Opaque::Refuse)]);
    assert_eq!(rewrite(&plan, &[1], &row(&[Some(b"b")])), Err(RowError::Refused(0)));
    assert_eq!(rewrite(&plan, &[0], &row(&[Some(b"b")])), Ok(None));
}

#[test]
fn a_malformed_row_is_an_error_and_leaves_nothing() {
    let plan = RowPlan::new(vec![mask(json!({"full": true}), 25), ColumnPlan::Pass]);
    let good = row(&[Some(b"secret"), Some(b"other")]);
    for end in 0..good.len() {
        assert!(matches!(rewrite(&plan, &[], &good[..end]), Err(RowError::Malformed(_))), "cut at {end}");
    }
    assert!(matches!(rewrite(&plan, &[], &[&good[..], b"x"].concat()), Err(RowError::Malformed(_))));
    for length in [-2i32, i32::MIN, i32::MAX, 7] {
        let mut hostile = good.clone();
        hostile[2..6].copy_from_slice(&length.to_be_bytes());
        assert!(matches!(rewrite(&plan, &[], &hostile), Err(RowError::Malformed(_))), "length {length}");
    }
    for count in [0u16, 1, 3, 0xffff] {
        let mut hostile = good.clone();
        hostile[..2].copy_from_slice(&count.to_be_bytes());
        assert!(matches!(rewrite(&plan, &[], &hostile), Err(RowError::Malformed(_))), "count {count}");
    }
}

#[test]
fn a_plan_that_passes_everything_does_not_look() {
    let plan = RowPlan::new(vec![ColumnPlan::Pass; 2]);
    assert!(plan.passes());
    assert_eq!(rewrite(&plan, &[], b"not a row"), Ok(None));
}

#[test]
fn one_rewriter_serves_many_rows_one_after_the_other() {
    let plan = RowPlan::new(vec![ColumnPlan::scan(&detectors(), 25, Opaque::Scan)]);
    let (mut rewriter, mut out) = (Rewriter::new(), BytesMut::new());
    for (value, expected) in [("x 123-45-6789", "x ****6789"), ("nothing", ""), ("123-45-6780", "****6780")] {
        out.clear();
        let outcome = rewriter.rewrite_row(&plan, &[], &row(&[Some(value.as_bytes())]), &mut out).unwrap();
        assert_eq!(outcome.changed, !expected.is_empty());
        if outcome.changed {
            assert_eq!(cells(&out[5..]), [Some(expected.as_bytes().to_vec())]);
        }
    }
}
