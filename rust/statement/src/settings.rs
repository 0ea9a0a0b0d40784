//! Which session settings `read` may change, which the gateway follows, and which would blind it.

/// What changing a setting means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Harmless: `read` comes with it.
    Listed,
    /// As harmless, but it changes what later texts or values mean: the gateway follows the target's report of it.
    Tracked,
    /// It would make the gateway misread texts or values, or put them where nobody masks them. Refused to everybody.
    Blinding,
    /// Not reviewed: needs more than `read`.
    Unlisted,
}

const TRACKED: &[&str] = &[
    "bytea_output",
    "client_encoding",
    "datestyle",
    "extra_float_digits",
    "intervalstyle",
    "names",
    "search_path",
    "standard_conforming_strings",
    "timezone",
    "xmloption",
];

const LISTED: &[&str] = &[
    "application_name",
    "array_nulls",
    "backend_flush_after",
    "check_function_bodies",
    "client_connection_check_interval",
    "client_min_messages",
    "commit_delay",
    "commit_siblings",
    "constraint_exclusion",
    "cpu_index_tuple_cost",
    "cpu_operator_cost",
    "cpu_tuple_cost",
    "cursor_tuple_fraction",
    "default_statistics_target",
    "default_table_access_method",
    "default_text_search_config",
    "default_toast_compression",
    "default_transaction_deferrable",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "effective_cache_size",
    "effective_io_concurrency",
    "escape_string_warning",
    "exit_on_error",
    "force_parallel_mode",
    "debug_parallel_query",
    "from_collapse_limit",
    "gin_fuzzy_search_limit",
    "gin_pending_list_limit",
    "hash_mem_multiplier",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "join_collapse_limit",
    "lc_messages",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    "lock_timeout",
    "logical_decoding_work_mem",
    "maintenance_io_concurrency",
    "maintenance_work_mem",
    "max_parallel_maintenance_workers",
    "max_parallel_workers",
    "max_parallel_workers_per_gather",
    "min_parallel_index_scan_size",
    "min_parallel_table_scan_size",
    "parallel_leader_participation",
    "parallel_setup_cost",
    "parallel_tuple_cost",
    "plan_cache_mode",
    "quote_all_identifiers",
    "random_page_cost",
    "recursive_worktable_factor",
    "seed",
    "seq_page_cost",
    "statement_timeout",
    "synchronize_seqscans",
    "synchronous_commit",
    "tcp_keepalives_count",
    "tcp_keepalives_idle",
    "tcp_keepalives_interval",
    "tcp_user_timeout",
    "temp_buffers",
    "timezone_abbreviations",
    "track_activities",
    "transaction_deferrable",
    "transaction_isolation",
    "transaction_read_only",
    "transaction_timeout",
    "transform_null_equals",
    "vacuum_cost_delay",
    "work_mem",
    "xmlbinary",
];

const BLINDING: &[&str] = &[
    "allow_system_table_mods",
    "auto_explain.log_min_duration",
    "backslash_quote",
    "dynamic_library_path",
    "extension_control_path",
    "ignore_system_indexes",
    "jit_dump_bitcode",
    "jit_debugging_support",
    "local_preload_libraries",
    "lo_compat_privileges",
    "operator_precedence_warning",
    "restrict_nonsystem_relation_kind",
    "session_preload_libraries",
    "session_replication_role",
    "shared_preload_libraries",
    "trace_notify",
    "trace_sort",
    "trace_locks",
    "zero_damaged_pages",
    "ignore_checksum_failure",
    "ignore_invalid_pages",
    "allow_in_place_tablespaces",
];

/// Encodings in which a text means the same to the gateway as to the server: ASCII bytes are always themselves.
const ENCODINGS: &[&str] = &["utf8", "utf-8", "unicode", "sqlascii", "sql_ascii", "default"];

fn is_off(value: &str) -> bool {
    let value = value.trim().to_ascii_lowercase();
    matches!(value.as_str(), "0" | "f" | "n" | "no" | "of" | "off")
        || (!value.is_empty() && "false".starts_with(value.as_str()))
}

/// What setting `name` to `value` means; `value` is `None` for DEFAULT and RESET. Names are compared without regard to
/// case, as the server does.
#[must_use]
pub fn verdict(name: &str, value: Option<&str>) -> Verdict {
    let name = name.to_ascii_lowercase();
    let name = name.as_str();
    if let Some(verdict) = by_value(name, value) {
        return verdict;
    }
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    if TRACKED.contains(&name) {
        Verdict::Tracked
    } else if BLINDING.contains(&name) || starts(&["debug_", "log_", "auto_explain.", "pgaudit.", "trace_"]) {
        // Parallel-query debugging has a harmless name to itself; the rest prints texts and plans with their values.
        if LISTED.contains(&name) { Verdict::Listed } else { Verdict::Blinding }
    } else if LISTED.contains(&name)
        || starts(&["enable_", "geqo", "jit_above", "jit_inline", "jit_optimize"])
        || name == "jit"
    {
        Verdict::Listed
    } else {
        Verdict::Unlisted
    }
}

fn by_value(name: &str, value: Option<&str>) -> Option<Verdict> {
    match (name, value) {
        ("standard_conforming_strings", Some(value)) if is_off(value) => Some(Verdict::Blinding),
        ("client_encoding" | "names", Some(value)) => {
            let plain: String = value.chars().filter(|c| *c != '-' && *c != ' ').collect();
            let known = ENCODINGS.contains(&value.to_ascii_lowercase().as_str())
                || ENCODINGS.contains(&plain.to_ascii_lowercase().as_str());
            Some(if known { Verdict::Tracked } else { Verdict::Blinding })
        }
        // The server's messages could then carry more than errors and notices do.
        ("client_min_messages", Some(value)) if value.to_ascii_lowercase().starts_with("debug") => {
            Some(Verdict::Blinding)
        }
        // Off makes the server refuse what its policies would filter; it never shows more.
        ("row_security", _) => Some(Verdict::Listed),
        _ => None,
    }
}
