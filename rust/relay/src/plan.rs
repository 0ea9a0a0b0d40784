//! How a target is reached: addresses, TLS and credentials, checked when the settings are loaded.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::Fault;
use protocols::Protocol;
use protocols::greeting::{Entry, Security};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::settings::{TargetPart, TlsMode, mistake};
use crate::tls;

/// One target of the manifest, ready to be dialled.
pub(crate) struct TargetPlan {
    pub name: String,
    pub protocol: String,
    pub entry: &'static Entry,
    pub labels: BTreeMap<String, String>,
    /// `host:port`.
    pub address: String,
    pub databases: Vec<String>,
    pub server_names: Vec<String>,
    /// The host, as TLS checks it.
    pub host: ServerName<'static>,
    /// What to try, in this order.
    pub attempts: &'static [Security],
    pub credentials: BTreeMap<String, Arc<Credential>>,
    pub accept_superuser: bool,
    pub connect: Duration,
}

/// One of a target's credentials.
pub(crate) struct Credential {
    pub name: String,
    pub user: String,
    pub password: Option<String>,
    pub set_role: Option<String>,
    /// TLS with this credential's client certificate, unless the mode is `disable`.
    pub tls: Option<Arc<ClientConfig>>,
}

impl TargetPlan {
    /// Checks one target.
    pub fn new(part: TargetPart) -> Result<Self, Fault> {
        let wrong = |what: String| mistake(format!("target \"{}\": {what}", part.name));
        let entry = protocols::protocol(&part.protocol).map(Protocol::entry);
        let entry = entry.ok_or_else(|| wrong(format!("no protocol is called \"{}\"", part.protocol)))?;
        let address = with_port(&part.address, entry.descriptor.port);
        let host = host_of(&address).to_owned();
        let host = ServerName::try_from(host).map_err(|_| wrong(format!("address \"{address}\" has no valid host")))?;
        let mut credentials = BTreeMap::new();
        for (name, credential) in &part.credentials {
            let tls = match part.tls.mode {
                TlsMode::Disable => None,
                _ => Some(tls::towards(&part.tls, credential).map_err(|what| wrong(format!("tls: {what}")))?),
            };
            let credential = Credential {
                name: name.clone(),
                user: credential.user.clone(),
                password: credential.password.clone(),
                set_role: credential.set_role.clone(),
                tls,
            };
            credentials.insert(name.clone(), Arc::new(credential));
        }
        Ok(Self {
            attempts: attempts(part.tls.mode),
            connect: Duration::from_secs(part.connect_seconds.max(1)),
            name: part.name,
            protocol: part.protocol,
            entry,
            labels: part.labels,
            address,
            databases: part.databases,
            server_names: part.server_names,
            host,
            credentials,
            accept_superuser: part.accept_superuser,
        })
    }

    /// The nouns of this target for a session with `database`.
    pub fn target(&self, database: &str) -> model::Target {
        model::Target {
            name: self.name.clone(),
            protocol: self.protocol.clone(),
            database: database.to_owned(),
            labels: self.labels.clone(),
        }
    }
}

/// What libpq tries in each mode.
const fn attempts(mode: TlsMode) -> &'static [Security] {
    match mode {
        TlsMode::Disable => &[Security::Plain],
        TlsMode::Allow => &[Security::Plain, Security::Required],
        TlsMode::Prefer => &[Security::Offered, Security::Plain],
        TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => &[Security::Required],
    }
}

/// `address` with the protocol's usual port if it names none.
fn with_port(address: &str, port: u16) -> String {
    let after_brackets = address.rsplit_once(']').map_or(address, |(_, rest)| rest);
    let bare_v6 = !address.starts_with('[') && address.matches(':').count() > 1;
    match (bare_v6, after_brackets.contains(':')) {
        (true, _) => format!("[{address}]:{port}"),
        (false, true) => address.to_owned(),
        (false, false) => format!("{address}:{port}"),
    }
}

/// The host of `host:port`, without brackets.
fn host_of(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_gets_the_usual_port_and_gives_its_host() {
        for (address, full, host) in [
            ("db", "db:5432", "db"),
            ("db:1", "db:1", "db"),
            ("10.0.0.5", "10.0.0.5:5432", "10.0.0.5"),
            ("[::1]:7", "[::1]:7", "::1"),
            ("[::1]", "[::1]:5432", "::1"),
            ("::1", "[::1]:5432", "::1"),
        ] {
            assert_eq!(with_port(address, 5432), full);
            assert_eq!(host_of(full), host);
        }
    }
}
