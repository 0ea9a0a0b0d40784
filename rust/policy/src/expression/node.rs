//! A checked expression, ready to evaluate.

use std::cmp::Ordering;

use regex::Regex;

/// One part of a checked expression. Its types fit, unless they are only known when evaluated.
#[derive(Debug, Clone)]
pub(super) enum Node {
    /// `null`.
    Null,
    /// True or false.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A floating-point number.
    Double(f64),
    /// A string.
    Text(Box<str>),
    /// A list written out.
    List(Vec<Node>),
    /// A fact by its dotted name.
    Fact(&'static str),
    /// Whether a fact is known.
    HasFact(&'static str),
    /// The claims of a token.
    Claims,
    /// A variable of a macro, counted from the outermost.
    Local(usize),
    /// A key of a map, which must be there.
    Select(Box<Node>, Box<str>),
    /// Whether a map has a key.
    Has(Box<Node>, Box<str>),
    /// An element of a list by its place, or of a map by its key.
    Index(Box<Node>, Box<Node>),
    /// `!a`
    Not(Box<Node>),
    /// `-a`
    Negate(Box<Node>),
    /// `a && b`
    And(Box<Node>, Box<Node>),
    /// `a || b`
    Or(Box<Node>, Box<Node>),
    /// `a ? b : c`
    If(Box<[Node; 3]>),
    /// `a == b`, or `a != b` if the flag says so.
    Equal(Box<Node>, Box<Node>, bool),
    /// `a < b` and its kin.
    Order(Box<Node>, Box<Node>, Comparison),
    /// `a + b` and its kin.
    Arithmetic(Box<Node>, Box<Node>, Operator),
    /// `a in b`
    In(Box<Node>, Box<Node>),
    /// A function with its receiver, if it has one, as the first argument.
    Call(Function, Vec<Node>),
    /// A string against a pattern.
    Matches(Box<Node>, Box<Regex>),
    /// A macro that runs over a list, or the keys of a map.
    Loop(Box<Loop>),
}

/// A macro that runs over a list, or the keys of a map.
#[derive(Debug, Clone)]
pub(super) struct Loop {
    /// What it makes of the elements.
    pub(super) kind: LoopKind,
    /// What it runs over.
    pub(super) over: Node,
    /// The condition on each element; `true` for `map` with two arguments.
    pub(super) condition: Node,
    /// What `map` makes of each element.
    pub(super) step: Option<Node>,
}

/// What a macro makes of the elements it runs over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LoopKind {
    /// Whether all meet the condition.
    All,
    /// Whether any does.
    Exists,
    /// Whether exactly one does.
    ExistsOne,
    /// Those that do, or what the step makes of them.
    Gather,
}

/// `<`, `<=`, `>`, `>=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Comparison {
    /// Whether the order of two values is what this asks for.
    pub(super) fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}

/// `+`, `-`, `*`, `/`, `%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    /// `+`, also joins strings and lists.
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`
    Remainder,
}

impl Operator {
    /// The operator as it is written.
    pub(super) const fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }
}

/// A function other than the macros and `matches`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    /// Characters of a string, elements of a list, keys of a map.
    Size,
    /// Whether a string contains another.
    Contains,
    /// Whether a string begins with another.
    StartsWith,
    /// Whether a string ends with another.
    EndsWith,
    /// Turns a value into an integer.
    Int,
    /// Turns a value into a floating-point number.
    Double,
    /// Turns a value into a string.
    Text,
    /// Turns a value into true or false.
    Bool,
}

/// Every function's name, for hints.
pub(super) const FUNCTIONS: [&str; 15] = [
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "int",
    "double",
    "string",
    "bool",
    "has",
    "all",
    "exists",
    "exists_one",
    "map",
    "filter",
];

impl Function {
    /// The function of that name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "size" => Self::Size,
            "contains" => Self::Contains,
            "startsWith" => Self::StartsWith,
            "endsWith" => Self::EndsWith,
            "int" => Self::Int,
            "double" => Self::Double,
            "string" => Self::Text,
            "bool" => Self::Bool,
            _ => return None,
        })
    }

    /// The name as it is written.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Contains => "contains",
            Self::StartsWith => "startsWith",
            Self::EndsWith => "endsWith",
            Self::Int => "int",
            Self::Double => "double",
            Self::Text => "string",
            Self::Bool => "bool",
        }
    }

    /// How many arguments it takes, the receiver among them.
    pub(super) const fn arity(self) -> usize {
        match self {
            Self::Contains | Self::StartsWith | Self::EndsWith => 2,
            _ => 1,
        }
    }
}
