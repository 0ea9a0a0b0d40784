//! The packets before a session has a version: requests for encryption, cancel requests, the start-up message.

use bytes::Bytes;
use model::{Fault, FaultKind, Whose};

use super::packet::Fields;
use crate::greeting::CancelKey;

const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;
pub(super) const CANCEL_REQUEST: u32 = 80_877_102;
/// The newest minor version spoken.
pub(super) const NEWEST_MINOR: u32 = 2;

/// The code of the request for TLS, for the login to targets.
pub(super) const fn ssl_request() -> u32 {
    SSL_REQUEST
}

/// One start-up packet.
#[derive(Debug)]
pub(super) enum Packet {
    Ssl,
    Gssenc,
    Cancel(CancelKey),
    Startup(Startup),
}

/// The start-up message.
#[derive(Debug, Default)]
pub(super) struct Startup {
    /// The minor version asked for.
    pub asked_minor: u32,
    pub user: String,
    pub database: String,
    /// Everything else, in the order sent.
    pub settings: Vec<(String, String)>,
    /// Protocol options (`_pq_.…`), none of which is known yet.
    pub unknown_options: Vec<String>,
}

impl Startup {
    /// The minor version to speak: what was asked for, as far as it exists. 3.1 was never made; who asks for it is
    /// served as 3.0, as PostgreSQL does.
    pub fn minor(&self) -> u32 {
        if self.asked_minor >= NEWEST_MINOR { NEWEST_MINOR } else { 0 }
    }

    /// Whether the client must be told what is spoken instead of what it asked for.
    pub fn needs_negotiation(&self) -> bool {
        self.asked_minor > NEWEST_MINOR || !self.unknown_options.is_empty()
    }
}

/// Reads one start-up packet.
pub(super) fn read(packet: Bytes) -> Result<Packet, Fault> {
    let mut fields = Fields::new(packet, Whose::Client, "the start-up packet");
    let code = fields.u32()?;
    match code {
        SSL_REQUEST => fields.end().map(|()| Packet::Ssl),
        GSSENC_REQUEST => fields.end().map(|()| Packet::Gssenc),
        CANCEL_REQUEST => cancel(fields).map(Packet::Cancel),
        _ if code >> 16 == 3 => startup(code & 0xffff, fields).map(Packet::Startup),
        _ => Err(Fault::new(
            Whose::Client,
            FaultKind::Unsupported,
            format!(
                "protocol version {}.{} is not spoken here: 3.0 to 3.{NEWEST_MINOR} are",
                code >> 16,
                code & 0xffff
            ),
        )),
    }
}

/// A cancel request: four bytes of key in 3.0, up to 256 in 3.2.
fn cancel(mut fields: Fields) -> Result<CancelKey, Fault> {
    let id = fields.u32()?;
    let secret = fields.rest();
    if !(4..=256).contains(&secret.len()) {
        return Err(fields.short());
    }
    Ok(CancelKey { id, secret })
}

fn startup(asked_minor: u32, mut fields: Fields) -> Result<Startup, Fault> {
    let mut startup = Startup { asked_minor, ..Startup::default() };
    loop {
        let name = fields.text()?;
        if name.is_empty() {
            break;
        }
        let value = fields.text()?;
        match name.as_str() {
            "user" => startup.user = value,
            "database" => startup.database = value,
            "replication" => no_replication(&value)?,
            _ if name.starts_with("_pq_.") => startup.unknown_options.push(name),
            _ => startup.settings.push((name, value)),
        }
    }
    fields.end()?;
    if startup.user.is_empty() {
        let fault = Fault::new(Whose::Client, FaultKind::Unidentified, "the start-up message names no user");
        return Err(fault.hint("the user names an identity of the gateway's manifest"));
    }
    if startup.database.is_empty() {
        startup.database.clone_from(&startup.user);
    }
    Ok(startup)
}

/// Replication is another protocol inside this one, with every row of the server in it.
fn no_replication(value: &str) -> Result<(), Fault> {
    if ["false", "off", "no", "0", "f", "n"].contains(&value.to_ascii_lowercase().as_str()) {
        return Ok(());
    }
    let fault = Fault::new(Whose::Client, FaultKind::Unsupported, "replication connections are not carried");
    Err(fault.hint("connect without the replication setting"))
}
