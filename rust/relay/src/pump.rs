//! Bytes between client and target, in both directions at once, with the gate in the middle.
//!
//! One hand-written loop: whatever can move is moved, and what cannot leaves the task's waker behind. Back-pressure is
//! by not reading: a side is read only while the gate wants its bytes and what was made of them finds room.

use std::future::Future as _;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes, BytesMut};
use gate::{Ask, Decision, End, Event, HoldRequest, Outbox, Session};
use model::{Fault, FaultKind, Whose};
use protocols::greeting::Security;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWrite as _};
use tokio::sync::oneshot;
use tokio::time::Sleep;

use crate::core::{Core, micros, shutdown};
use crate::hub::Service;
use crate::locked;
use crate::mailbox::Letter;
use crate::memory::Share;
use crate::metrics::{Limit, add};
use crate::sessions::{Handle, Seat};
use crate::stream::Stream;
use crate::{dial, pool};

/// With this much waiting for one side, the other is not read, in bytes.
const FULL: usize = 256 << 10;
/// With this much waiting for a client that sends without reading, it is not read either, in bytes. More than `FULL`,
/// so that a client that must send before it can read is not stopped by that.
const DROWNED: usize = 4 << 20;
/// After so many turns without a pause the other side, and other sessions, get theirs.
const TURNS: usize = 4;
/// How long a side may take to hear the last words.
const PARTING: Duration = Duration::from_secs(5);
/// What is left of a message while the rest is awaited is copied out of its large buffer when smaller than this.
const SMALL: usize = 16 << 10;

/// One side's connection, and what it sent that is not yet used.
pub(crate) struct Side {
    pub stream: Stream,
    pub input: BytesMut,
    /// Encrypted bytes may wait inside the stream.
    unflushed: bool,
}

impl Side {
    /// A side of which `input` was read already.
    pub fn new(stream: Stream, input: BytesMut) -> Self {
        Self { stream, input, unflushed: false }
    }
}

/// A session under way.
pub(crate) struct Pump {
    pub core: Arc<Core>,
    pub handle: Arc<Handle>,
    pub service: Service,
    pub session: Session,
    pub outbox: Outbox,
    pub client: Side,
    pub target: Side,
    /// What cancels the target's work, and how it travels.
    pub cancel: (Bytes, Security),
    /// Dropped when the client's wish to cancel has had its effect.
    pub cancelling: Option<oneshot::Sender<()>>,
    /// When the session must end.
    pub until: Instant,
    pub has_catalog: bool,
    pub clock: Clock,
    pub over: bool,
    /// Given back at the end, before the partings.
    pub seat: Option<Seat>,
    /// What is counted of the session's buffers.
    pub share: Share,
}

/// The one timer of a session.
pub(crate) struct Clock {
    timer: Pin<Box<Sleep>>,
    wake: Option<Instant>,
    drain: Option<Instant>,
}

impl Clock {
    /// A clock that first rings at `until`.
    pub fn new(until: Instant) -> Self {
        Self { timer: Box::pin(tokio::time::sleep_until(until.into())), wake: None, drain: None }
    }

    /// Rings at the earliest of all wishes.
    fn set(&mut self, until: Instant) {
        let next = [self.wake, self.drain].into_iter().flatten().fold(until, Instant::min);
        if self.timer.deadline() != next.into() {
            self.timer.as_mut().reset(next.into());
        }
    }
}

/// Which side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Peer {
    Client,
    Target,
}

type Done = Result<bool, End>;

impl Pump {
    /// Runs the session to its end.
    pub async fn run(mut self: Box<Self>) {
        let end = match self.leftovers() {
            Ok(()) => std::future::poll_fn(|cx| self.poll(cx)).await,
            Err(end) => end,
        };
        // Boxed, so that its size is not part of every session that goes on.
        Box::pin(self.close(end)).await;
    }

    /// Lets the gate have what both sides sent behind their logins.
    fn leftovers(&mut self) -> Result<(), End> {
        for (peer, count) in [(Peer::Client, self.client.input.len()), (Peer::Target, self.target.input.len())] {
            if count > 0 {
                self.feed(peer, count)?;
            }
        }
        Ok(())
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        for _ in 0..TURNS {
            match self.turn(cx) {
                Err(end) => return Poll::Ready(end),
                Ok(true) => {}
                // Asked last: a letter that comes now wakes us, one that came before is read.
                Ok(false) if self.handle.mailbox.wait(cx.waker()) => {}
                Ok(false) => {
                    self.shrink();
                    self.publish();
                    return self.weigh(true).map_or_else(Poll::Ready, |()| Poll::Pending);
                }
            }
        }
        if let Err(end) = self.weigh(true) {
            return Poll::Ready(end);
        }
        // What has come in the meantime from a side that was silent is only learned while no task runs.
        let _ = pin!(tokio::task::yield_now()).poll(cx);
        Poll::Pending
    }

