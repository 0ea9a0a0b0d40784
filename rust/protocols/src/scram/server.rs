//! The server's half: it challenges, and judges the answer against several verifiers at once.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{END_POINT, Failure, Verifier, attribute, good_nonce, hmac, nonce, same, sha256, text, xor};

/// What the server offered when the exchange began, and what the client chose.
#[derive(Debug, Clone, Copy)]
pub struct Offer<'a> {
    /// The channel binding data, if the mechanism with binding was offered.
    pub binding: Option<&'a [u8]>,
    /// Whether the client chose the mechanism with binding.
    pub chosen_plus: bool,
}

/// An exchange that waits for the client's proof.
#[derive(Debug)]
pub struct Challenge {
    nonce: String,
    /// What the client must repeat of the channel binding, in base64.
    binding: String,
    client_first_bare: String,
    server_first: String,
}

impl Challenge {
    /// Answers the client's first message. `like` gives salt and iterations.
    ///
    /// # Errors
    /// The message is malformed, or the client's view of channel binding contradicts the offer (a downgrade).
    pub fn new(client_first: &[u8], offer: Offer<'_>, like: &Verifier) -> Result<Self, Failure> {
        Self::with_nonce(client_first, offer, like, &nonce()?)
    }

    /// As [`Challenge::new`], with a given nonce for the RFC's vectors.
    pub(super) fn with_nonce(first: &[u8], offer: Offer<'_>, like: &Verifier, ours: &str) -> Result<Self, Failure> {
        let mut rest = text(first)?;
        let header = gs2(&mut rest, offer)?;
        let bare = rest.to_owned();
        let _user = attribute(&mut rest, 'n')?; // The connection already named its user; this one is ignored.
        let client_nonce = attribute(&mut rest, 'r')?;
        if !good_nonce(client_nonce) {
            return Err(Failure::Malformed("the nonce is not printable or has an odd length"));
        }
        let nonce = format!("{client_nonce}{ours}");
        let mut bound = header.into_bytes();
        if offer.chosen_plus {
            bound.extend_from_slice(offer.binding.unwrap_or_default());
        }
        let server_first = format!("r={nonce},s={},i={}", STANDARD.encode(&like.salt), like.iterations);
        Ok(Self { nonce, binding: STANDARD.encode(bound), client_first_bare: bare, server_first })
    }

    /// The challenge to send.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.server_first
    }

    /// Judges the client's final message: which of `verifiers` it proves, and the server's own proof to send.
    ///
    /// # Errors
    /// The message is malformed, or proves none of them.
    pub fn judge(self, client_final: &[u8], verifiers: &[&Verifier]) -> Result<(usize, String), Failure> {
        let message = text(client_final)?;
        let (without_proof, proof) = message.rsplit_once(",p=").ok_or(Failure::Malformed("the proof is missing"))?;
        let proof = STANDARD.decode(proof).map_err(|_| Failure::Malformed("the proof is not base64"))?;
        let proof: [u8; 32] = proof.try_into().map_err(|_| Failure::Malformed("the proof has a wrong length"))?;
        let mut rest = without_proof;
        let binding = attribute(&mut rest, 'c')?;
        let nonce = attribute(&mut rest, 'r')?;
        let bound = same(binding.as_bytes(), self.binding.as_bytes()) & same(nonce.as_bytes(), self.nonce.as_bytes());

        let signed = [&self.client_first_bare, ",", &self.server_first, ",", without_proof].map(str::as_bytes);
        let mut proven = None;
        // Every verifier is tried whatever the earlier ones said, so that time tells nothing.
        for (index, verifier) in verifiers.iter().enumerate() {
            let client_key = xor(proof, &hmac(&verifier.stored_key, &signed));
            if same(&sha256(&client_key), &verifier.stored_key) {
                proven = Some((index, hmac(&verifier.server_key, &signed)));
            }
        }
        let (index, signature) = proven.filter(|_| bound).ok_or(Failure::Unproven)?;
        Ok((index, format!("v={}", STANDARD.encode(signature))))
    }
}

/// Takes the GS2 header off the front and checks it against the offer; returns it as sent.
fn gs2(rest: &mut &str, offer: Offer<'_>) -> Result<String, Failure> {
    let (flag, after) = rest.split_once(',').ok_or(Failure::Malformed("the GS2 header is missing"))?;
    let (authzid, after) = after.split_once(',').ok_or(Failure::Malformed("the GS2 header is cut short"))?;
    *rest = after;
    if !authzid.is_empty() {
        return Err(Failure::Malformed("acting for somebody else is not carried"));
    }
    match (flag, offer.chosen_plus) {
        ("n", false) => {}
        // "The server does not do channel binding": a lie somebody told the client, if we offered it.
        ("y", false) if offer.binding.is_some() => return Err(Failure::Unproven),
        ("y", false) => {}
        (flag, true) if flag.strip_prefix("p=") == Some(END_POINT) => {}
        _ => return Err(Failure::Malformed("the channel binding does not fit the mechanism")),
    }
    Ok(format!("{flag},,"))
}
