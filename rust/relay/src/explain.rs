//! What the gateway would decide about a text, without a session: rules, and masks over the target's own catalog.

use model::{Fault, Principal};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::hub::{Hub, Service};
use crate::settings::{Loaded, mistake};

#[derive(Debug, Deserialize)]
struct Question {
    identity: String,
    #[serde(default)]
    groups: Vec<String>,
    target: String,
    database: String,
    sql: String,
}

/// Explains what would come of a text. `request` is a JSON object with `identity`, `groups`, `target`, `database` and
/// `sql`. The answer has the `verdict` on the whole text (the gravest of its statements'), and `statements`, each with
/// its verdict, rules and outputs. Where the target's catalog cannot be read, `catalog` says why and outputs are left out.
///
/// # Errors
/// The settings or the request cannot be read.
pub fn explain(settings: &[u8], request: &[u8]) -> Result<Value, Fault> {
    let question: Question = serde_json::from_slice(request).map_err(|error| mistake(error.to_string()))?;
    let loaded = Loaded::new(settings)?;
    let rules = gate::Rules::load(settings).map_err(|mistakes| mistake(mistakes.to_string()))?;
    let plan =
        loaded.target(&question.target).ok_or_else(|| mistake(format!("no target {}", question.target)))?.clone();
    let target = plan.target(&question.database);
    let principal =
        Principal { identity: question.identity, issuer: None, subject: None, groups: question.groups, token: None };
    let admission = match rules.admit(&principal, &target) {
        Ok(admission) => admission,
        Err(fault) => {
            return Ok(
                json!({"verdict": "deny", "why": fault.message, "hint": fault.hint, "rules": rules.explain(&principal, &target)}),
            );
        }
    };
    let view = rules.view(&target, &admission)?;
    let mut told = json!({"mode": if admission.observe() { "observe" } else { "enforce" }});
    let mut catalog = None;
    if rules.needs_catalog(&target.name)
        && let Some(credential) = plan.credentials.get(admission.credential())
    {
        let service = Service { plan: plan.clone(), credential: credential.clone(), database: question.database };
        match surveyed(&service) {
            Ok(found) => catalog = Some(found),
            Err(fault) => told["catalog"] = format!("not read: {}", fault.message).into(),
        }
    }
    let protocol = protocols::protocol(&target.protocol).ok_or_else(|| mistake("no such protocol"))?;
    let statements: Vec<Value> = protocol
        .explain(&question.sql, catalog, view)
        .iter()
        .map(|(statement, outputs)| gate::explain(&admission, statement, outputs))
        .collect();
    let gravest =
        ["deny", "hold", "allow"].into_iter().find(|verdict| statements.iter().any(|told| told["verdict"] == *verdict));
    told["verdict"] = gravest.unwrap_or("allow").into();
    told["statements"] = statements.into();
    Ok(told)
}

fn surveyed(service: &Service) -> Result<protocols::Catalog, Fault> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| mistake(format!("no runtime: {error}")))?;
    runtime.block_on(tokio::task::LocalSet::new().run_until(Hub::default().catalog(service)))
}
