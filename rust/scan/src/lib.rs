//! Finds sensitive values in bytes: which spans of one value some detector recognises.
//!
//! What counts as found, in bytes and on the value alone (nothing outside the value is ever looked at):
//!
//! - A detector has one or more *forms*. A form's match is a candidate of its pattern that its check accepts: the
//!   leftmost accepted start, and for that start the longest accepted end. The search goes on behind a match; behind a
//!   candidate that was rejected it goes on one byte further, so that no rejected candidate hides a good one.
//! - The result is the union over all forms of all detectors asked for. Spans that overlap become one span.
//! - Word boundaries are ASCII: letters, digits and `_` are word bytes, everything else is not. A value need not be valid
//!   UTF-8; a byte of 0x80 or above counts as a letter in e-mail addresses and as no word byte elsewhere.
//!
//! How the spans are found is hidden behind [`Matcher`]; the one in this crate is the `regex` crate behind cheap looks
//! at the bytes, because most values have nothing and should cost next to nothing.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod checks;
mod detectors;
mod iban;
mod looks;
mod patterns;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;

use std::fmt;

/// A detector's place in the list its [`Scanner`] was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DetectorId(pub u8);

/// Bytes `start..end` of a value, found sensitive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
    /// The detector of the leftmost, then longest, match in the span.
    pub detector: DetectorId,
    /// Whether matches of several detectors overlap here without one containing the others, so that no single
    /// detector speaks for the span.
    pub mixed: bool,
}

/// What is wrong with a list of detectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// One sentence: what is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.hint)
    }
}

impl std::error::Error for Problem {}

/// An engine that finds the spans defined in this crate's head.
///
/// `DetectorId`s count in the order of the detectors the engine was built for. Engines are shared by all threads.
pub trait Matcher: Send + Sync + fmt::Debug {
    /// Appends every match of every form to `out`, in any order and overlapping as they come.
    fn matches(&self, value: &[u8], out: &mut Vec<Span>);

    /// Whether `matches` would append anything. Must agree with it.
    fn hits(&self, value: &[u8]) -> bool;

    /// Whether `value` may hold a match: may be wrong when it says yes, never when it says no.
    ///
    /// Holds for parts of `value` too, and for what they spell once backslashes that only escape are taken out: where this
    /// says no, none of that has a match either.
    fn may_hit(&self, value: &[u8]) -> bool;
}

/// Finds what a list of detectors recognises. Cheap to make; its patterns are compiled once per process.
#[derive(Debug)]
pub struct Scanner {
    names: Vec<&'static str>,
    matcher: Box<dyn Matcher>,
}

impl Scanner {
    /// A scanner for the built-in detectors `names`; a name given twice counts once.
    ///
    /// # Errors
    /// A name is not one of [`names`], or its pattern does not compile on this machine.
    pub fn new(names: &[&str]) -> Result<Self, Problem> {
        let mut chosen: Vec<&'static detectors::Detector> = Vec::new();
        for name in names {
            let detector = detectors::find(name).ok_or_else(|| unknown(name))?;
            if !chosen.iter().any(|known| known.name == detector.name) {
                chosen.push(detector);
            }
        }
        let names = chosen.iter().map(|detector| detector.name).collect();
        Ok(Self { names, matcher: Box::new(patterns::Patterns::new(&chosen)?) })
    }

    /// Fills `out` with what is sensitive in `value`: merged, in order, nothing overlapping. Clears `out` first.
    pub fn find(&self, value: &[u8], out: &mut Vec<Span>) {
        out.clear();
        self.matcher.matches(value, out);
        merge(out);
    }

    /// Whether anything in `value` is sensitive.
    #[must_use]
    pub fn hits(&self, value: &[u8]) -> bool {
        self.matcher.hits(value)
    }

    /// A very cheap look: where it says no, neither `value` nor any part of it is sensitive.
    #[must_use]
    pub fn may_hit(&self, value: &[u8]) -> bool {
        self.matcher.may_hit(value)
    }

    /// The detectors in order of their [`DetectorId`]s.
    #[must_use]
    pub fn detectors(&self) -> &[&'static str] {
        &self.names
    }

    /// The name of a detector that one of this scanner's spans mentions.
    #[must_use]
    pub fn name(&self, detector: DetectorId) -> &'static str {
        self.names.get(usize::from(detector.0)).copied().unwrap_or("unknown")
    }
}

/// The names of the built-in detectors.
pub fn names() -> impl Iterator<Item = &'static str> {
    detectors::ALL.iter().map(|detector| detector.name)
}

fn unknown(name: &str) -> Problem {
    let known: Vec<_> = names().collect();
    Problem { message: format!("no detector is called `{name}`"), hint: format!("use one of {}", known.join(", ")) }
}

/// Sorts spans and joins those that overlap. The leftmost, then longest, then first-listed gives the detector.
fn merge(spans: &mut Vec<Span>) {
    if spans.len() < 2 {
        return;
    }
    spans.sort_unstable_by(|a, b| a.start.cmp(&b.start).then(b.end.cmp(&a.end)).then(a.detector.cmp(&b.detector)));
    spans.dedup_by(|next, kept| {
        if next.start >= kept.end {
            return false;
        }
        if next.end > kept.end {
            kept.mixed |= next.mixed || next.detector != kept.detector;
            kept.end = next.end;
        }
        true
    });
}
