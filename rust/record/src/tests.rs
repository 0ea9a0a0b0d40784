//! The trail from its public face: what was acknowledged is there, and nobody changes it unseen.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, Wake, Waker};
use std::time::{Duration, Instant};

use model::{FaultKind, SessionId};
use proptest::prelude::*;

use crate::evidence::{Answered, Asked, Operator, SessionClosed, SessionOpened, StatementText, Verdict};
use crate::read::{self, Query, Record};
use crate::{Content, Direction, Durability, Kind, Recovery, Results, Trail, TrailSettings, compact};

pub(crate) fn settings(store: &Path) -> TrailSettings {
    TrailSettings {
        store: store.to_owned(),
        durability: Durability::Process,
        node: "node-1".to_owned(),
        segment_bytes: 64 << 10,
    }
}

pub(crate) fn open(store: &Path) -> Trail {
    Trail::open(&settings(store)).unwrap().0
}

pub(crate) fn id(byte: u8) -> SessionId {
    SessionId([byte; 16])
}

pub(crate) fn all(store: &Path, query: Query) -> Vec<Record> {
    read::records(store, query).unwrap().collect::<Result<_, _>>().unwrap()
}

pub(crate) fn of(session: SessionId) -> Query {
    Query { session: Some(session), ..Query::default() }
}

pub(crate) fn closed(reason: &str) -> SessionClosed {
    SessionClosed { reason: reason.into(), ..Default::default() }
}

pub(crate) fn text(id: u64, text: &str) -> StatementText {
    StatementText { id, text: text.into(), shape: None }
}

#[test]
fn a_session_is_read_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let (trail, recovery) = Trail::open(&settings(folder.path())).unwrap();
    assert_eq!(recovery, Recovery::default());
    let mut session = trail.session(id(1));
    session.evidence(0, &SessionOpened { identity: "agent-7".into(), ..Default::default() }).unwrap();
    session.payload(1, b"row one").unwrap();
    let mut batch = session.batch();
    batch.payload(1, Direction::ToClient, &vec![b'x'; 100_000]).unwrap();
    let digest = batch.digest(1).unwrap();
    let answered = Answered { hash: Some(digest.hash.clone().into()), bytes: digest.bytes, ..Default::default() };
    batch.evidence(1, &answered).unwrap();
    batch.commit().unwrap();
    session.evidence(0, &closed("goodbye")).unwrap();

    // While it is being written, and once it is sealed.
    for _ in 0..2 {
        let records = all(folder.path(), of(id(1)));
        let kinds: Vec<_> = records.iter().map(|record| record.kind().unwrap_or("payload")).collect();
        assert_eq!(kinds, ["session_opened", "payload", "payload", "payload", "answered", "session_closed"]);
        assert_eq!(records[0].parse::<SessionOpened>().unwrap().identity.as_ref(), "agent-7");
        assert_eq!(records[1].content, Content::Payload(Direction::ToClient));
        let answered: Answered = records[4].parse().unwrap();
        assert_eq!(answered.bytes, 100_007);
        let hash = blake3::hash(&[&b"row one"[..], &[b'x'; 100_000]].concat());
        assert_eq!(answered.hash.unwrap().as_ref(), hash.to_hex().as_str());
        let report = read::verify(folder.path()).unwrap();
        assert_eq!((report.problems, report.answers), (vec![], 1));
        trail.close().unwrap();
    }
    assert_eq!(all(folder.path(), Query { kind: Some(Kind::Payload), ..Default::default() }).len(), 3);
    assert!(session.payload(2, b"late").is_err());
    assert!(trail.operator(&Operator::default()).is_err());
}

