//! Compiled rules: who asks, what is asked, what is known of it, and hence the verdict.
//!
//! A manifest's rules are compiled once ([`Policy::load`]) and worked out once for each session ([`Policy::admit`]); what
//! is left for each request ([`Admission::decide`]) is to evaluate the few conditions that are about this session. The
//! verdict to go on is a [`Permit`], which nothing outside this crate can make: code that forwards a request asks for
//! one and thereby cannot come before the decision.
//!
//! This crate knows no protocol. Protocols declare the facts that rules may mention, the caller supplies their values,
//! and rights are what the presets of the manifest give.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod admission;
mod expression;
mod facts;
mod load;
mod manifest;
mod policy;
mod rights;
mod rule;
mod suggest;
mod verdict;

#[cfg(test)]
mod tests;

pub use admission::Admission;
pub use expression::{Expression, Problem, Scope, evaluate_claims};
pub use facts::FACTS;
pub use load::Vocabulary;
pub use manifest::{Level, Mistake, Step};
pub use policy::{Policy, check};
pub use rights::Rights;
pub use rule::InTransaction;
pub use verdict::{Approval, Approved, Denial, Hold, Observation, Permit, ResultVerdict, Verdict};
