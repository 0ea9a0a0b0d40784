//! Everything of the settings that verdicts and masks rest on, compiled, replaced as one.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use mask::{Classes, Unclassified};
use model::{Fault, FaultKind, Principal, Target, Whose};
use policy::{Admission, Policy, Vocabulary};
use protocols::{PROTOCOLS, View};
use record::{Results, Spool, SpoolSpace};
use serde::Deserialize;
use serde_json::{Value, json};
use statement::{Limits, Parser};

/// A spool keeps so much of a held result in memory before it writes to its file, in bytes.
const SPOOL_MEMORY: usize = 1 << 20;

#[derive(Debug, Deserialize)]
struct Settings {
    #[serde(default)]
    hash: String,
    #[serde(default)]
    targets: Vec<TargetSettings>,
    #[serde(default)]
    limits: LimitSettings,
    spool: Option<SpoolSettings>,
}

#[derive(Debug, Deserialize)]
struct TargetSettings {
    name: String,
    #[serde(default)]
    record: RecordSettings,
}

#[derive(Debug, Default, Deserialize)]
struct RecordSettings {
    #[serde(default)]
    results: Results,
}

#[derive(Debug, Deserialize)]
struct LimitSettings {
    #[serde(default = "message_bytes")]
    message_bytes: usize,
    #[serde(default = "statement_bytes")]
    statement_bytes: usize,
    #[serde(default)]
    statements_per_second: Option<u32>,
}

const fn message_bytes() -> usize {
    16 << 20
}

const fn statement_bytes() -> usize {
    1 << 20
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self { message_bytes: message_bytes(), statement_bytes: statement_bytes(), statements_per_second: None }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct SpoolSettings {
    directory: PathBuf,
    bytes: u64,
}

/// What sessions see, by target, classes revealed, and whether it is only observed.
type Views = HashMap<(String, Vec<String>, bool), Arc<View>>;

/// All rules and classes in force, compiled.
#[derive(Debug)]
pub struct Rules {
    generation: u64,
    hash: Arc<str>,
    policy: Policy,
    classes: Arc<Classes>,
    unclassified: HashMap<String, Arc<Unclassified>>,
    results: HashMap<String, Results>,
    limits: LimitSettings,
    parser: Arc<Parser>,
    spool: SpoolSettings,
    space: OnceLock<SpoolSpace>,
    views: Mutex<Views>,
}

impl Rules {
    /// Compiles the settings' JSON.
    ///
    /// # Errors
    /// A JSON list of every mistake, each with `where`, `message` and `hint`.
    pub fn load(settings: &[u8]) -> Result<Self, Value> {
        static GENERATIONS: AtomicU64 = AtomicU64::new(1);
        let mistakes = check(settings);
        if mistakes.iter().any(|mistake| mistake["level"] != "warning") {
            return Err(Value::Array(mistakes));
        }
        let unread = |error: serde_json::Error| json!([{"where": [], "message": error.to_string(), "hint": ""}]);
        let value: Value = serde_json::from_slice(settings).map_err(unread)?;
        let parsed: Settings = serde_json::from_slice(settings).map_err(unread)?;
        let policy = Policy::load(settings, &vocabularies()).map_err(|mistakes| json!(mistakes))?;
        let classes = Classes::load(&value).map_err(|problems| json!(problems))?;
        let limits = Limits { bytes: parsed.limits.statement_bytes, ..Limits::default() };
        Ok(Self {
            generation: GENERATIONS.fetch_add(1, Ordering::Relaxed),
            hash: parsed.hash.as_str().into(),
            policy,
            classes: Arc::new(classes),
            unclassified: unclassified(&value),
            results: parsed.targets.iter().map(|target| (target.name.clone(), target.record.results)).collect(),
            limits: parsed.limits,
            parser: Arc::new(Parser::new(limits)),
            space: OnceLock::new(),
            spool: parsed.spool.unwrap_or_else(|| SpoolSettings { directory: std::env::temp_dir(), bytes: 1 << 30 }),
            views: Mutex::default(),
        })
    }

    /// The manifest's hash, in hex.
    #[must_use]
    pub fn hash(&self) -> Arc<str> {
        Arc::clone(&self.hash)
    }

    /// Counts loads within the process.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether the target's catalog matters: a class names columns of it.
    #[must_use]
    pub fn needs_catalog(&self, target: &str) -> bool {
        self.classes.concern(target)
    }

    /// What the rules mean for a session.
    ///
    /// # Errors
    /// No rule allows it anything.
    pub fn admit(&self, principal: &Principal, target: &Target) -> Result<Admission, Fault> {
        self.policy.admit(principal, target)
    }

    /// What every rule says of such a session, also where none admits it.
    #[must_use]
    pub fn explain(&self, principal: &Principal, target: &Target) -> Value {
        self.policy.explain(principal, target)
    }

    /// What a session sees; shared with those that see the same.
    ///
    /// # Errors
    /// A detector does not compile on this machine.
    pub fn view(&self, target: &Target, admission: &Admission) -> Result<Arc<View>, Fault> {
        let reveal: Vec<String> = admission.reveal().iter().cloned().collect();
        let key = (target.name.clone(), reveal, admission.observe());
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(view) = views.get(&key) {
            return Ok(Arc::clone(view));
        }
        let reveals = self.classes.reveal(key.1.iter().map(String::as_str));
        let detectors = self.classes.detectors(&reveals).map_err(|problem| {
            Fault::new(Whose::Gateway, FaultKind::Internal, format!("a detector cannot be used: {}", problem.message))
        })?;
        let view = Arc::new(View {
            generation: self.generation,
            target: target.name.as_str().into(),
            classes: Arc::clone(&self.classes),
            reveals,
            unclassified: self.unclassified.get(&target.name).cloned().unwrap_or_default(),
            detectors,
            observe: admission.observe(),
            parser: Arc::clone(&self.parser),
            message_bytes: self.limits.message_bytes,
            statement_bytes: self.limits.statement_bytes,
        });
        views.insert(key, Arc::clone(&view));
        Ok(view)
    }

    /// How much of what is delivered the trail keeps for a target.
    #[must_use]
    pub fn results(&self, target: &str) -> Results {
        self.results.get(target).copied().unwrap_or_default()
    }

    /// How many statements each identity may run a second; none for any number.
    #[must_use]
    pub const fn statements_per_second(&self) -> Option<u32> {
        self.limits.statements_per_second
    }

    /// Goes on with the room that results held under the rules `before` took their part of, unless it was moved.
    pub fn share_spool(&self, before: &Self) {
        if self.spool == before.spool
            && let Some(space) = before.space.get()
        {
            // Ours is new and nobody has used it yet.
            let _ = self.space.set(space.clone());
        }
    }

    /// Bytes that all held results take together, in memory and on disk.
    #[must_use]
    pub fn spooled(&self) -> u64 {
        self.space.get().map_or(0, SpoolSpace::used)
    }

    /// A spool for one held result.
    ///
    /// # Errors
    /// Its folder cannot be made.
    pub fn spool(&self) -> Result<Spool, Fault> {
        if let Some(space) = self.space.get() {
            return Ok(space.spool(SPOOL_MEMORY, self.spool.bytes));
        }
        let space = SpoolSpace::new(&self.spool.directory, self.spool.bytes)?;
        Ok(self.space.get_or_init(|| space).spool(SPOOL_MEMORY, self.spool.bytes))
    }
}

fn vocabularies() -> Vec<Vocabulary<'static>> {
    PROTOCOLS
        .iter()
        .map(|protocol| protocol.descriptor())
        .map(|descriptor| Vocabulary { protocol: descriptor.name, facts: descriptor.facts })
        .collect()
}

