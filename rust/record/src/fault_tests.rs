//! The trail on bad days: torn ends, damaged and missing segments, a store that goes away.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use model::FaultKind;

use crate::evidence::{LOST, SessionClosed, SessionOpened};
use crate::read::{self, Query};
use crate::tests::{all, closed, id, of, open, settings, text};
use crate::{Kind, Recovery, SegmentName, Trail, TrailSettings};

#[test]
fn a_damaged_frame_is_named_and_the_next_segment_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let trail = open(folder.path());
    let mut session = trail.session(id(1));
    for exchange in 1..200 {
        session.payload(exchange, &[b'x'; 1000]).unwrap();
    }
    trail.close().unwrap();
    let names = read::segments(folder.path()).unwrap();
    let payload: Vec<_> = names.iter().filter(|name| name.kind == Kind::Payload).collect();
    assert!(payload.len() > 3);
    let path = payload[1].path(folder.path());
    let mut bytes = fs::read(&path).unwrap();
    bytes[5000] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let read: Vec<_> = read::records(folder.path(), of(id(1))).unwrap().collect();
    let damage: Vec<_> = read.iter().filter_map(|record| record.as_ref().err()).collect();
    assert_eq!(damage.len(), 1);
    assert_eq!(damage[0].segment, payload[1].file());
    assert!(damage[0].offset > 4000 && damage[0].offset <= 5000, "{}", damage[0]);
    assert_eq!(read.last().unwrap().as_ref().unwrap().exchange.id, 199);
}

#[test]
fn segments_that_are_cut_or_missing_are_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let trail = open(folder.path());
    let mut session = trail.session(id(1));
    for exchange in 1..200 {
        session.payload(exchange, &[b'x'; 1000]).unwrap();
    }
    trail.close().unwrap();
    let name = SegmentName { node: "node-1".into(), kind: Kind::Payload, sequence: 2 };
    let path = name.path(folder.path());
    let bytes = fs::read(&path).unwrap();
    for cut in [0, 1, 100, 5000, bytes.len() - 1, bytes.len() - 13] {
        fs::write(&path, &bytes[..cut]).unwrap();
        assert!(!read::verify(folder.path()).unwrap().problems.is_empty(), "{cut}");
    }
    fs::remove_file(&path).unwrap();
    let report = read::verify(folder.path()).unwrap();
    assert!(report.problems[0].what.contains("missing"), "{report:?}");
    // A segment that says it is another one.
    let next = SegmentName { sequence: 3, ..name };
    fs::copy(next.path(folder.path()), &path).unwrap();
    assert!(!read::verify(folder.path()).unwrap().problems.is_empty());
}

#[test]
fn an_end_torn_anywhere_is_cut_to_whole_frames() {
    let folder = tempfile::tempdir().unwrap();
    let (kept, torn) = (folder.path().join("kept"), folder.path().join("torn"));
    let trail = open(&kept);
    let mut session = trail.session(id(5));
    session.evidence(0, &SessionOpened::default()).unwrap();
    for exchange in 1..4 {
        session.evidence(exchange, &text(exchange, "SELECT 1")).unwrap();
    }
    let name = SegmentName { node: "node-1".into(), kind: Kind::Evidence, sequence: 1 };
    let bytes = written(&name.path(&kept));
    for cut in (0..=bytes.len()).step_by(3).chain([bytes.len()]) {
        let _ = fs::remove_dir_all(&torn);
        fs::create_dir_all(torn.join("evidence")).unwrap();
        fs::write(name.path(&torn), &bytes[..cut]).unwrap();
        let whole = all(&torn, of(id(5))).len();
        let (trail, recovery) = Trail::open(&settings(&torn)).unwrap();
        assert_eq!(recovery.lost.len(), usize::from(whole > 0), "{cut}");
        drop(trail);
        let records = all(&torn, of(id(5)));
        assert_eq!(records.len(), whole + usize::from(whole > 0), "{cut}");
        if let Some(end) = records.last() {
            assert_eq!(end.parse::<SessionClosed>().unwrap().reason.as_ref(), LOST);
        }
        for end in &recovery.torn {
            let cut_off = &bytes[end.offset as usize..cut];
            let shown = cut_off.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            assert_eq!(fs::read(&end.kept).unwrap(), cut_off[..shown]);
        }
        assert_eq!(read::verify(&torn).unwrap().problems, vec![], "{cut}");
        assert_eq!(Trail::open(&settings(&torn)).unwrap().1, Recovery::default());
    }
}

#[test]
fn a_copy_that_was_broken_off_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let (kept, torn) = (folder.path().join("kept"), folder.path().join("torn"));
    let trail = open(&kept);
    let mut session = trail.session(id(5));
    session.evidence(0, &SessionOpened::default()).unwrap();
    let name = SegmentName { node: "node-1".into(), kind: Kind::Evidence, sequence: 1 };
    let before = written(&name.path(&kept)).len();
    session.evidence(1, &text(1, "SELECT 1")).unwrap();
    let bytes = written(&name.path(&kept));
    let room = fs::read(name.path(&kept)).unwrap().len();
    assert!(room > bytes.len() && all(&kept, of(id(5))).len() == 2);
    // A frame's first four bytes come last; the file goes on with room that is set aside.
    for copied in [before + 4, before + 5, bytes.len() - 1, bytes.len()] {
        let _ = fs::remove_dir_all(&torn);
        fs::create_dir_all(torn.join("evidence")).unwrap();
        let mut broken = bytes[..copied].to_vec();
        broken[before..before + 4].fill(0);
        broken.resize(room, 0);
        fs::write(name.path(&torn), &broken).unwrap();
        assert_eq!(all(&torn, of(id(5))).len(), 1);
        let (trail, recovery) = Trail::open(&settings(&torn)).unwrap();
        assert_eq!(recovery.lost, [id(5)]);
        assert_eq!(recovery.torn.len(), usize::from(copied > before + 4), "{copied}");
        drop(trail);
        assert_eq!(read::verify(&torn).unwrap().problems, vec![]);
    }
}

