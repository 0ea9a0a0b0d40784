//! What the target answers: match it with what is owed, rewrite it, tell the gate.

use std::rc::Rc;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use model::{Fault, Whose};

use super::client::pass_rest;
use super::names::{self, Undo};
use super::queue::{Expect, SharedRun};
use super::run::{Copying, Run};
use super::{Conversation, Pending};
use crate::dialogue::{Heard, Outcome};
use crate::postgres::frame::{self, Head};
use crate::postgres::inspect::Planned;
use crate::postgres::refuse::{self, Severity};
use crate::postgres::{message, rewrite};

/// Reports (errors and notices) and descriptions are read whole; none that a server makes comes near this.
const REPORT: usize = 4 << 20;

/// Longer descriptions are worked out each time, in bytes.
const REMEMBERED: usize = 1 << 10;

/// A message of a result whose bytes need no change is passed piecemeal from this size on.
const PIECEMEAL: usize = 256 << 10;

impl Conversation {
    pub(super) fn take_target(
        &mut self,
        input: &mut BytesMut,
        to_client: &mut BytesMut,
        to_target: &mut BytesMut,
    ) -> Result<Heard, Fault> {
        loop {
            if let Some(heard) = self.heard.pop_front() {
                return Ok(heard);
            }
            if self.complete {
                return Ok(Heard::NeedMore);
            }
            if self.target_rest.0 > 0 {
                if input.is_empty() {
                    return Ok(Heard::NeedMore);
                }
                pass_rest(&mut self.target_rest, input, to_client);
                if let Some(part) = self.part() {
                    return Ok(part);
                }
                if self.target_rest.0 > 0 {
                    return Ok(Heard::NeedMore);
                }
            }
            let Some(head) = frame::head(input, Whose::Target)? else { return Ok(Heard::NeedMore) };
            if matches!(head.tag, b'D' | b'd') {
                if let Some(heard) = self.take_result(head, input, to_client)? {
                    return Ok(heard);
                }
                continue;
            }
            if head.body > REPORT {
                return Err(frame::oversized(head, REPORT, Whose::Target));
            }
            if input.len() < head.whole() {
                return Ok(Heard::NeedMore);
            }
            if head.tag == b'T' && self.row_description(&input[frame::HEAD..head.whole()])? == Described::Unknown {
                return Ok(Heard::Stale);
            }
            let message = input.split_to(head.whole()).freeze();
            self.take_reply(head.tag, &message, to_client, to_target)?;
        }
    }

    /// Rows and copy data: as many as are there.
    fn take_result(
        &mut self,
        head: Head,
        input: &mut BytesMut,
        to_client: &mut BytesMut,
    ) -> Result<Option<Heard>, Fault> {
        let run = self.answering(head.tag)?;
        let mut run = run.borrow_mut();
        let whole = input.len() >= head.whole();
        if run.refused.is_some() {
            self.target_rest = (head.whole(), false);
            return Ok(None);
        }
        if !whole && head.body >= PIECEMEAL && rewrite::passes_unread(&run, head.tag) {
            run.tally.rows += 1;
            run.tally.bytes += head.whole() as u64;
            self.target_rest = (head.whole(), true);
            return Ok(None);
        }
        if !whole {
            if head.body > self.limits.message {
                return Err(frame::oversized(head, self.limits.message, Whose::Target));
            }
            return Ok(Some(Heard::NeedMore));
        }
        match head.tag {
            b'D' => rewrite::rows(&mut run, input, to_client, self.inspector.observes())?,
            _ => rewrite::copy_data(&mut run, head, input, to_client, self.inspector.observes())?,
        }
        Ok(Some(Heard::Part { exchange: run.current(), tally: run.tally, watched: run.watched }))
    }

    fn part(&self) -> Option<Heard> {
        if !self.target_rest.1 {
            return None;
        }
        let front = self.queue.iter().next();
        let (Some(Expect::Execute { run }) | Some(Expect::Query { run, .. })) = front else { return None };
        let run = run.borrow();
        Some(Heard::Part { exchange: run.current(), tally: run.tally, watched: run.watched })
    }

