//! The generic shape of a conversation between a client and a target, as the gate drives it.
//!
//! A [`Dialogue`] knows one protocol: it frames bytes, says what a request means, keeps both sides in step and rewrites
//! what leaves. It decides nothing. Whatever needs a verdict it hands to the gate as a [`Request`] and waits.

use std::sync::Arc;

use bytes::BytesMut;
use model::{Facts, Fault};
use statement::{Rights, Text};

/// What one statement means, worked out once per text and shared by every run of it.
#[derive(Debug, Clone)]
pub struct Understood {
    /// Unique within the process, so that verdicts and trail texts can be remembered by it.
    pub id: u64,
    /// The kind of request, the protocol's own noun (`select`, `copy`, …).
    pub kind: &'static str,
    /// The facts rules may ask about.
    pub facts: Facts,
    /// What an allow rule must grant.
    pub rights: Rights,
    /// Functions that are not on the reviewed list, as written; an allow rule must list them.
    pub functions: Vec<Arc<str>>,
    /// The same functions as the target resolves them, where that says more.
    pub resolved: Vec<Arc<str>>,
    /// Relations (or their like) as the target resolves them.
    pub tables: Arc<[Arc<str>]>,
    /// The text as the trail and reviewers may see it: sensitive literals replaced.
    pub text: Arc<str>,
    /// The text as understood, for its shape; none for a text that could not be.
    pub source: Option<Arc<Text>>,
    /// Reads only; a rule about results applies.
    pub reading: bool,
    /// Touches data of a class that this session may not see.
    pub protected: bool,
    /// The protocol's own refusal, whatever the rules say.
    pub fault: Option<Fault>,
}

impl Understood {
    /// A fingerprint that is the same for texts that differ only in literals; empty for a text nobody understood.
    #[must_use]
    pub fn shape(&self) -> &str {
        self.source.as_ref().map_or("", |text| text.shape())
    }
}

/// Why a verdict is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The target would only read the text; nothing runs yet.
    Prepare,
    /// The target would run it.
    Run,
}

/// A request that waits for its verdict. Nothing later from the client is read before the gate answers.
#[derive(Debug)]
pub struct Request {
    /// Why the gate is asked.
    pub purpose: Purpose,
    /// Id of the first statement's exchange; the others follow by one each.
    pub exchange: u64,
    /// The statements, in order. Never empty.
    pub statements: Vec<Arc<Understood>>,
    /// Parameters as the trail and reviewers may see them.
    pub parameters: Vec<Option<String>>,
    /// Whether a transaction block is open.
    pub in_transaction: bool,
    /// Whether something was written in the open transaction.
    pub written_in_transaction: bool,
}

/// The gate's answer to a [`Request`].
#[derive(Debug)]
pub enum Answer {
    /// Send it to the target. With `watch`, nothing that could take effect after it is sent before
    /// [`Dialogue::settle`], because its result may yet be refused.
    Permit {
        /// A rule about results may refuse this result.
        watch: bool,
    },
    /// Answer the client with this fault, with the effect a refusal of the target's own would have.
    Refuse(Fault),
}

/// What client bytes led to.
#[derive(Debug)]
pub enum Said {
    /// All complete messages are dealt with; more bytes are needed.
    NeedMore,
    /// Something must happen first: a verdict, a result to settle, the target's answer to a question of our own.
    Wait,
    /// A verdict is wanted; answer with [`Dialogue::answer`].
    Request(Request),
    /// The client said goodbye; the farewell is on its way to the target.
    Goodbye,
}

/// Rows and bytes of one result so far, over all fetches of its portal or cursor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Rows delivered or waiting.
    pub rows: u64,
    /// Their bytes as framed for the client.
    pub bytes: u64,
    /// Cells masked.
    pub masked: u64,
}

