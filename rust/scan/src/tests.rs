use proptest::prelude::*;

use crate::{Scanner, Span, names, reference};

fn found(detector: &str, value: &[u8]) -> Vec<String> {
    let scanner = Scanner::new(&[detector]).unwrap();
    let mut spans = vec![];
    scanner.find(value, &mut spans);
    assert_eq!(scanner.hits(value), !spans.is_empty(), "{value:?}");
    spans.iter().map(|span| String::from_utf8_lossy(&value[span.start..span.end]).into_owned()).collect()
}

fn finds(detector: &str, cases: &[(&str, &str)]) {
    for (value, expected) in cases {
        assert_eq!(found(detector, value.as_bytes()), [*expected], "{detector} in {value:?}");
    }
}

fn passes(detector: &str, values: &[&str]) {
    for value in values {
        assert_eq!(found(detector, value.as_bytes()), Vec::<String>::new(), "{detector} in {value:?}");
    }
}

#[test]
fn social_security_numbers() {
    finds(
        "us_ssn",
        &[
            ("123-45-6789", "123-45-6789"),
            ("ssn:899-99-9999,", "899-99-9999"),
            ("no 123 45 6789 here", "123 45 6789"),
            ("é123-45-6789é", "123-45-6789"),
            ("000-45-6789 and 001-01-0001", "001-01-0001"),
            ("123-45-6789.", "123-45-6789"),
        ],
    );
    passes(
        "us_ssn",
        &[
            "000-12-3456",
            "666-12-3456",
            "900-12-3456",
            "999-99-9999",
            "123-00-4567",
            "123-45-0000",
            "123-45 6789",
            "123456789",
            "1123-45-6789",
            "123-45-67890",
            "a123-45-6789",
            "123-45-6789_",
            "2024-01-15 12:30:45",
            "550e8400-e29b-41d4-a716-446655440000",
        ],
    );
    assert_eq!(found("us_ssn", b"\xff123-45-6789\xfe"), ["123-45-6789"]);
}

#[test]
fn payment_cards() {
    finds(
        "payment_card",
        &[
            ("4111111111111111", "4111111111111111"),
            ("4111 1111 1111 1111", "4111 1111 1111 1111"),
            ("4111-1111-1111-1111", "4111-1111-1111-1111"),
            ("4111\u{a0}1111\u{a0}1111\u{a0}1111", "4111\u{a0}1111\u{a0}1111\u{a0}1111"),
            ("4111\u{2011}1111\u{2013}1111\u{202f}1111", "4111\u{2011}1111\u{2013}1111\u{202f}1111"),
            ("378282246310005", "378282246310005"),
            ("3782 822463 10005", "3782 822463 10005"),
            ("5555555555554444", "5555555555554444"),
            ("2223003122003222", "2223003122003222"),
            ("6011111111111117", "6011111111111117"),
            ("30569309025904", "30569309025904"),
            ("3530111333300000", "3530111333300000"),
            ("4222222222222", "4222222222222"),
            ("6304000000000000", "6304000000000000"),
            // What follows a card must not hide it, nor what precedes it.
            ("4111 1111 1111 1111 123", "4111 1111 1111 1111"),
            ("card 4111111111111111 12/29 737", "4111111111111111"),
            ("2 4111111111111111", "4111111111111111"),
            ("4 4111 1111 1111 1111", "4111 1111 1111 1111"),
        ],
    );
    passes(
        "payment_card",
        &[
            "4111111111111112",
            "1234567812345670",
            "0000000000000000",
            "411111111111",
            "4111  1111  1111  1111",
            "x4111111111111111",
            "41111111111111110000000",
            "1700000000000",
            "9999999999999995",
            "4111.1111.1111.1111",
        ],
    );
}

