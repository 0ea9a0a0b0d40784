//! From a statement's tree to what tracing needs of it.

use pg_query::protobuf as pb;
use pg_query::{Node, NodeEnum, NodeRef};

use super::expression::node;
use super::ir::{
    Alias, Assignment, Body, Column, Context, Cte, Form, From, Join, Name, Query, Select, Step, Target, Write,
};
use super::{Lineage, Shape};
use crate::kinds::strings;
use crate::tree;

/// Queries within queries, and joins within joins, beyond which they are not followed.
const DEEPEST: usize = 48;

/// Collects as it goes what belongs to the query at hand but to none of its outputs.
#[derive(Default)]
pub(super) struct Builder {
    depth: usize,
    /// Contexts of the query at hand whose values go nowhere.
    pub(super) loose: Vec<Context>,
}

fn names(nodes: &[Node]) -> Vec<Name> {
    strings(nodes).into_iter().map(Name::from).collect()
}

fn optional(name: &str) -> Option<Name> {
    (!name.is_empty()).then(|| name.into())
}

fn alias(alias: Option<&pb::Alias>) -> Alias {
    alias.map_or_else(Alias::default, |alias| Alias {
        name: optional(&alias.aliasname),
        columns: names(&alias.colnames),
    })
}

/// Whether a SELECT is UNION, INTERSECT or EXCEPT.
fn is_set(select: &pb::SelectStmt) -> bool {
    select.op > pb::SetOperation::SetopNone as i32
}

/// What tracing needs of a statement.
pub(crate) fn build(root: &NodeEnum) -> Lineage {
    let mut builder = Builder::default();
    let (query, shape) = match root {
        NodeEnum::SelectStmt(select) => {
            let shape = if select.into_clause.is_some() { Shape::Nothing } else { Shape::Query };
            (Some(builder.select(select)), shape)
        }
        NodeEnum::InsertStmt(_) | NodeEnum::UpdateStmt(_) | NodeEnum::DeleteStmt(_) | NodeEnum::MergeStmt(_) => {
            (builder.query(root), Shape::Query)
        }
        NodeEnum::CreateTableAsStmt(stmt) => (node(&stmt.query).and_then(|query| builder.query(query)), Shape::Nothing),
        NodeEnum::ViewStmt(stmt) => (node(&stmt.query).and_then(|query| builder.query(query)), Shape::Nothing),
        NodeEnum::CopyStmt(stmt) if !stmt.is_from => {
            (node(&stmt.query).and_then(|query| builder.query(query)), Shape::Unknown)
        }
        NodeEnum::VariableShowStmt(_) => (None, Shape::Clean),
        NodeEnum::ExecuteStmt(_) | NodeEnum::FetchStmt(_) | NodeEnum::CallStmt(_) => (None, Shape::Unknown),
        _ => (None, Shape::Nothing),
    };
    Lineage { query: query.map(Box::new), shape }
}

impl Builder {
    /// Builds a part one level deeper, with loose contexts of its own.
    fn nested(&mut self, build: impl FnOnce(&mut Self) -> Query) -> Query {
        if self.depth >= DEEPEST {
            return Query { ctes: Vec::new(), recursive: false, body: Body::Opaque, contexts: Vec::new() };
        }
        let outer = std::mem::take(&mut self.loose);
        self.depth += 1;
        let mut query = build(self);
        self.depth -= 1;
        query.contexts.append(&mut self.loose);
        self.loose = outer;
        query
    }

    /// Any statement that may stand where a query does.
    fn query(&mut self, root: &NodeEnum) -> Option<Query> {
        Some(match root {
            NodeEnum::SelectStmt(select) => self.select(select),
            NodeEnum::InsertStmt(stmt) => self.nested(|this| this.insert(stmt)),
            NodeEnum::UpdateStmt(stmt) => self.nested(|this| this.update(stmt)),
            NodeEnum::DeleteStmt(stmt) => self.nested(|this| this.delete(stmt)),
            NodeEnum::MergeStmt(stmt) => self.nested(|this| this.merge(stmt)),
            _ => return None,
        })
    }

