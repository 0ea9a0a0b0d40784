//! One compiled rule: whom and what it is about, and what it does.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use model::{Facts, Phase, Principal, Target};
use serde::Deserialize;

use crate::expression::Expression;
use crate::facts::shown;
use crate::rights::Rights;

/// One compiled rule.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) name: Arc<str>,
    pub(crate) who: Option<Vec<Who>>,
    pub(crate) to: Option<Vec<To>>,
    pub(crate) except: Vec<Who>,
    /// The protocols that declare every fact it mentions; `None` if it mentions only what all have.
    pub(crate) protocols: Option<Vec<String>>,
    pub(crate) effect: Effect,
}

/// What a rule does.
#[derive(Debug)]
pub(crate) enum Effect {
    Allow(Allow),
    Deny(Expression),
    Hold(Expression, Arc<HoldTerms>),
}

/// What an allow rule gives.
#[derive(Debug)]
pub(crate) struct Allow {
    pub(crate) rights: Rights,
    pub(crate) functions: Vec<Named>,
    pub(crate) reveal: BTreeSet<String>,
    pub(crate) credential: Option<Arc<str>>,
}

/// On what terms a hold rule holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct HoldTerms {
    pub(crate) reviewers: Vec<String>,
    pub(crate) expires: Duration,
    pub(crate) in_transaction: InTransaction,
}

/// What to do with a held request inside a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InTransaction {
    /// Wait if nothing was written in the transaction, else refuse: the manifest says nothing else.
    #[default]
    #[serde(skip)]
    WaitUnlessWritten,
    /// Wait.
    Wait,
    /// Refuse.
    Refuse,
}

impl InTransaction {
    pub(crate) fn stricter(self, other: Self) -> Self {
        match (self, other) {
            (Self::Refuse, _) | (_, Self::Refuse) => Self::Refuse,
            (Self::Wait, other) => other,
            (one, _) => one,
        }
    }
}

/// An entry of `who` or `except`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Who {
    Identity(String),
    Group(String),
    Issuer(String),
}

impl Who {
    fn names(&self, principal: &Principal) -> bool {
        match self {
            Self::Identity(name) => principal.identity == *name,
            Self::Group(name) => principal.groups.contains(name),
            Self::Issuer(name) => principal.issuer.as_ref() == Some(name),
        }
    }
}

/// An entry of `to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum To {
    Target(String),
    Label(String, String),
}

impl To {
    pub(crate) fn names(&self, name: &str, labels: &std::collections::BTreeMap<String, String>) -> bool {
        match self {
            Self::Target(one) => one == name,
            Self::Label(label, value) => labels.get(label) == Some(value),
        }
    }
}

/// An entry of `functions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Named {
    /// `*`: all.
    All,
    /// `schema.*`: all of one schema.
    Schema(String),
    /// `schema.name` or `name`.
    One(String),
}

impl Named {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let plain = |text: &str| !text.is_empty() && !text.contains(['*', '(', ')', ' ']);
        match text {
            "*" => Some(Self::All),
            text => match text.strip_suffix(".*") {
                Some(schema) => plain(schema).then(|| Self::Schema(schema.to_owned())),
                None => plain(text).then(|| Self::One(text.to_owned())),
            },
        }
    }

    /// Whether it names `function`. A name without a schema also names the function of `pg_catalog`, where the name
    /// leads unless a search path puts another schema before it; it never names one of a schema written out.
    pub(crate) fn names(&self, function: &str) -> bool {
        match self {
            Self::All => true,
            Self::Schema(schema) => {
                function.strip_prefix(schema.as_str()).is_some_and(|rest| rest.starts_with('.') && rest.len() > 1)
            }
            Self::One(name) => {
                function == name || function.strip_prefix("pg_catalog.").is_some_and(|bare| bare == name)
            }
        }
    }

    /// As the manifest writes it.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::All => "*".to_owned(),
            Self::Schema(schema) => format!("{schema}.*"),
            Self::One(name) => name.clone(),
        }
    }
}

impl Rule {
    /// Why the rule is not about this session; `None` if it is.
    pub(crate) fn misses(&self, principal: &Principal, target: &Target) -> Option<String> {
        if self.who.as_ref().is_some_and(|who| !who.iter().any(|one| one.names(principal))) {
            return Some(format!("`who` does not name {}", principal.identity));
        }
        if self.except.iter().any(|one| one.names(principal)) {
            return Some(format!("`except` names {}", principal.identity));
        }
        if self.to.as_ref().is_some_and(|to| !to.iter().any(|one| one.names(&target.name, &target.labels))) {
            return Some(format!("`to` does not name {}", target.name));
        }
        let protocols = self.protocols.as_ref()?;
        let foreign = !protocols.contains(&target.protocol);
        foreign.then(|| format!("it mentions facts that {} does not have", target.protocol))
    }

    /// The condition, unless the rule allows.
    pub(crate) const fn condition(&self) -> Option<&Expression> {
        match &self.effect {
            Effect::Allow(_) => None,
            Effect::Deny(condition) | Effect::Hold(condition, _) => Some(condition),
        }
    }

    /// Whether it is checked while the result streams.
    pub(crate) fn is_about_results(&self) -> bool {
        self.condition().is_some_and(|condition| condition.phase() == Phase::Result)
    }

    /// `allow`, `deny` or `hold`.
    pub(crate) const fn verb(&self) -> &'static str {
        match self.effect {
            Effect::Allow(_) => "allow",
            Effect::Deny(_) => "deny",
            Effect::Hold(..) => "hold",
        }
    }

    /// The values of the facts that the condition mentions: those of the request, else those of the session.
    pub(crate) fn because(&self, layers: &[&Facts]) -> String {
        let mentions = self.condition().map_or(&[][..], Expression::mentions);
        let told = |session: bool| {
            let facts = mentions.iter().filter(|fact| (fact.phase == Phase::Session) == session);
            let known = |name: &str| layers.iter().find_map(|facts| facts.get(name)).map(shown);
            let told = facts.filter_map(|fact| known(fact.name).map(|value| format!("{} is {value}", fact.name)));
            told.take(6).collect::<Vec<_>>().join(", ")
        };
        let of_request = told(false);
        if of_request.is_empty() { told(true) } else { of_request }
    }
}
