//! The dam: a result that a rule about results watches, kept back until it is known to be harmless or approved.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use model::Fault;
use protocols::Tally;
use record::{Refused, Spool};

/// How a dammed result stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// No rule has tripped; the result may yet end harmlessly.
    Watching,
    /// A reviewer is asked.
    Held,
    /// It may go, as fast as the client takes it.
    Released,
}

/// One result behind the dam. Later bytes of the session wait behind it.
#[derive(Debug)]
pub(crate) struct Dam {
    pub exchange: u64,
    pub standing: Standing,
    /// The last totals heard.
    pub tally: Tally,
    /// How it ended, once it has.
    pub outcome: Option<protocols::Outcome>,
    /// The first bytes, for the reviewers' sample.
    pub head: BytesMut,
    spool: Spool,
    /// Bytes the spool had no room for; the target is not read until they fit.
    overflow: BytesMut,
}

/// A sample is shown from no more than this many bytes.
const SAMPLE: usize = 16 << 10;

impl Dam {
    pub fn new(exchange: u64, spool: Spool) -> Self {
        Self {
            exchange,
            standing: Standing::Watching,
            tally: Tally::default(),
            outcome: None,
            head: BytesMut::new(),
            spool,
            overflow: BytesMut::new(),
        }
    }

    /// Adds bytes behind the dam.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let room = SAMPLE.saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..room]);
        if !self.overflow.is_empty() {
            self.overflow.extend_from_slice(bytes);
            return Ok(());
        }
        match self.spool.push(bytes) {
            Ok(()) => Ok(()),
            Err(Refused::Full) => {
                self.overflow.extend_from_slice(bytes);
                Ok(())
            }
            Err(Refused::Failed(fault)) => Err(fault),
        }
    }

    /// No room is left: the target must wait.
    pub fn is_full(&self) -> bool {
        !self.overflow.is_empty()
    }

    /// Bytes kept in memory: those in the spool's file are not.
    pub fn in_memory(&self) -> usize {
        self.head.capacity() + self.overflow.capacity() + self.spool.in_memory()
    }

    /// Takes up to `most` bytes in order; says whether more are left.
    pub fn take(&mut self, out: &mut BytesMut, most: usize) -> Result<bool, Fault> {
        if self.spool.take(out, most)? {
            return Ok(true);
        }
        out.unsplit(std::mem::take(&mut self.overflow));
        Ok(false)
    }
}

/// A question put to reviewers.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub hold: u64,
    pub exchange: u64,
    pub rule: String,
    pub expires: Instant,
    pub approval: Option<String>,
}

impl Question {
    pub fn new(hold: u64, exchange: u64, rule: String, expires: Duration) -> Self {
        Self { hold, exchange, rule, expires: Instant::now() + expires, approval: None }
    }
}
