//! Writing one session's records.

use model::{Exchange, Fault, FaultKind, SessionId, Whose};

use crate::canonical::{Content, Direction, Head, Place};
use crate::clock;
use crate::evidence::Evidence;
use crate::flush::Position;
use crate::scratch::{self, Scratch};
use crate::trail::{Trail, evidence_body};

/// Payload is cut into records of at most this, in bytes.
const PIECE: usize = 64 << 10;
/// No session has more exchanges whose payload is being hashed at once.
const OPEN_EXCHANGES: usize = 1024;

/// How much of what is delivered the trail keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Results {
    /// The bytes, as delivered.
    #[default]
    Full,
    /// Their hash and count only.
    Digest,
}

/// What was delivered in one exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// BLAKE3 of the bytes to the client, in hex.
    pub hash: String,
    /// How many bytes.
    pub bytes: u64,
}

/// Payload of one exchange that is being hashed.
#[derive(Debug)]
struct Hashing {
    place: Place,
    hasher: Box<blake3::Hasher>,
}

/// The writer of one session. One at a time: the session's owner has it.
#[derive(Debug)]
pub struct SessionTrail {
    trail: Trail,
    session: SessionId,
    results: Results,
    last: u64,
    hashing: Vec<Hashing>,
}

impl SessionTrail {
    pub(crate) const fn new(trail: Trail, session: SessionId) -> Self {
        Self { trail, session, results: Results::Full, last: 0, hashing: Vec::new() }
    }

    /// Sets how much of what is delivered is kept.
    #[must_use]
    pub const fn results(mut self, results: Results) -> Self {
        self.results = results;
        self
    }

    /// The session's id.
    #[must_use]
    pub const fn id(&self) -> SessionId {
        self.session
    }

    /// The trail this writes to.
    #[must_use]
    pub const fn trail(&self) -> &Trail {
        &self.trail
    }

    /// Records `body` for an exchange, or for the session itself with exchange 0. When this returns, the kernel has it.
    ///
    /// # Errors
    /// The trail cannot be written, or the body is too long for one record.
    pub fn evidence(&mut self, place: impl Into<Place>, body: &impl Evidence) -> Result<Position, Fault> {
        let mut batch = self.batch();
        batch.evidence(place, body)?;
        batch.commit()
    }

    /// Records `bytes` about to be released to the client. When this returns, the kernel has them.
    ///
    /// # Errors
    /// The trail cannot be written.
    pub fn payload(&mut self, place: impl Into<Place>, bytes: &[u8]) -> Result<Position, Fault> {
        let mut batch = self.batch();
        batch.payload(place, Direction::ToClient, bytes)?;
        batch.commit()
    }

    /// Collects records that are written together: at most one write for each kind of segment.
    #[must_use]
    pub fn batch(&mut self) -> Batch<'_> {
        Batch { session: self, scratch: scratch::take() }
    }

    /// Ends the hashing of an exchange's payload and returns what was delivered; `None` if nothing was.
    pub fn digest(&mut self, place: impl Into<Place>) -> Option<Digest> {
        let place = place.into();
        let found = self.hashing.iter().position(|hashing| hashing.place == place)?;
        let Hashing { hasher, .. } = self.hashing.swap_remove(found);
        let digest = Digest { hash: hasher.finalize().to_hex().as_str().to_owned(), bytes: hasher.count() };
        scratch::give_hasher(hasher);
        Some(digest)
    }

    fn hash(&mut self, place: Place, bytes: &[u8]) -> Result<(), Fault> {
        if let Some(hashing) = self.hashing.iter_mut().find(|hashing| hashing.place == place) {
            hashing.hasher.update(bytes);
            return Ok(());
        }
        if self.hashing.len() >= OPEN_EXCHANGES {
            let message = "too many answers of this session are under way at once";
            return Err(Fault::new(Whose::Client, FaultKind::TooLarge, message));
        }
        let mut hasher = scratch::take_hasher();
        hasher.update(bytes);
        self.hashing.push(Hashing { place, hasher });
        Ok(())
    }

    /// A head whose time is later than that of every head before it in this session.
    fn head(&mut self, content: Content, place: Place) -> Head {
        self.last = clock::now().max(self.last + 1);
        let exchange = Exchange { session: self.session, channel: place.channel, id: place.exchange };
        Head { content, exchange, time: self.last }
    }
}

/// Records that are written together. Dropped without [`Batch::commit`], none of them is.
pub struct Batch<'a> {
    session: &'a mut SessionTrail,
    scratch: Scratch,
}

impl Batch<'_> {
    /// Adds evidence.
    ///
    /// # Errors
    /// The body is too long for one record.
    pub fn evidence(&mut self, place: impl Into<Place>, body: &impl Evidence) -> Result<&mut Self, Fault> {
        let head = self.session.head(Content::Evidence, place.into());
        self.scratch.evidence.add(&head, |out| evidence_body(body, out))?;
        Ok(self)
    }

    /// Adds payload that goes in `direction`. What goes to the client is also hashed; see [`SessionTrail::digest`].
    ///
    /// # Errors
    /// Too many exchanges are open.
    pub fn payload(&mut self, place: impl Into<Place>, direction: Direction, bytes: &[u8]) -> Result<&mut Self, Fault> {
        let place = place.into();
        if direction == Direction::ToClient && !bytes.is_empty() {
            self.session.hash(place, bytes)?;
        }
        if self.session.results == Results::Digest {
            return Ok(self);
        }
        for piece in bytes.chunks(PIECE) {
            let head = self.session.head(Content::Payload(direction), place);
            self.scratch.payload.add(&head, |out| {
                out.extend_from_slice(piece);
                Ok(None)
            })?;
        }
        Ok(self)
    }

    /// What was delivered in an exchange, counting what this batch holds; see [`SessionTrail::digest`].
    pub fn digest(&mut self, place: impl Into<Place>) -> Option<Digest> {
        self.session.digest(place)
    }

    /// Writes everything collected. When this returns, the kernel has it.
    ///
    /// # Errors
    /// The trail cannot be written. Nothing collected may be released.
    pub fn commit(mut self) -> Result<Position, Fault> {
        let Scratch { evidence, payload } = &mut self.scratch;
        let (payload, evidence) = (payload.finish(self.session.session), evidence.finish(self.session.session));
        self.session.trail.inner().append(payload.as_ref(), evidence.as_ref())
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        scratch::give(std::mem::take(&mut self.scratch));
    }
}
