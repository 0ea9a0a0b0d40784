//! Bounds that a text must keep before the parser sees it.
//!
//! The grammar's parser predicts with unbounded look-ahead, so what it costs depends on the shape of the text more than
//! on its length: deep brackets and long runs of prefix operators once cost it gigabytes. One linear pass over the text
//! keeps all of that out; nothing a person would write comes near these bounds.

use super::Problem;

/// Longest expression, in bytes.
pub(super) const MAX_BYTES: usize = 4096;
/// Deepest nesting of brackets.
const MAX_NESTING: usize = 32;
/// Most brackets and prefix operators with nothing but space between them.
const MAX_RUN: usize = 40;
/// Most operators, commas and dots.
const MAX_OPERATORS: usize = 512;

/// What the pass over the text has counted so far.
#[derive(Default)]
struct Counts {
    nesting: usize,
    run: usize,
    operators: usize,
}

/// Checks the bounds; the first one broken is the answer.
pub(super) fn check(source: &str) -> Result<(), Problem> {
    if source.trim().is_empty() {
        return Err(Problem::new(0, "the expression is empty", "write a condition such as `sql.kind == \"drop\"`"));
    }
    if source.len() > MAX_BYTES {
        let message = format!("the expression is {} bytes long; at most {MAX_BYTES} are allowed", source.len());
        return Err(Problem::new(MAX_BYTES, message, "split it into several rules"));
    }
    let bytes = source.as_bytes();
    let mut counts = Counts::default();
    let mut at = 0;
    while at < bytes.len() {
        let end = token_end(bytes, at);
        if end == at + 1 {
            counts.take(bytes[at], at)?;
        } else {
            counts.run = 0;
        }
        at = end;
    }
    Ok(())
}

impl Counts {
    fn take(&mut self, byte: u8, at: usize) -> Result<(), Problem> {
        match byte {
            0 => return Err(Problem::new(at, "the expression contains a NUL byte", "remove it")),
            b'(' | b'[' | b'{' => self.nesting += 1,
            b')' | b']' | b'}' => self.nesting = self.nesting.saturating_sub(1),
            _ => {}
        }
        match byte {
            b'(' | b')' | b'[' | b']' | b'{' | b'}' | b'!' | b'-' => self.run += 1,
            byte if byte.is_ascii_whitespace() => {}
            _ => self.run = 0,
        }
        if b"!-+*/%<>=&|?:,.".contains(&byte) {
            self.operators += 1;
        }
        let over = |counted: usize, most: usize, what: &str| {
            let hint = "simplify it, or split it into several rules";
            (counted > most).then(|| Problem::new(at, format!("the expression has more than {most} {what}"), hint))
        };
        let broken = over(self.nesting, MAX_NESTING, "nested brackets")
            .or_else(|| over(self.run, MAX_RUN, "brackets and prefix operators in a row"))
            .or_else(|| over(self.operators, MAX_OPERATORS, "operators"));
        broken.map_or(Ok(()), Err)
    }
}

/// Where the token that begins at `at` ends: a whole string or comment, else one byte.
fn token_end(bytes: &[u8], at: usize) -> usize {
    match bytes[at] {
        quote @ (b'"' | b'\'') => {
            let raw = at > 0 && matches!(bytes[at - 1], b'r' | b'R');
            string_end(bytes, at, quote, raw)
        }
        b'/' if bytes.get(at + 1) == Some(&b'/') => {
            bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |length| at + length)
        }
        _ => at + 1,
    }
}

/// Where the string that begins at `at` ends, or the end of the text if nothing closes it.
fn string_end(bytes: &[u8], at: usize, quote: u8, raw: bool) -> usize {
    let width = if bytes[at..].starts_with(&[quote; 3]) { 3 } else { 1 };
    let close = &[quote; 3][..width];
    let mut place = at + width;
    while place < bytes.len() {
        if bytes[place] == b'\\' && !raw {
            place += 2;
        } else if bytes[place..].starts_with(close) {
            return place + width;
        } else {
            place += 1;
        }
    }
    bytes.len()
}
