//! The definition in the crate's head carried out naively, as an oracle: every slice of the value is asked whether it
//! is a match. Written without patterns and without the checks' search; slow on purpose.

use crate::Span;
use crate::checks::{issued, luhn, word_at};
use crate::iban::{checksum, length};

type IsMatch = fn(value: &[u8], start: usize, end: usize) -> bool;

/// What `Scanner::find` must give for these detectors.
pub(crate) fn find(detectors: &[&str], value: &[u8]) -> Vec<(usize, usize)> {
    let forms = detectors.iter().flat_map(|name| forms(name));
    union(forms.flat_map(|form| matches(*form, value)).collect())
}

/// Whether a span's detector could have found a match at the span's start.
pub(crate) fn begins(detector: &str, value: &[u8], span: &Span) -> bool {
    let starts_here = |form: &IsMatch| matches(*form, value).iter().any(|(start, _)| *start == span.start);
    forms(detector).iter().any(starts_here)
}

fn forms(detector: &str) -> &'static [IsMatch] {
    match detector {
        "us_ssn" => &[us_ssn],
        "payment_card" => &[payment_card],
        "email" => &[email],
        "phone" => &[phone_e164, phone_exit_code, phone_american, phone_trunk],
        "iban" => &[iban],
        _ => panic!("no reference for {detector}"),
    }
}

fn matches(form: IsMatch, value: &[u8]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut start = 0;
    while start < value.len() {
        match (start + 1..=value.len()).rev().find(|end| form(value, start, *end)) {
            Some(end) => {
                found.push((start, end));
                start = end;
            }
            None => start += 1,
        }
    }
    found
}

fn union(spans: Vec<(usize, usize)>) -> Vec<(usize, usize)> {
    let mut joined: Vec<(usize, usize)> = Vec::new();
    for (mut start, mut end) in spans {
        joined.retain(|known| {
            let apart = known.1 <= start || end <= known.0;
            if !apart {
                (start, end) = (start.min(known.0), end.max(known.1));
            }
            apart
        });
        joined.push((start, end));
    }
    joined.sort_unstable();
    joined
}

fn alone(value: &[u8], start: usize, end: usize) -> bool {
    (start == 0 || !word_at(value, start - 1)) && !word_at(value, end)
}

fn us_ssn(value: &[u8], start: usize, end: usize) -> bool {
    let Ok(text) = std::str::from_utf8(&value[start..end]) else { return false };
    let parts: Vec<&str> = text.split([' ', '-']).collect();
    let [area, group, serial] = parts[..] else { return false };
    text.len() == 11
        && text.as_bytes()[3] == text.as_bytes()[6]
        && parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
        && (area.len(), group.len(), serial.len()) == (3, 2, 4)
        && area < "900"
        && area != "000"
        && area != "666"
        && group != "00"
        && serial != "0000"
        && alone(value, start, end)
}

/// The slice without single separators between its characters; `None` if it is not of that shape.
fn joined(slice: &[u8]) -> Option<Vec<u8>> {
    const MARKS: [&[u8]; 8] =
        [b" ", b"-", b"\xC2\xA0", b"\xE2\x80\xAF", b"\xE2\x80\x90", b"\xE2\x80\x91", b"\xE2\x80\x92", b"\xE2\x80\x93"];
    let mut kept = Vec::new();
    let mut rest = slice;
    let mut separated = true;
    while let Some((first, behind)) = rest.split_first() {
        if first.is_ascii_alphanumeric() {
            kept.push(*first);
            rest = behind;
            separated = false;
        } else {
            let mark = MARKS.iter().find(|mark| rest.starts_with(mark))?;
            if separated {
                return None;
            }
            rest = &rest[mark.len()..];
            separated = true;
        }
    }
    (!separated).then_some(kept)
}

fn payment_card(value: &[u8], start: usize, end: usize) -> bool {
    let Some(characters) = joined(&value[start..end]) else { return false };
    let digits: Vec<u8> = characters.iter().filter(|byte| byte.is_ascii_digit()).map(|byte| byte - b'0').collect();
    digits.len() == characters.len()
        && (13..=19).contains(&digits.len())
        && alone(value, start, end)
        && luhn(&digits)
        && issued(&digits)
}

fn iban(value: &[u8], start: usize, end: usize) -> bool {
    let slice = &value[start..end];
    let Some(number) = joined(slice) else { return false };
    number.len() >= 15
        && slice[..2].iter().all(u8::is_ascii_alphabetic)
        && slice[2..4].iter().all(u8::is_ascii_digit)
        && length([number[0], number[1]]) == Some(number.len())
        && checksum(&number)
        && alone(value, start, end)
}

fn email(value: &[u8], start: usize, end: usize) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte >= 0x80;
    let slice = &value[start..end];
    let parts: Vec<&[u8]> = slice.split(|byte| *byte == b'@').collect();
    let [local, domain] = parts[..] else { return false };
    let Some((first, rest)) = local.split_first() else { return false };
    let mut labels: Vec<&[u8]> = domain.split(|byte| *byte == b'.').collect();
    let Some(top) = labels.pop() else { return false };
    let label = |label: &&[u8]| {
        !label.is_empty()
            && label.iter().all(|byte| letter(*byte) || *byte == b'-')
            && letter(label[0])
            && letter(label[label.len() - 1])
    };
    let punycode = top.to_ascii_lowercase().strip_prefix(b"xn--").is_some_and(|rest| {
        rest.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
            && rest.last().is_some_and(u8::is_ascii_alphanumeric)
    });
    let plain = top.len() >= 2 && top.iter().all(|byte| byte.is_ascii_alphabetic() || *byte >= 0x80);
    (letter(*first) || *first == b'_')
        && rest.iter().all(|byte| letter(*byte) || b"._%+'-".contains(byte))
        && !labels.is_empty()
        && labels.iter().all(label)
        && (plain || punycode)
}

