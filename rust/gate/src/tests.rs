//! The whole path without sockets: a scripted client and target, real rules, a real trail.

mod limits;

use std::path::Path;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use model::{Fault, FaultKind, Principal, SessionId, Target, Whose};
use record::{Kind, Trail, TrailSettings, read};
use serde_json::{Value, json};

use crate::{Ask, Decision, End, Event, Origin, Outbox, Pace, Rules, Session, Setup};

const ROWS: usize = 30;

fn settings(folder: &Path, rules: Value, mode: &str, limits: Value) -> Vec<u8> {
    let settings = json!({
        "limits": limits,
        "hash": "abc",
        "targets": [{"name": "shop", "protocol": "postgres", "databases": ["shop"], "mode": mode,
            "credentials": {"default": {"user": "ro"}}}],
        "identities": [{"name": "job", "groups": ["jobs"], "login": "scram"}],
        "reviewers": [{"name": "owners"}],
        "classes": [],
        "rules": rules,
        "spool": {"directory": folder.join("spool"), "bytes": 1 << 20},
    });
    serde_json::to_vec(&settings).unwrap()
}

fn rule(name: &str, effect: Value) -> Value {
    let mut rule = json!({"name": name, "who": null, "to": null, "except": [], "allow": null, "functions": [],
        "reveal": [], "as": null, "deny": null, "hold": null});
    for (key, value) in effect.as_object().unwrap() {
        rule[key] = value.clone();
    }
    rule
}

fn bulk() -> Value {
    json!([
        rule("read", json!({"allow": ["read", "write"]})),
        rule(
            "bulk",
            json!({"hold": {"when": "result.rows > 10", "reviewers": ["owners"], "expires_seconds": 60, "in_transaction": null}})
        ),
    ])
}

struct Harness {
    session: Session,
    outbox: Outbox,
    asks: Vec<Ask>,
    client_input: BytesMut,
    target_input: BytesMut,
    folder: tempfile::TempDir,
}

impl Harness {
    fn new(rules: Value) -> Self {
        Self::observing(rules, "enforce")
    }

    fn observing(rules: Value, mode: &str) -> Self {
        Self::limited(rules, mode, json!({}), Arc::default())
    }

    fn limited(rules: Value, mode: &str, limits: Value, pace: Arc<Pace>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let rules = Rules::load(&settings(folder.path(), rules, mode, limits)).unwrap();
        let trail = TrailSettings {
            store: folder.path().join("trail"),
            durability: record::Durability::Process,
            node: "n1".to_owned(),
            segment_bytes: 1 << 20,
        };
        let (trail, _) = Trail::open(&trail).unwrap();
        let principal =
            Principal { identity: "job".into(), issuer: None, subject: None, groups: vec!["jobs".into()], token: None };
        let target = Target {
            name: "shop".into(),
            protocol: "postgres".into(),
            database: "shop".into(),
            labels: Default::default(),
        };
        let session = Session::begin(Setup {
            session: SessionId::new(1, [1; 10]),
            principal,
            target,
            opening: Default::default(),
            origin: Origin::default(),
            catalog: None,
            rules: Arc::new(rules),
            trail,
            pace,
            observer: None,
        })
        .unwrap();
        Self {
            session,
            outbox: Outbox::default(),
            asks: Vec::new(),
            client_input: BytesMut::new(),
            target_input: BytesMut::new(),
            folder,
        }
    }

    fn after<T>(&mut self, done: Result<T, End>) {
        if let Err(end) = done {
            panic!("the session ended: {end:?}");
        }
        while let Some(ask) = self.session.ask() {
            self.asks.push(ask);
        }
    }

    fn client(&mut self, bytes: &[u8]) {
        let mut input = std::mem::take(&mut self.client_input);
        input.extend_from_slice(bytes);
        let done = self.session.client_sent(&mut input, &mut self.outbox);
        self.client_input = input;
        self.after(done);
    }

    fn target(&mut self, bytes: &[u8]) {
        let mut input = std::mem::take(&mut self.target_input);
        input.extend_from_slice(bytes);
        let done = self.session.target_sent(&mut input, &mut self.outbox);
        self.target_input = input;
        self.after(done);
    }

    fn happened(&mut self, event: Event) {
        let done = self.session.happened(event, &mut self.outbox);
        self.after(done);
    }

    fn decide(&mut self, decision: Decision) {
        let hold = self.hold();
        self.happened(Event::Decided { hold, decision });
    }

    fn hold(&self) -> u64 {
        let asked =
            self.asks.iter().rev().find_map(|ask| if let Ask::Hold(request) = ask { Some(request.hold) } else { None });
        asked.expect("a hold was asked for")
    }

    #[allow(clippy::wrong_self_convention, reason = "takes what is on its way to the client")]
    fn to_client(&mut self) -> Vec<u8> {
        self.outbox.client.split().to_vec()
    }

