//! What is wrong with the part of the settings this crate reads.

use std::fmt;

use serde::Serialize;

/// One step of the way to a value in the settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum At {
    /// A key of an object.
    Key(String),
    /// A place in a list, counted from 0.
    Index(usize),
}

impl From<&str> for At {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

impl From<usize> for At {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// One mistake: where, what, and what to write instead. Serialises as `{"where": […], "message", "hint"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The way from the settings' root to the mistake.
    #[serde(rename = "where")]
    pub at: Vec<At>,
    /// One sentence: what is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: String,
}

impl Problem {
    pub(crate) fn new(at: &[At], message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { at: at.to_vec(), message: message.into(), hint: hint.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.at {
            match step {
                At::Key(key) => write!(f, "{key}.")?,
                At::Index(index) => write!(f, "{index}.")?,
            }
        }
        write!(f, " {} ({})", self.message, self.hint)
    }
}

impl std::error::Error for Problem {}
