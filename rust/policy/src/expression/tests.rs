//! What compiles, what does not and why, and what comes out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{Fact, FactKind, FactValue, Facts, Phase};
use proptest::prelude::*;
use serde_json::json;

use super::*;

const fn fact(name: &'static str, kind: FactKind, phase: Phase) -> Fact {
    Fact { name, kind, phase, help: "" }
}

const DECLARED: [Fact; 9] = [
    fact("identity.name", FactKind::Text, Phase::Session),
    fact("identity.groups", FactKind::Texts, Phase::Session),
    fact("target.labels", FactKind::TextMap, Phase::Session),
    fact("sql.kind", FactKind::Text, Phase::Statement),
    fact("sql.tables", FactKind::Texts, Phase::Statement),
    fact("sql.destructive", FactKind::Bool, Phase::Statement),
    fact("sql.estimated_rows", FactKind::Int, Phase::Statement),
    fact("result.rows", FactKind::Int, Phase::Result),
    fact("result.bytes", FactKind::Int, Phase::Result),
];

fn texts(values: &[&str]) -> FactValue {
    FactValue::Texts(values.iter().map(|text| Arc::from(*text)).collect())
}

fn facts() -> Facts {
    let labels = BTreeMap::from([("env".to_owned(), "prod".to_owned()), ("team".to_owned(), "sales".to_owned())]);
    let mut facts = Facts::new();
    facts.set("identity.name", FactValue::Text("nightly-report".into()));
    facts.set("identity.groups", texts(&["pipelines", "readers"]));
    facts.set("target.labels", FactValue::TextMap(Arc::new(labels)));
    facts.set("sql.kind", FactValue::Text("drop".into()));
    facts.set("sql.tables", texts(&["public.customers", "public.orders"]));
    facts.set("sql.destructive", FactValue::Bool(true));
    facts.set("result.rows", FactValue::Int(10_001));
    facts.set("result.bytes", FactValue::Int(4_096));
    facts
}

fn scope() -> Scope {
    Scope::rule(DECLARED)
}

fn problems(source: &str) -> Vec<Problem> {
    match Expression::compile(source, &scope()) {
        Ok(_) => panic!("{source} compiles"),
        Err(problems) => problems,
    }
}

fn value(source: &str) -> Result<bool, String> {
    match Expression::compile(source, &scope()) {
        Ok(expression) => expression.evaluate(&facts()),
        Err(problems) => panic!("{source}: {problems:?}"),
    }
}

#[test]
fn conditions_that_hold() {
    for source in [
        "true",
        "sql.destructive",
        "!(!sql.destructive)",
        "sql.kind == \"drop\"",
        "sql.kind != 'select'",
        "sql.kind in ['drop', \"truncate\"]",
        "result.rows > 10000",
        "result.rows >= 10001 && result.bytes < 5 * 1024",
        "result.rows > 10000.5",
        "result.rows == 10001.0",
        "-result.rows < 0",
        "result.rows % 2 == 1 && result.rows / 2 == 5000 && result.rows - 1 == 10000",
        "'public.orders' in sql.tables",
        "!('public.x' in sql.tables)",
        "sql.tables.exists(t, t == 'public.orders')",
        "sql.tables.all(t, t.startsWith('public.'))",
        "sql.tables.exists_one(t, t.endsWith('orders'))",
        "sql.tables.existsOne(t, t.endsWith('orders'))",
        "size(sql.tables.filter(t, t.contains('cust'))) == 1",
        "sql.tables.map(t, size(t)) == [16, 13]",
        "sql.tables.map(t, t.contains('cust'), t + '!') == ['public.customers!']",
        "sql.tables.size() == 2 && size('añb') == 3 && size(target.labels) == 2",
        "sql.tables[0] == 'public.customers'",
        "sql.tables + ['x'] == ['public.customers', 'public.orders', 'x']",
        "[] + sql.tables == sql.tables",
        "target.labels.env == 'prod'",
        "target.labels['env'] == 'prod'",
        "'env' in target.labels && !('zone' in target.labels)",
        "has(target.labels.env) && !has(target.labels.zone)",
        "target.labels.all(k, k in ['env', 'team'])",
        "target.labels.exists(k, target.labels[k] == 'sales')",
        "has(sql.kind) && !has(sql.estimated_rows)",
        "has(sql.estimated_rows) ? sql.estimated_rows > 10 : result.rows > 10",
        "sql.kind.matches('^d.*p$') && matches(sql.kind, r'^\\w+$')",
        "int('42') == 42 && double('1.5') == 1.5 && string(7) == '7' && bool('true') && string(true) == 'true'",
        "int(2.9) == 2 && double(2) == 2.0",
        "sql.tables.exists(t, sql.tables.exists(u, t < u))",
        "identity.groups.exists(g, g in ['readers'])",
        "false || (sql.kind == 'drop' ? true : false)",
        "[[1, 2], []].all(l, l.all(n, n < 3))",
        "[].all(x, x > 1) && ![].exists(x, x)",
        "'a' < 'b' && false < true && 1 <= 1.0",
        // A part without a result does not matter where the other side decides.
        "sql.estimated_rows > 5 || true",
        "!(false && sql.estimated_rows > 5)",
        "[0, 1].exists(n, 1 / n == 1)",
        "![0, 1].all(n, 1 / n == 2)",
    ] {
        assert_eq!(value(source), Ok(true), "{source}");
    }
}

