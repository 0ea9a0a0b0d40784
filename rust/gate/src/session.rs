//! One session between its client and its target: the ordered path, driven by bytes and events.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use ahash::AHashMap;
use bytes::BytesMut;
use model::{Fault, FaultKind, Principal, SessionId, Target, Whose};
use policy::{Admission, Permit};
use protocols::{Catalog, Dialogue, Heard, Opening, Protocol, Request, Said, Tally};
use record::Trail;
use record::evidence::{Mode, SessionClosed, SessionOpened};
use serde_json::{Map, Value};

use crate::dam::{Dam, Question};
use crate::pace::Pace;
use crate::release::{Release, Staged};
use crate::rules::Rules;
use crate::watch::Observer;

/// With this much waiting for the client, no more is taken from the target.
const CLIENT_FULL: usize = 1 << 20;

/// Staged bytes are recorded and released from this size on, in bytes.
const COMMIT: usize = 256 << 10;

/// Bytes on their way out. The relay writes and clears them; the session only appends.
#[derive(Debug, Default)]
pub struct Outbox {
    /// For the client; already recorded.
    pub client: BytesMut,
    /// For the target; already decided.
    pub target: BytesMut,
}

/// Where a session comes from, for the trail.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// The client's address, `ip:port`.
    pub client: String,
    /// Whether the client's connection is encrypted.
    pub tls: bool,
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
    /// Where the client comes from.
    pub origin: Origin,
    /// The target's catalog, if classes apply to the target.
    pub catalog: Option<Catalog>,
    /// The rules in force.
    pub rules: Arc<Rules>,
    /// The trail.
    pub trail: Trail,
    /// What the identity's sessions run a second, together.
    pub pace: Arc<Pace>,
    /// Told of every statement, if somebody watches live.
    pub observer: Option<Observer>,
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
    pub detail: Map<String, Value>,
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
    Rules {
        /// The rules now in force.
        rules: Arc<Rules>,
        /// The principal with its new groups, if they changed.
        principal: Option<Principal>,
    },
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

/// A request that waits for a reviewer before it is sent.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub request: Request,
    pub question: Question,
    pub hold: policy::Hold,
}

