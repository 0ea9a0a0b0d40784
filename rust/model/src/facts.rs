//! Facts: what a rule may ask about a request. Protocols declare them, policy checks rules against them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// When a fact becomes known, and therefore when a rule that mentions it can be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Known once the client is identified.
    Session,
    /// Known before the target sees the statement.
    Statement,
    /// Known only while the result streams.
    Result,
}

/// The type of a fact's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FactKind {
    /// True or false.
    Bool,
    /// A 64-bit signed integer.
    Int,
    /// A string.
    Text,
    /// A list of strings.
    Texts,
    /// A map from strings to strings (labels).
    TextMap,
}

/// The declaration of one fact, such as `sql.tables: list of strings, known at the statement phase`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fact {
    /// Dotted name as rules write it, for example `sql.kind`.
    pub name: &'static str,
    /// Type of the value.
    pub kind: FactKind,
    /// When it is known.
    pub phase: Phase,
    /// One line for `penstock explain` and the manifest's reference.
    pub help: &'static str,
}

/// The value of one fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FactValue {
    /// True or false.
    Bool(bool),
    /// A 64-bit signed integer.
    Int(i64),
    /// A string.
    Text(Arc<str>),
    /// A list of strings.
    Texts(Arc<[Arc<str>]>),
    /// A map from strings to strings.
    TextMap(Arc<std::collections::BTreeMap<String, String>>),
}

/// The facts known about one request, by dotted name. Small: a linear search beats hashing here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts(Vec<(&'static str, FactValue)>);

impl Facts {
    /// No facts.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Sets `name`, replacing an earlier value.
    pub fn set(&mut self, name: &'static str, value: FactValue) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some(slot) => slot.1 = value,
            None => self.0.push((name, value)),
        }
    }

    /// The value of `name`, if known.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&FactValue> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// All facts in the order in which they were first set.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &FactValue)> {
        self.0.iter().map(|(name, value)| (*name, value))
    }
}
