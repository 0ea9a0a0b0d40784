//! One connection from accept to close.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use gate::{Origin, Outbox, Session, Setup};
use model::{Fault, FaultKind, SessionId, Whose};
use protocols::Catalog;
use protocols::greeting::{Entry, SessionKey};
use serde_json::json;
use tokio::net::TcpStream;

use crate::core::{Core, micros, session_id};
use crate::dial::{self, Connection, Errand};
use crate::hub::Service;
use crate::knock::{Entered, Knock, Left};
use crate::mailbox::Mailbox;
use crate::memory::Share;
use crate::metrics::{Limit, add};
use crate::plan::TargetPlan;
use crate::pump::{Clock, Pump, Side};
use crate::sessions::{self, Handle, Seat};
use crate::settings::Loaded;
use crate::stream;

/// How long a client that cancels may have to wait until that has had its effect.
const CANCELLING: Duration = Duration::from_secs(15);
/// How long a refused client may take to hear why.
const PARTING: Duration = Duration::from_secs(2);
/// Connections beyond the limit that are still told so (and may cancel). Beyond these they are closed at once.
const SLACK: usize = 64;

/// A place among the gateway's connections, given back when dropped.
pub(crate) struct Place {
    core: Arc<Core>,
    /// No session may begin on it: the limit is reached.
    full: bool,
}

