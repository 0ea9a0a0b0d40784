//! What was decided about one request.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use model::{Fault, FaultKind, Whose};

use crate::rule::{HoldTerms, InTransaction};

/// The verdict on a request before the target sees it.
#[derive(Debug)]
pub enum Verdict {
    /// It may go on.
    Allow(Permit),
    /// It may not.
    Deny(Denial),
    /// A person decides.
    Hold(Hold),
}

/// The verdict of the rules about results, while one streams.
#[derive(Debug)]
pub enum ResultVerdict {
    /// No more of it.
    Deny(Denial),
    /// A person decides whether any of it is released.
    Hold(Hold),
}

/// Leave to forward one request and release its result. Only this crate can make one.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Permit {
    rule: Arc<str>,
    approvals: Vec<Approval>,
    observed: Vec<Observation>,
}

/// A person's leave that a permit rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// The rule that asked for it.
    pub rule: Arc<str>,
    /// Who gave it.
    pub by: Arc<str>,
}

/// What an observing gateway would have done instead of giving leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// `would_deny` or `would_hold`.
    pub what: &'static str,
    /// The rule that would have; `None` where no rule allows the request.
    pub rule: Option<Arc<str>>,
    /// Why.
    pub why: String,
}

impl Permit {
    pub(crate) const fn new(rule: Arc<str>) -> Self {
        Self { rule, approvals: Vec::new(), observed: Vec::new() }
    }

    /// The rule that allows the request; empty if an observing gateway lets through what no rule allows.
    #[must_use]
    pub fn rule(&self) -> &Arc<str> {
        &self.rule
    }

    /// The approvals it rests on, in the order given.
    #[must_use]
    pub fn approvals(&self) -> &[Approval] {
        &self.approvals
    }

    /// What an observing gateway would have done.
    #[must_use]
    pub fn observed(&self) -> &[Observation] {
        &self.observed
    }

    /// Whether `rule` has had its say on this request.
    pub(crate) fn settled(&self, rule: &str) -> bool {
        self.approvals.iter().any(|approval| &*approval.rule == rule)
            || self.observed.iter().any(|seen| seen.rule.as_deref() == Some(rule))
    }

    pub(crate) fn observe(mut self, observation: Observation) -> Self {
        self.observed.push(observation);
        self
    }

    /// The same leave again, for a hold to build on; stays within this crate.
    pub(crate) fn again(&self) -> Self {
        Self { rule: Arc::clone(&self.rule), approvals: self.approvals.clone(), observed: self.observed.clone() }
    }
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The rule that refuses; `None` where no rule allows the request.
    pub rule: Option<Arc<str>>,
    /// One sentence for the client: what is refused and why.
    pub why: String,
    /// What to do next.
    pub hint: String,
}

impl Denial {
    /// The refusal as a fault of policy.
    #[must_use]
    pub fn fault(&self) -> Fault {
        let mut fault = Fault::new(Whose::Policy, FaultKind::Denied, self.why.clone()).hint(self.hint.clone());
        fault.rule = self.rule.as_deref().map(str::to_owned);
        fault
    }

    pub(crate) fn observation(self) -> Observation {
        Observation { what: "would_deny", rule: self.rule, why: self.why }
    }
}

/// A request that a person decides about. Where rules name several circles of reviewers, one after the other is asked.
#[derive(Debug)]
#[must_use]
pub struct Hold {
    demands: VecDeque<Demand>,
    permit: Permit,
}

/// What one circle of reviewers is asked: for every rule that names exactly these reviewers.
#[derive(Debug)]
struct Demand {
    rules: Vec<Arc<str>>,
    terms: Arc<HoldTerms>,
    expires: Duration,
    in_transaction: InTransaction,
    why: String,
}

/// What an approval leads to.
#[derive(Debug)]
pub enum Approved {
    /// Every circle of reviewers has agreed.
    Permit(Permit),
    /// The next circle is asked.
    Hold(Hold),
}

/// What reviewers are asked about one request, while it is gathered.
#[derive(Debug, Default)]
pub(crate) struct Demands(VecDeque<Demand>);