/// One session between its client and its target.
pub struct Session {
    pub(crate) id: SessionId,
    pub(crate) principal: Principal,
    pub(crate) target: Target,
    pub(crate) rules: Arc<Rules>,
    pub(crate) admission: Admission,
    pub(crate) dialogue: Box<dyn Dialogue>,
    pub(crate) release: Release,
    pub(crate) staged: Staged,
    pub(crate) asks: VecDeque<Ask>,
    pub(crate) observer: Option<Observer>,
    /// Leave given, by what was understood, under the rules in force.
    pub(crate) permits: AHashMap<u64, Rc<Permit>>,
    /// A rule asks how long the session has lasted, so that no leave lasts.
    pub(crate) timed: bool,
    /// Texts the trail has already, by what was understood.
    pub(crate) texts: AHashMap<u64, u64>,
    pub(crate) next_text: u64,
    pub(crate) holds: u64,
    pub(crate) protocol: &'static dyn Protocol,
    /// A statement that waits for a reviewer.
    pub(crate) waiting: Option<Waiting>,
    /// A result behind the dam, and the question about it.
    pub(crate) dam: Option<Dam>,
    pub(crate) question: Option<(Question, policy::Hold)>,
    /// A watched result whose bytes are staged but not yet attributed: it may still end harmlessly in one piece.
    pub(crate) undecided: Option<(u64, Tally)>,
    /// The exchange whose result is past its dam: what is left of it passes as it comes.
    pub(crate) approved: Option<u64>,
    pub(crate) settings_hash: Arc<str>,
    pub(crate) pace: Arc<Pace>,
    /// Statements by verdict, and those beyond what the identity may run a second.
    pub(crate) verdicts: [u64; 5],
    pub(crate) too_often: u64,
    client_backlog: BytesMut,
    target_backlog: BytesMut,
    stale: bool,
    finished: bool,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Session {
    /// Begins a session and records that it began.
    ///
    /// # Errors
    /// The trail cannot be written, or the rules admit nobody like this.
    pub fn begin(setup: Setup) -> Result<Self, Fault> {
        let Setup { session, principal, target, opening, origin, catalog, rules, trail, pace, observer } = setup;
        let admission = rules.admit(&principal, &target)?;
        let view = rules.view(&target, &admission)?;
        let timed = admission.mentions("session.seconds");
        let protocol = protocols::protocol(&target.protocol).ok_or_else(|| {
            Fault::new(Whose::Gateway, FaultKind::Internal, format!("there is no protocol {}", target.protocol))
        })?;
        let dialogue = protocol.dialogue(&opening, catalog, view);
        let mut trail = trail.session(session).results(rules.results(&target.name));
        trail.evidence(0, &opened(&principal, &target, &opening, &origin, &rules, admission.observe()))?;
        Ok(Self {
            id: session,
            settings_hash: rules.hash(),
            principal,
            target,
            rules,
            admission,
            dialogue,
            release: Release::new(trail),
            staged: Staged::default(),
            asks: VecDeque::new(),
            observer,
            permits: AHashMap::new(),
            timed,
            texts: AHashMap::new(),
            holds: 0,
            waiting: None,
            dam: None,
            question: None,
            undecided: None,
            next_text: 0,
            protocol,
            approved: None,
            pace,
            verdicts: [0; 5],
            too_often: 0,
            client_backlog: BytesMut::new(),
            target_backlog: BytesMut::new(),
            stale: false,
            finished: false,
        })
    }

    /// Takes bytes from the client.
    ///
    /// # Errors
    /// The session is over.
    pub fn client_sent(&mut self, input: &mut BytesMut, outbox: &mut Outbox) -> Result<(), End> {
        if !self.client_backlog.is_empty() {
            self.client_backlog.unsplit(input.split());
            return self.drive_client(outbox);
        }
        self.hear_client(input, outbox).map_err(|end| self.end(end, outbox))?;
        if self.is_waiting() {
            self.client_backlog = input.split();
        }
        Ok(())
    }

    /// Takes bytes from the target.
    ///
    /// # Errors
    /// The session is over.
    pub fn target_sent(&mut self, input: &mut BytesMut, outbox: &mut Outbox) -> Result<(), End> {
        if !self.target_backlog.is_empty() {
            self.target_backlog.unsplit(input.split());
            return self.drive_target(outbox);
        }
        self.hear_target(input, outbox).map_err(|fault| self.end(End { fault: Some(fault) }, outbox))?;
        if self.blocks_target() {
            self.target_backlog = input.split();
        }
        self.drive_client(outbox)
    }

    /// Gives the session a buffer from `stock` for what it is about to take from the target, if it has none.
    pub fn lend(&mut self, stock: impl FnOnce() -> BytesMut) {
        if self.staged.bytes.capacity() == 0 {
            self.staged.bytes = stock();
        }
    }

    /// Takes the buffer back, if nothing is in it.
    pub fn take_back(&mut self) -> Option<BytesMut> {
        let unused = self.staged.bytes.is_empty() && self.staged.bytes.capacity() > 0;
        unused.then(|| std::mem::take(&mut self.staged.bytes))
    }

    /// Goes on with what waited, after the outbox was written or an event came.
    ///
    /// # Errors
    /// The session is over.
    pub fn resume(&mut self, outbox: &mut Outbox) -> Result<(), End> {
        self.release_dam(outbox).map_err(|fault| self.end(End { fault: Some(fault) }, outbox))?;
        self.drive_target(outbox)
    }

    /// Releases what has become safe on disk; registers `waker` for what has not.
    ///
    /// # Errors
    /// The session is over: the disk failed.
    pub fn poll_recorded(&mut self, waker: &Waker, outbox: &mut Outbox) -> Result<(), End> {
        self.release.poll(waker, &mut outbox.client).map_err(|fault| self.end(End { fault: Some(fault) }, outbox))
    }

    /// Takes an event from outside the two connections.
    ///
    /// # Errors
    /// The session is over.
    pub fn happened(&mut self, event: Event, outbox: &mut Outbox) -> Result<(), End> {
        let done = match event {
            Event::Registered { hold, approval } => self.registered(hold, approval, outbox),
            Event::Decided { hold, decision } => self.decided(hold, decision, outbox),
            Event::Cancel => self.cancelled(outbox),
            Event::Rules { rules, principal } => self.rules_changed(rules, principal),
            Event::Catalog(Ok(catalog)) => {
                self.stale = false;
                self.dialogue.catalog(catalog);
                Ok(())
            }
            Event::Catalog(Err(fault)) => Err(fault),
            Event::End(fault) => Err(fault),
            Event::Tick => self.tick(outbox),
        };
        done.map_err(|fault| self.end(End { fault: Some(fault) }, outbox))?;
        self.resume(outbox)
    }

    /// The next thing the session asks of the relay. Call until `None` after every other call, `finish` included.
    pub fn ask(&mut self) -> Option<Ask> {
        self.asks.pop_front()
    }

    /// From which sides more bytes are welcome.
    #[must_use]
    pub fn appetite(&self, outbox: &Outbox) -> Appetite {
        let room = outbox.client.len() + self.release.waiting() < CLIENT_FULL;
        Appetite {
            client: self.client_backlog.len() < CLIENT_FULL && outbox.target.len() < CLIENT_FULL,
            // What is left over of a message that came in pieces waits for its rest, so more is welcome.
            target: room && !self.blocks_target(),
        }
    }

    /// Whether no request is in flight, so that a draining gateway may end the session.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.dialogue.is_idle() && self.client_backlog.is_empty() && self.dam.is_none() && self.waiting.is_none()
    }

