//! The kinds of mask a class can ask for, and what each makes of a piece of text.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;
use bytes::{BufMut, BytesMut};
use serde_json::Value;

/// What stands for hidden text. Always four: neither the length nor the separators of what it hides show.
pub(crate) const STARS: &[u8] = b"****";

/// Crockford's base 32: no letter that is mistaken for a digit.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// What a class makes of its values. What it means for each type of column stands in [`crate::types`].
#[derive(Debug, Clone)]
pub enum MaskKind {
    /// A neutral value of the type: `****` for text, 0 for numbers.
    Full,
    /// A fixed value.
    Replace(Arc<str>),
    /// The first so many characters, then `****`. Nothing of a value shorter than twice as many.
    KeepFirst(usize),
    /// `****`, then the last so many characters. Nothing of a value shorter than twice as many.
    KeepLast(usize),
    /// A pseudonym: the same for the same value under the same key, worthless without the key.
    Hmac(Pseudonym),
    /// NULL.
    Null,
}

/// The key of a class that gives pseudonyms, and the name under which they tell it.
#[derive(Clone)]
pub struct Pseudonym {
    key: Arc<hmac::Key>,
    id: Arc<str>,
}

impl fmt::Debug for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pseudonym({})", self.id)
    }
}

impl Pseudonym {
    /// The tag of the concatenation of `parts`.
    pub(crate) fn tag<'a>(&self, parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            context.update(part);
        }
        let mut tag = [0; 32];
        for (to, from) in tag.iter_mut().zip(context.sign().as_ref()) {
            *to = *from;
        }
        tag
    }

    /// Appends `id:` and the tag's first 130 bits as 26 characters.
    pub(crate) fn write(&self, tag: &[u8; 32], out: &mut BytesMut) {
        out.put_slice(self.id.as_bytes());
        out.put_u8(b':');
        let mut bits = 0u32;
        let mut held = 0;
        let mut bytes = tag.iter();
        for _ in 0..26 {
            if held < 5 {
                bits = (bits & 31) << 8 | u32::from(*bytes.next().unwrap_or(&0));
                held += 8;
            }
            held -= 5;
            out.put_u8(ALPHABET[(bits >> held & 31) as usize]);
        }
    }
}

impl MaskKind {
    /// Reads the `mask` object of a class: exactly one of `full`, `replace`, `keep_first`, `keep_last`, `hmac`, `null`.
    ///
    /// # Errors
    /// Message and hint: not an object, no kind or several, or a value the kind cannot use.
    pub fn read(mask: &Value) -> Result<Self, (String, String)> {
        const KINDS: &str = "give exactly one of full, replace, keep_first, keep_last, hmac, null";
        let wrong = |message: String| (message, KINDS.to_owned());
        let object = mask.as_object().ok_or_else(|| wrong("a mask is an object".into()))?;
        let mut kinds = object.iter();
        let (Some((kind, value)), None) = (kinds.next(), kinds.next()) else {
            return Err(wrong(format!("a mask has one kind, this one has {}", object.len())));
        };
        match kind.as_str() {
            "full" => read_true(kind, value).map(|()| Self::Full),
            "null" => read_true(kind, value).map(|()| Self::Null),
            "replace" => read_text(value).map(|text| Self::Replace(text.into())),
            "keep_first" => read_count(kind, value).map(Self::KeepFirst),
            "keep_last" => read_count(kind, value).map(Self::KeepLast),
            "hmac" => read_hmac(value).map(Self::Hmac),
            other => Err(wrong(format!("no mask is called `{other}`"))),
        }
    }

    /// How much it shows, for choosing among several that apply: the smaller, the less.
    pub(crate) fn shows(&self) -> usize {
        match self {
            Self::Null => 0,
            Self::Full => 1,
            Self::Replace(_) => 2,
            Self::Hmac(_) => 3,
            Self::KeepFirst(count) | Self::KeepLast(count) => count.saturating_add(3),
        }
    }

