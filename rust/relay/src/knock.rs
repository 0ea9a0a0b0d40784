//! A client's login, from the first byte to a proven identity.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use model::{Fault, FaultKind, Principal, SessionId, Whose};
use protocols::greeting::{CancelKey, Entry, Greet, Greeting, Proof, Secured, Step, unproven};
use rustls::server::Acceptor;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;

use crate::core::Core;
use crate::metrics::Limit;
use crate::settings::Loaded;
use crate::stream::Stream;
use crate::tls::ServerTls;

/// A failed proof is answered at a multiple of this after it came, so that time does not tell why it failed.
const PACE: Duration = Duration::from_millis(300);
/// The first byte of a TLS connection.
const TLS_HANDSHAKE: u8 = 0x16;

/// What a login leaves behind.
pub(crate) struct Entered {
    pub stream: Stream,
    pub greeting: Box<dyn Greeting>,
    /// What the client sent beyond its login.
    pub input: BytesMut,
    pub principal: Principal,
    /// When the proof ceases to hold for the session, in seconds since 1970.
    pub until: Option<u64>,
    pub tls: bool,
    /// The name the client asked for in TLS.
    pub server_name: Option<String>,
}

/// Why nobody entered.
pub(crate) enum Left {
    /// The client went away, or was never one of ours.
    Quietly,
    /// To be told why.
    Told(Option<Stream>, Box<Fault>),
    /// It only wanted to cancel another session's work, and takes the close for the sign that this is done.
    Cancel(CancelKey, Option<Stream>),
}

/// Python's answer to a `login` event.
#[derive(Debug, Deserialize)]
struct Judgement {
    ok: bool,
    #[serde(default)]
    principal: Option<Principal>,
    #[serde(default)]
    until: Option<u64>,
}

/// A client at the door.
pub(crate) struct Knock<'a> {
    pub core: &'a Arc<Core>,
    pub loaded: &'a Loaded,
    pub entry: &'static Entry,
    pub peer: SocketAddr,
    pub session: SessionId,
    /// Whether there is no room for another session. Cancel requests are served all the same.
    pub full: bool,
}

/// Somebody to be told why.
fn told(fault: Fault) -> Left {
    Left::Told(None, Box::new(fault))
}

/// The door's state.
struct Door<'a> {
    knock: Knock<'a>,
    tls: Option<ServerTls>,
    greeting: Box<dyn Greeting>,
    stream: Option<Stream>,
    input: BytesMut,
    secured: bool,
    server_name: Option<String>,
    /// The user is known and a proof is being asked for.
    proving: bool,
    /// When the client last said something.
    heard: Instant,
}

impl<'a> Knock<'a> {
    /// Runs the login over `socket`.
    pub async fn enter(self, socket: TcpStream) -> Result<Entered, Left> {
        let limit = Duration::from_secs(self.loaded.limits.login_seconds.max(1));
        let deadline = tokio::time::Instant::now() + limit;
        let tls = self.loaded.tls.get(self.entry.descriptor.name).cloned();
        let local = self.peer.ip().to_canonical().is_loopback();
        let greeting = (self.entry.greet)(Greet { tls: tls.is_some(), local });
        let mut door = Door {
            knock: self,
            tls,
            greeting,
            stream: None,
            input: BytesMut::new(),
            secured: false,
            server_name: None,
            proving: false,
            heard: Instant::now(),
        };
        match tokio::time::timeout_at(deadline, door.pass(socket)).await {
            Ok(Ok((principal, until))) => door.entered(principal, until),
            Ok(Err(left)) => Err(door.turn_away(left).await),
            Err(_) => {
                door.knock.core.counters.met(Limit::Login);
                let message = format!("the login took longer than {} seconds", limit.as_secs());
                let fault = Fault::new(Whose::Client, FaultKind::Protocol, message);
                Err(Left::Told(door.stream.take(), fault.into()))
            }
        }
    }
}