impl Place {
    /// Takes a place; `None` when not even a refusal can be afforded.
    pub fn take(core: &Arc<Core>) -> Option<Self> {
        let most = core.loaded.load().limits.connections;
        let taken = usize::try_from(core.counters.connections.fetch_add(1, Ordering::AcqRel)).unwrap_or(usize::MAX);
        let place = Self { core: core.clone(), full: taken >= most };
        (taken < most.saturating_add(SLACK)).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let connections: &AtomicU64 = &self.core.counters.connections;
        connections.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Serves one connection.
pub(crate) async fn serve(entry: &'static Entry, socket: TcpStream, peer: SocketAddr, place: Place) {
    stream::prepare(&socket);
    // The login is boxed and gone before the session begins: only the pump's state lives as long as the session.
    if let Some(pump) = Box::pin(begin(entry, socket, peer, &place)).await {
        pump.run().await;
    }
}

/// Everything up to the session's first byte; `None` when there is no session.
async fn begin(entry: &'static Entry, socket: TcpStream, peer: SocketAddr, place: &Place) -> Option<Box<Pump>> {
    let core = &place.core;
    let loaded = core.loaded.load_full();
    let session = session_id().ok()?;
    let knock = Knock { core, loaded: &loaded, entry, peer, session, full: place.full };
    let entered = match knock.enter(socket).await {
        Ok(entered) => entered,
        Err(Left::Quietly) => return None,
        Err(Left::Cancel(key, stream)) => {
            if let Some(acted) = core.sessions.cancel(&key) {
                let _ = tokio::time::timeout(CANCELLING, acted).await;
            }
            // Not before: what the client sends after the close must not be hit.
            drop(stream);
            return None;
        }
        Err(Left::Told(stream, fault)) => {
            tracing::info!(%peer, %session, %fault, "login refused");
            if let Some(mut stream) = stream {
                stream.part(&(entry.refuse)(&fault), PARTING).await;
            }
            return None;
        }
    };
    match open(core, entry, &entered, peer, session).await {
        Ok(opened) => Some(assemble(core, entered, opened, peer, session)),
        Err(fault) => {
            let mut entered = entered;
            let identity = entered.principal.identity.as_str();
            add(&core.counters.sessions_refused, 1);
            if fault.kind == FaultKind::Unrecordable {
                add(&core.counters.trail_failures, 1);
            }
            tracing::info!(%peer, %session, identity, %fault, "session refused");
            core.tell(json!({
                "type": "alert",
                "what": "session_refused",
                "detail": {
                    "session": session.to_string(),
                    "identity": identity,
                    "database": entered.greeting.opening().database,
                    "client": peer.to_string(),
                    "reason": fault.message,
                },
            }));
            entered.stream.part(&(entry.refuse)(&fault), PARTING).await;
            None
        }
    }
}

/// What a session has that has begun but not yet moved a byte.
struct Opened {
    seat: Seat,
    service: Service,
    connection: Connection,
    key: SessionKey,
    session: Session,
    target: model::Target,
    has_catalog: bool,
    lasts: Duration,
}

/// Finds the target, logs in to it, and begins the session in the trail.
async fn open(
    core: &Arc<Core>,
    entry: &'static Entry,
    entered: &Entered,
    peer: SocketAddr,
    session: SessionId,
) -> Result<Opened, Fault> {
    // The settings may have changed while the client logged in.
    let loaded = core.loaded.load_full();
    let principal = &entered.principal;
    let opening = entered.greeting.opening();
    core.open()?;
    core.trail.health()?;
    let met = |limit| move |_: &Fault| core.counters.met(limit);
    core.memory.room(loaded.limits.memory_bytes).inspect_err(met(Limit::Memory))?;
    let seat = core.sessions.seat(&principal.identity, loaded.limits.connections_per_identity);
    let seat = seat.inspect_err(met(Limit::ConnectionsPerIdentity))?;
    let plan = loaded.route(entry.descriptor.name, &opening.database, entered.server_name.as_deref())?;
    let target = plan.target(&opening.database);
    let admission = loaded.rules.admit(principal, &target)?;
    let service = service(plan, admission.credential(), &opening.database)?;
    let catalog = know(core, &loaded, &service).await?;
    let errand = Errand {
        database: &opening.database,
        application: format!("{}/{session}", principal.identity),
        settings: opening.settings.clone(),
    };
    let reached = dial::reach(&service.plan, &service.credential, errand).await;
    let mut connection = reached.inspect_err(|_| add(&core.counters.targets_failed, 1))?;
    let mut opening = opening.clone();
    opening.parameters = std::mem::take(&mut connection.reached.parameters);
    connection.reached.parameters.clone_from(&opening.parameters);
    let key = sessions::key(connection.reached.number)?;
    let has_catalog = catalog.is_some();
    let begun = Session::begin(Setup {
        session,
        principal: principal.clone(),
        target: target.clone(),
        opening,
        origin: Origin { client: peer.to_string(), tls: entered.tls },
        catalog,
        rules: loaded.rules.clone(),
        trail: core.trail.clone(),
        pace: core.paces.of(&principal.identity),
        observer: core.observer(session, &principal.identity),
    })?;
    let lasts = lasts(&loaded, entered.until);
    Ok(Opened { seat, service, connection, key, session: begun, target, has_catalog, lasts })
}

/// Where the session's questions and work go.
fn service(plan: Arc<TargetPlan>, credential: &str, database: &str) -> Result<Service, Fault> {
    let Some(credential) = plan.credentials.get(credential).cloned() else {
        let message = format!("target \"{}\" has no credential \"{credential}\"", plan.name);
        return Err(Fault::new(Whose::Gateway, FaultKind::Internal, message)
            .hint("add it under the target's credentials, or change the rule's as"));
    };
    Ok(Service { plan, credential, database: database.to_owned() })
}

/// What must be known of the target before a session may begin on it.
async fn know(core: &Core, loaded: &Loaded, service: &Service) -> Result<Option<Catalog>, Fault> {
    core.hub.vet(service).await?;
    if !loaded.rules.needs_catalog(&service.plan.name) {
        return Ok(None);
    }
    core.hub.catalog(service).await.map(Some)
}

/// How long the session may last.
fn lasts(loaded: &Loaded, until: Option<u64>) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let left = until.map(|end| Duration::from_secs(end).saturating_sub(now));
    left.map_or(loaded.session_max, |left| left.min(loaded.session_max))
}

/// Puts the session together and tells the client that it is in.
fn assemble(core: &Arc<Core>, entered: Entered, opened: Opened, peer: SocketAddr, id: SessionId) -> Box<Pump> {
    let Entered { stream, mut greeting, input, principal, .. } = entered;
    let Opened { seat, service, connection, key, session, target, has_catalog, lasts } = opened;
    let Connection { stream: target_stream, input: target_input, reached, security } = connection;
    let mut outbox = Outbox::default();
    greeting.admit(&reached.parameters, &key, &mut outbox.client);
    let settings = &greeting.opening().settings;
    let application = settings.iter().find(|(name, _)| name == "application_name").map(|(_, value)| value.clone());
    let handle = Arc::new(Handle {
        id,
        key,
        key_bytes: greeting.key_bytes(),
        principal: Mutex::new(principal),
        target,
        client: peer.to_string(),
        application: application.unwrap_or_default(),
        since: micros(),
        mailbox: Arc::new(Mailbox::default()),
        counts: Mutex::default(),
    });
    core.sessions.insert(handle.clone());
    add(&core.counters.sessions, 1);
    let mut event = handle.describe();
    event["type"] = "opened".into();
    core.tell(event);
    let until = Instant::now() + lasts;
    Box::new(Pump {
        core: core.clone(),
        handle,
        service,
        session,
        outbox,
        client: Side::new(stream, input),
        target: Side::new(target_stream, target_input),
        cancel: (reached.cancel, security),
        cancelling: None,
        until,
        has_catalog,
        clock: Clock::new(until),
        over: false,
        seat: Some(seat),
        share: Share::default(),
    })
}
