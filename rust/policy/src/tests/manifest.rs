//! Mistakes in rules: which are told, where, and with what hint.

use super::*;

fn told(rules: Json) -> Vec<Mistake> {
    crate::check(settings(rules).to_string().as_bytes(), &VOCABULARIES)
}

#[test]
fn each_mistake_is_told_with_its_place() {
    let good = json!({"name": "ok", "allow": ["read"]});
    let hold = |when: &str| json!({"name": "x", "hold": {"when": when, "reviewers": ["dba"]}});
    for (rule, path, message, hint) in [
        (json!({"name": "x"}), json!([]), "does nothing", "`allow`"),
        (json!({"name": "x", "allow": ["read"], "deny": "true"}), json!([]), "several things", "another rule"),
        (json!({"name": "", "allow": ["read"]}), json!(["name"]), "needs a name", "clients"),
        (json!({"name": "ok", "allow": ["read"]}), json!(["name"]), "two rules \"ok\"", "rule 1"),
        (json!({"allow": ["read"]}), json!([]), "missing field `name`", ""),
        (json!({"name": "x", "allow": ["read"], "budget": 1}), json!([]), "unknown field `budget`", ""),
        (json!({"name": "x", "allow": "read"}), json!([]), "invalid type", ""),
        (json!(["x"]), json!([]), "cannot be read", ""),
        (json!({"name": "x", "allow": []}), json!(["allow"]), "empty", "[read]"),
        (json!({"name": "x", "allow": ["raed"]}), json!(["allow", 0]), "no preset `raed`", "did you mean `read`"),
        (json!({"name": "x", "allow": ["read", "all"]}), json!(["allow", 1]), "no preset `all`", ""),
        (json!({"name": "x", "allow": ["read"], "reveal": ["emial"]}), json!(["reveal", 0]), "no class", "`email`"),
        (
            json!({"name": "x", "to": ["lab"], "allow": ["read"], "as": "migrator"}),
            json!(["as"]),
            "lab has no credential",
            "default",
        ),
        (
            json!({"name": "x", "allow": ["read"], "functions": ["a b"]}),
            json!(["functions", 0]),
            "no function",
            "schema",
        ),
        (json!({"name": "x", "deny": "true", "reveal": ["email"]}), json!(["reveal"]), "`allow` only", "move"),
        (json!({"name": "x", "deny": "true", "as": "default"}), json!(["as"]), "`allow` only", "move"),
        (json!({"name": "x", "deny": "sql.knd == 'x'"}), json!(["deny"]), "no fact `sql.knd`", "`sql.kind`"),
        (json!({"name": "x", "deny": "sql.kind"}), json!(["deny"]), "true or false", "sql.kind =="),
        (hold("result.row > 5"), json!(["hold", "when"]), "no fact", "`result.rows`"),
        (hold("sql.destructive && ssh.command == ''"), json!([]), "several protocols", "each protocol"),
        (json!({"name": "x", "hold": {"when": "true", "reviewers": []}}), json!(["hold", "reviewers"]), "empty", ""),
        (json!({"name": "x", "hold": {"when": "true"}}), json!([]), "missing field `reviewers`", ""),
        (
            json!({"name": "x", "hold": {"when": "true", "reviewers": ["a"], "expires_seconds": 0}}),
            json!(["hold", "expires_seconds"]),
            "30 days",
            "15m",
        ),
        (
            json!({"name": "x", "hold": {"when": "true", "reviewers": ["a"], "in_transaction": "perhaps"}}),
            json!([]),
            "unknown variant `perhaps`",
            "",
        ),
        (json!({"name": "x", "who": [], "allow": ["read"]}), json!(["who"]), "nobody", "leave it out"),
        (json!({"name": "x", "to": [], "allow": ["read"]}), json!(["to"]), "no target", "leave it out"),
        (json!({"name": "x", "who": ["team:a"], "allow": ["read"]}), json!(["who", 0]), "does not say who", "group:"),
        (json!({"name": "x", "except": ["env:prod"], "deny": "true"}), json!(["except", 0]), "does not say who", ""),
        (json!({"name": "x", "who": ["agnet"], "deny": "true"}), json!(["who", 0]), "no identity `agnet`", "`agent`"),
        (json!({"name": "x", "who": ["group:x"], "deny": "true"}), json!(["who", 0]), "in the group `x`", ""),
        (json!({"name": "x", "to": ["shp"], "deny": "true"}), json!(["to", 0]), "no target `shp`", "`shop`"),
        (json!({"name": "x", "to": ["env:prd"], "deny": "true"}), json!(["to", 0]), "label `env:prd`", "`env:prod`"),
    ] {
        let mistakes = told(json!([good, rule]));
        let [mistake] = &mistakes[..] else { panic!("{rule}: {mistakes:?}") };
        let mut place = vec![json!("rules"), json!(1)];
        place.extend(path.as_array().into_iter().flatten().cloned());
        assert_eq!(json!(mistake)["where"], json!(place), "{rule}: {mistake:?}");
        assert!(mistake.message.contains(message) && mistake.hint.contains(hint), "{rule}: {mistake:?}");
        assert_eq!(mistake.level, Level::Error, "{rule}");
        assert!(load(json!([good, rule])).is_err());
    }
}

