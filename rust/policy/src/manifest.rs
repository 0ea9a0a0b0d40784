//! The parts of the settings that rules are made of and refer to. Everything else in them is somebody else's.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::rule::InTransaction;

#[derive(Debug, Deserialize)]
pub(crate) struct Settings {
    /// Read one by one, so that each tells its own mistakes.
    #[serde(default)]
    pub(crate) rules: Vec<Json>,
    #[serde(default)]
    pub(crate) classes: Vec<Name>,
    #[serde(default)]
    pub(crate) targets: Vec<TargetPart>,
    #[serde(default)]
    pub(crate) identities: Vec<IdentityPart>,
    /// Absent where the reviewers are looked after elsewhere; their names are then not checked here.
    pub(crate) reviewers: Option<Vec<Name>>,
    /// Likewise.
    pub(crate) issuers: Option<Vec<Name>>,
}

/// Something of which only the name matters here.
#[derive(Debug, Deserialize)]
pub(crate) struct Name {
    pub(crate) name: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct TargetPart {
    pub(crate) name: String,
    pub(crate) protocol: String,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) credentials: BTreeMap<String, serde::de::IgnoredAny>,
    #[serde(default)]
    pub(crate) mode: Mode,
}

#[derive(Debug, Deserialize)]
pub(crate) struct IdentityPart {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) groups: Vec<String>,
    #[serde(default)]
    pub(crate) mode: Mode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    #[default]
    Enforce,
    Observe,
}

/// A rule as written. A key that is not here is a mistake: it would not be enforced.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleText {
    pub(crate) name: String,
    pub(crate) who: Option<Vec<String>>,
    pub(crate) to: Option<Vec<String>>,
    pub(crate) except: Option<Vec<String>>,
    pub(crate) allow: Option<Vec<String>>,
    pub(crate) functions: Option<Vec<String>>,
    pub(crate) reveal: Option<Vec<String>>,
    #[serde(rename = "as")]
    pub(crate) credential: Option<String>,
    pub(crate) deny: Option<String>,
    pub(crate) hold: Option<HoldText>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HoldText {
    pub(crate) when: String,
    pub(crate) reviewers: Vec<String>,
    /// Seconds.
    pub(crate) expires_seconds: Option<u64>,
    pub(crate) in_transaction: Option<InTransaction>,
}

/// One step on the way to a place in the settings: a key, or a place in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Step {
    /// A key.
    Key(&'static str),
    /// A place in a list, counted from 0.
    Place(usize),
}

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The settings cannot be used.
    Error,
    /// They can, but probably do not mean what was meant.
    Warning,
}

/// A mistake in the rules, where it is, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mistake {
    /// The way to it from the settings' root, such as `["rules", 2, "deny"]`.
    #[serde(rename = "where")]
    pub path: Vec<Step>,
    /// One sentence: what is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
    /// Whether the settings can be used all the same.
    pub level: Level,
    /// Byte of a condition's text at which it is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<usize>,
}