    pub(super) fn select(&mut self, select: &pb::SelectStmt) -> Query {
        self.nested(|this| {
            let (ctes, recursive) = this.with(select.with_clause.as_ref());
            let mut contexts = Vec::new();
            this.tail(select, &mut contexts);
            let body = if is_set(select) {
                Body::Arms(this.arms(select))
            } else if select.values_lists.is_empty() {
                Body::Select(Box::new(this.plain(select)))
            } else {
                Body::Values(this.values(&select.values_lists))
            };
            Query { ctes, recursive, body, contexts }
        })
    }

    fn tail(&mut self, select: &pb::SelectStmt, contexts: &mut Vec<Context>) {
        // In a plain SELECT these see the FROM list, so they are built with it.
        if is_set(select) || !select.values_lists.is_empty() {
            self.each(&select.sort_clause, contexts);
            for limit in [&select.limit_offset, &select.limit_count] {
                contexts.extend(node(limit).map(|limit| self.context(limit.to_ref())));
            }
        }
    }

    /// The arms of a set operation from left to right, following the left lean without recursion.
    fn arms(&mut self, select: &pb::SelectStmt) -> Vec<Query> {
        let mut arms = Vec::new();
        let mut at = select;
        while let (Some(left), Some(right)) = (at.larg.as_deref(), at.rarg.as_deref()) {
            arms.push(self.select(right));
            let simple = is_set(left)
                && left.with_clause.is_none()
                && left.sort_clause.is_empty()
                && left.limit_count.is_none()
                && left.limit_offset.is_none();
            if !simple {
                arms.push(self.select(left));
                break;
            }
            at = left;
        }
        arms.reverse();
        arms
    }

    fn plain(&mut self, select: &pb::SelectStmt) -> Select {
        let mut plain = Select { from: self.from(&select.from_clause), ..Select::default() };
        plain.targets = self.targets(&select.target_list);
        let contexts = &mut plain.contexts;
        self.condition(&select.where_clause, contexts);
        self.condition(&select.having_clause, contexts);
        for list in [&select.group_clause, &select.sort_clause, &select.window_clause, &select.distinct_clause] {
            self.each(list, contexts);
        }
        for limit in [&select.limit_offset, &select.limit_count] {
            contexts.extend(node(limit).map(|limit| self.context(limit.to_ref())));
        }
        plain
    }

    fn values(&mut self, rows: &[Node]) -> Vec<Context> {
        let mut columns: Vec<Context> = Vec::new();
        for row in rows {
            let Some(NodeEnum::List(row)) = &row.node else { continue };
            for (place, value) in row.items.iter().enumerate() {
                if columns.len() <= place {
                    columns.push(Context::default());
                }
                if let (Some(value), Some(column)) = (&value.node, columns.get_mut(place)) {
                    self.gather(value.to_ref(), column);
                }
            }
        }
        columns
    }

    fn with(&mut self, with: Option<&pb::WithClause>) -> (Vec<Cte>, bool) {
        let Some(with) = with else { return (Vec::new(), false) };
        let mut ctes = Vec::with_capacity(with.ctes.len());
        for cte in &with.ctes {
            let Some(NodeEnum::CommonTableExpr(cte)) = &cte.node else { continue };
            let query = node(&cte.ctequery).and_then(|query| self.query(query));
            let opaque = Query { ctes: Vec::new(), recursive: false, body: Body::Opaque, contexts: Vec::new() };
            ctes.push(Cte {
                name: cte.ctename.as_str().into(),
                columns: names(&cte.aliascolnames),
                query: query.unwrap_or(opaque),
                grows: cte.search_clause.is_some() || cte.cycle_clause.is_some(),
            });
        }
        (ctes, with.recursive)
    }

    fn from(&mut self, list: &[Node]) -> Vec<From> {
        list.iter().map(|item| self.item(item.node.as_ref())).collect()
    }