#[test]
fn conditions_without_a_result_say_why() {
    for (source, reason) in [
        ("sql.estimated_rows > 5", "`sql.estimated_rows` is not known here"),
        ("target.labels.zone == 'x'", "there is no key \"zone\""),
        ("target.labels['zone'] == 'x'", "there is no key \"zone\""),
        ("sql.tables[2] == 'x'", "there is no element 2"),
        ("sql.tables[-1] == 'x'", "there is no element -1"),
        ("1 / 0 == 1", "no 64-bit result"),
        ("1 % 0 == 1", "no 64-bit result"),
        ("result.rows * 9223372036854775807 > 0", "no 64-bit result"),
        ("-9223372036854775808 / -1 > 0", "no 64-bit result"),
        ("-(-9223372036854775808) > 0", "too large"),
        ("int('x') == 1", "cannot read"),
        ("int(1e30) == 1", "cannot hold"),
        ("bool('yes')", "cannot read"),
        ("0.0 / 0.0 < 1.0", "not a number"),
        ("false || sql.estimated_rows > 5", "not known here"),
        ("sql.tables.all(t, target.labels[t] == '')", "there is no key"),
    ] {
        let error = value(source).expect_err(source);
        assert!(error.contains(reason), "{source}: {error}");
    }
}

#[test]
fn conditions_that_do_not_compile_say_where_why_and_what_to_do() {
    let mut surprises = Vec::new();
    for (source, offset, message, hint) in [
        ("", 0, "empty", "condition"),
        ("   \n", 0, "empty", "condition"),
        ("sql.knd == 'x'", 3, "no fact `sql.knd`", "did you mean `sql.kind`"),
        ("true && weather", 8, "no fact `weather`", "known: "),
        ("sql", 0, "group of facts", "sql.kind"),
        ("sql == 'x'", 0, "group of facts", "sql.kind"),
        ("sql.kind", 3, "a string", "`sql.kind == "),
        ("result.rows", 6, "an int", "`result.rows > 100`"),
        ("sql.tables", 3, "list of strings", "size(sql.tables) > 0"),
        ("result.rows > 'x'", 12, "neither less nor greater", "two numbers"),
        ("sql.tables == 'x'", 11, "never equal", "use `in`"),
        ("sql.tables > 5", 11, "neither less", "size("),
        ("sql.kind == 5", 9, "never equal", "one type"),
        ("sql.kind == null", 9, "never equal", "never null"),
        ("1 + 'x' == 2", 2, "`+` is not defined", "one type"),
        ("sql.destructive + true", 16, "`+` is not defined", "one type"),
        ("1.5 % 2.5 == 1.0", 4, "`%` is not defined", ""),
        ("!sql.kind", 4, "a string", "`sql.kind == "),
        ("-sql.kind == 'x'", 0, "needs a number", ""),
        ("sql.kind ? true : false", 3, "a condition is true or false", ""),
        ("true ? 1 : 'x'", 5, "both outcomes", ""),
        ("1 in sql.tables", 2, "never in", "one element"),
        ("'a' in sql.kind", 4, "never in", "contains"),
        ("sql.tables['a'] == 'x'", 10, "named by", ""),
        ("sql.kind[0] == 'x'", 8, "no elements", ""),
        ("sql.kind.foo == 'x'", 8, "no fields", "maps"),
        ("target.labels[1] == 'x'", 13, "named by", ""),
        ("sql.tables.contains('x')", 3, "`contains` cannot take a list", "in x"),
        ("contains(sql.kind, 'x')", 8, "does not take these arguments", "x.contains"),
        ("sql.kind.contains('x', 'y')", 17, "does not take these arguments", "x.contains"),
        ("size(1) == 1", 5, "cannot take an int", "size(x)"),
        ("size() == 1", 4, "does not take", "size(x)"),
        ("sql.kind.lowerr() == 'x'", 15, "no function `lowerr`", ""),
        ("startWith(sql.kind, 'x')", 9, "no function `startWith`", "startsWith"),
        ("sql.tables.exists(t)", 17, "does not take these arguments", "exists(t"),
        ("sql.tables.exists('t', true)", 18, "names its variable", "exists"),
        ("sql.tables.exists(sql, true)", 18, "hide a fact", "another name"),
        ("sql.tables.exists(t, t)", 21, "a condition is true or false", ""),
        ("sql.tables.exists(t, t > 1)", 23, "neither less", ""),
        ("sql.kind.exists(t, true)", 3, "no elements to run over", ""),
        ("has(sql)", 3, "asks for a field", "has(a.b)"),
        ("has(sql.knd)", 7, "no fact `sql.knd`", "sql.kind"),
        ("has(sql.kind.x)", 3, "no fields", "has(a.b)"),
        ("sql.kind.matches('(')", 17, "the pattern is wrong", "syntax"),
        ("sql.kind.matches('(?=x)')", 17, "the pattern is wrong", "syntax"),
        ("sql.kind.matches('\\\\w{1000}{1000}')", 17, "too large", ""),
        ("sql.kind.matches(sql.kind)", 20, "not written out", "written out"),
        ("5u == 5", 0, "unsigned", "leave out the `u`"),
        ("b'x' == 'x'", 0, "bytes", "leave out the `b`"),
        ("{'a': 1}.a == 1", 0, "written out", ""),
        ("[1, 'x'] == []", 0, "one type", ""),
        ("sql.kind == 'drop' &&", 21, "not an expression", ""),
        ("sql.kind = 'drop'", 9, "not an expression", ""),
        ("SELECT 1", 7, "not an expression", ""),
        ("\0", 0, "NUL", ""),
        ("claims.sub == 'x'", 6, "no fact `claims.sub`", ""),
        ("'ä😀' == sql.knd", 15, "no fact `sql.knd`", "sql.kind"),
        ("'ä😀' == = 1", 12, "not an expression", ""),
        ("'ä😀' == sql.kind &&\n !!", 27, "not an expression", ""),
    ] {
        let found = problems(source);
        let first = &found[0];
        if !first.message.contains(message) || !first.hint.contains(hint) || first.offset != offset {
            surprises.push(format!("{source}: {found:?}"));
        }
    }
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));
}

