//! Properties of all expressions: what compiles has no type errors, and means what the reference interpreter says.

use cel::{Context, Env, Value as CelValue};

use super::*;
use crate::expression::evaluate::{self, Stop, Surroundings};

/// Pieces of expressions; most of what comes together does not fit, which is the point.
fn atom() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(
            DECLARED
                .iter()
                .map(|fact| fact.name.to_owned())
                .filter(|name| name != "sql.estimated_rows")
                .collect::<Vec<_>>()
        ),
        prop::sample::select(vec![
            "true",
            "false",
            "0",
            "1",
            "-7",
            "10001",
            "1.5",
            "''",
            "'drop'",
            "'public.orders'",
            "[]",
            "[1]",
            "['drop']",
            "['env']",
            "[[]]",
            "null",
            "target.labels.env",
            "target.labels.zone",
            "v",
        ])
        .prop_map(str::to_owned),
    ]
}

fn expression() -> impl Strategy<Value = String> {
    atom().prop_recursive(5, 40, 3, |inner| {
        let binary = prop::sample::select(vec![
            "==", "!=", "<", "<=", ">", ">=", "&&", "||", "+", "-", "*", "/", "%", "in", "&&", "||", "==",
        ]);
        let method = prop::sample::select(vec!["contains", "startsWith", "endsWith"]);
        let one = prop::sample::select(vec!["size", "int", "double", "string", "bool", "!", "-", "has"]);
        let run = prop::sample::select(vec!["all", "exists", "exists_one", "filter", "map"]);
        prop_oneof![
            4 => (inner.clone(), binary, inner.clone()).prop_map(|(a, sign, b)| format!("({a} {sign} {b})")),
            1 => (inner.clone(), method, inner.clone()).prop_map(|(a, name, b)| format!("({a}).{name}({b})")),
            2 => (one, inner.clone()).prop_map(|(name, a)| format!("{name}({a})")),
            2 => (inner.clone(), run, inner.clone()).prop_map(|(a, name, b)| format!("({a}).{name}(v, {b})")),
            1 => (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            1 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a})[{b}]")),
            1 => prop::collection::vec(inner, 0..3).prop_map(|parts| format!("[{}]", parts.join(", "))),
        ]
    })
}

/// The same facts for the reference interpreter.
fn reference_context<'a>() -> Context<'a, 'a> {
    let mut context = Context::with_env(Arc::new(Env::stdlib()));
    for (name, value) in facts().iter() {
        let value = match value {
            FactValue::Bool(value) => CelValue::from(*value),
            FactValue::Int(value) => CelValue::from(*value),
            FactValue::Text(value) => CelValue::from(value.to_string()),
            FactValue::Texts(values) => CelValue::from(values.iter().map(|text| text.to_string()).collect::<Vec<_>>()),
            FactValue::TextMap(values) => {
                let pairs = values.iter().map(|(key, value)| (key.clone(), value.clone()));
                CelValue::from(pairs.collect::<std::collections::HashMap<String, String>>())
            }
        };
        context.add_variable_from_value(name, value);
    }
    context
}

/// Where ours and the reference differ on purpose or by the reference's own looseness.
fn incomparable(source: &str) -> bool {
    // The reference knows `has(a.b)` of map keys only, and writes and reads numbers in its own way.
    ["has(", "string(", "double(", "int(", "bool("].iter().any(|part| source.contains(part))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, max_global_rejects: 2_000_000, ..ProptestConfig::default() })]

    #[test]
    fn what_compiles_has_no_type_errors(source in expression()) {
        if let Ok(expression) = Expression::compile(&source, &scope()) {
            let facts = facts();
            let layers = [&facts];
            let outcome = evaluate::run(&expression.root, Surroundings { facts: &layers, claims: None });
            prop_assert!(!matches!(outcome, Err(Stop::Type(_))), "{source}: {outcome:?}");
        }
    }

    #[test]
    fn what_compiles_means_what_the_reference_says(source in expression()) {
        let Ok(expression) = Expression::compile(&source, &scope()) else { return Ok(()) };
        if incomparable(&source) {
            return Ok(());
        }
        let program = Env::stdlib().compile(&source).expect("the same parser");
        let reference = program.execute(&reference_context());
        match (expression.evaluate(&facts()), reference) {
            (Ok(ours), Ok(CelValue::Bool(theirs))) => prop_assert_eq!(ours, theirs, "{}", source),
            (Err(_), Err(_)) => {}
            (ours, theirs) => prop_assert!(false, "{source}: {ours:?}, the reference {theirs:?}"),
        }
    }

    #[test]
    fn no_text_panics(source in "\\PC{0,200}") {
        let _ = Expression::compile(&source, &scope());
        let _ = Expression::compile(&source, &Scope::claims());
    }

    #[test]
    fn no_mix_of_tokens_panics_or_takes_long(
        tokens in prop::collection::vec(prop::sample::select(vec![
            "!", "(", ")", "[", "]", "{", "}", "-", "sql.kind", "claims", ".", "1", "'x'", "?", ":", ",", "&&", "||",
            "==", "<", "in", "+", "has", ".all(v,", "v", "true", "null", " ", "\"", "`", "b'", "r\"", "\\u", "\\x8",
            "'''", "\\", "9e999", "0x", "//", "\n", "\r", ".matches('",
        ]), 0..200)
    ) {
        let source: String = tokens.concat();
        let began = Instant::now();
        let _ = Expression::compile(&source, &scope());
        if let Ok(expression) = Expression::compile(&source, &Scope::claims()) {
            let _ = expression.evaluate_claims(&json!({"a": [1, {"b": null}]}));
        }
        prop_assert!(began.elapsed() < Duration::from_secs(2));
    }

    #[test]
    fn claims_of_any_shape_do_not_panic(source in expression(), seed in "[a-z0-9\":,{}\\[\\]. ]{0,40}") {
        let source = DECLARED.iter().fold(source, |text, fact| text.replace(fact.name, "claims.a"));
        let claims = serde_json::from_str(&seed).unwrap_or_else(|_| json!({"a": {"a": [seed, 1, null, 1.5, u64::MAX]}}));
        if let Ok(expression) = Expression::compile(&source, &Scope::claims()) {
            let _ = expression.evaluate_claims(&claims);
        }
    }
}
