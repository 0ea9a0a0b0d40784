//! The client's half, spoken to targets. The slow part is a value of its own, to be computed elsewhere.

use std::num::NonZeroU32;

use aws_lc_rs::pbkdf2;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{END_POINT, Failure, attribute, good_nonce, hmac, nonce, same, sha256, text, xor};

/// The most rounds a server may ask for; above, a hostile server would be burning our processor.
const MOST_ROUNDS: u32 = 600_000;

/// An exchange with a server.
pub struct Client {
    header: String,
    binding: Vec<u8>,
    first_bare: String,
    nonce: String,
    /// What the server must sign, once the final message is out, and its key.
    expected: Option<[u8; 32]>,
}

/// Key derivation to be done off the thread that serves sessions.
pub struct Derivation {
    password: String,
    salt: Vec<u8>,
    rounds: NonZeroU32,
    server_first: String,
}

/// The derived key, to go on with.
pub struct Derived {
    salted: [u8; 32],
    server_first: String,
    nonce: String,
}

/// PBKDF2-HMAC-SHA-256 with a 32-byte result.
pub(super) fn salted(password: &str, salt: &[u8], rounds: NonZeroU32) -> [u8; 32] {
    let mut key = [0; 32];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, salt, password.as_bytes(), &mut key);
    key
}

impl Derivation {
    /// Does the work: up to a quarter of a second of one processor.
    #[must_use]
    pub fn run(self) -> Derived {
        let salted = salted(&self.password, &self.salt, self.rounds);
        let nonce = self.server_first.split(',').next().and_then(|first| first.strip_prefix("r=")).unwrap_or_default();
        Derived { salted, nonce: nonce.to_owned(), server_first: self.server_first }
    }
}

impl Client {
    /// Begins an exchange. `binding` is the channel binding data for the mechanism with binding; `over_tls` tells a
    /// server that did not offer it that we would have bound.
    ///
    /// # Errors
    /// No random bytes were to be had.
    pub fn new(binding: Option<Vec<u8>>, could_bind: bool) -> Result<Self, Failure> {
        Ok(Self::with_nonce(binding, could_bind, "", nonce()?))
    }

    /// As [`Client::new`], with a given nonce and user for the RFC's vectors.
    pub(super) fn with_nonce(binding: Option<Vec<u8>>, could_bind: bool, user: &str, nonce: String) -> Self {
        let header = match (&binding, could_bind) {
            (Some(_), _) => format!("p={END_POINT},,"),
            (None, true) => "y,,".to_owned(),
            (None, false) => "n,,".to_owned(),
        };
        let first_bare = format!("n={user},r={nonce}");
        Self { header, binding: binding.unwrap_or_default(), first_bare, nonce, expected: None }
    }

    /// The first message.
    #[must_use]
    pub fn first(&self) -> String {
        format!("{}{}", self.header, self.first_bare)
    }

    /// Takes the server's challenge; the answer needs this derivation done.
    ///
    /// # Errors
    /// The challenge is malformed, does not continue our nonce, or asks for too much work.
    pub fn challenged(&self, server_first: &[u8], password: &str) -> Result<Derivation, Failure> {
        let message = text(server_first)?;
        let mut rest = message;
        let nonce = attribute(&mut rest, 'r')?;
        if !good_nonce(nonce) || nonce.len() <= self.nonce.len() || !nonce.starts_with(&self.nonce) {
            return Err(Failure::Malformed("the server's nonce does not continue ours"));
        }
        let salt = STANDARD.decode(attribute(&mut rest, 's')?);
        let salt = salt.ok().filter(|salt| !salt.is_empty()).ok_or(Failure::Malformed("the salt is not base64"))?;
        let rounds: u32 =
            attribute(&mut rest, 'i')?.parse().map_err(|_| Failure::Malformed("the rounds are no number"))?;
        let rounds = NonZeroU32::new(rounds).filter(|rounds| rounds.get() <= MOST_ROUNDS);
        let rounds = rounds.ok_or(Failure::Malformed("the server asks for an unreasonable number of rounds"))?;
        Ok(Derivation { password: password.to_owned(), salt, rounds, server_first: message.to_owned() })
    }

    /// The final message.
    #[must_use]
    pub fn answer(&mut self, derived: &Derived) -> String {
        let bound = [self.header.as_bytes(), &self.binding].concat();
        let without_proof = format!("c={},r={}", STANDARD.encode(bound), derived.nonce);
        let signed = [&self.first_bare, ",", &derived.server_first, ",", &without_proof].map(str::as_bytes);
        let client_key = hmac(&derived.salted, &[b"Client Key"]);
        let proof = xor(client_key, &hmac(&sha256(&client_key), &signed));
        self.expected = Some(hmac(&hmac(&derived.salted, &[b"Server Key"]), &signed));
        format!("{without_proof},p={}", STANDARD.encode(proof))
    }

    /// Checks the server's proof: only a server that knows the verifier can give it.
    ///
    /// # Errors
    /// The message is malformed or proves nothing.
    pub fn confirm(&self, server_final: &[u8]) -> Result<(), Failure> {
        let mut rest = text(server_final)?;
        if rest.starts_with("e=") {
            return Err(Failure::Unproven);
        }
        let signature = STANDARD.decode(attribute(&mut rest, 'v')?);
        let signature = signature.map_err(|_| Failure::Malformed("the server's proof is not base64"))?;
        let expected = self.expected.ok_or(Failure::Malformed("the server's proof came too early"))?;
        if same(&signature, &expected) { Ok(()) } else { Err(Failure::Unproven) }
    }
}
