//! The gateway's side of a client's login.
//!
//! One state at a time; each says on one line what it waits for. Nothing is said about why a proof failed.

use bytes::{BufMut as _, Bytes, BytesMut};
use model::{Fault, FaultKind, Whose};

use super::packet::{self, Fields, Message};
use super::startup::{self, NEWEST_MINOR, Packet, Startup};
use crate::Opening;
use crate::greeting::{Greet, Greeting, KnownToken, Method, Proof, Secured, SessionKey, Step, unproven};
use crate::scram::{self, Challenge, Failure, Offer, Verifier};

/// The longest token taken in clear, in bytes. Signed tokens with many claims reach some ten thousand.
const CLEAR_BYTES: usize = 32_768;
/// The longest SASL message taken, with the mechanism's name around it, in bytes.
const SASL_BYTES: usize = scram::MESSAGE_BYTES + 64;

/// The login of one client.
pub(super) struct Login {
    greet: Greet,
    /// Set once TLS is up; holds the channel binding data if our certificate has any.
    secured: Option<Option<Vec<u8>>>,
    asked_tls: bool,
    asked_gss: bool,
    opening: Opening,
    state: State,
}

/// What the login waits for.
enum State {
    /// A start-up packet.
    Startup,
    /// The relay to finish TLS.
    Securing,
    /// The relay to say how the user logs in.
    Identifying,
    /// Nothing: the request for a proof is to be sent.
    Asking(Method),
    /// The client's choice of mechanism, and perhaps its first message.
    Mechanism(Candidates),
    /// The client's first message, which it held back.
    First(Candidates, bool),
    /// The client's proof.
    Last(Candidates, Challenge),
    /// A token in clear.
    Clear,
    /// The judgement on the proof; with it goes our own proof.
    Judging(Option<String>),
    /// Nothing more: the login failed or is done.
    Over,
}

/// The verifiers a proof is tried against; never empty, for unknown users have an imitation.
struct Candidates(Vec<(Option<std::sync::Arc<str>>, std::sync::Arc<Verifier>)>);

impl Candidates {
    /// The tokens that share the first one's salt and rounds, or an imitation.
    fn new(user: &str, tokens: Vec<KnownToken>) -> Result<Self, Failure> {
        let Some(first) = tokens.first().map(|token| token.verifier.clone()) else {
            return Ok(Self(vec![(None, std::sync::Arc::new(Verifier::imitation(user)?))]));
        };
        let alike =
            |token: &KnownToken| token.verifier.salt == first.salt && token.verifier.iterations == first.iterations;
        Ok(Self(tokens.into_iter().filter(alike).map(|token| (Some(token.id), token.verifier)).collect()))
    }

    fn like(&self) -> &Verifier {
        &self.0[0].1
    }
}

impl Login {
    pub fn new(greet: Greet) -> Self {
        let (secured, opening) = (None, Opening::default());
        Self { greet, secured, asked_tls: false, asked_gss: false, opening, state: State::Startup }
    }

    fn binding(&self) -> Option<&[u8]> {
        self.secured.as_ref()?.as_deref()
    }

