//! Reading the trail.

use std::path::PathBuf;
use std::sync::Mutex;

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use record::{Content, Direction, read};
use serde_json::{Value, json};

use crate::error::raise;
use crate::rules::bytes;

/// Records of a trail, each as JSON: `session`, `exchange`, `at` (microseconds of Unix time), `content`, and `body` (an
/// object for evidence; base 64 text for payload, with `direction`).
#[pyclass(module = "penstock._native", frozen)]
pub struct Records(Mutex<read::Records>);

#[pymethods]
impl Records {
    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyBytes>>> {
        let next = py.detach(|| self.0.lock().ok().map(|mut records| records.next()));
        match next.ok_or_else(|| raise("reading the trail failed earlier"))? {
            None => Ok(None),
            Some(Err(damage)) => Err(raise(damage.to_string())),
            Some(Ok(record)) => Ok(Some(bytes(py, &told(&record)))),
        }
    }
}

fn told(record: &read::Record) -> Value {
    let mut told = json!({
        "session": record.exchange.session.to_string(),
        "channel": record.exchange.channel,
        "exchange": record.exchange.id,
        "at": record.time,
        "segment": record.segment.file(),
        "offset": record.offset,
    });
    match record.content {
        Content::Payload(direction) => {
            told["content"] = "payload".into();
            told["direction"] = if direction == Direction::ToClient { "to_client" } else { "to_target" }.into();
            told["body"] = base64(&record.body).into();
        }
        _ => {
            told["content"] = "evidence".into();
            told["body"] = serde_json::from_slice(&record.body).unwrap_or(Value::Null);
        }
    }
    told
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let padded = [group[0], group.get(1).copied().unwrap_or(0), group.get(2).copied().unwrap_or(0)];
        let bits = u32::from_be_bytes([0, padded[0], padded[1], padded[2]]);
        for place in 0..4 {
            let digit = (bits >> (18 - 6 * place) & 63) as usize;
            text.push(if place <= group.len() { char::from(ALPHABET[digit]) } else { '=' });
        }
    }
    text
}

/// Opens a trail for reading. `query` is a JSON object with any of `session`, `kind` (`evidence` or `payload`),
/// `exchange`, `from` and `to` (microseconds of Unix time). A live segment is read as far as it is whole.
#[pyfunction]
pub fn read_trail(py: Python<'_>, store: PathBuf, query: &[u8]) -> PyResult<Records> {
    let query: read::Query = serde_json::from_slice(query).map_err(|error| raise(error.to_string()))?;
    let records = py.detach(|| read::records(&store, query)).map_err(|damage| raise(damage.to_string()))?;
    Ok(Records(Mutex::new(records)))
}