    fn item(&mut self, item: Option<&NodeEnum>) -> From {
        match item {
            Some(NodeEnum::RangeVar(range)) => From::Relation {
                schema: optional(&range.schemaname),
                name: range.relname.as_str().into(),
                alias: alias(range.alias.as_ref()),
            },
            Some(NodeEnum::RangeSubselect(range)) => match node(&range.subquery) {
                Some(NodeEnum::SelectStmt(select)) => From::Query {
                    query: Box::new(self.select(select)),
                    alias: alias(range.alias.as_ref()),
                    lateral: range.lateral,
                },
                _ => From::Opaque,
            },
            Some(NodeEnum::RangeFunction(range)) => self.function(range),
            Some(other @ NodeEnum::RangeTableFunc(range)) => self.table(other.to_ref(), range.alias.as_ref()),
            Some(other @ NodeEnum::JsonTable(range)) => self.table(other.to_ref(), range.alias.as_ref()),
            Some(NodeEnum::RangeTableSample(range)) => {
                let mut value = Context::default();
                for arg in range.args.iter().filter_map(|arg| arg.node.as_ref()).chain(node(&range.repeatable)) {
                    self.gather(arg.to_ref(), &mut value);
                }
                From::Sample { of: Box::new(self.item(node(&range.relation))), value }
            }
            Some(NodeEnum::JoinExpr(join)) if self.depth < DEEPEST => {
                self.depth += 1;
                let join = self.join(join);
                self.depth -= 1;
                join
            }
            _ => From::Opaque,
        }
    }

    fn function(&mut self, range: &pb::RangeFunction) -> From {
        let mut value = Context::default();
        for function in range.functions.iter().filter_map(|function| function.node.as_ref()) {
            self.gather(function.to_ref(), &mut value);
        }
        // A list of column definitions names every column; an alias list may name only the first few.
        From::Function { value, alias: alias(range.alias.as_ref()) }
    }

    fn table(&mut self, table: NodeRef<'_>, named: Option<&pb::Alias>) -> From {
        let mut value = Context::default();
        tree::children(table, &mut |child| {
            if !matches!(child, NodeRef::Alias(_)) {
                self.gather(child, &mut value);
            }
        });
        From::Function { value, alias: alias(named) }
    }

    fn join(&mut self, join: &pb::JoinExpr) -> From {
        let mut chain = vec![join];
        let first = loop {
            let at = chain.last().and_then(|join| node(&join.larg));
            match at {
                Some(NodeEnum::JoinExpr(left)) => chain.push(left),
                other => break self.item(other),
            }
        };
        let steps = chain.into_iter().rev().map(|join| {
            let right = self.item(node(&join.rarg));
            let mut on = Vec::new();
            self.condition(&join.quals, &mut on);
            Step {
                right,
                natural: join.is_natural,
                using: names(&join.using_clause),
                using_alias: join.join_using_alias.as_ref().and_then(|alias| optional(&alias.aliasname)),
                on,
                alias: alias(join.alias.as_ref()),
            }
        });
        let steps = steps.collect();
        From::Join(Box::new(Join { first, steps }))
    }

    fn write(&mut self, target: Option<&pb::RangeVar>, returning: Option<&pb::ReturningClause>) -> Write {
        let mut returned = returning.map(|clause| self.targets(&clause.exprs)).unwrap_or_default();
        if returning.is_some_and(|clause| !clause.options.is_empty()) {
            // WITH (OLD AS …) renames what the names below stand for.
            returned.iter_mut().for_each(obscure);
        }
        Write {
            schema: target.and_then(|target| optional(&target.schemaname)),
            name: target.map(|target| target.relname.as_str().into()).unwrap_or_default(),
            alias: target.and_then(|target| optional(&target.alias.as_ref()?.aliasname)),
            columns: Vec::new(),
            source: None,
            from: Vec::new(),
            assignments: Vec::new(),
            contexts: Vec::new(),
            returning: returned,
            excluded: false,
            merge: false,
        }
    }

