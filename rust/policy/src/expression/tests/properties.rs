//! Properties of all expressions: what compiles has no type errors, and means what the reference interpreter says.

use cel::{Context, Env, Value as CelValue};
use proptest::strategy::ValueTree;

use super::*;
use crate::expression::evaluate::{self, Stop, Surroundings};

/// The type an expression is drawn for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bool,
    Int,
    Double,
    Text,
    Texts,
    Ints,
    Map,
}

const KINDS: [Kind; 7] = [Kind::Bool, Kind::Int, Kind::Double, Kind::Text, Kind::Texts, Kind::Ints, Kind::Map];

fn leaf(kind: Kind, variable: bool) -> BoxedStrategy<String> {
    let mut texts = match kind {
        Kind::Bool => vec!["true", "false", "sql.destructive", "has(target.labels.env)", "has(sql.estimated_rows)"],
        Kind::Int => vec!["0", "1", "-7", "10001", "9223372036854775807", "result.rows", "result.bytes"],
        Kind::Double => vec!["0.0", "1.5", "-2.5", "10001.0"],
        Kind::Text => {
            vec!["''", "'drop'", "'public.orders'", "'env'", "sql.kind", "target.labels.env", "target.labels.zone"]
        }
        Kind::Texts => vec!["[]", "sql.tables", "identity.groups", "['env', 'zone']"],
        Kind::Ints => vec!["[]", "[1]", "[0, 2, 10001]"],
        Kind::Map => vec!["target.labels"],
    };
    if variable && kind == Kind::Text {
        texts.extend(["v", "v", "v"]);
    }
    prop::sample::select(texts).prop_map(str::to_owned).boxed()
}

