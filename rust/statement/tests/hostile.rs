//! Texts made to break the reader, and the bound on what it remembers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod shop;

use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use shop::Shop;
use statement::{Limits, Parser, UnreadableKind};

fn parser() -> &'static Parser {
    static PARSER: LazyLock<Parser> = LazyLock::new(|| Parser::new(Limits::default()));
    &PARSER
}

/// Everything a caller does with a text, so that none of it may panic or overflow the stack of an ordinary thread.
fn exercise(parser: &Parser, sql: &str) -> Result<(), UnreadableKind> {
    let text = parser.parse(sql).map_err(|unreadable| unreadable.kind)?;
    for statement in &text.statements {
        assert!(text.sql.get(statement.span.clone()).is_some());
        let _ = (statement.facts(), statement.exposure(&Shop), statement.parameters_protected(&Shop));
        let _ = (statement.returns_rows(), statement.unreviewed_functions().count());
    }
    let _ = (text.redacted(Some(&Shop), &|_| None), text.redacted(None, &|_| Some("x")), text.shape().len());
    Ok(())
}

#[test]
fn depth_is_refused_or_survived() {
    let parser = parser();
    let repeated = |unit: &str, times: usize, end: &str| format!("SELECT {}{end}", unit.repeat(times));
    let nested =
        |open: &str, times: usize, close: &str| format!("SELECT {}1{}", open.repeat(times), close.repeat(times));
    let hostile = [
        nested("(", 100_000, ")"),
        repeated("1+", 64_000, "1"),
        repeated("a||", 40_000, "a"),
        repeated("NOT ", 50_000, "true"),
        repeated("- ", 100_000, "x"),
        repeated("+-", 100_000, "x"),
        nested("(SELECT ", 20_000, ")"),
        nested("f(", 100_000, ")"),
        nested("ARRAY[", 50_000, "]"),
        nested("CASE WHEN true THEN ", 20_000, " END"),
        repeated("1 UNION SELECT ", 20_000, "1"),
        repeated("1 UNION (SELECT ", 20_000, "1") + &")".repeat(20_000),
        format!("SELECT * FROM t {}", "JOIN t ON true ".repeat(30_000)),
        format!("SELECT * FROM {}t{}", "(SELECT * FROM ".repeat(20_000), ") x".repeat(20_000)),
        format!("{}SELECT 1", "EXPLAIN ".repeat(100)),
        format!("SELECT x{}", "::int".repeat(100_000)),
        format!("SELECT x{}", "[1]".repeat(100_000)),
        format!("SELECT x{}", " IS NULL".repeat(50_000)),
        format!("SELECT x{}", " COLLATE \"C\"".repeat(50_000)),
        format!("SELECT {}", "x.".repeat(100_000) + "x"),
        format!("WITH {} SELECT 1", vec!["a AS (SELECT 1)"; 20_000].join(",")),
        "/*".repeat(100_000),
        "/*".repeat(6_000),
        format!("SELECT {}1", "+-".repeat(6_000)),
        format!("SELECT {}1", "@-".repeat(90_000)),
        "/* a */ ".repeat(30_000),
        "$a$ ".repeat(100_000),
        format!("SELECT {}", "$a".repeat(100_000)),
        "-- x\n".repeat(100_000),
        "(".repeat(1_000_000),
        "SELECT ".to_owned() + &"'".repeat(999_999),
    ];
    for sql in hostile {
        let shown = &sql[..40.min(sql.len())];
        let begun = Instant::now();
        let result = exercise(parser, &sql);
        assert!(begun.elapsed() < Duration::from_secs(15), "{shown}: {:?}", begun.elapsed());
        assert!(!matches!(result, Err(UnreadableKind::Internal)), "{shown}: {result:?}");
    }
    // Lanes go on.
    assert!(exercise(parser, "SELECT 1").is_ok());
    assert!(exercise(parser, &format!("SELECT '{}'", "x".repeat(20_000))).is_ok());
}

#[test]
fn depth_just_within_the_limit_is_read() {
    let parser = parser();
    for sql in [
        format!("SELECT {}1 FROM customers", "1+".repeat(900)),
        format!("SELECT {}true FROM customers WHERE ssn = '1'", "NOT ".repeat(900)),
        vec!["SELECT 1"; 900].join(" UNION ALL "),
        format!("SELECT 1 FROM customers c {}", "JOIN orders o ON o.id = c.id ".repeat(900)),
        format!("SELECT {}1{}", "(SELECT ".repeat(300), ")".repeat(300)),
        format!("SELECT 1 WHERE {}", vec!["a = 1 OR b = 2 AND c = 3"; 3000].join(" OR ")),
        format!("SELECT 1 WHERE a IN ({})", vec!["'x'"; 30_000].join(",")),
        format!("INSERT INTO orders (note) VALUES ('{}')", "so many words - ".repeat(60_000)),
        format!("INSERT INTO orders (note) VALUES ('{}')", "/* ===== */ ".repeat(60_000)),
        format!("SELECT 1 {}", "-- word word\n".repeat(50_000)),
        format!("INSERT INTO customers (ssn, id) VALUES {}", vec!["('x', 1)"; 20_000].join(",")),
    ] {
        assert_eq!(exercise(parser, &sql), Ok(()), "{}", &sql[..60]);
    }
}

