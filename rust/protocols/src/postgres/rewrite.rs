//! Rewriting: what of the target's bytes leaves changed. Rows and COPY data by plan, reports by what they may carry.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use mask::{ColumnPlan, CopyError, Rewriter, RowError, RowPlan};
use model::{Fault, FaultKind, Whose};

use super::frame::{self, HEAD, Head};
use super::inspect::{Inspector, Meaning};
use super::message;
use super::state::run::{Copying, Run};

thread_local! {
    /// Scratch space for rows; sessions of a thread take turns.
    static REWRITER: RefCell<(Rewriter, BytesMut)> = RefCell::default();
}

/// A plan that passes every row of so many columns.
#[must_use]
pub fn pass_plan(columns: usize) -> Arc<RowPlan> {
    Arc::new(RowPlan::new(vec![ColumnPlan::Pass; columns]))
}

/// Whether a message of the run's result passes whatever it holds.
#[must_use]
pub fn passes_unread(run: &Run, tag: u8) -> bool {
    match tag {
        b'D' => run.plan.as_ref().is_some_and(|plan| plan.passes()),
        _ => false,
    }
}

/// Takes all whole DataRows from the front of `input`.
///
/// # Errors
/// The target broke the protocol, or a row cannot be delivered.
pub fn rows(run: &mut Run, input: &mut BytesMut, out: &mut BytesMut, observe: bool) -> Result<(), Fault> {
    let Some(plan) = run.plan.clone() else {
        return Err(Fault::protocol(Whose::Target, "the target sent a row that nobody described"));
    };
    REWRITER.with_borrow_mut(|(rewriter, scratch)| {
        let mut at = 0;
        let mut kept = 0;
        while let Some(head) = frame::head(&input[at..], Whose::Target)? {
            if head.tag != b'D' || input.len() - at < head.whole() {
                break;
            }
            run.tally.rows += 1;
            if plan.passes() {
                at += head.whole();
                continue;
            }
            let body = &input[at + HEAD..at + head.whole()];
            let begun = out.len();
            let target = if observe { &mut *scratch } else { &mut *out };
            if !observe && kept < at {
                // Nothing before a changed row may overtake it.
                target.extend_from_slice(&input[kept..at]);
                kept = at;
            }
            let outcome = rewriter.rewrite_row(&plan, &run.formats, body, target).map_err(row_fault)?;
            scratch.clear();
            run.tally.masked += outcome.masked_cells as u64;
            run.tally.bytes += (out.len() - begun) as u64;
            at += head.whole();
            if outcome.changed && !observe {
                kept = at;
            }
        }
        let rest = input.split_to(at);
        run.tally.bytes += (at - kept) as u64;
        out.extend_from_slice(&rest[kept..]);
        Ok(())
    })
}

/// Takes one whole CopyData from the front of `input`.
///
/// # Errors
/// The target broke the protocol, or the data cannot be delivered.
pub fn copy_data(
    run: &mut Run,
    head: Head,
    input: &mut BytesMut,
    out: &mut BytesMut,
    observe: bool,
) -> Result<(), Fault> {
    let message = input.split_to(head.whole());
    let Copying::Out(rewriter) = &mut run.copying else {
        return Err(Fault::protocol(Whose::Target, "the target sent copy data where none was due"));
    };
    run.tally.rows += 1;
    let mut changed = BytesMut::new();
    let outcome = rewriter.push(&message[HEAD..], &mut changed).map_err(copy_fault)?;
    run.tally.masked += outcome.masked_cells as u64;
    if outcome.verbatim || observe {
        out.extend_from_slice(&message);
        run.tally.bytes += message.len() as u64;
    } else if !changed.is_empty() {
        run.tally.bytes += (changed.len() + HEAD) as u64;
        message::write(out, b'd', |out| out.extend_from_slice(&changed));
    }
    Ok(())
}

fn row_fault(error: RowError) -> Fault {
    match error {
        RowError::Malformed(_) => Fault::protocol(Whose::Target, error.to_string()),
        RowError::Refused(_) => Fault::new(Whose::Policy, FaultKind::Denied, error.to_string())
            .hint("the target's `unclassified` in the manifest refuses columns in no class"),
        RowError::TooLarge => Fault::new(Whose::Target, FaultKind::TooLarge, error.to_string()),
    }
}

fn copy_fault(error: CopyError) -> Fault {
    match error {
        CopyError::Malformed(_) | CopyError::Incomplete => Fault::protocol(Whose::Target, error.to_string()),
        CopyError::Refused(_) => Fault::new(Whose::Policy, FaultKind::Denied, error.to_string()),
        CopyError::TooLarge => Fault::new(Whose::Target, FaultKind::TooLarge, error.to_string()),
    }
}

/// The text of one field of a report; empty if it has none.
#[must_use]
pub fn field<'a>(fields: &[(u8, &'a [u8])], wanted: u8) -> &'a [u8] {
    fields.iter().find(|(code, _)| *code == wanted).map_or(b"", |(_, text)| text)
}

