//! System relations that hold real values, other sessions' texts, or secrets.

/// A system relation with something in it that is not metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holding {
    /// Its schema; `None` for extensions' relations, which stand in any.
    pub schema: Option<&'static str>,
    /// Its name.
    pub relation: &'static str,
    /// The columns that hold it; empty means every one.
    pub columns: &'static [&'static str],
}

const fn all(relation: &'static str) -> Holding {
    Holding { schema: Some("pg_catalog"), relation, columns: &[] }
}

const fn some(relation: &'static str, columns: &'static [&'static str]) -> Holding {
    Holding { schema: Some("pg_catalog"), relation, columns }
}

const fn anywhere(relation: &'static str, columns: &'static [&'static str]) -> Holding {
    Holding { schema: None, relation, columns }
}

const VALUES: &[&str] = &["most_common_vals", "histogram_bounds", "most_common_elems", "range_bounds_histogram"];

/// All of them. Whoever knows a target's catalog turns these into its relations' and columns' numbers.
pub const HOLDINGS: &[Holding] = &[
    some("pg_statistic", &["stavalues1", "stavalues2", "stavalues3", "stavalues4", "stavalues5"]),
    some("pg_stats", VALUES),
    some("pg_stats_ext", &["most_common_vals", "most_common_val_nulls"]),
    some("pg_stats_ext_exprs", VALUES),
    some("pg_statistic_ext_data", &["stxdmcv", "stxdexpr"]),
    some("pg_stat_activity", &["query", "application_name"]),
    some("pg_stat_replication", &["application_name"]),
    some("pg_stat_wal_receiver", &["conninfo"]),
    anywhere("pg_stat_statements", &["query"]),
    some("pg_prepared_statements", &["statement"]),
    some("pg_prepared_xacts", &["gid"]),
    some("pg_cursors", &["statement"]),
    some("pg_authid", &["rolpassword"]),
    some("pg_shadow", &["passwd"]),
    some("pg_user_mapping", &["umoptions"]),
    some("pg_user_mappings", &["umoptions"]),
    some("pg_foreign_server", &["srvoptions"]),
    some("pg_subscription", &["subconninfo"]),
    all("pg_largeobject"),
    all("pg_hba_file_rules"),
    all("pg_ident_file_mappings"),
    all("pg_file_settings"),
    all("pg_replication_slots"),
    all("pg_replication_origin"),
    all("pg_replication_origin_status"),
    some("pg_seclabel", &["label"]),
    some("pg_seclabels", &["label"]),
    some("pg_shseclabel", &["label"]),
    anywhere("pg_buffercache", &[]),
    anywhere("pg_stat_monitor", &["query", "client_ip"]),
];

/// Whether a system relation holds real values, other sessions' texts or secrets: in `column`, or, without one, in any
/// of its columns. No schema means that none was written.
#[must_use]
pub fn holds_values(schema: Option<&str>, name: &str, column: Option<&str>) -> bool {
    HOLDINGS.iter().any(|holding| {
        let there = match (holding.schema, schema) {
            (Some(expected), Some(schema)) => expected == schema,
            _ => true,
        };
        let in_column = column.is_none_or(|column| holding.columns.is_empty() || holding.columns.contains(&column));
        there && holding.relation == name && in_column
    })
}
