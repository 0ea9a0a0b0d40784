//! What statements are, what rights they need, and what they name.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use statement::{Access, Limits, Parser, Statement};

fn parser() -> Parser {
    Parser::new(Limits::default())
}

fn rights(statement: &Statement) -> String {
    statement.rights.names().collect::<Vec<_>>().join("+")
}

/// Each line: kind, rights, text. The rights `setting` and `never` are those no preset gives.
const KINDS: &str = "
select|read|SELECT 1
select|read|SELECT * FROM t WHERE a = 1 ORDER BY b LIMIT 10
select|read|TABLE t
select|read|SELECT a FROM t UNION ALL SELECT b FROM u
select|read|SELECT a FROM t INTERSECT SELECT b FROM u EXCEPT SELECT c FROM v
select|read|WITH x AS (SELECT 1) SELECT * FROM x
select|read|WITH RECURSIVE x(n) AS (VALUES (1) UNION ALL SELECT n+1 FROM x WHERE n < 5) SELECT * FROM x
select|read|SELECT
select|read|SELECT DISTINCT ON (a) a, b FROM t
select|read|SELECT count(*) FILTER (WHERE a > 1) OVER (PARTITION BY b) FROM t
select|read|SELECT * FROM t TABLESAMPLE bernoulli (10)
select|read|SELECT * FROM generate_series(1, 3) WITH ORDINALITY
select|read|SELECT * FROM ROWS FROM (generate_series(1,2), generate_series(3,4)) AS r(a, b)
select|read|SELECT * FROM XMLTABLE('/r' PASSING '<r/>' COLUMNS a text)
select|read|SELECT * FROM JSON_TABLE('[1]', '$[*]' COLUMNS (a int PATH '$')) j
select|read|SELECT JSON_VALUE('{}', '$.a'), JSON_QUERY('{}', '$.a'), JSON_EXISTS('{}', '$.a')
select|read|SELECT JSON_OBJECT('a': 1), JSON_ARRAY(1, 2), JSON_SCALAR(1), JSON_SERIALIZE('{}')
select|read|SELECT JSON_ARRAYAGG(a), JSON_OBJECTAGG(a: b) FROM t
select|read|SELECT xmlelement(name a, xmlattributes(1 AS b), 'c'), xmlforest(a), xmlpi(name php), xmlparse(content '<a/>') FROM t
select|read|SELECT GREATEST(1, 2), LEAST(1, 2), COALESCE(a, b), NULLIF(a, b) FROM t
select|read|SELECT GROUPING(a), a FROM t GROUP BY ROLLUP (a, b), CUBE (c), GROUPING SETS ((a), ())
select|read|SELECT a[1], a[1:2], (r).f, (r).* FROM t
select|read|SELECT E'\\x41', U&'\\0041', B'01', X'ff', $$dollar$$, $tag$a$$b$tag$
select|read|SELECT \"Quoted\".\"Name\" FROM \"Quoted\"
select|read|SELECT current_user, session_user, current_date, localtime, current_schema
select|read|SELECT a IS DISTINCT FROM b, a IS NOT NULL, a IS TRUE, a IS DOCUMENT, a IS JSON FROM t
select|read|SELECT a BETWEEN 1 AND 2, a IN (1, 2), a LIKE 'x', a SIMILAR TO 'y', a ~ 'z' FROM t
select|read|SELECT ROW(1, 2), ARRAY[1, 2], ARRAY(SELECT 1), CASE WHEN a THEN 1 ELSE 2 END FROM t
select|read|SELECT CAST(a AS int), a::text, int '1', interval '1 day' FROM t
select|read|SELECT a COLLATE \"C\", a AT TIME ZONE 'UTC' FROM t
select|read|SELECT EXTRACT(year FROM a), SUBSTRING(b FROM 1 FOR 2), TRIM(both 'x' FROM b), OVERLAY(b PLACING 'x' FROM 1), POSITION('a' IN b) FROM t
select|read|SELECT $1, $2::int
values|read|VALUES (1, 2), (3, 4)
select|read+write|SELECT * FROM t FOR UPDATE
select|read+write|SELECT * FROM t FOR SHARE SKIP LOCKED
select|read+write|SELECT * FROM t FOR KEY SHARE OF t NOWAIT
select|read+write|SELECT * FROM (SELECT * FROM t FOR UPDATE) x
select|read+write|SELECT nextval('s')
select|read+write|SELECT setval('s', 1)
select|read+write|SELECT pg_catalog.lastval()
select|read+write|SELECT pg_notify('a', 'b')
select|read+write|WITH x AS (INSERT INTO t VALUES (1) RETURNING *) SELECT * FROM x
select|read+write|WITH x AS (DELETE FROM t WHERE a = 1 RETURNING *) SELECT * FROM x
select|read+write|WITH x AS (UPDATE t SET a = 1 RETURNING *) SELECT 1
select|read+write|WITH x AS (MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DELETE RETURNING t.a) SELECT 1
select_into|read+ddl|SELECT * INTO n FROM t
select_into|read+ddl|SELECT * INTO TEMP n FROM t
insert|read+write|INSERT INTO t VALUES (1)
insert|read+write|INSERT INTO t (a) SELECT b FROM u RETURNING *
insert|read+write|INSERT INTO t DEFAULT VALUES
insert|read+write|INSERT INTO t (a) VALUES (1) ON CONFLICT (a) DO UPDATE SET a = excluded.a
update|read+write|UPDATE t SET a = 1 WHERE b = 2
update|read+write|UPDATE t SET (a, b) = (SELECT 1, 2) FROM u WHERE t.c = u.c
update|read+write|UPDATE t SET a = 1 WHERE CURRENT OF c
delete|read+write|DELETE FROM t USING u WHERE t.a = u.a
merge|read+write|MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN UPDATE SET b = u.b WHEN NOT MATCHED THEN INSERT VALUES (1)
copy|copy_out|COPY t TO STDOUT
copy|copy_out|COPY t (a, b) TO STDOUT WITH (FORMAT csv, HEADER)
copy|copy_out|COPY (SELECT * FROM t) TO STDOUT
copy|write+copy_out|COPY (INSERT INTO t VALUES (1) RETURNING *) TO STDOUT
copy|copy_out|COPY t TO '/tmp/x'
copy|copy_out|COPY t TO PROGRAM 'cat'
copy|copy_in|COPY t FROM STDIN
copy|copy_in|COPY t FROM STDIN WITH (FORMAT binary)
copy|copy_in|COPY t FROM '/tmp/x' WHERE a > 1
copy|copy_in|COPY t FROM PROGRAM 'cat'
explain|read|EXPLAIN SELECT * FROM t
explain|read|EXPLAIN DELETE FROM t
explain|read|EXPLAIN (VERBOSE, FORMAT json) INSERT INTO t VALUES (1)
explain|read|EXPLAIN (ANALYZE false) DELETE FROM t
explain|read|EXPLAIN (ANALYZE off) DELETE FROM t
explain|read|EXPLAIN (ANALYZE 0) DELETE FROM t
explain|read|EXPLAIN ANALYZE SELECT * FROM t
explain|read+write|EXPLAIN ANALYZE DELETE FROM t
explain|read+write|EXPLAIN (ANALYZE) UPDATE t SET a = 1
explain|read+write|EXPLAIN (ANALYZE on) UPDATE t SET a = 1
explain|read+write|EXPLAIN (ANALYZE true, BUFFERS) MERGE INTO t USING u ON true WHEN MATCHED THEN DELETE
explain|read+ddl|EXPLAIN ANALYZE CREATE TABLE n AS SELECT 1
explain|read|EXPLAIN CREATE TABLE n AS SELECT 1
explain|read|EXPLAIN EXECUTE p
prepare|read|PREPARE p AS SELECT 1
prepare|read+write|PREPARE p (int) AS DELETE FROM t WHERE a = $1
execute|read|EXECUTE p (1, 2)
execute|read|EXECUTE p
create_table_as|ddl|CREATE TABLE n AS EXECUTE p
deallocate|read|DEALLOCATE p
deallocate|read|DEALLOCATE ALL
declare|read|DECLARE c CURSOR FOR SELECT * FROM t
declare|read|DECLARE c BINARY SCROLL CURSOR WITH HOLD FOR SELECT 1
declare|read+write|DECLARE c CURSOR FOR SELECT * FROM t FOR UPDATE
fetch|read|FETCH 10 FROM c
fetch|read|FETCH ALL IN c
move|read|MOVE FORWARD 5 FROM c
close|read|CLOSE c
close|read|CLOSE ALL
begin|read|BEGIN
begin|read|BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE
begin|read|START TRANSACTION
commit|read|COMMIT
commit|read|END
commit|read|COMMIT AND CHAIN
rollback|read|ROLLBACK
rollback|read|ABORT
rollback|read|ROLLBACK AND CHAIN
savepoint|read|SAVEPOINT s
release|read|RELEASE SAVEPOINT s
rollback_to|read|ROLLBACK TO SAVEPOINT s
prepare_transaction|write|PREPARE TRANSACTION 'x'
commit_prepared|write|COMMIT PREPARED 'x'
rollback_prepared|write|ROLLBACK PREPARED 'x'
set_transaction|read|SET TRANSACTION ISOLATION LEVEL READ COMMITTED
set_transaction|read|SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY
set_constraints|read|SET CONSTRAINTS ALL DEFERRED
set|setting|SET search_path = a, b
set|setting|SET LOCAL statement_timeout TO '5s'
set|setting|SET TIME ZONE 'UTC'
set|setting|SET NAMES 'UTF8'
set|setting|SET ROLE admin
set|setting|SET ROLE NONE
set|setting|SET SESSION AUTHORIZATION 'x'
set|setting|SET SESSION AUTHORIZATION DEFAULT
set|setting|SET work_mem TO DEFAULT
set|setting|SET XML OPTION DOCUMENT
reset|setting|RESET search_path
reset|setting|RESET ALL
reset|setting|RESET ROLE
show|read|SHOW search_path
show|read|SHOW ALL
show|read|SHOW TIME ZONE
discard|read|DISCARD ALL
discard|read|DISCARD TEMP
discard|read|DISCARD PLANS
listen|read|LISTEN c
unlisten|read|UNLISTEN *
notify|write|NOTIFY c, 'payload'
lock|read|LOCK TABLE t IN ACCESS SHARE MODE
lock|write|LOCK TABLE t
lock|write|LOCK t IN ROW SHARE MODE
lock|write|LOCK t IN ROW EXCLUSIVE MODE NOWAIT
do|call|DO $$BEGIN END$$
do|call|DO LANGUAGE plpgsql 'BEGIN END'
call|call|CALL p(1)
call|read+call|CALL p((SELECT 1))
call|read+write+call|CALL p((SELECT nextval('s')))
truncate|ddl|TRUNCATE t, u CASCADE
vacuum|ddl|VACUUM FULL t
analyze|ddl|ANALYZE t (a)
cluster|ddl|CLUSTER t USING i
reindex|ddl|REINDEX TABLE t
checkpoint|ddl|CHECKPOINT
refresh_materialized_view|ddl|REFRESH MATERIALIZED VIEW v
create_table|ddl|CREATE TABLE n (a int PRIMARY KEY, b text DEFAULT lower('X') CHECK (length(b) > 1) REFERENCES t (a))
create_table|ddl|CREATE TEMP TABLE n (LIKE t INCLUDING ALL)
create_table|ddl|CREATE TABLE n PARTITION OF t FOR VALUES FROM (1) TO (2)
create_table|ddl|CREATE TABLE n (a int GENERATED ALWAYS AS (b * 2) STORED, b int GENERATED ALWAYS AS IDENTITY) PARTITION BY RANGE (a)
create_table|ddl|CREATE TABLE n OF composite
create_table_as|read+ddl|CREATE TABLE n AS SELECT * FROM t
create_materialized_view|read+ddl|CREATE MATERIALIZED VIEW v AS SELECT * FROM t
create_view|ddl|CREATE OR REPLACE VIEW v AS SELECT * FROM t
create_view|ddl|CREATE RECURSIVE VIEW v (n) AS SELECT 1
create_index|ddl|CREATE UNIQUE INDEX CONCURRENTLY i ON t (lower(a)) WHERE b
create_schema|ddl|CREATE SCHEMA s CREATE TABLE t (a int)
create_sequence|ddl|CREATE SEQUENCE s
alter_sequence|ddl|ALTER SEQUENCE s RESTART
create_trigger|ddl|CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()
create_event_trigger|ddl|CREATE EVENT TRIGGER e ON ddl_command_start EXECUTE FUNCTION f()
alter_event_trigger|ddl|ALTER EVENT TRIGGER e DISABLE
create_rule|ddl|CREATE RULE r AS ON UPDATE TO t DO INSTEAD NOTHING
create_rule|write+ddl|CREATE RULE r AS ON INSERT TO t DO ALSO INSERT INTO u VALUES (1)
create_policy|ddl|CREATE POLICY p ON t USING (a = current_user)
alter_policy|ddl|ALTER POLICY p ON t USING (true)
create_function|ddl|CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'
create_function|ddl|CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; END
create_function|ddl|CREATE OR REPLACE PROCEDURE p() LANGUAGE plpgsql AS $$BEGIN END$$
alter_function|ddl|ALTER FUNCTION f() IMMUTABLE
create_extension|ddl|CREATE LANGUAGE plpython3u
create_language|ddl|CREATE LANGUAGE l HANDLER h
create_domain|ddl|CREATE DOMAIN d AS text CHECK (length(VALUE) > 1)
alter_domain|ddl|ALTER DOMAIN d DROP NOT NULL
create_type|ddl|CREATE TYPE t AS (a int)
create_type|ddl|CREATE TYPE t AS ENUM ('a')
create_type|ddl|CREATE TYPE t AS RANGE (subtype = int4)
alter_type|ddl|ALTER TYPE t ADD VALUE 'b'
define|ddl|CREATE AGGREGATE a (int) (sfunc = f, stype = int)
define|ddl|CREATE OPERATOR === (leftarg = int, rightarg = int, function = f)
define|ddl|CREATE COLLATION c (provider = icu, locale = 'de')
define|ddl|CREATE TEXT SEARCH DICTIONARY d (template = simple)
create_cast|ddl|CREATE CAST (a AS b) WITH FUNCTION f(a)
create_transform|ddl|CREATE TRANSFORM FOR a LANGUAGE b (FROM SQL WITH FUNCTION f(internal))
create_conversion|ddl|CREATE CONVERSION c FOR 'UTF8' TO 'LATIN1' FROM f
create_operator_class|ddl|CREATE OPERATOR CLASS c FOR TYPE int USING btree AS OPERATOR 1 <
create_operator_family|ddl|CREATE OPERATOR FAMILY f USING btree
alter_operator_family|ddl|ALTER OPERATOR FAMILY f USING btree ADD OPERATOR 1 < (int, int)
create_statistics|ddl|CREATE STATISTICS s ON a, b FROM t
alter_statistics|ddl|ALTER STATISTICS s SET STATISTICS 100
create_access_method|ddl|CREATE ACCESS METHOD m TYPE INDEX HANDLER h
create_database|ddl|CREATE DATABASE d
alter_database|ddl|ALTER DATABASE d SET work_mem = '1MB'
alter_database|ddl|ALTER DATABASE d CONNECTION LIMIT 1
drop_database|ddl|DROP DATABASE d
create_role|ddl|CREATE ROLE r LOGIN PASSWORD 'x'
create_role|ddl|CREATE USER u
alter_role|ddl|ALTER ROLE r SUPERUSER
alter_role|ddl|ALTER ROLE r SET search_path = x
drop_role|ddl|DROP ROLE r
grant|ddl|GRANT SELECT ON t TO r
revoke|ddl|REVOKE ALL ON t FROM r
grant|ddl|GRANT a TO b
revoke|ddl|REVOKE a FROM b
alter_default_privileges|ddl|ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO r
reassign_owned|ddl|REASSIGN OWNED BY a TO b
drop_owned|ddl|DROP OWNED BY a
comment|ddl|COMMENT ON TABLE t IS 'x'
security_label|ddl|SECURITY LABEL ON TABLE t IS 'x'
rename|ddl|ALTER TABLE t RENAME TO u
rename|ddl|ALTER TABLE t RENAME COLUMN a TO b
alter_schema|ddl|ALTER TABLE t SET SCHEMA s
alter_owner|ddl|ALTER SCHEMA s OWNER TO r
alter_depends|ddl|ALTER FUNCTION f() DEPENDS ON EXTENSION e
alter_table|ddl|ALTER TABLE t ADD COLUMN a int
alter_table|ddl|ALTER TABLE t DROP COLUMN a
alter_table|ddl|ALTER INDEX i SET (fillfactor = 50)
alter_table|ddl|ALTER VIEW v ALTER COLUMN a SET DEFAULT 1
drop|ddl|DROP TABLE t
drop|ddl|DROP FUNCTION f(int)
drop|ddl|DROP SCHEMA s CASCADE
load|ddl|LOAD 'x'
alter_system|ddl|ALTER SYSTEM SET work_mem = '1MB'
create_extension|ddl|CREATE EXTENSION e
alter_extension|ddl|ALTER EXTENSION e UPDATE
alter_extension|ddl|ALTER EXTENSION e ADD TABLE t
create_server|ddl|CREATE SERVER s FOREIGN DATA WRAPPER w
alter_server|ddl|ALTER SERVER s OPTIONS (host 'x')
create_user_mapping|ddl|CREATE USER MAPPING FOR u SERVER s OPTIONS (password 'x')
alter_user_mapping|ddl|ALTER USER MAPPING FOR u SERVER s OPTIONS (SET password 'x')
drop_user_mapping|ddl|DROP USER MAPPING FOR u SERVER s
create_foreign_data_wrapper|ddl|CREATE FOREIGN DATA WRAPPER w
alter_foreign_data_wrapper|ddl|ALTER FOREIGN DATA WRAPPER w NO HANDLER
create_foreign_table|ddl|CREATE FOREIGN TABLE f (a int) SERVER s
import_foreign_schema|ddl|IMPORT FOREIGN SCHEMA a FROM SERVER s INTO b
create_subscription|ddl|CREATE SUBSCRIPTION s CONNECTION 'host=x' PUBLICATION p
alter_subscription|ddl|ALTER SUBSCRIPTION s DISABLE
drop_subscription|ddl|DROP SUBSCRIPTION s
create_publication|ddl|CREATE PUBLICATION p FOR TABLE t
alter_publication|ddl|ALTER PUBLICATION p ADD TABLE t
create_tablespace|ddl|CREATE TABLESPACE s LOCATION '/x'
drop_tablespace|ddl|DROP TABLESPACE s
alter_tablespace|ddl|ALTER TABLESPACE s SET (seq_page_cost = 1)
alter_collation|ddl|ALTER COLLATION c REFRESH VERSION
alter_text_search_dictionary|ddl|ALTER TEXT SEARCH DICTIONARY d (stopwords = x)
alter_text_search_configuration|ddl|ALTER TEXT SEARCH CONFIGURATION c DROP MAPPING FOR word
alter_operator|ddl|ALTER OPERATOR === (int, int) SET (RESTRICT = NONE)
";

