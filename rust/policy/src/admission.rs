//! What the rules mean for one session, worked out once so that each request costs little.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::{Facts, Principal, Target};
use serde_json::{Value as Json, json};

use crate::expression::Expression;
use crate::facts;
use crate::policy::Policy;
use crate::rights::Rights;
use crate::rule::{Allow, Effect, Named, Rule};
use crate::verdict::{Demands, Denial, Permit, ResultVerdict, Verdict};

/// The credential of a target that is used unless a rule names another.
const DEFAULT_CREDENTIAL: &str = "default";

/// What the rules mean for one session.
#[derive(Debug, Clone)]
pub struct Admission {
    policy: Policy,
    principal: Principal,
    target: Target,
    session: Facts,
    observe: bool,
    rights: Rights,
    credential: Arc<str>,
    reveal: BTreeSet<String>,
    allow: Vec<Arc<Rule>>,
    before: Checks,
    during: Checks,
}

/// The rules of one phase; those that deny come before those that hold.
#[derive(Debug, Clone, Default)]
struct Checks {
    deny: Vec<Arc<Rule>>,
    hold: Vec<Arc<Rule>>,
}

impl Admission {
    pub(crate) fn new(
        policy: Policy,
        principal: Principal,
        target: Target,
        rules: Vec<Arc<Rule>>,
        observe: bool,
    ) -> Self {
        let session = facts::of_session(&principal, &target);
        let mut admission = Self {
            policy,
            principal,
            target,
            session,
            observe,
            rights: Rights::NONE,
            credential: DEFAULT_CREDENTIAL.into(),
            reveal: BTreeSet::new(),
            allow: Vec::new(),
            before: Checks::default(),
            during: Checks::default(),
        };
        let mut credential = None;
        for rule in rules {
            let checks = if rule.is_about_results() { &mut admission.during } else { &mut admission.before };
            match &rule.effect {
                Effect::Deny(_) => checks.deny.push(rule),
                Effect::Hold(..) => checks.hold.push(rule),
                Effect::Allow(allow) => {
                    admission.rights |= allow.rights;
                    admission.reveal.extend(allow.reveal.iter().cloned());
                    credential = credential.or_else(|| allow.credential.clone());
                    admission.allow.push(rule);
                }
            }
        }
        admission.credential = credential.unwrap_or(admission.credential);
        admission
    }

    /// The target's credential to use: that of the first allow rule that names one, else `default`.
    #[must_use]
    pub fn credential(&self) -> &str {
        &self.credential
    }

    /// The classes shown unmasked.
    #[must_use]
    pub const fn reveal(&self) -> &BTreeSet<String> {
        &self.reveal
    }

    /// Every right that some rule gives.
    #[must_use]
    pub const fn rights(&self) -> Rights {
        self.rights
    }

    /// Whether the gateway only observes: verdicts are recorded, and everything is let through.
    #[must_use]
    pub const fn observe(&self) -> bool {
        self.observe
    }

    /// Who asks.
    #[must_use]
    pub const fn principal(&self) -> &Principal {
        &self.principal
    }

    /// What is asked.
    #[must_use]
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// Whether a rule may hold results, so that rows must wait until it is clear that none does.
    #[must_use]
    pub fn holds_results(&self) -> bool {
        !self.during.hold.is_empty()
    }

    /// Whether [`Self::check_result`] can say anything at all.
    #[must_use]
    pub fn checks_results(&self) -> bool {
        self.holds_results() || !self.during.deny.is_empty()
    }

    /// Whether a rule of either phase mentions the fact, so that a caller can spare itself a costly one.
    #[must_use]
    pub fn mentions(&self, fact: &str) -> bool {
        let rules = [&self.before.deny, &self.before.hold, &self.during.deny, &self.during.hold].into_iter().flatten();
        rules
            .filter_map(|rule| rule.condition())
            .any(|condition| condition.mentions().iter().any(|one| one.name == fact))
    }

    /// The verdict before the target sees a request that needs `rights` and `functions` (those that do not come with
    /// a preset, as the request names them: `schema.name` or `name`). Deny beats hold beats allow; a condition without
    /// a result is a refusal. An observing gateway passes the verdict to [`Self::let_through`].
    #[must_use]
    pub fn decide<S: AsRef<str>>(&self, rights: Rights, functions: &[S], facts: &Facts) -> Verdict {
        let layers = [facts, &self.session];
        if let Some(denial) = self.before.denial(&layers, None) {
            return Verdict::Deny(denial);
        }
        let permit = match self.allowed(rights, functions) {
            Ok(permit) => permit,
            Err(denial) => return Verdict::Deny(denial),
        };
        self.before.hold(&layers, permit)
    }

