//! Pipelining is a queue: every message sent to the target is matched with the replies it is owed, ours included.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;

use super::names::{Prepared, Undo};
use super::run::Run;

/// A run shared by its portal, its queue entries and the result under way.
pub type SharedRun = Rc<RefCell<Run>>;

/// What the target still owes, in the order in which it will pay.
#[derive(Debug)]
pub enum Expect {
    /// ParseComplete.
    Parse {
        /// How to forget the name if the target refuses it.
        undo: Undo,
    },
    /// BindComplete.
    Bind {
        /// How to forget the portal if the target refuses it.
        undo: Undo,
        /// The exchange that the Bind begins.
        run: SharedRun,
    },
    /// ParameterDescription and RowDescription or NoData, for the client.
    DescribeStatement,
    /// RowDescription or NoData of a portal.
    DescribePortal {
        /// The portal's run, which gets its row plan from the answer; none for a portal nobody bound.
        run: Option<SharedRun>,
        /// The gateway asked, not the client: the answer is swallowed.
        quiet: bool,
    },
    /// The answer to the gateway's own question about a prepared statement's columns; swallowed.
    Probe {
        /// What was asked about.
        prepared: Rc<Prepared>,
    },
    /// Rows and their completion.
    Execute {
        /// The run.
        run: SharedRun,
    },
    /// CloseComplete.
    Close {
        /// How to remember the name if the target skips the message.
        undo: Undo,
        /// The gateway asked: swallowed.
        quiet: bool,
    },
    /// ReadyForQuery after a Sync.
    Sync {
        /// Counts Syncs and Queries sent.
        batch: u64,
        /// The gateway asked: swallowed.
        quiet: bool,
    },
    /// Everything up to and with ReadyForQuery.
    Query {
        /// The run.
        run: SharedRun,
        /// Counts Syncs and Queries sent.
        batch: u64,
        /// An error was already reported; only ReadyForQuery is owed.
        failed: bool,
    },
    /// The error that a poisoned message provokes; the client gets `reply` instead.
    Poison {
        /// A whole ErrorResponse; empty if the client has had its error already.
        reply: Bytes,
        /// Sent as a simple Query: ReadyForQuery follows.
        simple: bool,
        /// The exchange the reply answers; 0 for none.
        exchange: u64,
        /// Syncs and Queries sent before it.
        batch: u64,
    },
}

/// The queue of what the target owes.
#[derive(Debug, Default)]
pub struct Queue(VecDeque<Expect>);

impl Queue {
    /// Adds what a message just sent is owed.
    pub fn push(&mut self, expect: Expect) {
        self.0.push_back(expect);
    }

    /// Puts back what is owed before everything else.
    pub fn push_front(&mut self, expect: Expect) {
        self.0.push_front(expect);
    }

    /// The next Sync was the gateway's own; from now on its answer is the client's.
    pub fn speak_up(&mut self) {
        for expect in &mut self.0 {
            if let Expect::Sync { quiet, .. } = expect {
                *quiet = false;
                return;
            }
        }
    }

    /// What is owed next.
    pub fn front(&mut self) -> Option<&mut Expect> {
        self.0.front_mut()
    }

    /// The target has begun to take copy data: it ignores what was sent to end the batch before the data.
    pub fn forget_syncs(&mut self) {
        self.0.retain(|expect| !matches!(expect, Expect::Sync { .. }));
    }

    /// Takes what has been paid.
    pub fn pop(&mut self) -> Option<Expect> {
        self.0.pop_front()
    }

    /// Nothing is owed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many replies are owed; bounds pipelining.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether a Sync is among what is owed.
    pub fn has_sync(&self) -> bool {
        self.0.iter().any(|expect| matches!(expect, Expect::Sync { .. }))
    }

    /// The target failed: it skips everything up to the next Sync. Takes those entries, newest first, so that what they
    /// defined can be undone in reverse.
    pub fn skip_to_sync(&mut self) -> Vec<Expect> {
        let end = self.0.iter().position(|expect| matches!(expect, Expect::Sync { .. })).unwrap_or(self.0.len());
        self.0.drain(..end).rev().collect()
    }

    /// All entries, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Expect> {
        self.0.iter()
    }
}
