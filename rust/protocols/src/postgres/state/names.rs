//! Prepared statements and portals by name, as the target knows them.
//!
//! SQL and protocol share both name spaces, so `PREPARE`, `DECLARE` and their like are kept here too. A name is entered
//! when the message that defines it is sent, because pipelined messages use it before the target answers; every entry
//! carries an [`Undo`] for the case that the target refuses. Until the target has answered the batch of a definition, it
//! is not sure for later batches: the target may have refused or skipped it, and kept what the name meant before.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use mask::RowPlan;
use model::{Fault, FaultKind, Whose};

use super::queue::SharedRun;
use crate::postgres::inspect::{Effect, Meaning, Origin};

/// Names one session may hold; the target keeps memory for each of them, and so does the gateway.
const MOST: usize = 50_000;

/// The server keeps so much of a name, in bytes, and compares no more. Whoever told longer names apart would take one
/// statement for another that the server has in its place.
const KEPT: usize = 63;

/// What a name costs besides its text, in bytes; measured, with a description as long as any that is remembered.
const WEIGHT: usize = 3 << 10;

/// What a text and what it means to this session cost, by the text's length.
const TIMES: usize = 3;

/// A text that nobody holds but the remembered texts, the inspector and its own meaning is kept on this session's account.
const OWN: usize = 3;

/// A prepared statement.
#[derive(Debug)]
pub struct Prepared {
    /// The text as the client sent it.
    pub text: Arc<str>,
    /// What it means; replaced when the catalog or the session's settings changed.
    pub meaning: RefCell<Vec<Arc<Meaning>>>,
    /// The columns of its result as the target last described them.
    pub origins: RefCell<Option<Rc<[Origin]>>>,
    /// Its result as the target last described it to a client, and what was planned for it.
    pub described: RefCell<Option<Described>>,
    /// About how much memory it takes, in bytes.
    bytes: usize,
}

impl Prepared {
    /// A prepared statement that was not described yet.
    #[must_use]
    pub fn new(text: Arc<str>, meaning: Vec<Arc<Meaning>>) -> Self {
        let source = meaning.first().and_then(|first| first.common.source.as_ref());
        let shared = source.filter(|text| Arc::strong_count(text) <= OWN).map_or(0, |text| text.weight());
        let bytes = text.len() * TIMES + shared;
        let (origins, described) = (RefCell::default(), RefCell::default());
        Self { text, meaning: RefCell::new(meaning), origins, described, bytes }
    }

    /// Forgets what was concluded from the target's descriptions.
    pub fn forget(&self) {
        *self.origins.borrow_mut() = None;
        *self.described.borrow_mut() = None;
    }
}

/// A description and what follows from it.
#[derive(Debug, Clone)]
pub struct Described {
    /// The body of the RowDescription.
    pub body: Bytes,
    /// The inspector's epoch when this was concluded.
    pub epoch: u64,
    /// What to do with rows.
    pub plan: Arc<RowPlan>,
    /// Formats of the columns.
    pub formats: Rc<[i16]>,
}

/// A portal or cursor.
#[derive(Debug, Clone)]
pub struct Portal {
    /// Its run: rows are counted over all fetches.
    pub run: SharedRun,
    /// Counts Syncs sent; portals end with their transaction.
    pub batch: u64,
    /// Declared WITH HOLD: outlives its transaction.
    pub hold: bool,
    /// Made by DECLARE, not by Bind.
    pub declared: bool,
}

/// What a refused definition had replaced.
#[derive(Debug)]
pub enum Undo {
    /// Nothing to do.
    Nothing,
    /// Put this prepared statement back, or remove the name.
    Statement(Box<[u8]>, Option<Entry>),
    /// Put this portal back, or remove the name.
    Portal(Box<[u8]>, Option<Portal>),
}

/// A prepared statement under its name.
#[derive(Debug)]
pub struct Entry {
    prepared: Rc<Prepared>,
    /// The batch that defines it.
    batch: u64,
}