impl Door<'_> {
    async fn pass(&mut self, socket: TcpStream) -> Result<(Principal, Option<u64>), Left> {
        self.begin(socket).await?;
        let proof = self.prove().await?;
        self.judge(proof).await
    }

    fn entered(mut self, principal: Principal, until: Option<u64>) -> Result<Entered, Left> {
        let Some(stream) = self.stream.take() else { return Err(Left::Quietly) };
        Ok(Entered {
            stream,
            greeting: self.greeting,
            input: self.input,
            principal,
            until,
            tls: self.secured,
            server_name: self.server_name,
        })
    }

    /// Looks at the first byte: TLS may begin without being asked for, if the protocol has a name for that.
    async fn begin(&mut self, socket: TcpStream) -> Result<(), Left> {
        let mut first = [0];
        if socket.peek(&mut first).await.map_err(|_| Left::Quietly)? == 0 {
            return Err(Left::Quietly);
        }
        let direct = first == [TLS_HANDSHAKE] && !self.knock.entry.descriptor.alpn.is_empty();
        if direct {
            return self.secure(socket, true).await;
        }
        self.stream = Some(Stream::Plain(socket));
        Ok(())
    }

    /// Talks until there is a proof to judge.
    async fn prove(&mut self) -> Result<Proof, Left> {
        let mut output = BytesMut::new();
        loop {
            if self.proving {
                self.throttled()?;
            }
            let step = self.greeting.advance(&mut self.input, &mut output).map_err(told)?;
            let Some(stream) = self.stream.as_mut() else { return Err(Left::Quietly) };
            if !output.is_empty() {
                stream.write_all_buf(&mut output).await.map_err(|_| Left::Quietly)?;
                stream.flush().await.map_err(|_| Left::Quietly)?;
            }
            match step {
                Step::More => {
                    if stream.read_buf(&mut self.input).await.map_err(|_| Left::Quietly)? == 0 {
                        return Err(Left::Quietly);
                    }
                    self.heard = Instant::now();
                }
                Step::Secure => match self.stream.take() {
                    Some(Stream::Plain(socket)) => self.secure(socket, false).await?,
                    _ => return Err(Left::Quietly),
                },
                Step::Identify => self.identify()?,
                Step::Judge(proof) => return Ok(proof),
                Step::Cancel(key) => return Err(Left::Cancel(key, self.stream.take())),
            }
        }
    }

    /// Encrypts the connection. Who begins with TLS must name the protocol in it, so that a browser's form cannot.
    async fn secure(&mut self, socket: TcpStream, direct: bool) -> Result<(), Left> {
        let Some(tls) = &self.tls else { return Err(Left::Quietly) };
        let begun = LazyConfigAcceptor::new(Acceptor::default(), socket).await.map_err(|_| Left::Quietly)?;
        let hello = begun.client_hello();
        let ours = self.knock.entry.descriptor.alpn;
        let named = hello.alpn().is_some_and(|mut names| names.any(|name| ours.contains(&name)));
        if direct && !named {
            return Err(Left::Quietly);
        }
        self.server_name = hello.server_name().map(str::to_owned);
        let stream = begun.into_stream(tls.config.clone()).await.map_err(|_| Left::Quietly)?;
        self.stream = Some(Stream::Server(Box::new(stream)));
        self.secured = true;
        self.greeting.secured(Secured { certificate: Some(tls.leaf.clone()) });
        Ok(())
    }

    /// The user is known: is there room, may it try, and how does it log in?
    fn identify(&mut self) -> Result<(), Left> {
        self.knock.core.open().map_err(told)?;
        if self.knock.full {
            self.knock.core.counters.met(Limit::Connections);
            let message =
                format!("the gateway has all {} connections it may have", self.knock.loaded.limits.connections);
            let fault = Fault::new(Whose::Gateway, FaultKind::TooMany, message);
            return Err(told(fault.hint("try again later, or raise limits.connections")));
        }
        self.throttled()?;
        self.proving = true;
        let method = self.knock.loaded.method(&self.greeting.opening().user);
        self.greeting.identified(method);
        Ok(())
    }

    fn throttled(&self) -> Result<(), Left> {
        let user = &self.greeting.opening().user;
        let Some(wait) = self.knock.core.throttle.wait(self.knock.peer.ip(), user, Instant::now()) else {
            return Ok(());
        };
        self.knock.core.counters.met(Limit::FailedLogins);
        let message = format!("too many failed logins: try again in {:.0} seconds", wait.as_secs_f64().ceil());
        Err(told(Fault::new(Whose::Client, FaultKind::TooMany, message)))
    }

    /// Asks Python, once.
    async fn judge(&mut self, proof: Proof) -> Result<(Principal, Option<u64>), Left> {
        let opening = self.greeting.opening();
        let proof = match proof {
            Proof::Scram { token } => json!({"kind": "scram", "token": *token}),
            Proof::Clear { secret } => json!({"kind": "clear", "secret": secret}),
        };
        let event = Map::from_iter([
            ("type".to_owned(), Value::from("login")),
            ("session".to_owned(), self.knock.session.to_string().into()),
            ("user".to_owned(), opening.user.as_str().into()),
            ("database".to_owned(), opening.database.as_str().into()),
            ("client".to_owned(), self.knock.peer.to_string().into()),
            ("tls".to_owned(), self.secured.into()),
            ("listener".to_owned(), self.knock.entry.descriptor.name.into()),
            ("proof".to_owned(), proof),
        ]);
        let busy = || {
            let message = "the gateway cannot check identities now";
            told(Fault::new(Whose::Gateway, FaultKind::TooMany, message).hint("try again in a moment"))
        };
        let mut asked = self.knock.core.events.ask(event).ok_or_else(busy)?;
        let limit = Duration::from_secs(self.knock.loaded.limits.login_seconds.max(1));
        let answer = tokio::time::timeout(limit, asked.answer()).await.ok().flatten().ok_or_else(busy)?;
        match serde_json::from_value(answer) {
            Ok(Judgement { ok: true, principal: Some(principal), until }) => {
                self.knock.core.throttle.succeeded(self.knock.peer.ip(), &principal.identity);
                Ok((principal, until))
            }
            _ => Err(told(unproven())),
        }
    }

    /// Counts and paces a failed proof, and hands the connection on to be told.
    async fn turn_away(&mut self, left: Left) -> Left {
        let Left::Told(_, fault) = left else { return left };
        if fault.kind == FaultKind::Unidentified && self.proving {
            self.failed();
            let paces = self.heard.elapsed().as_millis() / PACE.as_millis() + 1;
            let answer_at = self.heard + PACE * u32::try_from(paces).unwrap_or(1);
            tokio::time::sleep_until(answer_at.into()).await;
        }
        Left::Told(self.stream.take(), fault)
    }

    fn failed(&self) {
        let core = self.knock.core;
        let user = &self.greeting.opening().user;
        core.throttle.failed(self.knock.peer.ip(), user, Instant::now());
        core.counters.logins_failed.fetch_add(1, Ordering::Relaxed);
        core.tell(json!({
            "type": "alert",
            "what": "login_failed",
            "detail": {
                "session": self.knock.session.to_string(),
                "user": user,
                "client": self.knock.peer.to_string(),
                "listener": self.knock.entry.descriptor.name,
            },
        }));
    }
}
