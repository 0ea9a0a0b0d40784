//! The gateway's own login to a target.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use model::{Fault, FaultKind, Whose};

use super::packet::{self, Fields, Message};
use super::{md5, reply, startup};
use crate::greeting::{Dial, DialStep, Dialogue, Purpose, Reached, Secured, Security};
use crate::scram::{self, Client, Derived, Failure};

/// The longest message taken during a login, in bytes.
const MESSAGE_BYTES: usize = 65_536;
/// How many parameters a target may report during its login.
const PARAMETERS: usize = 1_000;
/// Length of an application name at which PostgreSQL would cut it.
const APPLICATION_BYTES: usize = 63;

/// The login to one target.
pub(super) struct Login {
    dial: Dial,
    /// Set once TLS is up; holds the channel binding data if the target's certificate has any.
    secured: Option<Option<Vec<u8>>>,
    refused: bool,
    reached: Reached,
    state: State,
}

/// What the login waits for.
enum State {
    /// Nothing: the first packet is to be sent.
    Begin,
    /// The target's answer to the request for TLS.
    Offer,
    /// The relay to finish TLS.
    Securing,
    /// Nothing: the start-up packet is to be sent.
    Startup,
    /// A request for a proof, or that none is needed.
    Proof,
    /// The target's challenge.
    Challenge(Client),
    /// The key, from whoever derives it.
    Deriving(Client),
    /// Nothing: the answer to the challenge is to be sent.
    Answer(Client, Derived),
    /// The target's own proof.
    Confirm(Client),
    /// Its word that the login is done.
    Ok,
    /// Parameters, key, and the first ReadyForQuery.
    Settling,
    /// Nothing more.
    Over,
}

impl Login {
    pub fn new(dial: Dial) -> Self {
        Self { dial, secured: None, refused: false, reached: Reached::default(), state: State::Begin }
    }

    fn fault(&self, kind: FaultKind, what: &str) -> Fault {
        Fault::new(Whose::Target, kind, format!("target \"{}\" {what}", self.dial.target))
    }

    fn broken(&self, what: &str) -> Fault {
        self.fault(FaultKind::Unreachable, &format!("broke the protocol during login: {what}"))
    }

    fn begin(&mut self, output: &mut BytesMut) -> State {
        if self.dial.security == Security::Plain {
            return State::Startup;
        }
        packet::put_untagged(output, |body| body.put_u32(startup::ssl_request()));
        State::Offer
    }

    /// The target's one-byte answer to the request for TLS.
    fn offered(&mut self, input: &mut BytesMut) -> Result<(State, Option<DialStep>), Fault> {
        let Some(answer) = input.first().copied() else { return Ok((State::Offer, Some(DialStep::More))) };
        input.advance(1);
        match answer {
            b'S' if input.is_empty() => Ok((State::Securing, Some(DialStep::Secure))),
            b'S' => Err(self.broken("unencrypted data came after its consent to TLS")),
            b'N' if self.dial.security == Security::Offered => Ok((State::Startup, None)),
            b'N' => {
                let fault = self.fault(FaultKind::Unreachable, "does not offer TLS");
                Err(fault.hint("turn TLS on at the target, or change the target's tls.mode in the manifest"))
            }
            _ => Err(self.broken("it answered the request for TLS with something else")),
        }
    }

    /// The start-up packet, or the cancel request.
    fn startup(&mut self, output: &mut BytesMut) -> (State, Option<DialStep>) {
        if let Purpose::Cancel(request) = &self.dial.purpose {
            output.put_slice(request);
            return (State::Over, Some(DialStep::Done));
        }
        let dial = &self.dial;
        packet::put_untagged(output, |body| {
            body.put_u32(3 << 16);
            let mut setting = |name: &str, value: &str| {
                packet::put_cstr(body, name.as_bytes());
                packet::put_cstr(body, value.as_bytes());
            };
            setting("user", &dial.user);
            setting("database", &dial.database);
            for (name, value) in dial.settings.iter().filter(|(name, _)| passes(name, dial.set_role.is_some())) {
                setting(name, value);
            }
            setting("application_name", &cut(&dial.application, APPLICATION_BYTES));
            // As a start-up setting the role is what RESET goes back to, too. It comes after the client's own options.
            if let Some(role) = &dial.set_role {
                setting("role", role);
            }
            body.put_u8(0);
        });
        (State::Proof, None)
    }

