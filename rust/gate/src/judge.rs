//! Decide before execute: the verdict on a request, its record, and what follows from it.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use model::{Exchange, FactValue, Fault};
use policy::{Approved, Denial, InTransaction, Permit, Verdict};
use protocols::{Answer, Purpose, Request, Understood};
use record::evidence::{Asked, Decided, Held, StatementText, Verdict as Recorded};
use smallvec::SmallVec;

use crate::counts;
use crate::dam::Question;
use crate::release::Live;
use crate::session::{Ask, Decision, Outbox, Session, Waiting};

/// Verdicts are remembered for this many understood texts of a session.
const REMEMBERED: usize = 4096;

/// One thing per statement of a request; nearly every request has one statement.
type Each<T> = SmallVec<[T; 1]>;

/// What is to be done about a whole request.
enum Judgement {
    Permit,
    Refuse(Fault),
    Hold(policy::Hold),
}

/// What was decided about one statement of a request.
enum Leave {
    Permit(Rc<Permit>),
    Refuse(Denial),
    Hold(policy::Hold),
}

impl Session {
    /// Decides a request of the client's, records it, and answers the dialogue or waits for a reviewer.
    pub(crate) fn judge(&mut self, request: Request, outbox: &mut Outbox) -> Result<(), Fault> {
        let leaves: Each<Leave> = request.statements.iter().map(|statement| self.leave(statement)).collect();
        let running = request.purpose == Purpose::Run;
        let mut told: Each<Told> =
            request.statements.iter().zip(&leaves).map(|(statement, leave)| told(statement, leave)).collect();
        let permits: Each<_> = leaves
            .iter()
            .map(|leave| if let Leave::Permit(permit) = leave { Some(Rc::clone(permit)) } else { None })
            .collect();
        let mut judgement = self.judgement(&request, leaves);
        if running && let Some(fault) = self.too_often(&request) {
            judgement = self.slow_down(fault, judgement, &mut told);
        }
        if running || matches!(judgement, Judgement::Refuse(_)) {
            self.record_asked(&request, told, permits, &judgement)?;
        }
        match judgement {
            Judgement::Permit => self.permit(outbox),
            Judgement::Refuse(fault) => self.dialogue.answer(Answer::Refuse(fault), &mut outbox.target),
            Judgement::Hold(hold) if running => return self.hold_statement(request, hold),
            Judgement::Hold(_) => self.permit(outbox),
        }
        Ok(())
    }

    /// The identity asks more often than it may: what would go on is refused, unless the gateway only observes.
    fn slow_down(&mut self, fault: Fault, judgement: Judgement, told: &mut [Told]) -> Judgement {
        if matches!(judgement, Judgement::Refuse(_)) {
            return judgement;
        }
        self.too_often += told.len() as u64;
        let why: Arc<str> = fault.message.as_str().into();
        told.fill_with(|| Told { verdict: Recorded::Deny, rule: None, why: Some(Arc::clone(&why)) });
        if self.admission.observe() { judgement } else { Judgement::Refuse(fault) }
    }

    fn permit(&mut self, outbox: &mut Outbox) {
        let watch = self.admission.checks_results() && !self.admission.observe();
        self.dialogue.answer(Answer::Permit { watch }, &mut outbox.target);
    }

    /// The verdict on one statement. Leave for the same text is the same for as long as the rules are, so it is kept.
    fn leave(&mut self, statement: &Arc<Understood>) -> Leave {
        if let Some(permit) = self.permits.get(&statement.id) {
            return Leave::Permit(Rc::clone(permit));
        }
        let mut facts = Cow::Borrowed(&statement.facts);
        if self.timed {
            let seconds = i64::try_from(self.release.now() / 1_000_000).unwrap_or(i64::MAX);
            facts.to_mut().set("session.seconds", FactValue::Int(seconds));
        }
        let needed = rights(statement.rights);
        let mut verdict = self.admission.decide(needed, &statement.functions, &facts);
        // A rule may name a function with its schema where the statement does not.
        if matches!(&verdict, Verdict::Deny(denial) if denial.rule.is_none()) && !statement.resolved.is_empty() {
            verdict = self.admission.decide(needed, &statement.resolved, &facts);
        }
        match self.admission.let_through(verdict) {
            Ok(permit) => {
                let permit = Rc::new(permit);
                if self.permits.len() >= REMEMBERED {
                    self.permits.clear();
                }
                if !self.timed {
                    self.permits.insert(statement.id, Rc::clone(&permit));
                }
                Leave::Permit(permit)
            }
            Err(Verdict::Deny(denial)) => Leave::Refuse(denial),
            Err(Verdict::Hold(hold)) => Leave::Hold(hold),
            Err(Verdict::Allow(permit)) => Leave::Permit(Rc::new(permit)),
        }
    }

