//! Checks: which candidates of a pattern are the real thing.

/// Looks at the candidate `value[start..end]`, the longest the pattern finds from `start`, and gives the end of the
/// longest match that begins at `start`, if there is one.
pub(crate) type Check = fn(value: &[u8], start: usize, end: usize) -> Option<usize>;

/// Whether the byte at `at` is a letter, a digit or `_`; there is none behind the end.
pub(crate) fn word_at(value: &[u8], at: usize) -> bool {
    value.get(at).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

/// The pattern alone decides.
pub(crate) fn whole(_: &[u8], _: usize, end: usize) -> Option<usize> {
    Some(end)
}

/// A number with the exit code `00` counts only if something separates its digits: else any padded number would.
pub(crate) fn separated(value: &[u8], start: usize, end: usize) -> Option<usize> {
    value[start..end].iter().any(|byte| !byte.is_ascii_digit()).then_some(end)
}

/// Not the tail of a longer number written with hyphens, dots or slashes, such as a date.
pub(crate) fn not_a_tail(value: &[u8], start: usize, end: usize) -> Option<usize> {
    let tail = match value[..start] {
        [.., digit, mark] => digit.is_ascii_digit() && matches!(mark, b'-' | b'.' | b'/'),
        _ => false,
    };
    (!tail).then_some(end)
}

/// Same separator twice; no area 000, 666 or 9xx, no group 00, no serial 0000: those were never issued.
pub(crate) fn us_ssn(value: &[u8], start: usize, end: usize) -> Option<usize> {
    let number = &value[start..end];
    let issued = number[3] == number[6]
        && &number[..3] != b"000"
        && &number[..3] != b"666"
        && &number[4..6] != b"00"
        && &number[7..] != b"0000";
    issued.then_some(end)
}

/// The longest run of digits from the start that an issuer could have given out and whose check digit fits.
pub(crate) fn payment_card(value: &[u8], start: usize, end: usize) -> Option<usize> {
    let mut digits = [0u8; 19];
    let mut count = 0;
    let mut longest = None;
    for (at, byte) in value[..end].iter().enumerate().skip(start).filter(|(_, byte)| byte.is_ascii_digit()) {
        let Some(place) = digits.get_mut(count) else { break };
        *place = byte - b'0';
        count += 1;
        let number = &digits[..count];
        if count >= 13 && !word_at(value, at + 1) && issued(number) && luhn(number) {
            longest = Some(at + 1);
        }
    }
    longest
}

/// Whether the check digit fits (ISO/IEC 7812-1).
pub(crate) fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, u32::from(*digit)) {
            (0, digit) => digit,
            (_, digit) if digit > 4 => digit * 2 - 9,
            (_, digit) => digit * 2,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// First four digits from and to, fewest and most digits: the ranges that card networks give to issuers.
const ISSUERS: [(u32, u32, usize, usize); 16] = [
    (2200, 2204, 16, 19), // Mir
    (2221, 2720, 16, 16), // Mastercard
    (3000, 3059, 14, 19), // Diners Club
    (3095, 3095, 14, 19), // Diners Club
    (3400, 3499, 15, 15), // American Express
    (3528, 3589, 16, 19), // JCB
    (3600, 3699, 14, 19), // Diners Club
    (3700, 3799, 15, 15), // American Express
    (3800, 3999, 14, 19), // Diners Club
    (4000, 4999, 13, 19), // Visa
    (5000, 5099, 13, 19), // Maestro
    (5100, 5599, 16, 16), // Mastercard
    (5600, 5899, 13, 19), // Maestro
    (6000, 6999, 13, 19), // Maestro, Discover, UnionPay, RuPay
    (8100, 8199, 16, 19), // RuPay, UnionPay
    (8200, 8299, 16, 16), // RuPay
];

/// Whether a card network gave this prefix and length to an issuer.
pub(crate) fn issued(digits: &[u8]) -> bool {
    let prefix = digits.iter().take(4).fold(0, |prefix, digit| prefix * 10 + u32::from(*digit));
    let fits = |(first, last, fewest, most): &(u32, u32, usize, usize)| {
        (*first..=*last).contains(&prefix) && (*fewest..=*most).contains(&digits.len())
    };
    ISSUERS.iter().any(fits)
}

/// A national number with its trunk `0`: 9 to 12 digits, every separator behind the first group the same, and if there
/// are but two groups at least 10 digits, because `02134-1234` is a postal code.
pub(crate) fn trunk_phone(value: &[u8], start: usize, end: usize) -> Option<usize> {
    not_a_tail(value, start, end)?;
    let mut digits = 0;
    let mut separators = 0;
    let mut rest: Option<u8> = None;
    let mut longest = None;
    let mut at = start;
    while at < end {
        if value[at].is_ascii_digit() {
            digits += 1;
            at += 1;
            let complete = !word_at(value, at) && (if separators < 2 { 10..=12 } else { 9..=12 }).contains(&digits);
            if complete && separators > 0 {
                longest = Some(at);
            }
            continue;
        }
        let mark = value[at];
        at += 1;
        if mark == b'(' {
            continue;
        }
        // `)` and a mark behind it separate once.
        if mark == b')' && at < end && !value[at].is_ascii_digit() {
            at += 1;
        }
        separators += 1;
        if separators > 1 && *rest.get_or_insert(mark) != mark {
            break;
        }
    }
    longest
}
