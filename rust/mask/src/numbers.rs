//! Fixed values in both formats: what `replace` means for types that are no text.

use std::fmt::Write;

use crate::types::Family;

/// One value as the text and as the binary format have it.
pub(crate) type Both = (Vec<u8>, Vec<u8>);

/// The value that `text` spells in a type of `family`, or `None` if it spells none.
pub(crate) fn parse(family: Family, text: &str) -> Option<Both> {
    let plain = |text: &str| (text.as_bytes().to_vec(), text.as_bytes().to_vec());
    match family {
        Family::Text | Family::Padded => Some(plain(text)),
        Family::Name => (text.len() < 64).then(|| plain(text)),
        Family::Char => (text.len() == 1 && text.is_ascii()).then(|| plain(text)),
        Family::Xml => is_xml_text(text).then(|| plain(text)),
        Family::Json => json_string(text).map(|json| (json.clone(), json)),
        Family::Jsonb => json_string(text).map(|json| (json.clone(), versioned(&json))),
        Family::Bytes => Some((hex(text.as_bytes()), text.as_bytes().to_vec())),
        Family::Uuid => uuid(text),
        Family::Bool => match text {
            "t" | "true" => Some((b"t".to_vec(), vec![1])),
            "f" | "false" => Some((b"f".to_vec(), vec![0])),
            _ => None,
        },
        Family::Int2 => text.parse::<i16>().ok().map(|number| spelled(number, &number.to_be_bytes())),
        Family::Int4 => text.parse::<i32>().ok().map(|number| spelled(number, &number.to_be_bytes())),
        Family::Int8 => text.parse::<i64>().ok().map(|number| spelled(number, &number.to_be_bytes())),
        Family::Oid => text.parse::<u32>().ok().map(|number| spelled(number, &number.to_be_bytes())),
        Family::Float4 => {
            let number = text.parse::<f32>().ok().filter(|number| number.is_finite())?;
            Some(spelled(number, &number.to_be_bytes()))
        }
        Family::Float8 => {
            let number = text.parse::<f64>().ok().filter(|number| number.is_finite())?;
            Some(spelled(number, &number.to_be_bytes()))
        }
        Family::Numeric => numeric(text),
        Family::Inet | Family::Cidr | Family::Macaddr | Family::Macaddr8 | Family::Array(_) | Family::Other => None,
    }
}

/// `\x` and hexadecimal digits: the text format of bytea.
pub(crate) fn hex(bytes: &[u8]) -> Vec<u8> {
    let mut text = String::from("\\x");
    for byte in bytes {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text.into_bytes()
}

/// The binary format of jsonb: its version, then the text.
pub(crate) fn versioned(json: &[u8]) -> Vec<u8> {
    [&[1], json].concat()
}

/// The text format of a UUID.
pub(crate) fn spell_uuid(bytes: &[u8; 16]) -> [u8; 36] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [b'-'; 36];
    let places = (0..36).filter(|place| ![8, 13, 18, 23].contains(place));
    let nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    for (place, nibble) in places.zip(nibbles) {
        text[place] = DIGITS[usize::from(nibble)];
    }
    text
}

fn spelled(number: impl std::fmt::Display, binary: &[u8]) -> Both {
    (number.to_string().into_bytes(), binary.to_vec())
}

fn json_string(text: &str) -> Option<Vec<u8>> {
    serde_json::to_vec(text).ok()
}

/// Whether `text` is XML content without any markup, which a reader gives back as it is.
fn is_xml_text(text: &str) -> bool {
    !text.contains(['<', '&', '>']) && text.chars().all(|c| c >= ' ' || matches!(c, '\t' | '\n'))
}

fn uuid(text: &str) -> Option<Both> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
    let mut bytes = [0u8; 16];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| !pair.starts_with('+'))?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    let spelling = spell_uuid(&bytes);
    text.as_bytes().eq_ignore_ascii_case(&spelling).then(|| (spelling.to_vec(), bytes.to_vec()))
}

/// Digits, at most one point with digits on both sides, at most one leading minus. The binary format counts in base
/// 10,000: number of digits, weight of the first, sign, digits shown behind the point, digits.
fn numeric(text: &str) -> Option<Both> {
    let (negative, magnitude) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = magnitude.split_once('.').unwrap_or((magnitude, "0"));
    let digits = |part: &str| !part.is_empty() && part.len() <= 100 && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let scale = magnitude.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let whole = "0".repeat((4 - whole.len() % 4) % 4) + whole;
    let fraction = fraction.to_owned() + &"0".repeat((4 - fraction.len() % 4) % 4);
    let mut groups: Vec<u16> = Vec::new();
    for group in whole.as_bytes().chunks(4).chain(fraction.as_bytes().chunks(4)) {
        groups.push(group.iter().fold(0, |value, digit| value * 10 + u16::from(digit - b'0')));
    }
    let mut weight = i16::try_from(whole.len() / 4).ok()? - 1;
    let leading = groups.iter().take_while(|group| **group == 0).count();
    groups.drain(..leading);
    weight -= i16::try_from(leading).ok()?;
    while groups.last() == Some(&0) {
        groups.pop();
    }
    if groups.is_empty() {
        weight = 0;
    }
    let sign: u16 = if negative && !groups.is_empty() { 0x4000 } else { 0 };
    let mut binary = Vec::new();
    binary.extend(i16::try_from(groups.len()).ok()?.to_be_bytes());
    binary.extend(weight.to_be_bytes());
    binary.extend(sign.to_be_bytes());
    binary.extend(i16::try_from(scale).ok()?.to_be_bytes());
    binary.extend(groups.iter().flat_map(|group| group.to_be_bytes()));
    Some((text.as_bytes().to_vec(), binary))
}