    /// Moves what can be moved once; whether anything was.
    fn turn(&mut self, cx: &mut Context<'_>) -> Done {
        let mut moved = self.letters()?;
        moved |= self.ring(cx)?;
        // Reading first: what comes of it leaves in the same turn.
        moved |= self.pull(Peer::Client, cx)?;
        moved |= self.pull(Peer::Target, cx)?;
        self.session.poll_recorded(cx.waker(), &mut self.outbox)?;
        if self.flush_client(cx)? {
            moved = true;
            self.session.resume(&mut self.outbox)?;
        }
        moved |= self.flush_target(cx)?;
        self.answer_asks();
        if self.clock.drain.is_some() && !moved && self.session.is_idle() && self.outbox.client.is_empty() {
            self.happened(Event::End(shutdown("the gateway is shutting down")))?;
        }
        Ok(moved)
    }

    fn happened(&mut self, event: Event) -> Result<(), End> {
        let done = self.session.happened(event, &mut self.outbox);
        self.answer_asks();
        done
    }

    fn letters(&mut self) -> Done {
        let mut moved = false;
        while let Some(letter) = self.handle.mailbox.take() {
            moved = true;
            match letter {
                Letter::Drain(deadline) => {
                    self.clock.drain = Some(deadline);
                    self.clock.set(self.until);
                }
                Letter::Gate(Event::Rules { rules, principal }) => {
                    let unknown = !self.has_catalog && rules.needs_catalog(&self.handle.target.name);
                    self.happened(Event::Rules { rules, principal })?;
                    if unknown {
                        self.has_catalog = true;
                        self.core.hub.refresh(&self.service, self.handle.mailbox.clone());
                    }
                }
                Letter::Gate(event) => self.happened(event)?,
                Letter::Cancel(done) => {
                    self.cancelling = Some(done);
                    let happened = self.happened(Event::Cancel);
                    self.cancelling = None;
                    happened?;
                }
            }
        }
        Ok(moved)
    }

    /// Does what the clock says, if it rings.
    fn ring(&mut self, cx: &mut Context<'_>) -> Done {
        if self.clock.timer.as_mut().poll(cx).is_pending() {
            return Ok(false);
        }
        let now = Instant::now();
        if self.until <= now {
            self.happened(Event::End(shutdown("the session has lasted as long as a session may")))?;
        }
        if self.clock.drain.is_some_and(|deadline| deadline <= now) {
            self.happened(Event::End(shutdown("the gateway is shutting down")))?;
        }
        if self.clock.wake.take_if(|wake| *wake <= now).is_some() {
            self.happened(Event::Tick)?;
        }
        self.clock.set(self.until);
        Ok(true)
    }

    fn flush_client(&mut self, cx: &mut Context<'_>) -> Done {
        let written = write(&mut self.client, &mut self.outbox.client, cx).map_err(|error| gone(&error))?;
        add(&self.core.counters.released_bytes, written);
        Ok(written > 0)
    }

    fn flush_target(&mut self, cx: &mut Context<'_>) -> Done {
        match write(&mut self.target, &mut self.outbox.target, cx) {
            Ok(written) => {
                add(&self.core.counters.forwarded_bytes, written);
                Ok(written > 0)
            }
            // It may have said why before it closed: reading finds that out, and the end after it.
            Err(_) => {
                self.outbox.target.clear();
                self.target.unflushed = false;
                Ok(false)
            }
        }
    }