    #[allow(clippy::wrong_self_convention, reason = "takes what is on its way to the target")]
    fn to_target(&mut self) -> Vec<u8> {
        self.outbox.target.split().to_vec()
    }

    fn payload(&self) -> Vec<u8> {
        let query = read::Query { kind: Some(Kind::Payload), ..Default::default() };
        let records = read::records(&self.folder.path().join("trail"), query).unwrap();
        records.flat_map(|record| record.unwrap().body).collect()
    }

    fn evidence(&self, kind: &str) -> Vec<Value> {
        let query = read::Query { kind: Some(Kind::Evidence), ..Default::default() };
        let records = read::records(&self.folder.path().join("trail"), query).unwrap();
        let bodies = records.map(|record| serde_json::from_slice::<Value>(&record.unwrap().body).unwrap());
        bodies.filter(|body| body["evidence"] == kind).collect()
    }
}

fn message(tag: u8, fill: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
    let mut body = BytesMut::new();
    fill(&mut body);
    let mut out = vec![tag];
    out.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    out.extend(body);
    out
}

fn query(text: &str) -> Vec<u8> {
    message(b'Q', |out| {
        out.put_slice(text.as_bytes());
        out.put_u8(0);
    })
}

fn description() -> Vec<u8> {
    message(b'T', |out| {
        out.put_u16(1);
        out.put_slice(b"n\0");
        out.put_slice(&[0; 6]);
        out.put_u32(23);
        out.put_slice(&[0; 8]);
    })
}

fn row() -> Vec<u8> {
    message(b'D', |out| {
        out.put_u16(1);
        out.put_i32(2);
        out.put_slice(b"42");
    })
}

fn complete(rows: usize) -> Vec<u8> {
    message(b'C', |out| out.put_slice(format!("SELECT {rows}\0").as_bytes()))
}

fn ready(status: u8) -> Vec<u8> {
    message(b'Z', |out| out.put_u8(status))
}

fn answer(rows: usize) -> Vec<u8> {
    [description(), row().repeat(rows), complete(rows), ready(b'I')].concat()
}

fn tags(bytes: &[u8]) -> String {
    let mut tags = String::new();
    let mut at = 0;
    while at < bytes.len() {
        tags.push(char::from(bytes[at]));
        at += 1 + u32::from_be_bytes(bytes[at + 1..at + 5].try_into().unwrap()) as usize;
    }
    tags
}

#[test]
fn what_the_client_gets_is_what_the_trail_holds() {
    let mut harness = Harness::new(json!([rule("read", json!({"allow": ["read"]}))]));
    harness.client(&query("SELECT n FROM t"));
    harness.target(&answer(3));
    let client = harness.to_client();
    assert_eq!(tags(&client), "TDDDCZ");
    assert_eq!(harness.payload(), client);
    let answered = harness.evidence("answered");
    assert_eq!((&answered[0]["rows"], &answered[0]["tag"]), (&json!(3), &json!("SELECT 3")));
}

#[test]
fn what_no_rule_allows_never_reaches_the_target() {
    let mut harness = Harness::new(json!([rule("read", json!({"allow": ["read"]}))]));
    harness.client(&query("DELETE FROM t"));
    let sent = harness.to_target();
    assert!(!sent.windows(6).any(|window| window == b"DELETE"), "{}", String::from_utf8_lossy(&sent));
    assert_eq!(harness.evidence("asked")[0]["verdict"], "deny");
}

#[test]
fn no_byte_of_a_held_result_leaves_before_approval() {
    for piece in [7, 64, 100_000] {
        let mut harness = Harness::new(bulk());
        harness.client(&query("SELECT n FROM t"));
        for bytes in answer(ROWS).chunks(piece) {
            harness.target(bytes);
            assert_eq!(harness.to_client(), b"", "in pieces of {piece}");
        }
        assert!(harness.payload().is_empty());
        let hold = harness.hold();
        harness.happened(Event::Registered { hold, approval: "ap_1".into() });
        assert_eq!(tags(&harness.to_client()), "N");
        harness.decide(Decision::Approved { by: "corp/ana".into() });
        let client = harness.to_client();
        assert_eq!(tags(&client), format!("T{}CZ", "D".repeat(ROWS)), "in pieces of {piece}");
        assert!(harness.payload().ends_with(&client));
    }
}

#[test]
fn a_denied_result_leaves_no_row_in_the_trail() {
    let mut harness = Harness::new(bulk());
    harness.client(&query("SELECT n FROM t"));
    harness.target(&answer(ROWS));
    harness.decide(Decision::Denied { by: "corp/ana".into(), reason: "too much".into() });
    let client = harness.to_client();
    assert_eq!(tags(&client), "EZ");
    assert!(String::from_utf8_lossy(&client).contains("too much"));
    assert!(!harness.payload().windows(2).any(|window| window == b"42") || tags(&harness.payload()) == "EZ");
    let decided = harness.evidence("decided");
    assert_eq!((&decided[0]["decision"], &decided[0]["rows"]), (&json!("denied"), &json!(ROWS)));
    // The session goes on.
    harness.to_target();
    harness.client(&query("SELECT 1"));
    assert_eq!(tags(&harness.to_target()), "Q");
}

