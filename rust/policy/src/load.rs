//! Turns the rules as written into compiled ones, telling every mistake at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use model::Fact;

use crate::expression::{Expression, Scope};
use crate::facts::FACTS;
use crate::manifest::{HoldText, Level, Mistake, Mode, RuleText, Settings, Step};
use crate::rights::Rights;
use crate::rule::{Allow, Effect, HoldTerms, Named, Rule, To, Who};
use crate::suggest;

/// How long reviewers have if the rule does not say, in seconds.
const EXPIRES: u64 = 15 * 60;
/// The longest they can have, in seconds.
const LONGEST: u64 = 30 * 24 * 60 * 60;

/// A protocol and the facts that its targets add to [`FACTS`](crate::FACTS).
#[derive(Debug, Clone, Copy)]
pub struct Vocabulary<'a> {
    /// The protocol's name, as in a target's `protocol`.
    pub protocol: &'a str,
    /// Its facts.
    pub facts: &'a [Fact],
}

/// What loading comes to.
pub(crate) struct Loaded {
    pub(crate) rules: Vec<Arc<Rule>>,
    pub(crate) observed_targets: BTreeSet<String>,
    pub(crate) observed_identities: BTreeSet<String>,
    pub(crate) mistakes: Vec<Mistake>,
}

/// Reads the settings' JSON and compiles its rules.
pub(crate) fn load(settings: &[u8], vocabularies: &[Vocabulary<'_>]) -> Loaded {
    let mut loaded = Loaded {
        rules: Vec::new(),
        observed_targets: BTreeSet::new(),
        observed_identities: BTreeSet::new(),
        mistakes: Vec::new(),
    };
    let settings: Settings = match serde_json::from_slice(settings) {
        Ok(settings) => settings,
        Err(error) => {
            loaded.mistakes.push(Mistake {
                path: Vec::new(),
                message: format!("the settings cannot be read: {error}"),
                hint: "this is the gateway's own mistake: please report it".to_owned(),
                level: Level::Error,
                offset: None,
            });
            return loaded;
        }
    };
    let mut loader = Loader::new(&settings, vocabularies);
    loader.protocols_known();
    loaded.rules = loader.rules();
    loaded.mistakes = loader.mistakes;
    let observed = |mode: Mode| mode == Mode::Observe;
    loaded.observed_targets =
        settings.targets.iter().filter(|one| observed(one.mode)).map(|one| one.name.clone()).collect();
    loaded.observed_identities =
        settings.identities.iter().filter(|one| observed(one.mode)).map(|one| one.name.clone()).collect();
    loaded
}

struct Loader<'a> {
    settings: &'a Settings,
    vocabularies: &'a [Vocabulary<'a>],
    scope: Scope,
    mistakes: Vec<Mistake>,
    /// The rule at hand: its place in the list.
    place: usize,
    /// Whether a selector that selects nothing makes the rule at hand weaker than it was meant to be.
    restricts: bool,
}

