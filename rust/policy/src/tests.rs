//! What rules mean: who is admitted, what is decided, and which mistakes are told.

mod manifest;
mod properties;

use std::time::Duration;

use model::{Fact, FactKind, FactValue, Facts, Phase, Principal, Target};
use serde_json::{Value as Json, json};

use crate::*;

pub(super) const SQL: &[Fact] = &[
    Fact { name: "sql.kind", kind: FactKind::Text, phase: Phase::Statement, help: "" },
    Fact { name: "sql.tables", kind: FactKind::Texts, phase: Phase::Statement, help: "" },
    Fact { name: "sql.destructive", kind: FactKind::Bool, phase: Phase::Statement, help: "" },
    Fact { name: "sql.server_io", kind: FactKind::Bool, phase: Phase::Statement, help: "" },
];
pub(super) const SSH: &[Fact] =
    &[Fact { name: "ssh.command", kind: FactKind::Text, phase: Phase::Statement, help: "" }];

pub(super) const VOCABULARIES: [Vocabulary<'static>; 2] =
    [Vocabulary { protocol: "postgres", facts: SQL }, Vocabulary { protocol: "ssh", facts: SSH }];

pub(super) fn settings(rules: Json) -> Json {
    json!({
        "version": 1,
        "classes": [{"name": "email", "columns": []}, {"name": "ssn", "columns": []}],
        "targets": [
            {"name": "shop", "protocol": "postgres", "labels": {"env": "prod", "team": "sales"},
             "credentials": {"default": {"user": "ro"}, "migrator": {"user": "rw"}}},
            {"name": "lab", "protocol": "postgres", "labels": {"env": "test"}, "mode": "observe",
             "credentials": {"default": {"user": "ro"}}},
            {"name": "host", "protocol": "ssh", "labels": {"env": "prod"}, "credentials": {"default": {}}},
        ],
        "identities": [
            {"name": "nightly", "groups": ["pipelines"]},
            {"name": "agent", "groups": ["agents"]},
            {"name": "trial", "groups": [], "mode": "observe"},
        ],
        "rules": rules,
    })
}

pub(super) fn load(rules: Json) -> Result<Policy, Vec<Mistake>> {
    Policy::load(settings(rules).to_string().as_bytes(), &VOCABULARIES)
}

pub(super) fn policy(rules: Json) -> Policy {
    load(rules).unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
}

pub(super) fn principal(identity: &str, groups: &[&str]) -> Principal {
    Principal {
        identity: identity.to_owned(),
        issuer: Some("github".to_owned()),
        subject: None,
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        token: None,
    }
}

pub(super) fn nightly() -> Principal {
    principal("nightly", &["pipelines"])
}

pub(super) fn target(name: &str, protocol: &str, env: &str) -> Target {
    Target {
        name: name.to_owned(),
        protocol: protocol.to_owned(),
        database: "shop".to_owned(),
        labels: [("env".to_owned(), env.to_owned())].into(),
    }
}

pub(super) fn shop() -> Target {
    target("shop", "postgres", "prod")
}

pub(super) fn statement(kind: &str) -> Facts {
    let mut facts = Facts::new();
    facts.set("sql.kind", FactValue::Text(kind.into()));
    facts.set("sql.tables", FactValue::Texts([].into()));
    facts.set("sql.destructive", FactValue::Bool(kind == "drop"));
    facts.set("sql.server_io", FactValue::Bool(kind == "copy"));
    facts.set("session.seconds", FactValue::Int(3));
    facts
}

pub(super) fn result(rows: i64) -> Facts {
    let mut facts = statement("select");
    facts.set("result.rows", FactValue::Int(rows));
    facts.set("result.bytes", FactValue::Int(rows * 100));
    facts.set("result.masked", FactValue::Bool(false));
    facts
}

const NONE: [&str; 0] = [];

fn allowed(verdict: Verdict) -> Permit {
    match verdict {
        Verdict::Allow(permit) => permit,
        other => panic!("{other:?}"),
    }
}

fn denied(verdict: Verdict) -> Denial {
    match verdict {
        Verdict::Deny(denial) => denial,
        other => panic!("{other:?}"),
    }
}

fn held(verdict: Verdict) -> Hold {
    match verdict {
        Verdict::Hold(hold) => hold,
        other => panic!("{other:?}"),
    }
}

fn whole() -> Policy {
    policy(json!([
        {"name": "pipelines read", "who": ["group:pipelines"], "to": ["env:prod"], "allow": ["read"], "reveal": ["email"]},
        {"name": "agents write", "who": ["agent"], "allow": ["write"], "as": null, "functions": ["app.refresh", "pg_sleep"]},
        {"name": "no files", "deny": "sql.server_io"},
        {"name": "drops need a person", "hold": {"when": "sql.destructive", "reviewers": ["dba"]}},
        {"name": "bulk needs a person", "hold": {"when": "result.rows > 10000", "reviewers": ["owners"],
            "expires_seconds": 60, "in_transaction": "refuse"}},
        {"name": "no dumps", "except": ["agent"], "deny": "result.rows > 100000"},
    ]))
}

#[test]
fn nobody_is_admitted_without_an_allow_rule() {
    let policy = whole();
    let fault = policy.admit(&principal("stranger", &[]), &shop()).expect_err("not admitted");
    assert_eq!(fault.kind, model::FaultKind::Denied);
    assert!(fault.message.contains("stranger") && fault.message.contains("shop"), "{fault}");
    assert!(policy.admit(&nightly(), &target("shop", "postgres", "test")).is_err(), "wrong label");
    assert!(policy.admit(&nightly(), &target("x", "mystery", "prod")).is_err(), "unknown protocol");
    let explained = policy.explain(&principal("stranger", &[]), &shop());
    assert_eq!(explained[0]["because"], "`who` does not name stranger");
    assert_eq!(explained[2]["applies"], true);
}

#[test]
fn an_admission_gathers_what_rules_give() {
    let policy = policy(json!([
        {"name": "a", "allow": ["read"], "reveal": ["email"]},
        {"name": "b", "who": ["issuer:github"], "to": ["shop"], "allow": ["ddl"], "as": "migrator", "reveal": ["ssn"]},
        {"name": "c", "who": ["agent"], "allow": ["call"]},
    ]));
    let admission = policy.admit(&nightly(), &shop()).expect("admitted");
    assert_eq!(admission.rights(), Rights::READ | Rights::DDL);
    assert_eq!(admission.credential(), "migrator");
    assert_eq!(admission.reveal().iter().collect::<Vec<_>>(), ["email", "ssn"]);
    assert!(!admission.observe() && !admission.holds_results() && !admission.checks_results());
    let mut static_token = nightly();
    static_token.issuer = None;
    assert_eq!(policy.admit(&static_token, &shop()).expect("admitted").credential(), "default");
}

#[test]
fn what_no_rule_allows_is_refused_with_what_would() {
    let admission = whole().admit(&nightly(), &shop()).expect("admitted");
    let permit = allowed(admission.decide(Rights::READ, &NONE, &statement("select")));
    assert_eq!(&**permit.rule(), "pipelines read");
    let denial = denied(admission.decide(Rights::READ | Rights::WRITE, &NONE, &statement("insert")));
    assert_eq!(denial.rule, None);
    assert!(
        denial.why.contains("nightly to write on shop") && denial.why.contains("\"pipelines read\" (read)"),
        "{denial:?}"
    );
    assert!(denial.hint.contains("allow: [write]"));
    let denial = denied(admission.decide(Rights::NEVER, &NONE, &statement("other")));
    assert!(denial.why.contains("cannot tell"), "{denial:?}");
    assert_eq!(denial.fault().kind, model::FaultKind::Denied);
}

#[test]
fn functions_are_named_one_by_one() {
    let admission = whole().admit(&principal("agent", &["agents"]), &shop()).expect("admitted");
    let decide = |names: &[&str]| admission.decide(Rights::READ, names, &statement("select"));
    for names in [&["app.refresh"][..], &["pg_sleep"], &["pg_catalog.pg_sleep", "app.refresh"], &[]] {
        let _ = allowed(decide(names));
    }
    for names in
        [&["refresh"][..], &["app.other"], &["public.pg_sleep"], &["app.refresh", "x"], &["app"], &["pg_sleep "]]
    {
        let denial = denied(decide(names));
        assert!(denial.hint.contains("functions: ["), "{denial:?}");
    }
    let all = policy(json!([{"name": "a", "to": ["shop"], "allow": ["read"], "functions": ["*"]},
                            {"name": "b", "to": ["lab"], "allow": ["read"], "functions": ["app.*"]}]));
    let _ =
        allowed(all.admit(&nightly(), &shop()).expect("admitted").decide(Rights::READ, &["x.y"], &statement("select")));
    let lab = all.admit(&nightly(), &target("lab", "postgres", "test")).expect("admitted");
    let _ = allowed(lab.decide(Rights::READ, &["app.y"], &statement("select")));
    for name in ["app.", "app", "apply.x", "pg_catalog.app.x", "y"] {
        denied(lab.decide(Rights::READ, &[name], &statement("select")));
    }
}

#[test]
fn a_rule_that_denies_is_named_with_the_facts() {
    let admission = whole().admit(&nightly(), &shop()).expect("admitted");
    let denial = denied(admission.decide(Rights::COPY_OUT, &NONE, &statement("copy")));
    assert_eq!(denial.rule.as_deref(), Some("no files"));
    assert_eq!(denial.why, "rule \"no files\" denies this: sql.server_io is true");
    assert_eq!(denial.fault().rule.as_deref(), Some("no files"));
}

#[test]
fn a_fact_that_is_missing_is_a_refusal() {
    let admission = whole().admit(&nightly(), &shop()).expect("admitted");
    let denial = denied(admission.decide(Rights::READ, &NONE, &Facts::new()));
    assert_eq!(denial.rule.as_deref(), Some("no files"));
    assert!(denial.why.contains("cannot be checked") && denial.why.contains("sql.server_io"), "{denial:?}");
    let mut partial = statement("select");
    partial.set("result.masked", FactValue::Bool(true));
    let permit = allowed(admission.decide(Rights::READ, &NONE, &statement("select")));
    assert!(matches!(admission.check_result(&partial, &permit), Some(ResultVerdict::Deny(_))));
}

#[test]
fn a_hold_becomes_a_permit_only_when_every_circle_agrees() {
    let policy = policy(json!([
        {"name": "all", "allow": ["read", "ddl"]},
        {"name": "one", "hold": {"when": "sql.kind == 'drop'", "reviewers": ["dba"], "in_transaction": "wait"}},
        {"name": "two", "hold": {"when": "sql.destructive", "reviewers": ["owners"], "expires_seconds": 5}},
        {"name": "three", "hold": {"when": "identity.name == 'nightly'", "reviewers": ["dba"], "expires_seconds": 9}},
    ]));
    let admission = policy.admit(&nightly(), &shop()).expect("admitted");
    let hold = held(admission.decide(Rights::DDL, &NONE, &statement("drop")));
    assert_eq!(hold.rules().iter().map(|rule| &**rule).collect::<Vec<_>>(), ["one", "three"]);
    assert_eq!((hold.rule(), hold.reviewers()), ("one", &["dba".to_owned()][..]));
    assert_eq!((hold.expires(), hold.in_transaction()), (Duration::from_secs(9), InTransaction::WaitUnlessWritten));
    assert_eq!(hold.why(), "sql.kind is \"drop\"; identity.name is \"nightly\"");
    assert_eq!(hold.denied("dana", "no").kind, model::FaultKind::Rejected);
    assert_eq!(hold.expired("15 minutes are over").rule.as_deref(), Some("one"));
    let Approved::Hold(hold) = hold.approved("dana") else { panic!("the owners are to be asked") };
    assert_eq!((hold.rule(), hold.expires()), ("two", Duration::from_secs(5)));
    let Approved::Permit(permit) = hold.approved("omar") else { panic!("everybody agreed") };
    let by: Vec<(&str, &str)> = permit.approvals().iter().map(|one| (&*one.rule, &*one.by)).collect();
    assert_eq!(by, [("one", "dana"), ("three", "dana"), ("two", "omar")]);
    let quiet = held(admission.decide(Rights::READ, &NONE, &statement("select")));
    assert_eq!(quiet.rule(), "three");
}

#[test]
fn results_are_checked_while_they_stream() {
    let admission = whole().admit(&nightly(), &shop()).expect("admitted");
    assert!(admission.holds_results() && admission.checks_results());
    assert!(admission.mentions("result.rows") && !admission.mentions("result.masked"));
    let permit = allowed(admission.decide(Rights::READ, &NONE, &statement("select")));
    assert!(admission.check_result(&result(10_000), &permit).is_none());
    let Some(ResultVerdict::Hold(hold)) = admission.check_result(&result(10_001), &permit) else { panic!("held") };
    assert_eq!((hold.rule(), hold.in_transaction()), ("bulk needs a person", InTransaction::Refuse));
    assert_eq!(hold.why(), "result.rows is 10001");
    let Approved::Permit(permit) = hold.approved("omar") else { panic!("one circle") };
    assert!(admission.check_result(&result(50_000), &permit).is_none(), "asked once");
    let Some(ResultVerdict::Deny(denial)) = admission.check_result(&result(100_001), &permit) else { panic!("denied") };
    assert_eq!(denial.rule.as_deref(), Some("no dumps"));
    let agent = whole().admit(&principal("agent", &[]), &shop()).expect("admitted");
    let permit = allowed(agent.decide(Rights::READ, &NONE, &statement("select")));
    assert!(
        matches!(agent.check_result(&result(100_001), &permit), Some(ResultVerdict::Hold(_))),
        "exempt from no dumps"
    );
}

#[test]
fn an_observing_gateway_says_what_it_would_have_done() {
    let policy = whole();
    let lab = target("lab", "postgres", "prod");
    for (principal, target) in [(nightly(), lab), (principal("trial", &[]), shop())] {
        let admission = policy.admit(&principal, &target).expect("admitted");
        assert!(admission.observe());
        let verdict = admission.decide(Rights::WRITE, &NONE, &statement("copy"));
        assert!(matches!(verdict, Verdict::Deny(_)), "the verdict itself is the true one");
        let permit = admission.let_through(verdict).expect("let through");
        assert_eq!((permit.observed()[0].what, permit.observed()[0].rule.as_deref()), ("would_deny", Some("no files")));
        let verdict = admission.check_result(&result(10_001), &permit).expect("would hold");
        let permit = admission.let_result_through(verdict, permit).expect("let through");
        assert_eq!(permit.observed()[1].what, "would_hold");
        assert!(admission.check_result(&result(10_002), &permit).is_none(), "noted once");
        let verdict = admission.check_result(&result(100_001), &permit).expect("would deny");
        let permit = admission.let_result_through(verdict, permit).expect("let through");
        assert!(admission.check_result(&result(100_002), &permit).is_none(), "noted once");
        assert_eq!(permit.observed().len(), 3);
    }
    let enforced = policy.admit(&nightly(), &shop()).expect("admitted");
    assert!(enforced.let_through(enforced.decide(Rights::WRITE, &NONE, &statement("copy"))).is_err());
    let permit = allowed(enforced.decide(Rights::READ, &NONE, &statement("select")));
    let verdict = enforced.check_result(&result(10_001), &permit).expect("holds");
    assert!(enforced.let_result_through(verdict, permit).is_err());
}

#[test]
fn rules_about_one_protocol_leave_the_others_alone() {
    let policy = policy(json!([
        {"name": "all", "allow": ["read"]},
        {"name": "sql", "deny": "sql.server_io"},
        {"name": "ssh", "deny": "ssh.command == 'x' && identity.name != ''"},
        {"name": "both", "deny": "target.name == 'nowhere'"},
    ]));
    let host = policy.admit(&nightly(), &target("host", "ssh", "prod")).expect("admitted");
    let mut facts = Facts::new();
    facts.set("ssh.command", FactValue::Text("ls".into()));
    let _ = allowed(host.decide(Rights::READ, &NONE, &facts));
    assert!(matches!(host.decide(Rights::READ, &NONE, &Facts::new()), Verdict::Deny(_)), "its own facts are needed");
}

#[test]
fn explain_tells_every_rule() {
    let admission = whole().admit(&nightly(), &shop()).expect("admitted");
    let told = admission.explain(Rights::READ, &NONE, &statement("drop"));
    assert_eq!((&told["verdict"], &told["rule"]), (&json!("hold"), &json!("drops need a person")));
    assert_eq!(
        (&told["reveal"], &told["credential"], &told["reviewers"]),
        (&json!(["email"]), &json!("default"), &json!(["dba"]))
    );
    let rules = told["rules"].as_array().expect("rules");
    assert_eq!(rules.len(), 6);
    assert_eq!((&rules[1]["applies"], &rules[1]["because"]), (&json!(false), &json!("`who` does not name nightly")));
    assert_eq!((&rules[2]["holds"], &rules[3]["holds"]), (&json!(false), &json!(true)));
    assert_eq!((&rules[4]["phase"], rules[4].get("holds")), (&json!("result"), None));
    let told = admission.explain(Rights::DDL, &NONE, &statement("select"));
    assert_eq!(told["verdict"], "deny");
    assert!(told["why"].as_str().is_some_and(|why| why.contains("ddl")));
}

#[test]
fn messages_shorten_what_they_repeat() {
    let policy = policy(json!([
        {"name": "all", "allow": ["read"]}, {"name": "x", "deny": "size(sql.tables) > 3 || sql.kind.contains('\\n')"}
    ]));
    let admission = policy.admit(&nightly(), &shop()).expect("admitted");
    let mut facts = statement(&"k\n".repeat(10_000));
    facts.set("sql.tables", FactValue::Texts((0..5_000).map(|place| format!("t{place}").into()).collect()));
    let denial = denied(admission.decide(Rights::READ, &NONE, &facts));
    assert!(denial.why.len() < 400 && denial.why.contains("4996 more") && !denial.why.contains('\n'), "{}", denial.why);
}

#[test]
fn a_policy_and_its_admissions_cross_threads() {
    fn crosses<T: Send + Sync>() {}
    crosses::<Policy>();
    crosses::<Admission>();
    crosses::<Hold>();
    crosses::<Permit>();
}