#[test]
fn small_and_large_commits_stand_one_behind_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let settings = TrailSettings { segment_bytes: 8 << 20, ..settings(folder.path()) };
    let (trail, _) = Trail::open(&settings).unwrap();
    let mut session = trail.session(id(3));
    let lengths = [1, 100, 300_000, 5, 16_384, 2_000_000, 7, 900_000, 900_000, 900_000, 3];
    for (exchange, length) in (1..).zip(lengths) {
        session.payload(exchange, &vec![b'a' + exchange as u8; length]).unwrap();
    }
    let read = |exchange| -> usize {
        let query = Query { exchange: Some(exchange), ..of(id(3)) };
        read::records(folder.path(), query).unwrap().map(|record| record.unwrap().body.len()).sum()
    };
    for again in 0..2 {
        for (exchange, length) in (1..).zip(lengths) {
            assert_eq!(read(exchange), length, "{again}");
        }
        trail.close().unwrap_or_default();
    }
    assert_eq!(read::verify(folder.path()).unwrap().problems, vec![]);
}

/// What a segment that is being written holds, without the room set aside behind it.
fn written(path: &Path) -> Vec<u8> {
    let mut bytes = fs::read(path).unwrap();
    bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
    bytes
}

#[test]
fn a_store_that_goes_away_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let (store, away) = (folder.path().join("store"), folder.path().join("away"));
    let trail = open(&store);
    let mut session = trail.session(id(1));
    session.evidence(0, &SessionOpened::default()).unwrap();
    fs::rename(&store, &away).unwrap();
    // Until the segment is full nothing is amiss; then no other can be had.
    let long = text(1, &"x".repeat(1000));
    let fault = (0..1000).find_map(|_| session.evidence(1, &long).err()).unwrap();
    assert_eq!(fault.kind, FaultKind::Unrecordable);
    assert!(trail.health().is_err());
    fs::rename(&away, &store).unwrap();
    assert!(session.evidence(1, &long).is_err(), "nothing is retried at once");
    std::thread::sleep(Duration::from_millis(1100));
    session.evidence(1, &long).unwrap();
    assert!(trail.health().is_ok());
    trail.close().unwrap();
    assert_eq!(read::verify(&store).unwrap().problems, vec![]);
}

#[test]
fn the_end_of_a_session_has_room_when_nothing_else_has() {
    let folder = tempfile::tempdir().unwrap();
    let (store, away) = (folder.path().join("store"), folder.path().join("away"));
    let trail = open(&store);
    let mut session = trail.session(id(1));
    session.evidence(0, &SessionOpened::default()).unwrap();
    fs::rename(&store, &away).unwrap();
    let long = text(1, &"x".repeat(1000));
    while session.evidence(1, &long).is_ok() {}
    std::thread::sleep(Duration::from_millis(1100));
    session.evidence(0, &closed("the trail cannot be written")).unwrap();
    fs::rename(&away, &store).unwrap();
    trail.close().unwrap();
    let end = all(&store, of(id(1))).pop().unwrap();
    assert_eq!(end.kind(), Some("session_closed"));
    assert_eq!(read::verify(&store).unwrap().problems, vec![]);
}

#[test]
fn one_node_has_one_writer() {
    let folder = tempfile::tempdir().unwrap();
    let trail = open(folder.path());
    let fault = Trail::open(&settings(folder.path())).unwrap_err();
    assert!(fault.message.contains("another process"), "{fault}");
    let other = TrailSettings { node: "node-2".to_owned(), ..settings(folder.path()) };
    Trail::open(&other).unwrap().0.session(id(2)).payload(1, b"row").unwrap();
    trail.session(id(1)).payload(1, b"row").unwrap();
    drop(trail);
    assert_eq!(all(folder.path(), Query::default()).len(), 2);
    assert_eq!(read::verify(folder.path()).unwrap().problems, vec![]);
    let _again = open(folder.path());
}

#[test]
fn others_cannot_read_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("deep/store");
    let trail = open(&store);
    trail.session(id(1)).payload(1, b"row").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&store), mode(&store.join("payload"))), (0o700, 0o700));
    for name in read::segments(&store).unwrap() {
        assert_eq!(mode(&name.path(&store)), 0o600);
    }
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for node in ["", "../x", ".hidden", "a/b", &"n".repeat(65)] {
        let bad = TrailSettings { node: node.to_owned(), ..settings(folder.path()) };
        assert!(Trail::open(&bad).is_err(), "{node}");
    }
    let bad = TrailSettings { segment_bytes: 10, ..settings(folder.path()) };
    assert!(Trail::open(&bad).is_err());
    assert_eq!(read::records(&folder.path().join("nowhere"), Query::default()).unwrap().count(), 0);
}
