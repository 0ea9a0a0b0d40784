//! The data of COPY TO STDOUT under a plan.
//!
//! The server sends one row per message, but the protocol does not promise it: what is not yet a whole row waits here,
//! bounded, and is never passed on unseen.

use std::fmt;

use bytes::{BufMut, BytesMut};

use crate::copy_fields::{self, Fields};
use crate::plan::RowPlan;
use crate::row::{self, RowError};
use crate::value::Scratch;

/// How COPY writes its data.
///
/// The text formats are read byte by byte: the client's encoding must be one in which no other character contains an
/// ASCII byte (not SJIS, BIG5, GBK, UHC, GB18030 or JOHAB).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyFormat {
    /// `FORMAT text`.
    Text {
        /// Between columns, usually a tab.
        delimiter: u8,
        /// What NULL looks like, usually `\N`.
        null: Box<[u8]>,
        /// Whether the first line names the columns.
        header: bool,
    },
    /// `FORMAT csv`.
    Csv {
        /// Between columns, usually a comma.
        delimiter: u8,
        /// Around values, usually `"`.
        quote: u8,
        /// Before a quote inside a value, usually the same.
        escape: u8,
        /// What NULL looks like, usually nothing; only without quotes.
        null: Box<[u8]>,
        /// Whether the first line names the columns.
        header: bool,
    },
    /// `FORMAT binary`.
    Binary,
}

impl CopyFormat {
    /// `FORMAT text` with the server's defaults.
    #[must_use]
    pub fn text() -> Self {
        Self::Text { delimiter: b'\t', null: (*br"\N").into(), header: false }
    }

    /// `FORMAT csv` with the server's defaults.
    #[must_use]
    pub fn csv() -> Self {
        Self::Csv { delimiter: b',', quote: b'"', escape: b'"', null: Box::default(), header: false }
    }
}

/// What became of one message of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CopyOutcome {
    /// The message is to be forwarded as it came; nothing was appended.
    pub verbatim: bool,
    /// How many values were masked, wholly or in part.
    pub masked_cells: usize,
}

/// Why the data cannot be delivered. The COPY must fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyError {
    /// The data is not in the format that was announced: the target's fault.
    Malformed(&'static str),
    /// The plan refuses this column, counted from 0.
    Refused(usize),
    /// A row is larger than the limit.
    TooLarge,
    /// The data ends inside a row.
    Incomplete,
}

impl fmt::Display for CopyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(what) => write!(f, "the target sent malformed data: {what}"),
            Self::Refused(column) => write!(f, "column {} may not be delivered", column + 1),
            Self::TooLarge => f.write_str("a row of the data is larger than the limit"),
            Self::Incomplete => f.write_str("the data of the target ends inside a row"),
        }
    }
}

impl std::error::Error for CopyError {}

impl From<RowError> for CopyError {
    fn from(error: RowError) -> Self {
        match error {
            RowError::Malformed(what) => Self::Malformed(what),
            RowError::Refused(column) => Self::Refused(column),
            RowError::TooLarge => Self::TooLarge,
        }
    }
}

/// Applies a plan to the data of one COPY.
#[derive(Debug)]
pub struct CopyRewriter {
    plan: RowPlan,
    format: CopyFormat,
    limit: usize,
    pending: BytesMut,
    stage: Stage,
    fields: Fields,
    scratch: Scratch,
    cell: BytesMut,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Header,
    Rows,
    Done,
}

impl CopyRewriter {
    /// For one COPY with these columns; a row may have at most `limit` bytes.
    #[must_use]
    pub fn new(plan: RowPlan, format: CopyFormat, limit: usize) -> Self {
        let header = match &format {
            CopyFormat::Text { header, .. } | CopyFormat::Csv { header, .. } => *header,
            CopyFormat::Binary => true,
        };
        let stage = if header { Stage::Header } else { Stage::Rows };
        let (fields, scratch) = (Fields::default(), Scratch::default());
        Self { plan, format, limit, pending: BytesMut::new(), stage, fields, scratch, cell: BytesMut::new() }
    }

    /// Takes the payload of one CopyData and appends what is to be sent instead, which may be nothing yet; or says that
    /// the message goes on as it came.
    ///
    /// # Errors
    /// The data cannot be delivered; then nothing is appended.
    pub fn push(&mut self, data: &[u8], out: &mut BytesMut) -> Result<CopyOutcome, CopyError> {
        if self.plan.passes() {
            return Ok(CopyOutcome { verbatim: true, masked_cells: 0 });
        }
        let begun = out.len();
        let outcome = if self.pending.is_empty() { self.direct(data, out) } else { self.joined(data, out) };
        if outcome.is_err() {
            out.truncate(begun);
        }
        outcome
    }

    /// The data has ended.
    ///
    /// # Errors
    /// It ended inside a row, or before the end that the binary format announces.
    pub fn finish(&self) -> Result<(), CopyError> {
        let ended = match self.format {
            CopyFormat::Binary => self.stage == Stage::Done || self.plan.passes(),
            _ => true,
        };
        if ended && self.pending.is_empty() { Ok(()) } else { Err(CopyError::Incomplete) }
    }