/// The severity of a report, not translated where the server says so.
#[must_use]
pub fn severity<'a>(fields: &[(u8, &'a [u8])]) -> &'a [u8] {
    let plain = field(fields, b'V');
    if plain.is_empty() { field(fields, b'S') } else { plain }
}

/// Appends an error or notice of the target's. Its free text can carry values: it is made general where a protected
/// relation is touched, and scrubbed by the detectors elsewhere. Codes, positions and names stay.
pub fn report(tag: u8, fields: &[(u8, &[u8])], meaning: Option<&Meaning>, inspector: &Inspector, out: &mut BytesMut) {
    if inspector.observes() {
        return message::write_report(out, tag, fields);
    }
    // A report that no statement answers for may come from any.
    let touches = meaning.map_or(inspector.protects() && tag == b'N', |meaning| meaning.touched.is_some());
    let general = touches && !names_only(fields);
    let scrubbed: Vec<(u8, Vec<u8>)> = fields
        .iter()
        .filter_map(|(code, text)| match code {
            b'M' if general => Some((*code, general_text(field(fields, b'C')).into_bytes())),
            b'D' | b'H' | b'W' | b'q' | b'p' if general => None,
            b'M' | b'D' | b'H' | b'W' | b'q' => Some((*code, scrub(text, inspector))),
            _ => Some((*code, text.to_vec())),
        })
        .collect();
    let fields: Vec<(u8, &[u8])> = scrubbed.iter().map(|(code, text)| (*code, &text[..])).collect();
    message::write_report(out, tag, &fields);
}

/// Syntax errors and unknown names quote the statement itself, never data; unless a function's body raised them.
fn names_only(fields: &[(u8, &[u8])]) -> bool {
    let code = field(fields, b'C');
    let class: &[u8] = code.get(..2).unwrap_or_default();
    let raised = field(fields, b'R').starts_with(b"exec_") || !field(fields, b'W').is_empty();
    matches!(class, b"42" | b"25" | b"57" | b"53" | b"08" | b"40" | b"26" | b"34" | b"3D" | b"3F") && !raised
}

fn general_text(code: &[u8]) -> String {
    let condition = match code {
        b"23505" => "duplicate key value violates unique constraint",
        b"23503" => "foreign key constraint violated",
        b"23502" => "null value violates not-null constraint",
        b"23514" => "check constraint violated",
        b"23P01" => "exclusion constraint violated",
        b"22P02" => "invalid input syntax",
        b"22001" => "value too long for its type",
        b"22003" => "numeric value out of range",
        b"22007" | b"22008" => "invalid date or time",
        b"22012" => "division by zero",
        b"P0001" => "a function raised an error",
        b"00000" | b"01000" => "notice",
        _ => "the target reported an error",
    };
    format!("{condition} (text withheld: the statement touches protected data)")
}

fn scrub(text: &[u8], inspector: &Inspector) -> Vec<u8> {
    let Some(detectors) = inspector.detectors() else { return text.to_vec() };
    let text = String::from_utf8_lossy(text);
    mask::scrub(&text, detectors).unwrap_or_else(|| text.into_owned()).into_bytes()
}

/// Appends a notification; its payload is another session's free text.
pub fn notification(process: u32, channel: &[u8], payload: &[u8], inspector: &Inspector, out: &mut BytesMut) {
    let payload = if inspector.observes() { payload.to_vec() } else { scrub(payload, inspector) };
    message::write(out, b'A', |out| {
        out.put_u32(process);
        message::put_cstr(out, channel);
        message::put_cstr(out, &payload);
    });
}

/// Column names and the first rows of what was delivered so far, for a reviewer: read from the messages themselves.
#[must_use]
pub fn sample(description: Option<&[u8]>, bytes: &[u8], most: usize) -> (Vec<String>, Vec<Vec<Option<String>>>) {
    let mut columns = description.map(names).unwrap_or_default();
    let mut rows = Vec::new();
    let mut at = 0;
    while let Ok(Some(head)) = frame::head(&bytes[at..], Whose::Target) {
        let Some(body) = bytes.get(at + HEAD..at + head.whole()) else { break };
        match head.tag {
            b'T' => columns = names(body),
            b'D' if rows.len() < most => rows.push(cells(body)),
            _ => {}
        }
        at += head.whole();
    }
    (columns, rows)
}

fn names(description: &[u8]) -> Vec<String> {
    let fields = message::row_description(description).unwrap_or_default();
    fields.iter().map(|field| String::from_utf8_lossy(field.name).into_owned()).collect()
}

fn cells(body: &[u8]) -> Vec<Option<String>> {
    let mut reader = wire::Reader::new(body);
    let count = reader.u16().unwrap_or(0);
    let mut cells = Vec::new();
    for _ in 0..count {
        let Ok(cell) = reader.sized() else { break };
        cells.push(cell.map(|cell| match std::str::from_utf8(&cell[..cell.len().min(128)]) {
            Ok(text) => text.to_owned(),
            Err(_) => format!("({} bytes)", cell.len()),
        }));
    }
    cells
}
