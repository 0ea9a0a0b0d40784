//! A fault as PostgreSQL says it before a session has begun: one fatal ErrorResponse.

use bytes::{BufMut as _, Bytes, BytesMut};
use model::{Fault, FaultKind};

use super::packet;

/// The SQLSTATE of each kind of fault.
const fn sqlstate(kind: FaultKind) -> &'static str {
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
        FaultKind::Unrecordable => "58030",
        FaultKind::Shutdown => "57P01",
        FaultKind::Unreachable => "08001",
        FaultKind::Internal => "XX000",
    }
}

/// The fatal ErrorResponse for `fault`.
#[must_use]
pub fn refuse(fault: &Fault) -> Bytes {
    let mut output = BytesMut::new();
    packet::put(&mut output, b'E', |body| {
        let mut field = |tag: u8, text: &str| {
            body.put_u8(tag);
            packet::put_cstr(body, text.as_bytes());
        };
        field(b'S', "FATAL");
        field(b'V', "FATAL");
        field(b'C', sqlstate(fault.kind));
        field(b'M', &fault.message);
        if let Some(reference) = &fault.reference {
            field(b'D', &format!("Reference: {reference}"));
        }
        if let Some(hint) = &fault.hint {
            field(b'H', hint);
        }
        body.put_u8(0);
    });
    output.freeze()
}