    /// Handles one message. What the state does not expect breaks the protocol.
    fn heard(
        &mut self,
        state: State,
        message: Message,
        output: &mut BytesMut,
    ) -> Result<(State, Option<DialStep>), Fault> {
        match (state, message.tag) {
            (_, b'E') => {
                self.refused = true;
                Err(reply::login_fault(&self.dial.target, message.body))
            }
            (state, b'N') => Ok((state, None)),
            (state, b'R') => {
                let mut fields = Fields::new(message.body, Whose::Target, "the request for a proof");
                let code = fields.u32().map_err(|fault| self.broken(&fault.message))?;
                self.asked(state, code, fields.rest(), output)
            }
            (State::Settling, b'S') => self.parameter(message.body).map(|()| (State::Settling, None)),
            (State::Settling, b'K') => self.key(&message.body).map(|()| (State::Settling, None)),
            (State::Settling, b'Z') => Ok((State::Over, Some(DialStep::Reached(std::mem::take(&mut self.reached))))),
            (_, tag) => Err(self.broken(&format!("message '{}' is out of place", char::from(tag).escape_default()))),
        }
    }

    fn asked(
        &mut self,
        state: State,
        code: u32,
        body: Bytes,
        out: &mut BytesMut,
    ) -> Result<(State, Option<DialStep>), Fault> {
        match (state, code) {
            (State::Proof | State::Ok, 0) => Ok((State::Settling, None)),
            (State::Proof, 3) => self.clear(out).map(|()| (State::Ok, None)),
            (State::Proof, 5) => self.hashed(&body, out).map(|()| (State::Ok, None)),
            (State::Proof, 10) => self.sasl(&body, out).map(|client| (State::Challenge(client), None)),
            (State::Challenge(client), 11) => {
                let derivation = client.challenged(&body, self.password()?).map_err(|failure| self.failed(failure))?;
                Ok((State::Deriving(client), Some(DialStep::Derive(derivation))))
            }
            (State::Confirm(client), 12) => {
                client.confirm(&body).map_err(|failure| self.failed(failure))?;
                Ok((State::Ok, None))
            }
            (State::Proof, 2 | 6 | 7 | 9) => {
                let fault =
                    self.fault(FaultKind::Unsupported, "asks for Kerberos, GSSAPI or SSPI, which is not spoken");
                Err(fault.hint("let its pg_hba.conf ask the gateway's user for scram-sha-256"))
            }
            // A target that leaves out its own proof does not know the password's verifier: it is somebody else.
            _ => Err(self.broken("a step of the authentication is missing or out of order")),
        }
    }

    fn password(&self) -> Result<&str, Fault> {
        self.dial.password.as_deref().ok_or_else(|| {
            let message =
                format!("the credential for target \"{}\" has no password, and it asks for one", self.dial.target);
            Fault::new(Whose::Gateway, FaultKind::Unreachable, message)
        })
    }

    fn clear(&self, output: &mut BytesMut) -> Result<(), Fault> {
        if self.secured.is_none() {
            let fault = self.fault(FaultKind::Unreachable, "asks for the password in clear outside TLS");
            return Err(fault.hint("set the target's tls.mode to require or stricter, or use scram-sha-256 there"));
        }
        let password = self.password()?;
        packet::put(output, b'p', |body| packet::put_cstr(body, password.as_bytes()));
        Ok(())
    }

    fn hashed(&self, salt: &[u8], output: &mut BytesMut) -> Result<(), Fault> {
        if salt.len() != 4 {
            return Err(self.broken("the salt for md5 has a wrong length"));
        }
        let inner = md5::hex(&[self.password()?.as_bytes(), self.dial.user.as_bytes()]);
        let outer = format!("md5{}", md5::hex(&[inner.as_bytes(), salt]));
        packet::put(output, b'p', |body| packet::put_cstr(body, outer.as_bytes()));
        Ok(())
    }

