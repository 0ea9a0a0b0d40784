//! Record, then release: what is on its way to the client, and what of it the trail holds already.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use ahash::AHashMap;
use bytes::BytesMut;
use model::Fault;
use policy::Permit;
use protocols::{Outcome, Understood};
use record::evidence::Answered;
use record::{Direction, Position, SessionTrail, Trail};

/// An exchange under way, as the trail will tell of it.
#[derive(Debug, Default)]
pub(crate) struct Live {
    /// Microseconds since the session began.
    pub since: u64,
    /// The result waited for a reviewer.
    pub held: bool,
    /// The gateway only observes.
    pub observed: bool,
    /// What a rule about its result was noted to say, where the gateway only observes.
    pub noted: bool,
    /// The leave it goes on with.
    pub permit: Option<Rc<Permit>>,
    /// What was asked, where rules about results may want to know.
    pub statement: Option<Arc<Understood>>,
}

/// Bytes appended by the dialogue, in the order in which they will be released.
#[derive(Debug, Default)]
pub(crate) struct Staged {
    /// The bytes.
    pub bytes: BytesMut,
    /// How far they are attributed.
    mark: usize,
    /// Attributed stretches: exchange and length.
    stretches: Vec<(u64, usize)>,
    /// Exchanges that ended within the bytes.
    ended: Vec<(u64, Outcome)>,
}

impl Staged {
    /// Bytes that nobody was named for yet.
    pub fn fresh(&self) -> usize {
        self.bytes.len() - self.mark
    }

    /// Attributes what was appended since the last call.
    pub fn attribute(&mut self, exchange: u64) {
        let length = self.fresh();
        if length == 0 {
            return;
        }
        self.mark = self.bytes.len();
        match self.stretches.last_mut() {
            // What belongs to no exchange (ReadyForQuery and its like) goes with the one before it.
            Some((last, total)) if *last == exchange || exchange == 0 => *total += length,
            _ => self.stretches.push((exchange, length)),
        }
    }

    /// An exchange ended with the bytes appended so far.
    pub fn end(&mut self, exchange: u64, outcome: Outcome) {
        self.ended.push((exchange, outcome));
    }

    /// Takes the bytes nobody was named for, for a dam.
    pub fn divert(&mut self) -> BytesMut {
        self.bytes.split_off(self.mark)
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.ended.is_empty()
    }
}

/// Bytes that are recorded but, under durability `disk`, not yet safe.
#[derive(Debug, Default)]
struct Waiting {
    bytes: BytesMut,
    queue: VecDeque<(Position, usize)>,
}

/// Totals over the whole session.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Totals {
    pub statements: u64,
    pub rows: u64,
    pub bytes: u64,
    pub masked: u64,
    pub would_mask: u64,
}

/// The last step of the path.
#[derive(Debug)]
pub(crate) struct Release {
    pub trail: SessionTrail,
    pub live: AHashMap<u64, Live>,
    pub totals: Totals,
    waiting: Waiting,
    began: std::time::Instant,
}

impl Release {
    pub fn new(trail: SessionTrail) -> Self {
        Self {
            trail,
            live: AHashMap::new(),
            totals: Totals::default(),
            waiting: Waiting::default(),
            began: std::time::Instant::now(),
        }
    }

    /// Microseconds since the session began.
    pub fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Records everything staged, then appends it to what may be written to the client.
    pub fn commit(&mut self, staged: &mut Staged, client: &mut BytesMut) -> Result<(), Fault> {
        if staged.is_empty() {
            return Ok(());
        }
        staged.attribute(0);
        let now = self.now();
        let mut batch = self.trail.batch();
        let mut at = 0;
        let mut ended = staged.ended.drain(..).peekable();
        for (exchange, length) in staged.stretches.drain(..) {
            batch.payload(exchange, Direction::ToClient, &staged.bytes[at..at + length])?;
            at += length;
            // Each answer is summed up as soon as its last bytes are there, so that few are open at once.
            while let Some((_, outcome)) = ended.next_if(|(done, _)| *done == exchange) {
                answer(&mut batch, &mut self.live, &mut self.totals, now, exchange, &outcome)?;
            }
        }
        for (exchange, outcome) in ended {
            answer(&mut batch, &mut self.live, &mut self.totals, now, exchange, &outcome)?;
        }
        let position = batch.commit()?;
        self.totals.bytes += staged.bytes.len() as u64;
        staged.mark = 0;
        self.hand_over(position, &mut staged.bytes, client);
        Ok(())
    }

    fn hand_over(&mut self, position: Position, bytes: &mut BytesMut, client: &mut BytesMut) {
        if self.waiting.queue.is_empty() && self.trail.trail().durable(position) {
            client.unsplit(std::mem::take(bytes));
            return;
        }
        self.waiting.queue.push_back((position, bytes.len()));
        self.waiting.bytes.unsplit(std::mem::take(bytes));
    }

    /// Appends what has become safe on disk to what may be written to the client.
    pub fn poll(&mut self, waker: &Waker, client: &mut BytesMut) -> Result<(), Fault> {
        while let Some((position, length)) = self.waiting.queue.front().copied() {
            let trail: &Trail = self.trail.trail();
            match trail.poll_durable(position, waker) {
                Poll::Ready(Ok(())) => {
                    client.unsplit(self.waiting.bytes.split_to(length));
                    self.waiting.queue.pop_front();
                }
                Poll::Ready(Err(fault)) => return Err(fault),
                Poll::Pending => break,
            }
        }
        Ok(())
    }

    /// The last words of a session wait their turn behind bytes that are not yet safe on disk.
    pub fn farewell(&mut self, bytes: BytesMut, client: &mut BytesMut) {
        // Even a farewell is recorded before it is released; without a trail the client still learns why.
        let _ = self.trail.payload(0, &bytes);
        if self.waiting.queue.is_empty() {
            client.unsplit(bytes);
        }
    }

    /// Bytes recorded but not yet safe on disk.
    pub fn waiting(&self) -> usize {
        self.waiting.bytes.len()
    }
}

/// Adds the record of an answer that is complete.
fn answer(
    batch: &mut record::Batch<'_>,
    live: &mut AHashMap<u64, Live>,
    totals: &mut Totals,
    now: u64,
    exchange: u64,
    outcome: &Outcome,
) -> Result<(), Fault> {
    let (live, digest) =
        if outcome.suspended { (None, None) } else { (live.remove(&exchange), batch.digest(exchange)) };
    let answered = answered(outcome, live.as_ref(), digest, now);
    totals.rows += answered.rows;
    totals.masked += answered.masked;
    totals.would_mask += answered.would_mask;
    batch.evidence(exchange, &answered).map(drop)
}

fn answered(outcome: &Outcome, live: Option<&Live>, digest: Option<record::Digest>, now: u64) -> Answered {
    let observed = live.is_some_and(|live| live.observed);
    let delivered = digest.is_some();
    let (hash, bytes) = digest.map_or((None, 0), |digest| (Some(digest.hash.into()), digest.bytes));
    Answered {
        tag: outcome.tag.as_deref().map(Into::into),
        rows: outcome.tally.rows,
        bytes,
        masked: if observed { 0 } else { outcome.tally.masked },
        would_mask: if observed { outcome.tally.masked } else { 0 },
        hash,
        error: outcome.error.as_deref().map(Into::into),
        duration: live.map_or(0, |live| now.saturating_sub(live.since)),
        delivered,
    }
}
