//! The trail's public vocabulary: the JSON bodies of evidence records.
//!
//! Each body is one object whose first field, `evidence`, is the type's [`Evidence::KIND`]. Fields without a value are left
//! out. Text, parameters and anything else taken from a request arrive here already redacted: literals that match a class
//! or meet a class's column are typed placeholders. Fields are added, never renamed or given another meaning.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A body of an evidence record.
pub trait Evidence: Serialize {
    /// The value of the field `evidence`: lower-case letters and underscores only.
    const KIND: &'static str;
}

macro_rules! evidence {
    ($($type:ident = $kind:literal),+ $(,)?) => { $(impl Evidence for $type { const KIND: &'static str = $kind; })+ };
}

evidence! {
    SessionOpened = "session_opened",
    StatementText = "statement_text",
    Asked = "asked",
    Held = "held",
    Decided = "decided",
    Answered = "answered",
    SessionClosed = "session_closed",
    Operator = "operator",
}

/// Whether the gateway enforces, or only says what it would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Verdicts bind.
    #[default]
    Enforce,
    /// Verdicts are recorded only.
    Observe,
}

/// What the rules say about one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It may go on.
    Allow,
    /// It is refused.
    Deny,
    /// It waits for a person.
    Hold,
    /// It would be refused, but the gateway only observes.
    WouldDeny,
    /// It would wait for a person, but the gateway only observes.
    WouldHold,
}

/// A session began: both logins are done, nothing was asked yet. Exchange 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct SessionOpened {
    /// The identity's name in the manifest.
    pub identity: Arc<str>,
    /// The issuer's name, if a token of an issuer proved the identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<Arc<str>>,
    /// The token's subject, if a token of an issuer proved the identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Arc<str>>,
    /// Groups the identity belongs to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// The id of the static or exchanged token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Arc<str>>,
    /// The target's name in the manifest.
    pub target: Arc<str>,
    /// The database (or its like) on the target.
    pub database: Arc<str>,
    /// The client's address, `ip:port`.
    pub client: Arc<str>,
    /// What the client calls itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<Arc<str>>,
    /// Whether the client's connection is encrypted.
    #[serde(default)]
    pub tls: bool,
    /// The protocol, by its folder's name.
    #[serde(default)]
    pub protocol: Arc<str>,
    /// The hash of the manifest in force, in hex.
    pub settings: Arc<str>,
    /// Whether verdicts bind.
    #[serde(default)]
    pub mode: Mode,
}

/// The text of a statement, written once per session and text, before the first [`Asked`] that names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct StatementText {
    /// Names the text within its session, from 1.
    pub id: u64,
    /// The redacted text.
    pub text: Arc<str>,
    /// The fingerprint of the statement's shape, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Arc<str>>,
}

/// A request was understood and decided. Written before anything reaches the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The [`StatementText`] of the same session; absent for requests without text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_id: Option<u64>,
    /// What kind of statement, as rules name it: `select`, `insert`, …
    pub kind: Cow<'static, str>,
    /// Qualified names of the relations it touches.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub tables: Arc<[Arc<str>]>,
    /// Redacted parameters in order; `None` is NULL.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<Option<String>>,
    /// What the rules say.
    pub verdict: Verdict,
    /// The rule that decided, by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Arc<str>>,
    /// Why, for refusals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<Arc<str>>,
    /// The hash of the manifest that decided, in hex, when it is not the one of [`SessionOpened`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Arc<str>>,
    /// The target's credential that is used, by its name, when it is not `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Arc<str>>,
}

/// A request waits for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Held {
    /// The hold's number within the session.
    pub hold: u64,
    /// The rule that holds, by its name.
    pub rule: Arc<str>,
    /// Groups of reviewers who may decide.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reviewers: Vec<String>,
    /// `statement`: nothing was executed. `result`: rows wait in the spool.
    pub phase: Arc<str>,
    /// The hash of text, parameters and phase that makes identical requests one, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Arc<str>>,
    /// Rows that wait.
    #[serde(default)]
    pub rows: u64,
    /// Bytes that wait.
    #[serde(default)]
    pub bytes: u64,
}

/// A held request was decided, expired or withdrawn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Decided {
    /// The hold's number within the session.
    pub hold: u64,
    /// `approved`, `denied`, `expired` or `withdrawn`.
    pub decision: Arc<str>,
    /// Who decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Arc<str>>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Arc<str>>,
    /// The name under which reviewers know the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Arc<str>>,
    /// Rows that waited at the decision.
    #[serde(default)]
    pub rows: u64,
    /// Bytes that waited at the decision.
    #[serde(default)]
    pub bytes: u64,
}