#[test]
fn a_denial_inside_a_transaction_aborts_it() {
    let mut harness = Harness::new(bulk());
    harness.client(&query("SELECT n FROM t"));
    harness.to_target();
    harness.target(&[description(), row().repeat(ROWS), complete(ROWS), ready(b'T')].concat());
    harness.decide(Decision::Denied { by: "a".into(), reason: "no".into() });
    assert_eq!(tags(&harness.to_target()), "Q");
    let failed = message(b'E', |out| out.put_slice(b"SERROR\0C42601\0Msyntax error\0\0"));
    harness.target(&[failed, ready(b'E')].concat());
    assert_eq!(tags(&harness.to_client()), "EZ");
}

#[test]
fn a_denial_before_the_end_cancels_and_drains() {
    let mut harness = Harness::new(bulk());
    harness.client(&query("SELECT n FROM t"));
    harness.target(&[description(), row().repeat(ROWS)].concat());
    harness.decide(Decision::Expired { reason: "nobody decided in time".into() });
    assert!(harness.asks.iter().any(|ask| matches!(ask, Ask::CancelTarget)));
    harness.target(&row().repeat(5));
    assert_eq!(harness.to_client(), b"");
    let cancelled = message(b'E', |out| out.put_slice(b"SERROR\0C57014\0Mcanceling statement\0\0"));
    harness.target(&[cancelled, ready(b'I')].concat());
    let client = harness.to_client();
    assert_eq!(tags(&client), "EZ");
    assert!(String::from_utf8_lossy(&client).contains("57014"));
}

#[test]
fn a_small_result_under_the_rule_is_not_held() {
    for piece in [3, 100_000] {
        let mut harness = Harness::new(bulk());
        harness.client(&query("SELECT n FROM t"));
        for bytes in answer(10).chunks(piece) {
            harness.target(bytes);
        }
        assert_eq!(tags(&harness.to_client()), format!("T{}CZ", "D".repeat(10)));
        assert!(harness.asks.iter().all(|ask| !matches!(ask, Ask::Hold(_))));
    }
}

#[test]
fn a_held_statement_reaches_the_target_only_after_approval() {
    let hold = json!({"when": "sql.kind == \"delete\"", "reviewers": ["owners"], "expires_seconds": 60, "in_transaction": null});
    let rules = json!([rule("all", json!({"allow": ["write"]})), rule("deletes need a person", json!({"hold": hold}))]);
    let mut harness = Harness::new(rules.clone());
    harness.client(&[query("DELETE FROM t WHERE id = 1"), query("SELECT 1")].concat());
    assert_eq!(harness.to_target(), b"");
    harness.decide(Decision::Approved { by: "a".into() });
    assert_eq!(tags(&harness.to_target()), "QQ");

    let mut harness = Harness::new(rules);
    harness.client(&query("DELETE FROM t WHERE id = 1"));
    harness.happened(Event::Cancel);
    let sent = harness.to_target();
    assert!(!sent.windows(6).any(|window| window == b"DELETE"));
    assert!(harness.asks.iter().any(|ask| matches!(ask, Ask::WithdrawHold(_))));
}

#[test]
fn an_observing_gateway_lets_through_and_writes_down() {
    let mut harness = Harness::observing(bulk(), "observe");
    harness.client(&query("DROP TABLE t"));
    assert!(harness.to_target().windows(4).any(|window| window == b"DROP"));
    harness.target(&[message(b'C', |out| out.put_slice(b"DROP TABLE\0")), ready(b'I')].concat());
    harness.happened(Event::Catalog(Ok(Arc::new(()))));
    harness.client(&query("SELECT n FROM t"));
    harness.target(&answer(ROWS));
    assert_eq!(tags(&harness.to_client()), format!("CZT{}CZ", "D".repeat(ROWS)));
    assert_eq!(harness.evidence("asked")[0]["verdict"], "would_deny");
    assert_eq!(harness.evidence("held")[0]["phase"], "would_hold");
}

#[test]
fn ending_says_why_and_is_recorded() {
    let mut harness = Harness::new(bulk());
    let fault = Fault::new(Whose::Policy, FaultKind::Shutdown, "the token was revoked");
    let end = harness.session.happened(Event::End(fault), &mut harness.outbox).unwrap_err();
    harness.session.finish(&end);
    assert!(String::from_utf8_lossy(&harness.to_client()).contains("revoked"));
    assert_eq!(harness.evidence("session_closed")[0]["reason"], "the token was revoked");
}
