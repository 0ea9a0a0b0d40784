//! The facts that every protocol has: who asks, what is asked, and how the result grows.

use model::{Fact, FactKind, FactValue, Facts, Phase, Principal, Target};

const fn fact(name: &'static str, kind: FactKind, phase: Phase, help: &'static str) -> Fact {
    Fact { name, kind, phase, help }
}

/// Facts that rules may mention whatever the protocol. `identity.*` and `target.*` are filled in by
/// [`Policy::admit`](crate::Policy::admit); `session.*` and `result.*` by the caller, with each request.
pub const FACTS: &[Fact] = &[
    fact("identity.name", FactKind::Text, Phase::Session, "the identity's name in the manifest"),
    fact("identity.groups", FactKind::Texts, Phase::Session, "the groups the identity belongs to"),
    fact("identity.issuer", FactKind::Text, Phase::Session, "the token's issuer; empty for a static token"),
    fact("identity.subject", FactKind::Text, Phase::Session, "the token's subject; empty for a static token"),
    fact("target.name", FactKind::Text, Phase::Session, "the target's name in the manifest"),
    fact("target.protocol", FactKind::Text, Phase::Session, "the protocol the target speaks"),
    fact("target.database", FactKind::Text, Phase::Session, "the database the client asked for"),
    fact("target.labels", FactKind::TextMap, Phase::Session, "the target's labels, such as target.labels.env"),
    fact("session.seconds", FactKind::Int, Phase::Statement, "how long the session has lasted, in seconds"),
    fact("result.rows", FactKind::Int, Phase::Result, "rows of the result so far"),
    fact("result.bytes", FactKind::Int, Phase::Result, "bytes of the result's values so far"),
    fact("result.masked", FactKind::Bool, Phase::Result, "whether a value of the result has been masked so far"),
];

/// The facts that stay the same for a whole session.
pub(crate) fn of_session(principal: &Principal, target: &Target) -> Facts {
    let text = |value: &str| FactValue::Text(value.into());
    let mut facts = Facts::new();
    facts.set("identity.name", text(&principal.identity));
    facts
        .set("identity.groups", FactValue::Texts(principal.groups.iter().map(|group| group.as_str().into()).collect()));
    facts.set("identity.issuer", text(principal.issuer.as_deref().unwrap_or_default()));
    facts.set("identity.subject", text(principal.subject.as_deref().unwrap_or_default()));
    facts.set("target.name", text(&target.name));
    facts.set("target.protocol", text(&target.protocol));
    facts.set("target.database", text(&target.database));
    facts.set("target.labels", FactValue::TextMap(target.labels.clone().into()));
    facts
}

/// Most characters of one value that a message repeats.
const SHOWN_CHARACTERS: usize = 60;
/// Most elements of one list that a message repeats.
const SHOWN_ELEMENTS: usize = 4;

/// The beginning of a text that came from outside, in quotes and on one line.
pub(crate) fn excerpt(text: &str) -> String {
    let start: String = text.chars().take(SHOWN_CHARACTERS).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let more = if text.chars().nth(SHOWN_CHARACTERS).is_some() { "…" } else { "" };
    format!("\"{start}{more}\"")
}

/// A fact's value as a message shows it, shortened.
pub(crate) fn shown(value: &FactValue) -> String {
    match value {
        FactValue::Bool(value) => value.to_string(),
        FactValue::Int(value) => value.to_string(),
        FactValue::Text(text) => excerpt(text),
        FactValue::Texts(texts) => {
            let mut list: Vec<String> = texts.iter().take(SHOWN_ELEMENTS).map(|text| excerpt(text)).collect();
            if texts.len() > SHOWN_ELEMENTS {
                list.push(format!("{} more", texts.len() - SHOWN_ELEMENTS));
            }
            format!("[{}]", list.join(", "))
        }
        FactValue::TextMap(labels) => {
            let pairs = labels.iter().take(SHOWN_ELEMENTS).map(|(key, value)| format!("{key}: {}", excerpt(value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        }
    }
}
