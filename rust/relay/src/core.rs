//! What all threads share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use gate::Observer;
use model::{Fault, FaultKind, SessionId, Whose};
use record::Trail;
use serde_json::{Map, Value};

use crate::events::Events;
use crate::hub::Hub;
use crate::memory::Memory;
use crate::metrics::{Counters, Standing, add};
use crate::paces::Paces;
use crate::sessions::Sessions;
use crate::settings::Loaded;
use crate::throttle::Throttle;

/// The gateway's shared state.
pub(crate) struct Core {
    /// The settings in force. A session takes the ones it begins with and is told of later ones.
    pub loaded: ArcSwap<Loaded>,
    pub trail: Trail,
    pub events: Arc<Events>,
    pub sessions: Arc<Sessions>,
    pub throttle: Throttle,
    pub hub: Hub,
    pub counters: Counters,
    pub paces: Paces,
    pub memory: Memory,
    /// No session begins any more.
    pub draining: AtomicBool,
    /// Somebody watches live: statements become events.
    pub watching: AtomicBool,
}

impl Core {
    pub fn new(loaded: Loaded, trail: Trail) -> Result<Self, Fault> {
        Ok(Self {
            loaded: ArcSwap::from_pointee(loaded),
            trail,
            events: Arc::new(Events::new()?),
            sessions: Arc::default(),
            throttle: Throttle::default(),
            hub: Hub::default(),
            counters: Counters::default(),
            paces: Paces::default(),
            memory: Memory::default(),
            draining: AtomicBool::new(false),
            watching: AtomicBool::new(false),
        })
    }

    /// All counters as Prometheus text.
    pub fn metrics(&self) -> String {
        let loaded = self.loaded.load();
        let (open, counts) = self.sessions.totals();
        self.counters.render(&Standing {
            open,
            generation: loaded.generation,
            connections_most: loaded.limits.connections,
            buffered: self.memory.used(),
            buffered_most: loaded.limits.memory_bytes,
            spooled: loaded.rules.spooled(),
            writable: self.trail.health().is_ok(),
            counts,
            trail: self.trail.counts(),
        })
    }

    /// Tells Python; an event it is too far behind to take is counted.
    pub fn tell(&self, event: Value) -> bool {
        let Value::Object(event) = event else { return false };
        let told = self.events.push(&event);
        if !told {
            add(&self.counters.events_lost, 1);
        }
        told
    }

    /// Refuses new sessions while the gateway drains.
    pub fn open(&self) -> Result<(), Fault> {
        if self.draining.load(Ordering::Relaxed) { Err(shutdown("the gateway is shutting down")) } else { Ok(()) }
    }

    /// Whoever is to be told of a session's statements, if anybody watches.
    pub fn observer(self: &Arc<Self>, session: SessionId, identity: &str) -> Option<Observer> {
        if !self.watching.load(Ordering::Relaxed) {
            return None;
        }
        let (core, session, identity) = (self.clone(), session.to_string(), identity.to_owned());
        Some(Observer::new(move |mut event: Map<String, Value>| {
            event.insert("type".to_owned(), "statement".into());
            event.insert("session".to_owned(), session.clone().into());
            event.insert("identity".to_owned(), identity.clone().into());
            if !core.events.push(&event) {
                add(&core.counters.events_lost, 1);
            }
        }))
    }
}

/// The fault of a session that ends because the gateway or an operator says so.
pub(crate) fn shutdown(message: impl Into<String>) -> Fault {
    Fault::new(Whose::Gateway, FaultKind::Shutdown, message).hint("connect again")
}

/// Microseconds since 1970.
pub(crate) fn micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// A fresh session id.
pub(crate) fn session_id() -> Result<SessionId, Fault> {
    let mut random = [0; 10];
    aws_lc_rs::rand::fill(&mut random)
        .map_err(|_| Fault::new(Whose::Gateway, FaultKind::Internal, "the gateway has no random bytes"))?;
    Ok(SessionId::new(micros() / 1_000, random))
}