impl Demands {
    /// Adds a rule's demand, to the one that asks the same reviewers if there is one.
    pub(crate) fn add(&mut self, rule: &Arc<str>, terms: &Arc<HoldTerms>, why: String) {
        let same = self.0.iter_mut().find(|one| one.terms.reviewers == terms.reviewers);
        let Some(same) = same else {
            self.0.push_back(Demand {
                rules: vec![Arc::clone(rule)],
                terms: Arc::clone(terms),
                expires: terms.expires,
                in_transaction: terms.in_transaction,
                why,
            });
            return;
        };
        same.rules.push(Arc::clone(rule));
        same.expires = same.expires.min(terms.expires);
        same.in_transaction = same.in_transaction.stricter(terms.in_transaction);
        same.why = format!("{}; {why}", same.why);
    }

    /// Leave as it is if nothing is demanded, else a hold.
    pub(crate) fn verdict(self, permit: Permit) -> Verdict {
        if self.0.is_empty() { Verdict::Allow(permit) } else { Verdict::Hold(Hold { demands: self.0, permit }) }
    }
}

impl Hold {
    /// The demand now before the reviewers. There is always one: a hold without demands is never handed out.
    fn first(&self) -> Option<&Demand> {
        self.demands.front()
    }

    /// The rule that asks; the first if several ask the same reviewers.
    #[must_use]
    pub fn rule(&self) -> &str {
        self.rules().first().map_or("", |rule| &**rule)
    }

    /// Every rule that asks these reviewers.
    #[must_use]
    pub fn rules(&self) -> &[Arc<str>] {
        self.first().map_or(&[], |demand| &demand.rules)
    }

    /// The circles of reviewers asked, by their names in the manifest; any member of any of them may decide.
    #[must_use]
    pub fn reviewers(&self) -> &[String] {
        self.first().map_or(&[], |demand| &demand.terms.reviewers)
    }

    /// How long the reviewers have.
    #[must_use]
    pub fn expires(&self) -> Duration {
        self.first().map_or(Duration::ZERO, |demand| demand.expires)
    }

    /// What to do inside a transaction.
    #[must_use]
    pub fn in_transaction(&self) -> InTransaction {
        self.first().map_or(InTransaction::Refuse, |demand| demand.in_transaction)
    }

    /// Why it is held, for the reviewers.
    #[must_use]
    pub fn why(&self) -> &str {
        self.first().map_or("", |demand| &demand.why)
    }

    /// The reviewers now asked agree; `by` names who.
    #[must_use]
    pub fn approved(mut self, by: &str) -> Approved {
        let by: Arc<str> = by.into();
        if let Some(demand) = self.demands.pop_front() {
            self.permit.approvals.extend(demand.rules.into_iter().map(|rule| Approval { rule, by: Arc::clone(&by) }));
        }
        if self.demands.is_empty() { Approved::Permit(self.permit) } else { Approved::Hold(self) }
    }

    /// The refusal for the client when `by` denies it.
    #[must_use]
    pub fn denied(&self, by: &str, reason: &str) -> Fault {
        let message =
            format!("{by} denied this request, which rule \"{}\" put before reviewers: {reason}", self.rule());
        self.refusal(FaultKind::Rejected, message, "ask the reviewer what would be acceptable")
    }

    /// The refusal for the client when nobody decides; `reason` says why not.
    #[must_use]
    pub fn expired(&self, reason: &str) -> Fault {
        let message =
            format!("nobody approved this request, which rule \"{}\" put before reviewers: {reason}", self.rule());
        self.refusal(FaultKind::Expired, message, "send it again when a reviewer is there")
    }

    fn refusal(&self, kind: FaultKind, message: String, hint: &str) -> Fault {
        let mut fault = Fault::new(Whose::Policy, kind, message).hint(hint);
        fault.rule = Some(self.rule().to_owned());
        fault
    }

    pub(crate) fn observed(self) -> Permit {
        let Self { demands, mut permit } = self;
        for demand in demands {
            for rule in demand.rules {
                permit = permit.observe(Observation { what: "would_hold", rule: Some(rule), why: demand.why.clone() });
            }
        }
        permit
    }
}