fn unclassified(settings: &Value) -> HashMap<String, Arc<Unclassified>> {
    let targets = settings.get("targets").and_then(Value::as_array).into_iter().flatten();
    targets
        .filter_map(|target| {
            let name = target.get("name")?.as_str()?.to_owned();
            let unclassified = Unclassified::load(target.get("unclassified"), &[]).ok()?;
            Some((name, Arc::new(unclassified)))
        })
        .collect()
}

/// Every mistake in the settings that this and the layers below can see, each with `where`, `message` and `hint`.
#[must_use]
pub fn check(settings: &[u8]) -> Vec<Value> {
    let mut mistakes: Vec<Value> =
        policy::check(settings, &vocabularies()).iter().map(|mistake| json!(mistake)).collect();
    if let Ok(value) = serde_json::from_slice::<Value>(settings) {
        mistakes.extend(mask::check(&value).iter().map(|problem| json!(problem)));
    }
    mistakes
}

/// Every fact that rules may mention.
#[must_use]
pub fn facts() -> Value {
    let own = policy::FACTS.iter().map(|fact| (fact, None));
    let protocols = PROTOCOLS.iter().map(|protocol| protocol.descriptor());
    let theirs =
        protocols.flat_map(|descriptor| descriptor.facts.iter().map(move |fact| (fact, Some(descriptor.name))));
    own.chain(theirs)
        .map(|(fact, protocol)| {
            json!({"name": fact.name, "kind": fact.kind, "phase": fact.phase, "help": fact.help, "protocol": protocol})
        })
        .collect()
}
