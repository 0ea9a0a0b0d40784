//! Texts as people may see them: literals that match a class, or meet a class's column, become placeholders.

use std::collections::HashSet;

use pg_query::protobuf::{ScanToken, Token};

use crate::lineage::Names;
use crate::statement::{Detail, Statement, Text};

/// What a token is to a redaction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    Text,
    Number,
    Bits,
    Comment,
    /// A quoted identifier.
    Quoted,
    Other,
}

fn sort(token: &ScanToken, text: &str) -> Sort {
    match Token::try_from(token.token) {
        Ok(Token::Sconst | Token::Usconst) => Sort::Text,
        Ok(Token::Iconst | Token::Fconst) => Sort::Number,
        Ok(Token::Bconst | Token::Xconst) => Sort::Bits,
        Ok(Token::SqlComment | Token::CComment) => Sort::Comment,
        Ok(Token::Ident | Token::Uident) if text.contains('"') => Sort::Quoted,
        _ => Sort::Other,
    }
}

impl Sort {
    fn placeholder(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Number => "number",
            Self::Bits => "bits",
            Self::Comment | Self::Quoted | Self::Other => "name",
        }
    }
}

/// The tokens of a text, comments among them; `None` if it is not made of tokens.
fn scan(sql: &str) -> Option<Vec<ScanToken>> {
    // pg_query makes a slice of a null pointer where there are none, which only blank texts bring about.
    if sql.bytes().all(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)) {
        return Some(Vec::new());
    }
    pg_query::scan_tokens(sql).ok()
}

/// What is known about the literals of one statement.
struct Rule {
    start: usize,
    end: usize,
    /// It touches a protected relation: literals are replaced unless they are known to stand elsewhere.
    touches: bool,
    /// Its strings are passwords or connection strings.
    secrets: bool,
    /// Its literals go where this text does not say.
    blind: bool,
    free: HashSet<u32, ahash::RandomState>,
}

impl Rule {
    fn of(statement: &Statement, names: Option<&dyn Names>) -> Self {
        let findings = names.map(|names| statement.findings(names));
        let blind = names.is_some() && matches!(statement.detail, Detail::Execute { .. });
        let touches = findings.as_ref().is_some_and(|findings| !findings.exposure.touches.is_empty());
        Self {
            start: statement.span.start,
            end: statement.span.end,
            touches,
            secrets: statement.secrets,
            blind,
            free: findings.map(|findings| findings.free).unwrap_or_default(),
        }
    }

    /// Whether a literal stands where nothing protected does. The place of a negative number is that of its sign.
    fn is_free(&self, start: usize, sign: Option<usize>) -> bool {
        let free = |place: usize| u32::try_from(place).is_ok_and(|place| self.free.contains(&place));
        !self.blind && (!self.touches || free(start) || sign.is_some_and(free))
    }
}

impl Text {
    /// The text as the trail and reviewers may see it. A literal becomes `<name>` if `looks_sensitive` names what its
    /// content is, and `<text>`, `<number>` or `<bits>` if it meets, or may meet, a column that `names` protects.
    /// Comments go where the text touches a protected relation; passwords go always.
    #[must_use]
    pub fn redacted<'a>(
        &self,
        names: Option<&dyn Names>,
        looks_sensitive: &dyn Fn(&[u8]) -> Option<&'a str>,
    ) -> String {
        let Some(tokens) = scan(&self.sql) else { return unread(self.sql.len()) };
        let rules: Vec<Rule> = self.statements.iter().map(|statement| Rule::of(statement, names)).collect();
        let touches = rules.iter().any(|rule| rule.touches || rule.blind);
        let mut rule = rules.iter().peekable();
        let mut sign = None;
        replace(&self.sql, &tokens, |token, text| {
            let (start, sort) = (usize::try_from(token.start).unwrap_or_default(), sort(token, text));
            while rule.next_if(|rule| rule.end <= start).is_some() {}
            let here = rule.peek().filter(|rule| rule.start <= start);
            let signed = sign.take();
            if text == "-" || text == "+" {
                sign = Some(start);
            }
            let named = || looks_sensitive(&content(text)).map(|name| format!("<{name}>"));
            match sort {
                Sort::Other => None,
                Sort::Comment => (touches || named().is_some()).then(|| " ".to_owned()),
                Sort::Quoted => named().map(|name| format!("\"{name}\"")),
                Sort::Text if here.is_some_and(|rule| rule.secrets) => Some("<secret>".to_owned()),
                Sort::Text | Sort::Number | Sort::Bits => named().or_else(|| {
                    let free = here.is_none_or(|rule| rule.is_free(start, signed));
                    (!free).then(|| format!("<{}>", sort.placeholder()))
                }),
            }
        })
    }
}

fn unread(length: usize) -> String {
    format!("<unreadable text of {length} bytes>")
}

/// Texts beyond this are not shown at all when they could not be understood.
const SHOWN: usize = 64 << 10;