    /// The run that owes rows or copy data now.
    fn answering(&mut self, tag: u8) -> Result<SharedRun, Fault> {
        match self.queue.front() {
            Some(Expect::Execute { run } | Expect::Query { run, failed: false, .. }) => Ok(Rc::clone(run)),
            _ => Err(unexpected(tag)),
        }
    }

    fn take_reply(
        &mut self,
        tag: u8,
        message: &Bytes,
        to_client: &mut BytesMut,
        to_target: &mut BytesMut,
    ) -> Result<(), Fault> {
        let body = message.slice(frame::HEAD..);
        match tag {
            b'1' | b'2' | b'3' => self.take_done(tag, message, to_client),
            b't' => self.take_parameters(message, to_client),
            b'T' | b'n' => self.take_description(tag, message, to_client, to_target),
            b'C' | b'I' | b's' => self.take_completion(tag, message, &body, to_client, to_target),
            b'E' => self.take_error(&body, to_client),
            b'Z' => self.take_ready(message, &body, to_client, to_target),
            b'G' | b'H' => self.take_copy_response(tag, message, &body, to_client),
            b'c' => {
                let run = self.answering(tag)?;
                if run.borrow().refused.is_none() {
                    to_client.extend_from_slice(message);
                }
                Ok(())
            }
            b'N' => self.take_notice(&body, to_client),
            b'A' => self.take_notification(&body, to_client),
            b'S' => self.take_parameter_status(message, &body, to_client),
            _ => Err(unexpected(tag)),
        }
    }

    /// ParseComplete, BindComplete, CloseComplete.
    fn take_done(&mut self, tag: u8, message: &Bytes, to_client: &mut BytesMut) -> Result<(), Fault> {
        let quiet = match (tag, self.queue.pop()) {
            (b'1', Some(Expect::Parse { undo })) => matches!(undo, Undo::Nothing),
            (b'2', Some(Expect::Bind { .. })) => false,
            (b'3', Some(Expect::Close { quiet, .. })) => quiet,
            _ => return Err(unexpected(tag)),
        };
        if !quiet {
            to_client.extend_from_slice(message);
        }
        Ok(())
    }

    fn take_parameters(&mut self, message: &Bytes, to_client: &mut BytesMut) -> Result<(), Fault> {
        match self.queue.front() {
            Some(Expect::DescribeStatement) => to_client.extend_from_slice(message),
            Some(Expect::Probe { .. }) => {}
            _ => return Err(unexpected(b't')),
        }
        Ok(())
    }

    /// Makes the row plan before the description is taken; `Unknown` asks for a fresh catalog, once.
    fn row_description(&mut self, body: &[u8]) -> Result<Described, Fault> {
        let run = match self.queue.front() {
            Some(Expect::DescribePortal { run: Some(run), .. } | Expect::Query { run, failed: false, .. }) => {
                Rc::clone(run)
            }
            Some(Expect::Probe { prepared }) => {
                let fields = message::row_description(body)?;
                *prepared.origins.borrow_mut() = Some(fields.iter().map(Into::into).collect());
                return Ok(Described::Planned);
            }
            Some(Expect::DescribeStatement | Expect::DescribePortal { run: None, .. }) => {
                return Ok(Described::Planned);
            }
            _ => return Err(unexpected(b'T')),
        };
        let mut run = run.borrow_mut();
        let known = self.known_description(&run, body);
        let planned = match known {
            Some(known) => {
                (run.plan, run.formats) = (Some(known.plan), known.formats);
                Described::Planned
            }
            None => self.plan_rows(&mut run, body)?,
        };
        if planned == Described::Unknown {
            return Ok(planned);
        }
        if run.watched {
            run.description = Some(Bytes::copy_from_slice(body));
        }
        self.resume_tally(&mut run);
        Ok(planned)
    }

    /// What was concluded from the same description of the same statement, if it still rests on the same.
    fn known_description(&self, run: &Run, body: &[u8]) -> Option<names::Described> {
        let known = run.prepared.as_ref()?.described.borrow();
        let known = known.as_ref().filter(|known| known.body == body && self.rests_on_now(run, known.epoch))?;
        Some(known.clone())
    }

