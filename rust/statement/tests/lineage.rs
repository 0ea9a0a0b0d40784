//! What outputs can carry. A case that leaked once is never deleted.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod shop;

use shop::Shop;
use statement::{Exposure, Limits, Output, Outputs, Parser};

fn exposure(sql: &str) -> Exposure {
    let parser = Parser::new(Limits::default());
    let text = parser.parse(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    text.statements.last().unwrap().exposure(&Shop)
}

/// `.` clean, `100.3` that column, `X` carries, `?` unknown.
fn outputs(sql: &str) -> String {
    match exposure(sql).outputs {
        Outputs::Unknown => "?".to_owned(),
        Outputs::Positions(outputs) => outputs.iter().map(shown).collect::<Vec<_>>().join(" "),
    }
}

fn shown(output: &Output) -> String {
    match output {
        Output::Clean => ".".to_owned(),
        Output::Column { relation, number } => format!("{relation}.{number}"),
        Output::Carries => "X".to_owned(),
    }
}

fn check(table: &[(&str, &str)]) {
    let wrong: Vec<String> = table
        .iter()
        .map(|(sql, expected)| (sql, expected, outputs(sql)))
        .filter(|(_, expected, found)| *expected != found)
        .map(|(sql, expected, found)| format!("{sql}: {found}, not {expected}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn plain_reads() {
    check(&[
        ("SELECT id, name, ssn, email, city FROM customers", ". . 100.3 100.4 ."),
        ("SELECT * FROM customers", ". . 100.3 100.4 ."),
        ("TABLE customers", ". . 100.3 100.4 ."),
        ("SELECT customers.* FROM customers", ". . 100.3 100.4 ."),
        ("SELECT public.customers.ssn FROM public.customers", "100.3"),
        ("SELECT shop.public.customers.ssn FROM customers", "100.3"),
        ("SELECT ssn AS id FROM customers", "100.3"),
        ("SELECT id AS ssn FROM customers", "."),
        ("SELECT c.ssn, c.id FROM customers c", "100.3 ."),
        ("SELECT c.x, c.z FROM customers c (x, y, z)", ". 100.3"),
        ("SELECT * FROM ONLY customers", ". . 100.3 100.4 ."),
        ("SELECT ssn FROM customers TABLESAMPLE system (50)", "100.3"),
        ("SELECT ctid, tableoid, xmin FROM customers", ". . ."),
        ("SELECT c.ctid FROM customers c", "."),
        ("SELECT a, b FROM secret_view", "500.1 500.2"),
        ("SELECT * FROM secret_view", "500.1 500.2"),
        ("SELECT \"ssn\" FROM \"customers\"", "100.3"),
        ("SELECT U&\"\\0073sn\" FROM customers", "100.3"),
        ("SELECT DISTINCT ssn FROM customers", "100.3"),
        ("SELECT id FROM customers ORDER BY ssn", "."),
        ("SELECT * FROM unheard_of", "?"),
        ("SELECT x FROM unheard_of", "X"),
        ("SELECT *, ssn FROM customers, notes", ". . 100.3 100.4 . . . 100.3"),
        ("SELECT n.*, c.* FROM customers c, notes n", ". . . . 100.3 100.4 ."),
        ("SELECT", ""),
        ("SELECT FROM customers", ""),
    ]);
}

#[test]
fn expressions() {
    check(&[
        ("SELECT 1, 'a', NULL, true, $1, now(), current_user FROM customers", ". . . . . . ."),
        ("SELECT ssn || '' FROM customers", "X"),
        ("SELECT ssn::varchar, ssn::text, CAST(ssn AS bytea) FROM customers", "X X X"),
        ("SELECT upper(name), upper(ssn) FROM customers", ". X"),
        ("SELECT substr(ssn, 1, 3), reverse(ssn), md5(ssn), length(ssn), ascii(ssn) FROM customers", "X X X X X"),
        ("SELECT CASE WHEN ssn LIKE '1%' THEN 'a' ELSE 'b' END FROM customers", "X"),
        ("SELECT CASE id WHEN 1 THEN ssn END FROM customers", "X"),
        ("SELECT COALESCE(NULL, ssn), NULLIF(ssn, 'x'), GREATEST(ssn, 'a') FROM customers", "X X X"),
        ("SELECT ssn = '1', ssn IN ('1'), ssn BETWEEN '1' AND '2', ssn ~ '1' FROM customers", "X X X X"),
        ("SELECT ssn IS NULL, email IS NOT NULL, c IS NULL FROM customers c", ". . ."),
        ("SELECT nullif(ssn, '1') IS NULL FROM customers", "X"),
        ("SELECT ARRAY[ssn], ROW(ssn), ROW(id) FROM customers", "X X ."),
        ("SELECT (ARRAY[ssn])[1] FROM customers", "X"),
        ("SELECT format('%s', ssn), concat(id, name) FROM customers", "X ."),
        ("SELECT encode(ssn::bytea, 'hex') FROM customers", "X"),
        ("SELECT ssn COLLATE \"C\" FROM customers", "X"),
        (
            "SELECT xmlelement(name a, ssn), xmlforest(ssn AS b), JSON_OBJECT('a': ssn), JSON_ARRAY(ssn) FROM customers",
            "X X X X",
        ),
        ("SELECT JSON_VALUE('{}', '$.a' PASSING ssn AS x) FROM customers", "X"),
        ("SELECT unheard_of(1) FROM customers", "X"),
        ("SELECT evil.lower('a') FROM customers", "X"),
        ("SELECT nextval('s') FROM customers", "."),
        ("SELECT id OPERATOR(pg_catalog.+) 1 FROM customers", "."),
    ]);
}

#[test]
fn whole_rows() {
    check(&[
        ("SELECT c FROM customers c", "X"),
        ("SELECT customers FROM customers", "X"),
        ("SELECT o FROM orders o, customers c", "."),
        ("SELECT c::text, to_json(c), row_to_json(c), to_jsonb(c.*) FROM customers c", "X X X X"),
        ("SELECT json_agg(c), array_agg(c) FROM customers c", "X X"),
        ("SELECT (c).ssn, (c).id FROM customers c", "X X"),
        ("SELECT (c).* FROM customers c", "?"),
        ("SELECT (c.*) FROM customers c", ". . 100.3 100.4 ."),
        ("SELECT ROW(c.*) FROM customers c", "X"),
        ("SELECT hash_record(c) FROM customers c", "X"),
        ("SELECT c.row_to_json FROM customers c", "X"),
        ("SELECT o.upper FROM orders o, customers", "."),
        ("SELECT o.unheard_of FROM orders o, customers", "X"),
        ("SELECT x FROM (SELECT * FROM customers) x", "X"),
        ("SELECT (x.c).ssn FROM (SELECT c FROM customers c) x", "X"),
        ("SELECT x.c FROM (SELECT c FROM customers c) x", "X"),
        ("SELECT j FROM customers c JOIN orders o ON true, LATERAL (SELECT c) j", "X"),
        ("SELECT old.ssn FROM customers AS old", "100.3"),
    ]);
}

#[test]
fn aggregates_and_windows() {
    check(&[
        ("SELECT count(*), count(ssn), count(DISTINCT ssn) FROM customers", ". . ."),
        ("SELECT count(*) FILTER (WHERE ssn LIKE '1%') FROM customers", "X"),
        ("SELECT count(*) FILTER (WHERE id > 1) FROM customers", "."),
        ("SELECT evil.count(ssn) FROM customers", "X"),
        (
            "SELECT min(ssn), max(email), string_agg(ssn, ','), array_agg(ssn), json_agg(ssn) FROM customers",
            "X X X X X",
        ),
        ("SELECT min(id), max(name), avg(id), sum(id) FROM customers", ". . . ."),
        (
            "SELECT mode() WITHIN GROUP (ORDER BY ssn), percentile_disc(0.5) WITHIN GROUP (ORDER BY ssn) FROM customers",
            "X X",
        ),
        ("SELECT string_agg(name, ',' ORDER BY ssn) FROM customers", "X"),
        ("SELECT ssn, count(*) FROM customers GROUP BY ssn", "100.3 ."),
        ("SELECT city, count(*) FROM customers GROUP BY 1 HAVING count(*) > 1", ". ."),
        ("SELECT GROUPING(ssn), city FROM customers GROUP BY CUBE (ssn, city)", ". ."),
        ("SELECT row_number() OVER (ORDER BY id), row_number() OVER (ORDER BY ssn) FROM customers", ". X"),
        ("SELECT lag(ssn) OVER (), first_value(email) OVER (), count(*) OVER () FROM customers", "X X ."),
        ("SELECT count(*) OVER (PARTITION BY ssn) FROM customers", "X"),
    ]);
}

#[test]
fn subqueries() {
    check(&[
        ("SELECT x.ssn FROM (SELECT * FROM customers) x", "100.3"),
        ("SELECT x.a FROM (SELECT ssn AS a FROM customers) x", "100.3"),
        ("SELECT a FROM (SELECT ssn FROM customers) x (a)", "100.3"),
        ("SELECT * FROM (SELECT upper(ssn), id FROM customers) x", "X ."),
        ("SELECT upper FROM (SELECT upper(ssn) FROM customers) x", "X"),
        ("SELECT \"case\" FROM (SELECT CASE WHEN true THEN ssn END FROM customers) x", "X"),
        ("SELECT \"?column?\" FROM (SELECT ssn || '' FROM customers) x", "X"),
        ("SELECT varchar FROM (SELECT ('' || ssn)::varchar FROM customers) x", "X"),
        (
            "SELECT (SELECT \"case\" FROM (SELECT CASE WHEN true THEN ssn END FROM customers) x) FROM (SELECT 1 AS \"case\") y",
            "X",
        ),
        ("SELECT (SELECT ssn FROM customers LIMIT 1)", "X"),
        ("SELECT (SELECT id FROM customers LIMIT 1)", "."),
        ("SELECT (SELECT count(*) FROM customers)", "."),
        ("SELECT (SELECT count(*) FROM customers WHERE ssn LIKE '1%')", "X"),
        ("SELECT (SELECT count(*) FROM orders o WHERE o.customer_id = c.id) FROM customers c", "."),
        ("SELECT EXISTS (SELECT ssn FROM customers WHERE id = 1)", "."),
        ("SELECT EXISTS (SELECT 1 FROM customers WHERE ssn LIKE '1%')", "X"),
        ("SELECT EXISTS (SELECT 1 FROM customers c JOIN orders o ON c.ssn = o.note)", "X"),
        ("SELECT '1' IN (SELECT ssn FROM customers)", "X"),
        ("SELECT '1' = ANY (SELECT ssn FROM customers)", "X"),
        ("SELECT ARRAY(SELECT ssn FROM customers)", "X"),
        ("SELECT ARRAY(SELECT id FROM customers)", "."),
        ("SELECT (SELECT c.ssn) FROM customers c", "X"),
        ("SELECT (SELECT ssn) FROM customers", "X"),
        ("SELECT x.y FROM customers c, LATERAL (SELECT c.ssn AS y) x", "100.3"),
        ("SELECT x.y FROM customers c CROSS JOIN LATERAL (SELECT c.ssn || '' AS y) x", "X"),
        ("SELECT n.id FROM notes n WHERE n.body IN (SELECT ssn FROM customers)", "."),
        ("SELECT o.id, (SELECT c.name FROM customers c WHERE c.id = o.customer_id) FROM orders o", ". ."),
        ("SELECT JSON_ARRAY(SELECT ssn FROM customers)", "X"),
    ]);
}

#[test]
fn common_table_expressions() {
    check(&[
        ("WITH x AS (SELECT * FROM customers) SELECT * FROM x", ". . 100.3 100.4 ."),
        ("WITH x (a, b) AS (SELECT id, ssn FROM customers) SELECT b, a FROM x", "100.3 ."),
        ("WITH customers AS (SELECT id AS ssn FROM orders) SELECT ssn FROM customers", "."),
        ("WITH customers AS (SELECT ssn AS id FROM customers) SELECT id FROM customers", "100.3"),
        ("WITH orders AS (SELECT ssn AS note FROM customers) SELECT note FROM orders", "100.3"),
        ("WITH orders AS (SELECT ssn AS note FROM customers) SELECT note FROM public.orders", "."),
        ("WITH a AS (SELECT ssn FROM customers), b AS (SELECT ssn || '' AS id FROM a) SELECT id FROM b", "X"),
        (
            "WITH a AS (SELECT ssn AS v FROM customers) SELECT (WITH a AS (SELECT 1 AS v) SELECT v FROM a), v FROM a",
            ". 100.3",
        ),
        (
            "WITH RECURSIVE t AS (SELECT id, name, manager_id FROM employees WHERE id = 1 UNION ALL SELECT e.id, e.name, e.manager_id FROM employees e JOIN t ON e.manager_id = t.id) SELECT * FROM t",
            ". . .",
        ),
        (
            "WITH RECURSIVE t (v) AS (SELECT ssn FROM employees UNION SELECT ssn FROM employees) SELECT v FROM t",
            "300.2",
        ),
        (
            "WITH RECURSIVE t (n, v) AS (SELECT 1, 'x' UNION ALL SELECT n + 1, ssn FROM t, employees WHERE n < 3) SELECT n, v FROM t",
            ". X",
        ),
        (
            "WITH RECURSIVE t (a, b, c) AS (SELECT '', '', '' UNION ALL SELECT b, c, ssn FROM t, customers) SELECT a, b, c FROM t",
            "X X X",
        ),
        ("WITH RECURSIVE b AS (SELECT * FROM a), a AS (SELECT ssn FROM customers) SELECT * FROM b", "?"),
        (
            "WITH RECURSIVE t AS (SELECT id, ssn FROM customers UNION ALL SELECT id, ssn FROM t) SEARCH DEPTH FIRST BY ssn SET o SELECT o FROM t",
            "X",
        ),
        ("WITH x AS MATERIALIZED (SELECT ssn FROM customers) SELECT max(ssn) FROM x", "X"),
    ]);
}

#[test]
fn set_operations_and_values() {
    check(&[
        ("SELECT ssn FROM customers UNION SELECT ssn FROM customers", "100.3"),
        ("SELECT ssn FROM customers UNION ALL SELECT 'x'", "X"),
        ("SELECT 'x' UNION ALL SELECT ssn FROM customers", "X"),
        ("SELECT id, name FROM customers UNION SELECT id, body FROM notes", ". ."),
        ("SELECT body FROM notes UNION SELECT note FROM orders UNION SELECT ssn FROM customers", "X"),
        ("SELECT note FROM orders INTERSECT SELECT ssn FROM customers", "X"),
        ("SELECT note FROM orders EXCEPT SELECT ssn FROM customers", "X"),
        ("(SELECT ssn FROM customers LIMIT 1) UNION ALL (SELECT email FROM customers)", "X"),
        ("SELECT * FROM customers UNION SELECT 1, 'a', 'b', 'c', 'd'", ". . X X ."),
        ("SELECT a FROM (SELECT note AS a FROM orders UNION SELECT ssn FROM customers) x", "X"),
        ("VALUES (1, 'a')", ". ."),
        ("VALUES (1, (SELECT ssn FROM customers LIMIT 1))", ". X"),
        ("SELECT column1, column2 FROM (VALUES (1, 2)) v, customers", ". ."),
        ("SELECT v.b FROM customers c, LATERAL (VALUES (c.id, c.ssn)) v (a, b)", "X"),
        ("SELECT id FROM customers UNION SELECT id FROM orders ORDER BY 1", "."),
        ("SELECT ssn FROM customers UNION SELECT ssn FROM customers ORDER BY ssn", "100.3"),
    ]);
}

#[test]
fn joins() {
    check(&[
        ("SELECT c.ssn, o.note FROM customers c JOIN orders o ON o.customer_id = c.id", "100.3 ."),
        ("SELECT * FROM customers c LEFT JOIN notes n ON n.id = c.id", ". . 100.3 100.4 . . ."),
        ("SELECT * FROM notes JOIN customers USING (id)", ". . . 100.3 100.4 ."),
        ("SELECT * FROM customers JOIN employees USING (ssn)", "X . . 100.4 . . . ."),
        ("SELECT ssn FROM customers JOIN employees USING (ssn)", "X"),
        ("SELECT ssn FROM customers FULL JOIN (SELECT 'x' AS ssn) x USING (ssn)", "X"),
        ("SELECT * FROM customers NATURAL JOIN employees", ". . X 100.4 . ."),
        ("SELECT * FROM notes NATURAL JOIN orders", ". . . . ."),
        ("SELECT * FROM customers NATURAL JOIN unheard_of", "?"),
        ("SELECT id FROM customers NATURAL JOIN unheard_of", "X"),
        ("SELECT j.ssn, j.body FROM (customers c CROSS JOIN notes n) j", "100.3 ."),
        ("SELECT j.c3 FROM (customers CROSS JOIN notes) j (c1, c2, c3)", "100.3"),
        ("SELECT u.ssn FROM customers JOIN employees USING (ssn) AS u", "X"),
        ("SELECT u.* FROM customers JOIN employees USING (id) AS u", "."),
        ("SELECT a.id, b.ssn FROM notes a JOIN (customers b JOIN orders o ON true) ON true", ". 100.3"),
        ("SELECT x FROM customers c, unnest(ARRAY[c.ssn]) x", "X"),
        ("SELECT x FROM customers c, unnest(ARRAY[c.id]) x", "."),
        ("SELECT x.y FROM customers c, regexp_split_to_table(c.ssn, '') AS x (y)", "X"),
        ("SELECT g, c.id FROM customers c, generate_series(1, 2) g", ". ."),
        ("SELECT key, value FROM customers c, jsonb_each_text(to_jsonb(c))", "X X"),
        ("SELECT x.* FROM customers c, json_each_text(row_to_json(c)) x", "?"),
        ("SELECT j.a FROM customers c, JSON_TABLE(c.ssn, '$' COLUMNS (a text PATH '$')) j", "X"),
        ("SELECT x.a FROM customers c, XMLTABLE('/a' PASSING c.ssn COLUMNS a text) x", "X"),
        ("SELECT f.* FROM unheard_of() f, customers", "?"),
        ("SELECT f.a FROM unheard_of() f, customers", "X"),
        ("SELECT c.id FROM unheard_of() f, customers c", "."),
    ]);
}

#[test]
fn writes() {
    check(&[
        ("INSERT INTO customers (name, ssn) VALUES ('a', '1')", ""),
        ("INSERT INTO customers (name, ssn) VALUES ('a', '1') RETURNING id, ssn", ". 100.3"),
        ("INSERT INTO customers VALUES (1, 'a', 'b', 'c', 'd') RETURNING *", ". . 100.3 100.4 ."),
        ("INSERT INTO notes (body) SELECT ssn FROM customers RETURNING id, body", ". X"),
        ("INSERT INTO notes (body) SELECT ssn || '' FROM customers RETURNING *", ". X"),
        ("INSERT INTO notes SELECT id, name FROM customers RETURNING *", ". ."),
        (
            "INSERT INTO notes (body) SELECT ssn FROM customers ON CONFLICT (id) DO UPDATE SET id = excluded.body::int RETURNING id",
            "X",
        ),
        ("INSERT INTO employees (ssn) SELECT ssn FROM customers RETURNING ssn", "X"),
        ("WITH x AS (INSERT INTO notes (body) SELECT ssn FROM customers RETURNING body) SELECT body FROM x", "X"),
        ("UPDATE notes SET body = (SELECT ssn FROM customers LIMIT 1) RETURNING body, id", "X ."),
        ("UPDATE notes n SET body = c.ssn FROM customers c RETURNING n.body, c.ssn, c.id", "X 100.3 ."),
        ("UPDATE customers SET name = ssn RETURNING name", "X"),
        ("UPDATE customers SET ssn = reverse(ssn) RETURNING ssn", "X"),
        ("UPDATE customers SET ssn = ssn RETURNING ssn", "100.3"),
        ("UPDATE customers SET city = 'x' WHERE id = 1 RETURNING *", ". . 100.3 100.4 ."),
        ("UPDATE customers SET (name, city) = (SELECT ssn, 'x' FROM employees) RETURNING name, city", "X X"),
        ("UPDATE customers SET name = 'x' RETURNING old.ssn, new.ssn, old.name, new.name", "100.3 100.3 . ."),
        ("UPDATE customers SET name = ssn RETURNING old.name, new.name", ". X"),
        ("UPDATE customers SET name = ssn RETURNING WITH (OLD AS o) o.name", "X"),
        ("DELETE FROM customers WHERE id = 1 RETURNING ssn, name", "100.3 ."),
        ("DELETE FROM notes USING customers c WHERE c.id = notes.id RETURNING *", ". . . . 100.3 100.4 ."),
        (
            "MERGE INTO notes n USING customers c ON n.id = c.id WHEN MATCHED THEN UPDATE SET body = c.ssn RETURNING n.body, n.id, c.ssn",
            "X . 100.3",
        ),
        (
            "MERGE INTO notes n USING customers c ON n.id = c.id WHEN NOT MATCHED THEN INSERT VALUES (c.id, c.ssn) RETURNING n.body",
            "X",
        ),
        ("MERGE INTO notes n USING customers c ON n.id = c.id WHEN MATCHED THEN DELETE RETURNING *", "?"),
        (
            "MERGE INTO notes n USING customers c ON n.id = c.id WHEN MATCHED THEN DELETE RETURNING merge_action(), n.body",
            ". .",
        ),
    ]);
}

#[test]
fn other_statements() {
    check(&[
        ("EXPLAIN SELECT ssn FROM customers", "."),
        ("EXPLAIN ANALYZE SELECT ssn FROM customers WHERE ssn = '1'", "."),
        ("EXPLAIN SELECT unheard_of(ssn) FROM customers", "X"),
        ("PREPARE p AS SELECT ssn FROM customers", ""),
        ("DECLARE c CURSOR FOR SELECT ssn FROM customers", ""),
        ("EXECUTE p", "?"),
        ("FETCH c", "?"),
        ("CALL p()", "?"),
        ("SHOW search_path", "?"),
        ("COPY customers TO STDOUT", "?"),
        ("COPY (SELECT id FROM customers) TO STDOUT", "?"),
        ("CREATE TABLE n AS SELECT ssn FROM customers", ""),
        ("BEGIN", ""),
    ]);
}

#[test]
fn what_is_touched_and_stored() {
    let table: [(&str, &[u32], bool); 22] = [
        ("SELECT 1 FROM customers", &[100], false),
        ("SELECT 1 FROM orders", &[], false),
        ("SELECT 1 FROM orders WHERE note IN (SELECT ssn FROM customers)", &[100], false),
        ("SELECT * FROM employees, customers, secret_view", &[100, 300, 500], false),
        ("COPY customers TO STDOUT", &[100], false),
        ("EXPLAIN SELECT * FROM customers", &[100], false),
        ("PREPARE p AS SELECT * FROM customers", &[100], false),
        ("WITH customers AS (SELECT 1) SELECT * FROM customers", &[], false),
        ("TRUNCATE customers", &[100], false),
        ("INSERT INTO customers (ssn) VALUES ('1')", &[100], false),
        ("INSERT INTO notes (body) SELECT ssn FROM customers", &[100], true),
        ("INSERT INTO notes (id) SELECT id FROM customers", &[100], false),
        ("INSERT INTO notes SELECT * FROM unheard_of", &[], true),
        ("UPDATE customers SET name = ssn", &[100], true),
        ("UPDATE customers SET ssn = upper(ssn)", &[100], true),
        ("UPDATE customers SET city = name", &[100], false),
        ("CREATE TABLE n AS SELECT ssn FROM customers", &[100], true),
        ("CREATE TABLE n AS SELECT id FROM customers", &[100], false),
        ("CREATE VIEW n AS SELECT ssn FROM customers", &[100], true),
        ("SELECT ssn INTO n FROM customers", &[100], true),
        ("WITH x AS (UPDATE notes SET body = (SELECT ssn FROM customers)) SELECT 1", &[100], true),
        (
            "MERGE INTO notes n USING customers c ON true WHEN NOT MATCHED THEN INSERT (body) VALUES (c.ssn)",
            &[100],
            true,
        ),
    ];
    for (sql, touches, stores) in table {
        let exposure = exposure(sql);
        assert_eq!((exposure.touches.as_slice(), exposure.stores), (touches, stores), "{sql}");
    }
    assert_eq!(exposure("SELECT * FROM a, b.c, orders").unknown, ["a", "b.c"]);
    assert_eq!(exposure("SELECT c.f, c.id, (c).g FROM customers c").attributes, ["f"]);
}

#[test]
fn hostile_queries_end() {
    let mut nested = "SELECT ssn FROM customers".to_owned();
    for _ in 0..60 {
        nested = format!("SELECT * FROM ({nested}) x");
    }
    assert_eq!(outputs(&nested), "?");
    let mut recursive = "SELECT ssn FROM customers".to_owned();
    for _ in 0..20 {
        recursive = format!("WITH RECURSIVE r (v) AS ({recursive} UNION ALL SELECT v || 'x' FROM r) SELECT v FROM r");
    }
    assert!(["?", "X"].contains(&outputs(&recursive).as_str()));
    let stars = format!("SELECT {}id FROM customers a, customers b, customers c", "*,".repeat(20_000));
    assert_eq!(outputs(&stars), "?");
    let union = vec!["SELECT name FROM customers"; 400].join(" UNION ALL ");
    assert_eq!(outputs(&union), ".");
    let union = format!("{union} UNION ALL SELECT ssn FROM customers");
    assert_eq!(outputs(&union), "X");
    let chain = format!("SELECT c.ssn, c.id FROM customers c {}", "JOIN orders o ON true ".repeat(300));
    assert_eq!(outputs(&chain), "100.3 .");
}
