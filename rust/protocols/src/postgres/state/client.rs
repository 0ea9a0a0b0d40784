//! What the client sends: frame it, understand it, ask for a verdict, send it on.

use std::rc::Rc;
use std::sync::Arc;

use aws_lc_rs::digest;
use bytes::{Bytes, BytesMut};
use model::{Fault, FaultKind, Whose};

use super::names::{Portal, Prepared, Rest, Undo};
use super::queue::{Expect, SharedRun};
use super::run::Copying;
use super::{Conversation, Pending, Probing};
use crate::dialogue::{Answer, Purpose, Request, Said};
use crate::postgres::frame::{self, Head};
use crate::postgres::inspect::{self, Effect, Meaning};
use crate::postgres::message::{self, Subject};
use crate::postgres::refuse::{self, Severity};

/// Names, formats and the like: far more than any client sends.
const SMALL: usize = 64 << 10;

/// The gateway's own prepared statement, for asking what columns a simple query would have.
const PROBE: &[u8] = b"penstock_probe";

impl Conversation {
    pub(super) fn take_client(&mut self, input: &mut BytesMut, to_target: &mut BytesMut) -> Result<Said, Fault> {
        loop {
            if self.pending.is_some() || self.probing.is_some() {
                return Ok(Said::Wait);
            }
            if self.client_rest.0 > 0 {
                pass_rest(&mut self.client_rest, input, to_target);
                if self.client_rest.0 > 0 {
                    return Ok(Said::NeedMore);
                }
            }
            let Some(head) = frame::head(input, Whose::Client)? else { return Ok(Said::NeedMore) };
            if let Some(said) = self.before(head, to_target)? {
                return Ok(said);
            }
            if self.client_rest.0 > 0 {
                continue;
            }
            if input.len() < head.whole() {
                return Ok(Said::NeedMore);
            }
            self.in_doubt = self.doubts(head.tag, &input[frame::HEAD..head.whole()])?;
            if self.in_doubt {
                return Ok(Said::Wait);
            }
            let message = input.split_to(head.whole()).freeze();
            let after_is_sync = input.first() == Some(&b'S');
            if let Some(said) = self.take_message(head.tag, &message, after_is_sync, to_target)? {
                return Ok(said);
            }
        }
    }

    /// What the head alone decides: limits, waiting, skipping, and messages that pass without being whole.
    fn before(&mut self, head: Head, to_target: &mut BytesMut) -> Result<Option<Said>, Fault> {
        let most = match head.tag {
            b'Q' | b'P' => self.limits.statement + SMALL,
            b'B' | b'F' => self.limits.message,
            b'd' => usize::MAX,
            b'C' | b'D' | b'E' | b'H' | b'S' | b'X' | b'c' | b'f' | b'p' => SMALL,
            tag => {
                return Err(Fault::protocol(Whose::Client, format!("unknown message type {}", frame::show(tag))));
            }
        };
        if self.skip_to_sync && !matches!(head.tag, b'S' | b'X') {
            self.client_rest = (head.whole(), false);
            return Ok(None);
        }
        if !self.may_send(head.tag) {
            return Ok(Some(Said::Wait));
        }
        if head.body > most {
            return self.drop_oversized(head, most, to_target).map(|()| None);
        }
        if head.tag == b'd' {
            // The server ignores copy data that it did not ask for; it does not even get it.
            self.client_rest = (head.whole(), self.copying_in());
        }
        Ok(None)
    }

    /// Whether a message names what an earlier batch defined without the target having confirmed it: should that have
    /// failed or been skipped there, the name means something else.
    fn doubts(&self, tag: u8, body: &[u8]) -> Result<bool, Fault> {
        if self.names.all_answered() {
            return Ok(false);
        }
        Ok(match tag {
            b'B' => self.names.doubts_statement(message::bind(body)?.statement),
            b'E' => self.names.doubts_portal(message::execute(body)?.portal),
            b'D' => match message::subject(b'D', body)? {
                (Subject::Statement, name) => self.names.doubts_statement(name),
                (Subject::Portal, name) => self.names.doubts_portal(name),
            },
            _ => false,
        })
    }

