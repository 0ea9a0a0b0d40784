use std::borrow::Cow;
use std::sync::Arc;

use serde_json::json;

use crate::{Classes, Masker, Reveals, scrub};

#[test]
fn built_in_detectors_put_stars() {
    let masker = Masker::builtin(&["us_ssn", "payment_card", "email"]).unwrap();
    assert!(matches!(masker.mask_bytes(b"nothing here"), Cow::Borrowed(b"nothing here")));
    assert_eq!(&*masker.mask_bytes(b"I am 123-45-6789."), b"I am ***********.");
    assert_eq!(&*masker.mask_bytes(br#"{"e": "a\u0040b.co"}"#), br#"{"e": "******"}"#);
    let mut spans = vec![];
    masker.scan(b"x 123-45-6789", &mut spans);
    assert_eq!((spans[0].start, spans[0].end, masker.detector(&spans[0])), (2, 13, "us_ssn"));
    assert!(Masker::builtin(&["nonsense"]).is_err());
}

#[test]
fn rows_with_named_columns() {
    let settings = json!({"classes": [
        {"name": "ssn", "columns": ["shop:public.customers.ssn"], "detect": ["us_ssn"], "mask": {"keep_last": 4}},
        {"name": "gone", "columns": ["shop:public.customers.note"], "mask": {"null": true}},
    ]});
    let classes = Arc::new(Classes::load(&settings).unwrap());
    let masker = Masker::from_classes(Arc::clone(&classes), Reveals::default()).unwrap();
    let columns = masker.columns(&["id", "SSN", "customers.note", "text", "orders.ssn"]);
    let cell = |text: &'static str| Some(Cow::Borrowed(text.as_bytes()));
    let mut rows = vec![
        vec![cell("1"), cell("000000000"), cell("secret"), cell("123-45-6789"), cell("000000000")],
        vec![cell("2"), None, None, None, None, cell("123-45-6789")],
    ];
    assert_eq!(masker.mask_rows(&columns, &mut rows), 4);
    let shown: Vec<Vec<_>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| cell.as_deref().map(|cell| std::str::from_utf8(cell).unwrap())).collect())
        .collect();
    assert_eq!(shown[0], [Some("1"), Some("****0000"), None, Some("****6789"), Some("000000000")]);
    assert_eq!(shown[1], [Some("2"), None, None, None, None, Some("****6789")]);

    let open = Masker::from_classes(Arc::clone(&classes), classes.reveal(["ssn", "gone"])).unwrap();
    assert!(matches!(open.mask_bytes(b"123-45-6789"), Cow::Borrowed(_)));
}

#[test]
fn a_name_that_cannot_be_taken_apart_is_masked() {
    let settings = json!({"classes": [{"name": "a", "columns": ["s:a.b.c"], "mask": {"full": true}}]});
    let masker = Masker::from_classes(Arc::new(Classes::load(&settings).unwrap()), Reveals::default()).unwrap();
    for name in ["", "\"open", "a..c", "x.a.b.c"] {
        let columns = masker.columns(&[name]);
        assert_eq!(masker.mask_cell(&columns[0], Some(b"v")).as_deref(), Some(&b"****"[..]), "{name:?}");
    }
}

#[test]
fn free_text_and_trail_text() {
    let detectors = super::detectors();
    let text = "invalid input syntax for type integer: \"123-45-6789\"";
    assert_eq!(scrub(text, &detectors).as_deref(), Some("invalid input syntax for type integer: \"****6789\""));
    assert_eq!(scrub("division by zero", &detectors), None);
    let text = b"Key (email, ssn)=(ada@example.com, 123-45-6789) already exists.";
    assert_eq!(
        detectors.placeholders(text).as_deref(),
        Some(&b"Key (email, ssn)=(<email>, <us_ssn>) already exists."[..])
    );
    assert_eq!(detectors.placeholders(b"plain"), None);
    assert_eq!(detectors.name_of_hit(b"4111111111111111"), Some("payment_card"));
    assert_eq!(detectors.name_of_hit(b"4111111111111112"), None);
}
