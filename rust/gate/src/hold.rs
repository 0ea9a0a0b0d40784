//! Hold before release: results that a rule watches, reviewers' decisions, and what happens meanwhile.

use std::rc::Rc;
use std::time::Instant;

use model::{FactValue, Fault, FaultKind, Whose};
use policy::{Approved, ResultVerdict};
use protocols::{Outcome, Request, Tally};
use record::evidence::Held;
use serde_json::{Map, Value, json};

use crate::dam::{Dam, Question, Standing};
use crate::judge::{refusal, seconds, words};
use crate::session::{Ask, Decision, HoldRequest, Outbox, Session};

/// What is handed to the relay at a time from behind an open dam, in bytes.
const POUR: usize = 256 << 10;

/// Rows a reviewer is shown.
const SAMPLE_ROWS: usize = 5;

impl Session {
    /// Part of a result was appended: look what the rules about results say of it so far.
    pub(crate) fn part(
        &mut self,
        exchange: u64,
        tally: Tally,
        watched: bool,
        outbox: &mut Outbox,
    ) -> Result<(), Fault> {
        if !watched || self.approved == Some(exchange) {
            if self.admission.observe() {
                self.note_result(exchange, tally)?;
            }
            self.staged.attribute(exchange);
            return Ok(());
        }
        self.undecided = Some((exchange, tally));
        if self.question.is_some() {
            return self.dam_undecided();
        }
        match self.result_verdict(exchange, tally) {
            None => Ok(()),
            Some(ResultVerdict::Deny(denial)) => {
                let fault = denial.fault().reference(self.reference(exchange));
                self.refuse_result(exchange, fault, outbox);
                Ok(())
            }
            Some(ResultVerdict::Hold(hold)) => {
                self.dam_undecided()?;
                self.hold_result(exchange, hold, outbox)
            }
        }
    }

    fn result_verdict(&self, exchange: u64, tally: Tally) -> Option<ResultVerdict> {
        let live = self.release.live.get(&exchange)?;
        let (permit, statement) = (live.permit.as_ref()?, live.statement.as_ref()?);
        let mut facts = statement.facts.clone();
        let count = |count: u64| FactValue::Int(i64::try_from(count).unwrap_or(i64::MAX));
        facts.set("result.rows", count(tally.rows));
        facts.set("result.bytes", count(tally.bytes));
        facts.set("result.masked", FactValue::Bool(tally.masked > 0));
        if self.timed {
            facts.set("session.seconds", count(self.release.now() / 1_000_000));
        }
        self.admission.check_result(&facts, permit)
    }

    /// The gateway only observes: what a rule about results would have done is written down once.
    fn note_result(&mut self, exchange: u64, tally: Tally) -> Result<(), Fault> {
        if self.release.live.get(&exchange).is_none_or(|live| live.noted) {
            return Ok(());
        }
        let Some(verdict) = self.result_verdict(exchange, tally) else { return Ok(()) };
        if let Some(live) = self.release.live.get_mut(&exchange) {
            live.noted = true;
        }
        let rule = match &verdict {
            ResultVerdict::Hold(hold) => hold.rule().to_owned(),
            ResultVerdict::Deny(denial) => denial.rule.as_deref().unwrap_or_default().to_owned(),
        };
        let what = if matches!(verdict, ResultVerdict::Hold(_)) { "would_hold" } else { "would_deny" };
        let held =
            Held { rule: rule.into(), phase: what.into(), rows: tally.rows, bytes: tally.bytes, ..Held::default() };
        self.release.trail.evidence(exchange, &held)?;
        if let Some(observer) = &self.observer {
            observer.noted(exchange, what, &held);
        }
        Ok(())
    }

    /// An exchange ended: its record follows with its last bytes, unless a dam keeps them.
    pub(crate) fn ended(
        &mut self,
        exchange: u64,
        outcome: Outcome,
        watched: bool,
        outbox: &mut Outbox,
    ) -> Result<(), Fault> {
        let dammed = self.dam.as_ref().is_some_and(|dam| dam.exchange == exchange);
        if !dammed {
            self.undecided = None;
            self.staged.attribute(exchange);
            self.tell_answered(exchange, &outcome);
            self.staged.end(exchange, outcome);
            if watched {
                self.approved = None;
                self.dialogue.settle(exchange);
            }
            return Ok(());
        }
        let tally = self.undecided.map(|(_, tally)| tally).or(self.dam.as_ref().map(|dam| dam.tally));
        self.undecided = Some((exchange, tally.unwrap_or_default()));
        self.dam_undecided()?;
        if let Some(dam) = &mut self.dam {
            dam.outcome = Some(outcome);
            match dam.standing {
                Standing::Watching => dam.standing = Standing::Released,
                Standing::Held => self.update_hold(),
                Standing::Released => {}
            }
        }
        self.release_dam(outbox)
    }

    fn tell_answered(&self, exchange: u64, outcome: &Outcome) {
        if let Some(observer) = &self.observer {
            observer.answered(exchange, outcome);
        }
    }

