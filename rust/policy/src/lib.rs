//! Compiled rules: who asks, what is asked, what is known of it, and hence the verdict.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod expression;
mod suggest;

pub use expression::{Expression, Problem, Scope, evaluate_claims};
