//! What recording costs: `cargo run --release -p record --example measure [folder]`.
//!
//! CPU time is the process's own, so that other work on the machine does not show in it.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::path::Path;
use std::time::{Duration, Instant};

use model::SessionId;
use record::evidence::{Answered, Asked, Verdict};
use record::{Direction, Durability, Trail, TrailSettings};

fn main() {
    let given = std::env::args().nth(1);
    let folder = tempfile::tempdir_in(given.unwrap_or_else(|| std::env::temp_dir().display().to_string())).unwrap();
    let open = |name: &str, durability| {
        let store = folder.path().join(name);
        let settings = TrailSettings { store, durability, node: "bench".to_owned(), segment_bytes: 64 << 20 };
        Trail::open(&settings).unwrap().0
    };
    small(&open("small", Durability::Process));
    durable(&open("durable", Durability::Disk));
    large(&open("large", Durability::Process), &folder.path().join("large"));
}

/// CPU time of this process, in user and kernel.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

/// One statement of a benchmark's kind: what was asked, then a row and what was answered in one batch.
fn small(trail: &Trail) {
    const COUNT: u64 = 200_000;
    let mut session = trail.session(SessionId([1; 16]));
    let asked = Asked {
        text_id: Some(1),
        kind: "select".into(),
        tables: ["public.pgbench_accounts".into()].into(),
        parameters: vec![Some("4711".to_owned())],
        verdict: Verdict::Allow,
        rule: Some("pipelines read the shop".into()),
        why: None,
        manifest: None,
        credential: None,
    };
    let (start, before) = (Instant::now(), cpu());
    for id in 1..=COUNT {
        session.evidence(id, &asked).unwrap();
        let mut batch = session.batch();
        batch.payload(id, Direction::ToClient, b"D\0\0\0\x10\0\x01\0\0\0\x0612345 ").unwrap();
        let digest = batch.digest(id).unwrap();
        let hash = Some(digest.hash.into());
        let tag = Some("SELECT 1".into());
        let answered =
            Answered { tag, rows: 1, bytes: digest.bytes, hash, duration: 120, delivered: true, ..Default::default() };
        batch.evidence(id, &answered).unwrap();
        batch.commit().unwrap();
    }
    let each = |time: Duration| time.as_nanos() / u128::from(COUNT);
    println!("statement (asked | row + answered): {} ns CPU, {} ns wall", each(cpu() - before), each(start.elapsed()));
    let (start, before) = (Instant::now(), cpu());
    for id in 1..=COUNT {
        session.payload(COUNT + id, b"D\0\0\0\x10\0\x01\0\0\0\x0612345 ").unwrap();
        session.digest(COUNT + id);
    }
    println!("one small payload record: {} ns CPU, {} ns wall", each(cpu() - before), each(start.elapsed()));
}

/// Acknowledged syncs for one session that waits for each.
fn durable(trail: &Trail) {
    const COUNT: u32 = 200;
    let mut session = trail.session(SessionId([2; 16]));
    let start = Instant::now();
    for id in 1..=COUNT {
        let position = session.payload(u64::from(id), b"row").unwrap();
        trail.wait_durable(position).unwrap();
    }
    println!("one small payload record on the disk: {:?} wall", start.elapsed() / COUNT);
}

/// Text-like rows in chunks, as a large result delivers them.
fn large(trail: &Trail, store: &Path) {
    const CHUNK: usize = 64 << 10;
    const TOTAL: usize = 1 << 30;
    let rows = rows(16 << 20);
    let mut session = trail.session(SessionId([3; 16]));
    let (start, before) = (Instant::now(), cpu());
    for chunk in rows.chunks_exact(CHUNK).cycle().take(TOTAL / CHUNK) {
        session.payload(1, chunk).unwrap();
    }
    let (cpu, wall) = (cpu() - before, start.elapsed());
    let stored = trail.counts().payload_bytes as f64 / TOTAL as f64;
    println!(
        "1 GiB in 64 KiB chunks: {cpu:?} CPU, {wall:?} wall, stored {:.1} % in {}",
        stored * 100.0,
        store.display()
    );
    let chunks: Vec<_> = rows.chunks_exact(CHUNK).cycle().take(TOTAL / CHUNK).collect();
    let start = Instant::now();
    let mut hasher = blake3::Hasher::new();
    for chunk in &chunks {
        hasher.update(chunk);
    }
    println!("  of which one pass of BLAKE3: {:?} ({})", start.elapsed(), hasher.finalize());
}

/// Rows of names, numbers, addresses and times as PostgreSQL sends them in text.
fn rows(bytes: usize) -> Vec<u8> {
    let words = ["amber", "birch", "cobalt", "delta", "ember", "fjord", "grove", "harbor", "iris", "juniper"];
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = move |bound: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % bound
    };
    let mut out = Vec::with_capacity(bytes + 256);
    while out.len() < bytes {
        let mut word = || words[next(10) as usize];
        let (first, last, place) = (word(), word(), word());
        let fields = [
            next(10_000_000).to_string(),
            format!("{first} {last}"),
            format!("{first}.{last}{}@{place}.example", next(1000)),
            format!(
                "2026-{:02}-{:02} {:02}:{:02}:{:02}.{:06}+00",
                next(12) + 1,
                next(28) + 1,
                next(24),
                next(60),
                next(60),
                next(1_000_000)
            ),
            format!("{}.{:02}", next(100_000), next(100)),
            format!("{} {place} street", next(400)),
        ];
        let length: usize = fields.iter().map(|field| field.len() + 4).sum();
        out.push(b'D');
        out.extend_from_slice(&(length as u32 + 6).to_be_bytes());
        out.extend_from_slice(&(fields.len() as u16).to_be_bytes());
        for field in fields {
            out.extend_from_slice(&(field.len() as u32).to_be_bytes());
            out.extend_from_slice(field.as_bytes());
        }
    }
    out.truncate(bytes);
    out
}
