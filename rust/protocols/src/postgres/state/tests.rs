//! The conversation against a scripted client and a scripted target: in step whole, split at every byte and hostile.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use mask::{Classes, Reveals, Unclassified};
use model::{Fault, FaultKind, Whose};
use serde_json::json;
use statement::Parser;

use super::{Conversation, Limits};
use crate::View;
use crate::dialogue::{Answer, Dialogue, Heard, Purpose, Said};
use crate::postgres::inspect::Inspector;
use crate::postgres::inspect::catalog::{Catalog, Column, Relation};
use crate::postgres::message::{self, put_cstr};
use crate::postgres::refuse;

const CUSTOMERS: u32 = 20_000;
const ORDERS: u32 = 20_001;

fn view() -> Arc<View> {
    let settings = json!({"classes": [
        {"name": "ssn", "columns": ["shop:public.customers.ssn"], "detect": ["us_ssn"], "mask": {"keep_last": 4}},
    ]});
    let classes = Arc::new(Classes::load(&settings).unwrap());
    let reveals = Reveals::default();
    let detectors = classes.detectors(&reveals).unwrap();
    Arc::new(View {
        generation: 1,
        target: "shop".into(),
        classes,
        reveals,
        unclassified: Arc::new(Unclassified::default()),
        detectors,
        observe: false,
        parser: Arc::new(Parser::new(statement::Limits::default())),
        message_bytes: 1 << 20,
        statement_bytes: 1 << 16,
    })
}

fn table(oid: u32, name: &str, columns: &[(&str, u32)]) -> Relation {
    let columns = (1i16..)
        .zip(columns)
        .map(|(number, (name, type_oid))| Column { number, name: (*name).into(), type_oid: *type_oid })
        .collect();
    Relation { oid, schema: "public".into(), name: name.into(), kind: b'r', of_type: 0, columns }
}

fn catalog() -> crate::Catalog {
    let mut catalog = Catalog::default();
    catalog.search_path = vec!["public".into()];
    for relation in [
        table(CUSTOMERS, "customers", &[("id", 23), ("name", 25), ("ssn", 25)]),
        table(ORDERS, "orders", &[("id", 23)]),
    ] {
        catalog.relations.insert(relation.oid, relation);
    }
    Arc::new(catalog.finish())
}

/// A conversation with everything it has sent so far.
struct Harness {
    conversation: Conversation,
    to_client: BytesMut,
    to_target: BytesMut,
    ended: Vec<(u64, Option<String>)>,
    refuse: fn(&str) -> bool,
    watch: bool,
}

impl Harness {
    fn new() -> Self {
        let mut inspector = Inspector::new(view());
        inspector.set_catalog(&catalog());
        Self {
            conversation: Conversation::new(Limits { message: 1 << 20, statement: 1 << 16, pipeline: 64 }, inspector),
            to_client: BytesMut::new(),
            to_target: BytesMut::new(),
            ended: Vec::new(),
            refuse: |_| false,
            watch: false,
        }
    }

    fn client(&mut self, bytes: &[u8]) -> BytesMut {
        let mut input = BytesMut::from(bytes);
        loop {
            match self.conversation.client_sent(&mut input, &mut self.to_target).unwrap() {
                Said::Request(request) => {
                    let refused = request.statements.iter().any(|statement| (self.refuse)(&statement.text));
                    let own = request.statements.iter().find_map(|statement| statement.fault.clone());
                    let answer = match own {
                        Some(fault) => Answer::Refuse(fault),
                        None if refused && request.purpose == Purpose::Prepare => Answer::Permit { watch: false },
                        None if refused => Answer::Refuse(Fault::denied("a rule", "rule \"a rule\" denies this")),
                        None => Answer::Permit { watch: self.watch },
                    };
                    self.conversation.answer(answer, &mut self.to_target);
                }
                _ => return input,
            }
        }
    }

    fn target(&mut self, bytes: &[u8]) {
        let mut input = BytesMut::from(bytes);
        self.target_rest(&mut input);
        assert!(input.is_empty(), "{} bytes left", input.len());
    }

    fn target_rest(&mut self, input: &mut BytesMut) {
        loop {
            match self.conversation.target_sent(input, &mut self.to_client, &mut self.to_target).unwrap() {
                Heard::NeedMore => return,
                Heard::Ended { exchange, outcome, watched } => {
                    self.ended.push((exchange, outcome.error));
                    if watched && self.watch {
                        self.conversation.settle(exchange);
                    }
                }
                _ => {}
            }
        }
    }