    /// The verdict of the rules about results, with the facts of the request and of its result so far. `None`: go on.
    /// Rules that `permit` already rests on have had their say. For requests that only read: what a request has
    /// written cannot be held back, so rules about results do not apply to it.
    #[must_use]
    pub fn check_result(&self, facts: &Facts, permit: &Permit) -> Option<ResultVerdict> {
        if !self.checks_results() {
            return None;
        }
        let layers = [facts, &self.session];
        if let Some(denial) = self.during.denial(&layers, Some(permit)) {
            return Some(ResultVerdict::Deny(denial));
        }
        match self.during.hold(&layers, permit.again()) {
            Verdict::Allow(_) => None,
            Verdict::Hold(hold) => Some(ResultVerdict::Hold(hold)),
            Verdict::Deny(denial) => Some(ResultVerdict::Deny(denial)),
        }
    }

    /// The leave that a verdict comes to: an allowance as it is, and where the gateway only observes, any other with a
    /// note of what would have been done.
    ///
    /// # Errors
    /// The verdict itself, if it is to be enforced.
    pub fn let_through(&self, verdict: Verdict) -> Result<Permit, Verdict> {
        match verdict {
            Verdict::Allow(permit) => Ok(permit),
            Verdict::Deny(denial) if self.observe => {
                Ok(Permit::new(self.granting(Rights::NONE)).observe(denial.observation()))
            }
            Verdict::Hold(hold) if self.observe => Ok(hold.observed()),
            enforced => Err(enforced),
        }
    }

    /// Like [`Self::let_through`], for a verdict on a result whose request went on with `permit`.
    ///
    /// # Errors
    /// The verdict itself, if it is to be enforced.
    pub fn let_result_through(&self, verdict: ResultVerdict, permit: Permit) -> Result<Permit, ResultVerdict> {
        match verdict {
            ResultVerdict::Deny(denial) if self.observe => Ok(permit.observe(denial.observation())),
            ResultVerdict::Hold(hold) if self.observe => Ok(hold.observed()),
            enforced => Err(enforced),
        }
    }

    fn allows(&self) -> impl Iterator<Item = (&Arc<str>, &Allow)> {
        self.allow.iter().filter_map(|rule| match &rule.effect {
            Effect::Allow(allow) => Some((&rule.name, allow)),
            _ => None,
        })
    }

    /// The first rule that gives some of the rights.
    fn granting(&self, rights: Rights) -> Arc<str> {
        let gives = |allow: &Allow| rights.without(allow.rights) != rights;
        let found = self.allows().find(|(_, allow)| gives(allow)).or_else(|| self.allows().next());
        found.map_or_else(|| "".into(), |(name, _)| Arc::clone(name))
    }

    /// Whether some rule gives each right and each function.
    fn allowed<S: AsRef<str>>(&self, rights: Rights, functions: &[S]) -> Result<Permit, Denial> {
        let missing = rights.without(self.rights);
        if !missing.is_empty() {
            return Err(self.lacking(missing));
        }
        let named =
            |function: &str| self.allows().any(|(_, allow)| allow.functions.iter().any(|one| one.names(function)));
        if let Some(function) = functions.iter().map(AsRef::as_ref).find(|function| !named(function)) {
            let (who, what) = (&self.principal.identity, &self.target.name);
            let function = facts::excerpt(function);
            return Err(Denial {
                rule: None,
                why: format!("no rule allows {who} to use the function {function} on {what}"),
                hint: format!("ask for a rule with `functions: [{function}]`"),
            });
        }
        Ok(Permit::new(self.granting(rights)))
    }

    fn lacking(&self, missing: Rights) -> Denial {
        let (who, what) = (&self.principal.identity, &self.target.name);
        let names = missing.names();
        if names.is_empty() {
            return Denial {
                rule: None,
                why: format!("no rule can allow this on {what}: the gateway cannot tell what it would do"),
                hint: "write it in a way that can be told".to_owned(),
            };
        }
        let given: Vec<String> =
            self.allows().map(|(name, allow)| format!("\"{name}\" ({})", allow.rights.names().join(", "))).collect();
        let given = if given.is_empty() { "none".to_owned() } else { given.join(", ") };
        Denial {
            rule: None,
            why: format!("no rule allows {who} to {} on {what}; rules that apply: {given}", names.join(" and ")),
            hint: format!("ask for a rule with `allow: [{}]`", names.join(", ")),
        }
    }

