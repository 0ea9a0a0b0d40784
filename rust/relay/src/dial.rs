//! Connections to targets: the protocol's login driven over a socket, within the target's own time limit.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use model::{Fault, FaultKind, Whose};
use protocols::greeting::{Dial, DialStep, Dialogue, Purpose, Reached, Secured, Security};
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::plan::{Credential, TargetPlan};
use crate::stream::{self, Stream};

/// A logged-in connection to a target.
pub(crate) struct Connection {
    pub stream: Stream,
    /// What the target sent beyond its login.
    pub input: BytesMut,
    pub reached: Reached,
    /// Whether TLS is used, so that a cancel request can travel alike.
    pub security: Security,
}

/// What a connection is opened for.
pub(crate) struct Errand<'a> {
    pub database: &'a str,
    pub application: String,
    pub settings: Vec<(String, String)>,
}

fn fault(plan: &TargetPlan, what: &str) -> Fault {
    Fault::new(Whose::Target, FaultKind::Unreachable, format!("target \"{}\" {what}", plan.name))
}

fn hint(fault: Fault) -> Fault {
    fault.hint("check that the target is up and that the gateway may reach it")
}

/// Logs in to `plan` with `credential`, trying what the TLS mode allows.
pub(crate) async fn reach(plan: &TargetPlan, credential: &Credential, errand: Errand<'_>) -> Result<Connection, Fault> {
    let dial = Dial {
        purpose: Purpose::Login,
        security: Security::Plain,
        target: plan.name.clone(),
        user: credential.user.clone(),
        password: credential.password.clone(),
        set_role: credential.set_role.clone(),
        database: errand.database.to_owned(),
        application: errand.application,
        settings: errand.settings,
    };
    let tries = async {
        let mut last = None;
        for security in plan.attempts {
            match attempt(plan, credential, Dial { security: *security, ..dial.clone() }).await {
                Ok(connection) => return Ok(connection),
                Err((fault, again)) => last = Some((fault, again)),
            }
            if last.as_ref().is_some_and(|(_, again)| !again) {
                break;
            }
        }
        Err(last.map_or_else(|| fault(plan, "has no way to be reached"), |(fault, _)| fault))
    };
    match tokio::time::timeout(plan.connect, tries).await {
        Ok(outcome) => outcome,
        Err(_) => Err(hint(fault(plan, &format!("did not answer within {} seconds", plan.connect.as_secs())))),
    }
}

/// Sends the cancel request of another connection. It gets no answer, and none is waited for beyond the close.
pub(crate) async fn cancel(plan: &TargetPlan, credential: &Credential, request: Bytes, security: Security) {
    let dial = Dial {
        purpose: Purpose::Cancel(request),
        security,
        target: plan.name.clone(),
        user: String::new(),
        password: None,
        set_role: None,
        database: String::new(),
        application: String::new(),
        settings: Vec::new(),
    };
    let sent = tokio::time::timeout(plan.connect, attempt(plan, credential, dial)).await;
    if let Ok(Ok(mut connection)) = sent {
        // The target closes when it has acted, so that a session that ends next is not overtaken.
        connection.stream.part(b"", Duration::from_secs(2)).await;
    } else {
        tracing::warn!(target = %plan.name, "a cancel request could not be sent");
    }
}

/// One try. The flag says whether another one, with other security, may end otherwise.
async fn attempt(plan: &TargetPlan, credential: &Credential, dial: Dial) -> Result<Connection, (Fault, bool)> {
    let security = dial.security;
    let mut dialogue = (plan.entry.dial)(dial);
    let mut stream = Stream::Plain(connect(plan).await.map_err(|fault| (fault, false))?);
    let (mut input, mut output) = (BytesMut::new(), BytesMut::new());
    let mut encrypted = false;
    let broken = |error: io::Error| (hint(fault(plan, &format!("broke the connection during login: {error}"))), false);
    loop {
        let step = dialogue.advance(&mut input, &mut output);
        let step = step.map_err(|fault| (fault, dialogue.refused() && (encrypted || security == Security::Plain)))?;
        if !output.is_empty() {
            stream.write_all_buf(&mut output).await.map_err(broken)?;
            stream.flush().await.map_err(broken)?;
        }
        match step {
            DialStep::More => {
                if stream.read_buf(&mut input).await.map_err(broken)? == 0 {
                    return Err((hint(fault(plan, "closed the connection during login")), false));
                }
            }
            DialStep::Secure => {
                let secured =
                    secure(plan, credential, stream).await.map_err(|fault| (fault, security == Security::Offered))?;
                (stream, encrypted) = (secured.0, true);
                dialogue.secured(secured.1);
            }
            DialStep::Derive(derivation) => derive(&mut *dialogue, derivation).await.map_err(|fault| (fault, false))?,
            DialStep::Reached(reached) => {
                let security = if encrypted { Security::Required } else { Security::Plain };
                return Ok(Connection { stream, input, reached, security });
            }
            DialStep::Done => return Ok(Connection { stream, input, reached: Reached::default(), security }),
        }
    }
}

/// Derives a key where it delays nobody.
async fn derive(dialogue: &mut dyn Dialogue, derivation: protocols::scram::Derivation) -> Result<(), Fault> {
    let derived = tokio::task::spawn_blocking(move || derivation.run()).await;
    dialogue.derived(derived.map_err(|_| Fault::new(Whose::Gateway, FaultKind::Internal, "a key was not derived"))?);
    Ok(())
}

/// Opens the socket, trying every address of the name.
async fn connect(plan: &TargetPlan) -> Result<TcpStream, Fault> {
    let unreachable = |error: io::Error| hint(fault(plan, &format!("cannot be reached: {error}")));
    let socket = TcpStream::connect(&plan.address).await.map_err(unreachable)?;
    stream::prepare(&socket);
    Ok(socket)
}

/// Encrypts the connection.
async fn secure(plan: &TargetPlan, credential: &Credential, stream: Stream) -> Result<(Stream, Secured), Fault> {
    let (Some(config), Stream::Plain(socket)) = (&credential.tls, stream) else {
        return Err(fault(plan, "asked for TLS at a moment at which there is none"));
    };
    let connector = tokio_rustls::TlsConnector::from(config.clone());
    let stream = connector.connect(plan.host.clone(), socket).await.map_err(|error| {
        fault(plan, &format!("and the gateway did not agree on TLS: {error}"))
            .hint("check the target's certificate against tls.ca and tls.mode in the manifest")
    })?;
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[CertificateDer<'_>]>::first);
    let certificate = certificate.map(|leaf| Bytes::copy_from_slice(leaf));
    Ok((Stream::Client(Box::new(stream)), Secured { certificate }))
}