    /// Drops a message that is too large to be looked at, and answers it as a refusal, so that the session goes on.
    fn drop_oversized(&mut self, head: Head, most: usize, to_target: &mut BytesMut) -> Result<(), Fault> {
        let fault = frame::oversized(head, most, Whose::Client);
        if !matches!(head.tag, b'Q' | b'P' | b'B' | b'F') {
            return Err(fault);
        }
        self.oversized += 1;
        self.client_rest = (head.whole(), false);
        let mut reply = BytesMut::new();
        refuse::write_error(&mut reply, Severity::Error, &fault);
        if matches!(head.tag, b'Q' | b'F') {
            self.poison_simple(reply.freeze(), 0, to_target);
        } else {
            self.poison_extended(reply.freeze(), 0, to_target);
        }
        Ok(())
    }

    /// Whether a message of this type may be sent while a result that may yet be refused is under way.
    fn may_send(&self, tag: u8) -> bool {
        if tag == b'X' {
            return true;
        }
        if self.queue.len() >= self.limits.pipeline {
            return false;
        }
        match &self.watched {
            None => true,
            // A Sync commits what its batch wrote, unless a transaction block is open.
            Some(_) => {
                tag == b'S'
                    && !self.complete
                    && !self.queue.has_sync()
                    && (!self.batch_written || self.transaction == b'T')
            }
        }
    }

    /// Whether the target has asked for copy data and the client has not ended it.
    fn takes_copy_data(&self) -> bool {
        match self.queue.iter().next() {
            Some(Expect::Execute { run }) => matches!(run.borrow().copying, Copying::In),
            _ => false,
        }
    }

    /// The client has ended its copy data.
    fn copied_in(&self) {
        if let Some(Expect::Execute { run } | Expect::Query { run, .. }) = self.queue.iter().next() {
            run.borrow_mut().copying = Copying::No;
        }
    }

    fn copying_in(&self) -> bool {
        self.queue.iter().any(|expect| match expect {
            Expect::Execute { run } | Expect::Query { run, .. } => {
                let run = run.borrow();
                matches!(run.copying, Copying::In)
                    || run.statements.iter().any(|meaning| meaning.effect == Effect::CopyIn)
            }
            _ => false,
        })
    }

    fn take_message(
        &mut self,
        tag: u8,
        message: &Bytes,
        after_is_sync: bool,
        to_target: &mut BytesMut,
    ) -> Result<Option<Said>, Fault> {
        let body = message.slice(frame::HEAD..);
        match tag {
            b'Q' => return self.take_query(body, to_target),
            b'P' => return self.take_parse(message, &body, to_target),
            b'B' => return self.take_bind(message, &body, to_target),
            b'D' => self.take_describe(message, &body, to_target)?,
            b'E' => self.take_execute(message, &body, after_is_sync, to_target)?,
            b'C' => self.take_close(message, &body, to_target)?,
            b'H' => to_target.extend_from_slice(message),
            b'S' => self.take_sync(message, to_target),
            b'c' | b'f' => {
                if self.copying_in() {
                    to_target.extend_from_slice(message);
                    self.copied_in();
                }
            }
            b'X' => {
                to_target.extend_from_slice(message);
                return Ok(Some(Said::Goodbye));
            }
            b'F' => self.take_function_call(to_target),
            _ => return Err(Fault::protocol(Whose::Client, "a password message after login")),
        }
        Ok(None)
    }

    fn take_query(&mut self, body: Bytes, to_target: &mut BytesMut) -> Result<Option<Said>, Fault> {
        let text = message::query(&body)?;
        let meanings = self.inspector.understand(text, &self.names);
        let run = self.begin_run(meanings);
        if run.borrow().statements.is_empty() {
            self.pending = Some(Pending::Query { body, run });
            self.take_answer(Answer::Permit { watch: false }, to_target);
            return Ok(None);
        }
        let request = self.request(Purpose::Run, &run, Vec::new());
        self.pending = Some(Pending::Query { body, run });
        Ok(Some(Said::Request(request)))
    }