    /// A watched result goes on: what is staged of it goes behind a dam.
    pub(crate) fn dam_undecided(&mut self) -> Result<(), Fault> {
        let Some((exchange, tally)) = self.undecided.take() else { return Ok(()) };
        let bytes = self.staged.divert();
        if self.dam.is_none() {
            self.dam = Some(Dam::new(exchange, self.rules.spool()?));
        }
        if let Some(dam) = &mut self.dam {
            dam.tally = tally;
            dam.push(&bytes)?;
        }
        Ok(())
    }

    fn hold_result(&mut self, exchange: u64, hold: policy::Hold, outbox: &mut Outbox) -> Result<(), Fault> {
        let tally = self.dam.as_ref().map(|dam| dam.tally).unwrap_or_default();
        let number = self.next_hold();
        let expires = hold.expires().min(Self::LONGEST_HOLD);
        let question = Question::new(number, exchange, hold.rule().to_owned(), expires);
        self.record_held(exchange, number, &hold, "result", tally.rows, tally.bytes)?;
        let detail = self.result_detail(exchange, &hold);
        self.wake_at(question.expires);
        self.asks.push_back(Ask::Hold(HoldRequest { hold: number, detail }));
        if let Some(live) = self.release.live.get_mut(&exchange) {
            live.held = true;
        }
        if let Some(dam) = &mut self.dam {
            dam.standing = Standing::Held;
        }
        self.question = Some((question, hold));
        // What came before the held result is not part of it.
        self.commit(outbox)
    }

    fn refuse_result(&mut self, exchange: u64, fault: Fault, outbox: &mut Outbox) {
        self.question = None;
        self.undecided = None;
        drop(self.staged.divert());
        let ended = self.dam.take().and_then(|dam| dam.outcome);
        let code = self.protocol.code(fault.kind).to_owned();
        if self.dialogue.refuse_result(exchange, fault, &mut self.staged.bytes, &mut outbox.target) {
            self.asks.push_back(Ask::CancelTarget);
        }
        if let Some(outcome) = ended {
            self.staged.attribute(exchange);
            let outcome = Outcome { tag: None, error: Some(code), ..outcome };
            self.tell_answered(exchange, &outcome);
            self.staged.end(exchange, outcome);
        }
    }

    /// Lets out what is behind an open dam, as far as the client keeps up.
    pub(crate) fn release_dam(&mut self, outbox: &mut Outbox) -> Result<(), Fault> {
        loop {
            let Some(dam) = &mut self.dam else { return self.commit(outbox) };
            if !dam.is_released() || outbox.client.len() >= POUR {
                return Ok(());
            }
            let exchange = dam.exchange;
            let more = dam.take(&mut self.staged.bytes, POUR)?;
            self.staged.attribute(exchange);
            if !more {
                self.close_dam(exchange);
            }
            self.commit(outbox)?;
        }
    }

    fn close_dam(&mut self, exchange: u64) {
        let Some(dam) = self.dam.take() else { return };
        match dam.outcome {
            Some(outcome) => {
                self.tell_answered(exchange, &outcome);
                self.approved = None;
                self.staged.end(exchange, outcome);
                self.dialogue.settle(exchange);
            }
            // Approved before its end: the rest passes as it comes.
            None => self.approved = Some(exchange),
        }
    }

    pub(crate) fn registered(&mut self, hold: u64, approval: String, outbox: &mut Outbox) -> Result<(), Fault> {
        let question = self
            .waiting
            .as_mut()
            .map(|waiting| &mut waiting.question)
            .or(self.question.as_mut().map(|(question, _)| question));
        let Some(question) = question.filter(|question| question.hold == hold) else { return Ok(()) };
        let notice =
            format!("held by rule \"{}\"; waiting for a reviewer's approval, reference {approval}", question.rule);
        question.approval = Some(approval);
        let exchange = question.exchange;
        self.dialogue.notice(&notice, &mut self.staged.bytes);
        self.staged.attribute(exchange);
        self.commit(outbox)
    }

    pub(crate) fn decided(&mut self, number: u64, decision: Decision, outbox: &mut Outbox) -> Result<(), Fault> {
        if self.waiting.as_ref().is_some_and(|waiting| waiting.question.hold == number) {
            return self.decide_statement(&decision, outbox);
        }
        let Some((question, hold)) = self.question.take_if(|(question, _)| question.hold == number) else {
            return Ok(());
        };
        let tally = self.dam.as_ref().map(|dam| dam.tally).unwrap_or_default();
        let (word, by, reason) = words(&decision);
        self.record_decided(&question, word, by, reason, (tally.rows, tally.bytes))?;
        if let Some(fault) = refusal(&decision, &hold, &question, &self.reference(question.exchange)) {
            self.refuse_result(question.exchange, fault, outbox);
            return self.commit(outbox);
        }
        match hold.approved(by.unwrap_or_default()) {
            Approved::Hold(next) => return self.hold_result(question.exchange, next, outbox),
            Approved::Permit(permit) => {
                if let Some(live) = self.release.live.get_mut(&question.exchange) {
                    live.permit = Some(Rc::new(permit));
                }
            }
        }
        if let Some(dam) = &mut self.dam {
            dam.standing = Standing::Released;
        }
        self.release_dam(outbox)
    }

