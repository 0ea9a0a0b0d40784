//! A run: one statement, or one text of several, on its way through the target.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use mask::RowPlan;
use model::Fault;

use super::names::{Prepared, Rest, Undo};

use crate::dialogue::Tally;

use crate::postgres::inspect::Meaning;

/// How COPY data of a run is treated.
#[derive(Debug)]
pub enum Copying {
    /// No COPY is under way.
    No,
    /// The client sends.
    In,
    /// The target sends; the plan looks for values of unclassified columns.
    Out(Box<mask::CopyRewriter>),
}

/// One statement, or one text of several, on its way through the target.
#[derive(Debug)]
pub struct Run {
    /// Exchange of the first statement; the others follow by one each.
    pub exchange: u64,
    /// The statements, in order.
    pub statements: Vec<Arc<Meaning>>,
    /// Which of them answers now.
    pub at: usize,
    /// The prepared statement it runs, if it is not the only run of its text.
    pub prepared: Option<Rc<Prepared>>,
    /// What to do with rows, once the target has described them.
    pub plan: Option<Arc<RowPlan>>,
    /// Whether the next Execute needs no Describe of our own.
    pub described: bool,
    /// Formats of the columns, as the description says.
    pub formats: Rc<[i16]>,
    /// The description itself, kept where a reviewer may have to see a sample.
    pub description: Option<Bytes>,
    /// Totals over all fetches.
    pub tally: Tally,
    /// The totals when the answer under way began.
    pub base: Tally,
    /// Hash of the request as sent; worked out where a rule watches.
    pub hash: [u8; 32],
    /// A rule about results watches it; nothing with effect is sent behind it.
    pub watched: bool,
    /// The result is refused: what comes is dropped, and the client gets this instead.
    pub refused: Option<Fault>,
    /// The batch in which the client was told that it failed or was refused: what else comes of it there is dropped.
    pub told: Option<u64>,
    /// The target ended it with an error.
    pub failed: bool,
    /// COPY under way.
    pub copying: Copying,
    /// What the statements named when they were bound.
    pub rests: Vec<Rest>,
    /// What the statements define stands among the names.
    pub entered: bool,
    /// What the statements defined, by place, for the case that the target refuses them.
    pub undo: Vec<(usize, Undo)>,
}

impl Run {
    /// A run that has not begun.
    #[must_use]
    pub fn new(exchange: u64, statements: Vec<Arc<Meaning>>, watched: bool) -> Self {
        Self {
            exchange,
            statements,
            at: 0,
            prepared: None,
            plan: None,
            described: false,
            formats: Rc::default(),
            description: None,
            tally: Tally::default(),
            base: Tally::default(),
            hash: [0; 32],
            watched,
            refused: None,
            told: None,
            failed: false,
            copying: Copying::No,
            rests: Vec::new(),
            entered: false,
            undo: Vec::new(),
        }
    }

    /// The exchange of the statement that answers now.
    #[must_use]
    pub fn current(&self) -> u64 {
        self.exchange + self.at.min(self.statements.len().saturating_sub(1)) as u64
    }

    /// The statement that answers now; `None` if the target answers more than was asked.
    #[must_use]
    pub fn statement(&self) -> Option<&Arc<Meaning>> {
        self.statements.get(self.at)
    }

    /// What the answer under way has added so far.
    #[must_use]
    pub fn added(&self) -> Tally {
        Tally {
            rows: self.tally.rows - self.base.rows,
            bytes: self.tally.bytes - self.base.bytes,
            masked: self.tally.masked - self.base.masked,
        }
    }

    /// What the answer under way has added, which is then part of the past.
    pub fn since_base(&mut self) -> Tally {
        let added = self.added();
        self.base = self.tally;
        added
    }

    /// Another statement delivered this much of the same cursor (a MOVE: nothing).
    pub fn count(&mut self, added: Tally) {
        self.tally.rows += added.rows;
        self.tally.bytes += added.bytes;
        self.tally.masked += added.masked;
        self.base = self.tally;
    }

    /// The statement that answers now is done; the next begins with nothing counted.
    pub fn advance(&mut self) {
        self.at += 1;
        self.plan = None;
        self.tally = Tally::default();
        self.base = Tally::default();
        self.description = None;
        self.copying = Copying::No;
    }
}
