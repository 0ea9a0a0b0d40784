//! Connections: listeners, TLS, both logins, the pump between client and target, and what is told to Python.
//!
//! Every byte is moved here and none is judged here: [`gate::Session`] decides, the relay asks it after each read and
//! writes what it releases. Each worker thread runs its own loop and its sessions never leave it; the interpreter is
//! never waited for, only asked through a queue.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod core;
mod dial;
mod events;
mod explain;
mod gateway;
mod hub;
mod knock;
mod listen;
mod mailbox;
mod memory;
mod metrics;
mod paces;
mod plan;
mod pool;
mod pump;
mod serve;
mod sessions;
mod settings;
mod stream;
mod throttle;
mod tls;

pub use explain::explain;
pub use gateway::Gateway;
pub use metrics::{Counters, Standing};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, whatever happened to the last holder: what is kept under these locks is whole between statements.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
