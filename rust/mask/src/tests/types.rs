use model::Cell;
use serde_json::json;

use super::{KEY, kind, kinds, mask, rewrite_one};
use crate::{MaskKind, TypedMask};

fn text(spec: serde_json::Value, oid: u32, value: &str) -> Option<String> {
    rewrite_one(mask(spec, oid), 0, value.as_bytes()).unwrap().map(|value| String::from_utf8(value).unwrap())
}

fn binary(spec: serde_json::Value, oid: u32, value: &[u8]) -> Option<Vec<u8>> {
    rewrite_one(mask(spec, oid), 1, value).unwrap()
}

#[test]
fn which_pairs_there_are() {
    // full, null, replace, keep_first, keep_last, hmac; "hidden" is no number, UUID or single character.
    let table: [(&[u32], [bool; 6]); 7] = [
        (&[25, 1043, 1042, 19, 705], [true, true, true, true, true, true]),
        (&[18], [true, true, false, true, true, false]),
        (&[114, 3802, 142, 17], [true, true, true, false, false, true]),
        (&[2950], [true, true, false, false, false, true]),
        (&[21, 23, 20, 26, 1700, 700, 701, 16], [true, true, false, false, false, false]),
        (&[869, 650, 829, 774, 1009, 1007, 3807], [true, true, false, false, false, false]),
        (&[1082, 1114, 1184, 1083, 1186, 790, 3904, 600, 99_999, 0], [true, true, false, false, false, false]),
    ];
    for (oids, expected) in table {
        for oid in oids {
            let found: Vec<_> = kinds().iter().map(|kind| TypedMask::for_type(kind, *oid).is_some()).collect();
            assert_eq!(found, expected, "type {oid}");
        }
    }
}

#[test]
fn characters_are_kept_not_bytes_and_never_of_short_values() {
    let last = || json!({"keep_last": 4});
    assert_eq!(text(last(), 25, "123-45-6789").unwrap(), "****6789");
    assert_eq!(text(last(), 25, "12345678").unwrap(), "****5678");
    assert_eq!(text(last(), 25, "1234567").unwrap(), "****");
    assert_eq!(text(last(), 25, "").unwrap(), "****");
    assert_eq!(text(last(), 25, "ääääöüßé").unwrap(), "****öüßé");
    assert_eq!(text(last(), 25, "äääöüßé").unwrap(), "****");
    assert_eq!(text(last(), 1042, "123-45-6789         ").unwrap(), "****6789");
    assert_eq!(text(last(), 1042, "1234567             ").unwrap(), "****");
    assert_eq!(text(json!({"keep_first": 2}), 25, "žluť").unwrap(), "žl****");
    assert_eq!(text(json!({"keep_first": 2}), 25, "abc").unwrap(), "****");
    assert_eq!(text(last(), 18, "x").unwrap(), "*");
    assert_eq!(binary(last(), 25, b"\xff23456789\xfe").unwrap(), b"****");
}

#[test]
fn neutral_values_in_both_formats() {
    let full = || json!({"full": true});
    type Neutral = (u32, Option<&'static str>, Option<&'static [u8]>);
    let expected: [Neutral; 18] = [
        (25, Some("****"), Some(b"****")),
        (18, Some("*"), Some(b"*")),
        (114, Some("\"****\""), Some(b"\"****\"")),
        (3802, Some("\"****\""), Some(b"\x01\"****\"")),
        (2950, Some("00000000-0000-0000-0000-000000000000"), Some(&[0; 16])),
        (17, Some("\\x"), Some(b"")),
        (21, Some("0"), Some(&[0; 2])),
        (23, Some("0"), Some(&[0; 4])),
        (20, Some("0"), Some(&[0; 8])),
        (700, Some("0"), Some(&[0; 4])),
        (701, Some("0"), Some(&[0; 8])),
        (1700, Some("0"), Some(&[0; 8])),
        (869, Some("0.0.0.0"), Some(&[2, 32, 0, 4, 0, 0, 0, 0])),
        (650, Some("0.0.0.0/32"), Some(&[2, 32, 1, 4, 0, 0, 0, 0])),
        (829, Some("00:00:00:00:00:00"), Some(&[0; 6])),
        (1009, Some("{}"), Some(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 25])),
        (1184, None, None),
        (16, None, None),
    ];
    for (oid, as_text, as_binary) in expected {
        assert_eq!(text(full(), oid, "1").as_deref(), as_text, "type {oid}");
        assert_eq!(binary(full(), oid, b"1").as_deref(), as_binary, "type {oid}");
        let always = TypedMask::full(oid);
        assert_eq!(always.is_null(), as_text.is_none());
    }
}

