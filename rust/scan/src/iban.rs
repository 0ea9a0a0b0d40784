//! International bank account numbers (ISO 13616).

use crate::checks::word_at;

/// Countries of the registry with the length of their numbers.
const LENGTHS: [(&[u8; 2], usize); 89] = [
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BI", 27),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DJ", 27),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FK", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HN", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MN", 20),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NI", 28),
    (b"NL", 18),
    (b"NO", 15),
    (b"OM", 23),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"RU", 33),
    (b"SA", 24),
    (b"SC", 31),
    (b"SD", 18),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"SO", 23),
    (b"ST", 25),
    (b"SV", 28),
    (b"TL", 23),
    (b"TN", 24),
    (b"TR", 26),
    (b"UA", 29),
    (b"VA", 22),
    (b"VG", 24),
    (b"XK", 20),
    (b"YE", 30),
];

/// The length of the numbers of `country`, whatever its case.
pub(crate) fn length(country: [u8; 2]) -> Option<usize> {
    let country = country.map(|byte| byte.to_ascii_uppercase());
    let known = LENGTHS.iter().find(|(code, _)| **code == country);
    known.map(|(_, length)| *length)
}

/// Whether somewhere in `value` a country's code stands before two digits.
pub(crate) fn may_begin(value: &[u8]) -> bool {
    value.len() >= 15
        && value.windows(4).any(|begin| {
            begin[3].is_ascii_digit()
                && begin[2].is_ascii_digit()
                && begin[0].is_ascii_alphabetic()
                && length([begin[0], begin[1]]).is_some()
        })
}

/// As many letters and digits as the country's numbers have, and the checksum fits.
pub(crate) fn check(value: &[u8], start: usize, end: usize) -> Option<usize> {
    let length = length([value[start], value[start + 1]])?;
    let mut number = [0u8; 34];
    let mut count = 0;
    for (at, byte) in value[..end].iter().enumerate().skip(start).filter(|(_, byte)| byte.is_ascii_alphanumeric()) {
        *number.get_mut(count)? = *byte;
        count += 1;
        if count == length {
            return (!word_at(value, at + 1) && checksum(&number[..length])).then_some(at + 1);
        }
    }
    None
}

/// ISO 7064 MOD 97-10 over the number with its first four characters moved to the end, letters as 10 to 35.
pub(crate) fn checksum(number: &[u8]) -> bool {
    let (head, account) = number.split_at(4);
    let remainder = account.iter().chain(head).fold(0u32, |remainder, byte| match byte {
        b'0'..=b'9' => (remainder * 10 + u32::from(byte - b'0')) % 97,
        _ => (remainder * 100 + u32::from(byte.to_ascii_uppercase() - b'A') + 10) % 97,
    });
    remainder == 1
}
