//! The protocols Penstock speaks: one folder each, the same file names in every folder.
//!
//! Nothing in this crate touches a socket. Bytes go in, bytes and events come out, so that every state can be tested
//! whole, split at every byte and cut short. `relay` moves the bytes, `gate` decides between them.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod dialogue;
pub mod greeting;
pub mod postgres;
pub mod scram;
mod view;

use std::any::Any;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use model::{Fact, Fault, FaultKind};
use serde_json::Value;

pub use dialogue::{Answer, Dialogue, Heard, Outcome, Purpose, Request, Said, Tally, Understood};
pub use view::View;

/// What a protocol declares about itself. Generic code reads this instead of knowing protocols by name.
#[derive(Debug)]
pub struct Descriptor {
    /// The folder's name, also the manifest's `protocol:` and the listener's name.
    pub name: &'static str,
    /// The port its servers usually listen on.
    pub port: u16,
    /// The protocol's name in TLS ALPN, if clients may start TLS without asking first.
    pub alpn: &'static [&'static [u8]],
    /// The facts that rules may mention for targets of this protocol.
    pub facts: &'static [Fact],
}

/// What the two logins learned, handed to the session that follows them.
#[derive(Debug, Clone, Default)]
pub struct Opening {
    /// The user the client named.
    pub user: String,
    /// The database the client named.
    pub database: String,
    /// The client's start-up settings, without user and database, in the order sent.
    pub settings: Vec<(String, String)>,
    /// Minor version of the protocol agreed with the client (PostgreSQL: 0 for 3.0, 2 for 3.2).
    pub minor_version: u32,
    /// Parameters the target reported during login, in the order reported.
    pub parameters: Vec<(Bytes, Bytes)>,
}

/// Reads from a target what the protocol must know of it to tell protected data from the rest.
///
/// Sans-io: the relay opens a connection with the target's credential, then pumps bytes through `advance`.
pub trait Survey: Send {
    /// Consumes `input`, appends to `output`, and returns the catalog once it is complete.
    ///
    /// # Errors
    /// A fault of the target: it refused a question or broke the protocol.
    fn advance(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> Result<Option<Catalog>, Fault>;
}

/// What a survey found; its type is the protocol's own.
pub type Catalog = Arc<dyn Any + Send + Sync>;

/// What generic code can ask of a protocol.
pub trait Protocol: Sync {
    /// What it declares about itself.
    fn descriptor(&self) -> &'static Descriptor;

    /// The conversation after both logins.
    fn dialogue(&self, opening: &Opening, catalog: Option<Catalog>, view: Arc<View>) -> Box<dyn Dialogue>;

    /// Its two logins and what the gateway asks a target on its own account.
    fn entry(&self) -> &'static greeting::Entry;

    /// The protocol's own code for a kind of fault.
    fn code(&self, kind: FaultKind) -> &'static str;

    /// What each statement of a text would mean to a session that sees `view`, and what would become of its outputs (a JSON
    /// list), for `explain`.
    fn explain(&self, text: &str, catalog: Option<Catalog>, view: Arc<View>) -> Vec<(Arc<Understood>, Value)>;
}

/// Every protocol this gateway speaks: one line each.
pub const PROTOCOLS: &[&dyn Protocol] = &[&postgres::Postgres];

/// The protocol called `name`.
#[must_use]
pub fn protocol(name: &str) -> Option<&'static dyn Protocol> {
    PROTOCOLS.iter().copied().find(|protocol| protocol.descriptor().name == name)
}

/// Every protocol's logins.
pub fn registry() -> impl Iterator<Item = &'static greeting::Entry> {
    PROTOCOLS.iter().map(|protocol| protocol.entry())
}