    fn direct(&mut self, data: &[u8], out: &mut BytesMut) -> Result<CopyOutcome, CopyError> {
        let (consumed, masked_cells) = self.rows(data, out)?;
        let verbatim = masked_cells == 0 && consumed == data.len();
        if masked_cells == 0 && !verbatim {
            out.put_slice(&data[..consumed]);
        }
        self.keep(&data[consumed..])?;
        Ok(CopyOutcome { verbatim, masked_cells })
    }

    fn joined(&mut self, data: &[u8], out: &mut BytesMut) -> Result<CopyOutcome, CopyError> {
        let mut pending = std::mem::take(&mut self.pending);
        pending.put_slice(data);
        let (consumed, masked_cells) = self.rows(&pending, out)?;
        if masked_cells == 0 {
            out.put_slice(&pending[..consumed]);
        }
        self.keep(&pending[consumed..])?;
        Ok(CopyOutcome { verbatim: false, masked_cells })
    }

    fn keep(&mut self, rest: &[u8]) -> Result<(), CopyError> {
        if rest.len() > self.limit {
            return Err(CopyError::TooLarge);
        }
        self.pending.put_slice(rest);
        Ok(())
    }

    /// Rewrites the whole rows at the beginning of `data`: how many bytes they have, how many cells were masked. If none
    /// was, nothing is appended.
    fn rows(&mut self, data: &[u8], out: &mut BytesMut) -> Result<(usize, usize), CopyError> {
        let mut splice = Splice { data, copied: 0, masked: 0 };
        let mut at = 0;
        while at < data.len() {
            let end = match self.format {
                CopyFormat::Binary => self.tuple(at, &mut splice, out)?,
                _ => self.line(at, &mut splice, out)?,
            };
            match end {
                Some(end) => at = end,
                None => break,
            }
        }
        if splice.masked > 0 {
            out.put_slice(&data[splice.copied..at]);
        }
        Ok((at, splice.masked))
    }

    /// Rewrites the line that begins at `at` and gives its end, or `None` if its end is not there yet.
    fn line(&mut self, at: usize, splice: &mut Splice<'_>, out: &mut BytesMut) -> Result<Option<usize>, CopyError> {
        let data = splice.data;
        if !self.fields.read(&self.format, data, at)? {
            return Ok(None);
        }
        let end = self.fields.line_end();
        if self.stage == Stage::Header {
            self.stage = Stage::Rows;
            return Ok(Some(end));
        }
        if matches!(self.format, CopyFormat::Text { .. }) && &data[at..end] == b"\\.\n" {
            return Ok(Some(end));
        }
        if self.fields.len() != self.plan.columns().len() {
            return Err(CopyError::Malformed("not as many columns as announced"));
        }
        for (place, column) in self.plan.columns().iter().enumerate() {
            let range = self.fields.range(place);
            let decoded = self.fields.decode(&self.format, data, place);
            let changed = copy_fields::apply(column, place, decoded, &mut self.scratch, &mut self.cell)?;
            if let Some(value) = changed {
                splice.replace(range, out, |out| copy_fields::encode(&self.format, value, out));
            }
        }
        Ok(Some(end))
    }

    /// Rewrites the binary header, row or trailer that begins at `at`; as `line`.
    fn tuple(&mut self, at: usize, splice: &mut Splice<'_>, out: &mut BytesMut) -> Result<Option<usize>, CopyError> {
        match self.stage {
            Stage::Done => Err(CopyError::Malformed("bytes behind its trailer")),
            Stage::Header => {
                let end = copy_fields::binary_header(&splice.data[at..])?.map(|length| at + length);
                if end.is_some() {
                    self.stage = Stage::Rows;
                }
                Ok(end)
            }
            Stage::Rows => self.binary_row(at, splice, out),
        }
    }

    fn binary_row(
        &mut self,
        begin: usize,
        splice: &mut Splice<'_>,
        out: &mut BytesMut,
    ) -> Result<Option<usize>, CopyError> {
        let data = splice.data;
        let Some(count) = data[begin..].first_chunk::<2>() else { return Ok(None) };
        let count = i16::from_be_bytes(*count);
        if count == -1 {
            self.stage = Stage::Done;
            return Ok(Some(begin + 2));
        }
        if usize::try_from(count).ok() != Some(self.plan.columns().len()) {
            return Err(CopyError::Malformed("not as many columns as announced"));
        }
        let Some(end) = copy_fields::binary_row_end(data, begin + 2, self.plan.columns().len())? else {
            return Ok(None);
        };
        let mut at = begin + 2;
        for (place, column) in self.plan.columns().iter().enumerate() {
            let (value, next) = row::cell(data, at)?;
            let cell = value.map_or(model::Cell::Null, model::Cell::Binary);
            if let Some(value) = copy_fields::apply(column, place, cell, &mut self.scratch, &mut self.cell)? {
                splice.replace(at..next, out, |out| copy_fields::encode_binary(value, out));
            }
            at = next;
        }
        Ok(Some(end))
    }
}

/// Data on its way out with some ranges replaced.
struct Splice<'a> {
    data: &'a [u8],
    copied: usize,
    masked: usize,
}

impl Splice<'_> {
    fn replace(&mut self, range: std::ops::Range<usize>, out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
        out.put_slice(&self.data[self.copied..range.start]);
        write(out);
        self.copied = range.end;
        self.masked += 1;
    }
}
