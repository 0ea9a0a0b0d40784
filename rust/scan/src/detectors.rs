//! The built-in detectors as data: for each form a pattern, a check and what a value must have to be worth a look.

use std::sync::OnceLock;

use regex::bytes::{Regex, RegexBuilder};

use crate::checks::{self, Check};
use crate::iban;
use crate::looks::{self, Look};

/// One shape of what a detector finds.
#[derive(Debug)]
pub(crate) struct Form {
    pattern: &'static str,
    /// Decides on a candidate.
    pub(crate) check: Check,
    /// How many digits a value must have with nothing but separators between them.
    pub(crate) digits: usize,
    /// What else it must have.
    pub(crate) look: Look,
    compiled: OnceLock<Result<Regex, String>>,
}

impl Form {
    const fn new(pattern: &'static str, check: Check, digits: usize, look: Look) -> Self {
        Self { pattern, check, digits, look, compiled: OnceLock::new() }
    }

    /// The compiled pattern, shared by every scanner of the process.
    pub(crate) fn regex(&'static self) -> Result<&'static Regex, String> {
        let compile = || RegexBuilder::new(self.pattern).unicode(false).build().map_err(|error| error.to_string());
        self.compiled.get_or_init(compile).as_ref().map_err(Clone::clone)
    }
}

/// One kind of sensitive value.
#[derive(Debug)]
pub(crate) struct Detector {
    /// As manifests write it.
    pub(crate) name: &'static str,
    /// Its forms.
    pub(crate) forms: &'static [Form],
}

/// The detector called `name`.
pub(crate) fn find(name: &str) -> Option<&'static Detector> {
    ALL.iter().find(|detector| detector.name == name)
}

// A separator inside cards and IBANs: space or hyphen, also their no-break and typographic kin (U+00A0, U+202F,
// U+2010 to U+2013), which word processors put in by themselves.
const CARD: &str = r"\b[2-68](?:(?:[ -]|\xC2\xA0|\xE2\x80[\x90-\x93\xAF])?[0-9]){12,18}";
const IBAN: &str = r"\b[A-Za-z]{2}[0-9]{2}(?:(?:[ -]|\xC2\xA0|\xE2\x80[\x90-\x93\xAF])?[A-Za-z0-9]){11,30}";
const SSN: &str = r"\b[0-8][0-9]{2}[ -][0-9]{2}[ -][0-9]{4}\b";
// No upper bounds on lengths: a bound would let padding hide an address. Bytes above 0x7f are letters: international
// addresses, and any single-byte encoding. `=`, `&` and `/` are left out although RFC 5322 allows them: in real text they
// end the key of a query string rather than belong to a mailbox.
const EMAIL: &str = concat!(
    r"[A-Za-z0-9_\x80-\xFF][A-Za-z0-9._%+'\x80-\xFF-]*@",
    r"(?:[A-Za-z0-9\x80-\xFF](?:[A-Za-z0-9\x80-\xFF-]*[A-Za-z0-9\x80-\xFF])?\.)+",
    r"(?:[Xx][Nn]--[A-Za-z0-9-]*[A-Za-z0-9]|[A-Za-z\x80-\xFF]{2,})",
);
const PHONE_E164: &str = r"\B\+[1-9](?:[ .\-/()]{0,2}[0-9]){7,14}\b";
const PHONE_EXIT_CODE: &str = r"\b00[1-9](?:[ .\-/()]{0,2}[0-9]){7,14}\b";
const PHONE_AMERICAN: &str = r"(?:\b1[ .-])?(?:\([2-9][0-9]{2}\)[ -]?|\b[2-9][0-9]{2}[ .-])[0-9]{3}[ .-][0-9]{4}\b";
const PHONE_TRUNK: &str = r"(?:\B\(0[1-9][0-9]{0,3}\)[ -]?|\b0[1-9][0-9]{0,3}[ ./-])[0-9]{2,8}(?:[ .-][0-9]{2,8}){0,5}";

/// All of them, in the order in which the documentation lists them.
pub(crate) static ALL: [Detector; 5] = [
    Detector { name: "us_ssn", forms: &US_SSN },
    Detector { name: "payment_card", forms: &PAYMENT_CARD },
    Detector { name: "email", forms: &EMAIL_FORMS },
    Detector { name: "phone", forms: &PHONE },
    Detector { name: "iban", forms: &IBAN_FORMS },
];

static US_SSN: [Form; 1] = [Form::new(SSN, checks::us_ssn, 9, looks::us_ssn)];
static PAYMENT_CARD: [Form; 1] = [Form::new(CARD, checks::payment_card, 13, looks::any)];
static EMAIL_FORMS: [Form; 1] = [Form::new(EMAIL, checks::whole, 0, looks::at_sign)];
static PHONE: [Form; 4] = [
    Form::new(PHONE_E164, checks::whole, 8, looks::plus),
    Form::new(PHONE_EXIT_CODE, checks::separated, 10, looks::double_zero),
    Form::new(PHONE_AMERICAN, checks::not_a_tail, 10, looks::american_phone),
    Form::new(PHONE_TRUNK, checks::trunk_phone, 9, looks::trunk_phone),
];
static IBAN_FORMS: [Form; 1] = [Form::new(IBAN, iban::check, 0, iban::may_begin)];
