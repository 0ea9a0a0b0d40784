//! The matcher on the `regex` crate: cheap looks at the bytes first, a pattern's linear search only where they say maybe.

use regex::bytes::Regex;

use crate::detectors::{Detector, Form};
use crate::looks::{count_digits, longest_chain};
use crate::{DetectorId, Matcher, Problem, Span};

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
        let fewest_digits = forms.iter().map(|compiled| compiled.form.digits).filter(|digits| *digits > 0).min();
        Ok(Self { forms, fewest_digits })
    }

    /// The most digits in one chain, or 0 if there are too few for any form.
    fn digits(&self, value: &[u8]) -> usize {
        match self.fewest_digits {
            Some(fewest) if value.len() >= fewest && count_digits(value) >= fewest => longest_chain(value),
            _ => 0,
        }
    }

    /// The forms that may match in `value`.
    fn candidates<'a>(&'a self, value: &'a [u8]) -> impl Iterator<Item = &'a Compiled> {
        let digits = self.digits(value);
        self.forms.iter().filter(move |compiled| digits >= compiled.form.digits && (compiled.form.look)(value))
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

fn too_many() -> Problem {
    Problem { message: "a scanner takes at most 256 detectors".into(), hint: "list fewer".into() }
}

fn broken(name: &str, error: &str) -> Problem {
    let message = format!("the pattern of the detector `{name}` does not compile: {error}");
    Problem { message, hint: "this is a defect of Penstock; please report it".into() }
}
