//! What a protocol gives the relay: its two logins and the questions asked on the gateway's own connections.
//!
//! All of it is sans-io. The relay reads and writes, encrypts, keeps time and asks Python; a login only says what it
//! needs next. Limits are checked here, before anything is kept, because nobody has proven anything yet.

use std::fmt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use model::{Fault, FaultKind, Whose};

use crate::scram::{self, Verifier};
use crate::{Descriptor, Opening, Survey};

/// One protocol as the relay uses it: a line of the registry.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// What the protocol declares about itself.
    pub descriptor: &'static Descriptor,
    /// Begins the login of a client.
    pub greet: fn(Greet) -> Box<dyn Greeting>,
    /// Begins the gateway's own login to a target.
    pub dial: fn(Dial) -> Box<dyn Dialogue>,
    /// Begins the survey of a target's catalog, if the protocol has one.
    pub survey: Option<fn() -> Box<dyn Survey>>,
    /// Begins the look at what a credential may do that no rule could hold back.
    pub vet: Option<fn() -> Box<dyn Vet>>,
    /// A fault in the protocol's own words, for a client whose session has not begun.
    pub refuse: fn(&Fault) -> Bytes,
    /// What is sent to a target before its connection is closed.
    pub goodbye: &'static [u8],
}

/// What a client's login knows before the first byte.
#[derive(Debug, Clone, Copy)]
pub struct Greet {
    /// Whether the listener has a certificate, so that TLS can be offered.
    pub tls: bool,
    /// Whether the client connects from this machine, so that no wire carries what it says.
    pub local: bool,
}

/// What a login learns when TLS is up on its connection.
#[derive(Debug, Clone, Default)]
pub struct Secured {
    /// The server's leaf certificate (ours towards a client, the target's towards a target), in DER.
    pub certificate: Option<Bytes>,
}

/// What a client's login needs next. Output is always written first.
#[derive(Debug)]
pub enum Step {
    /// More bytes from the client.
    More,
    /// TLS on this connection, then [`Greeting::secured`].
    Secure,
    /// To know how the user that the client named may log in: [`Greeting::identified`].
    Identify,
    /// Somebody to judge this proof; then [`Greeting::admit`], or the connection ends.
    Judge(Proof),
    /// No session: the client asks to cancel what another session is doing. The connection ends without a word.
    Cancel(CancelKey),
}

/// The login of a client, up to the moment its session begins.
pub trait Greeting: Send {
    /// Consumes `input` and appends to `output`.
    ///
    /// # Errors
    /// The client broke the protocol, asked for what is not carried, or proved nothing. The connection ends.
    fn advance(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> Result<Step, Fault>;

    /// TLS is up. `input` of the next call is what was decrypted.
    fn secured(&mut self, secured: Secured);

    /// How the named user may log in.
    fn identified(&mut self, method: Method);

    /// Who and what the client named; complete from [`Step::Identify`] on.
    fn opening(&self) -> &Opening;

    /// Tells the client that it is in. `parameters` are the target's; `key` is the gateway's own.
    fn admit(&mut self, parameters: &[(Bytes, Bytes)], key: &SessionKey, output: &mut BytesMut);

    /// How many bytes of [`SessionKey::secret`] the client was given.
    fn key_bytes(&self) -> usize;
}

/// How a user may log in.
#[derive(Clone)]
pub enum Method {
    /// With a static token, of which the gateway holds verifiers.
    Scram(Vec<KnownToken>),
    /// With a token in clear, which Python verifies.
    Clear,
    /// Nobody is called so. The client must not find that out.
    Unknown,
}

/// One static token of an identity.
#[derive(Clone)]
pub struct KnownToken {
    /// The token's public id.
    pub id: Arc<str>,
    /// What proves it.
    pub verifier: Arc<Verifier>,
}

/// What a client offered as proof of its identity.
#[derive(Clone, PartialEq, Eq)]
pub enum Proof {
    /// It knows the static token with this id: that is proven.
    Scram {
        /// The token's public id.
        token: Arc<str>,
    },
    /// This is its token: nothing is proven yet.
    Clear {
        /// The token itself.
        secret: String,
    },
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scram { token } => f.debug_struct("Scram").field("token", token).finish(),
            Self::Clear { .. } => f.write_str("Clear"),
        }
    }
}