/// How an exchange ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The command tag, if the target completed the statement.
    pub tag: Option<String>,
    /// The code of the error that ended it (the target's SQLSTATE or its like, or the gateway's own).
    pub error: Option<String>,
    /// Totals of the result.
    pub tally: Tally,
    /// Whether more may follow from the same portal.
    pub suspended: bool,
}

/// What target bytes led to. Bytes for the client are appended to the buffer given.
#[derive(Debug)]
pub enum Heard {
    /// All complete messages are dealt with; more bytes are needed.
    NeedMore,
    /// Part of the result of `exchange` was appended.
    Part {
        /// The exchange.
        exchange: u64,
        /// Totals so far.
        tally: Tally,
        /// Whether a rule about results watches it.
        watched: bool,
    },
    /// `exchange` ended; its last bytes were appended.
    Ended {
        /// The exchange.
        exchange: u64,
        /// How.
        outcome: Outcome,
        /// Whether a rule about results watches it.
        watched: bool,
    },
    /// What was appended belongs to no exchange, or ends the one before.
    Between,
    /// The target's catalog does not know something the result named; a fresh survey is wanted.
    Stale,
}

/// A conversation of one protocol.
pub trait Dialogue {
    /// Takes messages from `input` until something must be decided; appends what may go to the target.
    ///
    /// # Errors
    /// The client broke the protocol; the session cannot go on.
    fn client_sent(&mut self, input: &mut BytesMut, to_target: &mut BytesMut) -> Result<Said, Fault>;

    /// Hash of the waiting request as sent: two requests with the same hash ask for the same thing.
    fn request_hash(&self) -> [u8; 32];

    /// Answers the request that [`Said::Request`] handed out.
    fn answer(&mut self, answer: Answer, to_target: &mut BytesMut);

    /// Takes messages from `input` until something must be told; appends what may go to the client once recorded, and
    /// what the dialogue itself must send to the target.
    ///
    /// # Errors
    /// The target broke the protocol; the session cannot go on.
    fn target_sent(
        &mut self,
        input: &mut BytesMut,
        to_client: &mut BytesMut,
        to_target: &mut BytesMut,
    ) -> Result<Heard, Fault>;

    /// The watched exchange is decided in its favour: what waited behind it may go on.
    fn settle(&mut self, exchange: u64);

    /// The watched exchange is refused: what the target still sends of it is dropped, the client gets `fault` instead, and
    /// an open transaction is aborted. Whether the target should be asked to cancel is the answer.
    fn refuse_result(
        &mut self,
        exchange: u64,
        fault: Fault,
        to_client: &mut BytesMut,
        to_target: &mut BytesMut,
    ) -> bool;

    /// Appends a notice of the gateway's own; only between whole messages, otherwise nothing.
    fn notice(&self, text: &str, to_client: &mut BytesMut);

    /// Appends the error that ends the session.
    fn farewell(&self, fault: &Fault, to_client: &mut BytesMut);

    /// A fresh catalog of the target.
    fn catalog(&mut self, catalog: crate::Catalog);

    /// The classes this session sees unmasked changed, or the rules did: what was concluded is forgotten.
    fn rules_changed(&mut self, view: Arc<crate::View>);

    /// Whether no exchange is under way and no transaction is open.
    fn is_idle(&self) -> bool;

    /// Whether the target owes nothing.
    fn is_quiet(&self) -> bool;

    /// Whether client bytes must wait for something other than a verdict.
    fn holds_client(&self) -> bool;

    /// Bytes kept inside: messages that wait, and what the client's names stand for.
    fn buffered(&self) -> usize;

    /// Messages and statements refused so far because they are larger than the limits.
    fn oversized(&self) -> u64;

    /// What a watched exchange asked, and the hash of its request.
    fn asked(&self, exchange: u64) -> Option<(Arc<Understood>, [u8; 32])>;

    /// Column names and the first rows among bytes appended for `exchange`, for a reviewer.
    fn sample(&self, exchange: u64, bytes: &[u8], most: usize) -> (Vec<String>, Vec<Vec<Option<String>>>);
}
