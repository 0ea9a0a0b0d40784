//! Checking and explaining rules, without a gateway.

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use serde_json::{Value, json};

use crate::error::{raise, raise_fault};

/// Every mistake in the settings, as JSON: a list of objects with `where`, `message`, `hint` and perhaps `level`.
#[pyfunction]
pub fn check_rules(py: Python<'_>, settings: &[u8]) -> Py<PyBytes> {
    bytes(py, &Value::Array(py.detach(|| gate::check(settings))))
}

/// Every mistake in one expression, as JSON. `scope` is `claims` or `rule`.
#[pyfunction]
pub fn check_expression(py: Python<'_>, expression: &str, scope: &str) -> PyResult<Py<PyBytes>> {
    let scope = match scope {
        "claims" => policy::Scope::claims(),
        "rule" => policy::Scope::rule(all_facts()),
        other => return Err(raise(format!("no scope is called {other:?}: claims or rule"))),
    };
    let problems = py.detach(|| policy::Expression::compile(expression, &scope)).err().unwrap_or_default();
    let told: Vec<Value> = problems
        .iter()
        .map(|problem| json!({"message": problem.message, "hint": problem.hint, "offset": problem.offset}))
        .collect();
    Ok(bytes(py, &Value::Array(told)))
}

/// Whether claims (a JSON object) satisfy an expression. Raises if the expression has no result for them.
#[pyfunction]
pub fn evaluate_claims(py: Python<'_>, expression: &str, claims: &[u8]) -> PyResult<bool> {
    py.detach(|| {
        let claims: Value = serde_json::from_slice(claims).map_err(|error| error.to_string())?;
        policy::evaluate_claims(expression, &claims)
    })
    .map_err(raise)
}

/// Every fact that rules may mention, as JSON.
#[pyfunction]
pub fn facts(py: Python<'_>) -> Py<PyBytes> {
    bytes(py, &gate::facts())
}

fn all_facts() -> Vec<model::Fact> {
    let theirs = protocols::PROTOCOLS.iter().flat_map(|protocol| protocol.descriptor().facts.iter().copied());
    policy::FACTS.iter().copied().chain(theirs).collect()
}

/// A JSON value as bytes.
pub fn bytes(py: Python<'_>, value: &Value) -> Py<PyBytes> {
    PyBytes::new(py, value.to_string().as_bytes()).unbind()
}

/// What would come of a text, as JSON: see the relay's `explain`. Connects to the target to read its catalog.
#[pyfunction]
pub fn explain(py: Python<'_>, settings: &[u8], request: &[u8]) -> PyResult<Py<PyBytes>> {
    let told = py.detach(|| relay::explain(settings, request)).map_err(raise_fault)?;
    Ok(bytes(py, &told))
}
