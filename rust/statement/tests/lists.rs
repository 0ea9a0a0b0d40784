//! The reviewed lists: functions, settings, system relations.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use statement::settings::{Verdict, verdict};
use statement::{Limits, Parser, catalog, functions};

#[test]
fn reviewed_functions() {
    for name in [
        "lower",
        "substr",
        "abs",
        "now",
        "count",
        "json_agg",
        "to_json",
        "unnest",
        "generate_series",
        "format_type",
        "pg_get_viewdef",
        "pg_get_indexdef",
        "pg_table_is_visible",
        "obj_description",
        "col_description",
        "quote_ident",
        "has_table_privilege",
        "current_schema",
        "current_schemas",
        "version",
        "pg_encoding_to_char",
        "array_to_string",
        "pg_relation_size",
        "pg_backend_pid",
        "pg_advisory_lock",
        "pg_try_advisory_lock",
        "txid_current",
        "gen_random_uuid",
        "row_number",
        "lag",
        "percentile_cont",
        "to_tsvector",
        "ts_rank",
        "int4range",
        "multirange",
        "regexp_replace",
        "jsonb_path_query",
        "date_trunc",
        "extract",
        "to_char",
        "md5",
        "sha256",
        "encode",
        "uuidv7",
        "any_value",
        "pg_get_userbyid",
        "pg_get_constraintdef",
        "shobj_description",
        "pg_is_in_recovery",
        "inet_server_addr",
    ] {
        assert!(functions::is_reviewed(None, name), "{name}");
        assert!(functions::is_reviewed(Some("pg_catalog"), name), "{name}");
        assert!(!functions::is_reviewed(Some("public"), name), "{name}");
    }
    for name in [
        "set_config",
        "pg_sleep",
        "pg_sleep_for",
        "pg_notify",
        "query_to_xml",
        "table_to_xml",
        "database_to_xml",
        "cursor_to_xml",
        "ts_stat",
        "ts_rewrite",
        "pg_read_file",
        "pg_read_binary_file",
        "pg_ls_dir",
        "pg_stat_file",
        "lo_import",
        "lo_export",
        "lo_get",
        "lo_create",
        "loread",
        "pg_stat_get_activity",
        "pg_stat_get_backend_activity",
        "dblink",
        "pg_terminate_backend",
        "pg_cancel_backend",
        "currtid2",
        "nextval",
        "setval",
        "currval",
        "lastval",
        "pg_logical_slot_get_changes",
        "pg_create_logical_replication_slot",
        "pg_cursor",
        "pg_prepared_statement",
        "pg_mcv_list_items",
        "pg_reload_conf",
        "pg_hba_file_rules",
        "pg_show_all_file_settings",
        "pg_logical_emit_message",
        "binary_upgrade_set_next_pg_type_oid",
        "pg_promote",
        "pg_stat_reset",
        "pg_export_snapshot",
        "unheard_of",
        "pg_stat_get_wal_receiver",
        "pg_import_system_collations",
        "pg_switch_wal",
    ] {
        assert!(!functions::is_reviewed(None, name), "{name}");
        assert!(!functions::is_reviewed(Some("pg_catalog"), name), "{name}");
    }
    assert!(functions::is_reviewed(Some("information_schema"), "_pg_expandarray"));
    assert!(!functions::is_reviewed(Some("information_schema"), "lower"));
    assert!(functions::is_writing(None, "nextval") && !functions::is_writing(Some("public"), "nextval"));
}

#[test]
fn nothing_reviewed_runs_sql_or_reaches_outside() {
    for name in include_str!("../src/reviewed.txt").split_ascii_whitespace() {
        assert!(!functions::hides_sql(name) && functions::server_io(name).is_none(), "{name}");
        assert!(!functions::is_writing(None, name), "{name}");
    }
}

