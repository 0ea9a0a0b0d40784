//! The values an expression is evaluated to, borrowed from facts, claims and the expression wherever possible.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::rc::Rc;

use model::FactValue;
use serde_json::Value as Json;

/// A value.
#[derive(Debug, Clone)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(&'a str),
    /// A string made by the expression itself.
    Made(Rc<str>),
    List(Rc<[Value<'a>]>),
    Texts(&'a [std::sync::Arc<str>]),
    Array(&'a [Json]),
    Labels(&'a BTreeMap<String, String>),
    Object(&'a serde_json::Map<String, Json>),
}

impl<'a> Value<'a> {
    /// A fact's value.
    pub(super) fn of_fact(fact: &'a FactValue) -> Self {
        match fact {
            FactValue::Bool(value) => Self::Bool(*value),
            FactValue::Int(value) => Self::Int(*value),
            FactValue::Text(value) => Self::Text(value),
            FactValue::Texts(value) => Self::Texts(value),
            FactValue::TextMap(value) => Self::Labels(value),
        }
    }

    /// A JSON value. `None` for a number that no type here can hold exactly.
    pub(super) fn of_json(json: &'a Json) -> Option<Self> {
        Some(match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => match (number.as_i64(), number.is_f64()) {
                (Some(value), _) => Self::Int(value),
                (None, true) => Self::Double(number.as_f64()?),
                (None, false) => return None,
            },
            Json::String(value) => Self::Text(value),
            Json::Array(values) => Self::Array(values),
            Json::Object(values) => Self::Object(values),
        })
    }

    /// The string, if it is one.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Made(text) => Some(text),
            _ => None,
        }
    }

    /// The name of its type, for messages.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Double(_) => "double",
            Self::Text(_) | Self::Made(_) => "string",
            Self::List(_) | Self::Texts(_) | Self::Array(_) => "list",
            Self::Labels(_) | Self::Object(_) => "map",
        }
    }

    /// How many elements or keys it has; `None` if it is neither list nor map.
    pub(super) fn length(&self) -> Option<usize> {
        Some(match self {
            Self::List(values) => values.len(),
            Self::Texts(values) => values.len(),
            Self::Array(values) => values.len(),
            Self::Labels(values) => values.len(),
            Self::Object(values) => values.len(),
            _ => return None,
        })
    }

    /// Whether it is a map.
    pub(super) const fn is_map(&self) -> bool {
        matches!(self, Self::Labels(_) | Self::Object(_))
    }

    /// The element at a place of a list.
    pub(super) fn element(&self, place: usize) -> Option<Self> {
        match self {
            Self::List(values) => values.get(place).cloned(),
            Self::Texts(values) => values.get(place).map(|text| Self::Text(text)),
            Self::Array(values) => values.get(place).and_then(Self::of_json),
            _ => None,
        }
    }

    /// The value under a key of a map.
    pub(super) fn field(&self, key: &str) -> Option<Self> {
        match self {
            Self::Labels(values) => values.get(key).map(|text| Self::Text(text)),
            Self::Object(values) => values.get(key).and_then(Self::of_json),
            _ => None,
        }
    }

    /// Whether a map has a key.
    pub(super) fn has(&self, key: &str) -> bool {
        match self {
            Self::Labels(values) => values.contains_key(key),
            Self::Object(values) => values.contains_key(key),
            _ => false,
        }
    }

    /// The keys of a map, in order.
    pub(super) fn keys(&self) -> Vec<Self> {
        match self {
            Self::Labels(values) => values.keys().map(|key| Self::Text(key)).collect(),
            Self::Object(values) => values.keys().map(|key| Self::Text(key)).collect(),
            _ => Vec::new(),
        }
    }

    /// How two values stand to each other; `None` if no order is defined between them.
    pub(super) fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(b)),
            (Self::Double(a), Self::Double(b)) => a.partial_cmp(b),
            (Self::Int(a), Self::Double(b)) => order_mixed(*a, *b),
            (Self::Double(a), Self::Int(b)) => order_mixed(*b, *a).map(Ordering::reverse),
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            (a, b) => Some(a.text()?.cmp(b.text()?)),
        }
    }
}

/// How an integer stands to a floating-point number, exactly: neither is rounded to the other's type.
fn order_mixed(int: i64, double: f64) -> Option<Ordering> {
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    if double.is_nan() {
        return None;
    }
    if double >= BEYOND {
        return Some(Ordering::Less);
    }
    if double < -BEYOND {
        return Some(Ordering::Greater);
    }
    // In range, so the cast keeps the whole part.
    #[allow(clippy::cast_possible_truncation)]
    let whole = double.trunc() as i64;
    Some(int.cmp(&whole).then_with(|| 0.0_f64.partial_cmp(&double.fract()).unwrap_or(Ordering::Equal)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_and_doubles_compare_exactly() {
        assert_eq!(order_mixed(1, 1.5), Some(Ordering::Less));
        assert_eq!(order_mixed(-1, -1.5), Some(Ordering::Greater));
        assert_eq!(order_mixed(2, 2.0), Some(Ordering::Equal));
        assert_eq!(order_mixed(i64::MAX, 9_223_372_036_854_775_808.0), Some(Ordering::Less));
        assert_eq!(order_mixed(9_007_199_254_740_993, 9_007_199_254_740_992.0), Some(Ordering::Greater));
        assert_eq!(order_mixed(i64::MIN, f64::NEG_INFINITY), Some(Ordering::Greater));
        assert_eq!(order_mixed(0, f64::NAN), None);
    }
}