#[test]
fn limits_are_told_apart() {
    let kind = |limits: Limits, sql: &str| Parser::new(limits).parse(sql).unwrap_err();
    let default = Limits::default();
    let too_long = kind(Limits { bytes: 10, ..default }, "SELECT 12345");
    assert_eq!(too_long.kind, UnreadableKind::TooLarge);
    assert!(too_long.message.contains("12 bytes") && too_long.message.contains("10"), "{too_long}");
    let too_deep = kind(Limits { depth: 20, ..default }, "SELECT 1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1");
    assert_eq!(too_deep.kind, UnreadableKind::TooLarge);
    let too_many = kind(Limits { statements: 2, ..default }, "SELECT 1; SELECT 2; SELECT 3");
    assert_eq!(too_many.kind, UnreadableKind::TooLarge);
    assert!(Parser::new(Limits { bytes: 8, ..default }).parse("SELECT 1").is_ok());
    let parts = kind(default, &format!("SELECT {}", vec!["1"; 250_000].join(",")));
    assert_eq!(parts.kind, UnreadableKind::TooLarge);
}

#[test]
fn what_the_grammar_refuses_says_where() {
    let parser = parser();
    let table = [
        ("SELEC 1", Some(0)),
        ("SELECT 1 FROM", Some(13)),
        ("SELECT 'unterminated", Some(7)),
        ("SELECT \"unterminated", Some(7)),
        ("SELECT $a$ unterminated", Some(7)),
        ("SELECT /* /* */ unterminated", Some(7)),
        ("SELECT 1 2", None),
        ("SELECT a a a", None),
        ("SELECT a\0b", Some(8)),
        ("INSERT INTO t VALUE (1)", Some(14)),
    ];
    for (sql, position) in table {
        let error = parser.parse(sql).expect_err(sql);
        assert_eq!(error.kind, UnreadableKind::Malformed, "{sql}");
        assert!(!error.message.is_empty());
        if position.is_some() {
            assert_eq!(error.position, position, "{sql}: {error}");
        }
    }
    let error = parser.parse_bytes(b"SELECT '\xff'").unwrap_err();
    assert_eq!((error.kind, error.position), (UnreadableKind::Malformed, Some(8)));
}

#[test]
fn lexer_tricks_mean_what_the_server_takes_them_for() {
    let parser = parser();
    let kinds = |sql: &str| {
        parser.parse(sql).map(|text| text.statements.iter().map(|statement| statement.kind).collect::<Vec<_>>()).ok()
    };
    assert_eq!(kinds("SELECT 'a\\'; DROP TABLE t; --'"), Some(vec!["select", "drop"]));
    assert_eq!(kinds("SELECT E'a\\'; DROP TABLE t; --'"), Some(vec!["select"]));
    assert_eq!(kinds("SELECT /* /* */ ; DROP TABLE t; */ 1"), Some(vec!["select"]));
    assert_eq!(kinds("SELECT $a$; DROP TABLE t; $b$ $a$"), Some(vec!["select"]));
    assert_eq!(kinds("SELECT 1 -- \\\n; DROP TABLE t"), Some(vec!["select", "drop"]));
    assert_eq!(kinds("SELECT 1 -- x\r; DROP TABLE t"), Some(vec!["select", "drop"]));
    assert_eq!(kinds("sElEcT 1;dRoP tAbLe t"), Some(vec!["select", "drop"]));
    assert_eq!(kinds("SELECT\u{a0}1"), None);
    assert_eq!(kinds("\u{feff}DROP TABLE t"), None);
    assert_eq!(kinds("/*!50000 DROP TABLE t */ SELECT 1"), Some(vec!["select"]));
    assert_eq!(kinds("SELECT 'a'\n'; DROP TABLE t; '"), Some(vec!["select"]));
    let text = parser.parse("SELECT * FROM U&\"c\\0075stomers\" UESCAPE '\\'").unwrap();
    assert_eq!(text.statements[0].exposure(&Shop).touches, [100]);
    let text = parser.parse("SELECT * FROM U&\"c!0075stomers\" UESCAPE '!'").unwrap();
    assert_eq!(text.statements[0].exposure(&Shop).touches, [100]);
}

#[test]
fn the_cache_keeps_its_bound() {
    let bound = 1 << 20;
    let parser = Parser::new(Limits { cache_bytes: bound, ..Limits::default() });
    for number in 0..5_000 {
        let _ = parser.parse(&format!("SELECT {number} FROM customers WHERE ssn = 'x' AND id IN (1, 2, 3)"));
        let _ = parser.parse(&format!("SELEC {number}"));
        if number % 500 == 0 {
            assert!(parser.cached_bytes() <= bound, "{}", parser.cached_bytes());
        }
    }
    assert!((bound / 4..=bound).contains(&parser.cached_bytes()), "{}", parser.cached_bytes());
    let big = format!("SELECT '{}'", "x".repeat(500_000));
    let before = parser.cached_bytes();
    parser.parse(&big).unwrap();
    assert_eq!(parser.cached_bytes(), before, "one text does not push out all others");
}

