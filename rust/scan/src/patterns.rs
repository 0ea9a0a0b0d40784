//! The matcher on the `regex` crate: cheap looks at the bytes first, a pattern's linear search only where they say maybe.

use memchr::memchr;
use regex::bytes::Regex;

use crate::detectors::{Detector, Form, Need};
use crate::{DetectorId, Matcher, Problem, Span, iban};

#[derive(Debug)]
struct Compiled {
    detector: DetectorId,
    form: &'static Form,
    regex: &'static Regex,
}

/// The forms of the chosen detectors.
#[derive(Debug)]
pub(crate) struct Patterns {
    forms: Vec<Compiled>,
    /// The fewest digits any of the digit-counting forms needs.
    fewest_digits: Option<usize>,
}

impl Patterns {
    /// Compiles what is not compiled yet.
    ///
    /// # Errors
    /// A pattern does not compile.
    pub(crate) fn new(detectors: &[&'static Detector]) -> Result<Self, Problem> {
        let mut forms = Vec::new();
        for (place, detector) in detectors.iter().enumerate() {
            let id = u8::try_from(place).map_err(|_| too_many())?;
            for form in detector.forms {
                let regex = form.regex().map_err(|error| broken(detector.name, &error))?;
                forms.push(Compiled { detector: DetectorId(id), form, regex });
            }
        }
        let digits = forms.iter().filter_map(|compiled| match compiled.form.need {
            Need::Digits(count) => Some(count),
            Need::At | Need::Iban => None,
        });
        let fewest_digits = digits.min();
        Ok(Self { forms, fewest_digits })
    }

    fn wants_digits(&self, value: &[u8]) -> usize {
        match self.fewest_digits {
            Some(fewest) if value.len() >= fewest => count_digits(value),
            _ => 0,
        }
    }

    /// The forms that may match in `value`.
    fn candidates<'a>(&'a self, value: &'a [u8]) -> impl Iterator<Item = &'a Compiled> {
        let digits = self.wants_digits(value);
        self.forms.iter().filter(move |compiled| match compiled.form.need {
            Need::At => memchr(b'@', value).is_some(),
            Need::Digits(count) => digits >= count,
            Need::Iban => iban::may_begin(value),
        })
    }
}

impl Matcher for Patterns {
    fn matches(&self, value: &[u8], out: &mut Vec<Span>) {
        for compiled in self.candidates(value) {
            let mut from = 0;
            while let Some((start, end)) = compiled.next(value, from) {
                out.push(Span { start, end, detector: compiled.detector, mixed: false });
                from = end;
            }
        }
    }

    fn hits(&self, value: &[u8]) -> bool {
        self.candidates(value).any(|compiled| compiled.next(value, 0).is_some())
    }

    fn may_hit(&self, value: &[u8]) -> bool {
        self.candidates(value).next().is_some()
    }
}

impl Compiled {
    /// The first accepted match at or behind `from`.
    fn next(&self, value: &[u8], mut from: usize) -> Option<(usize, usize)> {
        // `find_at` rather than a slice: boundaries are those of the whole value.
        while from < value.len() {
            let candidate = self.regex.find_at(value, from)?;
            if let Some(end) = (self.form.check)(value, candidate.start(), candidate.end()) {
                return Some((candidate.start(), end));
            }
            from = candidate.start() + 1;
        }
        None
    }
}

/// How many bytes are ASCII digits. Short blocks summed in bytes, which cannot overflow, let the compiler use vector
/// instructions; overflow checks on each addition would not.
fn count_digits(value: &[u8]) -> usize {
    let block = |bytes: &[u8]| {
        let count = bytes.iter().fold(0u8, |count, byte| count.wrapping_add(u8::from(byte.is_ascii_digit())));
        usize::from(count)
    };
    value.chunks(128).map(block).sum()
}

fn too_many() -> Problem {
    Problem { message: "a scanner takes at most 256 detectors".into(), hint: "list fewer".into() }
}

fn broken(name: &str, error: &str) -> Problem {
    let message = format!("the pattern of the detector `{name}` does not compile: {error}");
    Problem { message, hint: "this is a defect of Penstock; please report it".into() }
}
