//! From a raw parse tree to statements.

use std::sync::{Arc, OnceLock};

use pg_query::NodeEnum;
use pg_query::protobuf as pb;

use crate::collect::Collector;
use crate::kinds::{self, Class};
use crate::lineage;
use crate::parser::{Unreadable, UnreadableKind};
use crate::statement::{Detail, Rights, Statement, Text};

/// All statements of a text.
pub(crate) fn text(sql: Arc<str>, tree: &pb::ParseResult) -> Result<Text, Unreadable> {
    let statements = tree.stmts.iter().map(|stmt| raw(&sql, stmt)).collect::<Result<Vec<_>, _>>()?;
    let weight = size_of::<Text>() + sql.len() + statements.iter().map(weight).sum::<usize>();
    Ok(Text { sql, statements, shape: OnceLock::new(), weight })
}

fn weight(statement: &Statement) -> usize {
    let name =
        |schema: &Option<Box<str>>, name: &str| 80 + schema.as_ref().map_or(0, |schema| schema.len()) + name.len();
    let inner = match &statement.detail {
        Detail::Prepare { inner, .. } | Detail::DeclareCursor { inner, .. } | Detail::Explain { inner, .. } => {
            weight(inner)
        }
        Detail::Set { values, .. } => values.iter().map(|value| 32 + value.len()).sum(),
        _ => 64,
    };
    size_of::<Statement>()
        + inner
        + statement.lineage.weight()
        + statement.relations.iter().map(|relation| name(&relation.schema, &relation.name)).sum::<usize>()
        + statement.fields.iter().map(|field| 16 + field.len()).sum::<usize>()
        + statement.functions.iter().map(|function| name(&function.schema, &function.name)).sum::<usize>()
}

fn raw(sql: &str, stmt: &pb::RawStmt) -> Result<Statement, Unreadable> {
    let unknown = || Unreadable::new(UnreadableKind::Unknown, "the statement has no tree");
    let root = stmt.stmt.as_ref().and_then(|node| node.node.as_ref()).ok_or_else(unknown)?;
    let start = usize::try_from(stmt.stmt_location).map_err(|_| unknown())?;
    // A length of zero means that the statement goes on to the end of the text.
    let length = usize::try_from(stmt.stmt_len).map_err(|_| unknown())?;
    let end = if length == 0 { sql.len() } else { start.saturating_add(length) };
    let slice = sql.get(start..end).ok_or_else(unknown)?;
    let blank = slice.len() - slice.trim_start().len();
    let end = start + slice.trim_end().len().max(blank);
    let mut statement = statement(root);
    place(&mut statement, start + blank, end);
    Ok(statement)
}

fn place(statement: &mut Statement, start: usize, end: usize) {
    statement.span = start..end;
    if let Detail::Prepare { inner, .. } | Detail::DeclareCursor { inner, .. } | Detail::Explain { inner, .. } =
        &mut statement.detail
    {
        place(inner, start, end);
    }
}

/// One statement.
pub(crate) fn statement(root: &NodeEnum) -> Statement {
    let Class { kind, rights, access, destructive, server_io, hidden_sql, transaction, detail, secrets } =
        kinds::classify(root);
    let mut collector = Collector::new(access);
    collector.statement(root);
    let mut statement = Statement {
        span: 0..0,
        kind,
        rights: rights | collector.rights,
        relations: collector.relations,
        functions: collector.functions,
        server_io,
        fields: collector.fields,
        hidden_sql: hidden_sql || collector.hidden_sql,
        destructive: destructive || collector.destructive,
        writes: false,
        transaction,
        detail,
        settings: collector.settings,
        parameters: collector.parameters,
        secrets: secrets || collector.secrets,
        lineage: lineage::build(root),
    };
    // Definitions only keep their queries; these run them.
    if collector.queries && matches!(kind, "create_table_as" | "create_materialized_view" | "call" | "copy") {
        statement.rights |= Rights::READ;
    }
    if collector.unmodelled {
        statement.kind = "other";
        statement.rights |= Rights::NEVER;
    }
    statement.server_io.extend(collector.server_io);
    statement.server_io.sort_unstable();
    statement.server_io.dedup();
    settle(&mut statement);
    statement
}

/// What follows from the parts taken together.
fn settle(statement: &mut Statement) {
    match &statement.detail {
        // Nothing of it runs, so it needs no more than reading; what it would need is in the inner statement.
        Detail::Explain { analyze: false, .. } => {
            statement.rights = Rights::READ | (statement.rights.beyond(Rights::READ) & Rights::NEVER);
            statement.destructive = false;
        }
        // The right to copy out covers reading what is copied.
        Detail::Copy(copy) if !copy.inwards => {
            statement.rights = statement.rights.beyond(Rights::READ);
        }
        _ => {}
    }
    let changing = Rights::WRITE | Rights::DDL | Rights::COPY_IN | Rights::CALL | Rights::NEVER;
    statement.writes =
        statement.rights.beyond(changing) != statement.rights && !matches!(statement.detail, Detail::Prepare { .. });
}