    fn judgement(&self, request: &Request, leaves: Each<Leave>) -> Judgement {
        let reference = || self.reference(request.exchange);
        let mut held = None;
        for (statement, leave) in request.statements.iter().zip(leaves) {
            if let (Some(fault), false) = (&statement.fault, self.admission.observe()) {
                // A text with a mistake in it gets the answer the target itself would give.
                let known = fault.position.is_some();
                return Judgement::Refuse(if known { fault.clone() } else { fault.clone().reference(reference()) });
            }
            match leave {
                Leave::Permit(_) => {}
                Leave::Refuse(denial) => return Judgement::Refuse(denial.fault().reference(reference())),
                Leave::Hold(hold) => held = held.or(Some(hold)),
            }
        }
        match held {
            None => Judgement::Permit,
            Some(hold) if self.may_wait(request, &hold) => Judgement::Hold(hold),
            Some(hold) => {
                let message =
                    format!("rule \"{}\" asks for a reviewer, and this transaction cannot wait for one", hold.rule());
                let fault = Fault::denied(hold.rule(), message)
                    .hint("run the statement outside a transaction that has written");
                Judgement::Refuse(fault.reference(reference()))
            }
        }
    }

    fn may_wait(&self, request: &Request, hold: &policy::Hold) -> bool {
        match hold.in_transaction() {
            InTransaction::Wait => true,
            InTransaction::Refuse => !request.in_transaction,
            InTransaction::WaitUnlessWritten => !request.written_in_transaction,
        }
    }

    /// The reference under which a reviewer finds the request.
    pub(crate) fn reference(&self, exchange: u64) -> String {
        Exchange { session: self.id, channel: 0, id: exchange }.to_string()
    }

    fn record_asked(
        &mut self,
        request: &Request,
        told: Each<Told>,
        permits: Each<Option<Rc<Permit>>>,
        judgement: &Judgement,
    ) -> Result<(), Fault> {
        let since = self.release.now();
        let observed = self.admission.observe();
        let credential = self.admission.credential();
        let credential: Option<Arc<str>> = (credential != "default").then(|| credential.into());
        let manifest = self.rules.hash();
        let manifest = (manifest != self.settings_hash).then_some(manifest);
        let mut bodies: Each<_> = SmallVec::new();
        for (place, ((statement, told), permit)) in request.statements.iter().zip(told).zip(permits).enumerate() {
            let exchange = request.exchange + place as u64;
            let (text_id, text) = self.text(statement);
            let Told { verdict, rule, why } = told.with(judgement, observed);
            self.verdicts[counts::place(verdict)] += 1;
            let asked = Asked {
                text_id: Some(text_id),
                kind: Cow::Borrowed(statement.kind),
                tables: Arc::clone(&statement.tables),
                parameters: if place == 0 { request.parameters.clone() } else { Vec::new() },
                verdict,
                rule,
                why,
                manifest: manifest.clone(),
                credential: credential.clone(),
            };
            let statement = self.admission.checks_results().then(|| Arc::clone(statement));
            self.release.live.insert(exchange, Live { since, observed, permit, statement, ..Live::default() });
            bodies.push((exchange, text, asked));
        }
        self.release.totals.statements += bodies.len() as u64;
        let mut batch = self.release.trail.batch();
        for (exchange, text, asked) in &bodies {
            if let Some(text) = text {
                batch.evidence(0, text)?;
            }
            batch.evidence(*exchange, asked)?;
        }
        batch.commit()?;
        if let Some(observer) = &self.observer {
            for ((exchange, _, asked), statement) in bodies.iter().zip(&request.statements) {
                observer.asked(*exchange, statement, asked);
            }
        }
        Ok(())
    }