    fn sent_to_target(&mut self) -> String {
        tags(&self.to_target.split())
    }

    fn sent_to_client(&mut self) -> String {
        tags(&self.to_client.split())
    }
}

fn tags(mut bytes: &[u8]) -> String {
    let mut tags = String::new();
    while let Ok(Some(head)) = super::super::frame::head(bytes, Whose::Target) {
        tags.push(char::from(head.tag));
        bytes = &bytes[head.whole()..];
    }
    assert!(bytes.is_empty(), "bytes behind the last whole message");
    tags
}

fn build(fill: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
    let mut out = BytesMut::new();
    fill(&mut out);
    out.to_vec()
}

fn query(text: &str) -> Vec<u8> {
    build(|out| message::write_query(out, text.as_bytes()))
}

fn parse(name: &str, text: &str) -> Vec<u8> {
    build(|out| message::write_parse(out, name.as_bytes(), text.as_bytes()))
}

fn bind(portal: &str, statement: &str) -> Vec<u8> {
    build(|out| {
        message::write(out, b'B', |out| {
            put_cstr(out, portal.as_bytes());
            put_cstr(out, statement.as_bytes());
            out.put_slice(&[0, 0, 0, 0, 0, 0]);
        });
    })
}

fn execute(portal: &str) -> Vec<u8> {
    build(|out| {
        message::write(out, b'E', |out| {
            put_cstr(out, portal.as_bytes());
            out.put_i32(0);
        });
    })
}

fn plain(tag: u8) -> Vec<u8> {
    build(|out| message::write(out, tag, |_| {}))
}

fn described(columns: &[(&str, u32, i16, u32)]) -> Vec<u8> {
    build(|out| {
        message::write(out, b'T', |out| {
            out.put_u16(u16::try_from(columns.len()).unwrap());
            for (name, table, attribute, type_oid) in columns {
                put_cstr(out, name.as_bytes());
                out.put_u32(*table);
                out.put_i16(*attribute);
                out.put_u32(*type_oid);
                out.put_slice(&[0xff; 6]);
                out.put_i16(0);
            }
        });
    })
}

fn row(cells: &[&str]) -> Vec<u8> {
    build(|out| {
        message::write(out, b'D', |out| {
            out.put_u16(u16::try_from(cells.len()).unwrap());
            for cell in cells {
                out.put_i32(i32::try_from(cell.len()).unwrap());
                out.put_slice(cell.as_bytes());
            }
        });
    })
}

fn complete(tag: &str) -> Vec<u8> {
    build(|out| message::write(out, b'C', |out| put_cstr(out, tag.as_bytes())))
}

fn ready(status: u8) -> Vec<u8> {
    build(|out| message::write(out, b'Z', |out| out.put_u8(status)))
}

fn error(code: &str, text: &str) -> Vec<u8> {
    refuse::error(code, text).to_vec()
}

#[test]
fn a_protected_column_is_masked_under_any_alias() {
    let mut harness = Harness::new();
    harness.client(&query("SELECT ssn AS harmless FROM customers"));
    assert_eq!(harness.sent_to_target(), "Q");
    let answer =
        [described(&[("harmless", CUSTOMERS, 3, 25)]), row(&["123-45-6789"]), complete("SELECT 1"), ready(b'I')];
    harness.target(&answer.concat());
    let client = harness.to_client.split();
    assert!(!client.windows(6).any(|window| window == b"123-45"), "leaked");
    assert!(client.windows(4).any(|window| window == b"6789"));
    assert_eq!(tags(&client), "TDCZ");
    assert_eq!(harness.ended, [(1, None)]);
}

#[test]
fn everything_is_in_step_however_the_bytes_are_split() {
    let script =
        [parse("s", "SELECT id FROM orders"), bind("", "s"), execute(""), plain(b'S'), query("SELECT 1")].concat();
    let answer = [
        plain(b'1'),
        plain(b'2'),
        described(&[("id", ORDERS, 1, 23)]),
        row(&["1"]),
        complete("SELECT 1"),
        ready(b'I'),
        described(&[("?", 0, 0, 23)]),
        row(&["1"]),
        complete("SELECT 1"),
        ready(b'I'),
    ]
    .concat();
    for cut in 0..=script.len() {
        let mut harness = Harness::new();
        let mut rest = harness.client(&script[..cut]).to_vec();
        rest.extend_from_slice(&script[cut..]);
        assert!(harness.client(&rest).is_empty());
        // The gateway's own Describe stands between Bind and Execute.
        assert_eq!(harness.sent_to_target(), "PBDESQ");
        harness.target(&answer);
        assert_eq!(harness.sent_to_client(), "12DCZTDCZ", "cut at {cut}");
    }
    for cut in 0..=answer.len() {
        let mut harness = Harness::new();
        harness.client(&script);
        let mut input = BytesMut::from(&answer[..cut]);
        harness.target_rest(&mut input);
        input.extend_from_slice(&answer[cut..]);
        harness.target_rest(&mut input);
        assert_eq!(harness.sent_to_client(), "12DCZTDCZ", "cut at {cut}");
    }
}

