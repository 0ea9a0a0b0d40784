//! Errors cross once: every fault becomes one exception type, with what a person needs to act on it.

use model::Fault;
use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;

create_exception!(penstock._native, NativeError, PyException, "What the data plane refuses or cannot do.");

/// The exception for a message.
pub fn raise(message: impl Into<String>) -> PyErr {
    NativeError::new_err(message.into())
}

/// The exception for a fault: what happened, and what to do next if anything can be said.
pub fn raise_fault(fault: Fault) -> PyErr {
    match &fault.hint {
        Some(hint) => raise(format!("{} ({hint})", fault.message)),
        None => raise(fault.message),
    }
}