    /// Reads from one side and lets the gate decide, if there is appetite and room for what may come of it.
    fn pull(&mut self, peer: Peer, cx: &mut Context<'_>) -> Done {
        let appetite = self.session.appetite(&self.outbox);
        let (side, wanted) = match peer {
            Peer::Client => {
                let room = self.outbox.target.len() < FULL && self.outbox.client.len() < DROWNED;
                (&mut self.client, appetite.client && room)
            }
            Peer::Target => (&mut self.target, appetite.target && self.outbox.client.len() < FULL),
        };
        if !wanted {
            return Ok(false);
        }
        match read(side, cx) {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(0)) => self.closed(peer, None),
            Poll::Ready(Err(error)) => self.closed(peer, Some(&error)),
            Poll::Ready(Ok(count)) => self.feed(peer, count).map(|()| true),
        }
    }

    fn feed(&mut self, peer: Peer, count: usize) -> Result<(), End> {
        if self.outbox.target.capacity() == 0 {
            self.outbox.target = pool::take();
        }
        let (counter, done, side) = match peer {
            Peer::Client => {
                let done = self.session.client_sent(&mut self.client.input, &mut self.outbox);
                (&self.core.counters.client_bytes, done, &mut self.client)
            }
            Peer::Target => {
                self.session.lend(pool::take);
                let done = self.session.target_sent(&mut self.target.input, &mut self.outbox);
                if let Some(unused) = self.session.take_back() {
                    pool::give(unused);
                }
                (&self.core.counters.target_bytes, done, &mut self.target)
            }
        };
        add(counter, count);
        if side.input.is_empty() {
            pool::give(std::mem::take(&mut side.input));
        }
        self.answer_asks();
        done.and_then(|()| self.weigh(false))
    }

    /// Counts what the session keeps against what all sessions may, while it works or when it comes to rest. Ends the
    /// session if it needs more than is left.
    fn weigh(&mut self, at_rest: bool) -> Result<(), End> {
        let buffers = [&self.client.input, &self.target.input, &self.outbox.client, &self.outbox.target];
        let kept = buffers.map(BytesMut::capacity).iter().sum::<usize>() + self.session.buffered();
        let count = if at_rest { self.share.at_rest(kept) } else { self.share.outgrown(kept).then_some(kept) };
        let Some(count) = count else { return Ok(()) };
        let most = self.core.loaded.load().limits.memory_bytes;
        self.share.count(count, &self.core.memory, most).or_else(|fault| {
            self.core.counters.met(Limit::Memory);
            (self.client.input, self.target.input) = (BytesMut::new(), BytesMut::new());
            self.happened(Event::End(fault))
        })
    }

    /// Lets the metrics see what the session did.
    fn publish(&self) {
        let counts = self.session.counts();
        let mut known = locked(&self.handle.counts);
        if *known != counts {
            *known = counts;
        }
    }

    /// One side has closed its connection, or lost it.
    fn closed(&mut self, peer: Peer, error: Option<&io::Error>) -> Done {
        match peer {
            Peer::Client => Err(error.map_or_else(left, gone)),
            Peer::Target => {
                let what = error.map_or_else(|| "was closed by it".to_owned(), |error| format!("broke: {error}"));
                let message = format!("the connection to target \"{}\" {what}", self.handle.target.name);
                let fault = Fault::new(Whose::Target, FaultKind::Unreachable, message);
                self.happened(Event::End(fault.clone().hint("connect again")))?;
                Err(End { fault: Some(fault) })
            }
        }
    }

    /// Does what the gate asks for.
    fn answer_asks(&mut self) {
        while let Some(ask) = self.session.ask() {
            match ask {
                Ask::Hold(request) => self.hold(request),
                Ask::UpdateHold(request) => {
                    self.core.tell(self.hold_event("hold_update", request));
                }
                Ask::WithdrawHold(hold) => {
                    let session = self.handle.id.to_string();
                    self.core.tell(json!({"type": "hold_withdrawn", "session": session, "hold": hold,
                        "why": "the request is no longer wanted"}));
                }
                Ask::CancelTarget => self.cancel_target(),
                Ask::RefreshCatalog => self.core.hub.refresh(&self.service, self.handle.mailbox.clone()),
                Ask::Wake(at) => {
                    self.clock.wake = Some(at);
                    self.clock.set(self.until);
                }
            }
        }
    }

    /// Puts a request before the reviewers; if they cannot be reached, it has expired.
    fn hold(&mut self, request: HoldRequest) {
        let hold = request.hold;
        add(&self.core.counters.holds, 1);
        if !self.core.tell(self.hold_event("hold", request)) {
            let reason = "the gateway cannot ask a reviewer now".to_owned();
            let decision = Decision::Expired { reason };
            // As a letter, because the gate is in the middle of asking.
            self.handle.mailbox.send(Letter::Gate(Event::Decided { hold, decision }));
        }
    }

    fn hold_event(&self, kind: &str, request: HoldRequest) -> Value {
        let mut event = request.detail;
        let principal = locked(&self.handle.principal);
        event.insert("type".to_owned(), kind.into());
        event.insert("session".to_owned(), self.handle.id.to_string().into());
        event.insert("hold".to_owned(), request.hold.into());
        event.insert("identity".to_owned(), principal.identity.as_str().into());
        event.insert("issuer".to_owned(), principal.issuer.as_deref().into());
        event.insert("subject".to_owned(), principal.subject.as_deref().into());
        event.insert("groups".to_owned(), principal.groups.as_slice().into());
        event.insert("target".to_owned(), self.handle.target.name.as_str().into());
        event.insert("database".to_owned(), self.handle.target.database.as_str().into());
        Value::Object(event)
    }

    fn cancel_target(&mut self) {
        let (request, security) = self.cancel.clone();
        if request.is_empty() {
            return;
        }
        let Service { plan, credential, .. } = self.service.clone();
        let asked = self.cancelling.take();
        tokio::task::spawn_local(async move {
            dial::cancel(&plan, &credential, request, security).await;
            drop(asked);
        });
    }

    /// Copies the beginnings of messages out of large buffers, so that a session that waits does not hold one.
    fn shrink(&mut self) {
        for side in [&mut self.client, &mut self.target] {
            if side.input.capacity() >= pool::READ && side.input.len() <= SMALL {
                let small = if side.input.is_empty() { BytesMut::new() } else { BytesMut::from(&side.input[..]) };
                pool::give(std::mem::replace(&mut side.input, small));
            }
        }
        if self.outbox.target.is_empty() && self.outbox.target.capacity() > 0 {
            pool::give(std::mem::take(&mut self.outbox.target));
        }
    }

    /// Ends the session: the trail first, then the last words to both sides.
    async fn close(&mut self, end: End) {
        let busy = self.session.is_busy();
        self.record_end(&end);
        if busy && end.fault.is_some() {
            self.cancel_target();
        }
        // A request that is cut off must not be followed by anything the target could take for its rest.
        let to_target = match busy && end.fault.is_some() {
            true => Vec::new(),
            false => [&self.outbox.target[..], self.service.plan.entry.goodbye].concat(),
        };
        let to_client = std::mem::take(&mut self.outbox.client);
        add(&self.core.counters.released_bytes, to_client.len());
        let Self { client, target, .. } = self;
        tokio::join!(client.stream.part(&to_client, PARTING), target.stream.part(&to_target, PARTING));
    }

    /// Records the end, and tells Python. Once.
    fn record_end(&mut self, end: &End) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        self.session.finish(end);
        self.answer_asks();
        self.publish();
        self.core.sessions.remove(&self.handle);
        self.seat = None;
        if end.fault.as_ref().is_some_and(|fault| fault.kind == FaultKind::Unrecordable) {
            add(&self.core.counters.trail_failures, 1);
        }
        let (statements, rows, bytes) = self.session.totals();
        let reason = end.fault.as_ref().map_or("client closed", |fault| fault.message.as_str());
        self.core.tell(json!({
            "type": "closed",
            "session": self.handle.id.to_string(),
            "at": micros(),
            "reason": reason,
            "statements": statements,
            "rows": rows,
            "bytes": bytes,
        }));
    }
}