    fn take_parse(&mut self, message: &Bytes, body: &Bytes, to_target: &mut BytesMut) -> Result<Option<Said>, Fault> {
        let parse = message::parse(body)?;
        let meanings = self.inspector.understand(parse.text, &self.names);
        let text = String::from_utf8_lossy(parse.text);
        let prepared = Rc::new(Prepared::new(text.as_ref().into(), meanings));
        let statements = prepared.meaning.borrow().clone();
        let pending = Pending::Parse { message: message.clone(), name: body.slice_ref(parse.name), prepared };
        self.pending = Some(pending);
        if statements.is_empty() {
            self.take_answer(Answer::Permit { watch: false }, to_target);
            return Ok(None);
        }
        let run = self.begin_run(statements);
        let request = self.request(Purpose::Prepare, &run, Vec::new());
        Ok(Some(Said::Request(request)))
    }

    fn take_bind(&mut self, message: &Bytes, body: &Bytes, to_target: &mut BytesMut) -> Result<Option<Said>, Fault> {
        let bind = message::bind(body)?;
        let Some(prepared) = self.names.statement(bind.statement).cloned() else {
            let missing = if bind.statement.is_empty() {
                "unnamed prepared statement does not exist".to_owned()
            } else {
                format!("prepared statement \"{}\" does not exist", String::from_utf8_lossy(bind.statement))
            };
            self.poison_extended(refuse::error("26000", &missing), 0, to_target);
            return Ok(None);
        };
        let statements = self.current_meaning(&prepared);
        let parameters = self.inspector.parameters(bind.values, &statements)?;
        let empty = statements.is_empty();
        let run = self.begin_run(statements);
        run.borrow_mut().prepared = Some(Rc::clone(&prepared));
        let request = (!empty).then(|| self.request(Purpose::Run, &run, parameters));
        let portal = body.slice_ref(bind.portal);
        self.pending = Some(Pending::Bind { message: message.clone(), portal, prepared, run });
        match request {
            Some(request) => Ok(Some(Said::Request(request))),
            None => {
                self.take_answer(Answer::Permit { watch: false }, to_target);
                Ok(None)
            }
        }
    }

    fn take_describe(&mut self, message: &Bytes, body: &Bytes, to_target: &mut BytesMut) -> Result<(), Fault> {
        let (subject, name) = message::subject(b'D', body)?;
        let expect = match subject {
            Subject::Statement => Expect::DescribeStatement,
            Subject::Portal => {
                let run = self.names.portal(name).map(|portal| Rc::clone(&portal.run));
                if let Some(run) = &run {
                    run.borrow_mut().described = true;
                }
                Expect::DescribePortal { run, quiet: false }
            }
        };
        to_target.extend_from_slice(message);
        self.queue.push(expect);
        Ok(())
    }

    fn take_execute(
        &mut self,
        message: &Bytes,
        body: &Bytes,
        after_is_sync: bool,
        to_target: &mut BytesMut,
    ) -> Result<(), Fault> {
        let execute = message::execute(body)?;
        let Some(portal) = self.names.portal(execute.portal) else {
            let missing = format!("portal \"{}\" does not exist", String::from_utf8_lossy(execute.portal));
            self.poison_extended(refuse::error("34000", &missing), 0, to_target);
            return Ok(());
        };
        if portal.declared {
            // A FETCH is decided and counted; running the cursor by its name in the protocol would go past both.
            let fault = Fault::new(
                Whose::Client,
                FaultKind::Unsupported,
                "a cursor declared in SQL is not run by an Execute message",
            )
            .hint("FETCH from it");
            self.poison_with(&fault, 0, to_target);
            return Ok(());
        }
        let run = Rc::clone(&portal.run);
        if run.borrow().rests.iter().any(|rest| !self.names.still(rest)) {
            let fault = Fault::new(
                Whose::Client,
                FaultKind::Unsupported,
                "what this portal names was replaced after the portal was bound",
            )
            .hint("bind it again");
            self.poison_with(&fault, 0, to_target);
            return Ok(());
        }
        if let Err(fault) = self.enter_names(&run) {
            self.poison_with(&fault, 0, to_target);
            return Ok(());
        }
        self.describe_first(&run, execute.portal, to_target);
        to_target.extend_from_slice(message);
        let (watched, writes) = {
            let run = run.borrow();
            (run.watched, run.statements.iter().any(|meaning| !meaning.common.reading))
        };
        if watched {
            if !after_is_sync {
                message::write(to_target, b'H', |_| {});
            }
            self.watched = Some(Rc::clone(&run));
        }
        self.batch_written |= writes;
        self.queue.push(Expect::Execute { run });
        Ok(())
    }

