//! The index of sessions, derived from the trail alone: a database that lost it gets it back from here.

use std::collections::HashMap;
use std::path::Path;

use model::SessionId;
use serde::{Serialize, Serializer};

use crate::canonical::Kind;
use crate::evidence::{Answered, Asked, Evidence, SessionClosed, SessionOpened};
use crate::read::{self, Damage, Query, Record};
use crate::verify::holders;

/// One session, as its records tell it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SessionSummary {
    /// The session.
    #[serde(serialize_with = "text")]
    pub session: SessionId,
    /// The node that carried it.
    pub node: String,
    /// Time of its first record, in microseconds of Unix time.
    pub first: u64,
    /// Time of its last record, in microseconds of Unix time.
    pub last: u64,
    /// How it began, if that is in the store.
    pub opened: Option<SessionOpened>,
    /// How it ended, if it has.
    pub closed: Option<SessionClosed>,
    /// Statements asked.
    pub statements: u64,
    /// Rows delivered.
    pub rows: u64,
    /// Bytes delivered.
    pub bytes: u64,
    /// Segments that hold its records, by file name.
    pub segments: Vec<String>,
}

fn text<S: Serializer>(session: &SessionId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(session)
}

/// All sessions with evidence at or after `from` (microseconds of Unix time; 0 for all), by the time they began.
///
/// A damaged frame costs the records in it, not the rest; [`crate::read::verify`] names it.
///
/// # Errors
/// The store cannot be read.
pub fn sessions(store: &Path, from: u64) -> Result<Vec<SessionSummary>, Damage> {
    let query = Query { kind: Some(Kind::Evidence), from: Some(from), ..Query::default() };
    let mut found: HashMap<SessionId, SessionSummary> = HashMap::new();
    for record in read::records(store, query)?.filter_map(Result::ok) {
        let session = record.exchange.session;
        // Operators' acts belong to no session.
        if session != SessionId([0; 16]) {
            found.entry(session).or_insert_with(|| SessionSummary::new(&record)).add(&record);
        }
    }
    for kind in Kind::ALL {
        let mut holders = holders(store, kind)?;
        for summary in found.values_mut() {
            summary.segments.extend(holders.remove(&summary.session.to_string()).unwrap_or_default());
        }
    }
    let mut all: Vec<_> = found.into_values().collect();
    all.sort_unstable_by_key(|summary| (summary.first, summary.session));
    Ok(all)
}

impl SessionSummary {
    fn new(record: &Record) -> Self {
        Self {
            session: record.exchange.session,
            node: record.segment.node.clone(),
            first: record.time,
            last: record.time,
            opened: None,
            closed: None,
            statements: 0,
            rows: 0,
            bytes: 0,
            segments: Vec::new(),
        }
    }

    fn add(&mut self, record: &Record) {
        self.last = self.last.max(record.time);
        match record.kind() {
            Some(SessionOpened::KIND) => self.opened = record.parse(),
            Some(SessionClosed::KIND) => self.closed = record.parse(),
            Some(Asked::KIND) => self.statements += 1,
            Some(Answered::KIND) => self.answered(record),
            _ => {}
        }
    }

    fn answered(&mut self, record: &Record) {
        if let Some(answered) = record.parse::<Answered>().filter(|answered| answered.delivered) {
            self.rows = self.rows.saturating_add(answered.rows);
            self.bytes = self.bytes.saturating_add(answered.bytes);
        }
    }
}