#[test]
fn kinds_and_rights() {
    let parser = parser();
    let mut wrong = Vec::new();
    for line in KINDS.lines().filter(|line| !line.is_empty()) {
        let mut parts = line.splitn(3, '|');
        let (kind, expected, sql) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
        match parser.parse(sql) {
            Ok(text) => {
                let statement = &text.statements[0];
                if text.statements.len() != 1 || statement.kind != kind || rights(statement) != expected {
                    wrong.push(format!("{sql}: {} {}, not {kind} {expected}", statement.kind, rights(statement)));
                }
            }
            Err(error) => wrong.push(format!("{sql}: {error}")),
        }
    }
    assert!(KINDS.lines().count() > 220, "the table shrank");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The relations of a text's first statement, those written to marked with `!`.
fn relations(sql: &str) -> String {
    let text = parser().parse(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let mut names: Vec<String> = text.statements[0]
        .relations
        .iter()
        .map(|relation| format!("{relation}{}", if relation.access == Access::Write { "!" } else { "" }))
        .collect();
    names.sort();
    names.join(" ")
}

#[test]
fn relations_are_real_ones() {
    let table = [
        ("SELECT * FROM a, s.b JOIN c USING (x) LEFT JOIN LATERAL (SELECT * FROM d) q ON true", "a c d s.b"),
        ("SELECT (SELECT 1 FROM a), EXISTS (SELECT 1 FROM b), x IN (SELECT y FROM c) FROM d", "a b c d"),
        ("WITH a AS (SELECT * FROM t) SELECT * FROM a", "t"),
        ("WITH a AS (SELECT * FROM a) SELECT * FROM a", "a"),
        ("WITH RECURSIVE a AS (SELECT 1 UNION SELECT * FROM a) SELECT * FROM a", ""),
        ("WITH RECURSIVE a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a", ""),
        ("WITH a AS (SELECT 1), b AS (SELECT * FROM a) SELECT * FROM b", ""),
        ("WITH b AS (SELECT * FROM a), a AS (SELECT 1) SELECT * FROM b", "a"),
        ("WITH a AS (SELECT 1) SELECT * FROM public.a", "public.a"),
        ("SELECT * FROM (WITH a AS (SELECT 1) SELECT * FROM a) x, a", "a"),
        ("(WITH a AS (SELECT 1) SELECT * FROM a) UNION SELECT * FROM a", "a"),
        ("SELECT * FROM a UNION (WITH a AS (SELECT 1) SELECT * FROM a)", "a"),
        ("WITH a AS (SELECT 1) SELECT 1 WHERE EXISTS (SELECT 1 FROM a WHERE EXISTS (SELECT 1 FROM b))", "b"),
        ("WITH a AS (SELECT 1) INSERT INTO t SELECT * FROM a", "t!"),
        ("WITH a AS (SELECT 1) DELETE FROM a", "a!"),
        ("INSERT INTO t SELECT * FROM t", "t t!"),
        ("UPDATE t SET a = u.a FROM u WHERE t.b IN (SELECT b FROM v)", "t! u v"),
        ("MERGE INTO t USING (SELECT * FROM u) s ON true WHEN MATCHED THEN DELETE", "t! u"),
        ("WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x, y", "t! y"),
        ("SELECT * FROM t FOR UPDATE OF t", "t"),
        ("SELECT * FROM t x FOR UPDATE OF x", "t"),
        ("SELECT * INTO n FROM t", "n! t"),
        ("CREATE TABLE n AS SELECT * FROM t", "n! t"),
        ("CREATE VIEW s.v AS WITH q AS (SELECT * FROM t) SELECT * FROM q", "s.v! t"),
        ("COPY t TO STDOUT", "t"),
        ("COPY t FROM STDIN", "t!"),
        ("COPY (SELECT * FROM t) TO STDOUT", "t"),
        ("DROP TABLE a, s.b", "a! s.b!"),
        ("DROP TRIGGER g ON s.t", "s.t!"),
        ("DROP FUNCTION f", ""),
        ("TRUNCATE a, b", "a! b!"),
        ("ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u (b)", "t! u!"),
        ("COMMENT ON COLUMN s.t.c IS 'x'", "s.t!"),
        ("LOCK TABLE t", "t"),
        ("EXPLAIN SELECT * FROM t", "t"),
        ("PREPARE p AS SELECT * FROM t", "t"),
        ("DECLARE c CURSOR FOR SELECT * FROM t", "t"),
        ("SELECT * FROM \"T\"", "T"),
        ("SELECT * FROM U&\"\\0074\"", "t"),
        ("TABLE t", "t"),
        ("SELECT * FROM t TABLESAMPLE system (1)", "t"),
        ("SELECT * FROM ONLY t", "t"),
        ("SET CONSTRAINTS c DEFERRED", ""),
        ("CREATE FUNCTION f(a t.c%TYPE) RETURNS int LANGUAGE sql AS ''", "t"),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT * FROM t; END", "t"),
        ("SELECT * FROM JSON_TABLE((SELECT x FROM t), '$' COLUMNS (a int)) j", "t"),
        ("SELECT JSON_ARRAY(SELECT a FROM t)", "t"),
        ("VALUES ((SELECT a FROM t))", "t"),
        ("SELECT 1 ORDER BY (SELECT a FROM t)", "t"),
        ("SELECT 1 LIMIT (SELECT a FROM t)", "t"),
        ("SELECT sum(1) OVER (ORDER BY (SELECT a FROM t))", "t"),
        ("SELECT 1 WINDOW w AS (PARTITION BY (SELECT a FROM t))", "t"),
        ("CALL p((SELECT a FROM t))", "t"),
        ("EXECUTE p ((SELECT a FROM t))", "t"),
    ];
    for (sql, expected) in table {
        assert_eq!(relations(sql), expected, "{sql}");
    }
}

fn functions(sql: &str) -> String {
    let text = parser().parse(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let mut names: Vec<String> = text.statements[0].functions.iter().map(ToString::to_string).collect();
    names.sort();
    names.join(" ")
}

#[test]
fn functions_are_found_wherever_they_stand() {
    let table = [
        ("SELECT f(g(1), s.h(2))", "f g s.h"),
        ("SELECT * FROM f(1), LATERAL g(2)", "f g"),
        ("SELECT * FROM ROWS FROM (f(1), g(2))", "f g"),
        ("SELECT * FROM t TABLESAMPLE s.method (1)", "s.method"),
        ("SELECT f(*) FILTER (WHERE g(1)) OVER (ORDER BY h(1))", "f g h"),
        ("SELECT a OPERATOR(s.+) b", "s.+"),
        ("SELECT a OPERATOR(pg_catalog.+) b", ""),
        ("SELECT * FROM t ORDER BY a USING OPERATOR(s.<)", "s.<"),
        ("SELECT a OPERATOR(s.=) ANY (SELECT 1)", "s.="),
        ("SELECT current_user", "pg_catalog.current_user"),
        ("SELECT (r).lo_unlink", "lo_unlink"),
        ("SELECT 1 LIMIT f(1) OFFSET g(2)", "f g"),
        ("SELECT 1 GROUP BY f(1) HAVING g(2)", "f g"),
        (
            "INSERT INTO t VALUES (f(1)) ON CONFLICT (g(a)) DO UPDATE SET a = h(1) WHERE i(1) RETURNING j(1)",
            "f g h i j",
        ),
        ("CREATE INDEX i ON t (f(a)) WHERE g(b)", "f g"),
        ("CREATE TABLE n (a int DEFAULT f(1) CHECK (g(a)))", "f g"),
        ("CREATE TRIGGER g BEFORE INSERT ON t EXECUTE FUNCTION s.f()", "s.f"),
        ("ALTER TABLE t ALTER COLUMN a TYPE int USING f(a)", "f"),
        ("CREATE POLICY p ON t USING (f(a)) WITH CHECK (g(a))", "f g"),
        ("COPY t FROM STDIN WHERE f(a)", "f"),
        ("CALL p(f(1))", "f p"),
        ("EXECUTE p(f(1))", "f"),
        (
            "SELECT SUBSTRING(a FROM 1), EXTRACT(day FROM b), a AT TIME ZONE 'x'",
            "pg_catalog.extract pg_catalog.substring pg_catalog.timezone",
        ),
        ("SELECT \"F\"(1)", "F"),
        ("VALUES (f(1))", "f"),
        ("SELECT CASE f(1) WHEN g(1) THEN h(1) ELSE i(1) END", "f g h i"),
        ("SELECT xmlelement(name a, f(1)), JSON_OBJECT('a': g(1))", "f g"),
        ("DECLARE c CURSOR FOR SELECT f(1)", "f"),
        ("PREPARE p AS SELECT f(1)", "f"),
        ("EXPLAIN SELECT f(1)", "f"),
        (
            "MERGE INTO t USING u ON f(1) WHEN MATCHED AND g(1) THEN UPDATE SET a = h(1) WHEN NOT MATCHED THEN INSERT VALUES (i(1))",
            "f g h i",
        ),
    ];
    for (sql, expected) in table {
        assert_eq!(functions(sql), expected, "{sql}");
    }
}

#[test]
fn what_reaches_outside_is_named() {
    let table = [
        ("COPY t TO '/etc/x'", "files"),
        ("COPY t FROM PROGRAM 'x'", "programs"),
        ("COPY t TO STDOUT", ""),
        ("SELECT pg_read_file('x')", "files"),
        ("SELECT pg_catalog.pg_read_binary_file('x')", "files"),
        ("SELECT * FROM pg_ls_dir('.')", "files"),
        ("SELECT lo_import('/x')", "large_objects"),
        ("SELECT lo_export(1, '/x'), lo_get(1), loread(1, 2)", "large_objects"),
        ("SELECT * FROM dblink('host=x', 'SELECT 1') AS t(a int)", "dblink"),
        ("SELECT public.dblink_exec('x')", "dblink"),
        ("SELECT pg_terminate_backend(1)", "processes"),
        ("SELECT * FROM pg_logical_slot_get_changes('s', NULL, NULL)", "replication"),
        ("SELECT (SELECT lo_import('/x')) FROM t", "large_objects"),
        ("SELECT (c).lo_export FROM c", "large_objects"),
        ("CREATE EXTENSION dblink", "extensions"),
        ("CREATE SERVER s FOREIGN DATA WRAPPER w", "servers"),
        ("ALTER SYSTEM SET a = 1", "configuration"),
        ("LOAD 'x'", "files"),
        ("SELECT pg_reload_conf()", "configuration"),
        ("CREATE TABLESPACE s LOCATION '/x'", "files"),
        ("CREATE TABLE n (a oid DEFAULT lo_import('/x'))", "large_objects"),
    ];
    let parser = parser();
    for (sql, expected) in table {
        let text = parser.parse(sql).unwrap();
        assert_eq!(text.statements[0].server_io.join(" "), expected, "{sql}");
    }
}

#[test]
fn hidden_sql_is_flagged() {
    let parser = parser();
    for sql in [
        "SELECT query_to_xml('SELECT 1', true, true, '')",
        "SELECT * FROM dblink('x', 'y') AS t(a int)",
        "SELECT table_to_xml('t', true, true, '')",
        "SELECT ts_stat('SELECT 1')",
        "DO 'BEGIN END'",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "EXPLAIN SELECT database_to_xml(true, true, '')",
    ] {
        assert!(parser.parse(sql).unwrap().statements[0].hidden_sql, "{sql}");
    }
    for sql in ["SELECT 1", "SELECT to_json(t) FROM t", "CALL p()"] {
        assert!(!parser.parse(sql).unwrap().statements[0].hidden_sql, "{sql}");
    }
}

#[test]
fn destruction_and_writing() {
    let parser = parser();
    let table = [
        ("DROP TABLE t", true, true),
        ("TRUNCATE t", true, true),
        ("DELETE FROM t", true, true),
        ("DELETE FROM t WHERE true", true, true),
        ("DELETE FROM t WHERE 1 = 1", true, true),
        ("DELETE FROM t WHERE a = 1", false, true),
        ("UPDATE t SET a = 1", true, true),
        ("UPDATE t SET a = 1 WHERE b = 2", false, true),
        ("UPDATE t SET a = 1 WHERE CURRENT OF c", false, true),
        ("WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x", true, true),
        ("ALTER TABLE t DROP COLUMN a", true, true),
        ("ALTER TABLE t DROP CONSTRAINT c", true, true),
        ("ALTER TABLE t ADD COLUMN a int", false, true),
        ("EXPLAIN DELETE FROM t", false, false),
        ("EXPLAIN ANALYZE DELETE FROM t", true, true),
        ("PREPARE p AS DELETE FROM t", true, false),
        ("SELECT 1", false, false),
        ("SELECT nextval('s')", false, true),
        ("SELECT * FROM t FOR UPDATE", false, true),
        ("COPY t FROM STDIN", false, true),
        ("COPY t TO STDOUT", false, false),
        ("BEGIN", false, false),
        ("SET work_mem = 1", false, false),
    ];
    for (sql, destructive, writes) in table {
        let text = parser.parse(sql).unwrap();
        let statement = &text.statements[0];
        assert_eq!((statement.destructive, statement.writes), (destructive, writes), "{sql}");
    }
}

#[test]
fn texts_split_into_their_statements() {
    let parser = parser();
    let text = parser.parse(" ; SELECT ';' ; /* ; */ BEGIN;; COMMIT ; ").unwrap();
    let slices: Vec<&str> = text.statements.iter().map(|statement| &text.sql[statement.span.clone()]).collect();
    assert_eq!(slices, ["SELECT ';'", "BEGIN", "COMMIT"]);
    for empty in ["", " ", ";", ";;", "-- nothing", "/* /* */ */ ;"] {
        assert!(parser.parse(empty).unwrap().statements.is_empty(), "{empty}");
    }
    let text = parser.parse("SELECT 'ä€😀'; SELECT 2").unwrap();
    assert_eq!(&text.sql[text.statements[0].span.clone()], "SELECT 'ä€😀'");
}

#[test]
fn parameters_are_counted() {
    let parser = parser();
    for (sql, count) in [("SELECT 1", 0), ("SELECT $2, $1", 2), ("SELECT $65535", 65535), ("SELECT $99999", 65535)] {
        assert_eq!(parser.parse(sql).unwrap().statements[0].parameters, count, "{sql}");
    }
}

#[test]
fn shapes_ignore_literals() {
    let parser = parser();
    let shape = |sql: &str| parser.parse(sql).unwrap().shape().to_owned();
    assert_eq!(shape("SELECT a FROM t WHERE b = 1"), shape("select a from t where b = 'x'"));
    assert_ne!(shape("SELECT a FROM t WHERE b = 1"), shape("SELECT a FROM t WHERE c = 1"));
}
