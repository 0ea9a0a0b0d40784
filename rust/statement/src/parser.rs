//! Reading texts: guarded, on threads with room for deep trees, and remembered.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

use crate::build;
use crate::cache::Cache;
use crate::statement::Text;
use crate::tree;

/// How much a parser takes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one text.
    pub bytes: usize,
    /// Levels of the deepest tree; each term of `1+1+…` is one level.
    pub depth: usize,
    /// Statements in one text.
    pub statements: usize,
    /// Bytes of texts remembered.
    pub cache_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 1 << 20, depth: 1000, statements: 1000, cache_bytes: 32 << 20 }
    }
}

/// Why a text cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnreadableKind {
    /// It does not follow the grammar.
    Malformed,
    /// It is longer, deeper or made of more parts than this gateway reads.
    TooLarge,
    /// It may be good, but this gateway does not know what it means.
    Unknown,
    /// The gateway failed to read it.
    Internal,
}

/// A text that was not understood, and is therefore refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Why.
    pub kind: UnreadableKind,
    /// What is wrong; quotes no value of the text.
    pub message: String,
    /// The grammar's own words, which may quote a value: for the person who wrote the text alone.
    pub verbatim: Option<String>,
    /// Where, in bytes from the start, if that is known.
    pub position: Option<usize>,
}

impl Unreadable {
    pub(crate) fn new(kind: UnreadableKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), verbatim: None, position: None }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Unreadable {}

/// Decoding takes up to 7 KiB of stack a level optimised and 60 unoptimised (measured). A thread only touches what it
/// needs of this.
const STACK_PER_LEVEL: usize = if cfg!(debug_assertions) { 80 << 10 } else { 20 << 10 };
/// The grammar's writer stops at 10,000 messages, which are 5,000 levels: the deepest tree the decoder ever meets.
const DEEPEST: usize = 5_000;
/// Texts of fewer parts cannot be deep: they are read where they are asked for, which spares two changes of thread.
const SHALLOW_PARTS: usize = if cfg!(debug_assertions) { 1 } else { 65 };
/// Texts up to here go to threads that larger ones cannot occupy.
const SMALL: usize = 16 << 10;
/// A node takes 600 bytes while a text is read, so this bounds the memory of one reading at some 200 MB.
const MOST_PARTS: usize = 200_000;
/// The lexer reads a run of operator characters again for every token it takes from it, and so does the server's: the
/// squares of all runs may add up to this, which is half a second's work. Texts of honest operators stay far below.
const MOST_RUNS: usize = 200_000_000;
/// A tree deeper than this leaves much stack touched; the thread that read it gives it back by ending.
const DEEP: usize = 100;

struct Job {
    sql: Arc<str>,
    limits: Limits,
    reply: mpsc::SyncSender<Result<Text, Unreadable>>,
}

type Queue = Arc<Mutex<mpsc::Receiver<Job>>>;

/// A reading thread's place in its lane. A thread that leaves it for any reason but the end of the queue is replaced:
/// after a deep tree to give its stack back, after a panic because the lane must go on.
struct Place {
    name: &'static str,
    queue: Queue,
    keep: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.keep {
            occupy(self.name, Arc::clone(&self.queue));
        }
    }
}

fn occupy(name: &'static str, queue: Queue) {
    let builder = thread::Builder::new().name(name.to_owned()).stack_size(DEEPEST * STACK_PER_LEVEL);
    let place = Place { name, queue, keep: false };
    // Without a thread the queue loses its reader, and every text is refused: closed, not open.
    let _refused = builder.spawn(move || {
        // Named whole, so that the closure owns all of it and its end drops it.
        let mut place = place;
        place.keep = true;
        loop {
            let job = place.queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(job) = job else {
                place.keep = false;
                return;
            };
            let (result, depth) = read(job.sql, job.limits);
            let _gone = job.reply.send(result);
            if depth > DEEP {
                return;
            }
        }
    });
}

/// Threads that read texts. They end when the parser is dropped.
struct Lane(mpsc::SyncSender<Job>);