#[test]
fn a_refusal_stands_behind_replies_in_flight() {
    let mut harness = Harness::new();
    harness.refuse = |text| text.contains("orders");
    let script = [
        parse("a", "SELECT 1"),
        bind("", "a"),
        execute(""),
        parse("b", "SELECT id FROM orders"),
        bind("", "b"),
        execute(""),
        plain(b'S'),
        query("SELECT 2"),
    ];
    harness.client(&script.concat());
    // The second Bind became a Parse that the target will refuse; its Execute was dropped.
    assert_eq!(harness.sent_to_target(), "PBDEPPSQ");
    let answer = [
        plain(b'1'),
        plain(b'2'),
        described(&[("?", 0, 0, 23)]),
        row(&["1"]),
        complete("SELECT 1"),
        plain(b'1'),
        error("42601", "syntax error at or near \"refused\""),
        ready(b'I'),
        described(&[("?", 0, 0, 23)]),
        row(&["2"]),
        complete("SELECT 1"),
        ready(b'I'),
    ];
    harness.target(&answer.concat());
    let client = harness.to_client.split();
    assert_eq!(tags(&client), "12DC1EZTDCZ");
    assert!(client.windows(6).any(|window| window == b"C42501"));
    assert!(!client.windows(6).any(|window| window == b"syntax"));
}

#[test]
fn a_refused_query_has_the_servers_own_effect() {
    let mut harness = Harness::new();
    harness.refuse = |text| text.contains("orders");
    harness.client(&query("SELECT id FROM orders"));
    let sent = harness.to_target.split();
    assert!(sent.windows(7).any(|window| window == b"refused") && !sent.windows(6).any(|window| window == b"orders"));
    harness.target(&[error("42601", "syntax error"), ready(b'E')].concat());
    assert_eq!(harness.sent_to_client(), "EZ");
    assert_eq!(harness.ended, [(1, Some("42501".to_owned()))]);
}

#[test]
fn after_an_error_the_batch_is_skipped_and_what_it_defined_is_undone() {
    let mut harness = Harness::new();
    harness.client(&[parse("s", "SELECT 1"), bind("p", "s"), execute("p"), plain(b'S')].concat());
    harness.target(&[error("42P01", "relation does not exist"), ready(b'I')].concat());
    assert_eq!(harness.sent_to_client(), "EZ");
    harness.sent_to_target();
    harness.client(&[bind("p", "s"), plain(b'S')].concat());
    // Neither the name nor a guess at it reaches the target.
    assert_eq!(harness.sent_to_target(), "PS");
    harness.target(&[error("42601", "syntax error"), ready(b'I')].concat());
    let client = harness.to_client.split();
    assert!(client.windows(6).any(|window| window == b"C26000"));
}

#[test]
fn nothing_with_effect_is_sent_behind_a_watched_result() {
    let mut harness = Harness::new();
    harness.watch = true;
    let script = [query("SELECT id FROM orders"), query("DELETE FROM orders WHERE id = 1")].concat();
    let rest = harness.client(&script);
    assert_eq!(harness.sent_to_target(), "Q");
    assert!(!rest.is_empty());
    harness.target(&[described(&[("id", ORDERS, 1, 23)]), row(&["1"]), complete("SELECT 1"), ready(b'I')].concat());
    assert!(harness.client(&rest).is_empty());
    assert_eq!(harness.sent_to_target(), "Q");
}

