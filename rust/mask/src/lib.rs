//! Which cells change, and into what.
//!
//! - [`Classes`] are the manifest's: names of columns, detectors, and one [`MaskKind`] each. [`Unclassified`] says what
//!   happens to the other columns of a target.
//! - A [`TypedMask`] is a kind made ready for one column's type; the table of which kinds suit which types stands in
//!   [`types`]. Every mask gives a value that is valid for the type, in the text and in the binary format.
//! - A [`Planner`] joins these for one session and says what happens to a column.
//! - A [`RowPlan`] holds a [`ColumnPlan`] per column; a [`Rewriter`] applies it to rows, a [`CopyRewriter`] to the data
//!   of COPY. Rows that do not change are never copied.
//! - [`Detectors`] mask what they find inside texts and JSON; [`scrub`] does so for the free text of errors and notices.
//! - A [`Masker`] is the same as a library, without any gateway.
//!
//! What cannot be read is never passed on: a malformed row is an error, JSON that is no JSON is masked whole.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod array;
mod classes;
mod copy;
mod copy_fields;
mod detectors;
mod json;
mod kind;
mod masker;
mod numbers;
mod pattern;
mod plan;
mod planner;
mod problem;
mod row;
#[cfg(test)]
mod tests;
mod typed;
pub mod types;
mod value;

pub use classes::{ClassId, ClassSet, Classes, Reveals, Unclassified, UnclassifiedColumn, check};
pub use copy::{CopyError, CopyFormat, CopyOutcome, CopyRewriter};
pub use detectors::{Detectors, scrub};
pub use kind::MaskKind;
pub use masker::{CellMask, Masker};
pub use plan::{ColumnPlan, Opaque, RowPlan};
pub use planner::Planner;
pub use problem::{At, Problem};
pub use row::{Rewriter, RowError, RowOutcome};
pub use typed::TypedMask;
