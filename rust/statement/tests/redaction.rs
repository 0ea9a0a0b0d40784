//! Texts as the trail shows them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod shop;

use shop::Shop;
use statement::{Limits, Parser, redact_unread};

/// Stands in for the detectors: three digits, two, four, with dashes.
fn looks(literal: &[u8]) -> Option<&'static str> {
    let shape: Vec<u8> = literal.iter().map(|byte| if byte.is_ascii_digit() { b'9' } else { *byte }).collect();
    shape.windows(11).any(|window| window == b"999-99-9999").then_some("ssn")
}

fn redacted(sql: &str) -> String {
    let parser = Parser::new(Limits::default());
    let text = parser.parse(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    text.redacted(Some(&Shop), &looks)
}

#[test]
fn literals_that_meet_protected_columns_go() {
    let table = [
        // Compared with.
        ("SELECT id FROM customers WHERE ssn = 'x'", "SELECT id FROM customers WHERE ssn = <text>"),
        ("SELECT id FROM customers WHERE 'x' = ssn", "SELECT id FROM customers WHERE <text> = ssn"),
        ("SELECT id FROM customers WHERE name = 'x'", "SELECT id FROM customers WHERE name = 'x'"),
        (
            "SELECT id FROM customers WHERE name = 'x' AND ssn LIKE 'y%'",
            "SELECT id FROM customers WHERE name = 'x' AND ssn LIKE <text>",
        ),
        (
            "SELECT id FROM customers WHERE NOT (id > 5 OR ssn IN ('a', 'b'))",
            "SELECT id FROM customers WHERE NOT (id > 5 OR ssn IN (<text>, <text>))",
        ),
        (
            "SELECT id FROM customers WHERE ssn BETWEEN 'a' AND 'b'",
            "SELECT id FROM customers WHERE ssn BETWEEN <text> AND <text>",
        ),
        (
            "SELECT id FROM customers WHERE substr(ssn, 1, 2) = 'ab'",
            "SELECT id FROM customers WHERE substr(ssn, <number>, <number>) = <text>",
        ),
        (
            "SELECT id FROM customers WHERE ssn = ANY (ARRAY['a'])",
            "SELECT id FROM customers WHERE ssn = ANY (ARRAY[<text>])",
        ),
        ("SELECT id FROM customers WHERE id = -5", "SELECT id FROM customers WHERE id = -5"),
        ("SELECT id FROM customers WHERE ssn::int = -5", "SELECT id FROM customers WHERE ssn::int = -<number>"),
        ("SELECT id FROM customers WHERE ssn = E'a\\'b'", "SELECT id FROM customers WHERE ssn = <text>"),
        (
            "SELECT id FROM customers WHERE ssn = $$a$$ OR ssn = U&'\\0061' OR ssn::bit(4) = B'01'",
            "SELECT id FROM customers WHERE ssn = <text> OR ssn = <text> OR ssn::bit(4) = <bits>",
        ),
        // Through names that imitate harmless ones.
        (
            "SELECT 1 FROM (SELECT ssn AS id FROM customers) x WHERE x.id = 'a'",
            "SELECT 1 FROM (SELECT ssn AS id FROM customers) x WHERE x.id = <text>",
        ),
        (
            "WITH o AS (SELECT ssn AS note FROM customers) SELECT 1 FROM o WHERE note = 'a'",
            "WITH o AS (SELECT ssn AS note FROM customers) SELECT 1 FROM o WHERE note = <text>",
        ),
        (
            "SELECT 1 FROM customers c JOIN (VALUES ('a')) v (x) ON v.x = c.ssn",
            "SELECT 1 FROM customers c JOIN (VALUES (<text>)) v (x) ON v.x = c.ssn",
        ),
        ("SELECT 1 FROM customers WHERE ssn IN (SELECT 'a')", "SELECT 1 FROM customers WHERE ssn IN (SELECT <text>)"),
        (
            "SELECT 1 FROM customers WHERE ssn = (SELECT note FROM orders WHERE note = 'a')",
            "SELECT 1 FROM customers WHERE ssn = (SELECT note FROM orders WHERE note = 'a')",
        ),
        ("SELECT count(nullif(ssn, 'a')) FROM customers", "SELECT count(nullif(ssn, <text>)) FROM customers"),
        (
            "SELECT id FROM customers GROUP BY id HAVING max(ssn) > 'a'",
            "SELECT id FROM customers GROUP BY id HAVING max(ssn) > <text>",
        ),
        (
            "SELECT CASE WHEN ssn = 'a' THEN 'b' END FROM customers",
            "SELECT CASE WHEN ssn = <text> THEN <text> END FROM customers",
        ),
        // Put into.
        (
            "INSERT INTO customers (name, ssn) VALUES ('a', 'b'), ('c', 'd')",
            "INSERT INTO customers (name, ssn) VALUES ('a', <text>), ('c', <text>)",
        ),
        ("INSERT INTO customers VALUES (1, 'a', 'b')", "INSERT INTO customers VALUES (1, 'a', <text>)"),
        ("INSERT INTO customers (ssn, id) SELECT 'a', 5", "INSERT INTO customers (ssn, id) SELECT <text>, 5"),
        (
            "INSERT INTO customers (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET ssn = 'a', name = 'b'",
            "INSERT INTO customers (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET ssn = <text>, name = 'b'",
        ),
        (
            "UPDATE customers SET ssn = 'a', name = 'b' WHERE id = 5",
            "UPDATE customers SET ssn = <text>, name = 'b' WHERE id = 5",
        ),
        ("DELETE FROM customers WHERE email = 'a'", "DELETE FROM customers WHERE email = <text>"),
        (
            "MERGE INTO customers c USING orders o ON c.id = o.id WHEN MATCHED THEN UPDATE SET ssn = 'a', city = 'b'",
            "MERGE INTO customers c USING orders o ON c.id = o.id WHEN MATCHED THEN UPDATE SET ssn = <text>, city = 'b'",
        ),
        // Kept.
        (
            "SELECT ssn, 'label', 1 FROM customers ORDER BY 1 LIMIT 10 OFFSET 5",
            "SELECT ssn, 'label', 1 FROM customers ORDER BY 1 LIMIT 10 OFFSET 5",
        ),
        (
            "SELECT id FROM customers WHERE name::varchar(10) = 'a'",
            "SELECT id FROM customers WHERE name::varchar(10) = 'a'",
        ),
        (
            "SELECT o.id FROM orders o WHERE o.note = 'a' AND o.id IN (SELECT id FROM customers)",
            "SELECT o.id FROM orders o WHERE o.note = 'a' AND o.id IN (SELECT id FROM customers)",
        ),
        (
            "SELECT note FROM orders WHERE note = 'anything' -- at all",
            "SELECT note FROM orders WHERE note = 'anything' -- at all",
        ),
        // Around it.
        (
            "PREPARE p AS SELECT 1 FROM customers WHERE ssn = 'a' AND id = 1",
            "PREPARE p AS SELECT 1 FROM customers WHERE ssn = <text> AND id = 1",
        ),
        ("EXPLAIN SELECT 1 FROM customers WHERE ssn = 'a'", "EXPLAIN SELECT 1 FROM customers WHERE ssn = <text>"),
        (
            "DECLARE c CURSOR FOR SELECT 1 FROM customers WHERE ssn = 'a'",
            "DECLARE c CURSOR FOR SELECT 1 FROM customers WHERE ssn = <text>",
        ),
        (
            "COPY (SELECT 1 FROM customers WHERE ssn = 'a') TO STDOUT",
            "COPY (SELECT 1 FROM customers WHERE ssn = <text>) TO STDOUT",
        ),
        ("EXECUTE p ('a', 5)", "EXECUTE p (<text>, <number>)"),
        ("COMMENT ON COLUMN customers.ssn IS 'a'", "COMMENT ON COLUMN customers.ssn IS <text>"),
        (
            "SELECT 1 WHERE 'a' = 'b'; SELECT 2 FROM customers WHERE ssn = 'c'; SELECT 'd'",
            "SELECT 1 WHERE 'a' = 'b'; SELECT 2 FROM customers WHERE ssn = <text>; SELECT 'd'",
        ),
        ("SELECT /* was 5 */ ssn FROM customers -- 6\n", "SELECT   ssn FROM customers  \n"),
        ("SELECT 1 FROM unheard_of, customers WHERE x = 'a'", "SELECT 1 FROM unheard_of, customers WHERE x = <text>"),
        ("SELECT 1 FROM secret_view WHERE a = 'a'", "SELECT 1 FROM secret_view WHERE a = <text>"),
    ];
    let wrong: Vec<String> = table
        .iter()
        .map(|(sql, expected)| (sql, expected, redacted(sql)))
        .filter(|(_, expected, found)| *expected != found)
        .map(|(sql, expected, found)| format!("{sql}\n  {found}\n  {expected}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn literals_that_look_sensitive_go_anywhere() {
    let table = [
        ("SELECT '123-45-6789'", "SELECT <ssn>"),
        ("SELECT 1 AS \"123-45-6789\"", "SELECT 1 AS \"<ssn>\""),
        ("SELECT E'123\\x2d45\\u002d6789'", "SELECT <ssn>"),
        ("SELECT E'123\\05545-6789'", "SELECT <ssn>"),
        ("SELECT U&'123\\002d45-6789'", "SELECT <ssn>"),
        ("SELECT $x$it is 123-45-6789$x$", "SELECT <ssn>"),
        ("SELECT X'3132332d34352d36373839'", "SELECT <ssn>"),
        ("DO 'BEGIN PERFORM ''123-45-6789''; END'", "DO <ssn>"),
        ("SELECT 1 /* 123-45-6789 */", "SELECT 1  "),
        ("SELECT 1 -- 123-45-6789", "SELECT 1  "),
        ("-- 123-45-6789\nSELECT 1", " \nSELECT 1"),
        ("SET application_name = '123-45-6789'", "SET application_name = <ssn>"),
        ("NOTIFY c, '123-45-6789'", "NOTIFY c, <ssn>"),
        ("SELECT id FROM customers WHERE ssn = '123-45-6789'", "SELECT id FROM customers WHERE ssn = <ssn>"),
        ("SELECT 'plain' /* kept */", "SELECT 'plain' /* kept */"),
    ];
    for (sql, expected) in table {
        assert_eq!(redacted(sql), expected, "{sql}");
    }
}

#[test]
fn passwords_go_always() {
    for (sql, expected) in [
        ("CREATE ROLE r PASSWORD 'hunter2'", "CREATE ROLE r PASSWORD <secret>"),
        ("ALTER USER u WITH ENCRYPTED PASSWORD 'hunter2'", "ALTER USER u WITH ENCRYPTED PASSWORD <secret>"),
        (
            "CREATE USER MAPPING FOR u SERVER s OPTIONS (password 'hunter2')",
            "CREATE USER MAPPING FOR u SERVER s OPTIONS (password <secret>)",
        ),
        (
            "CREATE SUBSCRIPTION s CONNECTION 'password=hunter2' PUBLICATION p",
            "CREATE SUBSCRIPTION s CONNECTION <secret> PUBLICATION p",
        ),
        ("SELECT dblink_connect('password=hunter2')", "SELECT dblink_connect(<secret>)"),
    ] {
        let text = Parser::new(Limits::default()).parse(sql).unwrap();
        assert_eq!(text.redacted(None, &|_| None), expected);
    }
}

#[test]
fn parameters_that_meet_protected_columns_are_known() {
    let table: [(&str, &[bool]); 14] = [
        ("SELECT 1 FROM customers WHERE ssn = $1 AND id = $2", &[true, false]),
        ("SELECT 1 FROM customers WHERE id = $2 AND ssn = $1", &[true, false]),
        ("SELECT 1 FROM orders WHERE note = $1", &[false]),
        ("INSERT INTO customers (name, ssn) VALUES ($1, $2)", &[false, true]),
        ("INSERT INTO customers VALUES ($1, $2, $3, $4, $5)", &[false, false, true, true, false]),
        ("INSERT INTO customers (name, ssn) VALUES ($1, $2), ($3, $1)", &[true, true, false]),
        ("INSERT INTO customers (name, ssn) SELECT $1, $2", &[false, true]),
        ("UPDATE customers SET ssn = $1, name = $2 WHERE id = $3", &[true, false, false]),
        ("UPDATE customers SET name = $1 WHERE email = $1", &[true]),
        ("SELECT * FROM customers LIMIT $1 OFFSET $2", &[false, false]),
        ("SELECT 1 FROM customers WHERE ssn IN (SELECT $1)", &[true]),
        ("SELECT 1 FROM customers c, LATERAL (SELECT $1 AS x) y WHERE y.x = c.ssn", &[true]),
        ("SELECT $3 FROM customers", &[true, true, false]),
        ("DELETE FROM customers WHERE lower(email) = lower($1)", &[true]),
    ];
    let parser = Parser::new(Limits::default());
    for (sql, expected) in table {
        assert_eq!(parser.parse(sql).unwrap().statements[0].parameters_protected(&Shop), expected, "{sql}");
    }
}

#[test]
fn texts_nobody_understood_show_no_literals() {
    assert_eq!(redact_unread(b"SELEC 'a', 5 /* b */ FROM \"c\""), "SELEC <text>, <number>   FROM <name>");
    assert_eq!(redact_unread(b"SELECT 'never ends"), "<unreadable text of 18 bytes>");
    assert_eq!(redact_unread(b"\xff\xfe"), "<unreadable text of 2 bytes>");
    assert_eq!(redact_unread(b"a\0b"), "<unreadable text of 3 bytes>");
    assert_eq!(redact_unread(&vec![b'a'; 1 << 20]), "<unreadable text of 1048576 bytes>");
}