#[test]
fn addresses() {
    finds(
        "email",
        &[
            ("ada@example.com", "ada@example.com"),
            ("<Ada.L+news@mail.example.co.uk>", "Ada.L+news@mail.example.co.uk"),
            ("mailto:o'brien@example.ie?subject=x", "o'brien@example.ie"),
            ("jürgen@müller.de", "jürgen@müller.de"),
            ("用户@例子.中国", "用户@例子.中国"),
            ("x@xn--e1afmkfd.xn--p1ai", "x@xn--e1afmkfd.xn--p1ai"),
            ("a@b.co", "a@b.co"),
            ("'ada@example.com'", "ada@example.com"),
            ("?email=ada@example.com&x=1", "ada@example.com"),
            ("ada@example.com.", "ada@example.com"),
            ("a@a@example.com", "a@example.com"),
            ("_svc_@build-1.example.io", "_svc_@build-1.example.io"),
        ],
    );
    passes(
        "email",
        &["@", "ada@", "@example.com", "user@localhost", "a@b.c", "3 @ 4.50", "pkg@1.2.3", "a @example.com"],
    );
    assert_eq!(found("email", b"j\xfcrgen@example.com").len(), 1);
    let long = format!("{}@example.com", "x".repeat(5000));
    assert_eq!(found("email", long.as_bytes()), [long]);
    assert_eq!(found("email", b"a@b.com,c@d.org;e@f"), ["a@b.com", "c@d.org"]);
}

#[test]
fn phones() {
    finds(
        "phone",
        &[
            ("+15551234567", "+15551234567"),
            ("+1 (555) 123-4567", "+1 (555) 123-4567"),
            ("tel:+49 30 12345678", "+49 30 12345678"),
            ("+44 (0)20 7946 0958", "+44 (0)20 7946 0958"),
            ("+33.1.23.45.67.89", "+33.1.23.45.67.89"),
            ("0044 20 7946 0958", "0044 20 7946 0958"),
            ("555-123-4567", "555-123-4567"),
            ("555.123.4567", "555.123.4567"),
            ("(555) 123-4567", "(555) 123-4567"),
            ("1-555-123-4567", "1-555-123-4567"),
            ("call 555 123 4567 now", "555 123 4567"),
            ("020 7946 0958", "020 7946 0958"),
            ("(020) 7946 0958", "(020) 7946 0958"),
            ("030/12345678", "030/12345678"),
            ("0171-123 45 67", "0171-123 45 67"),
            ("01 23 45 67 89", "01 23 45 67 89"),
            ("07700 900123", "07700 900123"),
            ("09 123 4567", "09 123 4567"),
            ("030 12345678 2024", "030 12345678"),
            ("+1 555 123 4567 12345678", "+1 555 123 4567"),
        ],
    );
    passes(
        "phone",
        &[
            "2024-01-15",
            "01.02.2024",
            "01-02-2024 10:30",
            "2024-01-05 08:15:30",
            "01.02.2024 10:30",
            "02134-1234",
            "192.168.100.200",
            "123-45-6789",
            "5551234567",
            "0012345678901",
            "+00:00",
            "1+15551234567",
            "978-3-16-148410-0",
            "3.14159265358979",
        ],
    );
}

#[test]
fn bank_accounts() {
    finds(
        "iban",
        &[
            ("DE89370400440532013000", "DE89370400440532013000"),
            ("de89 3704 0044 0532 0130 00", "de89 3704 0044 0532 0130 00"),
            ("GB82 WEST 1234 5698 7654 32", "GB82 WEST 1234 5698 7654 32"),
            ("FR14 2004 1010 0505 0001 3M02 606 and more", "FR14 2004 1010 0505 0001 3M02 606"),
            ("NO93 8601 1117 947", "NO93 8601 1117 947"),
            ("MT84MALT011000012345MTLCAST001S", "MT84MALT011000012345MTLCAST001S"),
            ("iban=CH93-0076-2011-6238-5295-7", "CH93-0076-2011-6238-5295-7"),
        ],
    );
    passes(
        "iban",
        &[
            "DE89370400440532013001",
            "DE8937040044053201300",
            "DE893704004405320130000",
            "XX89370400440532013000",
            "XDE89370400440532013000",
            "order DE12 something else entirely here",
        ],
    );
}

#[test]
fn a_span_names_its_detector_and_swallows_what_it_contains() {
    let scanner = Scanner::new(&["phone", "iban", "email", "iban"]).unwrap();
    assert_eq!(scanner.detectors(), ["phone", "iban", "email"]);
    let mut spans = vec![];
    scanner.find(b"DE89 3704 0044 0532 0130 00, a@b.com", &mut spans);
    let names: Vec<_> = spans.iter().map(|span| (scanner.name(span.detector), span.mixed)).collect();
    assert_eq!(names, [("iban", false), ("email", false)]);
}