#[test]
fn a_result_refused_after_its_end_aborts_the_transaction() {
    let mut harness = Harness::new();
    harness.watch = true;
    harness.client(&query("SELECT id FROM orders"));
    harness.sent_to_target();
    let mut input = BytesMut::from(
        &[described(&[("id", ORDERS, 1, 23)]), row(&["1"]), complete("SELECT 1"), ready(b'T')].concat()[..],
    );
    let mut out = BytesMut::new();
    loop {
        match harness.conversation.target_sent(&mut input, &mut out, &mut harness.to_target).unwrap() {
            Heard::NeedMore => break,
            _ => continue,
        }
    }
    // ReadyForQuery stays until the result is settled or refused.
    assert_eq!(input.len(), 6);
    let cancel =
        harness.conversation.refuse_result(1, Fault::denied("r", "no"), &mut harness.to_client, &mut harness.to_target);
    assert!(!cancel);
    harness.target_rest(&mut input);
    assert_eq!(harness.sent_to_target(), "Q");
    harness.target(&[error("42601", "syntax error"), ready(b'E')].concat());
    assert_eq!(harness.sent_to_client(), "EZ");
}

#[test]
fn errors_on_protected_relations_keep_their_code_and_lose_their_text() {
    let mut harness = Harness::new();
    harness.client(&query("SELECT ssn::int FROM customers"));
    harness.target(&[error("22P02", "invalid input syntax for type integer: \"123-45-6789\""), ready(b'I')].concat());
    let client = harness.to_client.split();
    assert!(!client.windows(6).any(|window| window == b"123-45"));
    assert!(client.windows(6).any(|window| window == b"C22P02"));
}

#[test]
fn unknown_messages_end_the_session() {
    for tag in [b'!', b'r', 0u8, b'p'] {
        let mut harness = Harness::new();
        let mut input = BytesMut::from(&plain(tag)[..]);
        assert!(harness.conversation.client_sent(&mut input, &mut harness.to_target).is_err(), "{tag}");
    }
    for tag in [b'K', b'R', b'V', b'W', b'D', b'C', b'Z', b'1'] {
        let mut harness = Harness::new();
        let mut input = BytesMut::from(&plain(tag)[..]);
        let heard = harness.conversation.target_sent(&mut input, &mut harness.to_client, &mut harness.to_target);
        assert!(heard.is_err(), "{tag}");
    }
}

#[test]
fn a_row_that_nobody_described_is_never_passed() {
    let mut harness = Harness::new();
    harness.client(&query("SELECT 1"));
    let mut input = BytesMut::from(&row(&["1"])[..]);
    let heard = harness.conversation.target_sent(&mut input, &mut harness.to_client, &mut harness.to_target);
    assert!(heard.is_err());
    assert!(harness.to_client.is_empty());
}

#[test]
fn a_move_in_a_portal_neither_adds_to_its_rows_nor_forgets_them() {
    let mut harness = Harness::new();
    harness.client(
        &[query("BEGIN"), parse("s", "SELECT id FROM orders"), bind("p", "s"), execute("p"), plain(b'S')].concat(),
    );
    let page = [row(&["1"]), row(&["2"]), plain(b's')].concat();
    let opened = [plain(b'1'), plain(b'2'), described(&[("id", ORDERS, 1, 23)]), page.clone(), ready(b'T')].concat();
    harness.target(&[complete("BEGIN"), ready(b'T'), opened].concat());
    let rows = |harness: &Harness| harness.conversation.names.portal(b"p").unwrap().run.borrow().tally.rows;
    assert_eq!(rows(&harness), 2);
    harness.client(&query("MOVE FORWARD 5 p"));
    harness.target(&[complete("MOVE 5"), ready(b'T')].concat());
    assert_eq!(rows(&harness), 2);
    harness.client(&[execute("p"), plain(b'S')].concat());
    harness.target(&[page, ready(b'T')].concat());
    assert_eq!(rows(&harness), 4);
    harness.client(&query("FETCH 1 FROM p"));
    let fetched = [described(&[("id", ORDERS, 1, 23)]), row(&["3"]), complete("FETCH 1"), ready(b'T')];
    harness.target(&fetched.concat());
    assert_eq!(rows(&harness), 5);
}

#[test]
fn a_portal_that_failed_fails_again_when_it_is_asked_again() {
    let mut harness = Harness::new();
    harness.client(&[query("BEGIN"), parse("s", "SELECT 1"), bind("p", "s"), plain(b'S')].concat());
    harness.target(&[complete("BEGIN"), ready(b'T'), plain(b'1'), plain(b'2'), ready(b'T')].concat());
    harness.sent_to_client();
    // Pipelined and one by one; in one batch the target itself skips the second.
    harness.client(&[execute("p"), plain(b'S'), execute("p"), execute("p"), plain(b'S')].concat());
    let described = described(&[("?", 0, 0, 23)]);
    harness
        .target(&[described, error("57014", "canceled"), ready(b'E'), error("25P02", "aborted"), ready(b'E')].concat());
    assert_eq!(harness.sent_to_client(), "EZEZ");
    harness.client(&[execute("p"), plain(b'S')].concat());
    harness.target(&[error("25P02", "aborted"), ready(b'E')].concat());
    let client = harness.to_client.split();
    assert_eq!(tags(&client), "EZ");
    assert!(client.windows(6).any(|window| window == b"C25P02"));
}