    /// Whether the run was understood at `epoch`, and that is now.
    fn rests_on_now(&self, run: &Run, epoch: u64) -> bool {
        epoch == self.inspector.epoch() && run.statements.iter().all(|meaning| meaning.epoch == epoch)
    }

    fn plan_rows(&mut self, run: &mut Run, body: &[u8]) -> Result<Described, Fault> {
        let fields = message::row_description(body)?;
        run.formats = fields.iter().map(|field| field.format).collect();
        let meaning = run.statement().cloned();
        match self.inspector.plan(&fields, meaning.as_deref(), !self.surveyed) {
            Planned::Rows(plan) => {
                let epoch = self.inspector.epoch();
                if let Some(prepared) = &run.prepared
                    && body.len() <= REMEMBERED
                    && self.rests_on_now(run, epoch)
                {
                    let (body, formats) = (Bytes::copy_from_slice(body), Rc::clone(&run.formats));
                    let described = names::Described { body, epoch, plan: Arc::clone(&plan), formats };
                    *prepared.described.borrow_mut() = Some(described);
                }
                run.plan = Some(plan);
            }
            Planned::Refused(fault) if self.inspector.observes() => {
                let _ = fault;
                run.plan = Some(rewrite::pass_plan(fields.len()));
            }
            Planned::Refused(fault) => run.refused = Some(fault),
            Planned::Unknown => {
                self.surveyed = true;
                return Ok(Described::Unknown);
            }
        }
        self.surveyed = false;
        Ok(Described::Planned)
    }

    /// RowDescription, whose plan is made already, and NoData.
    fn take_description(
        &mut self,
        tag: u8,
        message: &Bytes,
        to_client: &mut BytesMut,
        to_target: &mut BytesMut,
    ) -> Result<(), Fault> {
        let quiet = match self.queue.front() {
            Some(Expect::DescribeStatement) => false,
            Some(Expect::DescribePortal { quiet, .. }) => *quiet,
            Some(Expect::Probe { .. }) => {
                self.queue.pop();
                return self.probe_answered(to_target);
            }
            Some(Expect::Query { run, failed: false, .. }) if tag == b'T' => {
                let run = run.borrow();
                if run.refused.is_none() {
                    to_client.extend_from_slice(message);
                }
                if run.watched {
                    // Not even the names of the columns leave before the result is known to be harmless.
                    let part = Heard::Part { exchange: run.current(), tally: run.tally, watched: true };
                    self.heard.push_back(part);
                }
                return Ok(());
            }
            _ => return Err(unexpected(tag)),
        };
        self.queue.pop();
        if !quiet {
            to_client.extend_from_slice(message);
        }
        Ok(())
    }

    /// A probe for Bind goes on at once; one for a simple query when its own Sync has been answered.
    fn probe_answered(&mut self, to_target: &mut BytesMut) -> Result<(), Fault> {
        match &mut self.probing {
            Some(probing) if matches!(probing.pending, Pending::Query { .. }) => probing.answered = true,
            Some(_) => self.probed(to_target),
            None => {}
        }
        Ok(())
    }

    /// CommandComplete, EmptyQueryResponse, PortalSuspended.
    fn take_completion(
        &mut self,
        tag: u8,
        message: &Bytes,
        body: &Bytes,
        to_client: &mut BytesMut,
        to_target: &mut BytesMut,
    ) -> Result<(), Fault> {
        let simple = match self.queue.front() {
            Some(Expect::Execute { .. }) => false,
            Some(Expect::Query { failed: false, .. }) if tag != b's' => true,
            _ => return Err(unexpected(tag)),
        };
        let shared = self.answering(tag)?;
        if !simple {
            self.queue.pop();
        }
        let mut run = shared.borrow_mut();
        let command = if tag == b'C' {
            Some(String::from_utf8_lossy(message::command_complete(body)?).into_owned())
        } else {
            None
        };
        if run.told == Some(self.answered) {
            if simple {
                run.advance();
            }
            return Ok(());
        }
        if run.refused.is_none() {
            to_client.extend_from_slice(message);
        }
        let (exchange, watched) = (run.current(), run.watched);
        let error = run.refused.as_ref().map(|fault| refuse::sqlstate(fault.kind).to_owned());
        self.completed(&run);
        // What it defined exists, whatever comes of the portal later.
        let at = run.at;
        run.undo.retain(|(place, _)| *place > at);
        let outcome = Outcome { tag: command, error, tally: run.since_base(), suspended: tag == b's' };
        let refused = run.refused.clone();
        if refused.is_none() && watched && self.watched.is_some() {
            self.complete = true;
        }
        if let Some(fault) = &refused {
            run.told = Some(self.answered);
            drop(run);
            self.tell_refusal(fault, simple, to_client, to_target);
            run = shared.borrow_mut();
        }
        if simple {
            run.advance();
        }
        self.heard.push_back(Heard::Ended { exchange, outcome, watched });
        Ok(())
    }

