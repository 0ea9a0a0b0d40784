//! Faults: what went wrong, whose fault it is, and what the person reading it can do next.

use std::fmt;
use std::num::NonZeroU32;

/// Whose fault it is. Decided where the fault is born, never guessed later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Whose {
    /// The client sent something wrong or went away.
    Client,
    /// The target answered wrongly, refused the gateway, or went away.
    Target,
    /// A rule of the manifest, or the absence of one, says no.
    Policy,
    /// The gateway itself could not do its work.
    Gateway,
}

/// What kind of fault, in terms every protocol can translate (PostgreSQL: into an SQLSTATE).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// A rule refuses the request (42501).
    Denied,
    /// A reviewer refused the request (42501).
    Rejected,
    /// Nobody reviewed the request in time (57014).
    Expired,
    /// The client's identity could not be established (28000).
    Unidentified,
    /// The named database or target does not exist (3D000).
    UnknownTarget,
    /// The request could not be understood, so it is refused (42601).
    Unreadable,
    /// The request uses something this gateway does not carry (0A000).
    Unsupported,
    /// The bytes break the protocol (08P01).
    Protocol,
    /// Something exceeds a limit (54000).
    TooLarge,
    /// Too many connections or requests (53300).
    TooMany,
    /// More requests than a limit allows in their time (53400).
    TooOften,
    /// The trail cannot be written (58030).
    Unrecordable,
    /// The gateway is shutting down or an administrator ended the session (57P01).
    Shutdown,
    /// The target cannot be reached (08001), or its connection broke (08006).
    Unreachable,
    /// Anything else that is the gateway's own doing (XX000).
    Internal,
}

/// A refusal or failure, told to a person: which rule, what happened, what to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Whose fault it is.
    pub whose: Whose,
    /// What kind.
    pub kind: FaultKind,
    /// One sentence: what happened.
    pub message: String,
    /// What to do next, if anything can be said.
    pub hint: Option<String>,
    /// The rule that decided, by its name in the manifest.
    pub rule: Option<String>,
    /// A reference that a reviewer or operator can look up in the trail.
    pub reference: Option<String>,
    /// Where in the request's text, in characters from 1.
    pub position: Option<NonZeroU32>,
    /// What only the client is told, in place of `message`: it quotes the client's own text, which the trail must not.
    pub verbatim: Option<Box<str>>,
}

impl Fault {
    /// A fault with a message and nothing else.
    #[must_use]
    pub fn new(whose: Whose, kind: FaultKind, message: impl Into<String>) -> Self {
        Self {
            whose,
            kind,
            message: message.into(),
            hint: None,
            rule: None,
            reference: None,
            position: None,
            verbatim: None,
        }
    }

    /// The client broke the protocol.
    #[must_use]
    pub fn protocol(whose: Whose, message: impl Into<String>) -> Self {
        Self::new(whose, FaultKind::Protocol, message)
    }

    /// The policy says no because of `rule`.
    #[must_use]
    pub fn denied(rule: impl Into<String>, message: impl Into<String>) -> Self {
        let mut fault = Self::new(Whose::Policy, FaultKind::Denied, message);
        fault.rule = Some(rule.into());
        fault
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the reference under which the trail keeps this.
    #[must_use]
    pub fn reference(mut self, reference: impl Into<String>) -> Self {
        self.reference = Some(reference.into());
        self
    }

    /// Whether the same request may succeed if it is sent again unchanged.
    #[must_use]
    pub const fn retryable(&self) -> bool {
        matches!(
            self.kind,
            FaultKind::Expired
                | FaultKind::TooMany
                | FaultKind::TooOften
                | FaultKind::Unrecordable
                | FaultKind::Shutdown
                | FaultKind::Unreachable
        )
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}