#[test]
fn a_selector_that_selects_nothing_is_a_warning_where_it_only_closes() {
    for rule in [
        json!({"name": "x", "who": ["agnet"], "allow": ["read"]}),
        json!({"name": "x", "who": ["group:ghosts"], "allow": ["read"]}),
        json!({"name": "x", "to": ["env:none"], "allow": ["read"]}),
        json!({"name": "x", "except": ["group:ghosts"], "deny": "false"}),
    ] {
        let mistakes = told(json!([{"name": "ok", "allow": ["read"]}, rule]));
        assert_eq!(mistakes.iter().map(|one| one.level).collect::<Vec<_>>(), [Level::Warning], "{mistakes:?}");
    }
    let idle = load(json!([])).expect("no rules are no error");
    assert!(idle.warnings()[0].message.contains("nobody can connect"));
}

#[test]
fn reviewers_and_issuers_are_checked_where_they_are_given() {
    let mut whole = settings(json!([
        {"name": "ok", "who": ["issuer:githb"], "allow": ["read"]},
        {"name": "h", "hold": {"when": "true", "reviewers": ["dab"]}},
    ]));
    let check = |whole: &Json| crate::check(whole.to_string().as_bytes(), &VOCABULARIES);
    assert_eq!(check(&whole), []);
    whole["reviewers"] = json!([{"name": "dba", "members": []}]);
    whole["issuers"] = json!([{"name": "github"}]);
    let mistakes = check(&whole);
    assert_eq!(mistakes.len(), 2, "{mistakes:?}");
    assert!(mistakes[0].hint.contains("`github`") && mistakes[1].hint.contains("`dba`"));
}

#[test]
fn all_mistakes_are_told_at_once_and_settings_are_whole() {
    let mistakes = told(json!([
        {"name": "a", "allow": ["raed"], "reveal": ["nothing"], "who": ["nobody:x"]},
        {"name": "a", "deny": "sql.knd == 1 || foo"},
        7,
    ]));
    assert_eq!(mistakes.iter().filter(|one| one.level == Level::Error).count(), 7, "{mistakes:#?}");
    assert_eq!(json!(mistakes[4])["offset"], 3);
    for broken in ["", "{", "[]", "7", "{\"rules\": 7}", "{\"targets\": [{\"name\": 1}]}"] {
        assert_eq!(crate::check(broken.as_bytes(), &VOCABULARIES).len(), 1, "{broken}");
        assert!(Policy::load(broken.as_bytes(), &VOCABULARIES).is_err(), "{broken}");
    }
    let unknown =
        crate::check(settings(json!([{"name": "a", "allow": ["read"]}])).to_string().as_bytes(), &VOCABULARIES[..1]);
    assert!(unknown[0].message.contains("does not speak `ssh`"), "{unknown:?}");
}
