//! PostgreSQL, protocol 3.0 and 3.2.

pub mod frame;
pub mod inspect;
pub mod login;
pub mod message;
pub mod refuse;
pub mod rewrite;
pub mod state;

use std::sync::Arc;

use model::FaultKind;

use crate::greeting::Entry;
use crate::{Catalog, Descriptor, Dialogue, Opening, Protocol, Survey, Understood, View};
use inspect::Inspector;
use state::{Conversation, Limits};

/// The protocol's entry in the registry.
#[derive(Debug)]
pub struct Postgres;

static DESCRIPTOR: Descriptor =
    Descriptor { name: "postgres", port: 5432, alpn: &[b"postgresql"], facts: statement::FACTS };

static ENTRY: Entry = login::entry(&DESCRIPTOR, Some(survey));

fn survey() -> Box<dyn Survey> {
    Box::new(inspect::survey::Survey::new())
}

impl Protocol for Postgres {
    fn descriptor(&self) -> &'static Descriptor {
        &DESCRIPTOR
    }

    fn entry(&self) -> &'static Entry {
        &ENTRY
    }

    fn dialogue(&self, opening: &Opening, catalog: Option<Catalog>, view: Arc<View>) -> Box<dyn Dialogue> {
        let limits = Limits { message: view.message_bytes, statement: view.statement_bytes, ..Limits::default() };
        let mut inspector = Inspector::new(view);
        if let Some(catalog) = &catalog {
            inspector.set_catalog(catalog);
        }
        inspector.opened(opening);
        Box::new(Conversation::new(limits, inspector))
    }

    fn code(&self, kind: FaultKind) -> &'static str {
        refuse::sqlstate(kind)
    }

    fn explain(&self, text: &str, catalog: Option<Catalog>, view: Arc<View>) -> Vec<Arc<Understood>> {
        let mut inspector = Inspector::new(view);
        if let Some(catalog) = &catalog {
            inspector.set_catalog(catalog);
        }
        let names = state::names::Names::default();
        let meanings = inspector.understand(text.as_bytes(), &names);
        meanings.iter().map(|meaning| Arc::clone(&meaning.common)).collect()
    }
}