/// What a statement that names another stood for when it was bound.
#[derive(Debug, Clone)]
pub enum Rest {
    /// A prepared statement, if there was one.
    Statement(Box<str>, Option<Rc<Prepared>>),
    /// A cursor, if there was one.
    Cursor(Box<str>, Option<SharedRun>),
}

/// The names of one session.
#[derive(Debug, Default)]
pub struct Names {
    statements: HashMap<Box<[u8]>, Entry, ahash::RandomState>,
    portals: HashMap<Box<[u8]>, Portal, ahash::RandomState>,
    /// Batches sent: Syncs and Queries.
    sent: u64,
    /// The last of them that the target has answered.
    answered: u64,
    /// What all statements take, names apart.
    texts: usize,
}

impl Names {
    /// The prepared statement called `name`.
    pub fn statement(&self, name: &[u8]) -> Option<&Rc<Prepared>> {
        self.statements.get(kept(name)).map(|entry| &entry.prepared)
    }

    /// The prepared statement that SQL calls `name`; none if the target may know another by it.
    pub fn sure_statement(&self, name: &[u8]) -> Option<&Rc<Prepared>> {
        self.statements.get(kept(name)).filter(|entry| self.sure(entry.batch)).map(|entry| &entry.prepared)
    }

    /// The portal that SQL calls `name`; none if the target may know another by it.
    pub fn sure_portal(&self, name: &[u8]) -> Option<&Portal> {
        self.portals.get(kept(name)).filter(|portal| self.sure(portal.batch))
    }

    /// Whether the target may know another prepared statement by this name.
    pub fn doubts_statement(&self, name: &[u8]) -> bool {
        self.statements.get(kept(name)).is_some_and(|entry| !self.sure(entry.batch))
    }

    /// Whether the target may know another portal by this name.
    pub fn doubts_portal(&self, name: &[u8]) -> bool {
        self.portals.get(kept(name)).is_some_and(|portal| !self.sure(portal.batch))
    }

    /// Whether the target has answered every batch but the one under way.
    pub const fn all_answered(&self) -> bool {
        self.answered >= self.sent
    }

    /// The batch that what is sent now belongs to.
    pub const fn batch(&self) -> u64 {
        self.sent + 1
    }

    /// The batch under way was ended by a Sync or was a Query; its number.
    pub const fn end_batch(&mut self) -> u64 {
        self.sent += 1;
        self.sent
    }

    /// The target has answered this batch.
    pub fn batch_answered(&mut self, batch: u64) {
        self.answered = self.answered.max(batch);
    }

    /// If the target fails before a definition in the same batch, it also skips what uses it.
    const fn sure(&self, batch: u64) -> bool {
        batch <= self.answered || batch == self.batch()
    }

    /// What the statement names, if it names another.
    pub fn rest(&self, effect: &Effect) -> Option<Rest> {
        match effect {
            Effect::Execute { name } => {
                Some(Rest::Statement(name.clone(), self.sure_statement(name.as_bytes()).cloned()))
            }
            Effect::Fetch { name } => {
                let run = self.sure_portal(name.as_bytes()).map(|portal| Rc::clone(&portal.run));
                Some(Rest::Cursor(name.clone(), run))
            }
            _ => None,
        }
    }

    /// Whether a name still stands for the same.
    pub fn still(&self, rest: &Rest) -> bool {
        match rest {
            Rest::Statement(name, then) => match (self.sure_statement(name.as_bytes()), then) {
                (Some(now), Some(then)) => Rc::ptr_eq(now, then),
                (_, then) => then.is_none(),
            },
            Rest::Cursor(name, then) => match (self.sure_portal(name.as_bytes()), then) {
                (Some(now), Some(then)) => Rc::ptr_eq(&now.run, then),
                (_, then) => then.is_none(),
            },
        }
    }

    /// The portal called `name`.
    pub fn portal(&self, name: &[u8]) -> Option<&Portal> {
        self.portals.get(kept(name))
    }

