//! Writers that die: by kill -9 at any moment, or because the disk takes no more.
//!
//! The tests start this same executable again as the writer that dies; `writer` does its work only when it is told where.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::collections::HashMap;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use model::{FaultKind, SessionId};
use record::evidence::{Answered, LOST, SessionClosed, SessionOpened};
use record::read::{self, Query};
use record::{Direction, Durability, Trail, TrailSettings};

const STORE: &str = "PENSTOCK_TEST_STORE";
const UNTIL_FULL: &str = "PENSTOCK_TEST_UNTIL_FULL";

fn settings(store: &Path) -> TrailSettings {
    let durability = Durability::Process;
    TrailSettings { store: store.to_owned(), durability, node: "node-1".to_owned(), segment_bytes: 64 << 10 }
}

/// The child's part. Prints a line for each acknowledged commit before it makes the next.
#[test]
fn writer() {
    let Some(store) = std::env::var_os(STORE) else { return };
    let (trail, _) = Trail::open(&settings(Path::new(&store))).unwrap();
    if std::env::var_os(UNTIL_FULL).is_some() {
        return write_until_full(&trail);
    }
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            let trail = trail.clone();
            scope.spawn(move || write_forever(&trail, thread));
        }
    });
}

fn write_forever(trail: &Trail, thread: u8) {
    let id = SessionId::new(u64::from(std::process::id()), [thread; 10]);
    let mut session = trail.session(id);
    session.evidence(0, &SessionOpened { identity: "agent-7".into(), ..Default::default() }).unwrap();
    for exchange in 1_u64.. {
        let bytes = vec![thread; usize::try_from(exchange * 37 % 5000).unwrap() + 1];
        let mut batch = session.batch();
        batch.payload(exchange, Direction::ToClient, &bytes).unwrap();
        let digest = batch.digest(exchange).unwrap();
        let answered = Answered { bytes: digest.bytes, hash: Some(digest.hash.into()), ..Default::default() };
        batch.evidence(exchange, &answered).unwrap();
        batch.commit().unwrap();
        // One write to the pipe: a line is whole or not there.
        std::io::stdout().lock().write_all(format!("ack {id} {exchange}\n").as_bytes()).unwrap();
    }
}

/// Writes until it cannot, and says what that looked like.
fn write_until_full(trail: &Trail) {
    let mut session = trail.session(SessionId([1; 16]));
    session.evidence(0, &SessionOpened::default()).unwrap();
    let mut acknowledged = 0;
    let fault = loop {
        match session.payload(acknowledged + 1, &[b'x'; 3000]) {
            Ok(_) => acknowledged += 1,
            Err(fault) => break fault,
        }
    };
    assert_eq!(fault.kind, FaultKind::Unrecordable);
    assert!(fault.message.contains("File too large"), "{fault}");
    assert!(session.payload(acknowledged + 2, b"x").is_err(), "nothing is let through while the disk is full");
    assert!(trail.health().is_err());
    std::thread::sleep(Duration::from_millis(1100));
    assert!(session.payload(acknowledged + 3, &[b'x'; 3000]).is_err(), "a retry meets the same disk");
    println!("\nfull {acknowledged}");
    // No destructor runs, so nothing is sealed.
    std::process::exit(0);
}

