//! Cheap looks: what a value must contain for a form to match in it.
//!
//! A look may say yes wrongly, never no. That must also hold for what the value spells once backslashes that only escape
//! are taken out, so no look relies on the byte before or behind being no letter: it may be that of an escape.

use memchr::{memchr, memchr_iter};

/// Says no where a form certainly has no match.
pub(crate) type Look = fn(value: &[u8]) -> bool;

/// Nothing cheaper than the pattern itself is known.
pub(crate) fn any(_: &[u8]) -> bool {
    true
}

/// An `@`.
pub(crate) fn at_sign(value: &[u8]) -> bool {
    memchr(b'@', value).is_some()
}

/// A `+` with a digit behind it.
pub(crate) fn plus(value: &[u8]) -> bool {
    memchr_iter(b'+', value).any(|place| value.get(place + 1).is_some_and(u8::is_ascii_digit))
}

/// `00` and a digit.
pub(crate) fn double_zero(value: &[u8]) -> bool {
    value.windows(3).any(|begin| begin[0] == b'0' && begin[1] == b'0' && begin[2].is_ascii_digit())
}

/// Three, two and four digits between separators that are the same.
pub(crate) fn us_ssn(value: &[u8]) -> bool {
    let number = |part: &[u8]| {
        matches!(part[3], b'-' | b' ')
            && part[3] == part[6]
            && [0, 1, 2, 4, 5, 7, 8, 9, 10].iter().all(|place| part[*place].is_ascii_digit())
    };
    value.windows(11).any(number)
}

/// Three digits, a separator, four digits.
pub(crate) fn american_phone(value: &[u8]) -> bool {
    let end = |part: &[u8]| {
        matches!(part[3], b' ' | b'.' | b'-') && [0, 1, 2, 4, 5, 6, 7].iter().all(|place| part[*place].is_ascii_digit())
    };
    value.windows(8).any(end)
}

/// A `0` and another digit that are not inside a number nor behind one and a hyphen, dot or slash.
pub(crate) fn trunk_phone(value: &[u8]) -> bool {
    memchr_iter(b'0', value).any(|place| {
        let begins = match value[..place] {
            [.., digit, b'-' | b'.' | b'/'] | [.., digit] => !digit.is_ascii_digit(),
            [] => true,
        };
        begins && value.get(place + 1).is_some_and(|next| matches!(next, b'1'..=b'9'))
    })
}

/// How many bytes are ASCII digits. Short blocks summed in bytes, which cannot overflow, let the compiler use vector
/// instructions; overflow checks on each addition would not.
pub(crate) fn count_digits(value: &[u8]) -> usize {
    let block = |bytes: &[u8]| {
        let count = bytes.iter().fold(0u8, |count, byte| count.wrapping_add(u8::from(byte.is_ascii_digit())));
        usize::from(count)
    };
    value.chunks(128).map(block).sum()
}

/// The most digits that follow each other with at most four bytes of separators between two. Four, because JSON may
/// spell each of two slashes with a backslash, and because that covers every separator of more than one byte.
pub(crate) fn longest_chain(value: &[u8]) -> usize {
    let (mut longest, mut chain, mut gap) = (0usize, 0usize, 0usize);
    for byte in value {
        match byte {
            b'0'..=b'9' => {
                chain += 1;
                gap = 0;
                longest = longest.max(chain);
            }
            b' ' | b'-' | b'.' | b'/' | b'(' | b')' | b'\\' | 0x80.. if gap < 4 => gap += 1,
            _ => {
                chain = 0;
                gap = 0;
            }
        }
    }
    longest
}