    /// The refused result is complete at the target: tell the client, and make the target's transaction fail too.
    fn tell_refusal(&mut self, fault: &Fault, simple: bool, to_client: &mut BytesMut, to_target: &mut BytesMut) {
        refuse::write_error(to_client, Severity::Error, fault);
        self.watched = None;
        self.complete = false;
        if simple || self.queue.has_sync() {
            self.abort_transaction = true;
        } else {
            self.poison_extended(Bytes::new(), 0, to_target);
        }
    }

    /// A watched result is refused by the gate. The answer says whether the target should be asked to cancel.
    pub(super) fn refuse_watched(
        &mut self,
        exchange: u64,
        fault: Fault,
        to_client: &mut BytesMut,
        to_target: &mut BytesMut,
    ) -> bool {
        let Some(shared) = self.watched.clone() else { return false };
        if !self.complete {
            shared.borrow_mut().refused = Some(fault);
            self.target_rest.1 = false;
            return true;
        }
        let _ = exchange;
        let failed = shared.borrow().failed;
        if failed {
            refuse::write_error(to_client, Severity::Error, &fault);
            self.watched = None;
            self.complete = false;
            return false;
        }
        let simple = matches!(self.queue.front(), Some(Expect::Query { .. }));
        {
            let mut run = shared.borrow_mut();
            run.refused = Some(fault.clone());
            run.told = Some(self.answered);
        }
        self.tell_refusal(&fault, simple, to_client, to_target);
        false
    }

    fn take_error(&mut self, body: &Bytes, to_client: &mut BytesMut) -> Result<(), Fault> {
        let fields = message::report(b'E', body)?;
        let code = rewrite::field(&fields, b'C').to_owned();
        if matches!(rewrite::severity(&fields), b"FATAL" | b"PANIC") {
            rewrite::report(b'E', &fields, self.answering_meaning().as_deref(), &self.inspector, to_client);
            // What stands behind a watched result may never leave.
            self.parted = self.watched.is_none();
            return Ok(());
        }
        if let Some(Expect::Poison { .. }) = self.queue.front() {
            self.take_poisoned(to_client);
            return Ok(());
        }
        let meaning = self.answering_meaning();
        if let Some(Expect::Query { run, failed, .. }) = self.queue.front() {
            *failed = true;
            let run = Rc::clone(run);
            self.fail_run(&run, &fields, &code, to_client);
            return Ok(());
        }
        if self.queue.is_empty() {
            rewrite::report(b'E', &fields, meaning.as_deref(), &self.inspector, to_client);
            return Ok(());
        }
        self.fail_batch(&fields, &code, meaning, to_client);
        Ok(())
    }

    /// The error that the gateway provoked: the client gets the gateway's own.
    fn take_poisoned(&mut self, to_client: &mut BytesMut) {
        let Some(Expect::Poison { reply, simple, exchange, batch }) = self.queue.pop() else { return };
        to_client.extend_from_slice(&reply);
        if simple {
            let sync = Expect::Sync { batch, quiet: false };
            self.queue.push_front(sync);
        } else {
            self.drop_skipped();
        }
        if exchange != 0 {
            let error = Some(refuse::code_of(&reply));
            let outcome = Outcome { error, ..Outcome::default() };
            self.heard.push_back(Heard::Ended { exchange, outcome, watched: false });
        }
    }

