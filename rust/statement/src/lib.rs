//! What a text in some dialect means: its statements, the rights each needs, the relations and functions it names, and
//! which of its outputs can carry protected values.
//!
//! PostgreSQL's own grammar reads the text, so there is no second opinion on where a string ends. What the grammar
//! refuses, or what is too long or too deep to read safely, is [`Unreadable`]; a node this crate does not know asks for
//! [`Rights::NEVER`]. Nothing here decides: the policy does, with what it finds here.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod build;
mod cache;
pub mod catalog;
mod collect;
pub mod functions;
mod kinds;
mod lineage;
mod parser;
mod redact;
pub mod settings;
mod statement;
mod tree;

pub use lineage::{Column, Exposure, Names, Output, Outputs, Relation};
pub use parser::{Limits, Parser, Unreadable, UnreadableKind};
pub use redact::redact_unread;
pub use statement::{
    Access, Copy, CopyEnd, CopySource, Detail, FACTS, FunctionRef, RelationRef, Rights, Statement, Text, Transaction,
};
