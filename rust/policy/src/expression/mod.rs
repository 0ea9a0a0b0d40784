//! Conditions in CEL: parsed, type-checked against declared facts, and evaluated within a budget.
//!
//! The parser is the `cel` crate's; the checker and the evaluator are ours. The crate's interpreter has no types, no
//! limit on what an evaluation costs, compiles every pattern anew on each call and cannot be shared between threads. A
//! rule here is checked once, at load, against the facts that protocols declare: a name or a type that does not fit is
//! an error with its place, not a surprise at the first statement. What is left to go wrong during evaluation (a key
//! that is missing, a division by zero) is an error, and callers refuse on it.
//!
//! Left out on purpose, each with its own message: unsigned integers, bytes, timestamps, maps and messages written
//! out, and patterns that are not written out.

mod calls;
mod check;
mod evaluate;
mod guard;
mod node;
mod types;
mod value;

#[cfg(test)]
mod tests;

use std::fmt;

use model::{Fact, FactKind, Facts, Phase};
use serde::Serialize;

use self::evaluate::Surroundings;
use self::node::Node;

/// What is wrong with an expression, where, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// One sentence: what is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
    /// Byte of the expression's text at which it is wrong.
    pub offset: usize,
}

impl Problem {
    pub(crate) fn new(offset: usize, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into(), offset }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: {} ({})", self.offset, self.message, self.hint)
    }
}

/// What an expression may mention.
#[derive(Debug, Clone)]
pub struct Scope {
    facts: Vec<Fact>,
    claims: bool,
}

impl Scope {
    /// A rule's scope: the given facts. If two have one name, the first counts.
    #[must_use]
    pub fn rule(facts: impl IntoIterator<Item = Fact>) -> Self {
        let mut known: Vec<Fact> = Vec::new();
        for fact in facts {
            if known.iter().all(|one| one.name != fact.name) {
                known.push(fact);
            }
        }
        Self { facts: known, claims: false }
    }

    /// An identity's scope: `claims`, whose types are known only when evaluated, and nothing else.
    #[must_use]
    pub const fn claims() -> Self {
        Self { facts: Vec::new(), claims: true }
    }

    pub(crate) fn facts(&self) -> &[Fact] {
        &self.facts
    }
}

/// A condition that fits its scope. Cheap to evaluate and to share between threads.
#[derive(Debug, Clone)]
pub struct Expression {
    source: Box<str>,
    root: Node,
    mentions: Vec<Fact>,
}

impl Expression {
    /// Parses and checks `source` (at most 4096 bytes). Takes milliseconds at most for any text within the bounds that
    /// are checked first; where the text's author is not trusted at all, compile it first in a process whose memory is
    /// limited, since the parser is not ours.
    ///
    /// # Errors
    /// Every problem found: bounds and syntax stop at the first, unknown names and types that do not fit are all told.
    pub fn compile(source: &str, scope: &Scope) -> Result<Self, Vec<Problem>> {
        guard::check(source).map_err(|problem| vec![problem])?;
        let (root, mentions) = check::check(source, scope)?;
        Ok(Self { source: source.into(), root, mentions })
    }

    /// The text it was compiled from.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The facts it mentions, each once.
    #[must_use]
    pub fn mentions(&self) -> &[Fact] {
        &self.mentions
    }

    /// When it can be evaluated: the latest phase of the facts it mentions.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.mentions.iter().map(|fact| fact.phase).max().unwrap_or(Phase::Session)
    }

    /// Whether the facts meet the condition.
    ///
    /// # Errors
    /// For people: a fact is not known, a key is missing, arithmetic has no result, or the lists are too long.
    pub fn evaluate(&self, facts: &Facts) -> Result<bool, String> {
        self.evaluate_layers(&[facts])
    }

    /// Like [`Self::evaluate`], over several layers of facts; the first that knows one wins.
    pub(crate) fn evaluate_layers(&self, layers: &[&Facts]) -> Result<bool, String> {
        let surroundings = Surroundings { facts: layers, claims: None };
        evaluate::run(&self.root, surroundings).map_err(evaluate::Stop::message)
    }

    /// Whether a token's claims meet the condition.
    ///
    /// # Errors
    /// For people: a claim is missing or has another type than the condition needs. It is then no match.
    pub fn evaluate_claims(&self, claims: &serde_json::Value) -> Result<bool, String> {
        let surroundings = Surroundings { facts: &[], claims: Some(claims) };
        evaluate::run(&self.root, surroundings).map_err(evaluate::Stop::message)
    }
}

/// Compiles `expression` in the scope of claims and evaluates it.
///
/// # Errors
/// For people: the first problem of the expression, or why it has no result. Either way it is no match.
pub fn evaluate_claims(expression: &str, claims: &serde_json::Value) -> Result<bool, String> {
    let compiled = Expression::compile(expression, &Scope::claims());
    compiled.map_err(|problems| problems.first().map(ToString::to_string).unwrap_or_default())?.evaluate_claims(claims)
}

/// What to write instead, where a fact of this kind stands alone as a condition.
fn as_condition(fact: &Fact) -> String {
    let name = fact.name;
    match fact.kind {
        FactKind::Bool => format!("write `{name}`"),
        FactKind::Int => format!("compare it, for example `{name} > 100`"),
        FactKind::Text => format!("compare it, for example `{name} == \"…\"`"),
        FactKind::Texts | FactKind::TextMap => format!("write `size({name}) > 0` or `\"…\" in {name}`"),
    }
}
