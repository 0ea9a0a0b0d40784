//! The gateway as a whole: opened from a settings document, started, reloaded, asked, drained and stopped.

use std::os::fd::RawFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use gate::{Decision, Event};
use model::{Fault, FaultKind, Principal, Whose};
use protocols::Protocol;
use record::evidence::Operator;
use record::{Recovery, Trail, TrailSettings};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use crate::core::{Core, shutdown};
use crate::listen::{self, Stage};
use crate::mailbox::Letter;
use crate::settings::{Loaded, mistake};
use crate::{locked, tls};

/// How long the last sessions may take to part when the gateway stops.
const STOPPING: Duration = Duration::from_secs(3);

/// The trail's part of the settings.
#[derive(Debug, Deserialize)]
struct Document {
    trail: TrailSettings,
}

/// A reviewer's decision, as Python sends it.
#[derive(Debug, Deserialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
enum Verdict {
    Approved {
        by: String,
    },
    Denied {
        #[serde(default)]
        by: String,
        #[serde(default)]
        reason: String,
    },
    Expired {
        #[serde(default)]
        reason: String,
    },
}

/// A gateway.
pub struct Gateway {
    core: Arc<Core>,
    stage: watch::Sender<Stage>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Gateway {
    /// Checks `settings` (JSON), opens the trail and recovers what a crash left in it. Nothing listens yet.
    ///
    /// # Errors
    /// The settings are wrong, or the trail cannot be written.
    pub fn open(settings: &[u8]) -> Result<Self, Fault> {
        tls::install();
        let loaded = Loaded::new(settings)?;
        let document: Document =
            serde_json::from_slice(settings).map_err(|error| mistake(format!("trail: {error}")))?;
        let (trail, recovery) = Trail::open(&document.trail)?;
        let core = Arc::new(Core::new(loaded, trail)?);
        tell_recovery(&core, &recovery);
        Ok(Self { core, stage: watch::Sender::new(Stage::Serving), threads: Mutex::default() })
    }

    /// Binds the listeners and starts the threads: one for each processor, and one that accepts. Returns JSON with each
    /// listener's address.
    ///
    /// # Errors
    /// An address cannot be listened on, or the gateway was started before.
    pub fn start(&self) -> Result<Value, Fault> {
        let mut threads = locked(&self.threads);
        if !threads.is_empty() {
            return Err(mistake("the gateway was started already"));
        }
        let loaded = self.core.loaded.load();
        let (mut listeners, mut addresses) = (Vec::new(), Map::new());
        for (name, part) in &loaded.listeners {
            let entry = protocols::protocol(name).map(Protocol::entry);
            let entry = entry.ok_or_else(|| mistake(format!("listeners.{name}: no protocol is called so")))?;
            let listener = listen::bind(name, &part.bind)?;
            let address = listener.local_addr().map_err(|error| mistake(format!("listeners.{name}: {error}")))?;
            addresses.insert(name.clone(), address.to_string().into());
            listeners.push((entry, listener));
        }
        let count = loaded.limits.workers();
        let mut workers = Vec::with_capacity(count);
        for number in 0..count {
            let (sender, thread) = listen::worker(number, self.core.clone(), self.stage.subscribe())?;
            workers.push(sender);
            threads.push(thread);
        }
        threads.push(listen::acceptor(self.core.clone(), listeners, workers, self.stage.subscribe())?);
        Ok(json!({ "listeners": addresses }))
    }

    /// Replaces rules, targets, classes and identities at once, and tells open sessions.
    ///
    /// # Errors
    /// The settings are wrong, or change what only a restart can change; nothing has changed then.
    pub fn load(&self, settings: &[u8]) -> Result<(), Fault> {
        let loaded = Loaded::new(settings)?;
        let before = self.core.loaded.load();
        let bound = |loaded: &Loaded| -> Vec<(String, String)> {
            loaded.listeners.iter().map(|(name, part)| (name.clone(), part.bind.clone())).collect()
        };
        if bound(&before) != bound(&loaded) {
            return Err(mistake("listeners cannot move while the gateway runs").hint("restart it to change bind"));
        }
        if before.limits.threads != loaded.limits.threads {
            return Err(mistake("limits.threads cannot change while the gateway runs").hint("restart it"));
        }
        let rules = loaded.rules.clone();
        rules.share_spool(&before.rules);
        self.core.loaded.store(Arc::new(loaded));
        self.core.hub.clear();
        self.core.paces.tidy();
        let loaded = self.core.loaded.load();
        for handle in self.core.sessions.all() {
            let event = match loaded.target(&handle.target.name) {
                Some(_) => Event::Rules { rules: rules.clone(), principal: None },
                None => Event::End(shutdown("the target was taken out of the gateway's manifest")),
            };
            handle.mailbox.send(Letter::Gate(event));
        }
        Ok(())
    }

    /// What becomes readable when events wait. Valid as long as the gateway.
    #[must_use]
    pub fn event_fd(&self) -> RawFd {
        self.core.events.fd()
    }

    /// Takes up to `most` events, each a JSON object, oldest first.
    #[must_use]
    pub fn take_events(&self, most: usize) -> Vec<Vec<u8>> {
        self.core.events.take(most)
    }

    /// Answers an event by its id. False when nobody waits for the answer any more.
    ///
    /// # Errors
    /// The answer is not JSON; the event stays unanswered.
    pub fn answer(&self, id: u64, answer: &[u8]) -> Result<bool, Fault> {
        let answer =
            serde_json::from_slice(answer).map_err(|error| mistake(format!("an answer is not JSON: {error}")))?;
        Ok(self.core.events.answer(id, answer))
    }

    /// Ends a hold: `{"verdict": "approved" | "denied" | "expired", "by": …, "reason": …}`. False when the session is
    /// gone.
    ///
    /// # Errors
    /// The decision cannot be read; nothing is decided.
    pub fn decide(&self, session: &str, hold: u64, decision: &[u8]) -> Result<bool, Fault> {
        let verdict: Verdict =
            serde_json::from_slice(decision).map_err(|error| mistake(format!("a decision cannot be read: {error}")))?;
        let decision = match verdict {
            Verdict::Approved { by } => Decision::Approved { by },
            Verdict::Denied { by, reason } => Decision::Denied { by, reason },
            Verdict::Expired { reason } => Decision::Expired { reason },
        };
        Ok(self.core.sessions.send(session, Event::Decided { hold, decision }))
    }

    /// Tells a hold the name under which reviewers know it. False when the session is gone.
    #[must_use]
    pub fn register(&self, session: &str, hold: u64, approval: &str) -> bool {
        self.core.sessions.send(session, Event::Registered { hold, approval: approval.to_owned() })
    }

    /// Ends a session. False when it is gone.
    #[must_use]
    pub fn kill(&self, session: &str, reason: &str) -> bool {
        self.core.sessions.send(session, Event::End(shutdown(format!("the session was ended: {reason}"))))
    }

    /// Gives an open session its principal anew (its groups changed). False when it is gone.
    ///
    /// # Errors
    /// The principal cannot be read.
    pub fn regroup(&self, session: &str, principal: &[u8]) -> Result<bool, Fault> {
        let principal: Principal = serde_json::from_slice(principal)
            .map_err(|error| mistake(format!("a principal cannot be read: {error}")))?;
        let Some(handle) = self.core.sessions.find(session) else { return Ok(false) };
        if locked(&handle.principal).identity != principal.identity {
            return Err(mistake("a session's identity cannot change"));
        }
        locked(&handle.principal).clone_from(&principal);
        let rules = self.core.loaded.load().rules.clone();
        Ok(handle.mailbox.send(Letter::Gate(Event::Rules { rules, principal: Some(principal) })))
    }

    /// The open sessions, as a JSON list.
    #[must_use]
    pub fn sessions(&self) -> Value {
        let mut sessions = self.core.sessions.all();
        sessions.sort_by_key(|handle| handle.id);
        sessions.iter().map(|handle| handle.describe()).collect()
    }

    /// All counters as Prometheus text.
    #[must_use]
    pub fn metrics(&self) -> String {
        self.core.metrics()
    }

    /// Turns `statement` events for sessions that begin from now on, on or off.
    pub fn watch(&self, on: bool) {
        self.core.watching.store(on, Ordering::Relaxed);
    }

    /// Records what an operator or reviewer did.
    ///
    /// # Errors
    /// The detail is not JSON, or the trail cannot be written.
    pub fn record(&self, kind: &str, detail: &[u8]) -> Result<(), Fault> {
        let detail =
            serde_json::from_slice(detail).map_err(|error| mistake(format!("a detail is not JSON: {error}")))?;
        let position = self.core.trail.operator(&Operator { action: kind.to_owned(), detail })?;
        self.core.trail.wait_durable(position)
    }

    /// Accepts nobody any more and ends sessions when they are idle, at the latest after `patience`. Returns at once.
    pub fn drain(&self, patience: Duration) {
        self.core.draining.store(true, Ordering::Relaxed);
        self.stage.send_if_modified(|stage| std::mem::replace(stage, (*stage).max(Stage::Draining)) < Stage::Draining);
        let deadline = Instant::now() + patience.min(Duration::from_secs(24 * 3600));
        for handle in self.core.sessions.all() {
            handle.mailbox.send(Letter::Drain(deadline));
        }
    }

    /// Ends everything: the sessions, the threads, and the trail, which is sealed. Returns when all is done.
    ///
    /// # Errors
    /// The trail cannot be sealed; it will be when it is next opened.
    pub fn stop(&self) -> Result<(), Fault> {
        self.drain(Duration::ZERO);
        let deadline = Instant::now() + STOPPING;
        while self.core.counters.connections.load(Ordering::Acquire) > 0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.stage.send_replace(Stage::Stopping);
        let threads = std::mem::take(&mut *locked(&self.threads));
        for thread in threads {
            if thread.join().is_err() {
                return Err(Fault::new(
                    Whose::Gateway,
                    FaultKind::Internal,
                    "a thread ended by a fault of the gateway",
                ));
            }
        }
        self.core.trail.close()
    }
}

/// A gateway that is dropped without being stopped takes its threads with it.
impl Drop for Gateway {
    fn drop(&mut self) {
        self.stage.send_replace(Stage::Stopping);
        for thread in std::mem::take(&mut *locked(&self.threads)) {
            // A thread that ended by a fault has said so itself.
            let _ = thread.join();
        }
    }
}

/// Tells Python what a crash left in the trail.
fn tell_recovery(core: &Core, recovery: &Recovery) {
    if recovery == &Recovery::default() {
        return;
    }
    let torn = recovery.torn.iter();
    core.tell(json!({
        "type": "alert",
        "what": "trail_recovered",
        "detail": {
            "lost": recovery.lost.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "sealed": recovery.sealed.len(),
            "torn": torn.map(|torn| json!({"segment": torn.segment.file(), "bytes": torn.bytes})).collect::<Vec<_>>(),
        },
    }));
}