#[test]
fn replacements_are_spelled_in_the_type() {
    let replace = |text: &str| json!({ "replace": text });
    assert_eq!(text(replace("****"), 25, "x").unwrap(), "****");
    assert_eq!(text(replace("a\"b\\"), 114, "{}").unwrap(), r#""a\"b\\""#);
    assert_eq!(binary(replace("a\"b"), 3802, b"\x01{}").unwrap(), b"\x01\"a\\\"b\"");
    assert_eq!(binary(replace("-1"), 21, b"\0\0").unwrap(), [255, 255]);
    assert_eq!(text(replace("99"), 17, "\\x00").unwrap(), "\\x3939");
    assert_eq!(binary(replace("1.5"), 701, b"").unwrap(), 1.5f64.to_be_bytes());
    assert_eq!(text(replace("true"), 16, "f").unwrap(), "t");
    let uuid = "01234567-89AB-cdef-0123-456789abcdef";
    assert_eq!(text(replace(uuid), 2950, uuid).unwrap(), uuid.to_ascii_lowercase());
    assert_eq!(binary(replace(uuid), 2950, &[0; 16]).unwrap()[..3], [0x01, 0x23, 0x45]);
    for (oid, wrong) in [(21, "32768"), (23, "1.0"), (26, "-1"), (1700, "1e3"), (1700, "."), (1700, "1."), (701, "inf")]
    {
        assert!(TypedMask::for_type(&kind(replace(wrong)), oid).is_none(), "{wrong} as {oid}");
    }
    for (oid, wrong) in [
        (142, "<a>"),
        (142, "&amp"),
        (18, "ab"),
        (16, "yes"),
        (2950, "0123"),
        (2950, "+1234567-89AB-cdef-0123-456789abcdef"),
    ] {
        assert!(TypedMask::for_type(&kind(replace(wrong)), oid).is_none(), "{wrong} as {oid}");
    }
    assert!(TypedMask::for_type(&kind(replace(&"x".repeat(64))), 19).is_none());
}

#[test]
fn numerics_in_base_ten_thousand() {
    let numeric = |text: &str| {
        let bytes = binary(json!({ "replace": text }), 1700, b"").unwrap();
        bytes.chunks(2).map(|pair| i16::from_be_bytes([pair[0], pair[1]])).collect::<Vec<_>>()
    };
    // Number of digits, weight, sign, scale, digits.
    assert_eq!(numeric("0"), [0, 0, 0, 0]);
    assert_eq!(numeric("-0.00"), [0, 0, 0, 2]);
    assert_eq!(numeric("1"), [1, 0, 0, 0, 1]);
    assert_eq!(numeric("-12345.678"), [3, 1, 0x4000, 3, 1, 2345, 6780]);
    assert_eq!(numeric("0.00012"), [2, -1, 0, 5, 1, 2000]);
    assert_eq!(numeric("10000"), [1, 1, 0, 0, 1]);
    assert_eq!(numeric("100000000.0001"), [4, 2, 0, 4, 1, 0, 0, 1]);
}

#[test]
fn pseudonyms_are_stable_keyed_and_alike_in_both_formats() {
    let hmac = || json!({"hmac": {"key": KEY, "id": "k1"}});
    let one = text(hmac(), 25, "ada@example.com").unwrap();
    assert_eq!(one.len(), 29);
    assert!(one.starts_with("k1:") && one[3..].bytes().all(|byte| byte.is_ascii_alphanumeric()));
    assert_eq!(binary(hmac(), 1043, b"ada@example.com").unwrap(), one.as_bytes());
    assert_eq!(text(hmac(), 1042, "ada@example.com   ").unwrap(), one);
    assert_ne!(text(hmac(), 25, "ada@example.con").unwrap(), one);
    let other = json!({"hmac": {"key": KEY.replace("00", "ff"), "id": "k1"}});
    assert_ne!(text(other, 25, "ada@example.com").unwrap(), one);

    let uuid = text(hmac(), 2950, "01234567-89ab-cdef-0123-456789abcdef").unwrap();
    assert_eq!((uuid.len(), &uuid[14..15]), (36, "8"));
    assert!("89ab".contains(&uuid[19..20]));
    let bytes = [1, 35, 69, 103, 137, 171, 205, 239, 1, 35, 69, 103, 137, 171, 205, 239];
    let spelled = binary(hmac(), 2950, &bytes).unwrap();
    assert_eq!(uuid.replace('-', ""), spelled.iter().map(|byte| format!("{byte:02x}")).collect::<String>());

    let raw = binary(hmac(), 17, b"a\\\x01").unwrap();
    assert_eq!(raw.len(), 16);
    let spelled = format!("\\x{}", raw.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    assert_eq!(text(hmac(), 17, "\\x615c01").unwrap(), spelled);
    assert_eq!(text(hmac(), 17, "a\\\\\\001").unwrap(), spelled);

    let json = text(hmac(), 3802, "{\"a\": 1}").unwrap();
    assert_eq!(binary(hmac(), 3802, b"\x01{\"a\": 1}").unwrap(), [b"\x01", json.as_bytes()].concat());
    assert!(json.starts_with("\"k1:") && json.ends_with('"'));
}

#[test]
fn the_pseudonym_is_the_published_function() {
    // HMAC-SHA-256 of RFC 4231, test case 2 has a key of four bytes, which is too short here; case 1 has twenty.
    let kind = kind(json!({"hmac": {"key": "0b".repeat(20), "id": "k"}}));
    let MaskKind::Hmac(pseudonym) = &kind else { panic!("not a pseudonym") };
    let tag = pseudonym.tag([&b"Hi "[..], b"There"]);
    assert_eq!(tag[..8], [0xb0, 0x34, 0x4c, 0x61, 0xd8, 0xdb, 0x38, 0x53]);
    // b0344c61d8 in groups of five bits: 22 0 26 4 24 24 14 24.
    let mut out = bytes::BytesMut::new();
    kind.write_piece(b"Hi There", &mut out);
    assert!(out.starts_with(b"k:p0t4rrer"), "{out:?}");
}

#[test]
fn a_key_does_not_show_in_debug_output() {
    let shown = format!("{:?}", kind(json!({"hmac": {"key": KEY, "id": "k1"}})));
    assert_eq!(shown, "Hmac(Pseudonym(k1))");
}

#[test]
fn null_stays_null_under_every_mask() {
    for kind in kinds() {
        let mut out = bytes::BytesMut::new();
        let mask = TypedMask::for_type(&kind, 25).unwrap();
        assert_eq!(mask.write(Cell::Null, &mut out), crate::typed::Written::Null);
        assert!(out.is_empty());
    }
}

#[test]
fn masks_that_say_nothing_or_too_much_are_mistakes() {
    for wrong in [
        json!({}),
        json!("full"),
        json!(null),
        json!({"full": false}),
        json!({"full": true, "null": true}),
        json!({"keep_last": 0}),
        json!({"keep_last": 65}),
        json!({"keep_last": -1}),
        json!({"keep_last": "4"}),
        json!({"keep_frist": 4}),
        json!({"replace": 4}),
        json!({"replace": ""}),
        json!({"replace": "a\0b"}),
        json!({"hmac": {"id": "k1"}}),
        json!({"hmac": {"key": "00", "id": "k1"}}),
        json!({"hmac": {"key": "zz".repeat(16), "id": "k1"}}),
        json!({"hmac": {"key": KEY, "id": "k 1"}}),
        json!({"hmac": {"key": KEY, "id": ""}}),
        json!({"hmac": {"key": KEY, "id": "k1", "salt": "x"}}),
    ] {
        let (message, hint) = MaskKind::read(&wrong).expect_err(&wrong.to_string());
        assert!(!message.is_empty() && !hint.is_empty());
        assert!(!message.contains(KEY) && !hint.contains(KEY));
    }
}