#[test]
fn all_problems_are_told_at_once() {
    let found = problems("sql.knd == 'x' && result.rows > 'y' || foo(1)");
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found.is_sorted_by_key(|problem| problem.offset));
}

#[test]
fn the_phase_is_the_latest_of_the_facts_mentioned() {
    let compile = |source| Expression::compile(source, &scope()).expect(source);
    assert_eq!(compile("true").phase(), Phase::Session);
    assert_eq!(compile("identity.name == 'x'").phase(), Phase::Session);
    assert_eq!(compile("identity.name == 'x' && sql.destructive").phase(), Phase::Statement);
    assert_eq!(compile("sql.destructive || has(result.rows)").phase(), Phase::Result);
    let mentioned = compile("sql.tables.exists(t, t in sql.tables && result.rows > 1)");
    assert_eq!(mentioned.mentions().iter().map(|fact| fact.name).collect::<Vec<_>>(), ["sql.tables", "result.rows"]);
}

#[test]
fn claims_are_dynamic() {
    let claims = json!({
        "repository_id": "4711", "ref": "refs/heads/main", "run": 7, "ratio": 0.5, "huge": u64::MAX, "none": null,
        "aud": ["a", "b"], "nested": {"deep": {"x": true}}, "name": {"first": "A"}
    });
    for source in [
        "claims.repository_id == \"4711\" && claims.ref == \"refs/heads/main\"",
        "claims['repository_id'] in ['4711', '4712']",
        "'a' in claims.aud && claims.aud.exists(a, a.startsWith('b')) && size(claims.aud) == 2",
        "claims.nested.deep.x",
        "has(claims.nested.deep) && !has(claims.other)",
        "claims.run >= 7 && claims.run < 7.5 && claims.ratio + 0.5 == 1.0",
        "claims.none == null && claims.run != null",
        "claims.run != '7' && claims.aud == ['a', 'b'] && claims.name == claims.name",
        "claims.all(k, k != 'x')",
        "claims.ref.matches('^refs/heads/(main|release-.*)$')",
        "'run' in claims",
    ] {
        assert_eq!(evaluate_claims(source, &claims), Ok(true), "{source}");
    }
    for source in [
        "claims.other == 'x'",
        "claims.run == 7 && claims.nested.other",
        "claims.huge > 1",
        "claims.run.x == 1",
        "claims.ref > 1",
        "claims.run",
        "claims",
        "claims.aud[9] == 'x'",
        "claims.aud.startsWith('a')",
        "has(claims.other.deep)",
        "!claims.ref",
        "claims.name + 1 == 2",
        "sql.kind == 'x'",
        "has(sql.kind)",
        "claims.x ==",
    ] {
        assert!(evaluate_claims(source, &claims).is_err(), "{source}");
    }
    for odd in [json!(null), json!(1), json!([]), json!("x")] {
        assert!(evaluate_claims("claims.ref == 'x'", &odd).is_err());
    }
}