/// The digits of a slice that begins and ends with one and has at most two separators between any two.
fn phone_digits(slice: &[u8]) -> Option<Vec<u8>> {
    let mut digits = Vec::new();
    let mut between = 0;
    for byte in slice {
        match byte {
            b'0'..=b'9' => {
                digits.push(*byte);
                between = 0;
            }
            b' ' | b'.' | b'-' | b'/' | b'(' | b')' if between < 2 && !digits.is_empty() => between += 1,
            _ => return None,
        }
    }
    (between == 0).then_some(digits)
}

fn phone_e164(value: &[u8], start: usize, end: usize) -> bool {
    let Some(number) = value[start..end].strip_prefix(b"+") else { return false };
    let digits = phone_digits(number).unwrap_or_default();
    (8..=15).contains(&digits.len())
        && number[0].is_ascii_digit()
        && digits[0] != b'0'
        && (start == 0 || !word_at(value, start - 1))
        && !word_at(value, end)
}

fn phone_exit_code(value: &[u8], start: usize, end: usize) -> bool {
    let slice = &value[start..end];
    let Some(number) = slice.strip_prefix(b"00") else { return false };
    let digits = phone_digits(number).unwrap_or_default();
    (8..=15).contains(&digits.len())
        && number[0].is_ascii_digit()
        && digits[0] != b'0'
        && digits.len() < number.len()
        && alone(value, start, end)
}

fn tail(value: &[u8], start: usize) -> bool {
    start >= 2 && value[start - 2].is_ascii_digit() && b"-./".contains(&value[start - 1])
}

/// Splits into runs of digits and what stands between them; the first item stands before the first run.
fn runs(slice: &[u8]) -> (Vec<String>, Vec<usize>) {
    let mut marks = vec![String::new()];
    let mut lengths: Vec<usize> = Vec::new();
    let mut in_run = false;
    for byte in slice {
        if byte.is_ascii_digit() {
            if in_run {
                *lengths.last_mut().unwrap() += 1;
            } else {
                lengths.push(1);
                marks.push(String::new());
            }
            in_run = true;
        } else {
            marks.last_mut().unwrap().push(char::from(*byte));
            in_run = false;
        }
    }
    (marks, lengths)
}

fn phone_american(value: &[u8], start: usize, end: usize) -> bool {
    let slice = &value[start..end];
    let (marks, lengths) = runs(slice);
    let marks: Vec<&str> = marks.iter().map(String::as_str).collect();
    let mark = |mark: &str| [" ", ".", "-"].contains(&mark);
    // `marks` ends with what stands behind the last run.
    let (country, groups, between) = match (&lengths[..], &marks[..]) {
        ([1, 3, 3, 4], ["", first, rest @ .., ""]) if slice[0] == b'1' => {
            let Some(begin) = first.chars().next() else { return false };
            (mark(&begin.to_string()), 2, [&[&first[1..]], rest].concat())
        }
        ([3, 3, 4], [between @ .., ""]) => (true, 0, between.to_vec()),
        _ => return false,
    };
    let [before, behind, last] = between[..] else { return false };
    let area = slice[groups..].iter().find(|byte| byte.is_ascii_digit() && (groups == 0 || **byte != b'('));
    let in_parentheses = before == "(" && [")", ") ", ")-"].contains(&behind);
    let plain = before.is_empty() && mark(behind);
    let begins = slice[0] == b'(' || start == 0 || !word_at(value, start - 1);
    country
        && area.is_some_and(|byte| (b'2'..=b'9').contains(byte))
        && (in_parentheses || plain)
        && mark(last)
        && begins
        && !tail(value, start)
        && !word_at(value, end)
}

fn phone_trunk(value: &[u8], start: usize, end: usize) -> bool {
    let slice = &value[start..end];
    let (marks, lengths) = runs(slice);
    if lengths.len() < 2 || lengths.len() > 7 || !marks[lengths.len()].is_empty() {
        return false;
    }
    let head = if slice[0] == b'(' { &slice[1..] } else { slice };
    let digits: usize = lengths.iter().sum();
    let behind = marks[1].as_str();
    let opening = match marks[0].as_str() {
        "" => [" ", ".", "/", "-"].contains(&behind),
        "(" => [")", ") ", ")-"].contains(&behind),
        _ => false,
    };
    let rest = &marks[2..lengths.len()];
    opening
        && head[0] == b'0'
        && (b'1'..=b'9').contains(&head[1])
        && (2..=5).contains(&lengths[0])
        && lengths[1..].iter().all(|length| (2..=8).contains(length))
        && rest.iter().all(|mark| [" ", ".", "-"].contains(&mark.as_str()) && *mark == rest[0])
        && (digits >= 10 || (digits == 9 && lengths.len() > 2))
        && digits <= 12
        && (start == 0 || !word_at(value, start - 1))
        && !tail(value, start)
        && !word_at(value, end)
}
