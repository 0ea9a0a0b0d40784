use bytes::BytesMut;
use proptest::prelude::*;

use super::{cells, detectors, kinds, rewrite_one, row};
use crate::{ColumnPlan, CopyFormat, CopyRewriter, MaskKind, Opaque, Rewriter, RowPlan, TypedMask};

/// Whether a reader of the type would take `value` in the text format.
fn reads_as_text(oid: u32, value: &[u8]) -> bool {
    let text = std::str::from_utf8(value).unwrap();
    match oid {
        18 => value.len() == 1,
        19 => value.len() < 64,
        114 | 3802 => serde_json::from_str::<serde_json::Value>(text).is_ok(),
        142 => !text.contains(['<', '&']),
        17 => {
            text.starts_with("\\x")
                && text.len().is_multiple_of(2)
                && text[2..].bytes().all(|byte| byte.is_ascii_hexdigit())
        }
        2950 => text.len() == 36 && text.replace('-', "").len() == 32,
        16 => ["t", "f"].contains(&text),
        20 | 21 | 23 | 26 | 700 | 701 | 1700 => text.parse::<f64>().is_ok(),
        869 => text.parse::<std::net::IpAddr>().is_ok(),
        1009 | 1007 => text == "{}",
        _ => !text.contains('\0'),
    }
}

/// Whether a reader of the type would take `value` in the binary format.
fn reads_as_binary(oid: u32, value: &[u8]) -> bool {
    match oid {
        16 | 18 => value.len() == 1,
        21 => value.len() == 2,
        23 | 26 | 700 => value.len() == 4,
        20 | 701 => value.len() == 8,
        2950 => value.len() == 16,
        1700 => value.len() >= 8 && value.len() == 8 + 2 * usize::from(u16::from_be_bytes([value[0], value[1]])),
        3802 => value[0] == 1 && serde_json::from_slice::<serde_json::Value>(&value[1..]).is_ok(),
        114 => serde_json::from_slice::<serde_json::Value>(value).is_ok(),
        869 | 650 => value.len() == 8,
        1009 | 1007 => value.len() == 12,
        17 => true,
        _ => std::str::from_utf8(value).is_ok(),
    }
}

/// Whether any five bytes of `value` stand in `masked` other than within what the kind keeps.
fn leaks(kind: &MaskKind, value: &[u8], masked: &[u8]) -> bool {
    let hidden = match kind {
        MaskKind::KeepFirst(_) | MaskKind::KeepLast(_) => {
            let stars = masked.windows(4).position(|window| window == b"****").unwrap();
            let kept = masked.len() - 4;
            // What is kept stands at one side only, and at most four characters of it.
            assert!(stars == 0 || stars == kept);
            return String::from_utf8_lossy(masked).chars().filter(|c| *c != '*').count() > 4;
        }
        _ => masked,
    };
    value.windows(5).any(|piece| hidden.windows(5).any(|window| window == piece))
}

const TYPES: [u32; 24] = [
    25, 1043, 1042, 19, 18, 705, 114, 3802, 142, 17, 2950, 16, 20, 21, 23, 26, 700, 701, 1700, 869, 650, 1009, 1007,
    1184,
];

