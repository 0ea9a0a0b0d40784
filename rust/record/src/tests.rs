//! The trail from its public face: what was acknowledged is there.

use std::sync::Arc;

use model::SessionId;

use crate::evidence::{Answered, SessionClosed, SessionOpened};
use crate::read::{self, Query, Record};
use crate::{Content, Direction, Durability, Kind, Trail, TrailSettings};

fn settings(store: &std::path::Path) -> TrailSettings {
    TrailSettings {
        store: store.to_owned(),
        durability: Durability::Process,
        node: "node-1".to_owned(),
        segment_bytes: 1 << 20,
    }
}

fn id(byte: u8) -> SessionId {
    SessionId([byte; 16])
}

fn all(store: &std::path::Path, query: Query) -> Vec<Record> {
    read::records(store, query).unwrap().collect::<Result<_, _>>().unwrap()
}

#[test]
fn a_session_is_read_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let (trail, recovery) = Trail::open(&settings(folder.path())).unwrap();
    assert_eq!(recovery, crate::Recovery::default());
    let mut session = trail.session(id(1));
    session.evidence(0, &SessionOpened { identity: "agent-7".into(), ..Default::default() }).unwrap();
    session.payload(1, b"row one").unwrap();
    let mut batch = session.batch();
    batch.payload(1, Direction::ToClient, &vec![b'x'; 100_000]).unwrap();
    let digest = batch.digest(1).unwrap();
    let answered = Answered { hash: Some(Arc::from(digest.hash.as_str())), bytes: digest.bytes, ..Default::default() };
    batch.evidence(1, &answered).unwrap();
    batch.commit().unwrap();
    session.evidence(0, &SessionClosed::default()).unwrap();

    // While it is being written, and once it is sealed.
    for _ in 0..2 {
        let records = all(folder.path(), Query { session: Some(id(1)), ..Default::default() });
        let kinds: Vec<_> = records.iter().map(|record| record.kind().unwrap_or("payload")).collect();
        assert_eq!(kinds, ["session_opened", "payload", "payload", "payload", "answered", "session_closed"]);
        assert_eq!(records[0].parse::<SessionOpened>().unwrap().identity.as_ref(), "agent-7");
        assert_eq!(records[1].content, Content::Payload(Direction::ToClient));
        let answered: Answered = records[4].parse().unwrap();
        assert_eq!(answered.bytes, 100_007);
        let hash = blake3::hash(&[&b"row one"[..], &[b'x'; 100_000]].concat());
        assert_eq!(answered.hash.unwrap().as_ref(), hash.to_hex().as_str());
        trail.close().unwrap();
    }
    assert_eq!(all(folder.path(), Query { kind: Some(Kind::Payload), ..Default::default() }).len(), 3);
    assert!(session.payload(2, b"late").is_err());
}