    fn sasl(&self, mechanisms: &[u8], output: &mut BytesMut) -> Result<Client, Fault> {
        let offers = |name: &str| mechanisms.split(|byte| *byte == 0).any(|offer| offer == name.as_bytes());
        let binding = self.secured.as_ref().and_then(Option::as_ref);
        let (name, bound) = match binding {
            Some(data) if offers(scram::PLUS) => (scram::PLUS, Some(data.clone())),
            _ if offers(scram::PLAIN) => (scram::PLAIN, None),
            _ => return Err(self.broken("it offers no SASL mechanism that is spoken here")),
        };
        let client = Client::new(bound, binding.is_some()).map_err(|failure| self.failed(failure))?;
        let first = client.first();
        packet::put(output, b'p', |body| {
            packet::put_cstr(body, name.as_bytes());
            body.put_u32(u32::try_from(first.len()).unwrap_or(u32::MAX));
            body.put_slice(first.as_bytes());
        });
        Ok(client)
    }

    fn failed(&self, failure: Failure) -> Fault {
        match failure {
            Failure::Malformed(what) => self.broken(&format!("SCRAM: {what}")),
            Failure::Unproven => {
                self.fault(FaultKind::Unreachable, "could not prove that it knows the credential's password")
            }
            Failure::NoRandom => Fault::new(Whose::Gateway, FaultKind::Internal, "the gateway has no random bytes"),
        }
    }

    fn parameter(&mut self, body: Bytes) -> Result<(), Fault> {
        let mut fields = Fields::new(body, Whose::Target, "a parameter's report");
        let parameter = (fields.cstr(), fields.cstr());
        match parameter {
            (Ok(name), Ok(value)) if self.reached.parameters.len() < PARAMETERS => {
                self.reached.parameters.push((name, value));
                Ok(())
            }
            _ => Err(self.broken("its reported parameters are malformed or too many")),
        }
    }

    fn key(&mut self, body: &[u8]) -> Result<(), Fault> {
        if !(8..=260).contains(&body.len()) {
            return Err(self.broken("its cancel key has a wrong length"));
        }
        let mut request = BytesMut::new();
        // The process: the target's notifications, locks and views name it.
        self.reached.number = body.first_chunk().copied().map_or(0, u32::from_be_bytes);
        packet::put_untagged(&mut request, |packet| {
            packet.put_u32(startup::CANCEL_REQUEST);
            packet.put_slice(body);
        });
        self.reached.cancel = request.freeze();
        Ok(())
    }

    /// One step; `None` means that another can be tried at once.
    fn step(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> Result<Option<DialStep>, Fault> {
        let state = std::mem::replace(&mut self.state, State::Over);
        let (next, step) = match state {
            State::Begin => (self.begin(output), None),
            State::Offer => self.offered(input)?,
            State::Startup => self.startup(output),
            State::Answer(mut client, derived) => {
                let answer = client.answer(&derived);
                packet::put(output, b'p', |body| body.put_slice(answer.as_bytes()));
                (State::Confirm(client), None)
            }
            waits @ (State::Securing | State::Deriving(_) | State::Over) => (waits, Some(DialStep::More)),
            state => match packet::message(input, MESSAGE_BYTES, Whose::Target) {
                Err(fault) => return Err(self.broken(&fault.message)),
                Ok(None) => (state, Some(DialStep::More)),
                Ok(Some(message)) => self.heard(state, message, output)?,
            },
        };
        self.state = next;
        Ok(step)
    }
}

/// Whether a client's start-up setting is passed on; those left out are the gateway's to set.
fn passes(name: &str, role_is_set: bool) -> bool {
    let is = |ours: &str| name.eq_ignore_ascii_case(ours);
    !(is("user") || is("database") || is("replication") || is("application_name") || role_is_set && is("role"))
}

/// `text` cut to at most `most` bytes at a character's border. The session's id, at its end, stays whole.
fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let (head, tail) = text.rsplit_once('/').unwrap_or((text, ""));
    let room = most.saturating_sub(tail.len() + 1);
    let end = (0..=room.min(head.len())).rev().find(|at| head.is_char_boundary(*at)).unwrap_or(0);
    format!("{}/{tail}", &head[..end])
}

impl Dialogue for Login {
    fn advance(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> Result<DialStep, Fault> {
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

    fn derived(&mut self, derived: Derived) {
        self.state = match std::mem::replace(&mut self.state, State::Over) {
            State::Deriving(client) => State::Answer(client, derived),
            other => other,
        };
    }

    fn refused(&self) -> bool {
        self.refused
    }
}
