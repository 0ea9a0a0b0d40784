//! Random rule sets against a slow reference that reads the manifest's words literally.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
struct Drawn {
    who: Option<Vec<&'static str>>,
    to: Option<Vec<&'static str>>,
    except: Vec<&'static str>,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    Allow(Vec<&'static str>, Vec<&'static str>),
    Deny(&'static str),
    Hold(&'static str, &'static str),
}

/// Conditions with what they come to for `drop` and `select`; `None` is no result.
const CONDITIONS: [(&str, Option<bool>, Option<bool>); 6] = [
    ("true", Some(true), Some(true)),
    ("false", Some(false), Some(false)),
    ("sql.destructive", Some(true), Some(false)),
    ("sql.kind == 'select'", Some(false), Some(true)),
    ("target.labels.zone == 'x'", None, None),
    ("sql.destructive && 1 / 0 == 1", None, Some(false)),
];

fn rule() -> impl Strategy<Value = Drawn> {
    let people = || prop::sample::subsequence(vec!["nightly", "agent", "group:pipelines", "group:agents"], 1..3);
    let except = prop_oneof![3 => Just(Vec::new()), 1 => people()];
    let targets = prop::sample::subsequence(vec!["shop", "lab", "env:prod", "env:test"], 1..3);
    let presets = prop::sample::subsequence(vec!["read", "write", "ddl", "copy_in", "copy_out", "call"], 1..4);
    let functions = prop::sample::subsequence(vec!["f", "app.g", "app.*", "*"], 0..2);
    let condition = || prop::sample::select(CONDITIONS.iter().map(|(text, ..)| *text).collect::<Vec<_>>());
    let what = prop_oneof![
        3 => (presets, functions).prop_map(|(presets, functions)| What::Allow(presets, functions)),
        1 => condition().prop_map(What::Deny),
        1 => (condition(), prop::sample::select(vec!["dba", "owners"])).prop_map(|(when, who)| What::Hold(when, who)),
    ];
    (prop::option::of(people()), prop::option::of(targets), except, what).prop_map(|(who, to, except, what)| Drawn {
        who,
        to,
        except,
        what,
    })
}

impl Drawn {
    fn json(&self, place: usize) -> Json {
        let mut rule = json!({"name": format!("rule {place}"), "who": self.who, "to": self.to, "except": self.except});
        match &self.what {
            What::Allow(presets, functions) => {
                rule["allow"] = json!(presets);
                rule["functions"] = json!(functions);
            }
            What::Deny(condition) => rule["deny"] = json!(condition),
            What::Hold(when, reviewers) => rule["hold"] = json!({"when": when, "reviewers": [reviewers]}),
        }
        rule
    }

    /// Whether the rule is about `nightly` of `pipelines` on `shop`, which is in production.
    fn applies(&self) -> bool {
        let me = ["nightly", "group:pipelines"];
        let there = ["shop", "env:prod"];
        self.who.as_ref().is_none_or(|who| who.iter().any(|one| me.contains(one)))
            && self.to.as_ref().is_none_or(|to| to.iter().any(|one| there.contains(one)))
            && !self.except.iter().any(|one| me.contains(one))
    }
}

fn comes_to(condition: &str, drop: bool) -> Option<bool> {
    let found = CONDITIONS.iter().find(|(text, ..)| *text == condition)?;
    if drop { found.1 } else { found.2 }
}

/// `deny`, `hold` or `allow` by the words of the contract, or `refused` if not admitted.
fn reference(rules: &[Drawn], needs: &[&str], functions: &[&str], drop: bool) -> &'static str {
    let mine: Vec<&Drawn> = rules.iter().filter(|rule| rule.applies()).collect();
    let allow = || mine.iter().filter_map(|rule| if let What::Allow(p, f) = &rule.what { Some((p, f)) } else { None });
    if allow().next().is_none() {
        return "refused";
    }
    let given = |need: &&str| {
        allow().any(|(presets, _)| presets.contains(need) || (*need == "read" && presets.contains(&"write")))
    };
    let named = |function: &&str| {
        allow()
            .flat_map(|(_, functions)| functions)
            .any(|one| *one == "*" || one == function || (*one == "app.*" && function.starts_with("app.")))
    };
    let mut verdict = if needs.iter().all(given) && functions.iter().all(named) { "allow" } else { "deny" };
    for rule in &mine {
        verdict = match (&rule.what, verdict) {
            (What::Deny(condition), _) if comes_to(condition, drop) != Some(false) => "deny",
            (What::Hold(condition, _), _) if comes_to(condition, drop).is_none() => "deny",
            (What::Hold(condition, _), "allow") if comes_to(condition, drop) == Some(true) => "hold",
            (_, so_far) => so_far,
        };
    }
    verdict
}

fn right(name: &str) -> Rights {
    match name {
        "write" => Rights::WRITE,
        other => Rights::preset(other).expect("a preset"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn deny_beats_hold_beats_allow(
        rules in prop::collection::vec(rule(), 0..8),
        needs in prop::sample::subsequence(vec!["read", "write", "ddl", "copy_in", "copy_out", "call"], 0..3),
        functions in prop::sample::subsequence(vec!["f", "app.g", "app.h", "other.f"], 0..2),
        drop in any::<bool>(),
    ) {
        let listed: Vec<Json> = rules.iter().enumerate().map(|(place, rule)| rule.json(place)).collect();
        let policy = policy(json!(listed));
        let expected = reference(&rules, &needs, &functions, drop);
        let facts = statement(if drop { "drop" } else { "select" });
        let rights = needs.iter().fold(Rights::NONE, |rights, name| rights | right(name));
        let Ok(admission) = policy.admit(&nightly(), &shop()) else {
            prop_assert_eq!(expected, "refused");
            return Ok(());
        };
        let explained = admission.explain(rights, &functions, &facts);
        prop_assert_eq!(&explained["verdict"], expected);
        let verdict = match admission.decide(rights, &functions, &facts) {
            Verdict::Allow(_) => "allow",
            Verdict::Deny(_) => "deny",
            Verdict::Hold(hold) => {
                let mut asked = 1;
                let mut state = hold.approved("somebody");
                while let Approved::Hold(next) = state {
                    asked += 1;
                    state = next.approved("somebody");
                }
                prop_assert!(asked <= 2, "one question for each circle");
                "hold"
            }
        };
        prop_assert_eq!(verdict, expected);
    }

    #[test]
    fn no_settings_panic(text in "\\PC{0,120}", rule in "\\PC{0,60}") {
        let _ = crate::check(text.as_bytes(), &VOCABULARIES);
        let rules = json!([{"name": rule, "who": [rule], "to": [rule], "allow": [rule], "functions": [rule], "as": rule},
                           {"name": "x", "deny": rule, "except": [rule]}]);
        let _ = crate::check(settings(rules).to_string().as_bytes(), &VOCABULARIES);
    }
}
