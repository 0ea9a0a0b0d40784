//! The relay's part of the settings document, and what it is compiled into.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gate::Rules;
use model::{Fault, FaultKind, Whose};
use protocols::Protocol;
use protocols::greeting::{KnownToken, Method};
use protocols::scram::Verifier;
use serde::Deserialize;
use serde_json::Value;

use crate::plan::TargetPlan;
use crate::tls::ServerTls;

/// The document as Python writes it, as far as the relay reads it.
#[derive(Debug, Deserialize)]
pub(crate) struct Document {
    pub generation: u64,
    #[serde(default)]
    pub listeners: BTreeMap<String, ListenerPart>,
    #[serde(default)]
    pub session: SessionPart,
    #[serde(default)]
    pub limits: Limits,
    #[serde(default)]
    pub targets: Vec<TargetPart>,
    #[serde(default)]
    pub identities: Vec<IdentityPart>,
}

/// A listener.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ListenerPart {
    pub bind: String,
    #[serde(default)]
    pub tls: Option<ServerTlsPart>,
}

/// A listener's certificate chain and key, both PEM.
#[derive(Clone, Deserialize)]
pub(crate) struct ServerTlsPart {
    pub cert: String,
    pub key: String,
}

impl std::fmt::Debug for ServerTlsPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ServerTlsPart")
    }
}

/// How long sessions live.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct SessionPart {
    pub max_seconds: u64,
}

impl Default for SessionPart {
    fn default() -> Self {
        Self { max_seconds: 28_800 }
    }
}

/// Bounds on what clients may use.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(default)]
pub(crate) struct Limits {
    /// Sessions and logins at once.
    pub connections: usize,
    /// Sessions of one identity at once.
    pub connections_per_identity: usize,
    /// Time for a client's whole login.
    pub login_seconds: u64,
    /// The longest message of either side, in bytes.
    pub message_bytes: usize,
    /// What all sessions' buffers may take together, in bytes.
    pub memory_bytes: usize,
    /// Threads that carry sessions.
    pub threads: Option<NonZeroUsize>,
}

impl Limits {
    /// Threads that carry sessions: as told, or one less than there are cores. Fewer threads with more to do each cost
    /// less than many that sleep and wake, and logins, approvals and the kernel need room too.
    pub fn workers(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        self.threads.map_or_else(|| cores().saturating_sub(1).max(1), NonZeroUsize::get)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1_000,
            connections_per_identity: 100,
            login_seconds: 15,
            message_bytes: 64 << 20,
            threads: None,
            memory_bytes: 512 << 20,
        }
    }
}

/// A target.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct TargetPart {
    pub name: String,
    pub protocol: String,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    pub address: String,
    #[serde(default)]
    pub databases: Vec<String>,
    #[serde(default)]
    pub server_names: Vec<String>,
    #[serde(default)]
    pub tls: TargetTlsPart,
    pub credentials: BTreeMap<String, CredentialPart>,
    #[serde(default)]
    pub accept_superuser: bool,
    #[serde(default = "ten_seconds")]
    pub connect_seconds: u64,
}

const fn ten_seconds() -> u64 {
    10
}

/// How to encrypt towards a target; the modes are libpq's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TlsMode {
    Disable,
    Allow,
    #[default]
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// TLS towards a target; certificates and keys are PEM.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct TargetTlsPart {
    pub mode: TlsMode,
    pub ca: Option<String>,
    pub cert: Option<String>,
    pub key: Option<String>,
}

impl std::fmt::Debug for TargetTlsPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TargetTlsPart").field("mode", &self.mode).finish_non_exhaustive()
    }
}

/// One of a target's credentials.
#[derive(Clone, Default, Deserialize)]
pub(crate) struct CredentialPart {
    pub user: String,
    #[serde(default)]
    pub password: Option<String>,
    #[serde(default)]
    pub set_role: Option<String>,
    #[serde(default)]
    pub cert: Option<String>,
    #[serde(default)]
    pub key: Option<String>,
}

impl std::fmt::Debug for CredentialPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CredentialPart").field("user", &self.user).finish_non_exhaustive()
    }
}

/// An identity, as far as its login goes.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct IdentityPart {
    pub name: String,
    pub login: LoginKind,
    #[serde(default)]
    pub tokens: Vec<TokenPart>,
}

/// How an identity logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LoginKind {
    Scram,
    Clear,
}

/// A static token's verifier.
#[derive(Clone, Deserialize)]
pub(crate) struct TokenPart {
    pub id: String,
    pub verifier: String,
    #[serde(default)]
    pub expires: Option<u64>,
}

impl std::fmt::Debug for TokenPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenPart").field("id", &self.id).finish_non_exhaustive()
    }
}

/// An identity ready for logins.
pub(crate) struct Identity {
    login: LoginKind,
    tokens: Vec<(KnownToken, Option<u64>)>,
}