/// A request's answer is complete. Written before its last byte is released.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Answered {
    /// The target's completion tag, such as `SELECT 5`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Arc<str>>,
    /// Rows delivered.
    #[serde(default)]
    pub rows: u64,
    /// Bytes delivered, as the payload records hold them.
    #[serde(default)]
    pub bytes: u64,
    /// Cells that were masked.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub masked: u64,
    /// Cells that would have been masked, where the gateway only observes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub would_mask: u64,
    /// BLAKE3 of the bytes delivered, in hex; absent if there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<Cow<'static, str>>,
    /// The error's code (PostgreSQL: SQLSTATE), if the answer is an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Arc<str>>,
    /// Microseconds from the verdict to this record.
    #[serde(default)]
    pub duration: u64,
    /// Whether the answer was released to the client; of a result held and then denied it was not.
    #[serde(default)]
    pub delivered: bool,
}

/// A session ended. Exchange 0, the last record of its session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct SessionClosed {
    /// Why it ended; [`LOST`] when the gateway died before it could say.
    pub reason: Arc<str>,
    /// Statements asked, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statements: Option<u64>,
    /// Rows delivered, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Bytes delivered, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// The [`SessionClosed::reason`] that recovery writes for sessions that were open when the gateway died.
pub const LOST: &str = "lost";

/// Something the operator or a reviewer did: reading the trail, deciding, reloading.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Operator {
    /// What was done, such as `trail_read`, `approval` or `reload`.
    pub action: String,
    /// Who and what exactly, as the caller gave it.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub detail: serde_json::Value,
}

fn is_empty(tables: &Arc<[Arc<str>]>) -> bool {
    tables.is_empty()
}

// Serde hands over references, whatever the type.
#[expect(clippy::trivially_copy_pass_by_ref)]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// What a record says about whether its session is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    Opened,
    Closed,
}

/// Appends the JSON of `body` with the field `evidence` in front.
pub(crate) fn write<E: Evidence>(body: &E, out: &mut Vec<u8>) -> Result<Option<Mark>, serde_json::Error> {
    out.extend_from_slice(b"{\"evidence\":\"");
    out.extend_from_slice(E::KIND.as_bytes());
    out.push(b'"');
    let start = out.len();
    serde_json::to_writer(&mut *out, body)?;
    match &out[start..] {
        b"{}" => drop(out.drain(start..=start)),
        [b'{', ..] => out[start] = b',',
        _ => return Err(serde::ser::Error::custom("evidence is always a JSON object")),
    }
    Ok(match E::KIND {
        SessionOpened::KIND => Some(Mark::Opened),
        SessionClosed::KIND => Some(Mark::Closed),
        _ => None,
    })
}

/// The kind of evidence in `body`, if it is evidence.
pub(crate) fn kind(body: &[u8]) -> Option<&str> {
    let rest = body.strip_prefix(b"{\"evidence\":\"")?;
    let end = memchr::memchr(b'"', rest)?;
    std::str::from_utf8(&rest[..end]).ok()
}

/// Whether `body` opens or closes its session.
pub(crate) fn mark(body: &[u8]) -> Option<Mark> {
    match kind(body)? {
        SessionOpened::KIND => Some(Mark::Opened),
        SessionClosed::KIND => Some(Mark::Closed),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Nothing {}
    impl Evidence for Nothing {
        const KIND: &'static str = "nothing";
    }

    #[test]
    fn bodies_are_compact_objects_with_their_kind_in_front() {
        let mut out = Vec::new();
        assert_eq!(write(&Nothing {}, &mut out).unwrap(), None);
        assert_eq!(out, br#"{"evidence":"nothing"}"#);
        out.clear();
        let closed = SessionClosed { reason: LOST.into(), ..Default::default() };
        assert_eq!(write(&closed, &mut out).unwrap(), Some(Mark::Closed));
        assert_eq!(out, br#"{"evidence":"session_closed","reason":"lost"}"#);
        assert_eq!(mark(&out), Some(Mark::Closed));
        assert_eq!(serde_json::from_slice::<SessionClosed>(&out).unwrap(), closed);
    }

    #[test]
    fn what_was_asked_survives() {
        let asked = Asked {
            text_id: Some(3),
            kind: "select".into(),
            tables: ["public.customers".into()].into(),
            parameters: vec![None, Some("<ssn>".into())],
            verdict: Verdict::WouldDeny,
            rule: Some("bulk \"needs\" a person".into()),
            why: None,
            manifest: None,
            credential: Some("migrator".into()),
        };
        let mut out = Vec::new();
        write(&asked, &mut out).unwrap();
        assert_eq!(kind(&out), Some("asked"));
        assert_eq!(serde_json::from_slice::<Asked>(&out).unwrap(), asked);
    }
}