    /// Handles one start-up packet, if it is all there.
    fn start(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> Result<Option<Step>, Fault> {
        let Some(packet) = packet::startup(input)? else { return Ok(Some(Step::More)) };
        match startup::read(packet)? {
            Packet::Ssl => self.ssl_request(input, output),
            Packet::Gssenc => self.gssenc_request(output),
            Packet::Cancel(key) => {
                self.state = State::Over;
                Ok(Some(Step::Cancel(key)))
            }
            Packet::Startup(startup) => {
                self.begin(startup, output);
                Ok(Some(Step::Identify))
            }
        }
    }

    fn ssl_request(&mut self, input: &BytesMut, output: &mut BytesMut) -> Result<Option<Step>, Fault> {
        if self.asked_tls || self.secured.is_some() {
            return Err(Fault::protocol(Whose::Client, "TLS was asked for twice"));
        }
        self.asked_tls = true;
        if !self.greet.tls {
            output.put_u8(b'N');
            return Ok(None);
        }
        if !input.is_empty() {
            // Whoever sits in the middle could have put these bytes there, to be taken as the client's own.
            return Err(Fault::protocol(Whose::Client, "unencrypted data came after the request for TLS"));
        }
        output.put_u8(b'S');
        self.state = State::Securing;
        Ok(Some(Step::Secure))
    }

    fn gssenc_request(&mut self, output: &mut BytesMut) -> Result<Option<Step>, Fault> {
        if self.asked_gss {
            return Err(Fault::protocol(Whose::Client, "GSSAPI encryption was asked for twice"));
        }
        self.asked_gss = true;
        output.put_u8(b'N');
        Ok(None)
    }

    fn begin(&mut self, startup: Startup, output: &mut BytesMut) {
        let minor = startup.minor();
        if startup.needs_negotiation() {
            packet::put(output, b'v', |body| {
                body.put_u32(3 << 16 | minor.min(NEWEST_MINOR));
                body.put_u32(u32::try_from(startup.unknown_options.len()).unwrap_or(u32::MAX));
                startup.unknown_options.iter().for_each(|name| packet::put_cstr(body, name.as_bytes()));
            });
        }
        self.opening = Opening {
            user: startup.user,
            database: startup.database,
            settings: startup.settings,
            minor_version: minor,
            parameters: Vec::new(),
        };
        self.state = State::Identifying;
    }

    /// Asks for the proof that fits the user.
    fn ask(&mut self, method: Method, output: &mut BytesMut) -> Result<State, Fault> {
        let tokens = match method {
            Method::Clear => return self.ask_clear(output),
            Method::Scram(tokens) => tokens,
            Method::Unknown => Vec::new(),
        };
        let candidates = Candidates::new(&self.opening.user, tokens).map_err(failed)?;
        let plus = self.binding().is_some();
        packet::put(output, b'R', |body| {
            body.put_u32(10);
            if plus {
                packet::put_cstr(body, scram::PLUS.as_bytes());
            }
            packet::put_cstr(body, scram::PLAIN.as_bytes());
            body.put_u8(0);
        });
        Ok(State::Mechanism(candidates))
    }

    fn ask_clear(&self, output: &mut BytesMut) -> Result<State, Fault> {
        if self.secured.is_none() && !self.greet.local {
            let message = "this identity's token may only travel inside TLS";
            let fault = Fault::new(Whose::Client, FaultKind::Unidentified, message);
            return Err(fault.hint("connect with sslmode=require or stricter"));
        }
        packet::put(output, b'R', |body| body.put_u32(3));
        Ok(State::Clear)
    }

    /// Takes a message of the client's proof, in the state `self.state` was in.
    fn prove(&mut self, state: State, message: Message, output: &mut BytesMut) -> Result<Option<Step>, Fault> {
        if message.tag != b'p' {
            let tag = char::from(message.tag).escape_default();
            return Err(Fault::protocol(Whose::Client, format!("message '{tag}' came where a proof was expected")));
        }
        match state {
            State::Mechanism(candidates) => self.mechanism(candidates, message.body, output),
            State::First(candidates, plus) => self.first(candidates, plus, &message.body, output),
            State::Last(candidates, challenge) => self.last(&candidates, challenge, &message.body).map(Some),
            _ => self.clear(message.body).map(Some),
        }
    }

    fn mechanism(&mut self, candidates: Candidates, body: Bytes, out: &mut BytesMut) -> Result<Option<Step>, Fault> {
        let mut fields = Fields::new(body, Whose::Client, "the SASL initial response");
        let name = fields.cstr()?;
        let plus = name == scram::PLUS.as_bytes() && self.binding().is_some();
        if !plus && name != scram::PLAIN.as_bytes() {
            return Err(Fault::protocol(Whose::Client, "the client chose a SASL mechanism that was not offered"));
        }
        let length = fields.u32()?;
        let response = fields.rest();
        if length == u32::MAX && response.is_empty() {
            packet::put(out, b'R', |body| body.put_u32(11));
            self.state = State::First(candidates, plus);
            return Ok(None);
        }
        if usize::try_from(length) != Ok(response.len()) {
            return Err(fields.short());
        }
        self.first(candidates, plus, &response, out)
    }

    fn first(
        &mut self,
        from: Candidates,
        plus: bool,
        message: &[u8],
        out: &mut BytesMut,
    ) -> Result<Option<Step>, Fault> {
        let offer = Offer { binding: self.binding(), chosen_plus: plus };
        let challenge = Challenge::new(message, offer, from.like()).map_err(failed)?;
        packet::put(out, b'R', |body| {
            body.put_u32(11);
            body.put_slice(challenge.message().as_bytes());
        });
        self.state = State::Last(from, challenge);
        Ok(None)
    }

    fn last(&mut self, candidates: &Candidates, challenge: Challenge, message: &[u8]) -> Result<Step, Fault> {
        let verifiers: Vec<&Verifier> = candidates.0.iter().map(|(_, verifier)| verifier.as_ref()).collect();
        let (index, proof) = challenge.judge(message, &verifiers).map_err(failed)?;
        let token = candidates.0.get(index).and_then(|(id, _)| id.clone()).ok_or_else(unproven)?;
        self.state = State::Judging(Some(proof));
        Ok(Step::Judge(Proof::Scram { token }))
    }

    fn clear(&mut self, body: Bytes) -> Result<Step, Fault> {
        let mut fields = Fields::new(body, Whose::Client, "the password message");
        let secret = fields.text()?;
        fields.end()?;
        if secret.is_empty() {
            return Err(unproven());
        }
        self.state = State::Judging(None);
        Ok(Step::Judge(Proof::Clear { secret }))
    }

    /// How long the next message may be.
    fn most(state: &State) -> usize {
        if matches!(state, State::Clear) { CLEAR_BYTES } else { SASL_BYTES }
    }

    /// One step; `None` means that another can be tried at once.
    fn step(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> Result<Option<Step>, Fault> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Startup => {
                self.state = State::Startup;
                self.start(input, output)
            }
            State::Identifying => {
                self.state = State::Identifying;
                Ok(Some(Step::Identify))
            }
            State::Asking(method) => {
                self.state = self.ask(method, output)?;
                Ok(None)
            }
            waits @ (State::Securing | State::Judging(_) | State::Over) => {
                self.state = waits;
                Ok(Some(Step::More))
            }
            state => {
                let Some(message) = packet::message(input, Self::most(&state), Whose::Client)? else {
                    self.state = state;
                    return Ok(Some(Step::More));
                };
                self.prove(state, message, output)
            }
        }
    }
}