    /// The id of a statement's text in this session's trail, and the text if the trail does not have it yet.
    fn text(&mut self, statement: &Understood) -> (u64, Option<StatementText>) {
        if let Some(id) = self.texts.get(&statement.id) {
            return (*id, None);
        }
        if self.texts.len() >= REMEMBERED {
            self.texts.clear();
        }
        self.next_text += 1;
        let id = self.next_text;
        self.texts.insert(statement.id, id);
        (id, Some(StatementText { id, text: Arc::clone(&statement.text), shape: None }))
    }

    fn hold_statement(&mut self, request: Request, hold: policy::Hold) -> Result<(), Fault> {
        let exchange = request.exchange;
        let number = self.next_hold();
        let expires = hold.expires().min(Self::LONGEST_HOLD);
        let question = Question::new(number, exchange, hold.rule().to_owned(), expires);
        let detail = self.statement_detail(&request, &hold);
        self.record_held(exchange, number, &hold, "statement", 0, 0)?;
        self.wake_at(question.expires);
        self.asks.push_back(Ask::Hold(crate::HoldRequest { hold: number, detail }));
        if let Some(live) = self.release.live.get_mut(&exchange) {
            live.held = true;
        }
        self.waiting = Some(Waiting { request, question, hold });
        Ok(())
    }

    pub(crate) fn record_held(
        &mut self,
        exchange: u64,
        number: u64,
        hold: &policy::Hold,
        phase: &str,
        rows: u64,
        bytes: u64,
    ) -> Result<(), Fault> {
        let held = Held {
            hold: number,
            rule: hold.rule().into(),
            reviewers: hold.reviewers().to_vec(),
            phase: phase.into(),
            request: None,
            rows,
            bytes,
        };
        self.release.trail.evidence(exchange, &held).map(drop)
    }

    pub(crate) fn record_decided(
        &mut self,
        question: &Question,
        decision: &str,
        by: Option<&str>,
        reason: Option<&str>,
        counts: (u64, u64),
    ) -> Result<(), Fault> {
        let decided = Decided {
            hold: question.hold,
            decision: decision.into(),
            by: by.map(Into::into),
            reason: reason.map(Into::into),
            approval: question.approval.as_deref().map(Into::into),
            rows: counts.0,
            bytes: counts.1,
        };
        self.release.trail.evidence(question.exchange, &decided).map(drop)
    }

    /// A reviewer decided about a statement that waits before execution.
    pub(crate) fn decide_statement(&mut self, decision: &Decision, outbox: &mut Outbox) -> Result<(), Fault> {
        let Some(Waiting { request, question, hold }) = self.waiting.take() else { return Ok(()) };
        let (word, by, reason) = words(decision);
        self.record_decided(&question, word, by, reason, (0, 0))?;
        if let Some(fault) = refusal(decision, &hold, &question, &self.reference(question.exchange)) {
            self.dialogue.answer(Answer::Refuse(fault), &mut outbox.target);
            return Ok(());
        }
        match hold.approved(by.unwrap_or_default()) {
            // Another circle of reviewers has its own say.
            Approved::Hold(next) => self.hold_statement(request, next),
            Approved::Permit(permit) => {
                if let Some(live) = self.release.live.get_mut(&question.exchange) {
                    live.permit = Some(Rc::new(permit));
                }
                self.permit(outbox);
                Ok(())
            }
        }
    }
}

/// The words the trail uses for a decision.
pub(crate) fn words(decision: &Decision) -> (&'static str, Option<&str>, Option<&str>) {
    match decision {
        Decision::Approved { by } => ("approved", Some(by), None),
        Decision::Denied { by, reason } => ("denied", Some(by), Some(reason)),
        Decision::Expired { reason } => ("expired", None, Some(reason)),
    }
}