/// A text that was not understood, as the trail may show it: without its literals and comments, or only by its length.
#[must_use]
pub fn redact_unread(text: &[u8]) -> String {
    let shown = std::str::from_utf8(text).ok().filter(|text| text.len() <= SHOWN);
    let tokens = shown.and_then(scan);
    let (Some(shown), Some(tokens)) = (shown, tokens) else { return unread(text.len()) };
    replace(shown, &tokens, |token, text| match sort(token, text) {
        Sort::Other => None,
        Sort::Comment => Some(" ".to_owned()),
        literal => Some(format!("<{}>", literal.placeholder())),
    })
}

/// The text with those tokens replaced for which `new` says by what.
fn replace(sql: &str, tokens: &[ScanToken], mut new: impl FnMut(&ScanToken, &str) -> Option<String>) -> String {
    let mut shown = String::with_capacity(sql.len());
    let mut done = 0;
    for token in tokens {
        let range = usize::try_from(token.start).ok().zip(usize::try_from(token.end).ok());
        let Some((start, end)) = range.filter(|(start, _)| *start >= done) else { continue };
        let (Some(before), Some(text)) = (sql.get(done..start), sql.get(start..end)) else { return unread(sql.len()) };
        shown.push_str(before);
        match new(token, text) {
            Some(text) => shown.push_str(&text),
            None => shown.push_str(text),
        }
        done = end;
    }
    shown.push_str(sql.get(done..).unwrap_or_default());
    shown
}

/// What a literal says, without its quotes; escapes are undone as far as detectors need it.
fn content(token: &str) -> Vec<u8> {
    if let Some(rest) = token.strip_prefix('$') {
        let tag = rest.find('$').map_or(0, |end| end + 2);
        let body = token.len().checked_sub(tag).and_then(|end| token.get(tag..end));
        return body.unwrap_or(token).as_bytes().to_vec();
    }
    let Some(open) = token.find(['\'', '"']) else { return token.as_bytes().to_vec() };
    let quote = token.as_bytes().get(open).copied().unwrap_or(b'\'');
    let prefix = token.get(..open).unwrap_or_default().to_ascii_lowercase();
    let body = token.get(open + 1..).unwrap_or_default();
    let body = body.strip_suffix(char::from(quote)).unwrap_or(body).as_bytes();
    let doubled = collapse(body, quote);
    match prefix.as_str() {
        "e" => unescape(&doubled, backslash),
        "u&" => unescape(&doubled, unicode),
        "x" => hexadecimal(&doubled),
        _ => doubled,
    }
}

fn collapse(body: &[u8], quote: u8) -> Vec<u8> {
    let mut content = Vec::with_capacity(body.len());
    let mut bytes = body.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte == quote {
            bytes.next_if_eq(&quote);
        }
        content.push(byte);
    }
    content
}

/// Replaces each backslash sequence by what `escape` makes of what follows the backslash, and how long that was.
fn unescape(body: &[u8], escape: impl Fn(&[u8]) -> Option<(Vec<u8>, usize)>) -> Vec<u8> {
    let mut content = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match escape(after).filter(|_| *byte == b'\\') {
            Some((meant, length)) => {
                content.extend(meant);
                rest = after.get(length..).unwrap_or_default();
            }
            None => content.push(*byte),
        }
    }
    content
}

fn code(digits: &[u8], radix: u32) -> Option<Vec<u8>> {
    let number = u32::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok()?;
    Some(char::from_u32(number)?.to_string().into_bytes())
}

fn backslash(rest: &[u8]) -> Option<(Vec<u8>, usize)> {
    let first = *rest.first()?;
    let run = |from: usize, most: usize, fits: fn(&u8) -> bool| {
        rest.get(from..).unwrap_or_default().iter().take(most).take_while(|byte| fits(byte)).count()
    };
    let coded = |from: usize, length: usize, radix: u32| {
        let digits = rest.get(from..from + length).filter(|digits| !digits.is_empty())?;
        Some((code(digits, radix)?, from + length))
    };
    match first {
        b'x' => coded(1, run(1, 2, u8::is_ascii_hexdigit), 16),
        b'u' => coded(1, run(1, 4, u8::is_ascii_hexdigit), 16),
        b'U' => coded(1, run(1, 8, u8::is_ascii_hexdigit), 16),
        b'0'..=b'7' => coded(0, run(0, 3, |byte| (b'0'..=b'7').contains(byte)), 8),
        b'n' => Some((vec![b'\n'], 1)),
        b't' => Some((vec![b'\t'], 1)),
        other => Some((vec![other], 1)),
    }
}

fn unicode(rest: &[u8]) -> Option<(Vec<u8>, usize)> {
    match rest.first()? {
        b'\\' => Some((vec![b'\\'], 1)),
        b'+' => Some((code(rest.get(1..7)?, 16)?, 7)),
        _ => Some((code(rest.get(..4)?, 16)?, 4)),
    }
}

fn hexadecimal(digits: &[u8]) -> Vec<u8> {
    let byte = |pair: &[u8]| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok());
    digits.chunks(2).map(byte).collect::<Option<Vec<u8>>>().unwrap_or_else(|| digits.to_vec())
}
