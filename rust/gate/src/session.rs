//! One session between its client and its target.

use std::time::Instant;

use bytes::BytesMut;
use model::{Fault, Principal, SessionId, Target};
use protocols::{Catalog, Opening};

/// Bytes on their way out. The relay writes and clears them; the session only appends.
#[derive(Debug, Default)]
pub struct Outbox {
    /// For the client; already recorded.
    pub client: BytesMut,
    /// For the target; already decided.
    pub target: BytesMut,
}

/// What a session needs to begin, known once both logins are done.
pub struct Setup {
    /// The session's id in the trail.
    pub session: SessionId,
    /// Who asks.
    pub principal: Principal,
    /// What is asked.
    pub target: Target,
    /// What the logins learned.
    pub opening: Opening,
    /// The target's catalog, if classes apply to the target.
    pub catalog: Option<Catalog>,
}

/// From which sides the session can take more bytes now. Back-pressure: a side it does not want is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appetite {
    /// Bytes from the client are welcome.
    pub client: bool,
    /// Bytes from the target are welcome.
    pub target: bool,
}

/// What a reviewer is asked, as JSON fields of the `hold` event towards Python.
#[derive(Debug, Clone)]
pub struct HoldRequest {
    /// Counts within the session; answers name it.
    pub hold: u64,
    /// The event's JSON object, without session and identity, which the relay adds.
    pub detail: serde_json::Map<String, serde_json::Value>,
}

/// What the session asks of the relay.
#[derive(Debug, Clone)]
pub enum Ask {
    /// Put a request before the reviewers.
    Hold(HoldRequest),
    /// More is known about an open request (rows so far, whether the result is complete).
    UpdateHold(HoldRequest),
    /// The request is no longer wanted.
    WithdrawHold(u64),
    /// Send the target the protocol's cancel request for this session.
    CancelTarget,
    /// The target's catalog may be out of date: survey it again and answer with [`Event::Catalog`].
    RefreshCatalog,
    /// Send [`Event::Tick`] at this time, replacing an earlier wish.
    Wake(Instant),
}

/// A reviewer's word on a hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Go on.
    Approved {
        /// Who approved.
        by: String,
    },
    /// Refuse.
    Denied {
        /// Who denied.
        by: String,
        /// Why, for the client to read.
        reason: String,
    },
    /// Nobody decided in time, or the gateway cannot ask.
    Expired {
        /// What to tell the client.
        reason: String,
    },
}

/// What happens to a session from outside its two connections.
#[derive(Debug, Clone)]
pub enum Event {
    /// A hold was registered; `approval` is the name under which reviewers know it.
    Registered {
        /// The hold's number in this session.
        hold: u64,
        /// Its name for people.
        approval: String,
    },
    /// A hold was decided.
    Decided {
        /// The hold's number in this session.
        hold: u64,
        /// How.
        decision: Decision,
    },
    /// The client sent a cancel request with this session's key.
    Cancel,
    /// The rules changed, or the principal's groups did.
    Rules(Option<Principal>),
    /// A fresh catalog.
    Catalog(Result<Catalog, Fault>),
    /// The session must end now: revoked, killed, past `session.max`, or the gateway drains.
    End(Fault),
    /// The time asked for by [`Ask::Wake`] has come.
    Tick,
}

/// The session is over. Farewell bytes, if any, are already in the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Why, for the trail and the log; `None` when the client said goodbye.
    pub fault: Option<Fault>,
}

/// One session between its client and its target.
#[derive(Debug)]
pub struct Session {
    asks: Vec<Ask>,
}

impl Session {
    /// Begins a session and records that it began.
    ///
    /// # Errors
    /// The trail cannot be written, or the rules admit nobody like this.
    pub fn begin(setup: Setup) -> Result<Self, Fault> {
        let _ = setup;
        Ok(Self { asks: Vec::new() })
    }

    /// Takes bytes from the client.
    ///
    /// # Errors
    /// The session is over.
    pub fn client_sent(&mut self, input: &mut BytesMut, outbox: &mut Outbox) -> Result<(), End> {
        outbox.target.unsplit(input.split());
        Ok(())
    }

    /// Takes bytes from the target.
    ///
    /// # Errors
    /// The session is over.
    pub fn target_sent(&mut self, input: &mut BytesMut, outbox: &mut Outbox) -> Result<(), End> {
        outbox.client.unsplit(input.split());
        Ok(())
    }

    /// Takes an event from outside the two connections.
    ///
    /// # Errors
    /// The session is over.
    pub fn happened(&mut self, event: Event, outbox: &mut Outbox) -> Result<(), End> {
        let _ = outbox;
        match event {
            Event::End(fault) => Err(End { fault: Some(fault) }),
            _ => Ok(()),
        }
    }

    /// The next thing the session asks of the relay. Call until `None` after every other call.
    pub fn ask(&mut self) -> Option<Ask> {
        self.asks.pop()
    }

    /// From which sides more bytes are welcome.
    #[must_use]
    pub fn appetite(&self) -> Appetite {
        Appetite { client: true, target: true }
    }

    /// Whether no request is in flight, so that a draining gateway may end the session.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        true
    }

    /// Records that the session ended, how, and with what counts.
    pub fn finish(&mut self, end: &End) {
        let _ = end;
    }
}
