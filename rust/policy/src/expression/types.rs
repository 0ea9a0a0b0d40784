//! The types an expression's parts may have.

use std::fmt;

use model::FactKind;

/// The type of an expression, as far as it is known before evaluation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Type {
    /// Known only when evaluated: claims of a token.
    Dynamic,
    /// The type of no value: an element of `[]`, or of an expression already found wrong.
    Never,
    /// `null`.
    Null,
    /// True or false.
    Bool,
    /// A 64-bit signed integer.
    Int,
    /// A 64-bit floating-point number.
    Double,
    /// A string.
    Text,
    /// A list of one type.
    List(Box<Type>),
    /// A map from strings to one type.
    Map(Box<Type>),
}

impl Type {
    /// The type of a fact's value.
    pub(super) fn of(kind: FactKind) -> Self {
        match kind {
            FactKind::Bool => Self::Bool,
            FactKind::Int => Self::Int,
            FactKind::Text => Self::Text,
            FactKind::Texts => Self::List(Box::new(Self::Text)),
            FactKind::TextMap => Self::Map(Box::new(Self::Text)),
        }
    }

    /// Whether nothing can be said about the type yet.
    pub(super) const fn is_open(&self) -> bool {
        matches!(self, Self::Dynamic | Self::Never)
    }

    /// Whether a value of this type may stand where `wanted` is needed.
    pub(super) fn fits(&self, wanted: &Self) -> bool {
        self.is_open() || self == wanted
    }

    /// Whether this is, or may turn out to be, a number.
    pub(super) const fn is_number(&self) -> bool {
        matches!(self, Self::Int | Self::Double)
    }

    /// Whether `==` between the two can ever be true.
    pub(super) fn comparable(&self, other: &Self) -> bool {
        match (self, other) {
            (a, b) if a.is_open() || b.is_open() => true,
            (a, b) if a.is_number() && b.is_number() => true,
            (Self::List(a), Self::List(b)) | (Self::Map(a), Self::Map(b)) => a.comparable(b),
            (a, b) => a == b,
        }
    }

    /// Whether `<` and its kin are defined between the two.
    pub(super) fn ordered(&self, other: &Self) -> bool {
        let orderable = |one: &Self| one.is_open() || one.is_number() || matches!(one, Self::Text | Self::Bool);
        orderable(self) && orderable(other) && self.comparable(other)
    }

    /// The type of a value that is one or the other; `None` if the two do not mix.
    pub(super) fn join(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Never, one) | (one, Self::Never) => Some(one.clone()),
            (Self::Dynamic, _) | (_, Self::Dynamic) => Some(Self::Dynamic),
            (Self::List(a), Self::List(b)) => Some(Self::List(Box::new(a.join(b)?))),
            (Self::Map(a), Self::Map(b)) => Some(Self::Map(Box::new(a.join(b)?))),
            (a, b) => (a == b).then(|| a.clone()),
        }
    }
}

impl Type {
    /// The type's name, in the plural if there are several of it.
    fn noun(&self) -> String {
        match self {
            Self::Dynamic | Self::Never => "value of unknown type".to_owned(),
            Self::Null => "null".to_owned(),
            Self::Bool => "bool".to_owned(),
            Self::Int => "int".to_owned(),
            Self::Double => "double".to_owned(),
            Self::Text => "string".to_owned(),
            Self::List(of) if of.is_open() => "list".to_owned(),
            Self::List(of) => format!("list of {}s", of.noun()),
            Self::Map(of) => format!("map from strings to {}s", of.noun()),
        }
    }
}

/// With its article, as it stands in a sentence.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let article = match self {
            Self::Null => "",
            Self::Int => "an ",
            _ => "a ",
        };
        write!(f, "{article}{}", self.noun())
    }
}
