//! The one place that lets go of the interpreter for work that may take long.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use pyo3::prelude::*;

use crate::error::raise;

/// How long a signal, Ctrl-C above all, may go unnoticed.
const SLICE: Duration = Duration::from_millis(100);

/// Does `work` on a thread of its own, the interpreter free meanwhile. A signal ends the wait with Python's own
/// exception; the work is then finished in the background.
///
/// # Errors
/// A signal's handler raised, or the work panicked.
pub fn patiently<T: Send + 'static>(py: Python<'_>, work: impl FnOnce() -> T + Send + 'static) -> PyResult<T> {
    let (sender, mut receiver) = channel();
    let started = std::thread::Builder::new().name("penstock-call".to_owned()).spawn(move || {
        // Nobody listens any more after an interrupt.
        let _ = sender.send(work());
    });
    started.map_err(|error| raise(format!("a thread cannot be started: {error}")))?;
    loop {
        let (outcome, back) = py.detach(move || (receiver.recv_timeout(SLICE), receiver));
        receiver = back;
        match outcome {
            Ok(value) => return Ok(value),
            Err(RecvTimeoutError::Timeout) => py.check_signals()?,
            Err(RecvTimeoutError::Disconnected) => return Err(raise("the data plane stopped by a fault of its own")),
        }
    }
}