#[test]
fn hostile_texts_are_refused_quickly() {
    let motif = "!!(!!!!!!(!!!!(((((!!(!!(!!!!((";
    let nest = |open: &str, close: &str, times: usize| open.repeat(times) + "true" + &close.repeat(times);
    let texts = [
        motif.repeat(4) + "1",
        motif.repeat(100) + "1",
        nest("(", ")", 2_000),
        nest("[", "]", 2_000),
        nest("{1:", "}", 1_000),
        nest("size(", ")", 31),
        nest("!", "", 4_000),
        nest("-", "", 39),
        "1+".repeat(2_000) + "1 == 1",
        "1+".repeat(400) + "1 == 1",
        "a?b:".repeat(1_000) + "c",
        "true&&".repeat(600) + "true",
        "sql".to_owned() + &".a".repeat(400),
        "\"".repeat(4_095),
        "'\\".repeat(2_000),
        "x".repeat(1 << 20),
        "r'".to_owned() + &"(".repeat(4_000) + "'",
        "/*".repeat(2_000),
        "`".repeat(4_000),
        "\u{feff}true".to_owned(),
    ];
    let began = Instant::now();
    for text in &texts {
        let start: String = text.chars().take(40).collect();
        assert!(Expression::compile(text, &scope()).is_err(), "{start}");
        assert!(Expression::compile(text, &Scope::claims()).is_err(), "{start}");
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn evaluation_is_bounded() {
    let long: Vec<String> = (0..2_000).map(|place| format!("public.t{place}")).collect();
    let mut facts = facts();
    facts.set("sql.tables", FactValue::Texts(long.iter().map(|text| Arc::from(text.as_str())).collect()));
    let cubed = "sql.tables.all(a, sql.tables.all(b, sql.tables.all(c, a != b || b != c || a == c)))";
    let doubled = (0..20).fold("'x'".to_owned(), |text, _| format!("[{text}].map(x, x + x)[0]")) + " == ''";
    let began = Instant::now();
    for source in [cubed, &doubled, &format!("true || {cubed}"), &format!("{cubed} || true")] {
        let outcome = Expression::compile(source, &scope()).expect(source).evaluate(&facts);
        if !source.starts_with("true") {
            assert!(outcome.clone().is_err_and(|error| error.contains("steps")), "{source}: {outcome:?}");
        }
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let ordinary = Expression::compile("sql.tables.exists(t, t == 'public.t1999')", &scope()).expect("compiles");
    assert_eq!(ordinary.evaluate(&facts), Ok(true));
}

#[test]
fn expressions_cross_threads() {
    fn crosses<T: Send + Sync + Clone>() {}
    crosses::<Expression>();
}

mod properties;