/// A settings document, checked and compiled. Replaced as a whole.
pub(crate) struct Loaded {
    pub generation: u64,
    pub limits: Limits,
    pub session_max: Duration,
    /// Rules and classes.
    pub rules: Arc<Rules>,
    pub listeners: BTreeMap<String, ListenerPart>,
    /// Certificates by listener.
    pub tls: HashMap<String, ServerTls>,
    pub targets: Vec<Arc<TargetPlan>>,
    identities: HashMap<String, Identity>,
}

/// A mistake in the settings, as a fault of the gateway's operator.
pub(crate) fn mistake(message: impl Into<String>) -> Fault {
    Fault::new(Whose::Gateway, FaultKind::Internal, message)
}

impl Loaded {
    /// Checks and compiles the relay's part of `settings` (JSON).
    pub fn new(settings: &[u8]) -> Result<Self, Fault> {
        let document: Document = serde_json::from_slice(settings)
            .map_err(|error| mistake(format!("the settings document cannot be read: {error}")))?;
        let rules = Rules::load(settings).map_err(|mistakes| mistake(told(&mistakes)))?;
        let mut tls = HashMap::new();
        for (name, listener) in &document.listeners {
            let entry = protocols::protocol(name).map(Protocol::entry);
            let entry = entry.ok_or_else(|| mistake(format!("listeners.{name}: no protocol is called so")))?;
            if let Some(part) = &listener.tls {
                let built = ServerTls::new(part, entry.descriptor.alpn);
                tls.insert(name.clone(), built.map_err(|what| mistake(format!("listeners.{name}.tls: {what}")))?);
            }
        }
        let mut targets = Vec::with_capacity(document.targets.len());
        for part in document.targets {
            targets.push(Arc::new(TargetPlan::new(part)?));
        }
        let identities = document.identities.into_iter().map(identity).collect::<Result<_, _>>()?;
        Ok(Self {
            generation: document.generation,
            limits: document.limits,
            session_max: Duration::from_secs(document.session.max_seconds),
            rules: Arc::new(rules),
            listeners: document.listeners,
            tls,
            targets,
            identities,
        })
    }

    /// How `user` may log in now.
    pub fn method(&self, user: &str) -> Method {
        let Some(identity) = self.identities.get(user) else { return Method::Unknown };
        if identity.login == LoginKind::Clear {
            return Method::Clear;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let live = identity.tokens.iter().filter(|(_, expires)| expires.is_none_or(|end| now < end));
        Method::Scram(live.map(|(token, _)| token.clone()).collect())
    }

    /// The target that `database`, or the name the client asked for in TLS, leads to.
    pub fn route(&self, protocol: &str, database: &str, server_name: Option<&str>) -> Result<Arc<TargetPlan>, Fault> {
        let spoken = |plan: &&Arc<TargetPlan>| plan.protocol == protocol;
        let named = |plan: &&Arc<TargetPlan>| {
            server_name.is_some_and(|name| plan.server_names.iter().any(|known| known.eq_ignore_ascii_case(name)))
        };
        let has = |plan: &&Arc<TargetPlan>| plan.databases.iter().any(|known| known == database);
        let mut candidates = self.targets.iter().filter(spoken);
        let found = match self.targets.iter().filter(spoken).find(named) {
            Some(plan) => Some(plan).filter(|plan| plan.databases.is_empty() || has(plan)),
            None => candidates.find(has),
        };
        found.cloned().ok_or_else(|| {
            let message = format!("no target of the gateway has a database \"{database}\"");
            Fault::new(Whose::Client, FaultKind::UnknownTarget, message)
                .hint("the database name chooses the target; an operator can list it under the target's databases")
        })
    }

    /// The target called `name`, if it is still there.
    pub fn target(&self, name: &str) -> Option<&Arc<TargetPlan>> {
        self.targets.iter().find(|plan| plan.name == name)
    }
}

/// The first mistakes of a list, one a line.
fn told(mistakes: &Value) -> String {
    let place = |mistake: &Value| {
        let steps = mistake["where"].as_array().into_iter().flatten();
        steps.map(|step| step.as_str().map_or_else(|| step.to_string(), str::to_owned)).collect::<Vec<_>>().join(".")
    };
    let line = |mistake: &Value| format!("{}: {}", place(mistake), mistake["message"].as_str().unwrap_or_default());
    mistakes.as_array().into_iter().flatten().take(20).map(line).collect::<Vec<_>>().join("\n")
}

/// One identity with its verifiers read.
fn identity(part: IdentityPart) -> Result<(String, Identity), Fault> {
    let mut tokens = Vec::with_capacity(part.tokens.len());
    for token in part.tokens {
        let verifier = Verifier::parse(&token.verifier)
            .map_err(|what| mistake(format!("identity \"{}\", token {}: {what}", part.name, token.id)))?;
        tokens.push((KnownToken { id: token.id.into(), verifier: Arc::new(verifier) }, token.expires));
    }
    Ok((part.name, Identity { login: part.login, tokens }))
}
