//! Who asks, and what they ask it of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A proven identity: the result of a login, the same for the whole session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// The identity's name in the manifest; what the client gave as its user.
    pub identity: String,
    /// The issuer's name in the manifest, if a token of an issuer proved it.
    #[serde(default)]
    pub issuer: Option<String>,
    /// The token's subject, if a token of an issuer proved it.
    #[serde(default)]
    pub subject: Option<String>,
    /// Groups of the manifest the identity belongs to.
    #[serde(default)]
    pub groups: Vec<String>,
    /// The id of the static or exchanged token, so that revoking it ends the session.
    #[serde(default)]
    pub token: Option<String>,
}

/// What a session reaches: one named target of the manifest and the database on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The target's name in the manifest.
    pub name: String,
    /// The protocol it speaks, by its folder's name.
    pub protocol: String,
    /// The database (or its like) the client asked for.
    pub database: String,
    /// The manifest's labels, such as `env: prod`.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}