    /// Whether something is under way at the target that should be cancelled if the client goes away.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        !self.dialogue.is_quiet()
    }

    /// Totals for the `closed` event: statements, rows, bytes.
    #[must_use]
    pub fn totals(&self) -> (u64, u64, u64) {
        let totals = self.release.totals;
        (totals.statements, totals.rows, totals.bytes)
    }

    /// Records that the session ended, how, and with what counts. Asks that follow withdraw open holds.
    pub fn finish(&mut self, end: &End) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        self.withdraw_all();
        let totals = self.release.totals;
        let reason = end.fault.as_ref().map_or_else(|| "client closed".to_owned(), |fault| fault.message.clone());
        let closed = SessionClosed {
            reason: reason.into(),
            statements: Some(totals.statements),
            rows: Some(totals.rows),
            bytes: Some(totals.bytes),
        };
        // The trail that cannot be written is itself often why the session ends; recovery then writes the end.
        let _ = self.release.trail.evidence(0, &closed);
    }

    fn drive_client(&mut self, outbox: &mut Outbox) -> Result<(), End> {
        if self.client_backlog.is_empty() {
            return Ok(());
        }
        let mut backlog = std::mem::take(&mut self.client_backlog);
        let done = self.hear_client(&mut backlog, outbox);
        self.client_backlog = backlog;
        done.map_err(|end| self.end(end, outbox))
    }

    fn drive_target(&mut self, outbox: &mut Outbox) -> Result<(), End> {
        if !self.blocks_target() {
            let mut backlog = std::mem::take(&mut self.target_backlog);
            let done = self.hear_target(&mut backlog, outbox);
            self.target_backlog = backlog;
            done.map_err(|fault| self.end(End { fault: Some(fault) }, outbox))?;
        }
        self.drive_client(outbox)
    }

    pub(crate) const fn backlogs(&self) -> [&BytesMut; 2] {
        [&self.client_backlog, &self.target_backlog]
    }

    fn is_waiting(&self) -> bool {
        self.waiting.is_some() || self.dialogue.holds_client()
    }

    /// Nothing more can be taken from the target before something else happens.
    fn blocks_target(&self) -> bool {
        self.stale || self.dam.as_ref().is_some_and(|dam| dam.is_full() || dam.outcome.is_some() || dam.is_released())
    }

    fn hear_client(&mut self, input: &mut BytesMut, outbox: &mut Outbox) -> Result<(), End> {
        while self.waiting.is_none() {
            let said =
                self.dialogue.client_sent(input, &mut outbox.target).map_err(|fault| End { fault: Some(fault) })?;
            match said {
                Said::NeedMore | Said::Wait => break,
                Said::Request(request) => {
                    self.judge(request, outbox).map_err(|fault| End { fault: Some(fault) })?;
                }
                Said::Goodbye => return Err(End { fault: None }),
            }
        }
        Ok(())
    }

    fn hear_target(&mut self, input: &mut BytesMut, outbox: &mut Outbox) -> Result<(), Fault> {
        while !self.blocks_target() {
            let heard = self.dialogue.target_sent(input, &mut self.staged.bytes, &mut outbox.target)?;
            match heard {
                Heard::NeedMore => break,
                Heard::Part { exchange, tally, watched } => self.part(exchange, tally, watched, outbox)?,
                Heard::Ended { exchange, outcome, watched } => self.ended(exchange, outcome, watched, outbox)?,
                Heard::Between => self.staged.attribute(0),
                Heard::Stale => self.ask_for_catalog(),
            }
            if self.staged.bytes.len() >= COMMIT {
                self.dam_undecided()?;
                self.commit(outbox)?;
            }
        }
        self.dam_undecided()?;
        self.commit(outbox)
    }

    fn ask_for_catalog(&mut self) {
        self.stale = true;
        self.asks.push_back(Ask::RefreshCatalog);
    }

    pub(crate) fn commit(&mut self, outbox: &mut Outbox) -> Result<(), Fault> {
        self.release.commit(&mut self.staged, &mut outbox.client)
    }

    fn rules_changed(&mut self, rules: Arc<Rules>, principal: Option<Principal>) -> Result<(), Fault> {
        if let Some(principal) = principal {
            self.principal = principal;
        }
        self.admission = rules.admit(&self.principal, &self.target)?;
        let view = rules.view(&self.target, &self.admission)?;
        self.rules = rules;
        self.permits.clear();
        self.timed = self.admission.mentions("session.seconds");
        self.dialogue.rules_changed(view);
        // What protects changes with the rules, so the catalog is laid under them anew.
        Ok(())
    }

    /// Ends the session: says why to the client, behind what is released already.
    fn end(&mut self, end: End, outbox: &mut Outbox) -> End {
        if let Some(fault) = &end.fault
            && (fault.whose != Whose::Client || fault.kind != FaultKind::Unreachable)
        {
            let mut farewell = BytesMut::new();
            self.dialogue.farewell(fault, &mut farewell);
            self.release.farewell(farewell, &mut outbox.client);
        }
        end
    }

    pub(crate) fn wake_at(&mut self, at: Instant) {
        self.asks.push_back(Ask::Wake(at));
    }

    pub(crate) fn next_hold(&mut self) -> u64 {
        self.holds += 1;
        self.holds
    }

    /// How long a hold may stay open at most, whatever its rule says.
    pub(crate) const LONGEST_HOLD: Duration = Duration::from_secs(24 * 3600);
}

fn opened(
    principal: &Principal,
    target: &Target,
    opening: &Opening,
    origin: &Origin,
    rules: &Rules,
    observe: bool,
) -> SessionOpened {
    let application = opening.settings.iter().find(|(name, _)| name == "application_name").map(|(_, value)| value);
    SessionOpened {
        identity: principal.identity.as_str().into(),
        issuer: principal.issuer.as_deref().map(Into::into),
        subject: principal.subject.as_deref().map(Into::into),
        groups: principal.groups.clone(),
        token: principal.token.as_deref().map(Into::into),
        target: target.name.as_str().into(),
        database: target.database.as_str().into(),
        client: origin.client.as_str().into(),
        application: application.map(|name| name.as_str().into()),
        tls: origin.tls,
        protocol: target.protocol.as_str().into(),
        settings: rules.hash(),
        mode: if observe { Mode::Observe } else { Mode::Enforce },
    }
}