#[test]
fn what_was_read_is_read_once() {
    let parser = parser();
    let (one, two) = (parser.parse("SELECT 1").unwrap(), parser.parse("SELECT 1").unwrap());
    assert!(Arc::ptr_eq(&one, &two));
    let (one, two) = (parser.parse("SELEC").unwrap_err(), parser.parse("SELEC").unwrap_err());
    assert!(Arc::ptr_eq(&one, &two));
    assert!(!Arc::ptr_eq(&parser.parse("SELECT 1").unwrap(), &parser.parse("SELECT  1").unwrap()));
}

#[test]
fn many_threads_share_a_parser() {
    let parser = parser();
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            thread::spawn(move || {
                for number in 0..200 {
                    let sql = format!("SELECT {} FROM customers", number % 50 + thread % 2);
                    assert_eq!(parser.parse(&sql).unwrap().statements.len(), 1);
                    let deep = format!("SELECT {}{number}", "NOT ".repeat(150));
                    if number % 50 == 0 {
                        let _ = parser.parse(&deep).unwrap();
                    }
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Pieces that combine into much that parses and much that almost does.
const PIECES: &[&str] = &[
    "SELECT",
    "*",
    ",",
    "ssn",
    "c.ssn",
    "c.*",
    "FROM",
    "customers c",
    "orders o",
    "(",
    ")",
    "WHERE",
    "AND",
    "OR",
    "NOT",
    "=",
    "'x'",
    "5",
    "$1",
    "JOIN",
    "ON",
    "USING (id)",
    "NATURAL",
    "LATERAL",
    "UNION",
    "ALL",
    "VALUES",
    "WITH",
    "x AS",
    "RECURSIVE",
    "INSERT INTO",
    "UPDATE",
    "SET",
    "DELETE FROM",
    "RETURNING",
    "ORDER BY",
    "GROUP BY",
    "LIMIT",
    "count(*)",
    "f(",
    "::text",
    "IS NULL",
    "IN",
    "EXISTS",
    "CASE WHEN",
    "THEN",
    "END",
    ";",
    "--",
    "/*",
    "*/",
    "'",
    "\"",
    "$$",
    "AS",
    "EXPLAIN",
    "PREPARE p AS",
    "COPY",
    "TO STDOUT",
    "x",
    "MERGE INTO",
    "WHEN MATCHED THEN",
    "ON CONFLICT DO UPDATE",
    "[",
    "]",
    "ARRAY",
    "||",
    "-",
    "OVER ()",
    "DROP TABLE",
    "CREATE TABLE t AS",
    "DECLARE c CURSOR FOR",
    "TABLE",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_is_fatal(text in "\\PC{0,200}") {
        let _ = exercise(parser(), &text);
    }

    #[test]
    fn no_bytes_are_fatal(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parser().parse_bytes(&bytes);
        let _ = statement::redact_unread(&bytes);
    }

    #[test]
    fn no_combination_is_fatal(pieces in proptest::collection::vec(proptest::sample::select(PIECES), 1..40)) {
        let parser = parser();
        let _ = exercise(parser, &pieces.join(" "));
        let _ = exercise(parser, &format!("SELECT {}", pieces.join(" ")));
    }

    /// Redacting twice redacts nothing more, and an unprotected literal is never touched.
    #[test]
    fn nothing_else_is_redacted(literal in "[a-z ]{0,20}", number in 0u32..1000) {
        let parser = parser();
        let sql = format!("SELECT '{literal}', {number} FROM orders WHERE note = '{literal}'");
        let text = parser.parse(&sql).unwrap();
        prop_assert_eq!(text.redacted(Some(&Shop), &|_| None), sql);
    }

    /// Whatever stands against a protected column is gone from the redacted text.
    #[test]
    fn what_meets_is_gone(secret in "[a-z]{12}", shape in 0usize..8) {
        let sql = [
            format!("SELECT id FROM customers WHERE ssn = '{secret}'"),
            format!("UPDATE customers SET email = lower('{secret}') WHERE id = 1"),
            format!("INSERT INTO customers (id, ssn) VALUES (1, '{secret}')"),
            format!("SELECT 1 FROM customers c, (VALUES ('{secret}')) v (x) WHERE v.x = c.email"),
            format!("WITH v AS (SELECT '{secret}' AS x) SELECT 1 FROM customers, v WHERE ssn = x"),
            format!("SELECT 1 FROM customers WHERE (id, ssn) IN ((1, '{secret}'))"),
            format!("SELECT ssn || '{secret}' FROM customers -- {secret}"),
            format!("EXPLAIN SELECT CASE ssn WHEN '{secret}' THEN 1 END FROM customers"),
        ];
        let parser = parser();
        let shown = parser.parse(&sql[shape]).unwrap().redacted(Some(&Shop), &|_| None);
        prop_assert!(!shown.contains(&secret), "{}", shown);
    }
}
