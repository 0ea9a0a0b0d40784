//! What statements do to the names of the session: PREPARE and DECLARE define, DEALLOCATE, CLOSE and DISCARD forget.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use model::Fault;

use super::Conversation;
use super::names::{Portal, Prepared};
use super::queue::SharedRun;
use super::run::Run;
use crate::postgres::inspect::{Effect, Meaning};

impl Conversation {
    /// Enters what the statements of a text define, as the text is sent.
    pub(super) fn enter_names(&mut self, run: &SharedRun) -> Result<(), Fault> {
        let statements = run.borrow().statements.clone();
        for (place, meaning) in statements.iter().enumerate() {
            let undo = match &meaning.effect {
                Effect::Prepare { name, text, inner } => {
                    let prepared = Prepared::new(Arc::clone(text), inner.clone());
                    self.names.prepare(name.as_bytes(), Rc::new(prepared))?
                }
                Effect::Declare { name, hold, inner } => {
                    let exchange = run.borrow().exchange + place as u64;
                    let portal = self.cursor(exchange, inner, *hold);
                    self.names.bind(name.as_bytes(), portal)?
                }
                _ => continue,
            };
            run.borrow_mut().undo.push((place, undo));
        }
        Ok(())
    }

    fn cursor(&self, exchange: u64, inner: &Arc<Meaning>, hold: bool) -> Portal {
        let run = Run::new(exchange, vec![Arc::clone(inner)], false);
        Portal { run: Rc::new(RefCell::new(run)), batch: self.batch + 1, hold, declared: true }
    }

    /// The statement that answers now begins: a FETCH goes on counting where its cursor stands.
    pub(super) fn resume_tally(&self, run: &mut Run) {
        if let Some(portal) = self.fetched(run)
            && let Ok(cursor) = portal.run.try_borrow()
        {
            run.tally = cursor.tally;
            run.base = cursor.tally;
        }
    }

    /// The target completed the statement that answers now.
    pub(super) fn completed(&mut self, run: &Run) {
        if let Some(portal) = self.fetched(run)
            && let Ok(mut cursor) = portal.run.try_borrow_mut()
        {
            cursor.tally = run.tally;
        }
        let Some(meaning) = run.statement() else { return };
        self.written |= !meaning.common.reading;
        match &meaning.effect {
            Effect::Deallocate { name: Some(name) } => drop(self.names.close_statement(name.as_bytes())),
            Effect::Deallocate { name: None } => self.names.close_statements(),
            Effect::Close { name: Some(name) } => drop(self.names.close_portal(name.as_bytes())),
            Effect::Close { name: None } => self.names.close_portals(),
            Effect::Discard => {
                self.names.close_statements();
                self.names.close_portals();
                self.inspector.settings_reset();
                self.forget_meanings();
            }
            Effect::Setting { name, value } => {
                let changed = self.inspector.setting_changed(name, value.as_deref());
                if changed {
                    self.forget_meanings();
                }
            }
            Effect::Define => self.schema_changed = true,
            _ => {}
        }
    }

    /// The target refused the statement that answers now: what it and those behind it defined does not exist.
    pub(super) fn failed(&mut self, run: &mut Run) {
        while let Some((place, undo)) = run.undo.pop() {
            if place < run.at {
                run.undo.push((place, undo));
                break;
            }
            self.names.undo(undo);
        }
    }

    fn fetched(&self, run: &Run) -> Option<&Portal> {
        match &run.statement()?.effect {
            Effect::Fetch { name } => self.names.portal(name.as_bytes()),
            _ => None,
        }
    }
}
