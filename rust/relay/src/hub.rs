//! What is known of targets and shared by all sessions: catalogs, and what credentials may do.
//!
//! Both are asked on connections of the gateway's own. One survey runs at a time for each catalog, however many sessions
//! want it; a wish that comes while one runs is met by the next, because what it wants to see may be newer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use gate::Event;
use model::{Fault, FaultKind, Whose};
use protocols::Catalog;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::dial::{self, Errand};
use crate::locked;
use crate::mailbox::{Letter, Mailbox};
use crate::plan::{Credential, TargetPlan};

/// Surveys of one catalog begin at least this far apart.
const APART: Duration = Duration::from_secs(1);
/// A session that begins takes no catalog older than this: tables change without the gateway's seeing it.
const FRESH: Duration = Duration::from_secs(30);
/// The longest a target may take to answer, beyond the time to connect.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest parting from a target.
const PARTING: Duration = Duration::from_secs(1);

/// Where one of the gateway's own questions goes.
#[derive(Clone)]
pub(crate) struct Service {
    pub plan: Arc<TargetPlan>,
    pub credential: Arc<Credential>,
    pub database: String,
}

/// What one credential may do, found out once.
type Powers = Arc<tokio::sync::OnceCell<Vec<String>>>;

/// Everything known of targets.
#[derive(Default)]
pub(crate) struct Hub {
    catalogs: Mutex<HashMap<[String; 3], Arc<Slot>>>,
    powers: Mutex<HashMap<[String; 2], Powers>>,
}

/// One catalog.
#[derive(Default)]
struct Slot {
    /// When the last survey began, and what it found. Held while one runs.
    known: tokio::sync::Mutex<Option<(Instant, Catalog)>>,
    wishes: Mutex<Wishes>,
}

#[derive(Default)]
struct Wishes {
    waiting: Vec<Arc<Mailbox>>,
    running: bool,
}

impl Hub {
    /// Forgets everything, because the settings changed.
    pub fn clear(&self) {
        locked(&self.catalogs).clear();
        locked(&self.powers).clear();
    }

    fn slot(&self, service: &Service) -> Arc<Slot> {
        let key = [service.plan.name.clone(), service.database.clone(), service.credential.name.clone()];
        locked(&self.catalogs).entry(key).or_default().clone()
    }

    /// The catalog for a session that begins.
    pub async fn catalog(&self, service: &Service) -> Result<Catalog, Fault> {
        let slot = self.slot(service);
        let mut known = slot.known.lock().await;
        if let Some((since, catalog)) = known.as_ref().filter(|(since, _)| since.elapsed() < FRESH) {
            tracing::trace!(target = %service.plan.name, age = ?since.elapsed(), "catalog shared");
            return Ok(catalog.clone());
        }
        survey(&mut known, service).await
    }

    /// Surveys again for an open session, which gets the result as a letter. Must be called on a worker thread.
    pub fn refresh(&self, service: &Service, mailbox: Arc<Mailbox>) {
        let slot = self.slot(service);
        let mut wishes = locked(&slot.wishes);
        wishes.waiting.push(mailbox);
        if !std::mem::replace(&mut wishes.running, true) {
            drop(wishes);
            tokio::task::spawn_local(grant(Running(slot), service.clone()));
        }
    }

    /// Refuses a credential that could step round every rule, unless the target's settings accept that.
    pub async fn vet(&self, service: &Service) -> Result<(), Fault> {
        let Service { plan, credential, .. } = service;
        let Some(vet) = plan.entry.vet.filter(|_| !plan.accept_superuser) else { return Ok(()) };
        let key = [plan.name.clone(), credential.name.clone()];
        let cell = locked(&self.powers).entry(key).or_default().clone();
        let powers = cell
            .get_or_try_init(|| async {
                let mut question = vet();
                ask(service, "penstock/vet", |input, output| question.advance(input, output)).await
            })
            .await?;
        if powers.is_empty() {
            return Ok(());
        }
        let message = format!(
            "the gateway's credential \"{}\" for target \"{}\" could step round every rule: {}",
            credential.name,
            plan.name,
            powers.join(", ")
        );
        Err(Fault::new(Whose::Gateway, FaultKind::Denied, message)
            .hint("give the gateway a role without these powers, or set accept_superuser: true on the target"))
    }
}

