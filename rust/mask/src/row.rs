//! Rows: PostgreSQL's DataRow in, the same or a changed DataRow out.

use std::fmt;

use bytes::{BufMut, BytesMut};
use model::Cell;

use crate::plan::{ColumnPlan, RowPlan};
use crate::typed::Written;
use crate::value::{Change, Scratch};

/// The most bytes the length of a frame may say here: the server itself never sends a message of 1 GiB.
pub(crate) const FRAME_LIMIT: usize = 0x3fff_ffff;

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RowOutcome {
    /// Whether a changed frame was appended. If not, the original is to be forwarded.
    pub changed: bool,
    /// How many values were masked, wholly or in part.
    pub masked_cells: usize,
}

/// Why a row cannot be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowError {
    /// The row is not built as the protocol says: the target's fault.
    Malformed(&'static str),
    /// The plan refuses this column, counted from 0.
    Refused(usize),
    /// Masked, the row is larger than a message may be.
    TooLarge,
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(what) => write!(f, "the target sent a malformed row: {what}"),
            Self::Refused(column) => write!(f, "column {} may not be delivered", column + 1),
            Self::TooLarge => f.write_str("the masked row is larger than a message may be"),
        }
    }
}

impl std::error::Error for RowError {}

/// Applies plans to rows. One per session: it keeps buffers, so that rows cost no allocation.
#[derive(Debug, Default)]
pub struct Rewriter {
    scratch: Scratch,
    cell: BytesMut,
}

impl Rewriter {
    /// A rewriter with empty buffers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Applies `plan` to the row in `body`: a DataRow without its type byte and length.
    ///
    /// `formats` are those of the columns, as in RowDescription or Bind: none (all text), one for all, or one each; 0 is
    /// text, 1 is binary. If the row changes, the whole new frame, type byte and length included, is appended to `out`;
    /// if not, nothing is.
    ///
    /// # Errors
    /// The row cannot be delivered; then nothing is appended.
    pub fn rewrite_row(
        &mut self,
        plan: &RowPlan,
        formats: &[i16],
        body: &[u8],
        out: &mut BytesMut,
    ) -> Result<RowOutcome, RowError> {
        if plan.passes() {
            return Ok(RowOutcome::default());
        }
        if let Some(column) = plan.refused() {
            return Err(RowError::Refused(column));
        }
        let begun = out.len();
        let outcome = self.walk(plan, formats, body, out);
        if outcome.is_err() {
            out.truncate(begun);
        }
        outcome
    }

    fn walk(
        &mut self,
        plan: &RowPlan,
        formats: &[i16],
        body: &[u8],
        out: &mut BytesMut,
    ) -> Result<RowOutcome, RowError> {
        let columns = plan.columns();
        let count = body.first_chunk::<2>().ok_or(RowError::Malformed("no number of columns"))?;
        if usize::from(u16::from_be_bytes(*count)) != columns.len() {
            return Err(RowError::Malformed("not as many columns as its description"));
        }
        let mut frame = Frame { body, copied: 0, begun: out.len(), masked: 0 };
        let mut at = 2;
        for (place, column) in columns.iter().enumerate() {
            let (value, end) = cell(body, at)?;
            if let (false, Some(value)) = (matches!(column, ColumnPlan::Pass), value) {
                let cell = typed(value, formats, place)?;
                self.column(column, place, cell, at..end, &mut frame, out)?;
            }
            at = end;
        }
        if at != body.len() {
            return Err(RowError::Malformed("bytes behind its last column"));
        }
        frame.finish(out)
    }

    fn column(
        &mut self,
        column: &ColumnPlan,
        place: usize,
        cell: Cell<'_>,
        range: std::ops::Range<usize>,
        frame: &mut Frame<'_>,
        out: &mut BytesMut,
    ) -> Result<(), RowError> {
        match column {
            ColumnPlan::Pass => Ok(()),
            ColumnPlan::Refuse => Err(RowError::Refused(place)),
            ColumnPlan::Mask(mask) => {
                let length = frame.open(range, out);
                let written = mask.write(cell, out);
                frame.close(length, written, out)
            }
            ColumnPlan::Scan(_) => {
                self.cell.clear();
                let written = match column.apply(cell, &mut self.scratch, &mut self.cell) {
                    Change::None => return Ok(()),
                    Change::Refused => return Err(RowError::Refused(place)),
                    Change::Value => Written::Value,
                    Change::Null => Written::Null,
                };
                let length = frame.open(range, out);
                out.put_slice(if written == Written::Value { &self.cell } else { &[] });
                frame.close(length, written, out)
            }
        }
    }
}

/// The new frame, begun when the first cell changes.
struct Frame<'a> {
    body: &'a [u8],
    /// How much of `body` is already in the new frame, or stands for something masked.
    copied: usize,
    /// Where the frame begins in the output.
    begun: usize,
    masked: usize,
}

impl Frame<'_> {
    /// Brings the frame up to the cell at `range` and makes room for the cell's length; gives the place of the length.
    fn open(&mut self, range: std::ops::Range<usize>, out: &mut BytesMut) -> usize {
        if self.masked == 0 {
            out.reserve(self.body.len() + 64);
            out.put_slice(b"D\0\0\0\0");
        }
        self.masked += 1;
        out.put_slice(&self.body[self.copied..range.start]);
        self.copied = range.end;
        out.put_i32(-1);
        out.len() - 4
    }

    fn close(&self, length: usize, written: Written, out: &mut BytesMut) -> Result<(), RowError> {
        if written == Written::Value {
            let bytes = out.len() - length - 4;
            put_length(bytes, length, out)?;
        }
        Ok(())
    }

    fn finish(self, out: &mut BytesMut) -> Result<RowOutcome, RowError> {
        if self.masked == 0 {
            return Ok(RowOutcome::default());
        }
        out.put_slice(&self.body[self.copied..]);
        let bytes = out.len() - self.begun - 1;
        put_length(bytes, self.begun + 1, out)?;
        Ok(RowOutcome { changed: true, masked_cells: self.masked })
    }
}

/// Writes a length into the four bytes at `place`.
pub(crate) fn put_length(bytes: usize, place: usize, out: &mut BytesMut) -> Result<(), RowError> {
    let length = i32::try_from(bytes).ok().filter(|_| bytes <= FRAME_LIMIT).ok_or(RowError::TooLarge)?;
    out[place..place + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// The cell whose length stands at `at`: its bytes, or `None` for NULL, and where the next one begins.
pub(crate) fn cell(body: &[u8], at: usize) -> Result<(Option<&[u8]>, usize), RowError> {
    let length = body.get(at..).and_then(|rest| rest.first_chunk::<4>());
    let length = i32::from_be_bytes(*length.ok_or(RowError::Malformed("a column without its length"))?);
    let start = at + 4;
    if length == -1 {
        return Ok((None, start));
    }
    let end = usize::try_from(length).ok().and_then(|length| start.checked_add(length));
    let end = end.ok_or(RowError::Malformed("a negative length"))?;
    let value = body.get(start..end).ok_or(RowError::Malformed("a column longer than the row"))?;
    Ok((Some(value), end))
}

fn typed<'a>(value: &'a [u8], formats: &[i16], place: usize) -> Result<Cell<'a>, RowError> {
    let format = match formats {
        [] => 0,
        [all] => *all,
        each => *each.get(place).ok_or(RowError::Malformed("a column without a format"))?,
    };
    match format {
        0 => Ok(Cell::Text(value)),
        1 => Ok(Cell::Binary(value)),
        _ => Err(RowError::Malformed("a format that is neither text nor binary")),
    }
}
