//! Expressions: what a value worked out from columns can carry.

use pg_query::{Node, NodeEnum, NodeRef};

use super::query::Tracer;
use super::scope::{Scope, Trace};
use crate::kinds::strings;
use crate::tree;

impl Tracer<'_> {
    /// What an expression's value can carry.
    pub fn expression(&mut self, node: &Node, scope: &Scope<'_>) -> Trace {
        match &node.node {
            Some(NodeEnum::ColumnRef(column)) if !has_star(&column.fields) => scope.reference(&strings(&column.fields)),
            _ => Trace::of(self.any(node, scope)),
        }
    }

    /// Whether anything protected goes into a node.
    pub fn any(&mut self, node: &Node, scope: &Scope<'_>) -> bool {
        node.node.as_ref().is_some_and(|node| self.within(node.to_ref(), scope))
    }

    fn within(&mut self, node: NodeRef<'_>, scope: &Scope<'_>) -> bool {
        match node {
            NodeRef::ColumnRef(column) if has_star(&column.fields) => {
                let named = strings(&column.fields);
                match scope.star(named.last().copied()) {
                    Some(columns) => columns.iter().any(|(_, trace)| trace.protected),
                    None => scope.protects(),
                }
            }
            NodeRef::ColumnRef(column) => scope.reference(&strings(&column.fields)).protected,
            // How many values there are is nothing of any of them.
            NodeRef::FuncCall(call) if is_count(&strings(&call.funcname)) && call.over.is_none() => {
                call.agg_filter.as_deref().is_some_and(|filter| self.any(filter, scope))
            }
            NodeRef::SelectStmt(select) => self.subquery(select, scope),
            _ => {
                let mut found = false;
                let modelled = tree::children(node, &mut |child| found = found || self.within(child, scope));
                found || !modelled
            }
        }
    }

    /// A sub-query in an expression: its outputs, and whatever decides which rows there are.
    fn subquery(&mut self, select: &pg_query::protobuf::SelectStmt, scope: &Scope<'_>) -> bool {
        match self.select(select, Some(scope)) {
            Some(columns) if columns.iter().all(|(_, trace)| !trace.protected) => self.conditions(select, scope),
            _ => true,
        }
    }

    /// Whether the conditions of a sub-query look at anything protected: then its value tells of it.
    fn conditions(&mut self, select: &pg_query::protobuf::SelectStmt, scope: &Scope<'_>) -> bool {
        let mut conditions: Vec<&Node> = Vec::new();
        conditions.extend(select.where_clause.as_deref());
        conditions.extend(select.having_clause.as_deref());
        conditions.extend(&select.group_clause);
        conditions.extend(&select.sort_clause);
        conditions.extend(select.limit_count.as_deref());
        conditions.extend(select.limit_offset.as_deref());
        if conditions.is_empty() && select.larg.is_none() {
            return false;
        }
        // What is in sight inside is worked out again; that it cannot be is reason enough.
        let Some(sources) = self.sources(select, scope) else { return true };
        let inside = Scope { sources, outer: Some(scope) };
        conditions.into_iter().any(|condition| self.any(condition, &inside))
    }
}

fn is_count(name: &[&str]) -> bool {
    matches!(name, ["count"] | ["pg_catalog", "count"])
}

fn has_star(fields: &[Node]) -> bool {
    matches!(fields.last().and_then(|field| field.node.as_ref()), Some(NodeEnum::AStar(_)))
}