fn start(store: &Path) -> Child {
    let program = std::env::current_exe().unwrap();
    let arguments = ["--exact", "writer", "--nocapture", "--test-threads=1"];
    Command::new(program)
        .args(arguments)
        .env(STORE, store)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The last acknowledged exchange of each session, from what the child printed.
fn acknowledged(printed: &str) -> HashMap<SessionId, u64> {
    let mut last = HashMap::new();
    for line in printed.lines().filter_map(|line| line.split_once("ack ").map(|(_, rest)| rest)) {
        if let Some((id, exchange)) = line.split_once(' ')
            && let (Ok(id), Ok(exchange)) = (id.parse(), exchange.parse())
        {
            last.insert(id, exchange);
        }
    }
    last
}

#[test]
fn nothing_acknowledged_is_lost_to_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let mut everything = HashMap::new();
    for round in 0..20_u64 {
        let mut child = start(folder.path());
        let mut output = child.stdout.take().unwrap();
        // Once the first commit is acknowledged, wait a little, differently each time, while the pipe is being emptied.
        let reader = std::thread::spawn(move || {
            let mut printed = Vec::new();
            output.read_to_end(&mut printed).map(|_| printed)
        });
        std::thread::sleep(Duration::from_micros(30_000 + round * 4_321 % 70_000));
        child.kill().unwrap();
        child.wait().unwrap();
        let printed = reader.join().unwrap().unwrap();
        everything.extend(acknowledged(&String::from_utf8_lossy(&printed)));
        if round % 5 == 0 {
            check(folder.path(), &everything, false);
        }
        let (trail, recovery) = Trail::open(&settings(folder.path())).unwrap();
        assert!(recovery.lost.len() <= 4, "{recovery:?}");
        drop(trail);
    }
    assert!(
        everything.len() > 20 && everything.values().sum::<u64>() > 1000,
        "the writers had no time: {everything:?}"
    );
    check(folder.path(), &everything, true);
    let report = read::verify(folder.path()).unwrap();
    assert_eq!((report.problems, report.unsealed, report.absent), (vec![], 0, 0));
}

/// Every acknowledged exchange has its whole answer, in a trail that is recovered or not.
fn check(store: &Path, everything: &HashMap<SessionId, u64>, recovered: bool) {
    for (id, last) in everything {
        let query = Query { session: Some(*id), ..Query::default() };
        let records: Vec<_> = read::records(store, query).unwrap().collect::<Result<_, _>>().unwrap();
        let answers = records.iter().filter_map(|record| Some((record.exchange.id, record.parse::<Answered>()?)));
        let answers: HashMap<_, _> = answers.collect();
        let mut payload: HashMap<u64, blake3::Hasher> = HashMap::new();
        for record in records.iter().filter(|record| record.kind().is_none()) {
            payload.entry(record.exchange.id).or_default().update(&record.body);
        }
        for exchange in 1..=*last {
            let hash = payload[&exchange].finalize().to_hex();
            assert_eq!(answers[&exchange].hash.as_deref(), Some(hash.as_str()), "{id} {exchange}");
        }
        if recovered {
            assert_eq!(records.last().unwrap().parse::<SessionClosed>().unwrap().reason.as_ref(), LOST);
        }
    }
}

#[test]
fn a_disk_that_takes_no_more_closes_the_gate() {
    let folder = tempfile::tempdir().unwrap();
    // A limit on the size of files, with its signal ignored, fails a write in its middle, as a full disk does. The shell
    // counts in units of 512 bytes: each segment may have 32 KiB, half of what it plans for.
    let program = std::env::current_exe().unwrap();
    let script = "trap '' XFSZ; ulimit -f 64; exec \"$0\" --exact writer --nocapture --test-threads=1";
    let output = Command::new("sh")
        .args(["-c", script])
        .arg(program)
        .env(STORE, folder.path())
        .env(UNTIL_FULL, "1")
        .env("RUST_BACKTRACE", "0")
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let line = printed.lines().find_map(|line| line.strip_prefix("full "));
    let acknowledged: usize = line.unwrap_or_else(|| panic!("{printed} {output:?}")).parse().unwrap();
    assert!(acknowledged > 5);
    let count = || {
        read::records(folder.path(), Query::default()).unwrap().filter(|r| r.as_ref().unwrap().kind().is_none()).count()
    };
    assert_eq!(count(), acknowledged);
    let (trail, recovery) = Trail::open(&settings(folder.path())).unwrap();
    assert_eq!(recovery.lost, [SessionId([1; 16])]);
    assert_eq!(recovery.torn, [], "what a failed write left behind was cut off at once");
    drop(trail);
    assert_eq!(count(), acknowledged);
    assert_eq!(read::verify(folder.path()).unwrap().problems, vec![]);
}