fn binary(a: BoxedStrategy<String>, signs: &[&'static str], b: BoxedStrategy<String>) -> BoxedStrategy<String> {
    (a, prop::sample::select(signs.to_vec()), b).prop_map(|(a, sign, b)| format!("({a} {sign} {b})")).boxed()
}

/// `(a).run(v, b)`
fn run(a: BoxedStrategy<String>, names: &[&'static str], b: BoxedStrategy<String>) -> BoxedStrategy<String> {
    (a, prop::sample::select(names.to_vec()), b).prop_map(|(a, name, b)| format!("({a}).{name}(v, {b})")).boxed()
}

/// An expression that is nearly always of the type; one part in thirty is of any, so that what the checker must refuse,
/// or wrongly would let pass, occurs at every place.
fn of(kind: Kind, depth: u32, variable: bool) -> BoxedStrategy<String> {
    if depth == 0 {
        return leaf(kind, variable);
    }
    let any = prop::sample::select(KINDS.to_vec()).prop_flat_map(move |other| of(other, depth - 1, variable));
    prop_oneof![29 => typed(kind, depth - 1, variable), 1 => any].boxed()
}

fn typed(kind: Kind, depth: u32, variable: bool) -> BoxedStrategy<String> {
    // Drawn first, so that a tree is built for one shape only.
    (0..12_u32).prop_flat_map(move |shape| shaped(kind, shape, depth, variable)).boxed()
}

fn shaped(kind: Kind, shape: u32, depth: u32, variable: bool) -> BoxedStrategy<String> {
    let of = |kind| of(kind, depth, variable);
    let inner = |kind| super::properties::of(kind, depth, true);
    let all =
        || prop::sample::select(KINDS.to_vec()).prop_flat_map(move |kind| super::properties::of(kind, depth, variable));
    let choice = || (of(Kind::Bool), of(kind), of(kind)).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")).boxed();
    match (kind, shape) {
        (_, 0) => leaf(kind, variable),
        (_, 1) => choice(),
        (Kind::Bool, 2) => of(Kind::Bool).prop_map(|a| format!("!({a})")).boxed(),
        (Kind::Bool, 3..=4) => binary(of(Kind::Bool), &["&&", "||"], of(Kind::Bool)),
        (Kind::Bool, 5) => binary(of(Kind::Int), &["<", "<=", ">", ">=", "==", "!="], of(Kind::Double)),
        (Kind::Bool, 6) => binary(of(Kind::Text), &["<", "<=", ">", ">=", "==", "!="], of(Kind::Text)),
        (Kind::Bool, 7) => prop::sample::select(KINDS.to_vec())
            .prop_flat_map(move |kind| {
                let side = || super::properties::of(kind, depth, variable);
                binary(side(), &["==", "!=", "<", ">="], side())
            })
            .boxed(),
        (Kind::Bool, 8) => binary(of(Kind::Text), &["in"], prop_oneof![of(Kind::Texts), of(Kind::Map)].boxed()),
        (Kind::Bool, 9) => {
            let names = prop::sample::select(vec!["contains", "startsWith", "endsWith"]);
            (of(Kind::Text), names, of(Kind::Text)).prop_map(|(a, name, b)| format!("({a}).{name}({b})")).boxed()
        }
        (Kind::Bool, _) => {
            let over = prop_oneof![3 => of(Kind::Texts), 1 => of(Kind::Map)].boxed();
            run(over, &["all", "exists", "exists_one"], inner(Kind::Bool))
        }
        (Kind::Int, 2..=3) => all().prop_map(|a| format!("size({a})")).boxed(),
        (Kind::Int, 4) => of(Kind::Int).prop_map(|a| format!("-({a})")).boxed(),
        (Kind::Int, 5) => (of(Kind::Ints), of(Kind::Int)).prop_map(|(a, b)| format!("({a})[{b}]")).boxed(),
        (Kind::Int, 6) => all().prop_map(|a| format!("int({a})")).boxed(),
        (Kind::Int, _) => binary(of(Kind::Int), &["+", "-", "*", "/", "%"], of(Kind::Int)),
        (Kind::Double, 2) => all().prop_map(|a| format!("double({a})")).boxed(),
        (Kind::Double, 3) => of(Kind::Double).prop_map(|a| format!("-({a})")).boxed(),
        (Kind::Double, _) => binary(of(Kind::Double), &["+", "-", "*", "/"], of(Kind::Double)),
        (Kind::Text, 2) => all().prop_map(|a| format!("string({a})")).boxed(),
        (Kind::Text, 3..=4) => (of(Kind::Texts), of(Kind::Int)).prop_map(|(a, b)| format!("({a})[{b}]")).boxed(),
        (Kind::Text, 5..=6) => (of(Kind::Map), of(Kind::Text)).prop_map(|(a, b)| format!("({a})[{b}]")).boxed(),
        (Kind::Text, _) => binary(of(Kind::Text), &["+"], of(Kind::Text)),
        (Kind::Texts, 2..=4) => run(of(Kind::Texts), &["filter"], inner(Kind::Bool)),
        (Kind::Texts, 5..=7) => run(of(Kind::Texts), &["map"], inner(Kind::Text)),
        (Kind::Ints, 2..=4) => run(of(Kind::Texts), &["map"], inner(Kind::Int)),
        (Kind::Texts | Kind::Ints, 8..=9) => binary(of(kind), &["+"], of(kind)),
        (Kind::Texts | Kind::Ints, _) => {
            let element = if kind == Kind::Texts { Kind::Text } else { Kind::Int };
            prop::collection::vec(of(element), 0..3).prop_map(|parts| format!("[{}]", parts.join(", "))).boxed()
        }
        (Kind::Map, _) => leaf(kind, variable),
    }
}

fn expression() -> BoxedStrategy<String> {
    of(Kind::Bool, 4, false)
}

/// Most of what is drawn compiles and has a result; else the properties below would be about nothing.
#[test]
fn most_drawn_expressions_compile() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut draw = || expression().new_tree(&mut runner).map(|tree| tree.current()).expect("an expression");
    let drawn: Vec<String> = (0..500).map(|_| draw()).collect();
    let compiled: Vec<Expression> =
        drawn.iter().filter_map(|source| Expression::compile(source, &scope()).ok()).collect();
    let results = compiled.iter().filter(|one| one.source().len() > 30 && one.evaluate(&facts()).is_ok()).count();
    assert!(compiled.len() > 150 && results > 50, "{} compile, {results} have a result", compiled.len());
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
