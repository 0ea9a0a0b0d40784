//! What functions do beyond computing a value from their arguments.
//!
//! Names are compared without their schema where a name alone is reason for caution: whoever puts a function called
//! `lo_export` into a schema of their own can live with it being taken for the system's.

use std::collections::HashSet;
use std::sync::LazyLock;

use crate::statement::Rights;

/// Functions of `pg_catalog` that read nothing but their arguments and catalog metadata, write nothing, run no SQL
/// text, and show nothing of other sessions. Advisory locks are here: migration tools need them. Sleeping is not.
static REVIEWED: LazyLock<HashSet<&'static str, ahash::RandomState>> =
    LazyLock::new(|| include_str!("reviewed.txt").split_ascii_whitespace().collect());

/// Helpers of `information_schema` that drivers call by name.
const INFORMATION_SCHEMA: &[&str] = &[
    "_pg_char_max_length",
    "_pg_char_octet_length",
    "_pg_datetime_precision",
    "_pg_expandarray",
    "_pg_index_position",
    "_pg_interval_type",
    "_pg_numeric_precision",
    "_pg_numeric_precision_radix",
    "_pg_numeric_scale",
    "_pg_truetypid",
    "_pg_truetypmod",
];

/// Functions that change a sequence, or read what a change left behind. They come with `write`.
const WRITING: &[&str] = &["currval", "lastval", "nextval", "pg_nextoid", "setval"];

/// Functions that run SQL handed to them in a string, or read a relation named in one.
const HIDING_SQL: &[&str] = &[
    "cursor_to_xml",
    "cursor_to_xmlschema",
    "database_to_xml",
    "database_to_xml_and_xmlschema",
    "database_to_xmlschema",
    "crosstab",
    "crosstab2",
    "crosstab3",
    "crosstab4",
    "connectby",
    "currtid2",
    "query_to_xml",
    "query_to_xml_and_xmlschema",
    "query_to_xmlschema",
    "schema_to_xml",
    "schema_to_xml_and_xmlschema",
    "schema_to_xmlschema",
    "table_to_xml",
    "table_to_xml_and_xmlschema",
    "table_to_xmlschema",
    "ts_rewrite",
    "ts_stat",
    "xpath_table",
];

/// Functions that reach outside the database, by exact name.
const OUTSIDE: &[(&str, &str)] = &[
    ("loread", "large_objects"),
    ("lowrite", "large_objects"),
    ("pg_backup_start", "configuration"),
    ("pg_backup_stop", "configuration"),
    ("pg_start_backup", "configuration"),
    ("pg_stop_backup", "configuration"),
    ("pg_cancel_backend", "processes"),
    ("pg_create_restore_point", "configuration"),
    ("pg_current_logfile", "files"),
    ("pg_file_rename", "files"),
    ("pg_file_sync", "files"),
    ("pg_file_unlink", "files"),
    ("pg_file_write", "files"),
    ("pg_hba_file_rules", "files"),
    ("pg_ident_file_mappings", "files"),
    ("pg_import_system_collations", "files"),
    ("pg_log_backend_memory_contexts", "processes"),
    ("pg_logical_emit_message", "replication"),
    ("pg_logdir_ls", "files"),
    ("pg_promote", "configuration"),
    ("pg_reload_conf", "configuration"),
    ("pg_rotate_logfile", "configuration"),
    ("pg_show_all_file_settings", "files"),
    ("pg_stat_file", "files"),
    ("pg_switch_wal", "configuration"),
    ("pg_terminate_backend", "processes"),
    ("pg_wal_replay_pause", "configuration"),
    ("pg_wal_replay_resume", "configuration"),
];

/// And by how their names begin.
const OUTSIDE_PREFIXES: &[(&str, &str)] = &[
    ("lo_", "large_objects"),
    ("dblink", "dblink"),
    ("pg_ls_", "files"),
    ("pg_read_", "files"),
    ("postgres_fdw_", "dblink"),
    ("pg_create_logical_replication", "replication"),
    ("pg_create_physical_replication", "replication"),
    ("pg_copy_logical_replication", "replication"),
    ("pg_copy_physical_replication", "replication"),
    ("pg_drop_replication", "replication"),
    ("pg_logical_slot_", "replication"),
    ("pg_replication_origin_", "replication"),
    ("pg_replication_slot_", "replication"),
    ("pg_sync_replication_slots", "replication"),
];

/// Whether `read` comes with this function.
#[must_use]
pub fn is_reviewed(schema: Option<&str>, name: &str) -> bool {
    match schema {
        None | Some("pg_catalog") => REVIEWED.contains(name),
        Some("information_schema") => INFORMATION_SCHEMA.contains(&name),
        Some(_) => false,
    }
}

/// Whether `write` comes with this function: it works on sequences.
#[must_use]
pub fn is_writing(schema: Option<&str>, name: &str) -> bool {
    matches!(schema, None | Some("pg_catalog")) && WRITING.contains(&name)
}

/// Whether a function of this name runs SQL that is handed to it in a string.
#[must_use]
pub fn hides_sql(name: &str) -> bool {
    HIDING_SQL.contains(&name) || name.starts_with("dblink")
}

/// What outside the database a function of this name touches.
#[must_use]
pub fn server_io(name: &str) -> Option<&'static str> {
    let exact = OUTSIDE.iter().find(|(known, _)| *known == name);
    exact.or_else(|| OUTSIDE_PREFIXES.iter().find(|(prefix, _)| name.starts_with(prefix))).map(|(_, area)| *area)
}

/// The rights that calling a function of this name needs beyond the caller's own.
pub(crate) fn rights(name: &str) -> Rights {
    if WRITING.contains(&name) || name == "pg_notify" { Rights::WRITE } else { Rights::NONE }
}

/// Whether a function of this name is worth naming wherever it might be called, even where a field is likelier.
pub(crate) fn is_notable(name: &str) -> bool {
    hides_sql(name) || server_io(name).is_some() || WRITING.contains(&name)
}