    /// Appends what stands for `piece`, a piece of text. NULL cannot stand inside a text, so there it is `****`.
    pub(crate) fn write_piece(&self, piece: &[u8], out: &mut BytesMut) {
        match self {
            Self::Full | Self::Null => out.put_slice(STARS),
            Self::Replace(text) => out.put_slice(text.as_bytes()),
            Self::KeepFirst(count) => {
                out.put_slice(kept_first(piece, *count));
                out.put_slice(STARS);
            }
            Self::KeepLast(count) => {
                out.put_slice(STARS);
                out.put_slice(kept_last(piece, *count));
            }
            Self::Hmac(pseudonym) => pseudonym.write(&pseudonym.tag([piece]), out),
        }
    }
}

/// The first `count` characters, or nothing if there are fewer than twice as many or the text is not UTF-8: where
/// characters cannot be told apart, keeping some of them might keep all.
fn kept_first(piece: &[u8], count: usize) -> &[u8] {
    match text_of(piece, count) {
        Some(text) => text.char_indices().nth(count).map_or(&[][..], |(end, _)| &piece[..end]),
        None => &[],
    }
}

/// The last `count` characters, under the same conditions.
fn kept_last(piece: &[u8], count: usize) -> &[u8] {
    let begins = |text: &str| text.char_indices().rev().nth(count.saturating_sub(1)).map(|(start, _)| start);
    match text_of(piece, count) {
        Some(text) if count > 0 => begins(text).map_or(&[][..], |start| &piece[start..]),
        _ => &[],
    }
}

fn text_of(piece: &[u8], count: usize) -> Option<&str> {
    let text = std::str::from_utf8(piece).ok()?;
    // The look at one character more than needed keeps long values cheap.
    let enough = count.saturating_mul(2);
    (text.chars().take(enough).count() == enough).then_some(text)
}

fn read_true(kind: &str, value: &Value) -> Result<(), (String, String)> {
    match value {
        Value::Bool(true) => Ok(()),
        _ => Err((format!("`{kind}` takes nothing but true"), format!("write {kind}: true"))),
    }
}

fn read_text(value: &Value) -> Result<String, (String, String)> {
    let hint = || "give a text of 1 to 256 bytes without NUL, such as \"****\"".to_owned();
    match value {
        Value::String(text) if (1..=256).contains(&text.len()) && !text.contains('\0') => Ok(text.clone()),
        Value::String(_) => Err(("the replacement is too long, empty, or holds a NUL".into(), hint())),
        _ => Err(("`replace` takes a text".into(), hint())),
    }
}

fn read_count(kind: &str, value: &Value) -> Result<usize, (String, String)> {
    let count = value.as_u64().and_then(|count| usize::try_from(count).ok()).filter(|count| (1..=64).contains(count));
    count.ok_or_else(|| (format!("`{kind}` takes a number from 1 to 64"), "to keep nothing, write full: true".into()))
}

fn read_hmac(value: &Value) -> Result<Pseudonym, (String, String)> {
    let object = value.as_object().filter(|object| object.keys().all(|key| key == "key" || key == "id"));
    let text = |name: &str| object.and_then(|object| object.get(name)).and_then(Value::as_str);
    let (Some(key), Some(id)) = (text("key"), text("id")) else {
        return Err(("`hmac` takes a key and an id".into(), "write hmac: {key: {env: MASK_KEY}, id: k1}".into()));
    };
    let key = bytes_of_hex(key).filter(|key| (16..=64).contains(&key.len())).ok_or_else(|| {
        ("the key of `hmac` is not 32 to 128 hexadecimal digits".into(), "make one with: openssl rand -hex 32".into())
    })?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if id.is_empty() || id.len() > 16 || !id.bytes().all(plain) {
        let hint = "choose 1 to 16 letters, digits, _ or -, such as k1";
        return Err(("the id of `hmac` cannot stand in a pseudonym".into(), hint.into()));
    }
    Ok(Pseudonym { key: Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &key)), id: id.into() })
}

fn bytes_of_hex(hex: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = hex.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect()
}