    /// What would come of a request and why: `verdict`, `rule`, `why`, `hint`, `reviewers`, `credential`, `observe`,
    /// `rights`, `reveal`, and every rule with whether it applies and what its condition comes to.
    #[must_use]
    pub fn explain<S: AsRef<str>>(&self, rights: Rights, functions: &[S], facts: &Facts) -> Json {
        let mut told = match self.decide(rights, functions, facts) {
            Verdict::Allow(permit) => json!({"verdict": "allow", "rule": permit.rule()}),
            Verdict::Deny(denial) => {
                json!({"verdict": "deny", "rule": denial.rule.as_deref(), "why": denial.why, "hint": denial.hint})
            }
            Verdict::Hold(hold) => {
                json!({"verdict": "hold", "rule": hold.rule(), "why": hold.why(), "reviewers": hold.reviewers()})
            }
        };
        told["credential"] = (*self.credential).into();
        told["observe"] = self.observe.into();
        told["rights"] = self.rights.names().into();
        told["functions"] = self.allows().flat_map(|(_, allow)| &allow.functions).map(Named::text).collect();
        told["needs"] = rights.names().into();
        told["reveal"] = self.reveal.iter().cloned().collect();
        told["rules"] = self.rules_explained(facts);
        told
    }

    fn rules_explained(&self, facts: &Facts) -> Json {
        let layers = [facts, &self.session];
        let mut rules = self.policy.explain(&self.principal, &self.target);
        let checked = [&self.before.deny, &self.before.hold].into_iter().flatten();
        for rule in checked {
            let Some(condition) = rule.condition() else { continue };
            let told = rules.as_array_mut().into_iter().flatten().find(|told| told["name"] == *rule.name);
            let Some(told) = told else { continue };
            match condition.evaluate_layers(&layers) {
                Ok(holds) => told["holds"] = holds.into(),
                Err(error) => told["error"] = error.into(),
            }
            told["because"] = rule.because(&layers).into();
        }
        rules
    }
}

impl Checks {
    /// The first rule that denies, or whose condition has no result.
    fn denial(&self, layers: &[&Facts], permit: Option<&Permit>) -> Option<Denial> {
        self.deny.iter().filter(|rule| !permit.is_some_and(|permit| permit.settled(&rule.name))).find_map(|rule| {
            match holds(rule.condition(), layers) {
                Ok(false) => None,
                Ok(true) => Some(denied(rule, layers)),
                Err(error) => Some(unevaluated(rule, &error)),
            }
        })
    }

    /// Leave as it is if no rule holds, else what is put before reviewers.
    fn hold(&self, layers: &[&Facts], permit: Permit) -> Verdict {
        let mut demands = Demands::default();
        for rule in self.hold.iter().filter(|rule| !permit.settled(&rule.name)) {
            let Effect::Hold(condition, terms) = &rule.effect else { continue };
            match holds(Some(condition), layers) {
                Ok(false) => {}
                Ok(true) => demands.add(&rule.name, terms, rule.because(layers)),
                Err(error) => return Verdict::Deny(unevaluated(rule, &error)),
            }
        }
        demands.verdict(permit)
    }
}

fn holds(condition: Option<&Expression>, layers: &[&Facts]) -> Result<bool, String> {
    condition.map_or(Ok(false), |condition| condition.evaluate_layers(layers))
}

fn denied(rule: &Rule, layers: &[&Facts]) -> Denial {
    let because = rule.because(layers);
    let because = if because.is_empty() { String::new() } else { format!(": {because}") };
    Denial {
        rule: Some(Arc::clone(&rule.name)),
        why: format!("rule \"{}\" denies this{because}", rule.name),
        hint: "change the request, or ask for an exemption from the rule".to_owned(),
    }
}

fn unevaluated(rule: &Rule, error: &str) -> Denial {
    Denial {
        rule: Some(Arc::clone(&rule.name)),
        why: format!("rule \"{}\" cannot be checked, so this is refused: {error}", rule.name),
        hint: "ask whoever writes the rules to make its condition hold or not for every request".to_owned(),
    }
}