    /// Asks for the portal's columns where the client did not: rows without a description are never passed.
    fn describe_first(&mut self, run: &SharedRun, portal: &[u8], to_target: &mut BytesMut) {
        let mut shared = run.borrow_mut();
        if shared.described || !shared.statements.iter().any(|meaning| meaning.rows) {
            return;
        }
        shared.described = true;
        drop(shared);
        message::write_describe_portal(to_target, portal);
        self.queue.push(Expect::DescribePortal { run: Some(Rc::clone(run)), quiet: true });
    }

    fn take_close(&mut self, message: &Bytes, body: &Bytes, to_target: &mut BytesMut) -> Result<(), Fault> {
        let undo = match message::subject(b'C', body)? {
            (Subject::Statement, name) => self.names.close_statement(name),
            (Subject::Portal, name) => self.names.close_portal(name),
        };
        to_target.extend_from_slice(message);
        self.queue.push(Expect::Close { undo, quiet: false });
        Ok(())
    }

    fn take_sync(&mut self, message: &Bytes, to_target: &mut BytesMut) {
        to_target.extend_from_slice(message);
        self.skip_to_sync = false;
        self.batch_written = false;
        // In the middle of copy data the target ignores it.
        if self.takes_copy_data() {
            return;
        }
        let batch = self.names.end_batch();
        self.queue.push(Expect::Sync { batch, quiet: false });
    }

    fn take_function_call(&mut self, to_target: &mut BytesMut) {
        let fault = Fault::new(Whose::Client, FaultKind::Unsupported, "the function call message is not carried")
            .hint("call the function in a SELECT statement");
        let mut reply = BytesMut::new();
        refuse::write_error(&mut reply, Severity::Error, &fault);
        self.poison_simple(reply.freeze(), 0, to_target);
    }

    fn request(&self, purpose: Purpose, run: &SharedRun, parameters: Vec<Option<String>>) -> Request {
        let run = run.borrow();
        Request {
            purpose,
            exchange: run.exchange,
            statements: run.statements.iter().map(|meaning| Arc::clone(&meaning.common)).collect(),
            parameters,
            in_transaction: self.transaction != b'I',
            written_in_transaction: self.written && self.transaction != b'I',
        }
    }

