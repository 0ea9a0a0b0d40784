//! All rules together, and what they mean for one session.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::{Fault, FaultKind, Principal, Target, Whose};
use serde_json::{Value as Json, json};

use crate::admission::Admission;
use crate::load::{self, Vocabulary};
use crate::manifest::{Level, Mistake};
use crate::rule::{Effect, Rule};

/// All rules, compiled. Cheap to clone and to share between threads.
#[derive(Debug, Clone)]
pub struct Policy(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    rules: Vec<Arc<Rule>>,
    protocols: BTreeSet<String>,
    observed_targets: BTreeSet<String>,
    observed_identities: BTreeSet<String>,
    warnings: Vec<Mistake>,
}

impl Policy {
    /// Compiles the rules of the settings' JSON, over the facts that every protocol has and those of `vocabularies`.
    ///
    /// # Errors
    /// Every mistake found, warnings among them; at least one is an error.
    pub fn load(settings: &[u8], vocabularies: &[Vocabulary<'_>]) -> Result<Self, Vec<Mistake>> {
        let loaded = load::load(settings, vocabularies);
        if loaded.mistakes.iter().any(|mistake| mistake.level == Level::Error) {
            return Err(loaded.mistakes);
        }
        Ok(Self(Arc::new(Inner {
            rules: loaded.rules,
            protocols: vocabularies.iter().map(|one| one.protocol.to_owned()).collect(),
            observed_targets: loaded.observed_targets,
            observed_identities: loaded.observed_identities,
            warnings: loaded.mistakes,
        })))
    }

    /// Mistakes that do not keep the rules from being used.
    #[must_use]
    pub fn warnings(&self) -> &[Mistake] {
        &self.0.warnings
    }

    /// What the rules mean for a session of `principal` with `target`.
    ///
    /// # Errors
    /// No rule allows it anything, and neither of the two is only observed. Or the target's protocol declares no facts,
    /// so that the rules that mention some would say nothing.
    pub fn admit(&self, principal: &Principal, target: &Target) -> Result<Admission, Fault> {
        if !self.0.protocols.contains(&target.protocol) {
            let message = format!("the rules know no protocol `{}`, which {} speaks", target.protocol, target.name);
            return Err(Fault::new(Whose::Gateway, FaultKind::Internal, message));
        }
        let observe = self.observes(principal, target);
        let applicable = self.0.rules.iter().filter(|rule| rule.misses(principal, target).is_none());
        let applicable: Vec<Arc<Rule>> = applicable.cloned().collect();
        if !observe && !applicable.iter().any(|rule| matches!(rule.effect, Effect::Allow(_))) {
            let message = format!("no rule allows {} to reach {}", principal.identity, target.name);
            let hint = "ask for a rule with `allow` whose `who` and `to` name them";
            return Err(Fault::new(Whose::Policy, FaultKind::Denied, message).hint(hint));
        }
        Ok(Admission::new(self.clone(), principal.clone(), target.clone(), applicable, observe))
    }

    /// Every rule, and whether it is about such a session or why not: what `penstock explain` shows where
    /// [`Self::admit`] refuses. An array of objects with `name`, `effect`, `applies` and, if it does not, `because`.
    #[must_use]
    pub fn explain(&self, principal: &Principal, target: &Target) -> Json {
        let told = |rule: &Arc<Rule>| {
            let mut told = json!({"name": &*rule.name, "effect": rule.verb()});
            let misses = rule.misses(principal, target);
            told["applies"] = misses.is_none().into();
            if let Some(because) = misses {
                told["because"] = because.into();
            }
            if let Some(condition) = rule.condition() {
                told["condition"] = condition.source().into();
                told["phase"] = if rule.is_about_results() { "result" } else { "statement" }.into();
            }
            told
        };
        self.0.rules.iter().map(told).collect()
    }

    fn observes(&self, principal: &Principal, target: &Target) -> bool {
        self.0.observed_targets.contains(&target.name) || self.0.observed_identities.contains(&principal.identity)
    }
}

/// Every mistake in the rules of the settings' JSON, errors and warnings.
#[must_use]
pub fn check(settings: &[u8], vocabularies: &[Vocabulary<'_>]) -> Vec<Mistake> {
    load::load(settings, vocabularies).mistakes
}