/// The task that grants wishes; when it ends, however it ends, the next wish starts another.
struct Running(Arc<Slot>);

impl Drop for Running {
    fn drop(&mut self) {
        let mut wishes = locked(&self.0.wishes);
        wishes.running = false;
        let fault = Fault::new(Whose::Gateway, FaultKind::Internal, "the survey of the target's catalog was cut short");
        for mailbox in wishes.waiting.drain(..) {
            mailbox.send(Letter::Gate(Event::Catalog(Err(fault.clone()))));
        }
    }
}

/// Surveys until nobody waits any more.
async fn grant(running: Running, service: Service) {
    let slot = running.0.clone();
    loop {
        let last = slot.known.lock().await.as_ref().map(|(since, _)| *since);
        if let Some(since) = last {
            tokio::time::sleep_until((since + APART).into()).await;
        }
        let mut known = slot.known.lock().await;
        // Taken before the survey begins: who comes later wants to see more than it will.
        let waiting = std::mem::take(&mut locked(&slot.wishes).waiting);
        let found = survey(&mut known, &service).await;
        drop(known);
        for mailbox in waiting {
            mailbox.send(Letter::Gate(Event::Catalog(found.clone())));
        }
        let mut wishes = locked(&slot.wishes);
        if wishes.waiting.is_empty() {
            wishes.running = false;
            return;
        }
    }
}

/// Surveys and keeps the result; a failure forgets the old one, which may be wrong.
async fn survey(known: &mut Option<(Instant, Catalog)>, service: &Service) -> Result<Catalog, Fault> {
    let began = Instant::now();
    *known = None;
    let Some(begin) = service.plan.entry.survey else {
        let message = format!("targets of protocol {} have no catalog", service.plan.protocol);
        return Err(Fault::new(Whose::Gateway, FaultKind::Unsupported, message));
    };
    let mut questions = begin();
    let catalog = ask(service, "penstock/catalog", |input, output| questions.advance(input, output)).await?;
    *known = Some((began, catalog.clone()));
    Ok(catalog)
}

/// Carries questions and answers over a connection of our own until they are done.
async fn ask<T>(
    service: &Service,
    application: &str,
    mut advance: impl FnMut(&mut BytesMut, &mut BytesMut) -> Result<Option<T>, Fault>,
) -> Result<T, Fault> {
    let Service { plan, credential, database } = service;
    let errand = Errand { database, application: application.to_owned(), settings: Vec::new() };
    let mut connection = dial::reach(plan, credential, errand).await?;
    let lost = |what: &str| {
        let message = format!("target \"{}\" {what} while the gateway asked for what it needs to know", plan.name);
        Fault::new(Whose::Target, FaultKind::Unreachable, message)
    };
    let talk = async {
        let (mut input, mut output) = (std::mem::take(&mut connection.input), BytesMut::new());
        loop {
            if let Some(answer) = advance(&mut input, &mut output)? {
                return Ok(answer);
            }
            let stream = &mut connection.stream;
            stream.write_all_buf(&mut output).await.map_err(|error| lost(&format!("failed ({error})")))?;
            stream.flush().await.map_err(|error| lost(&format!("failed ({error})")))?;
            if stream.read_buf(&mut input).await.map_err(|error| lost(&format!("failed ({error})")))? == 0 {
                return Err(lost("closed the connection"));
            }
        }
    };
    let answer = tokio::time::timeout(PATIENCE, talk).await.unwrap_or_else(|_| Err(lost("did not answer")));
    let goodbye = plan.entry.goodbye;
    tokio::task::spawn_local(async move { connection.stream.part(goodbye, PARTING).await });
    answer
}
