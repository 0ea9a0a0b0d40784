//! Watching live: every statement and its answer, told to whoever asked to see them.

use std::sync::Arc;

use protocols::{Outcome, Understood};
use record::evidence::{Asked, Held};
use serde_json::{Map, Value, json};

/// Told of every statement as it is decided and answered. Must not block.
#[derive(Clone)]
pub struct Observer(Arc<dyn Fn(Map<String, Value>) + Send + Sync>);

impl std::fmt::Debug for Observer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Observer")
    }
}

impl Observer {
    /// An observer that calls `tell` with the fields of a `statement` event.
    pub fn new(tell: impl Fn(Map<String, Value>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    pub(crate) fn asked(&self, exchange: u64, statement: &Understood, asked: &Asked) {
        let mut event = Map::new();
        event.insert("step".into(), "asked".into());
        event.insert("exchange".into(), exchange.into());
        event.insert("text".into(), (*statement.text).into());
        event.insert("kind".into(), statement.kind.into());
        event.insert("protected".into(), statement.protected.into());
        event.insert("verdict".into(), json!(asked.verdict));
        event.insert("rule".into(), json!(asked.rule));
        event.insert("why".into(), json!(asked.why));
        event.insert("tables".into(), json!(asked.tables));
        (self.0)(event);
    }

    pub(crate) fn answered(&self, exchange: u64, outcome: &Outcome) {
        let mut event = Map::new();
        event.insert("step".into(), "answered".into());
        event.insert("exchange".into(), exchange.into());
        event.insert("tag".into(), json!(outcome.tag));
        event.insert("error".into(), json!(outcome.error));
        event.insert("rows".into(), outcome.tally.rows.into());
        event.insert("masked".into(), outcome.tally.masked.into());
        (self.0)(event);
    }

    pub(crate) fn noted(&self, exchange: u64, what: &str, held: &Held) {
        let mut event = Map::new();
        event.insert("step".into(), "noted".into());
        event.insert("exchange".into(), exchange.into());
        event.insert("verdict".into(), what.into());
        event.insert("rule".into(), json!(held.rule));
        event.insert("rows".into(), held.rows.into());
        (self.0)(event);
    }
}