impl Lane {
    fn new(name: &'static str, threads: usize) -> Self {
        let (jobs, queue) = mpsc::sync_channel(64);
        let queue = Arc::new(Mutex::new(queue));
        (0..threads).for_each(|_| occupy(name, Arc::clone(&queue)));
        Self(jobs)
    }

    fn read(&self, sql: Arc<str>, limits: Limits) -> Result<Text, Unreadable> {
        let (reply, answer) = mpsc::sync_channel(1);
        let lost = || Unreadable::new(UnreadableKind::Internal, "the gateway failed to read this text");
        self.0.send(Job { sql, limits, reply }).map_err(|_| lost())?;
        answer.recv().map_err(|_| lost())?
    }
}

/// Reads texts, and remembers what it read. Share one among all threads.
pub struct Parser {
    limits: Limits,
    cache: Cache,
    small: Lane,
    large: Lane,
}

impl fmt::Debug for Parser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parser").field("limits", &self.limits).field("cached", &self.cached_bytes()).finish()
    }
}

impl Parser {
    /// A parser with these limits and three threads of its own.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            cache: Cache::new(limits.cache_bytes),
            small: Lane::new("penstock-sql", 2),
            large: Lane::new("penstock-sql-large", 1),
        }
    }

    /// What `sql` means. Blocks while another thread reads it, unless it was read before.
    ///
    /// # Errors
    /// The text does not follow the grammar, is beyond a limit, or is not understood.
    pub fn parse(&self, sql: &str) -> Result<Arc<Text>, Arc<Unreadable>> {
        if sql.len() > self.limits.bytes {
            let message = format!("the statement text has {} bytes; the limit is {}", sql.len(), self.limits.bytes);
            return Err(Arc::new(Unreadable::new(UnreadableKind::TooLarge, message)));
        }
        if let Some(known) = self.cache.get(sql) {
            return known;
        }
        let sql: Arc<str> = sql.into();
        let known = self.understand(&sql).map(Arc::new).map_err(Arc::new);
        if !matches!(&known, Err(unreadable) if unreadable.kind == UnreadableKind::Internal) {
            self.cache.insert(sql, known.clone());
        }
        known
    }

    fn understand(&self, sql: &Arc<str>) -> Result<Text, Unreadable> {
        let sql = Arc::clone(sql);
        if sql.len() <= SMALL && parts(&sql) < SHALLOW_PARTS {
            return read(sql, self.limits).0;
        }
        let lane = if sql.len() <= SMALL { &self.small } else { &self.large };
        lane.read(sql, self.limits)
    }

    /// Like [`Self::parse`], for bytes that may not be text.
    ///
    /// # Errors
    /// The bytes are not UTF-8, or as for [`Self::parse`].
    pub fn parse_bytes(&self, sql: &[u8]) -> Result<Arc<Text>, Arc<Unreadable>> {
        let sql = std::str::from_utf8(sql).map_err(|error| {
            let mut unreadable = Unreadable::new(UnreadableKind::Malformed, "the statement text is not valid UTF-8");
            unreadable.position = Some(error.valid_up_to());
            Arc::new(unreadable)
        })?;
        self.parse(sql)
    }

    /// Bytes held by the cache, roughly.
    #[must_use]
    pub fn cached_bytes(&self) -> usize {
        self.cache.bytes()
    }
}

/// An upper bound of the nodes that `sql` can turn into: nothing but these bytes begins one.
fn parts(sql: &str) -> usize {
    let mut inside = false;
    sql.bytes()
        .filter(|byte| {
            let word =
                byte.is_ascii_alphanumeric() || *byte >= 0x80 || *byte == b'_' || *byte == b'"' || *byte == b'\'';
            let begins = (word && !inside) || b"(+-*/<>=~!@#%^&|?:[$.".contains(byte);
            inside = word;
            begins
        })
        .count()
}

/// The work that runs of operator characters can make.
fn runs(sql: &str) -> usize {
    let (mut run, mut work) = (0usize, 0usize);
    for byte in sql.bytes() {
        if b"~!@#^&|`?+-*/%<>=".contains(&byte) {
            run += 1;
            // The square grows by the next odd number.
            work = work.saturating_add(2 * run - 1);
        } else {
            run = 0;
        }
    }
    work
}