    pub(super) fn pending_hash(&self) -> [u8; 32] {
        let mut context = digest::Context::new(&digest::SHA256);
        match &self.pending {
            Some(Pending::Query { body, .. }) => context.update(body),
            Some(Pending::Parse { message, .. }) => context.update(message),
            Some(Pending::Bind { message, prepared, .. }) => {
                context.update(prepared.text.as_bytes());
                // Names differ between sessions; what follows them is what is asked for.
                if let Ok(bind) = message::bind(&message[frame::HEAD..]) {
                    context.update(bind.values);
                }
            }
            None => {}
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(context.finish().as_ref());
        hash
    }

    pub(super) fn take_answer(&mut self, answer: Answer, to_target: &mut BytesMut) {
        let hash = if matches!(answer, Answer::Permit { watch: true }) { self.pending_hash() } else { [0; 32] };
        let Some(pending) = self.pending.take() else { return };
        match answer {
            Answer::Refuse(fault) => self.refuse_pending(&pending, &fault, to_target),
            Answer::Permit { watch } => {
                if let Pending::Query { run, .. } | Pending::Bind { run, .. } = &pending {
                    let reads = run.borrow().statements.iter().any(|meaning| meaning.rows && meaning.common.reading);
                    run.borrow_mut().watched = watch && reads;
                    run.borrow_mut().hash = hash;
                }
                self.permit_pending(pending, to_target);
            }
        }
    }

    fn refuse_pending(&mut self, pending: &Pending, fault: &Fault, to_target: &mut BytesMut) {
        self.oversized += u64::from(fault.kind == FaultKind::TooLarge);
        let mut reply = BytesMut::new();
        refuse::write_error(&mut reply, Severity::Error, fault);
        if pending.simple() {
            self.poison_simple(reply.freeze(), pending.exchange(), to_target);
        } else {
            self.poison_extended(reply.freeze(), pending.exchange(), to_target);
        }
    }

    fn permit_pending(&mut self, pending: Pending, to_target: &mut BytesMut) {
        match pending {
            Pending::Parse { message, name, prepared } => self.send_parse(&message, &name, prepared, to_target),
            Pending::Query { body, run } => {
                if run.borrow().statements.iter().any(|meaning| meaning.may_refuse) {
                    self.probe_query(body, run, to_target);
                } else {
                    self.send_query(&body, run, to_target);
                }
            }
            Pending::Bind { message, portal, prepared, run } => {
                let ask = run.borrow().statements.iter().any(|meaning| meaning.may_refuse);
                let pending = Pending::Bind { message, portal, prepared: Rc::clone(&prepared), run };
                if ask && prepared.origins.borrow().is_none() {
                    self.probe_bind(pending, prepared, to_target);
                } else {
                    self.send_bind(pending, to_target);
                }
            }
        }
    }

    fn send_parse(&mut self, message: &Bytes, name: &[u8], prepared: Rc<Prepared>, to_target: &mut BytesMut) {
        match self.names.prepare(name, prepared) {
            Ok(undo) => {
                to_target.extend_from_slice(message);
                self.queue.push(Expect::Parse { undo });
            }
            Err(fault) => self.poison_with(&fault, 0, to_target),
        }
    }

    fn send_query(&mut self, body: &Bytes, run: SharedRun, to_target: &mut BytesMut) {
        if let Err(fault) = self.enter_names(&run) {
            return self.refuse_pending(&Pending::Query { body: body.clone(), run }, &fault, to_target);
        }
        message::write(to_target, b'Q', |out| out.extend_from_slice(body));
        let batch = self.names.end_batch();
        // A simple query ends the batch as a Sync does.
        self.batch_written = false;
        if run.borrow().watched {
            self.watched = Some(Rc::clone(&run));
        }
        self.queue.push(Expect::Query { run, batch, failed: false });
    }

    fn send_bind(&mut self, pending: Pending, to_target: &mut BytesMut) {
        let Pending::Bind { message, portal, prepared, run } = pending else { return };
        let exchange = run.borrow().exchange;
        if let Some(origins) = prepared.origins.borrow().clone() {
            let meaning = run.borrow().statements.first().cloned();
            if let Err(fault) = self.inspector.plan_origins(&origins, meaning.as_deref()) {
                return self.poison_with(&fault, exchange, to_target);
            }
        }
        run.borrow_mut().rests = self.rests(&run);
        let entry = Portal { run: Rc::clone(&run), batch: self.names.batch(), hold: false, declared: false };
        match self.names.bind(&portal, entry) {
            Ok(undo) => {
                to_target.extend_from_slice(&message);
                self.queue.push(Expect::Bind { undo, run });
            }
            Err(fault) => self.poison_with(&fault, exchange, to_target),
        }
    }

    fn probe_bind(&mut self, pending: Pending, prepared: Rc<Prepared>, to_target: &mut BytesMut) {
        let Pending::Bind { message, .. } = &pending else { return };
        if let Ok(bind) = message::bind(&message[frame::HEAD..]) {
            message::write_describe_statement(to_target, bind.statement);
            message::write(to_target, b'H', |_| {});
            self.queue.push(Expect::Probe { prepared: Rc::clone(&prepared) });
            self.probing = Some(Probing { pending, prepared, answered: false });
        }
    }

    fn probe_query(&mut self, body: Bytes, run: SharedRun, to_target: &mut BytesMut) {
        let alone = run.borrow().statements.len() == 1;
        if !alone || !self.queue.is_empty() {
            let fault = Fault::new(
                Whose::Policy,
                FaultKind::Denied,
                "this text has an output that cannot be traced to its columns and touches protected data; \
                 such a statement must be sent alone",
            )
            .hint("send each statement in a message of its own and wait for its result");
            return self.refuse_pending(&Pending::Query { body, run }, &fault, to_target);
        }
        let text = body.strip_suffix(b"\0").unwrap_or(&body).to_vec();
        message::write_parse(to_target, PROBE, &text);
        message::write_describe_statement(to_target, PROBE);
        message::write_close_statement(to_target, PROBE);
        message::write(to_target, b'S', |_| {});
        let statements = run.borrow().statements.clone();
        let prepared = Rc::new(Prepared::new(String::from_utf8_lossy(&text).as_ref().into(), statements));
        self.queue.push(Expect::Parse { undo: Undo::Nothing });
        self.queue.push(Expect::Probe { prepared: Rc::clone(&prepared) });
        self.queue.push(Expect::Close { undo: Undo::Nothing, quiet: true });
        self.queue.push(Expect::Sync { batch: self.names.batch() - 1, quiet: true });
        self.probing = Some(Probing { pending: Pending::Query { body, run }, prepared, answered: false });
    }

    /// The target described what was asked about: send the message that waited, or refuse it.
    pub(super) fn probed(&mut self, to_target: &mut BytesMut) {
        let Some(Probing { pending, prepared, .. }) = self.probing.take() else { return };
        if !matches!(pending, Pending::Query { .. }) {
            return self.send_bind(pending, to_target);
        }
        let Pending::Query { body, run } = pending else { return };
        let origins = prepared.origins.borrow().clone().unwrap_or_else(|| Rc::from([]));
        let meaning = run.borrow().statements.first().cloned();
        match self.inspector.plan_origins(&origins, meaning.as_deref()) {
            Ok(_) => self.send_query(&body, run, to_target),
            Err(fault) => self.refuse_pending(&Pending::Query { body, run }, &fault, to_target),
        }
    }

    /// The meaning of a prepared statement, worked out again if what it rests on has changed.
    fn current_meaning(&self, prepared: &Rc<Prepared>) -> Vec<Arc<Meaning>> {
        let epoch = self.inspector.epoch();
        let fresh = prepared.meaning.borrow().iter().all(|meaning| meaning.epoch == epoch && meaning.stands_alone());
        if !fresh {
            let meanings =
                inspect::meaning::of_prepared(self.inspector.understand(prepared.text.as_bytes(), &self.names));
            *prepared.meaning.borrow_mut() = meanings;
            prepared.forget();
        }
        prepared.meaning.borrow().clone()
    }

    /// What the statements of a run name.
    fn rests(&self, run: &SharedRun) -> Vec<Rest> {
        run.borrow().statements.iter().filter_map(|meaning| self.names.rest(&meaning.effect)).collect()
    }

    pub(super) fn forget_meanings(&mut self) {
        for prepared in self.names.statements() {
            prepared.forget();
        }
    }

    fn poison_with(&mut self, fault: &Fault, exchange: u64, to_target: &mut BytesMut) {
        self.oversized += u64::from(fault.kind == FaultKind::TooLarge);
        let mut reply = BytesMut::new();
        refuse::write_error(&mut reply, Severity::Error, fault);
        self.poison_extended(reply.freeze(), exchange, to_target);
    }

    /// Makes the target fail where the refused message would have stood.
    pub(super) fn poison_extended(&mut self, reply: Bytes, exchange: u64, to_target: &mut BytesMut) {
        message::write_parse(to_target, refuse::POISON_NAME, refuse::POISON);
        self.queue.push(Expect::Poison { reply, simple: false, exchange, batch: self.names.batch() - 1 });
        self.skip_to_sync = true;
    }

    /// Makes the target fail where the refused Query would have stood.
    pub(super) fn poison_simple(&mut self, reply: Bytes, exchange: u64, to_target: &mut BytesMut) {
        message::write_query(to_target, refuse::POISON);
        self.queue.push(Expect::Poison { reply, simple: true, exchange, batch: self.names.batch() - 1 });
    }
}

/// Passes or drops what is left of a message whose body is not looked at.
pub(super) fn pass_rest(rest: &mut (usize, bool), input: &mut BytesMut, output: &mut BytesMut) {
    let taken = rest.0.min(input.len());
    let bytes = input.split_to(taken);
    if rest.1 {
        output.extend_from_slice(&bytes);
    }
    rest.0 -= taken;
}