/// What names a session in a cancel request, made by the gateway for each session.
#[derive(Clone, Copy)]
pub struct SessionKey {
    /// Names the session to the client; not always to it alone. Never 0.
    pub id: u32,
    /// Proves that whoever cancels was told.
    pub secret: [u8; 32],
}

/// A cancel request's claim.
#[derive(Clone)]
pub struct CancelKey {
    /// The session it names.
    pub id: u32,
    /// The secret it was given.
    pub secret: Bytes,
}

impl fmt::Debug for CancelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Whether a connection to a target asks for TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// No TLS.
    Plain,
    /// TLS if the target offers it.
    Offered,
    /// TLS, or no connection.
    Required,
}

/// What a connection to a target is for.
#[derive(Clone)]
pub enum Purpose {
    /// A session, or the gateway's own questions.
    Login,
    /// To cancel what another connection is doing; the bytes are its [`Reached::cancel`].
    Cancel(Bytes),
}

/// Everything a login to a target needs.
#[derive(Clone)]
pub struct Dial {
    /// What the connection is for.
    pub purpose: Purpose,
    /// Whether to ask for TLS.
    pub security: Security,
    /// The target's name in the manifest, for messages.
    pub target: String,
    /// The credential's user.
    pub user: String,
    /// The credential's password, if it has one.
    pub password: Option<String>,
    /// The role to take on after the login.
    pub set_role: Option<String>,
    /// The database.
    pub database: String,
    /// How the gateway names itself to the target: identity and session.
    pub application: String,
    /// The client's start-up settings.
    pub settings: Vec<(String, String)>,
}

/// What a login to a target needs next. Output is always written first.
pub enum DialStep {
    /// More bytes from the target.
    More,
    /// TLS on this connection, then [`Dialogue::secured`].
    Secure,
    /// A key derived from the password: long work, to be done off the thread that serves sessions, and handed to
    /// [`Dialogue::derived`].
    Derive(scram::Derivation),
    /// The login is done.
    Reached(Reached),
    /// There was nothing to answer (a cancel request): the connection can be closed.
    Done,
}

/// What a login to a target learned.
#[derive(Debug, Clone, Default)]
pub struct Reached {
    /// Parameters the target reported, in the order reported.
    pub parameters: Vec<(Bytes, Bytes)>,
    /// What cancels the work of this connection, for [`Purpose::Cancel`]; empty if nothing does.
    pub cancel: Bytes,
    /// The number by which the target names this connection in what it says of it, so that the client can be given the
    /// same; 0 if there is none.
    pub number: u32,
}

/// The gateway's own login to a target.
pub trait Dialogue: Send {
    /// Consumes `input` and appends to `output`.
    ///
    /// # Errors
    /// The target refused the login, broke the protocol or asked for something unsafe.
    fn advance(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> Result<DialStep, Fault>;

    /// TLS is up.
    fn secured(&mut self, secured: Secured);

    /// The key asked for with [`DialStep::Derive`].
    fn derived(&mut self, derived: scram::Derived);

    /// Whether the fault just returned was the target's own answer to the login, so that another try with or without
    /// TLS may end otherwise.
    fn refused(&self) -> bool;
}

/// Asks a target what a credential may do that no rule could hold back.
pub trait Vet: Send {
    /// Consumes `input`, appends to `output`, and returns the dangerous powers found once the answer is complete.
    ///
    /// # Errors
    /// A fault of the target: it refused the question or broke the protocol.
    fn advance(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> Result<Option<Vec<String>>, Fault>;
}

/// The one answer to whoever does not prove an identity, whatever the cause: a wrong token, an unknown user, an expired
/// or revoked token, a refusal of the issuer. The cause stands in the log and in the trail.
#[must_use]
pub fn unproven() -> Fault {
    Fault::new(Whose::Client, FaultKind::Unidentified, "identity could not be established")
        .hint("the user must name an identity of the gateway, and the password must be a valid token of it")
}
