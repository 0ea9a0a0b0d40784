//! The sessions open now: found by id, by cancel key, and counted by identity.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex};

use gate::{Counts, Event};
use model::{Fault, FaultKind, Principal, SessionId, Target, Whose};
use protocols::greeting::{CancelKey, SessionKey};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::locked;
use crate::mailbox::{Letter, Mailbox};

/// What everybody may know of an open session.
pub(crate) struct Handle {
    pub id: SessionId,
    pub key: SessionKey,
    /// How much of the key's secret the client was given.
    pub key_bytes: usize,
    pub principal: Mutex<Principal>,
    pub target: Target,
    pub client: String,
    pub application: String,
    /// When it opened, in microseconds since 1970.
    pub since: u64,
    pub mailbox: Arc<Mailbox>,
    /// What the session did, as it last told.
    pub counts: Mutex<Counts>,
}

/// All open sessions.
#[derive(Default)]
pub(crate) struct Sessions {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    by_id: HashMap<SessionId, Arc<Handle>>,
    /// Several targets may give sessions the same number.
    by_number: HashMap<u32, Vec<Arc<Handle>>>,
    seats: HashMap<String, usize>,
    /// What ended sessions did.
    ended: Counts,
}

/// One identity's right to one more session, given back when dropped.
pub(crate) struct Seat {
    sessions: Arc<Sessions>,
    identity: String,
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Entry::Occupied(mut taken) = locked(&self.sessions.inner).seats.entry(std::mem::take(&mut self.identity))
        {
            *taken.get_mut() -= 1;
            if *taken.get() == 0 {
                taken.remove();
            }
        }
    }
}

impl Sessions {
    /// Takes a seat for `identity`, of which there are `most`.
    pub fn seat(self: &Arc<Self>, identity: &str, most: usize) -> Result<Seat, Fault> {
        let mut inner = locked(&self.inner);
        let taken = inner.seats.entry(identity.to_owned()).or_default();
        if *taken >= most {
            let message = format!("identity \"{identity}\" has all {most} sessions it may have at once");
            return Err(Fault::new(Whose::Client, FaultKind::TooMany, message)
                .hint("close sessions that are no longer needed, or raise limits.connections_per_identity"));
        }
        *taken += 1;
        Ok(Seat { sessions: self.clone(), identity: identity.to_owned() })
    }

    /// Adds a session; it is taken away by [`Sessions::remove`].
    pub fn insert(&self, handle: Arc<Handle>) {
        let mut inner = locked(&self.inner);
        inner.by_number.entry(handle.key.id).or_default().push(handle.clone());
        inner.by_id.insert(handle.id, handle);
    }

    /// Takes a session away.
    pub fn remove(&self, handle: &Handle) {
        let mut inner = locked(&self.inner);
        if inner.by_id.remove(&handle.id).is_some() {
            inner.ended += *locked(&handle.counts);
        }
        if let Entry::Occupied(mut named) = inner.by_number.entry(handle.key.id) {
            named.get_mut().retain(|other| other.id != handle.id);
            if named.get().is_empty() {
                named.remove();
            }
        }
        handle.mailbox.close();
    }

    /// Sends a session an event. False when it is gone.
    pub fn send(&self, id: &str, event: Event) -> bool {
        self.find(id).is_some_and(|handle| handle.mailbox.send(Letter::Gate(event)))
    }

    /// The session with this id.
    pub fn find(&self, id: &str) -> Option<Arc<Handle>> {
        locked(&self.inner).by_id.get(&id.parse().ok()?).cloned()
    }

    /// Passes a cancel request on, if its key is some session's. What is returned resolves once the request has had its
    /// effect at the target.
    pub fn cancel(&self, key: &CancelKey) -> Option<oneshot::Receiver<()>> {
        let inner = locked(&self.inner);
        let is_theirs = |handle: &&Arc<Handle>| {
            let ours = &handle.key.secret[..handle.key_bytes];
            aws_lc_rs::constant_time::verify_slices_are_equal(ours, &key.secret).is_ok()
        };
        let handle = inner.by_number.get(&key.id)?.iter().find(is_theirs)?;
        let (done, acted) = oneshot::channel();
        handle.mailbox.send(Letter::Cancel(done)).then_some(acted)
    }

    /// All open sessions, in no order.
    pub fn all(&self) -> Vec<Arc<Handle>> {
        locked(&self.inner).by_id.values().cloned().collect()
    }

    /// How many are open, and what all sessions did, ended ones included.
    pub fn totals(&self) -> (usize, Counts) {
        let inner = locked(&self.inner);
        let mut counts = inner.ended;
        for handle in inner.by_id.values() {
            counts += *locked(&handle.counts);
        }
        (inner.by_id.len(), counts)
    }
}

