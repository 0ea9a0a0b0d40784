use super::scanned;

#[test]
fn strings_names_and_numbers() {
    let cases = [
        (r#"{"ssn": "123-45-6789"}"#, r#"{"ssn": "****6789"}"#),
        (r#"{"123-45-6789": [1, "x"]}"#, r#"{"****6789": [1, "x"]}"#),
        (r#"{"card": 4111111111111111, "n": 5}"#, r#"{"card": 0, "n": 5}"#),
        (r#"["card 4111 1111 1111 1111"]"#, r#"["card *******************"]"#),
        (r#""(555) 123-4567""#, r#""<\"no\\phone\",}>""#),
        ("4111111111111111", "0"),
    ];
    for (value, expected) in cases {
        assert_eq!(scanned(114, value).as_deref(), Some(expected), "{value}");
        assert_eq!(scanned(3802, value).as_deref(), Some(expected), "{value}");
        serde_json::from_str::<serde_json::Value>(expected).unwrap();
    }
}

#[test]
fn escapes_hide_nothing() {
    for value in [
        r#"{"e": "ada\u0040example.com"}"#,
        r#"{"e": "\u0061\u0064\u0061\u0040\u0065xample\u002ecom"}"#,
        r#"{"e": "line\nada@example.com"}"#,
        r#"{"e": "\tada@example.com\u0000"}"#,
        r#"["\ud83d\ude00 ada@example.com", "\""]"#,
    ] {
        let masked = scanned(114, value).unwrap();
        assert!(masked.contains("k1:"), "{masked}");
        assert!(!masked.contains("ada") && !masked.contains("example"), "{masked}");
        serde_json::from_str::<serde_json::Value>(&masked).expect(&masked);
        // A text column that holds JSON gets the same look.
        let as_text = scanned(25, value).unwrap();
        assert!(!as_text.contains("example") && !as_text.contains("xample"), "{as_text}");
    }
    for (value, expected) in [
        (r#"{"s": "\u0031\u0032\u0033-45-6789"}"#, r#"{"s": "****6789"}"#),
        (r#"{"s": "\n123-45-6789"}"#, r#"{"s": "\u000a****6789"}"#),
        (r#"{"s": "a\\", "t": "123-45-6789"}"#, r#"{"s": "a\\", "t": "****6789"}"#),
        (r#"{"p": "030\/12345678"}"#, r#"{"p": "<\"no\\phone\",}>"}"#),
        (r#"{"i": "\nDE89370400440532013000"}"#, r#"{"i": "\u000a**********************"}"#),
    ] {
        assert_eq!(scanned(114, value).as_deref(), Some(expected));
        assert_eq!(scanned(25, value).as_deref(), Some(expected));
    }
}

#[test]
fn json_without_a_hit_stays_byte_for_byte() {
    for value in [r#"{"a": "\u0041\/\\", "b": [1.5e10, -2, true, null]}"#, r#"{"a" :  "x@y"}"#, "[]", "\"\\ud800\""] {
        assert_eq!(scanned(114, value), None, "{value}");
    }
}

#[test]
fn what_is_no_json_is_masked_whole() {
    for value in [r#"{"a": "123-45-6789"#, "123-45-6789 @x", r#"{'a': "a@b.co"}"#, r#"["123-45-6789\"#] {
        assert_eq!(scanned(114, value).as_deref(), Some("\"****\""), "{value}");
    }
}

#[test]
fn text_that_only_looks_like_json_is_still_scanned_as_text() {
    assert_eq!(scanned(25, r#"{broken \u0040 123-45-6789"#).as_deref(), Some(r#"{broken \u0040 ****6789"#));
    assert_eq!(scanned(25, r#"[123-45-6789, "\u0041"]"#).as_deref(), Some(r#"[****6789, "\u0041"]"#));
    let both = scanned(25, r#"["ada\u0040example.com"] 123-45-6789"#).unwrap();
    assert!(both.ends_with("] ****6789"), "{both}");
}

#[test]
fn jsonb_in_binary_keeps_its_version() {
    let plan = || crate::ColumnPlan::scan(&super::detectors(), 3802, crate::Opaque::Scan);
    let masked = super::rewrite_one(plan(), 1, b"\x01{\"s\": \"123-45-6789\"}").unwrap().unwrap();
    assert_eq!(masked, b"\x01{\"s\": \"****6789\"}");
    assert_eq!(super::rewrite_one(plan(), 1, b"\x01{\"s\": 1}"), None);
    // An unknown version with something suspicious in it cannot be read, so nothing of it is shown.
    let unknown = super::rewrite_one(plan(), 1, b"\x02{\"s\": \"123-45-6789\"}").unwrap().unwrap();
    assert_eq!(unknown, b"\x01\"****\"");
}
