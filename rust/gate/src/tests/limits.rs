//! Limits on what one identity may ask, and what is counted.

use super::*;

const TOO_OFTEN: &str = "C53400";

fn read() -> Value {
    json!([rule("read", json!({"allow": ["read"]}))])
}

fn rated(most: u32, pace: &Arc<Pace>) -> Harness {
    Harness::limited(read(), "enforce", json!({"statements_per_second": most}), Arc::clone(pace))
}

fn syntax_error() -> Vec<u8> {
    message(b'E', |out| out.put_slice(b"SERROR\0C42601\0Msyntax error\0\0"))
}

/// What the client is told when the target has failed at what was sent in place of the refused text.
fn refused(harness: &mut Harness, text: &str) -> String {
    harness.client(&query(text));
    let sent = harness.to_target();
    assert!(!sent.windows(6).any(|window| window == b"SELECT"), "{}", String::from_utf8_lossy(&sent));
    harness.target(&[syntax_error(), ready(b'I')].concat());
    String::from_utf8_lossy(&harness.to_client()).into_owned()
}

#[test]
fn sessions_of_one_identity_share_what_it_may_run_a_second() {
    let pace = Arc::new(Pace::stopped());
    let (mut one, mut other) = (rated(2, &pace), rated(2, &pace));
    for harness in [&mut one, &mut other] {
        harness.client(&query("SELECT n FROM t"));
        assert_eq!(tags(&harness.to_target()), "Q");
        harness.target(&answer(1));
        harness.to_client();
    }
    let told = refused(&mut one, "SELECT n FROM t");
    assert!(told.contains(TOO_OFTEN) && told.contains("\"job\"") && told.contains("limits.statements_per_second"));
    let asked = one.evidence("asked");
    assert_eq!((&asked[0]["verdict"], &asked[1]["verdict"]), (&json!("allow"), &json!("deny")));
    assert!(asked[1]["why"].as_str().unwrap().contains("limits.statements_per_second"), "{}", asked[1]);
    assert_eq!((one.session.counts().too_often, one.session.counts().verdicts), (1, [1, 1, 0, 0, 0]));
    // Somebody else's statements are not counted with these.
    let mut third = rated(2, &Arc::new(Pace::stopped()));
    third.client(&query("SELECT n FROM t"));
    assert_eq!(tags(&third.to_target()), "Q");
}

#[test]
fn a_text_with_more_statements_than_a_second_has_is_refused_whole() {
    let told = refused(&mut rated(2, &Arc::new(Pace::stopped())), "SELECT 1; SELECT 2; SELECT 3");
    assert!(told.contains(TOO_OFTEN) && told.contains("smaller parts"), "{told}");
}

#[test]
fn a_transaction_can_always_be_left() {
    let mut harness = rated(1, &Arc::new(Pace::stopped()));
    harness.client(&query("BEGIN"));
    assert_eq!(tags(&harness.to_target()), "Q");
    harness.target(&[message(b'C', |out| out.put_slice(b"BEGIN\0")), ready(b'T')].concat());
    harness.to_client();
    harness.client(&query("SELECT n FROM t"));
    assert!(!harness.to_target().windows(6).any(|window| window == b"SELECT"));
    harness.target(&[syntax_error(), ready(b'E')].concat());
    assert!(String::from_utf8_lossy(&harness.to_client()).contains(TOO_OFTEN));
    harness.client(&query("ROLLBACK"));
    assert_eq!(harness.to_target(), query("ROLLBACK"));
    // Outside a transaction it is a statement like any other.
    harness.target(&[message(b'C', |out| out.put_slice(b"ROLLBACK\0")), ready(b'I')].concat());
    harness.client(&query("ROLLBACK"));
    assert_ne!(harness.to_target(), query("ROLLBACK"));
}

#[test]
fn new_limits_count_for_open_sessions() {
    let mut harness = Harness::limited(read(), "enforce", json!({}), Arc::new(Pace::stopped()));
    for _ in 0..3 {
        harness.client(&query("SELECT n FROM t"));
        assert_eq!(tags(&harness.to_target()), "Q", "without a limit");
        harness.target(&answer(1));
    }
    harness.to_client();
    let limits = json!({"statements_per_second": 1, "statement_bytes": 2048, "message_bytes": 65536});
    let rules = Arc::new(Rules::load(&settings(harness.folder.path(), read(), "enforce", limits)).unwrap());
    harness.happened(Event::Rules { rules, principal: None });
    harness.client(&query("SELECT n FROM t"));
    assert_eq!(tags(&harness.to_target()), "Q");
    harness.target(&answer(1));
    harness.to_client();
    assert!(refused(&mut harness, "SELECT n FROM t").contains(TOO_OFTEN));
    let long = format!("SELECT '{}'", "x".repeat(3000));
    assert!(refused(&mut harness, &long).contains("C54000"));
    let larger = format!("SELECT '{}'", "x".repeat(80_000));
    assert!(refused(&mut harness, &larger).contains("C54000"));
    assert_eq!(harness.session.counts().oversized, 2);
}

#[test]
fn an_observing_gateway_says_what_it_would_refuse() {
    let limits = json!({"statements_per_second": 1});
    let mut harness = Harness::limited(read(), "observe", limits, Arc::new(Pace::stopped()));
    for _ in 0..2 {
        harness.client(&query("SELECT n FROM t"));
        assert_eq!(tags(&harness.to_target()), "Q");
        harness.target(&answer(1));
    }
    let asked = harness.evidence("asked");
    assert_eq!((&asked[0]["verdict"], &asked[1]["verdict"]), (&json!("allow"), &json!("would_deny")));
    assert!(asked[1]["why"].as_str().unwrap().contains("limits.statements_per_second"));
}

#[test]
fn what_waits_inside_is_counted_and_given_back() {
    let mut harness = Harness::new(bulk());
    assert_eq!(harness.session.buffered(), 0);
    harness.client(&query("SELECT n FROM t"));
    harness.to_target();
    harness.target(&[description(), row().repeat(20_000)].concat());
    let held = harness.session.buffered();
    assert!((20_000 * 13..4 << 20).contains(&held), "{held}");
    harness.decide(Decision::Denied { by: "a".into(), reason: "no".into() });
    assert!(harness.session.buffered() < 64 << 10, "{}", harness.session.buffered());
}

#[test]
fn prepared_statements_are_counted_until_they_are_closed() {
    let mut harness = Harness::new(read());
    let before = harness.session.buffered();
    let long = format!("SELECT '{}'", "x".repeat(50_000));
    for name in ["a", "b"] {
        harness.client(&message(b'P', |out| {
            out.put_slice(format!("{name}\0{long}\0\0\0").as_bytes());
        }));
    }
    let grown = harness.session.buffered() - before;
    assert!(grown > 100_000, "{grown}");
    for name in ["a", "b"] {
        harness.client(&message(b'C', |out| out.put_slice(format!("S{name}\0").as_bytes())));
    }
    assert_eq!(harness.session.buffered(), before);
}