/// What the client is told of a decision against it.
pub(crate) fn refusal(decision: &Decision, hold: &policy::Hold, question: &Question, reference: &str) -> Option<Fault> {
    let named = question.approval.as_deref().unwrap_or(reference);
    let fault = match decision {
        Decision::Approved { .. } => return None,
        Decision::Denied { by, reason } => hold.denied(by, reason),
        Decision::Expired { reason } => hold.expired(reason),
    };
    Some(fault.reference(named))
}

/// Seconds of a duration for the reviewers' event.
pub(crate) fn seconds(duration: Duration) -> u64 {
    duration.as_secs()
}

/// What the trail says of one statement's verdict.
struct Told {
    verdict: Recorded,
    rule: Option<Arc<str>>,
    why: Option<Arc<str>>,
}

impl Told {
    /// A statement is refused with its neighbours in the same text, and an observing gateway only says what it would do.
    fn with(mut self, judgement: &Judgement, observed: bool) -> Self {
        if let (Recorded::Allow, Judgement::Refuse(fault)) = (self.verdict, judgement) {
            self.verdict = Recorded::Deny;
            self.rule = fault.rule.as_deref().map(Into::into);
            self.why = Some(fault.message.as_str().into());
        }
        self.verdict = match self.verdict {
            Recorded::Deny if observed => Recorded::WouldDeny,
            Recorded::Hold if observed => Recorded::WouldHold,
            verdict => verdict,
        };
        self
    }
}

fn told(statement: &Understood, leave: &Leave) -> Told {
    if let Some(fault) = &statement.fault {
        let rule = fault.rule.as_deref().map(Into::into);
        return Told { verdict: Recorded::Deny, rule, why: Some(fault.message.as_str().into()) };
    }
    match leave {
        Leave::Refuse(denial) => {
            Told { verdict: Recorded::Deny, rule: denial.rule.clone(), why: Some(denial.why.as_str().into()) }
        }
        Leave::Hold(hold) => {
            Told { verdict: Recorded::Hold, rule: Some(hold.rule().into()), why: Some(hold.why().into()) }
        }
        Leave::Permit(permit) => match permit.observed().first() {
            Some(seen) => {
                let verdict = if seen.what == "would_deny" { Recorded::WouldDeny } else { Recorded::WouldHold };
                Told { verdict, rule: seen.rule.clone(), why: Some(seen.why.as_str().into()) }
            }
            None => Told { verdict: Recorded::Allow, rule: Some(Arc::clone(permit.rule())), why: None },
        },
    }
}

/// The statement's rights in the policy's words.
pub(crate) fn rights(needed: statement::Rights) -> policy::Rights {
    use policy::Rights as Given;
    use statement::Rights as Needed;
    let pairs = [
        (Needed::READ, Given::READ),
        (Needed::WRITE, Given::WRITE),
        (Needed::DDL, Given::DDL),
        (Needed::COPY_IN, Given::COPY_IN),
        (Needed::COPY_OUT, Given::COPY_OUT),
        (Needed::CALL, Given::CALL),
        // A setting nobody reviewed may change what data is written, but not what structure there is.
        (Needed::SETTING, Given::WRITE),
        (Needed::NEVER, Given::NEVER),
    ];
    pairs.into_iter().filter(|(need, _)| needed.contains(*need)).fold(Given::NONE, |sum, (_, given)| sum | given)
}

/// What would be decided about one statement of a session admitted like this, and why; `outputs` says what would be masked.
#[must_use]
pub fn explain(
    admission: &policy::Admission,
    statement: &Understood,
    outputs: &serde_json::Value,
) -> serde_json::Value {
    let mut facts = statement.facts.clone();
    facts.set("session.seconds", FactValue::Int(0));
    let mut told = admission.explain(rights(statement.rights), &statement.functions, &facts);
    if let Some(fault) = &statement.fault {
        told["verdict"] = "deny".into();
        told["rule"] = fault.rule.clone().into();
        told["why"] = fault.message.clone().into();
        told["hint"] = fault.hint.clone().into();
    }
    told["statement"] = (*statement.text).into();
    told["kind"] = statement.kind.into();
    told["tables"] = statement.tables.iter().map(|table| serde_json::Value::from(&**table)).collect();
    told["outputs"] = outputs.clone();
    told
}