/// What makes a text too costly to parse, if anything does.
fn excess(sql: &str) -> Option<Unreadable> {
    let too_large = |message: String| Some(Unreadable::new(UnreadableKind::TooLarge, message));
    if runs(sql) > MOST_RUNS {
        return too_large("the statement text has too many operator characters in a row".to_owned());
    }
    // Words within strings are no parts, but only the lexer knows them.
    if parts(sql) <= MOST_PARTS || pg_query::scan_tokens(sql).is_ok_and(|tokens| tokens.len() <= MOST_PARTS) {
        return None;
    }
    too_large(format!("the statement text has more than {MOST_PARTS} parts"))
}

/// Reads `sql` on this thread, which must have the stack for it. Also returns the depth of the deepest statement.
fn read(sql: Arc<str>, limits: Limits) -> (Result<Text, Unreadable>, usize) {
    if let Some(position) = sql.bytes().position(|byte| byte == 0) {
        let mut unreadable = Unreadable::new(UnreadableKind::Malformed, "the statement text contains a zero byte");
        unreadable.position = Some(position);
        return (Err(unreadable), 0);
    }
    if let Some(unreadable) = excess(&sql) {
        return (Err(unreadable), 0);
    }
    let tree = match pg_query::parse(&sql, 0) {
        Ok(result) => result.protobuf,
        // The tree may have been deep even though it was refused.
        Err(error) => return (Err(refused(&sql, error)), usize::MAX),
    };
    if tree.stmts.len() > limits.statements {
        let message = format!("the text has {} statements; the limit is {}", tree.stmts.len(), limits.statements);
        return (Err(Unreadable::new(UnreadableKind::TooLarge, message)), 0);
    }
    let roots = tree.stmts.iter().filter_map(|stmt| stmt.stmt.as_ref()?.node.as_ref());
    let depth = roots.map(|root| tree::measure(root).depth).max().unwrap_or(0);
    if depth > limits.depth {
        let message = format!("the statement nests {depth} levels deep; the limit is {}", limits.depth);
        return (Err(Unreadable::new(UnreadableKind::TooLarge, message)), depth);
    }
    (build::text(sql, &tree), depth)
}

fn refused(sql: &str, error: pg_query::Error) -> Unreadable {
    let message = match error {
        pg_query::Error::Parse(message) => message,
        other => return Unreadable::new(UnreadableKind::Internal, other.to_string()),
    };
    let beyond = ["stack depth limit exceeded", "nested too deeply", "memory exhausted", "out of memory"];
    if beyond.iter().any(|sign| message.contains(sign)) {
        return Unreadable::new(UnreadableKind::TooLarge, "the statement nests too deeply to be read");
    }
    let position = position(sql, &message);
    Unreadable { kind: UnreadableKind::Malformed, message: discreet(&message), verbatim: Some(message), position }
}

/// The grammar's message without what may be a value: it quotes the text from where it stumbled.
fn discreet(message: &str) -> String {
    let Some((what, token)) = message.split_once(" at or near \"") else { return message.to_owned() };
    let token = token.strip_suffix('"').unwrap_or(token);
    let word = token.starts_with(|first: char| first.is_ascii_alphabetic())
        && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let sign = token.len() <= 3 && token.bytes().all(|byte| byte.is_ascii_punctuation());
    if (word && token.len() <= 32) || sign { message.to_owned() } else { format!("{what} at or near a value") }
}

/// Where the grammar stumbled, if its message says so without doubt: it quotes the rest of the text's token.
fn position(sql: &str, message: &str) -> Option<usize> {
    if message.ends_with("at end of input") {
        return Some(sql.len());
    }
    let token = message.split_once("at or near \"")?.1.strip_suffix('"')?;
    let mut places = sql.match_indices(token).map(|(place, _)| place);
    let first = places.next()?;
    places.next().is_none().then_some(first)
}

/// The fingerprint of a text that was read before, on a thread of no special size: libpg_query watches its own stack.
pub(crate) fn fingerprint(sql: &str) -> String {
    pg_query::fingerprint(sql, 0, 0).map(|fingerprint| fingerprint.hex).unwrap_or_default()
}