#[test]
fn any_zstd_prints_the_records() {
    let folder = tempfile::tempdir().unwrap();
    let trail = open(folder.path());
    trail.session(id(1)).payload(1, b"a row as delivered").unwrap();
    trail.close().unwrap();
    for name in read::segments(folder.path()).unwrap() {
        let printed = zstd::decode_all(&fs::read(name.path(folder.path())).unwrap()[..]).unwrap();
        let found = printed.windows(18).any(|window| window == b"a row as delivered");
        assert_eq!(found, name.kind == Kind::Payload);
    }
}

/// What a random session writes.
#[derive(Debug, Clone)]
enum Write {
    Evidence(String),
    Payload(Vec<u8>),
    Batch(Vec<(bool, Vec<u8>)>),
}

fn write() -> impl Strategy<Value = Write> {
    let bytes = || {
        prop_oneof![
            8 => prop::collection::vec(any::<u8>(), 0..300),
            1 => (0_usize..200_000, any::<u8>()).prop_map(|(count, byte)| vec![byte; count]),
        ]
    };
    prop_oneof![
        ".{0,200}".prop_map(Write::Evidence),
        bytes().prop_map(Write::Payload),
        prop::collection::vec((any::<bool>(), bytes()), 0..6).prop_map(Write::Batch),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn whatever_is_written_is_read(writes in prop::collection::vec(write(), 0..25), level in 1..4) {
        let folder = tempfile::tempdir().unwrap();
        let trail = open(folder.path());
        let mut session = trail.session(id(9));
        let mut expected: Vec<(u64, Vec<u8>)> = Vec::new();
        for (place, write) in writes.iter().enumerate() {
            let exchange = place as u64 + 1;
            match write {
                Write::Evidence(said) => drop(session.evidence(exchange, &text(exchange, said)).unwrap()),
                Write::Payload(bytes) => {
                    session.payload(exchange, bytes).unwrap();
                    expected.push((exchange, bytes.clone()));
                }
                Write::Batch(parts) => {
                    let mut batch = session.batch();
                    for (to_client, bytes) in parts {
                        let direction = if *to_client { Direction::ToClient } else { Direction::ToTarget };
                        batch.payload(exchange, direction, bytes).unwrap();
                        expected.push((exchange, bytes.clone()));
                    }
                    batch.commit().unwrap();
                }
            }
        }
        trail.close().unwrap();
        for compressed in [false, true] {
            if compressed {
                for name in read::segments(folder.path()).unwrap() {
                    compact::segment(folder.path(), &name, level).unwrap();
                }
            }
            let records = all(folder.path(), of(id(9)));
            let mut texts = records.iter().filter_map(Record::parse::<StatementText>);
            for write in &writes {
                if let Write::Evidence(said) = write {
                    let found = texts.next().unwrap();
                    prop_assert_eq!(found.text.as_ref(), said.as_str());
                }
            }
            prop_assert!(texts.next().is_none());
            let join = |exchange: u64, parts: &mut dyn Iterator<Item = (u64, &Vec<u8>)>| -> Vec<u8> {
                parts.filter(|part| part.0 == exchange).flat_map(|part| part.1.clone()).collect()
            };
            for exchange in 1..=writes.len() as u64 {
                let mut read = records.iter().filter(|r| r.kind().is_none()).map(|r| (r.exchange.id, &r.body));
                let mut written = expected.iter().map(|(id, bytes)| (*id, bytes));
                prop_assert_eq!(join(exchange, &mut read), join(exchange, &mut written));
            }
            prop_assert!(records.windows(2).all(|pair| pair[0].time < pair[1].time));
            prop_assert_eq!(read::verify(folder.path()).unwrap().problems, vec![]);
        }
    }

    #[test]
    fn a_changed_bit_is_noticed(place in any::<prop::sample::Index>(), which in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let folder = tempfile::tempdir().unwrap();
        let trail = open(folder.path());
        let mut session = trail.session(id(3));
        session.evidence(0, &SessionOpened::default()).unwrap();
        for exchange in 1..4 {
            session.payload(exchange, b"some payload").unwrap();
            session.evidence(exchange, &text(exchange, "SELECT 1")).unwrap();
        }
        trail.close().unwrap();
        let names = read::segments(folder.path()).unwrap();
        let path = which.get(&names).path(folder.path());
        let mut bytes = fs::read(&path).unwrap();
        let place = place.index(bytes.len());
        bytes[place] ^= 1 << bit;
        fs::write(&path, &bytes).unwrap();
        let report = read::verify(folder.path()).unwrap();
        prop_assert!(!report.problems.is_empty(), "bit {} of byte {} of {} in {:?}", bit, place, bytes.len(), path);
        // Reading may fail, but never panics and never makes records up.
        for record in read::records(folder.path(), Query::default()).unwrap().flatten() {
            prop_assert!(record.kind().is_some() || record.body == b"some payload");
        }
    }
}

#[test]
fn eight_writers_share_segments() {
    let folder = tempfile::tempdir().unwrap();
    let trail = open(folder.path());
    std::thread::scope(|scope| {
        for writer in 1..=8 {
            let trail = trail.clone();
            scope.spawn(move || {
                let mut session = trail.session(id(writer));
                session.evidence(0, &SessionOpened::default()).unwrap();
                for exchange in 1..=200 {
                    let mut batch = session.batch();
                    batch.payload(exchange, Direction::ToClient, &vec![writer; 50 + exchange as usize]).unwrap();
                    let digest = batch.digest(exchange).unwrap();
                    let hash = Some(digest.hash.into());
                    let (rows, bytes) = (1, digest.bytes);
                    let answered = Answered { rows, bytes, hash, delivered: true, ..Default::default() };
                    batch.evidence(exchange, &answered).unwrap();
                    batch.commit().unwrap();
                }
                if writer % 2 == 0 {
                    session.evidence(0, &closed("goodbye")).unwrap();
                }
            });
        }
    });
    let report = read::verify(folder.path()).unwrap();
    assert_eq!((report.problems, report.answers), (vec![], 1600));
    drop(trail);
    let (trail, recovery) = Trail::open(&settings(folder.path())).unwrap();
    assert_eq!(recovery.lost, [id(1), id(3), id(5), id(7)]);
    let summaries = read::sessions(folder.path(), 0).unwrap();
    assert_eq!(summaries.len(), 8);
    for summary in &summaries {
        assert_eq!((summary.rows, summary.opened.is_some()), (200, true));
        assert_eq!(summary.bytes, 200 * 50 + 200 * 201 / 2);
        assert!(summary.closed.is_some());
        assert!(summary.segments.len() >= 2, "{summary:?}");
        let records = all(folder.path(), of(summary.session));
        assert!(records.windows(2).all(|pair| pair[0].time < pair[1].time));
        let bodies = records.iter().filter(|record| record.kind().is_none());
        assert!(bodies.clone().all(|record| record.body.iter().all(|byte| *byte == record.exchange.session.0[0])));
        assert_eq!(bodies.count(), 200);
    }
    drop(trail);
    assert_eq!(read::verify(folder.path()).unwrap().problems, vec![]);
}

#[test]
fn what_lies_across_the_boundary_of_a_query_stays_out() {
    let folder = tempfile::tempdir().unwrap();
    let trail = open(folder.path());
    let mut session = trail.session(id(1));
    for exchange in 1..=5 {
        session.payload(exchange, b"row").unwrap();
    }
    trail.operator(&Operator { action: "trail_read".into(), detail: serde_json::json!({"by": "ops"}) }).unwrap();
    let records = all(folder.path(), of(id(1)));
    let (second, fourth) = (records[1].time, records[3].time);
    let between = Query { from: Some(second), to: Some(fourth), ..of(id(1)) };
    let found: Vec<_> = all(folder.path(), between).iter().map(|record| record.exchange.id).collect();
    assert_eq!(found, [2, 3, 4]);
    assert_eq!(all(folder.path(), Query { exchange: Some(4), ..of(id(1)) }).len(), 1);
    let acts = all(folder.path(), Query { kind: Some(Kind::Evidence), ..Default::default() });
    assert_eq!(acts[0].parse::<Operator>().unwrap().detail["by"], "ops");
    assert!(read::sessions(folder.path(), 0).unwrap().is_empty());
    let query: Query = serde_json::from_str(&format!(r#"{{"session":"{}","kind":"payload"}}"#, id(1))).unwrap();
    assert_eq!(all(folder.path(), query).len(), 5);
    assert!(serde_json::from_str::<Query>(r#"{"session":"x"}"#).is_err());
    assert!(serde_json::from_str::<Query>(r#"{"sesion":null}"#).is_err());
}

#[test]
fn a_digest_keeps_no_rows() {
    let folder = tempfile::tempdir().unwrap();
    let trail = open(folder.path());
    let mut session = trail.session(id(1)).results(Results::Digest);
    session.payload(1, b"secret").unwrap();
    let digest = session.digest(1).unwrap();
    assert_eq!((digest.bytes, digest.hash), (6, blake3::hash(b"secret").to_hex().to_string()));
    assert_eq!(session.digest(1), None);
    trail.close().unwrap();
    assert_eq!(all(folder.path(), Query::default()).len(), 0);
}

#[test]
fn a_batch_that_is_dropped_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let trail = open(folder.path());
    let mut session = trail.session(id(1));
    let mut batch = session.batch();
    batch.evidence(1, &text(1, "SELECT 1")).unwrap();
    drop(batch);
    session.evidence(2, &text(2, "SELECT 2")).unwrap();
    let records = all(folder.path(), Query::default());
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].exchange.id, 2);
}

#[test]
fn evidence_too_long_for_a_record_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let trail = open(folder.path());
    let mut session = trail.session(id(1));
    let long = text(1, &"\u{1}".repeat(1_500_000));
    assert_eq!(session.evidence(1, &long).unwrap_err().kind, FaultKind::TooLarge);
    // The longest statement that is accepted is larger than a segment here, and takes one of its own.
    let long = text(2, &"\u{1}".repeat(1 << 20));
    session.evidence(2, &long).unwrap();
    let asked = Asked {
        text_id: Some(2),
        kind: "select".into(),
        tables: [].into(),
        parameters: Vec::new(),
        verdict: Verdict::Allow,
        rule: None,
        why: None,
        manifest: None,
        credential: None,
    };
    session.evidence(2, &asked).unwrap();
    trail.close().unwrap();
    let records = all(folder.path(), of(id(1)));
    assert_eq!(records.len(), 2);
    assert_eq!(records[0].parse::<StatementText>().unwrap(), long);
    assert_eq!(read::verify(folder.path()).unwrap().problems, vec![]);
}

/// Notes that it was woken.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn what_is_durable_wakes_who_waits() {
    let folder = tempfile::tempdir().unwrap();
    let on_disk = TrailSettings { durability: Durability::Disk, ..settings(folder.path()) };
    let (trail, _) = Trail::open(&on_disk).unwrap();
    let mut session = trail.session(id(1));
    for exchange in 1..=300 {
        let position = session.payload(exchange, &[b'x'; 900]).unwrap();
        if exchange % 20 != 0 {
            continue;
        }
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let deadline = Instant::now() + Duration::from_secs(20);
        while trail.poll_durable(position, &waker) != Poll::Ready(Ok(())) {
            while !woken.0.swap(false, Ordering::AcqRel) {
                assert!(Instant::now() < deadline, "nobody was woken");
                std::thread::yield_now();
            }
        }
        assert!(trail.durable(position));
    }
    let position = session.evidence(0, &closed("goodbye")).unwrap();
    trail.wait_durable(position).unwrap();
    trail.close().unwrap();
    assert_eq!(read::verify(folder.path()).unwrap().problems, vec![]);
}