#[test]
fn settings() {
    let table = [
        ("search_path", Some("a, b"), Verdict::Tracked),
        ("SEARCH_PATH", Some("a"), Verdict::Tracked),
        ("DateStyle", Some("ISO"), Verdict::Tracked),
        ("timezone", None, Verdict::Tracked),
        ("client_encoding", Some("UTF8"), Verdict::Tracked),
        ("client_encoding", Some("utf-8"), Verdict::Tracked),
        ("client_encoding", Some("SQL_ASCII"), Verdict::Tracked),
        ("client_encoding", Some("SJIS"), Verdict::Blinding),
        ("names", Some("BIG5"), Verdict::Blinding),
        ("client_encoding", None, Verdict::Tracked),
        ("standard_conforming_strings", Some("on"), Verdict::Tracked),
        ("standard_conforming_strings", Some("off"), Verdict::Blinding),
        ("standard_conforming_strings", Some("OF"), Verdict::Blinding),
        ("standard_conforming_strings", Some("fal"), Verdict::Blinding),
        ("standard_conforming_strings", Some("0"), Verdict::Blinding),
        ("statement_timeout", Some("5s"), Verdict::Listed),
        ("application_name", Some("x"), Verdict::Listed),
        ("enable_seqscan", Some("off"), Verdict::Listed),
        ("geqo_threshold", Some("5"), Verdict::Listed),
        ("jit", Some("off"), Verdict::Listed),
        ("row_security", Some("on"), Verdict::Listed),
        ("row_security", Some("off"), Verdict::Listed),
        ("client_min_messages", Some("warning"), Verdict::Listed),
        ("client_min_messages", Some("debug1"), Verdict::Blinding),
        ("array_nulls", Some("on"), Verdict::Listed),
        ("session_replication_role", Some("replica"), Verdict::Blinding),
        ("debug_print_plan", Some("on"), Verdict::Blinding),
        ("debug_parallel_query", Some("on"), Verdict::Listed),
        ("log_statement", Some("all"), Verdict::Blinding),
        ("backslash_quote", Some("on"), Verdict::Blinding),
        ("dynamic_library_path", Some("/x"), Verdict::Blinding),
        ("local_preload_libraries", Some("x"), Verdict::Blinding),
        ("allow_system_table_mods", Some("on"), Verdict::Blinding),
        ("role", Some("admin"), Verdict::Unlisted),
        ("session_authorization", Some("x"), Verdict::Unlisted),
        ("my.custom", Some("x"), Verdict::Unlisted),
        ("unheard_of", None, Verdict::Unlisted),
    ];
    for (name, value, expected) in table {
        assert_eq!(verdict(name, value), expected, "{name} = {value:?}");
    }
}

#[test]
fn set_statements_name_what_the_lists_know() {
    let parser = Parser::new(Limits::default());
    for (sql, name, values) in [
        ("SET search_path TO a, \"B\"", "search_path", "a|B"),
        ("SET TIME ZONE 'UTC'", "timezone", "UTC"),
        ("SET NAMES 'SJIS'", "client_encoding", "SJIS"),
        ("SET ROLE x", "role", "x"),
        ("SET SESSION AUTHORIZATION x", "session_authorization", "x"),
        ("SET LOCAL work_mem = 64", "work_mem", "64"),
        ("SET standard_conforming_strings = off", "standard_conforming_strings", "off"),
        ("SET geqo TO DEFAULT", "geqo", ""),
        ("SET seed TO -0.5", "seed", "-0.5"),
        ("SET XML OPTION CONTENT", "xmloption", "CONTENT"),
    ] {
        let text = parser.parse(sql).unwrap();
        let statement::Detail::Set { name: found, values: given, .. } = &text.statements[0].detail else {
            panic!("{sql}")
        };
        assert_eq!((&**found, given.join("|").as_str()), (name, values), "{sql}");
    }
}

#[test]
fn system_relations_with_values() {
    assert!(catalog::holds_values(Some("pg_catalog"), "pg_statistic", Some("stavalues1")));
    assert!(!catalog::holds_values(Some("pg_catalog"), "pg_statistic", Some("starelid")));
    assert!(catalog::holds_values(None, "pg_stats", None));
    assert!(catalog::holds_values(Some("public"), "pg_stat_statements", Some("query")));
    assert!(catalog::holds_values(Some("pg_catalog"), "pg_largeobject", Some("data")));
    assert!(catalog::holds_values(None, "pg_authid", Some("rolpassword")));
    assert!(!catalog::holds_values(None, "pg_authid", Some("rolname")));
    assert!(!catalog::holds_values(Some("pg_catalog"), "pg_class", None));
    assert!(!catalog::holds_values(Some("public"), "pg_stats", None));
}