/// Makes a key for a session that its target calls `number`; 0 if it calls it nothing.
pub(crate) fn key(number: u32) -> Result<SessionKey, Fault> {
    let no_random = |_| Fault::new(Whose::Gateway, FaultKind::Internal, "the gateway has no random bytes");
    let (mut id, mut secret) = ([0; 4], [0; 32]);
    aws_lc_rs::rand::fill(&mut id).map_err(no_random)?;
    aws_lc_rs::rand::fill(&mut secret).map_err(no_random)?;
    // Clients read the id as a signed number of a process: positive is what they know.
    let random = (u32::from_be_bytes(id) >> 1).max(1);
    Ok(SessionKey { id: if number == 0 { random } else { number }, secret })
}

impl Handle {
    /// The session as operators see it.
    pub fn describe(&self) -> Value {
        let principal = locked(&self.principal);
        json!({
            "session": self.id.to_string(),
            "identity": principal.identity,
            "groups": principal.groups,
            "target": self.target.name,
            "database": self.target.database,
            "client": self.client,
            "application": self.application,
            "at": self.since,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use bytes::Bytes;

    use super::*;

    fn handle(sessions: &Sessions, number: u64, process: u32, key_bytes: usize) -> Arc<Handle> {
        let handle = Arc::new(Handle {
            id: SessionId::new(number, [0; 10]),
            key: key(process).unwrap(),
            key_bytes,
            principal: Mutex::new(Principal {
                identity: "a".into(),
                issuer: None,
                subject: None,
                groups: Vec::new(),
                token: None,
            }),
            target: Target { name: "t".into(), protocol: "p".into(), database: "d".into(), labels: Default::default() },
            client: String::new(),
            application: String::new(),
            since: number,
            mailbox: Arc::default(),
            counts: Mutex::default(),
        });
        sessions.insert(handle.clone());
        handle
    }

    #[test]
    fn only_the_whole_key_of_a_session_cancels_it_and_it_alone() {
        // Backends of two servers may have the same number, and one server may give none.
        for process in [4711, 0] {
            let sessions = Sessions::default();
            let (short, long) = (handle(&sessions, 1, process, 4), handle(&sessions, 2, process, 32));
            let cancelled = |handle: &Handle| matches!(handle.mailbox.take(), Some(Letter::Cancel(_)));
            let cancel = |id, secret: &[u8]| {
                sessions.cancel(&CancelKey { id, secret: Bytes::copy_from_slice(secret) }).is_some()
            };
            assert!(!cancel(short.key.id, &long.key.secret[..4]));
            assert!(!cancel(short.key.id, &short.key.secret));
            assert!(!cancel(long.key.id, &long.key.secret[..4]));
            assert!(!cancel(long.key.id, &[]));
            assert!(!cancelled(&short) && !cancelled(&long));
            assert!(cancel(long.key.id, &long.key.secret));
            assert!(!cancelled(&short) && cancelled(&long));
            assert!(cancel(short.key.id, &short.key.secret[..4]));
            assert!(cancelled(&short));
            sessions.remove(&short);
            assert!(!cancel(short.key.id, &short.key.secret[..4]));
            assert!(!cancelled(&short) && sessions.totals().0 == 1);
            sessions.remove(&long);
            assert!(locked(&sessions.inner).by_number.is_empty());
        }
    }

    #[test]
    fn who_cancels_is_told_when_it_is_done_or_cannot_be() {
        let sessions = Sessions::default();
        let handle = handle(&sessions, 1, 4711, 4);
        let cancel =
            || sessions.cancel(&CancelKey { id: 4711, secret: Bytes::copy_from_slice(&handle.key.secret[..4]) });
        let mut acted = cancel().unwrap();
        let Some(Letter::Cancel(done)) = handle.mailbox.take() else { panic!("no letter") };
        assert!(matches!(acted.try_recv(), Err(oneshot::error::TryRecvError::Empty)));
        drop(done);
        assert!(matches!(acted.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
        let mut acted = cancel().unwrap();
        handle.mailbox.close();
        assert!(matches!(acted.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
        assert!(cancel().is_none());
    }

    #[test]
    fn what_a_session_did_is_counted_once_whether_it_is_open_or_not() {
        let sessions = Sessions::default();
        let (one, other) = (handle(&sessions, 1, 4711, 4), handle(&sessions, 2, 4712, 4));
        *locked(&one.counts) = Counts { rows: 3, ..Counts::default() };
        *locked(&other.counts) = Counts { rows: 4, verdicts: [1, 0, 0, 0, 2], ..Counts::default() };
        let all = sessions.totals().1;
        assert_eq!((all.rows, all.verdicts), (7, [1, 0, 0, 0, 2]));
        sessions.remove(&other);
        sessions.remove(&other);
        assert_eq!(sessions.totals(), (1, all));
    }

    #[test]
    fn seats_are_counted_and_given_back() {
        let sessions = Arc::new(Sessions::default());
        let first = sessions.seat("a", 2).unwrap();
        let _second = sessions.seat("a", 2).unwrap();
        assert_eq!(sessions.seat("a", 2).err().unwrap().kind, FaultKind::TooMany);
        assert!(sessions.seat("b", 2).is_ok());
        drop(first);
        assert!(sessions.seat("a", 2).is_ok());
        assert_eq!(locked(&sessions.inner).seats.len(), 1, "names of no session are not kept");
    }
}
