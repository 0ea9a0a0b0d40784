//! The state of one conversation: what was sent, what is owed, which names mean what.
//!
//! `client` takes what the client sends, `target` what the target answers. They share this state and nothing else.

mod client;
mod effects;
pub mod names;
pub mod queue;
pub mod run;
mod target;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use model::Fault;

use super::inspect::{Inspector, Meaning};
use super::refuse::{self, Severity};
use super::rewrite;
use crate::dialogue::{Answer, Dialogue, Heard, Said, Understood};
use crate::{Catalog, View};
use names::{Names, Prepared};
use queue::{Queue, SharedRun};

/// Sizes beyond which a message is refused.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Any message that must be looked at whole, in bytes.
    pub message: usize,
    /// A statement's text, in bytes.
    pub statement: usize,
    /// Replies the target may owe before the client has to wait.
    pub pipeline: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { message: 16 << 20, statement: 1 << 20, pipeline: 4096 }
    }
}

/// A message of the client's that waits for a verdict.
#[derive(Debug)]
enum Pending {
    Query { body: Bytes, run: SharedRun },
    Parse { message: Bytes, name: Bytes, prepared: Rc<Prepared> },
    Bind { message: Bytes, portal: Bytes, prepared: Rc<Prepared>, run: SharedRun },
}

impl Pending {
    const fn simple(&self) -> bool {
        matches!(self, Self::Query { .. })
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Query { body, .. } => body.len(),
            Self::Parse { message, .. } | Self::Bind { message, .. } => message.len(),
        }
    }

    fn exchange(&self) -> u64 {
        match self {
            Self::Query { run, .. } | Self::Bind { run, .. } => run.borrow().exchange,
            Self::Parse { .. } => 0,
        }
    }
}

/// A permitted message that waits for the target to describe its columns first.
#[derive(Debug)]
struct Probing {
    pending: Pending,
    prepared: Rc<Prepared>,
    /// The description came; what to do about it.
    answered: bool,
}

/// The conversation between one client and one target.
#[derive(Debug)]
pub struct Conversation {
    limits: Limits,
    inspector: Inspector,
    names: Names,
    queue: Queue,
    /// Transaction status as the target last reported it.
    transaction: u8,
    /// Something other than reading ran since the open transaction began.
    written: bool,
    /// Something other than reading was sent since the last Sync.
    batch_written: bool,
    /// ReadyForQuery messages that came: how far the target is.
    answered: u64,
    /// Exchanges begun.
    exchanges: u64,
    pending: Option<Pending>,
    probing: Option<Probing>,
    /// The target skips, or will skip, everything up to the next Sync; so does the gateway.
    skip_to_sync: bool,
    /// The run whose result may yet be refused.
    watched: Option<SharedRun>,
    /// A message names what an earlier batch defined, and the target has not answered that yet.
    in_doubt: bool,
    /// The watched run is complete and waits to be settled or refused.
    complete: bool,
    /// At the next ReadyForQuery inside a transaction, abort the transaction first.
    abort_transaction: bool,
    /// Bytes of a client's message that still pass (`true`) or are dropped.
    client_rest: (usize, bool),
    /// Bytes of a target's message that still pass (`true`) or are dropped.
    target_rest: (usize, bool),
    /// Tidings for the gate that are older than the next message.
    heard: VecDeque<Heard>,
    /// Messages and texts refused for their size.
    oversized: u64,
    /// A survey was asked for on account of the message at hand.
    surveyed: bool,
    /// A statement changed the target's schema: the catalog is out of date.
    schema_changed: bool,
    /// The target has told the client why it ends the session.
    parted: bool,
}

impl Conversation {
    /// A conversation after both logins; the target is idle.
    #[must_use]
    pub fn new(limits: Limits, inspector: Inspector) -> Self {
        Self {
            limits,
            inspector,
            names: Names::default(),
            queue: Queue::default(),
            transaction: b'I',
            written: false,
            batch_written: false,
            answered: 0,
            exchanges: 0,
            pending: None,
            probing: None,
            skip_to_sync: false,
            watched: None,
            in_doubt: false,
            complete: false,
            abort_transaction: false,
            client_rest: (0, false),
            target_rest: (0, false),
            heard: VecDeque::new(),
            oversized: 0,
            surveyed: false,
            schema_changed: false,
            parted: false,
        }
    }