#[test]
fn a_portal_whose_description_was_skipped_is_described_again() {
    let mut harness = Harness::new();
    harness.client(&[query("BEGIN"), parse("s", "SELECT ssn FROM customers"), bind("p", "s"), plain(b'S')].concat());
    harness.target(&[complete("BEGIN"), ready(b'T'), plain(b'1'), plain(b'2'), ready(b'T')].concat());
    harness.client(&[query("SAVEPOINT a"), parse("", "SELECT 1/0"), bind("", ""), execute(""), execute("p")].concat());
    harness.client(&[plain(b'S'), query("ROLLBACK TO a")].concat());
    let failed = [plain(b'1'), plain(b'2'), described(&[("?", 0, 0, 23)]), error("22012", "division by zero")].concat();
    harness.target(&[complete("SAVEPOINT"), ready(b'T'), failed, ready(b'E')].concat());
    harness.target(&[complete("ROLLBACK"), ready(b'T')].concat());
    harness.sent_to_target();
    harness.client(&[execute("p"), plain(b'S')].concat());
    assert_eq!(harness.sent_to_target(), "DES");
    harness.sent_to_client();
    let answer = [described(&[("ssn", CUSTOMERS, 3, 25)]), row(&["123-45-6789"]), complete("SELECT 1"), ready(b'T')];
    harness.target(&answer.concat());
    let client = harness.to_client.split();
    assert_eq!(tags(&client), "DCZ");
    assert!(!client.windows(6).any(|window| window == b"123-45"), "leaked");
}

/// What `SELECT reverse(ssn) AS a FROM customers` answers: neither a name nor an origin nor a pattern tells what it is.
fn reversed() -> Vec<u8> {
    [described(&[("a", 0, 0, 25)]), row(&["9876-54-321"])].concat()
}

const HARMLESS: &str = "SELECT 'harmless' AS a FROM orders";
const REVERSED: &str = "SELECT reverse(ssn) AS a FROM customers";

/// Runs what was bound to reversed numbers: the gateway asks what columns there are, and masks them.
#[track_caller]
fn runs_masked(harness: &mut Harness, rest: &[u8]) {
    assert_eq!(harness.sent_to_target(), "DH");
    let parameters = build(|out| message::write(out, b't', |out| out.put_u16(0)));
    harness.target(&[parameters, described(&[("a", 0, 0, 25)])].concat());
    assert!(harness.client(rest).is_empty());
    assert_eq!(harness.sent_to_target(), "BDES");
    harness.to_client.clear();
    harness.target(&[plain(b'2'), reversed(), complete("DONE"), ready(b'T')].concat());
    let client = harness.to_client.split();
    assert!(tags(&client).contains('D') && !client.windows(7).any(|window| window == b"9876-54"), "leaked");
}

#[test]
fn a_prepared_text_that_names_another_statement_means_what_that_means_now() {
    for (define, forget, ask) in
        [("PREPARE c AS", "DEALLOCATE c", "EXECUTE c"), ("DECLARE c CURSOR FOR", "CLOSE c", "FETCH 1 FROM c")]
    {
        let mut harness = Harness::new();
        harness.client(&[query("BEGIN"), query(&format!("{define} {HARMLESS}"))].concat());
        harness.target(&[complete("BEGIN"), ready(b'T'), complete("DONE"), ready(b'T')].concat());
        harness.client(&[parse("f", ask), bind("early", "f"), plain(b'S')].concat());
        harness.target(&[plain(b'1'), plain(b'2'), ready(b'T')].concat());
        harness.client(&[query(forget), query(&format!("{define} {REVERSED}"))].concat());
        harness.target(&[complete("DONE"), ready(b'T'), complete("DONE"), ready(b'T')].concat());
        harness.sent_to_target();
        // Bound again, it is understood again.
        let rest = harness.client(&[bind("p", "f"), execute("p"), plain(b'S')].concat());
        runs_masked(&mut harness, &rest);
        // Bound before, it is what it was no more.
        harness.client(&[execute("early"), plain(b'S')].concat());
        assert_eq!(harness.sent_to_target(), "PS", "{ask}");
    }
}