    fn insert(&mut self, stmt: &pb::InsertStmt) -> Query {
        let (ctes, recursive) = self.with(stmt.with_clause.as_ref());
        let mut write = self.write(stmt.relation.as_ref(), stmt.returning_clause.as_ref());
        write.columns = stmt.cols.iter().filter_map(assigned).collect();
        if let Some(NodeEnum::SelectStmt(select)) = node(&stmt.select_stmt) {
            write.source = Some(self.select(select));
        }
        if let Some(conflict) = stmt.on_conflict_clause.as_deref() {
            write.excluded = true;
            self.assign(&conflict.target_list, &mut write.assignments);
            self.condition(&conflict.where_clause, &mut write.contexts);
            if let Some(infer) = conflict.infer.as_deref() {
                self.each(&infer.index_elems, &mut write.contexts);
                self.condition(&infer.where_clause, &mut write.contexts);
            }
        }
        Query { ctes, recursive, body: Body::Write(Box::new(write)), contexts: Vec::new() }
    }

    fn update(&mut self, stmt: &pb::UpdateStmt) -> Query {
        let (ctes, recursive) = self.with(stmt.with_clause.as_ref());
        let mut write = self.write(stmt.relation.as_ref(), stmt.returning_clause.as_ref());
        write.from = self.from(&stmt.from_clause);
        self.assign(&stmt.target_list, &mut write.assignments);
        self.condition(&stmt.where_clause, &mut write.contexts);
        Query { ctes, recursive, body: Body::Write(Box::new(write)), contexts: Vec::new() }
    }

    fn delete(&mut self, stmt: &pb::DeleteStmt) -> Query {
        let (ctes, recursive) = self.with(stmt.with_clause.as_ref());
        let mut write = self.write(stmt.relation.as_ref(), stmt.returning_clause.as_ref());
        write.from = self.from(&stmt.using_clause);
        self.condition(&stmt.where_clause, &mut write.contexts);
        Query { ctes, recursive, body: Body::Write(Box::new(write)), contexts: Vec::new() }
    }

    fn merge(&mut self, stmt: &pb::MergeStmt) -> Query {
        let (ctes, recursive) = self.with(stmt.with_clause.as_ref());
        let mut write = self.write(stmt.relation.as_ref(), stmt.returning_clause.as_ref());
        write.merge = true;
        write.from = vec![self.item(node(&stmt.source_relation))];
        self.condition(&stmt.join_condition, &mut write.contexts);
        for clause in &stmt.merge_when_clauses {
            let Some(NodeEnum::MergeWhenClause(clause)) = &clause.node else { continue };
            self.condition(&clause.condition, &mut write.contexts);
            if clause.command_type == pb::CmdType::CmdInsert as i32 {
                let columns: Vec<Name> = clause.target_list.iter().filter_map(assigned).collect();
                for (place, value) in clause.values.iter().enumerate() {
                    let column = columns.get(place).cloned().map_or(Column::Place(place), Column::Named);
                    let Some(value) = &value.node else { continue };
                    let plain = matches!(value, NodeEnum::ColumnRef(_));
                    let value = self.context(value.to_ref());
                    write.assignments.push(Assignment { column, plain, value });
                }
            } else {
                self.assign(&clause.target_list, &mut write.assignments);
            }
        }
        Query { ctes, recursive, body: Body::Write(Box::new(write)), contexts: Vec::new() }
    }

    fn assign(&mut self, targets: &[Node], into: &mut Vec<Assignment>) {
        for target in targets {
            let Some(NodeEnum::ResTarget(target)) = &target.node else { continue };
            let Some(value) = node(&target.val) else { continue };
            let plain = matches!(value, NodeEnum::ColumnRef(_)) && target.indirection.is_empty();
            let mut value = self.context(value.to_ref());
            for index in target.indirection.iter().filter_map(|index| index.node.as_ref()) {
                self.gather(index.to_ref(), &mut value);
            }
            into.push(Assignment { column: Column::Named(target.name.as_str().into()), plain, value });
        }
    }
}

fn assigned(target: &Node) -> Option<Name> {
    match &target.node {
        Some(NodeEnum::ResTarget(target)) => Some(target.name.as_str().into()),
        _ => None,
    }
}

fn obscure(target: &mut Target) {
    target.form = if target.form == Form::Star { Form::Expanded } else { Form::Computed };
    target.value.leaves.push(super::ir::Leaf::Function);
}