    /// About how much memory all names take, in bytes.
    pub fn bytes(&self) -> usize {
        self.texts + (self.statements.len() + self.portals.len()) * WEIGHT
    }

    /// All prepared statements, to forget what was concluded about them.
    pub fn statements(&self) -> impl Iterator<Item = &Rc<Prepared>> {
        self.statements.values().map(|entry| &entry.prepared)
    }

    /// Enters a prepared statement.
    ///
    /// # Errors
    /// The session holds too many names.
    pub fn prepare(&mut self, name: &[u8], prepared: Rc<Prepared>) -> Result<Undo, Fault> {
        self.room()?;
        let name: Box<[u8]> = kept(name).into();
        let before = self.put(name.clone(), Entry { prepared, batch: self.batch() });
        Ok(Undo::Statement(name, before))
    }

    /// Enters a portal.
    ///
    /// # Errors
    /// The session holds too many names.
    pub fn bind(&mut self, name: &[u8], portal: Portal) -> Result<Undo, Fault> {
        self.room()?;
        let name = kept(name);
        // The unnamed portal is replaced by every Bind: no allocation for it.
        if let Some(slot) = self.portals.get_mut(name) {
            let before = std::mem::replace(slot, portal);
            return Ok(Undo::Portal(name.into(), Some(before)));
        }
        self.portals.insert(name.into(), portal);
        Ok(Undo::Portal(name.into(), None))
    }

    /// Forgets a prepared statement.
    pub fn close_statement(&mut self, name: &[u8]) -> Undo {
        let name = kept(name);
        let before = self.take(name);
        if before.is_some() { Undo::Statement(name.into(), before) } else { Undo::Nothing }
    }

    /// Forgets a portal.
    pub fn close_portal(&mut self, name: &[u8]) -> Undo {
        let name = kept(name);
        let before = self.portals.remove(name);
        if before.is_some() { Undo::Portal(name.into(), before) } else { Undo::Nothing }
    }

    /// Forgets all prepared statements (DEALLOCATE ALL).
    pub fn close_statements(&mut self) {
        self.statements.clear();
        self.texts = 0;
    }

    /// Forgets all portals (CLOSE ALL).
    pub fn close_portals(&mut self) {
        self.portals.clear();
    }

    /// The transaction of the Sync numbered `batch` is over: its portals are gone.
    pub fn end_transaction(&mut self, batch: u64) {
        if !self.portals.is_empty() {
            self.portals.retain(|_, portal| portal.hold || portal.batch > batch);
        }
    }

    /// The target refused a definition, or skipped it.
    pub fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::Nothing => {}
            Undo::Statement(name, Some(before)) => drop(self.put(name, before)),
            Undo::Statement(name, None) => drop(self.take(&name)),
            Undo::Portal(name, Some(before)) => drop(self.portals.insert(name, before)),
            Undo::Portal(name, None) => drop(self.portals.remove(&name)),
        }
    }

    fn put(&mut self, name: Box<[u8]>, entry: Entry) -> Option<Entry> {
        self.texts += entry.prepared.bytes;
        let before = self.statements.insert(name, entry);
        self.texts -= before.as_ref().map_or(0, |before| before.prepared.bytes);
        before
    }

    fn take(&mut self, name: &[u8]) -> Option<Entry> {
        let before = self.statements.remove(name);
        self.texts -= before.as_ref().map_or(0, |before| before.prepared.bytes);
        before
    }

    fn room(&self) -> Result<(), Fault> {
        if self.statements.len() + self.portals.len() < MOST {
            return Ok(());
        }
        let message = format!("this session holds {MOST} prepared statements and portals, the most there may be");
        Err(Fault::new(Whose::Client, FaultKind::TooLarge, message).hint("close those that are no longer used"))
    }
}

/// As much of a name as the server looks at.
fn kept(name: &[u8]) -> &[u8] {
    &name[..name.len().min(KEPT)]
}
