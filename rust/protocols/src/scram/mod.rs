//! SCRAM-SHA-256 (RFC 5802, RFC 7677), both sides, with and without channel binding (RFC 5929).
//!
//! This knows SCRAM's own messages and nothing of the protocol that carries them. Every length is bounded before it is
//! kept, secrets are compared in constant time, and a hostile server cannot make the client work without end.

mod binding;
mod client;
mod server;
mod verifier;

#[cfg(test)]
mod tests;

pub use binding::end_point;
pub use client::{Client, Derivation, Derived};
pub use server::{Challenge, Offer};
pub use verifier::{BadVerifier, Verifier, salt_of};

/// The mechanism without channel binding.
pub const PLAIN: &str = "SCRAM-SHA-256";
/// The mechanism with channel binding.
pub const PLUS: &str = "SCRAM-SHA-256-PLUS";
/// The only channel binding spoken: a hash of the server's certificate.
pub const END_POINT: &str = "tls-server-end-point";
/// The longest SCRAM message taken, in bytes. Ours have under 300.
pub const MESSAGE_BYTES: usize = 2048;
/// Random bytes in a nonce; they travel as 32 characters.
const NONCE_BYTES: usize = 24;

/// Why an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The other side does not speak SCRAM as written.
    Malformed(&'static str),
    /// The other side proved nothing.
    Unproven,
    /// No random bytes were to be had.
    NoRandom,
}

/// A fresh nonce, as printable text.
fn nonce() -> Result<String, Failure> {
    use base64::Engine as _;
    let mut bytes = [0; NONCE_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Failure::NoRandom)?;
    Ok(base64::engine::general_purpose::STANDARD.encode(bytes))
}

/// HMAC-SHA-256.
fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key);
    let mut context = aws_lc_rs::hmac::Context::with_key(&key);
    parts.iter().for_each(|part| context.update(part));
    first_32(context.sign().as_ref())
}

/// SHA-256.
fn sha256(bytes: &[u8]) -> [u8; 32] {
    first_32(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref())
}

/// A 32-byte hash as an array.
fn first_32(bytes: &[u8]) -> [u8; 32] {
    let mut array = [0; 32];
    array.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    array
}

/// Compares secrets without telling by the time taken where they differ.
fn same(left: &[u8], right: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(left, right).is_ok()
}

/// Combines a proof with a signature, either way round.
fn xor(mut left: [u8; 32], right: &[u8; 32]) -> [u8; 32] {
    left.iter_mut().zip(right).for_each(|(to, from)| *to ^= from);
    left
}

/// A message as text without control characters, within the bound.
fn text(message: &[u8]) -> Result<&str, Failure> {
    if message.len() > MESSAGE_BYTES {
        return Err(Failure::Malformed("the message is too long"));
    }
    let text = std::str::from_utf8(message).map_err(|_| Failure::Malformed("the message is not UTF-8"))?;
    if text.chars().any(char::is_control) {
        return Err(Failure::Malformed("the message has control characters"));
    }
    Ok(text)
}

/// Takes `name=value` from the front of comma-separated attributes, leaving what follows the comma.
fn attribute<'a>(rest: &mut &'a str, name: char) -> Result<&'a str, Failure> {
    let (this, after) = rest.split_once(',').unwrap_or((rest, ""));
    let value = this.strip_prefix(name).and_then(|value| value.strip_prefix('='));
    *rest = after;
    value.ok_or(Failure::Malformed("an attribute is missing or out of order"))
}

/// Whether `nonce` is what RFC 5802 allows: printable, no comma, and of a sane length.
fn good_nonce(nonce: &str) -> bool {
    (1..=512).contains(&nonce.len()) && nonce.bytes().all(|byte| (0x21..=0x7e).contains(&byte) && byte != b',')
}