fn cell() -> impl Strategy<Value = Option<Vec<u8>>> {
    let text = prop_oneof![
        "[ -~]{0,20}",
        Just("x 123-45-6789 y".to_owned()),
        Just("ada@example.com".to_owned()),
        Just(r#"{"a": "a\u0040b.co", "n": 4111111111111111}"#.to_owned()),
        Just("(1,\"123-45-6789\")".to_owned()),
        Just("{a,123-45-6789}".to_owned()),
    ];
    let value = prop_oneof![text.prop_map(String::into_bytes), prop::collection::vec(any::<u8>(), 0..30)];
    prop::option::of(value)
}

fn plans(oid: u32) -> Vec<ColumnPlan> {
    let masks = kinds().into_iter().filter_map(|kind| TypedMask::for_type(&kind, oid)).map(ColumnPlan::Mask);
    masks.chain([ColumnPlan::Pass, ColumnPlan::scan(&detectors(), oid, Opaque::Scan)]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_masked_value_is_valid_and_tells_nothing(value in "[a-zA-Z0-9äß@. -]{5,40}", place in 0..TYPES.len()) {
        let oid = TYPES[place];
        for kind in kinds() {
            let Some(mask) = TypedMask::for_type(&kind, oid) else { continue };
            for format in [0, 1] {
                let plan = ColumnPlan::Mask(mask.clone());
                let masked = rewrite_one(plan, format, value.as_bytes()).unwrap();
                prop_assert_eq!(masked.is_none(), mask.is_null());
                let Some(masked) = masked else { continue };
                let reads = if format == 0 { reads_as_text(oid, &masked) } else { reads_as_binary(oid, &masked) };
                prop_assert!(reads, "{:?} gives {:?} for type {}", kind, masked, oid);
                if oid != 18 {
                    prop_assert!(!leaks(&kind, value.as_bytes(), &masked), "{:?}: {} in {:?}", kind, value, masked);
                }
            }
        }
    }

    #[test]
    fn keeping_never_shows_half_of_a_value(value in "\\PC{0,24}", count in 1usize..8) {
        for kind in [MaskKind::KeepFirst(count), MaskKind::KeepLast(count)] {
            let mut out = BytesMut::new();
            kind.write_piece(value.as_bytes(), &mut out);
            let masked = std::str::from_utf8(&out).unwrap();
            let characters = value.chars().count();
            let kept = if characters < 2 * count { 0 } else { count };
            prop_assert_eq!(masked.chars().count(), kept + 4);
            let shown: String = match kind {
                MaskKind::KeepFirst(_) => value.chars().take(kept).chain("****".chars()).collect(),
                _ => "****".chars().chain(value.chars().skip(characters - kept)).collect(),
            };
            prop_assert_eq!(masked, shown);
        }
    }

    #[test]
    fn good_rows_come_out_as_good_rows(
        columns in prop::collection::vec((0..TYPES.len(), 0usize..8, 0i16..2, cell()), 0..6),
    ) {
        let pick = |place: usize, way: usize| { let plans = plans(TYPES[place]); plans[way % plans.len()].clone() };
        let plan = RowPlan::new(columns.iter().map(|(place, way, ..)| pick(*place, *way)).collect());
        let formats: Vec<i16> = columns.iter().map(|(_, _, format, _)| *format).collect();
        let values: Vec<_> = columns.iter().map(|(.., value)| value.as_deref()).collect();
        let body = row(&values);
        let mut out = BytesMut::new();
        let formats = if formats.len() == 1 { vec![formats[0]] } else { formats };
        let outcome = Rewriter::new().rewrite_row(&plan, &formats, &body, &mut out).unwrap();
        if outcome.changed {
            let rewritten = cells(&out[5..]);
            prop_assert_eq!(rewritten.len(), values.len());
            for ((value, new), column) in values.iter().zip(&rewritten).zip(plan.columns()) {
                prop_assert!(value.is_some() || new.is_none(), "NULL stays NULL");
                if matches!(column, ColumnPlan::Pass) {
                    prop_assert_eq!(*value, new.as_deref());
                }
            }
        } else {
            prop_assert!(out.is_empty());
        }
    }

    #[test]
    fn hostile_bytes_never_panic(
        body in prop::collection::vec(any::<u8>(), 0..80),
        count in 0usize..4,
        place in 0..TYPES.len(),
        way in 0usize..8,
    ) {
        let plans = plans(TYPES[place]);
        let plan = RowPlan::new(vec![plans[way % plans.len()].clone(); count]);
        let mut out = BytesMut::new();
        let mut announced = (count as u16).to_be_bytes().to_vec();
        announced.extend_from_slice(&body);
        for body in [&body, &announced] {
            let outcome = Rewriter::new().rewrite_row(&plan, &[1], body, &mut out);
            prop_assert!(outcome.is_ok_and(|outcome| outcome.changed) || out.is_empty());
            out.clear();
        }
        for format in [CopyFormat::text(), CopyFormat::csv(), CopyFormat::Binary] {
            let mut rewriter = CopyRewriter::new(plan.clone(), format, 64);
            let _ = rewriter.push(&body, &mut out).and_then(|_| rewriter.push(b"\n", &mut out));
            let _ = rewriter.finish();
        }
    }

    #[test]
    fn hostile_nested_values_never_panic(
        value in prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(25), Just(b'@'), Just(b'{'), Just(b'"'),
            Just(b'\\'), Just(b'u'), any::<u8>()], 0..60),
    ) {
        let mut hostile = value.clone();
        hostile.extend_from_slice(b" 123-45-6789 \\u0040");
        for oid in [25, 114, 3802, 1009, 3807, 199, 2249, 2287, 70_000] {
            for format in [0, 1] {
                let plan = ColumnPlan::scan(&detectors(), oid, Opaque::Scan);
                if let Some(Some(masked)) = rewrite_one(plan, format, &hostile) {
                    prop_assert!(!masked.windows(9).any(|window| window == b"123-45-67"));
                }
            }
        }
    }

    #[test]
    fn json_stays_json_and_says_the_same_elsewhere(words in prop::collection::vec("\\PC{0,6}", 0..5)) {
        let value = serde_json::json!({"words": words, "ssn": "123-45-6789", "n": [1, 4111111111111111u64]});
        let text = value.to_string();
        let escaped: String = text.chars().flat_map(|c| match c {
            '1' => "1".chars().collect::<Vec<_>>(),
            c if c.is_ascii() => vec![c],
            c => c.encode_utf16(&mut [0; 2]).iter().flat_map(|unit| format!("\\u{unit:04x}").chars().collect::<Vec<_>>()).collect(),
        }).collect();
        for text in [text, escaped] {
            let masked = super::scanned(114, &text).unwrap();
            let masked: serde_json::Value = serde_json::from_str(&masked).unwrap();
            prop_assert_eq!(&masked["words"], &value["words"]);
            prop_assert_eq!(masked["ssn"].as_str(), Some("****6789"));
            prop_assert_eq!(&masked["n"], &serde_json::json!([1, 0]));
        }
    }
}