impl<'a> Loader<'a> {
    fn new(settings: &'a Settings, vocabularies: &'a [Vocabulary<'a>]) -> Self {
        let facts = vocabularies.iter().flat_map(|vocabulary| vocabulary.facts);
        let scope = Scope::rule(FACTS.iter().chain(facts).copied());
        Self { settings, vocabularies, scope, mistakes: Vec::new(), place: 0, restricts: false }
    }

    fn note(&mut self, level: Level, below: &[Step], message: impl Into<String>, hint: impl Into<String>) {
        let mut path = vec![Step::Key("rules"), Step::Place(self.place)];
        path.extend_from_slice(below);
        self.mistakes.push(Mistake { path, message: message.into(), hint: hint.into(), level, offset: None });
    }

    fn wrong(&mut self, below: &[Step], message: impl Into<String>, hint: impl Into<String>) {
        self.note(Level::Error, below, message, hint);
    }

    /// A target whose protocol declares no facts would slip past every rule that mentions one.
    fn protocols_known(&mut self) {
        let known = self.vocabularies.iter().map(|one| one.protocol);
        for (place, target) in self.settings.targets.iter().enumerate() {
            if !known.clone().any(|protocol| protocol == target.protocol) {
                self.mistakes.push(Mistake {
                    path: vec![Step::Key("targets"), Step::Place(place), Step::Key("protocol")],
                    message: format!("this gateway does not speak `{}`", target.protocol),
                    hint: suggest::hint(&target.protocol, known.clone()),
                    level: Level::Error,
                    offset: None,
                });
            }
        }
    }

    fn rules(&mut self) -> Vec<Arc<Rule>> {
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        let mut rules = Vec::with_capacity(self.settings.rules.len());
        for (place, json) in self.settings.rules.iter().enumerate() {
            self.place = place;
            let text: RuleText = match serde_json::from_value(json.clone()) {
                Ok(text) => text,
                Err(error) => {
                    self.wrong(
                        &[],
                        format!("the rule cannot be read: {error}"),
                        "a rule has `name`, `who`, `to`, `except`, and one of `allow`, `deny` and `hold`",
                    );
                    continue;
                }
            };
            if text.name.trim().is_empty() {
                self.wrong(
                    &[Step::Key("name")],
                    "a rule needs a name",
                    "say what it is for: clients it refuses read it",
                );
            } else if let Some(first) = names.insert(text.name.clone(), place) {
                let message = format!("there are two rules \"{}\"", text.name);
                self.wrong(&[Step::Key("name")], message, format!("the other is rule {} of the list", first + 1));
            }
            rules.extend(self.rule(text).map(Arc::new));
        }
        if !rules.iter().any(|rule| matches!(rule.effect, Effect::Allow(_))) && self.mistakes.is_empty() {
            self.mistakes.push(Mistake {
                path: vec![Step::Key("rules")],
                message: "no rule allows anything, so nobody can connect".to_owned(),
                hint: "add a rule such as {name: everybody reads, allow: [read]}".to_owned(),
                level: Level::Warning,
                offset: None,
            });
        }
        rules
    }

    fn rule(&mut self, text: RuleText) -> Option<Rule> {
        self.restricts = text.allow.is_none();
        let to = self.targets(text.to.as_deref());
        let who = text.who.as_deref().map(|entries| self.people("who", entries));
        // An exemption that exempts nobody leaves the rule as strict as it is: no danger.
        let restricts = std::mem::replace(&mut self.restricts, false);
        let except = text.except.as_deref().map(|entries| self.people("except", entries)).unwrap_or_default();
        self.restricts = restricts;
        let effect = self.effect(&text, to.as_deref())?;
        let mentions = match &effect {
            Effect::Allow(_) => &[][..],
            Effect::Deny(condition) | Effect::Hold(condition, _) => condition.mentions(),
        };
        let protocols = self.protocols(mentions);
        if protocols.as_ref().is_some_and(Vec::is_empty) {
            let message = "the condition mentions facts of several protocols, so it is never about any target";
            self.wrong(&[], message, "write one rule for each protocol");
        }
        Some(Rule { name: text.name.into(), who, to, except, protocols, effect })
    }

    fn effect(&mut self, text: &RuleText, to: Option<&[To]>) -> Option<Effect> {
        if text.allow.is_none() {
            let given = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
            let only = [
                ("functions", given(&text.functions)),
                ("reveal", given(&text.reveal)),
                ("as", text.credential.is_some()),
            ];
            for (key, _) in only.into_iter().filter(|(_, given)| *given) {
                self.wrong(
                    &[Step::Key(key)],
                    format!("`{key}` goes with `allow` only"),
                    "move it to a rule that allows",
                );
            }
        }
        match (&text.allow, &text.deny, &text.hold) {
            (Some(presets), None, None) => Some(Effect::Allow(self.allow(text, presets, to))),
            (None, Some(source), None) => self.condition(&[Step::Key("deny")], source).map(Effect::Deny),
            (None, None, Some(hold)) => {
                let terms = self.terms(hold);
                let condition = self.condition(&[Step::Key("hold"), Step::Key("when")], &hold.when)?;
                Some(Effect::Hold(condition, Arc::new(terms)))
            }
            (None, None, None) => {
                self.wrong(&[], "the rule does nothing", "add one of `allow`, `deny` and `hold`");
                None
            }
            _ => {
                let hint = "keep one of `allow`, `deny` and `hold`, and write another rule for each other";
                self.wrong(&[], "the rule does several things", hint);
                None
            }
        }
    }

    fn condition(&mut self, path: &[Step], source: &str) -> Option<Expression> {
        match Expression::compile(source, &self.scope) {
            Ok(expression) => Some(expression),
            Err(problems) => {
                for problem in problems {
                    self.wrong(path, problem.message, problem.hint);
                    if let Some(last) = self.mistakes.last_mut() {
                        last.offset = Some(problem.offset);
                    }
                }
                None
            }
        }
    }

    fn allow(&mut self, text: &RuleText, presets: &[String], to: Option<&[To]>) -> Allow {
        let mut rights = Rights::NONE;
        if presets.is_empty() {
            self.wrong(&[Step::Key("allow")], "`allow` is empty", "name presets, such as [read]");
        }
        for (place, name) in presets.iter().enumerate() {
            match Rights::preset(name) {
                Some(preset) => rights |= preset,
                None => {
                    let path = [Step::Key("allow"), Step::Place(place)];
                    self.wrong(&path, format!("there is no preset `{name}`"), suggest::hint(name, Rights::presets()));
                }
            }
        }
        let mut functions = Vec::new();
        for (place, name) in text.functions.iter().flatten().enumerate() {
            match Named::parse(name) {
                Some(named) => functions.push(named),
                None => {
                    let path = [Step::Key("functions"), Step::Place(place)];
                    self.wrong(
                        &path,
                        format!("`{name}` names no function"),
                        "write `name`, `schema.name` or `schema.*`",
                    );
                }
            }
        }
        let classes = self.settings.classes.iter().map(|class| class.name.as_str());
        for (place, name) in text.reveal.iter().flatten().enumerate() {
            if !classes.clone().any(|known| known == name) {
                let path = [Step::Key("reveal"), Step::Place(place)];
                self.wrong(&path, format!("there is no class `{name}`"), suggest::hint(name, classes.clone()));
            }
        }
        self.credential(text.credential.as_deref(), to);
        let reveal = text.reveal.iter().flatten().cloned().collect();
        Allow { rights, functions, reveal, credential: text.credential.as_deref().map(Arc::from) }
    }

    /// Every target that the rule is about must have the credential that `as` names.
    fn credential(&mut self, name: Option<&str>, to: Option<&[To]>) {
        let Some(name) = name else { return };
        let about = |one: &To, target: &crate::manifest::TargetPart| one.names(&target.name, &target.labels);
        let targets = self.settings.targets.iter();
        let targets = targets.filter(|target| to.is_none_or(|to| to.iter().any(|one| about(one, target))));
        for target in targets {
            if !target.credentials.contains_key(name) {
                let message = format!("target {} has no credential `{name}`", target.name);
                let known = target.credentials.keys().map(String::as_str);
                self.wrong(&[Step::Key("as")], message, suggest::hint(name, known));
            }
        }
    }

    fn terms(&mut self, hold: &HoldText) -> HoldTerms {
        let below = |key| [Step::Key("hold"), Step::Key(key)];
        if hold.reviewers.is_empty() {
            self.wrong(&below("reviewers"), "nobody can approve: `reviewers` is empty", "name a circle of reviewers");
        }
        if let Some(known) = &self.settings.reviewers {
            let known = known.iter().map(|reviewers| reviewers.name.as_str());
            for (place, name) in hold.reviewers.iter().enumerate() {
                if !known.clone().any(|one| one == name) {
                    let path = [Step::Key("hold"), Step::Key("reviewers"), Step::Place(place)];
                    self.wrong(&path, format!("there are no reviewers `{name}`"), suggest::hint(name, known.clone()));
                }
            }
        }
        let seconds = hold.expires_seconds.unwrap_or(EXPIRES);
        if seconds == 0 || seconds > LONGEST {
            self.wrong(&below("expires_seconds"), "reviewers have between 1 second and 30 days", "for example 15m");
        }
        HoldTerms {
            reviewers: hold.reviewers.clone(),
            expires: Duration::from_secs(seconds.min(LONGEST)),
            in_transaction: hold.in_transaction.unwrap_or_default(),
        }
    }

    fn people(&mut self, key: &'static str, entries: &[String]) -> Vec<Who> {
        if entries.is_empty() && key == "who" {
            self.wrong(&[Step::Key(key)], "an empty `who` is nobody", "leave it out to mean everybody");
        }
        let settings = self.settings;
        let mut people = Vec::with_capacity(entries.len());
        for (place, entry) in entries.iter().enumerate() {
            let path = [Step::Key(key), Step::Place(place)];
            match entry.split_once(':') {
                Some(("group", group)) => {
                    let groups = settings.identities.iter().flat_map(|one| &one.groups).map(String::as_str);
                    self.known(&path, "no identity is in the group", group, groups);
                    people.push(Who::Group(group.to_owned()));
                }
                Some(("issuer", issuer)) => {
                    if let Some(issuers) = &settings.issuers {
                        let names = issuers.iter().map(|one| one.name.as_str());
                        self.known(&path, "there is no issuer", issuer, names);
                    }
                    people.push(Who::Issuer(issuer.to_owned()));
                }
                Some((other, _)) => {
                    let hint = "write an identity's name, `group:name` or `issuer:name`";
                    self.wrong(&path, format!("`{other}:` does not say who"), hint);
                }
                None => {
                    let names = settings.identities.iter().map(|one| one.name.as_str());
                    self.known(&path, "there is no identity", entry, names);
                    people.push(Who::Identity(entry.clone()));
                }
            }
        }
        people
    }

    fn targets(&mut self, entries: Option<&[String]>) -> Option<Vec<To>> {
        let entries = entries?;
        if entries.is_empty() {
            self.wrong(&[Step::Key("to")], "an empty `to` is no target", "leave it out to mean all");
        }
        let settings = self.settings;
        let mut targets = Vec::with_capacity(entries.len());
        for (place, entry) in entries.iter().enumerate() {
            let path = [Step::Key("to"), Step::Place(place)];
            let Some((label, value)) = entry.split_once(':') else {
                self.known(&path, "there is no target", entry, settings.targets.iter().map(|one| one.name.as_str()));
                targets.push(To::Target(entry.clone()));
                continue;
            };
            let pairs: Vec<String> = settings
                .targets
                .iter()
                .flat_map(|one| &one.labels)
                .map(|(key, value)| format!("{key}:{value}"))
                .collect();
            self.known(&path, "no target has the label", entry, pairs.iter().map(String::as_str));
            targets.push(To::Label(label.to_owned(), value.to_owned()));
        }
        Some(targets)
    }

    /// A selector that selects nothing makes an allow rule idle, which is safe and may be meant. A rule that denies or
    /// holds would be open because of it.
    fn known<'b>(&mut self, path: &[Step], what: &str, name: &str, known: impl Iterator<Item = &'b str> + Clone) {
        if known.clone().any(|one| one == name) {
            return;
        }
        let level = if self.restricts { Level::Error } else { Level::Warning };
        let distinct: BTreeSet<&str> = known.collect();
        self.note(level, path, format!("{what} `{name}`"), suggest::hint(name, distinct.iter().copied()));
    }

    /// The protocols that declare every fact mentioned; `None` if all have them.
    fn protocols(&self, mentions: &[Fact]) -> Option<Vec<String>> {
        let common = |fact: &Fact| FACTS.iter().any(|known| known.name == fact.name);
        let special: Vec<&Fact> = mentions.iter().filter(|fact| !common(fact)).collect();
        if special.is_empty() {
            return None;
        }
        let has = |vocabulary: &Vocabulary<'_>, name| vocabulary.facts.iter().any(|fact| fact.name == name);
        let declares = |vocabulary: &&Vocabulary<'_>| special.iter().all(|fact| has(vocabulary, fact.name));
        Some(self.vocabularies.iter().filter(declares).map(|one| one.protocol.to_owned()).collect())
    }
}