    /// The client asked to cancel: what waits is withdrawn, what runs is cancelled at the target.
    pub(crate) fn cancelled(&mut self, outbox: &mut Outbox) -> Result<(), Fault> {
        let fault = Fault::new(Whose::Client, FaultKind::Expired, "canceling statement due to user request");
        if let Some(waiting) = self.waiting.take() {
            self.withdraw(&waiting.question, (0, 0))?;
            self.dialogue.answer(protocols::Answer::Refuse(fault), &mut outbox.target);
            return Ok(());
        }
        if let Some((question, _)) = self.question.take() {
            let tally = self.dam.as_ref().map(|dam| dam.tally).unwrap_or_default();
            self.withdraw(&question, (tally.rows, tally.bytes))?;
            self.refuse_result(question.exchange, fault, outbox);
            return self.commit(outbox);
        }
        self.asks.push_back(Ask::CancelTarget);
        Ok(())
    }

    fn withdraw(&mut self, question: &Question, counts: (u64, u64)) -> Result<(), Fault> {
        self.asks.push_back(Ask::WithdrawHold(question.hold));
        self.record_decided(question, "withdrawn", None, None, counts)
    }

    /// The session ends: nobody waits for an answer any more.
    pub(crate) fn withdraw_all(&mut self) {
        let waiting = self.waiting.take().map(|waiting| waiting.question);
        let tally = self.dam.as_ref().map(|dam| dam.tally).unwrap_or_default();
        for question in waiting.into_iter().chain(self.question.take().map(|(question, _)| question)) {
            let _ = self.withdraw(&question, (tally.rows, tally.bytes));
        }
    }

    pub(crate) fn tick(&mut self, outbox: &mut Outbox) -> Result<(), Fault> {
        let question = self
            .waiting
            .as_ref()
            .map(|waiting| &waiting.question)
            .or(self.question.as_ref().map(|(question, _)| question));
        let Some(question) = question else { return Ok(()) };
        let (hold, expires) = (question.hold, question.expires);
        if Instant::now() < expires {
            self.wake_at(expires);
            return Ok(());
        }
        self.asks.push_back(Ask::WithdrawHold(hold));
        let reason = "nobody decided in time".to_owned();
        self.decided(hold, Decision::Expired { reason }, outbox)
    }

    fn update_hold(&mut self) {
        let Some((question, _)) = &self.question else { return };
        let hold = question.hold;
        let mut detail = Map::new();
        self.add_counts(&mut detail);
        self.asks.push_back(Ask::UpdateHold(HoldRequest { hold, detail }));
    }

    fn add_counts(&self, detail: &mut Map<String, Value>) {
        let Some(dam) = &self.dam else { return };
        detail.insert("rows".into(), dam.tally.rows.into());
        detail.insert("bytes".into(), dam.tally.bytes.into());
        detail.insert("complete".into(), dam.outcome.is_some().into());
        let (columns, rows) = self.dialogue.sample(dam.exchange, &dam.head, SAMPLE_ROWS);
        detail.insert("sample".into(), json!({"columns": columns, "rows": rows}));
    }

    fn result_detail(&self, exchange: u64, hold: &policy::Hold) -> Map<String, Value> {
        let mut detail = common_detail(hold, "result");
        self.add_counts(&mut detail);
        if let Some((statement, hash)) = self.dialogue.asked(exchange) {
            add_statement(&mut detail, &statement, &hash);
        }
        detail
    }

    pub(crate) fn statement_detail(&self, request: &Request, hold: &policy::Hold) -> Map<String, Value> {
        let mut detail = common_detail(hold, "statement");
        if let Some(statement) = request.statements.first() {
            add_statement(&mut detail, statement, &self.dialogue.request_hash());
        }
        detail.insert("parameters".into(), json!(request.parameters));
        detail.insert("rows".into(), 0.into());
        detail.insert("bytes".into(), 0.into());
        detail.insert("complete".into(), false.into());
        detail
    }
}

impl Dam {
    /// Whether what is behind may go.
    pub fn is_released(&self) -> bool {
        self.standing == Standing::Released
    }
}

fn common_detail(hold: &policy::Hold, phase: &str) -> Map<String, Value> {
    let mut detail = Map::new();
    detail.insert("rule".into(), hold.rule().into());
    detail.insert("reviewers".into(), json!(hold.reviewers()));
    detail.insert("expires_seconds".into(), seconds(hold.expires()).into());
    detail.insert("phase".into(), phase.into());
    detail.insert("why".into(), hold.why().into());
    detail
}

fn add_statement(detail: &mut Map<String, Value>, statement: &protocols::Understood, hash: &[u8; 32]) {
    let text = json!({
        "text": &*statement.text,
        "kind": statement.kind,
        "tables": statement.tables.iter().map(|table| &**table).collect::<Vec<_>>(),
        "shape": statement.shape(),
    });
    detail.insert("statement".into(), text);
    detail.insert("request".into(), hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into());
}
