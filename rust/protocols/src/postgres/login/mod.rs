//! Both logins of PostgreSQL's protocol, and what the gateway asks a target on its own account.
//!
//! Towards the client the gateway is a server: it offers TLS and the newest version it speaks, asks for a proof of the
//! identity and gives its own cancel key. Towards the target it is a client with the credential of the manifest. The
//! two never share a secret, and channel binding ends here on both sides.

mod client;
mod md5;
mod packet;
mod reply;
mod startup;
mod target;
mod vet;

#[cfg(test)]
mod tests;

use bytes::{Bytes, BytesMut};
use model::Fault;

use super::refuse::{self, Severity};
use crate::greeting::{Dial, Dialogue, Entry, Greet, Greeting, Vet};
use crate::{Descriptor, Survey};

/// This protocol's line in the registry.
#[must_use]
pub const fn entry(descriptor: &'static Descriptor, survey: Option<fn() -> Box<dyn Survey>>) -> Entry {
    Entry { descriptor, greet, dial, survey, vet: Some(vet), refuse: refusal, goodbye: b"X\0\0\0\x04" }
}

/// Begins the login of a client.
fn greet(greet: Greet) -> Box<dyn Greeting> {
    Box::new(client::Login::new(greet))
}

/// Begins the login to a target.
fn dial(dial: Dial) -> Box<dyn Dialogue> {
    Box::new(target::Login::new(dial))
}

/// Begins the look at a credential's powers.
fn vet() -> Box<dyn Vet> {
    Box::new(vet::Question::default())
}

/// A fault for a client whose session has not begun: one fatal error.
fn refusal(fault: &Fault) -> Bytes {
    let mut output = BytesMut::new();
    refuse::write_error(&mut output, Severity::Fatal, fault);
    output.freeze()
}
