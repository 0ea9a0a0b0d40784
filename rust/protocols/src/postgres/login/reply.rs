//! What a target says when it refuses, in words that are safe to pass on.

use bytes::Bytes;
use model::{Fault, FaultKind, Whose};

use super::packet::Fields;

/// The most of a target's message that is passed on, in characters.
const MESSAGE_CHARS: usize = 500;

/// SQLSTATE and message of an ErrorResponse, as far as they can be read.
pub(super) fn error_fields(body: Bytes) -> (String, String) {
    let (mut code, mut message) = (String::new(), String::new());
    let mut fields = Fields::new(body, Whose::Target, "an error");
    while let Ok(tag) = fields.u8() {
        let Ok(value) = fields.cstr() else { break };
        match tag {
            b'C' => code = printable(&value, 5),
            b'M' => message = printable(&value, MESSAGE_CHARS),
            _ => {}
        }
    }
    (code, message)
}

fn printable(text: &[u8], most: usize) -> String {
    let text = String::from_utf8_lossy(text);
    text.chars().take(most).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A refused login as a fault. The message never holds a secret: PostgreSQL names the user, not the password.
pub(super) fn login_fault(target: &str, body: Bytes) -> Fault {
    let (code, message) = error_fields(body);
    let fault = |kind, text: String| Fault::new(Whose::Target, kind, text);
    match code.as_str() {
        "3D000" => fault(FaultKind::UnknownTarget, format!("target \"{target}\": {message}")),
        "53300" => fault(FaultKind::TooMany, format!("target \"{target}\": {message}")),
        code if code.starts_with("28") => {
            fault(FaultKind::Unreachable, format!("target \"{target}\" refused the gateway's own login: {message}"))
                .hint("the credential in the gateway's manifest, or the target's pg_hba.conf, needs an operator")
        }
        _ => fault(FaultKind::Unreachable, format!("target \"{target}\" ended the login: {message} ({code})")),
    }
}
