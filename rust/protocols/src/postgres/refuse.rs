//! Refusals: faults in the protocol's own words, and the statement that makes the target refuse in its place.

use bytes::{Bytes, BytesMut};
use model::{Fault, FaultKind};

use super::message;

/// A text no PostgreSQL grammar accepts. The gateway sends it where a refused message would have stood, so that the
/// target itself fails there: it aborts an open transaction, skips what was pipelined behind, and reports its true
/// status. The client gets the gateway's error in place of the target's.
pub const POISON: &[u8] = b"refused by penstock";

/// The SQLSTATE of a syntax error, which [`POISON`] provokes.
pub const POISON_STATE: &[u8] = b"42601";

/// The prepared statement [`POISON`] is parsed for; named, so that the client's unnamed statement survives.
pub const POISON_NAME: &[u8] = b"penstock_refusal";

/// How grave a report is, in the server's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The session goes on.
    Error,
    /// The session ends.
    Fatal,
}

/// The SQLSTATE for a kind of fault.
#[must_use]
pub const fn sqlstate(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::Denied | FaultKind::Rejected => "42501",
        FaultKind::Expired => "57014",
        FaultKind::Unidentified => "28000",
        FaultKind::UnknownTarget => "3D000",
        FaultKind::Unreadable => "42601",
        FaultKind::Unsupported => "0A000",
        FaultKind::Protocol => "08P01",
        FaultKind::TooLarge => "54000",
        FaultKind::TooMany => "53300",
        FaultKind::TooOften => "53400",
        FaultKind::Unrecordable => "58030",
        FaultKind::Shutdown => "57P01",
        FaultKind::Unreachable => "08006",
        FaultKind::Internal => "XX000",
    }
}

/// Appends `fault` as an ErrorResponse.
pub fn write_error(out: &mut BytesMut, severity: Severity, fault: &Fault) {
    let severity: &[u8] = match severity {
        Severity::Error => b"ERROR",
        Severity::Fatal => b"FATAL",
    };
    let detail = match (&fault.rule, &fault.reference) {
        (Some(rule), Some(reference)) => Some(format!("Rule: {rule}. Reference: {reference}.")),
        (Some(rule), None) => Some(format!("Rule: {rule}.")),
        (None, Some(reference)) => Some(format!("Reference: {reference}.")),
        (None, None) => None,
    };
    let mut fields: Vec<(u8, &[u8])> = vec![
        (b'S', severity),
        (b'V', severity),
        (b'C', sqlstate(fault.kind).as_bytes()),
        (b'M', fault.verbatim.as_deref().unwrap_or(&fault.message).as_bytes()),
    ];
    if let Some(detail) = &detail {
        fields.push((b'D', detail.as_bytes()));
    }
    if let Some(hint) = &fault.hint {
        fields.push((b'H', hint.as_bytes()));
    }
    let position = fault.position.map(|position| position.to_string());
    if let Some(position) = &position {
        fields.push((b'P', position.as_bytes()));
    }
    message::write_report(out, b'E', &fields);
}

/// Appends a NOTICE of the gateway's own.
pub fn write_notice(out: &mut BytesMut, text: &str) {
    let fields: [(u8, &[u8]); 4] = [(b'S', b"NOTICE"), (b'V', b"NOTICE"), (b'C', b"00000"), (b'M', text.as_bytes())];
    message::write_report(out, b'N', &fields);
}

/// A whole ErrorResponse in the server's own words.
#[must_use]
pub fn error(state: &str, text: &str) -> Bytes {
    let mut out = BytesMut::new();
    let fields: [(u8, &[u8]); 4] =
        [(b'S', b"ERROR"), (b'V', b"ERROR"), (b'C', state.as_bytes()), (b'M', text.as_bytes())];
    message::write_report(&mut out, b'E', &fields);
    out.freeze()
}

/// The SQLSTATE of a whole ErrorResponse; empty if it has none.
#[must_use]
pub fn code_of(response: &[u8]) -> String {
    let fields = response.get(super::frame::HEAD..).and_then(|body| message::report(b'E', body).ok());
    let code = fields.and_then(|fields| fields.iter().find(|(code, _)| *code == b'C').map(|(_, text)| text.to_vec()));
    String::from_utf8_lossy(&code.unwrap_or_default()).into_owned()
}
