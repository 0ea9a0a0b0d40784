//! One target per decoder: every byte that comes from a client, a target or a disk goes through one of these.
//!
//! A target may refuse its input in any way it likes. It must not panic, loop or allocate beyond its limits.
//! Protocols are found in the registry, so a new one is fuzzed without a word here.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::BytesMut;
use mask::{
    Classes, ColumnPlan, CopyFormat, CopyRewriter, MaskKind, Opaque, Reveals, RowPlan, TypedMask, Unclassified,
};
use protocols::greeting::{Dial, DialStep, Greet, Method, Purpose, Secured, Security, SessionKey, Step};
use protocols::{Answer, Opening, Protocol, Said, View};

/// A target and inputs it is known to understand, from which mutations start.
pub type Target = (&'static str, fn(&[u8]), &'static [&'static [u8]]);

/// All targets.
pub const TARGETS: &[Target] = &[
    ("greeting", greeting, &[b"\0\0\0\x08\x04\xd2\x16\x2f", STARTUP, STARTUP_3_2]),
    ("dial", dial, &[b"S", b"N", SASL, b"R\0\0\0\x0c\0\0\0\x05saltR\0\0\0\x08\0\0\0\0Z\0\0\0\x05I"]),
    ("client_side", client_side, &[QUERY, PIPELINE]),
    ("target_side", target_side, &[ANSWER, b"E\0\0\0\x14SERROR\0C42601\0Mx\0\0Z\0\0\0\x05I"]),
    ("survey", survey, &[ANSWER]),
    ("statement", statement, &[b"select a, b from t where x = $1", b"begin; copy t to stdout; commit", b"do $$ x $$"]),
    ("row", row, &[b"\x01\0\0\x04\0\0\0\x0b123-45-6789\0\0\0\x011\xff\xff\xff\xff\0\0\0\x02{}"]),
    ("copy", copy, &[b"\x00123-45-6789\t1\t\\N\t{}\n", b"\x01\"123-45-6789\",1,,\"{}\"\n", b"\x02PGCOPY\n\xff\r\n\0"]),
    (
        "detectors",
        detectors,
        &[b"123-45-6789 4111 1111 1111 1111 a@example.org +1 202-555-0123 DE89370400440532013000"],
    ),
    ("expression", expression, &[b"result.rows > 10 && 'a' in identity.groups", b"sql.tables.exists(t, t == 'x')"]),
    ("trail", trail, &[]),
];

const STARTUP: &[u8] = b"\0\0\0\x17\0\x03\0\0user\0a\0database\0b\0\0";
const STARTUP_3_2: &[u8] = b"\0\0\0\x1b\0\x03\0\x02user\0a\0_pq_.option\x001\0\0";
const SASL: &[u8] = b"NR\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0R\0\0\0\x24\0\0\0\x0br=abc,s=c2FsdHNhbHRzYWx0,i=4096";
const QUERY: &[u8] = b"Q\0\0\0\x0dselect 1\0";
const PIPELINE: &[u8] =
    b"P\0\0\0\x13s\0select $1\0\0\0B\0\0\0\x0f\0s\0\0\0\0\x01\0\0\0\x011\0\0E\0\0\0\x09\0\0\0\0\0S\0\0\0\x04";
const ANSWER: &[u8] = b"T\0\0\0\x1c\0\x01id\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0D\0\0\0\x0b\0\x01\0\0\0\x011C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I";

/// Feeds `data` in pieces whose sizes the first byte chooses, so that splits are fuzzed with the content.
fn pieces(data: &[u8], mut take: impl FnMut(&mut BytesMut) -> bool) {
    let Some((first, rest)) = data.split_first() else { return };
    let size = usize::from(*first % 64) + 1;
    let mut input = BytesMut::new();
    for piece in rest.chunks(size) {
        input.extend_from_slice(piece);
        if !take(&mut input) {
            return;
        }
    }
}

fn each_protocol(work: impl Fn(&'static dyn Protocol)) {
    protocols::PROTOCOLS.iter().copied().for_each(work);
}

/// A client's login.
pub fn greeting(data: &[u8]) {
    each_protocol(|protocol| {
        let local = data.len() % 2 == 0;
        let mut login = (protocol.entry().greet)(Greet { tls: data.len() % 3 == 0, local });
        let mut output = BytesMut::new();
        pieces(data, |input| {
            for _ in 0..64 {
                match login.advance(input, &mut output) {
                    Ok(Step::More) => return true,
                    Ok(Step::Secure) => login.secured(Secured::default()),
                    Ok(Step::Identify) => login.identified(if local { Method::Clear } else { Method::Unknown }),
                    Ok(Step::Judge(_)) => login.admit(&[], &SessionKey { id: 1, secret: [7; 32] }, &mut output),
                    Ok(Step::Cancel(_)) | Err(_) => return false,
                }
                assert!(output.len() < 1 << 20, "a login says little");
            }
            panic!("a login that never asks for more");
        });
    });
}

/// The gateway's login to a target.
pub fn dial(data: &[u8]) {
    let dial = Dial {
        purpose: Purpose::Login,
        security: if data.len() % 2 == 0 { Security::Plain } else { Security::Offered },
        target: "t".into(),
        user: "u".into(),
        password: Some("p".into()),
        set_role: None,
        database: "d".into(),
        application: "a/s".into(),
        settings: Vec::new(),
    };
    each_protocol(|protocol| {
        let mut login = (protocol.entry().dial)(dial.clone());
        let mut output = BytesMut::new();
        pieces(data, |input| {
            for _ in 0..64 {
                match login.advance(input, &mut output) {
                    Ok(DialStep::More) => return true,
                    Ok(DialStep::Secure) => login.secured(Secured::default()),
                    // Deriving is arithmetic, not decoding, and slow.
                    Ok(DialStep::Derive(_) | DialStep::Reached(_) | DialStep::Done) | Err(_) => return false,
                }
            }
            panic!("a login that never asks for more");
        });
    });
}

fn view() -> Arc<View> {
    let settings = serde_json::json!({"classes": [
        {"name": "ssn", "columns": ["t:public.customers.ssn"], "detect": ["us_ssn"], "mask": {"keep_last": 4}},
    ]});
    let classes = Arc::new(Classes::load(&settings).expect("the classes are right"));
    let reveals = Reveals::default();
    let detectors = classes.detectors(&reveals).expect("the detector exists");
    Arc::new(View {
        generation: 1,
        target: "t".into(),
        classes,
        reveals,
        unclassified: Arc::new(Unclassified::default()),
        detectors,
        observe: false,
        parser: Arc::new(statement::Parser::new(statement::Limits::default())),
        message_bytes: 1 << 16,
        statement_bytes: 1 << 14,
    })
}

thread_local! {
    static VIEW: Arc<View> = view();
    static STORE: RefCell<Option<tempfile::TempDir>> = const { RefCell::new(None) };
}

/// A client's messages once its session is open.
pub fn client_side(data: &[u8]) {
    each_protocol(|protocol| {
        let mut dialogue = protocol.dialogue(&Opening::default(), None, VIEW.with(Arc::clone));
        let mut to_target = BytesMut::new();
        pieces(data, |input| {
            loop {
                match dialogue.client_sent(input, &mut to_target) {
                    Ok(Said::Request(_)) => dialogue.answer(Answer::Permit { watch: false }, &mut to_target),
                    Ok(Said::NeedMore | Said::Wait) => return true,
                    Ok(Said::Goodbye) | Err(_) => return false,
                }
            }
        });
    });
}

/// A target's messages, after a few requests that expect answers.
pub fn target_side(data: &[u8]) {
    each_protocol(|protocol| {
        let mut dialogue = protocol.dialogue(&Opening::default(), None, VIEW.with(Arc::clone));
        let (mut to_target, mut to_client) = (BytesMut::new(), BytesMut::new());
        let mut asked = BytesMut::from(if data.len() % 2 == 0 { QUERY } else { PIPELINE });
        while let Ok(Said::Request(_)) = dialogue.client_sent(&mut asked, &mut to_target) {
            dialogue.answer(Answer::Permit { watch: false }, &mut to_target);
        }
        pieces(data, |input| {
            let before = input.len();
            let heard = dialogue.target_sent(input, &mut to_client, &mut to_target);
            heard.is_ok() && (input.len() < before || before < 1 << 17)
        });
    });
}

/// A target's answers to the questions about its catalog.
pub fn survey(data: &[u8]) {
    each_protocol(|protocol| {
        let Some(begin) = protocol.entry().survey else { return };
        let mut survey = begin();
        let mut output = BytesMut::new();
        pieces(data, |input| matches!(survey.advance(input, &mut output), Ok(None)));
    });
}

/// A text in the target's language.
pub fn statement(data: &[u8]) {
    thread_local! {
        static PARSER: statement::Parser = statement::Parser::new(statement::Limits { cache_bytes: 0, ..statement::Limits::default() });
    }
    PARSER.with(|parser| {
        if let Ok(text) = parser.parse_bytes(data) {
            let _ = text.shape();
        }
    });
}

fn plan() -> RowPlan {
    const TEXT: u32 = 25;
    const INT4: u32 = 23;
    const JSONB: u32 = 3802;
    let detectors = VIEW.with(|view| view.detectors.clone()).expect("the view has a detector");
    let masked = |kind: &MaskKind, oid| ColumnPlan::Mask(TypedMask::for_type(kind, oid).expect("the pair is valid"));
    RowPlan::new(vec![
        ColumnPlan::scan(&detectors, TEXT, Opaque::Refuse),
        masked(&MaskKind::Full, INT4),
        masked(&MaskKind::KeepLast(4), TEXT),
        ColumnPlan::scan(&detectors, JSONB, Opaque::Refuse),
    ])
}

/// A row, in text or binary as the first byte says.
pub fn row(data: &[u8]) {
    let Some((format, body)) = data.split_first() else { return };
    let mut out = BytesMut::new();
    let _ = mask::Rewriter::new().rewrite_row(&plan(), &[i16::from(format % 2)], body, &mut out);
    assert!(out.len() <= 64 * (data.len() + 64), "a mask grows within bounds");
}

/// Rows of a COPY, in the format the first byte says, in pieces.
pub fn copy(data: &[u8]) {
    let Some((format, rest)) = data.split_first() else { return };
    let format = match format % 3 {
        0 => CopyFormat::text(),
        1 => CopyFormat::csv(),
        _ => CopyFormat::Binary,
    };
    let mut rewriter = CopyRewriter::new(plan(), format, 1 << 16);
    let mut out = BytesMut::new();
    for piece in rest.chunks(usize::from(rest.first().copied().unwrap_or(7)) + 1) {
        if rewriter.push(piece, &mut out).is_err() {
            return;
        }
    }
    let _ = rewriter.finish();
}

/// A value that detectors look at.
pub fn detectors(data: &[u8]) {
    thread_local! {
        static SCANNER: scan::Scanner = scan::Scanner::new(&scan::names().collect::<Vec<_>>()).expect("built in");
    }
    let mut spans = Vec::new();
    SCANNER.with(|scanner| scanner.find(data, &mut spans));
    let inside = spans.iter().all(|span| span.start < span.end && span.end <= data.len());
    let apart = spans.windows(2).all(|pair| pair[0].end <= pair[1].start);
    assert!(inside && apart, "spans lie inside the value, in order, without overlap");
}

/// A condition of the manifest.
pub fn expression(data: &[u8]) {
    let Ok(source) = std::str::from_utf8(data) else { return };
    let facts = policy::FACTS.iter().chain(statement::FACTS).copied();
    let _ = policy::Expression::compile(source, &policy::Scope::rule(facts));
}

/// A sound segment, for mutations to start from.
#[must_use]
pub fn segment() -> Vec<u8> {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let settings = serde_json::json!({"store": folder.path(), "node": "n", "segment_bytes": 1 << 16});
    let settings = serde_json::from_value(settings).expect("the settings are right");
    let (trail, _) = record::Trail::open(&settings).expect("a trail opens");
    let mut session = trail.session(model::SessionId([7; 16]));
    for exchange in 0..4 {
        let text = record::evidence::StatementText { id: exchange, text: "select 1".into(), shape: None };
        session.evidence(exchange, &text).expect("evidence is written");
    }
    trail.close().expect("the trail closes");
    let names = record::read::segments(folder.path()).expect("the store is read");
    std::fs::read(names[0].path(folder.path())).expect("the segment is read")
}

/// A segment of the trail, as a disk may have damaged it.
pub fn trail(data: &[u8]) {
    STORE.with(|slot| {
        let mut slot = slot.borrow_mut();
        let store = slot.get_or_insert_with(|| tempfile::tempdir().expect("there is room for a folder"));
        let folder = store.path().join("evidence");
        std::fs::create_dir_all(&folder).expect("there is room for a folder");
        std::fs::write(folder.join("n-evidence-0000000000000001.seg"), data).expect("there is room for a file");
        if let Ok(records) = record::read::records(store.path(), record::read::Query::default()) {
            assert!(records.take(100_000).count() < 100_000, "reading a short segment ends");
        }
    });
}