    /// The statement that answers now failed.
    fn fail_run(&mut self, shared: &SharedRun, fields: &[(u8, &[u8])], code: &[u8], to_client: &mut BytesMut) {
        let mut run = shared.borrow_mut();
        let mut code = String::from_utf8_lossy(code).into_owned();
        let told = run.told == Some(self.answered);
        match (&run.refused, told) {
            (_, true) => {}
            (Some(fault), false) => {
                refuse::write_error(to_client, Severity::Error, fault);
                refuse::sqlstate(fault.kind).clone_into(&mut code);
            }
            (None, false) => {
                rewrite::report(b'E', fields, run.statement().map(AsRef::as_ref), &self.inspector, to_client);
            }
        }
        run.told = Some(self.answered);
        run.failed = true;
        self.failed(&mut run);
        let watched = run.watched && self.watched.as_ref().is_some_and(|watched| Rc::ptr_eq(watched, shared));
        if watched && run.refused.is_none() {
            self.complete = true;
        } else if watched {
            self.watched = None;
        }
        if !told {
            let outcome = Outcome { error: Some(code), tally: run.since_base(), ..Outcome::default() };
            self.heard.push_back(Heard::Ended { exchange: run.current(), outcome, watched: run.watched });
        }
    }

    /// A message of an extended batch failed: the target skips the rest of it.
    fn fail_batch(
        &mut self,
        fields: &[(u8, &[u8])],
        code: &[u8],
        meaning: Option<std::sync::Arc<crate::postgres::inspect::Meaning>>,
        to_client: &mut BytesMut,
    ) {
        if let Some(Expect::Execute { run }) = self.queue.front() {
            let run = Rc::clone(run);
            self.fail_run(&run, fields, code, to_client);
        } else {
            rewrite::report(b'E', fields, meaning.as_deref(), &self.inspector, to_client);
        }
        if let Some(Expect::Bind { run, .. }) = self.queue.front() {
            let (exchange, watched) = (run.borrow().exchange, false);
            run.borrow_mut().told = Some(self.answered);
            let outcome = Outcome { error: Some(String::from_utf8_lossy(code).into_owned()), ..Outcome::default() };
            self.heard.push_back(Heard::Ended { exchange, outcome, watched });
        }
        self.end_probe(code);
        self.drop_skipped();
    }

    /// What was asked about cannot even be described: the error was the client's answer.
    fn end_probe(&mut self, code: &[u8]) {
        let Some(probing) = self.probing.take() else { return };
        let exchange = probing.pending.exchange();
        let outcome = Outcome { error: Some(String::from_utf8_lossy(code).into_owned()), ..Outcome::default() };
        self.heard.push_back(Heard::Ended { exchange, outcome, watched: false });
        if probing.pending.simple() {
            // The probe's own Sync now ends what the client sees as its query.
            self.queue.speak_up();
        }
    }

    /// Takes from the queue what the target skips, and undoes what it would have defined.
    fn drop_skipped(&mut self) {
        for expect in self.queue.skip_to_sync() {
            match expect {
                Expect::Parse { undo } | Expect::Close { undo, .. } => self.names.undo(undo),
                Expect::Bind { undo, run } => {
                    self.names.undo(undo);
                    self.skipped(&run);
                }
                Expect::Execute { run } | Expect::Query { run, .. } => self.skipped(&run),
                Expect::DescribePortal { run: Some(run), .. } => {
                    // A portal that outlives this (ROLLBACK TO) is asked about again, unless an answer came before.
                    let mut run = run.borrow_mut();
                    run.described = run.plan.is_some();
                }
                Expect::Poison { exchange, .. } if exchange != 0 => self.ended_unrun(exchange),
                _ => {}
            }
        }
        if self.queue.is_empty() {
            self.skip_to_sync = true;
        }
    }

    fn skipped(&mut self, shared: &SharedRun) {
        let mut run = shared.borrow_mut();
        self.failed(&mut run);
        if self.watched.as_ref().is_some_and(|watched| Rc::ptr_eq(watched, shared)) && !self.complete {
            self.watched = None;
        }
        if run.told != Some(self.answered) {
            run.told = Some(self.answered);
            let exchange = run.current();
            drop(run);
            self.ended_unrun(exchange);
        }
    }

