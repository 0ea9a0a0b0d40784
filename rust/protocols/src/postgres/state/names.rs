//! Prepared statements and portals by name, as the target knows them.
//!
//! SQL and protocol share both name spaces, so `PREPARE`, `DECLARE` and their like are kept here too. A name is entered
//! when the message that defines it is sent, because pipelined messages use it before the target answers; every entry
//! carries an [`Undo`] for the case that the target refuses.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use model::{Fault, FaultKind, Whose};

use super::queue::SharedRun;
use crate::postgres::inspect::{Meaning, Origin};

/// Names one session may hold; the target keeps memory for each of them, and so does the gateway.
const MOST: usize = 50_000;

/// The server keeps so much of a name, in bytes, and compares no more. Whoever told longer names apart would take one
/// statement for another that the server has in its place.
const KEPT: usize = 63;

/// What a name costs besides its text, in bytes; measured, as is what follows.
const WEIGHT: usize = 3 << 9;

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
    /// About how much memory it takes, in bytes.
    bytes: usize,
}

impl Prepared {
    /// A statement whose `text` means this.
    pub fn new(text: Arc<str>, meaning: Vec<Arc<Meaning>>) -> Self {
        let source = meaning.first().and_then(|first| first.common.source.as_ref());
        let shared = source.filter(|text| Arc::strong_count(text) <= OWN).map_or(0, |text| text.weight());
        let bytes = text.len() * TIMES + shared;
        Self { text, meaning: RefCell::new(meaning), origins: RefCell::new(None), bytes }
    }
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
    Statement(Box<[u8]>, Option<Rc<Prepared>>),
    /// Put this portal back, or remove the name.
    Portal(Box<[u8]>, Option<Portal>),
}

/// The names of one session.
#[derive(Debug, Default)]
pub struct Names {
    statements: HashMap<Box<[u8]>, Rc<Prepared>, ahash::RandomState>,
    portals: HashMap<Box<[u8]>, Portal, ahash::RandomState>,
    /// What all statements take, names apart.
    texts: usize,
}

impl Names {
    /// The prepared statement called `name`.
    pub fn statement(&self, name: &[u8]) -> Option<&Rc<Prepared>> {
        self.statements.get(kept(name))
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
        self.statements.values()
    }

    /// Enters a prepared statement.
    ///
    /// # Errors
    /// The session holds too many names.
    pub fn prepare(&mut self, name: &[u8], prepared: Rc<Prepared>) -> Result<Undo, Fault> {
        self.room()?;
        let name: Box<[u8]> = kept(name).into();
        let before = self.put(name.clone(), prepared);
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

    fn put(&mut self, name: Box<[u8]>, prepared: Rc<Prepared>) -> Option<Rc<Prepared>> {
        self.texts += prepared.bytes;
        let before = self.statements.insert(name, prepared);
        self.texts -= before.as_ref().map_or(0, |before| before.bytes);
        before
    }

    fn take(&mut self, name: &[u8]) -> Option<Rc<Prepared>> {
        let before = self.statements.remove(name);
        self.texts -= before.as_ref().map_or(0, |before| before.bytes);
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
