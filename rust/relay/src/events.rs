//! Events towards Python: a bounded queue and an eventfd, so that no thread of ours ever waits for the interpreter.

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use model::{Fault, FaultKind, Whose};
use rustix::event::{EventfdFlags, eventfd};
use serde_json::{Map, Value};
use tokio::sync::oneshot;

use crate::locked;

/// Events that may wait; a Python side that is this far behind is not answering anyway.
const MOST_EVENTS: usize = 16_384;
/// Bytes that may wait.
const MOST_BYTES: usize = 64 << 20;

/// The queue.
pub(crate) struct Events {
    queue: Mutex<Queue>,
    bell: OwnedFd,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Value>>>,
    next: AtomicU64,
}

#[derive(Default)]
struct Queue {
    events: VecDeque<Vec<u8>>,
    bytes: usize,
}

/// An event of which the answer is awaited. Dropping it gives up.
pub(crate) struct Asked {
    events: Arc<Events>,
    id: u64,
    answer: oneshot::Receiver<Value>,
}

impl Events {
    /// An empty queue.
    pub fn new() -> Result<Self, Fault> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(|error| {
            Fault::new(Whose::Gateway, FaultKind::Internal, format!("the kernel gives no eventfd: {error}"))
        })?;
        let (queue, waiting) = (Mutex::default(), Mutex::default());
        Ok(Self { queue, bell, waiting, next: AtomicU64::new(1) })
    }

    /// What becomes readable when events wait. Lives as long as the queue.
    pub fn fd(&self) -> RawFd {
        self.bell.as_raw_fd()
    }

    /// Adds an event. False when the queue is full: the caller must then refuse what it wanted to ask.
    pub fn push(&self, event: &Map<String, Value>) -> bool {
        let Ok(text) = serde_json::to_vec(event) else { return false };
        let mut queue = locked(&self.queue);
        if queue.events.len() >= MOST_EVENTS || queue.bytes.saturating_add(text.len()) > MOST_BYTES {
            return false;
        }
        queue.bytes += text.len();
        queue.events.push_back(text);
        if queue.events.len() == 1 {
            self.ring();
        }
        true
    }

    /// Makes the eventfd readable. It cannot fail but by overflow, and then it is readable.
    fn ring(&self) {
        let _ = rustix::io::write(self.bell.as_fd(), &1_u64.to_ne_bytes());
    }

    /// Takes up to `most` events, oldest first. The eventfd stays readable while more wait.
    pub fn take(&self, most: usize) -> Vec<Vec<u8>> {
        let mut queue = locked(&self.queue);
        let count = most.min(queue.events.len());
        let taken: Vec<Vec<u8>> = queue.events.drain(..count).collect();
        queue.bytes -= taken.iter().map(Vec::len).sum::<usize>();
        if queue.events.is_empty() {
            let _ = rustix::io::read(self.bell.as_fd(), &mut [0; 8]);
        } else {
            self.ring();
        }
        taken
    }

    /// Adds an event that wants an answer. `None` when the queue is full.
    pub fn ask(self: &Arc<Self>, mut event: Map<String, Value>) -> Option<Asked> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (answered, answer) = oneshot::channel();
        locked(&self.waiting).insert(id, answered);
        event.insert("id".to_owned(), id.into());
        // Made first, so that a full queue takes the waiting entry away again.
        let asked = Asked { events: self.clone(), id, answer };
        self.push(&event).then_some(asked)
    }

    /// Answers an event. False when nobody waits for it any more.
    pub fn answer(&self, id: u64, answer: Value) -> bool {
        locked(&self.waiting).remove(&id).is_some_and(|waiting| waiting.send(answer).is_ok())
    }
}

impl Asked {
    /// The answer; `None` if the gateway ends first.
    pub async fn answer(&mut self) -> Option<Value> {
        (&mut self.answer).await.ok()
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        locked(&self.events.waiting).remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn readable(events: &Events) -> bool {
        let mut fds = [rustix::event::PollFd::new(&events.bell, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut fds, Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1
    }

    fn event(number: u64) -> Map<String, Value> {
        Map::from_iter([("type".to_owned(), "test".into()), ("number".to_owned(), number.into())])
    }

    #[test]
    fn the_bell_rings_while_events_wait() {
        let events = Events::new().unwrap();
        assert!(!readable(&events));
        (0..3).for_each(|number| assert!(events.push(&event(number))));
        assert!(readable(&events));
        assert_eq!(events.take(2).len(), 2);
        assert!(readable(&events), "one is left");
        assert_eq!(events.take(9).len(), 1);
        assert!(!readable(&events) && events.take(9).is_empty());
        // A reader that empties the counter itself is woken for what it left behind.
        (0..3).for_each(|number| assert!(events.push(&event(number))));
        let _ = rustix::io::read(events.bell.as_fd(), &mut [0; 8]);
        assert_eq!(events.take(1).len(), 1);
        assert!(readable(&events));
    }

    #[test]
    fn a_full_queue_refuses_and_forgets_the_question() {
        let events = Arc::new(Events::new().unwrap());
        while events.push(&event(0)) {}
        assert_eq!(locked(&events.queue).events.len(), MOST_EVENTS);
        assert!(events.ask(event(1)).is_none());
        assert!(locked(&events.waiting).is_empty());
    }

    #[test]
    fn an_answer_reaches_whoever_still_waits() {
        let events = Arc::new(Events::new().unwrap());
        let asked = events.ask(event(1)).unwrap();
        let id = asked.id;
        assert!(!events.answer(id + 1, Value::Null));
        assert!(events.answer(id, Value::Null));
        assert!(!events.answer(id, Value::Null), "answered once");
        let gone = events.ask(event(2)).unwrap();
        let id = gone.id;
        drop(gone);
        assert!(!events.answer(id, Value::Null));
    }
}
