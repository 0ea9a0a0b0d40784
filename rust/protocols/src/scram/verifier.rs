//! What a server keeps instead of a password.

use std::fmt;
use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{hmac, sha256};

/// A stored verifier, `SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>`, as PostgreSQL writes them.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    /// Rounds of the key derivation.
    pub iterations: NonZeroU32,
    /// The salt, 1 to 64 bytes.
    pub salt: Vec<u8>,
    /// Hash of the client's key.
    pub(super) stored_key: [u8; 32],
    /// The key that signs for the server.
    pub(super) server_key: [u8; 32],
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

/// Why a text is no verifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadVerifier(pub &'static str);

impl fmt::Display for BadVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// The rounds that tokens are hashed with; they are random, so more would buy nothing.
const ROUNDS: NonZeroU32 = NonZeroU32::new(4096).unwrap();

/// The salt of every token of `identity`. Derived, so that two live tokens share it and an unknown user's imitation
/// cannot be told from the real thing.
#[must_use]
pub fn salt_of(identity: &str) -> [u8; 16] {
    let hash = sha256(format!("penstock-scram-salt:{identity}").as_bytes());
    let mut salt = [0; 16];
    salt.copy_from_slice(&hash[..16]);
    salt
}

impl Verifier {
    /// Reads a stored verifier.
    ///
    /// # Errors
    /// The text has another shape; the message says which part.
    pub fn parse(text: &str) -> Result<Self, BadVerifier> {
        let rest = text.strip_prefix("SCRAM-SHA-256$");
        let rest = rest.ok_or(BadVerifier("a verifier begins with SCRAM-SHA-256$"))?;
        let (head, keys) = rest.split_once('$').ok_or(BadVerifier("a verifier has two parts after its name"))?;
        let (iterations, salt) = head.split_once(':').ok_or(BadVerifier("the salt is missing"))?;
        let (stored, server) = keys.split_once(':').ok_or(BadVerifier("the server key is missing"))?;
        let iterations: u32 = iterations.parse().map_err(|_| BadVerifier("the iterations are no number"))?;
        let iterations = NonZeroU32::new(iterations).filter(|rounds| (4096..=1_000_000).contains(&rounds.get()));
        let salt = STANDARD.decode(salt).map_err(|_| BadVerifier("the salt is not base64"))?;
        if !(1..=64).contains(&salt.len()) {
            return Err(BadVerifier("the salt must have 1 to 64 bytes"));
        }
        Ok(Self {
            iterations: iterations.ok_or(BadVerifier("the iterations must be from 4096 to 1000000"))?,
            salt,
            stored_key: key(stored)?,
            server_key: key(server)?,
        })
    }

    /// The verifier of `password`.
    #[must_use]
    pub fn of(password: &str, salt: &[u8], iterations: NonZeroU32) -> Self {
        let salted = super::client::salted(password, salt, iterations);
        let stored_key = sha256(&hmac(&salted, &[b"Client Key"]));
        Self { iterations, salt: salt.to_vec(), stored_key, server_key: hmac(&salted, &[b"Server Key"]) }
    }

    /// A verifier for a user that does not exist: same shape and same salt at every try, and no password fits.
    ///
    /// # Errors
    /// No random bytes were to be had.
    pub fn imitation(user: &str) -> Result<Self, super::Failure> {
        let (mut stored_key, mut server_key) = ([0; 32], [0; 32]);
        aws_lc_rs::rand::fill(&mut stored_key).map_err(|_| super::Failure::NoRandom)?;
        aws_lc_rs::rand::fill(&mut server_key).map_err(|_| super::Failure::NoRandom)?;
        Ok(Self { iterations: ROUNDS, salt: salt_of(user).to_vec(), stored_key, server_key })
    }
}

/// One of the two keys.
fn key(text: &str) -> Result<[u8; 32], BadVerifier> {
    let bytes = STANDARD.decode(text).map_err(|_| BadVerifier("a key is not base64"))?;
    bytes.try_into().map_err(|_| BadVerifier("a key must have 32 bytes"))
}
