//! The gateway as Python sees it: conversions and nothing else.

use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::error::{raise, raise_fault};
use crate::free::patiently;
use crate::rules::bytes;

/// A gateway: opened from settings, started once, stopped once. Any thread may call it.
#[pyclass(module = "penstock._native", frozen)]
pub struct Gateway(Arc<relay::Gateway>);

#[pymethods]
impl Gateway {
    /// Checks the settings, opens the trail and recovers what a crash left in it.
    #[new]
    fn new(py: Python<'_>, settings: Vec<u8>) -> PyResult<Self> {
        let opened = patiently(py, move || relay::Gateway::open(&settings))?;
        opened.map(|gateway| Self(Arc::new(gateway))).map_err(raise_fault)
    }

    /// Binds the listeners and starts the threads; JSON with each listener's address.
    fn start(&self, py: Python<'_>) -> PyResult<Py<PyBytes>> {
        py.detach(|| self.0.start()).map(|started| bytes(py, &started)).map_err(raise_fault)
    }

    /// Replaces rules, targets, classes and identities at once; on an error nothing changes.
    fn load(&self, py: Python<'_>, settings: Vec<u8>) -> PyResult<()> {
        let gateway = self.0.clone();
        patiently(py, move || gateway.load(&settings))?.map_err(raise_fault)
    }

    /// Readable when events wait.
    fn event_fd(&self) -> i32 {
        self.0.event_fd()
    }

    /// Up to `most` events, oldest first.
    fn take_events<'py>(&self, py: Python<'py>, most: usize) -> PyResult<Bound<'py, PyList>> {
        let events = py.detach(|| self.0.take_events(most));
        PyList::new(py, events.iter().map(|event| PyBytes::new(py, event)))
    }

    /// Answers an event; False when nobody waits for it any more.
    fn answer(&self, py: Python<'_>, id: u64, answer: &[u8]) -> PyResult<bool> {
        py.detach(|| self.0.answer(id, answer)).map_err(raise_fault)
    }

    /// Ends a hold; False when its session is gone.
    fn decide(&self, py: Python<'_>, session: &str, hold: u64, decision: &[u8]) -> PyResult<bool> {
        py.detach(|| self.0.decide(session, hold, decision)).map_err(raise_fault)
    }

    /// Tells a hold the name reviewers know it by; False when its session is gone.
    fn register(&self, py: Python<'_>, session: &str, hold: u64, approval: &str) -> bool {
        py.detach(|| self.0.register(session, hold, approval))
    }

    /// Ends a session; False when it is gone.
    fn kill(&self, py: Python<'_>, session: &str, reason: &str) -> bool {
        py.detach(|| self.0.kill(session, reason))
    }

    /// Gives an open session its principal anew; False when it is gone.
    fn regroup(&self, py: Python<'_>, session: &str, principal: &[u8]) -> PyResult<bool> {
        py.detach(|| self.0.regroup(session, principal)).map_err(raise_fault)
    }

    /// The open sessions, as a JSON list.
    fn sessions(&self, py: Python<'_>) -> Py<PyBytes> {
        let sessions = py.detach(|| self.0.sessions());
        bytes(py, &sessions)
    }

    /// Prometheus text.
    fn metrics(&self, py: Python<'_>) -> Py<PyBytes> {
        let text = py.detach(|| self.0.metrics());
        PyBytes::new(py, text.as_bytes()).unbind()
    }

    /// Turns `statement` events on or off for sessions that begin from now on.
    fn watch(&self, on: bool) {
        self.0.watch(on);
    }

    /// Records what an operator or reviewer did.
    fn record(&self, py: Python<'_>, kind: &str, detail: &[u8]) -> PyResult<()> {
        py.detach(|| self.0.record(kind, detail)).map_err(raise_fault)
    }

    /// Accepts nobody any more and ends sessions when idle, at the latest after `seconds`. Returns at once.
    fn drain(&self, py: Python<'_>, seconds: f64) -> PyResult<()> {
        let patience = Duration::try_from_secs_f64(seconds).map_err(|error| raise(format!("seconds: {error}")))?;
        py.detach(|| self.0.drain(patience));
        Ok(())
    }

    /// Ends everything and seals the trail.
    fn stop(&self, py: Python<'_>) -> PyResult<()> {
        let gateway = self.0.clone();
        patiently(py, move || gateway.stop())?.map_err(raise_fault)
    }
}