/// A session that is dropped in the middle (its thread ends, or a fault of ours unwinds) still ends in the trail.
impl Drop for Pump {
    fn drop(&mut self) {
        self.record_end(&End { fault: Some(shutdown("the gateway stopped")) });
        self.share.end(&self.core.memory);
    }
}

/// Reads into the side's input, on a buffer taken for it. Leaves nothing behind when nothing is there.
fn read(side: &mut Side, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    let taken = side.input.is_empty();
    if taken {
        side.input = pool::take();
    } else {
        side.input.reserve(pool::READ / 2);
    }
    let read = pin!(side.stream.read_buf(&mut side.input)).poll(cx);
    if taken && side.input.is_empty() {
        pool::give(std::mem::take(&mut side.input));
    }
    match ready!(read) {
        // Peers that close without TLS's own goodbye are common; messages have lengths, so nothing can be cut unseen.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(0)),
        outcome => Poll::Ready(outcome),
    }
}

/// Writes as much of `output` as the side takes; how much that was.
fn write(side: &mut Side, output: &mut BytesMut, cx: &mut Context<'_>) -> io::Result<usize> {
    let mut written = 0;
    while !output.is_empty() {
        match Pin::new(&mut side.stream).poll_write(cx, output) {
            Poll::Pending => break,
            Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(count)) => {
                output.advance(count);
                written += count;
            }
            Poll::Ready(Err(error)) => return Err(error),
        }
    }
    if written > 0 && output.is_empty() {
        pool::give(std::mem::take(output));
    }
    side.unflushed |= written > 0 && !matches!(side.stream, Stream::Plain(_));
    if side.unflushed && Pin::new(&mut side.stream).poll_flush(cx)?.is_ready() {
        side.unflushed = false;
    }
    Ok(written)
}

/// The client broke its connection.
fn gone(error: &io::Error) -> End {
    let message = format!("the client's connection broke: {error}");
    End { fault: Some(Fault::new(Whose::Client, FaultKind::Unreachable, message)) }
}

/// The client closed its connection without a goodbye.
fn left() -> End {
    let message = "the client closed the connection without a goodbye";
    End { fault: Some(Fault::new(Whose::Client, FaultKind::Unreachable, message)) }
}