    fn ended_unrun(&mut self, exchange: u64) {
        let outcome = Outcome { error: Some("skipped".to_owned()), ..Outcome::default() };
        self.heard.push_back(Heard::Ended { exchange, outcome, watched: false });
    }

    fn take_ready(
        &mut self,
        message: &Bytes,
        body: &Bytes,
        to_client: &mut BytesMut,
        to_target: &mut BytesMut,
    ) -> Result<(), Fault> {
        let status = message::ready_for_query(body)?;
        let (batch, quiet) = match self.queue.pop() {
            Some(Expect::Sync { batch, quiet }) => (batch, quiet),
            Some(Expect::Query { batch, run, .. }) => {
                if self.watched.as_ref().is_some_and(|watched| Rc::ptr_eq(watched, &run)) {
                    self.watched = None;
                }
                (batch, false)
            }
            _ => return Err(unexpected(b'Z')),
        };
        self.transaction = status;
        self.names.batch_answered(batch);
        self.answered += 1;
        if status == b'I' {
            self.written = false;
            self.names.end_transaction(batch);
        }
        if std::mem::take(&mut self.abort_transaction) && status == b'T' {
            self.poison_simple(Bytes::new(), 0, to_target);
            return Ok(());
        }
        if !quiet {
            to_client.extend_from_slice(message);
        }
        if !self.queue.is_empty() {
            self.heard.push_back(Heard::Between);
        }
        if self.probing.as_ref().is_some_and(|probing| probing.answered) {
            self.probed(to_target);
        }
        if status == b'I' && std::mem::take(&mut self.schema_changed) && self.inspector.knows_catalog() {
            self.heard.push_back(Heard::Stale);
        }
        Ok(())
    }

    fn take_copy_response(
        &mut self,
        tag: u8,
        message: &Bytes,
        body: &Bytes,
        to_client: &mut BytesMut,
    ) -> Result<(), Fault> {
        let (format, columns) = message::copy_response(tag, body)?;
        let run = self.answering(tag)?;
        let mut run = run.borrow_mut();
        let mut extended = false;
        run.copying = match tag {
            b'G' => {
                extended = matches!(self.queue.front(), Some(Expect::Execute { .. }));
                Copying::In
            }
            _ => Copying::Out(Box::new(self.inspector.copy_plan(format, columns, run.statement().map(AsRef::as_ref)))),
        };
        if extended {
            self.queue.forget_syncs();
        }
        if run.refused.is_none() {
            to_client.extend_from_slice(message);
        }
        Ok(())
    }

    fn take_notice(&mut self, body: &Bytes, to_client: &mut BytesMut) -> Result<(), Fault> {
        let fields = message::report(b'N', body)?;
        let meaning = self.answering_meaning();
        rewrite::report(b'N', &fields, meaning.as_deref(), &self.inspector, to_client);
        Ok(())
    }

    fn take_notification(&mut self, body: &Bytes, to_client: &mut BytesMut) -> Result<(), Fault> {
        let (process, channel, payload) = message::notification(body)?;
        rewrite::notification(process, channel, payload, &self.inspector, to_client);
        Ok(())
    }

    fn take_parameter_status(&mut self, message: &Bytes, body: &Bytes, to_client: &mut BytesMut) -> Result<(), Fault> {
        let (name, value) = message::parameter_status(body)?;
        if self.inspector.parameter_reported(name, value) {
            self.forget_meanings();
        }
        to_client.extend_from_slice(message);
        Ok(())
    }

    /// What the statement means whose reply is due; `None` where nothing or anything may be answering.
    fn answering_meaning(&self) -> Option<std::sync::Arc<crate::postgres::inspect::Meaning>> {
        let run: &SharedRun = match self.queue.iter().next()? {
            Expect::Execute { run } | Expect::Query { run, .. } | Expect::Bind { run, .. } => run,
            Expect::DescribePortal { run: Some(run), .. } => run,
            _ => return None,
        };
        let run: std::cell::Ref<'_, Run> = run.borrow();
        run.statement().cloned()
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Described {
    Planned,
    Unknown,
}

fn unexpected(tag: u8) -> Fault {
    Fault::protocol(Whose::Target, format!("the target sent message {} where none was due", frame::show(tag)))
}