/// A failed exchange as a fault: what is malformed is said, what is wrong is not.
fn failed(failure: Failure) -> Fault {
    match failure {
        Failure::Malformed(what) => Fault::protocol(Whose::Client, format!("malformed SCRAM message: {what}")),
        Failure::Unproven => unproven(),
        Failure::NoRandom => Fault::new(Whose::Gateway, FaultKind::Internal, "the gateway has no random bytes"),
    }
}

impl Greeting for Login {
    fn advance(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> Result<Step, Fault> {
        loop {
            if let Some(step) = self.step(input, output)? {
                return Ok(step);
            }
        }
    }

    fn secured(&mut self, secured: Secured) {
        self.secured = Some(secured.certificate.and_then(|certificate| scram::end_point(&certificate)));
        self.state = State::Startup;
    }

    fn identified(&mut self, method: Method) {
        if matches!(self.state, State::Identifying) {
            self.state = State::Asking(method);
        }
    }

    fn opening(&self) -> &Opening {
        &self.opening
    }

    fn admit(&mut self, parameters: &[(Bytes, Bytes)], key: &SessionKey, output: &mut BytesMut) {
        if let State::Judging(Some(proof)) = std::mem::replace(&mut self.state, State::Over) {
            packet::put(output, b'R', |body| {
                body.put_u32(12);
                body.put_slice(proof.as_bytes());
            });
        }
        packet::put(output, b'R', |body| body.put_u32(0));
        for (name, value) in parameters {
            packet::put(output, b'S', |body| {
                packet::put_cstr(body, name);
                packet::put_cstr(body, value);
            });
        }
        packet::put(output, b'K', |body| {
            body.put_u32(key.id);
            body.put_slice(&key.secret[..self.key_bytes()]);
        });
        packet::put(output, b'Z', |body| body.put_u8(b'I'));
    }

    fn key_bytes(&self) -> usize {
        if self.opening.minor_version >= 2 { 32 } else { 4 }
    }
}