#[test]
fn what_an_unanswered_batch_defines_is_used_when_it_is_sure() {
    let mut harness = Harness::new();
    harness.client(&[parse("s", REVERSED), plain(b'S')].concat());
    harness.target(&[plain(b'1'), ready(b'I')].concat());
    harness.sent_to_target();
    let rest = harness.client(&[parse("s", HARMLESS), plain(b'S'), bind("", "s"), execute(""), plain(b'S')].concat());
    // The target refuses the second definition: its `s` is still the first.
    assert_eq!(harness.sent_to_target(), "PS");
    assert!(harness.conversation.holds_client());
    harness.target(&[error("42P05", "prepared statement already exists"), ready(b'I')].concat());
    let rest = harness.client(&rest);
    runs_masked(&mut harness, &rest);
}

#[test]
fn a_cursor_of_an_unanswered_batch_may_be_any() {
    let mut harness = Harness::new();
    harness.client(&[query("BEGIN"), query(&format!("DECLARE c CURSOR FOR {REVERSED}"))].concat());
    harness.target(&[complete("BEGIN"), ready(b'T'), complete("DECLARE CURSOR"), ready(b'T')].concat());
    harness.sent_to_target();
    // The second DECLARE fails at the target, and the savepoint brings the first back.
    harness.client(&[query("SAVEPOINT a"), query(&format!("DECLARE c CURSOR FOR {HARMLESS}"))].concat());
    harness.client(&[query("ROLLBACK TO a"), query("FETCH 1 FROM c")].concat());
    let sent = harness.to_target.split();
    assert_eq!(tags(&sent), "QQQQ");
    assert!(sent.windows(7).any(|window| window == b"refused") && !sent.windows(5).any(|window| window == b"FETCH"));
}

#[test]
fn names_defined_in_extended_queries_are_known() {
    for (define, ask) in [("PREPARE c AS", "EXECUTE c"), ("DECLARE c CURSOR FOR", "FETCH 1 FROM c")] {
        let mut harness = Harness::new();
        harness
            .client(&[query("BEGIN"), parse("", &format!("{define} {HARMLESS}")), bind("", ""), execute("")].concat());
        harness.client(&plain(b'S'));
        let defined = [plain(b'1'), plain(b'2'), complete("DONE"), ready(b'T')].concat();
        harness.target(&[complete("BEGIN"), ready(b'T'), defined].concat());
        harness.sent_to_target();
        // No question comes first, because it is known to be harmless.
        harness.client(&query(ask));
        assert_eq!(harness.sent_to_target(), "Q");
        harness.to_client.clear();
        harness.target(&[described(&[("a", 0, 0, 25)]), row(&["harmless"]), complete("DONE"), ready(b'T')].concat());
        assert!(harness.to_client.windows(8).any(|window| window == b"harmless"));
    }
}

#[test]
fn the_targets_last_words_are_the_last() {
    let fatal = build(|out| {
        let fields: [(u8, &[u8]); 3] = [(b'S', b"FATAL"), (b'C', b"57P01"), (b'M', b"terminating connection")];
        message::write_report(out, b'E', &fields);
    });
    let closed = Fault::new(Whose::Target, FaultKind::Unreachable, "the connection was closed");
    for (watch, heard) in [(false, "E"), (true, "EE")] {
        let mut harness = Harness::new();
        harness.watch = watch;
        harness.client(&query("SELECT id FROM orders"));
        harness.target(&fatal);
        // Behind a watched result the target's words may be kept back for good, so the gateway has its own.
        harness.conversation.farewell(&closed, &mut harness.to_client);
        assert_eq!(harness.sent_to_client(), heard);
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(client: Vec<u8>, target: Vec<u8>) {
        let mut harness = Harness::new();
        let mut input = BytesMut::from(&client[..]);
        for _ in 0..8 {
            match harness.conversation.client_sent(&mut input, &mut harness.to_target) {
                Ok(Said::Request(_)) => harness.conversation.answer(Answer::Permit { watch: false }, &mut harness.to_target),
                _ => break,
            }
        }
        let mut input = BytesMut::from(&target[..]);
        let _ = harness.conversation.target_sent(&mut input, &mut harness.to_client, &mut harness.to_target);
    }
}