    fn begin_run(&mut self, statements: Vec<Arc<Meaning>>) -> SharedRun {
        let first = self.exchanges + 1;
        self.exchanges += statements.len().max(1) as u64;
        Rc::new(RefCell::new(run::Run::new(first, statements, false)))
    }
}

impl Dialogue for Conversation {
    fn client_sent(&mut self, input: &mut BytesMut, to_target: &mut BytesMut) -> Result<Said, Fault> {
        self.take_client(input, to_target)
    }

    fn answer(&mut self, answer: Answer, to_target: &mut BytesMut) {
        self.take_answer(answer, to_target);
    }

    fn target_sent(
        &mut self,
        input: &mut BytesMut,
        to_client: &mut BytesMut,
        to_target: &mut BytesMut,
    ) -> Result<Heard, Fault> {
        self.take_target(input, to_client, to_target)
    }

    fn settle(&mut self, _exchange: u64) {
        self.complete = false;
        // The other statements of the same text are watched as well.
        let more = match (self.queue.front(), &self.watched) {
            (Some(queue::Expect::Query { run, failed: false, .. }), Some(watched)) => Rc::ptr_eq(run, watched),
            _ => false,
        };
        if !more {
            self.watched = None;
        }
    }

    fn refuse_result(
        &mut self,
        exchange: u64,
        fault: Fault,
        to_client: &mut BytesMut,
        to_target: &mut BytesMut,
    ) -> bool {
        self.refuse_watched(exchange, fault, to_client, to_target)
    }

    fn request_hash(&self) -> [u8; 32] {
        self.pending_hash()
    }

    fn notice(&self, text: &str, to_client: &mut BytesMut) {
        if self.target_rest.0 == 0 {
            refuse::write_notice(to_client, text);
        }
    }

    fn farewell(&self, fault: &Fault, to_client: &mut BytesMut) {
        // Drivers report the last error they read: the target's own reason must stay it.
        if self.target_rest.0 == 0 && !self.parted {
            refuse::write_error(to_client, Severity::Fatal, fault);
        }
    }

    fn catalog(&mut self, catalog: Catalog) {
        self.inspector.set_catalog(&catalog);
        self.forget_meanings();
    }

    fn rules_changed(&mut self, view: Arc<View>) {
        self.limits.message = view.message_bytes;
        self.limits.statement = view.statement_bytes;
        self.inspector.set_view(view);
        self.forget_meanings();
    }

    fn is_quiet(&self) -> bool {
        self.queue.is_empty()
    }

    fn holds_client(&self) -> bool {
        self.pending.is_some()
            || self.probing.is_some()
            || self.watched.is_some()
            || self.in_doubt
            || self.queue.len() >= self.limits.pipeline
    }

    fn buffered(&self) -> usize {
        let waiting = self.pending.as_ref().or(self.probing.as_ref().map(|probing| &probing.pending));
        self.names.bytes() + waiting.map_or(0, Pending::bytes)
    }

    fn oversized(&self) -> u64 {
        self.oversized
    }

    fn asked(&self, exchange: u64) -> Option<(Arc<Understood>, [u8; 32])> {
        let run = self.watched.as_ref()?.borrow();
        let statement = run.statement().or_else(|| run.statements.last())?;
        (run.current() == exchange).then(|| (Arc::clone(&statement.common), run.hash))
    }

    fn sample(&self, exchange: u64, bytes: &[u8], most: usize) -> (Vec<String>, Vec<Vec<Option<String>>>) {
        let run = self.watched.as_ref().map(|run| run.borrow());
        let description = run.as_ref().filter(|run| run.current() == exchange).and_then(|run| run.description.clone());
        rewrite::sample(description.as_deref(), bytes, most)
    }

    fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.pending.is_none() && self.probing.is_none() && self.transaction == b'I'
    }
}