#[test]
fn matches_that_overlap_halfway_become_one_mixed_span() {
    let scanner = Scanner::new(&["email", "phone"]).unwrap();
    let mut spans = vec![];
    scanner.find(b"(555) 123-4567@example.com", &mut spans);
    assert_eq!(spans.len(), 1);
    assert_eq!((spans[0].start, spans[0].end, spans[0].mixed), (0, 26, true));
}

#[test]
fn an_unknown_detector_is_named_with_what_there_is() {
    let problem = Scanner::new(&["us_snn"]).unwrap_err();
    assert!(problem.message.contains("us_snn") && problem.hint.contains("us_ssn"), "{problem}");
    assert_eq!(names().count(), 5);
}

#[test]
fn hostile_values_cost_no_more_than_linear_time() {
    let scanner = Scanner::new(&names().collect::<Vec<_>>()).unwrap();
    let mut spans = vec![];
    for pattern in ["1 ", "4-", "a.", "a@", "a@a.", "+1 ", "00", "DE89", "0 ", "(0", "1-1.", "\u{a0}4", "555-"] {
        let value = pattern.repeat(200_000);
        let begun = std::time::Instant::now();
        scanner.find(value.as_bytes(), &mut spans);
        assert!(begun.elapsed().as_secs() < 20, "{pattern:?} took {:?}", begun.elapsed());
    }
}

/// Text made of pieces that are, or nearly are, what detectors look for.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => "[0-9]{1,5}".prop_map(String::into_bytes),
        3 => prop::sample::select(vec![
            " ", "-", ".", "/", "(", ")", "@", "+", "_", "'", "0", "00", "x", "a.b", "xn--", "\u{a0}", "\u{2011}", "é",
            "4111", "1111", "123-45-6789", "DE89", "3704", "0044 0532", "0130 00", ".com", "b@c", "555", "123-4567",
            "030", "+49", "4222222222222", "GB82 WEST", "a@b.co", "-00", "1 ",
        ]).prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..3),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// Card-like and IBAN-like texts with a good checksum, cut into groups and surrounded by digits.
fn grouped() -> impl Strategy<Value = Vec<u8>> {
    let number = prop::sample::select(vec![
        "4111111111111111",
        "378282246310005",
        "4222222222222",
        "6304000000000000",
        "DE89370400440532013000",
        "NO9386011117947",
    ]);
    let mark = prop::sample::select(vec!["", "", " ", "-", "\u{a0}", "  ", "."]);
    (number, prop::collection::vec(mark, 24), "[0-9 -]{0,6}", "[0-9a-z -]{0,6}").prop_map(
        |(number, marks, before, behind)| {
            let mut value = before.into_bytes();
            for (byte, mark) in number.bytes().zip(marks) {
                value.push(byte);
                value.extend_from_slice(mark.as_bytes());
            }
            value.extend_from_slice(behind.as_bytes());
            value
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_detector_agrees_with_the_reference(value in prop_oneof![hostile(), grouped()]) {
        let mut spans = vec![];
        for name in names() {
            let scanner = Scanner::new(&[name]).unwrap();
            scanner.find(&value, &mut spans);
            let ends: Vec<_> = spans.iter().map(|span| (span.start, span.end)).collect();
            prop_assert_eq!(ends, reference::find(&[name], &value), "{} in {:?}", name, String::from_utf8_lossy(&value));
            prop_assert_eq!(scanner.hits(&value), !spans.is_empty());
            prop_assert!(scanner.may_hit(&value) || spans.is_empty());
        }
    }

    #[test]
    fn all_detectors_together_give_their_union(value in prop_oneof![hostile(), grouped()]) {
        let all: Vec<_> = names().collect();
        let scanner = Scanner::new(&all).unwrap();
        let mut spans: Vec<Span> = vec![];
        scanner.find(&value, &mut spans);
        let ends: Vec<_> = spans.iter().map(|span| (span.start, span.end)).collect();
        prop_assert_eq!(ends, reference::find(&all, &value));
        for span in &spans {
            prop_assert!(reference::begins(scanner.name(span.detector), &value, span));
        }
    }
}
