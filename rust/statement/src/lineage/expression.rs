//! Flattening expressions to what their values can carry.

use pg_query::protobuf as pb;
use pg_query::{Node, NodeEnum, NodeRef};

use super::build::Builder;
use super::ir::{Context, Form, Leaf, Name, Path, Target};
use crate::functions;
use crate::kinds::strings;
use crate::tree;

fn path(fields: &[Node]) -> Path {
    strings(fields).into_iter().map(Name::from).collect()
}

pub(super) fn node(node: &Option<Box<Node>>) -> Option<&NodeEnum> {
    node.as_deref()?.node.as_ref()
}

fn ends_in_star(fields: &[Node]) -> bool {
    matches!(fields.last(), Some(Node { node: Some(NodeEnum::AStar(_)) }))
}

impl Builder {
    /// The context of one whole expression.
    pub(super) fn context(&mut self, expression: NodeRef<'_>) -> Context {
        let mut context = Context::default();
        self.gather(expression, &mut context);
        context
    }

    /// The contexts of a condition: AND, OR and NOT separate what meets what.
    pub(super) fn condition(&mut self, condition: &Option<Box<Node>>, into: &mut Vec<Context>) {
        if let Some(condition) = node(condition) {
            self.predicate(condition, into);
        }
    }

    fn predicate(&mut self, condition: &NodeEnum, into: &mut Vec<Context>) {
        match condition {
            NodeEnum::BoolExpr(expression) => {
                for arg in expression.args.iter().filter_map(|arg| arg.node.as_ref()) {
                    self.predicate(arg, into);
                }
            }
            other => into.push(self.context(other.to_ref())),
        }
    }

    /// One context for each node of a list.
    pub(super) fn each(&mut self, nodes: &[Node], into: &mut Vec<Context>) {
        for node in nodes.iter().filter_map(|node| node.node.as_ref()) {
            into.push(self.context(node.to_ref()));
        }
    }

    pub(super) fn gather(&mut self, expression: NodeRef<'_>, context: &mut Context) {
        match expression {
            NodeRef::ColumnRef(column) => context.leaves.push(if ends_in_star(&column.fields) {
                Leaf::Row(path(&column.fields))
            } else {
                Leaf::Column(path(&column.fields))
            }),
            NodeRef::AConst(constant) => context.literals.extend(u32::try_from(constant.location).ok()),
            NodeRef::ParamRef(parameter) => context.parameters.extend(u16::try_from(parameter.number).ok()),
            NodeRef::SubLink(link) => self.link(link, context),
            NodeRef::SelectStmt(select) => {
                let query = self.select(select);
                context.leaves.push(Leaf::Query(Box::new(query)));
            }
            NodeRef::FuncCall(call) => self.call(call, context),
            // Whether a column is null shows nothing of a value; whether an expression is may show all of it.
            NodeRef::NullTest(test) if matches!(node(&test.arg), Some(NodeEnum::ColumnRef(_))) => {}
            // How rows were grouped, not by what.
            NodeRef::GroupingFunc(_) => {}
            NodeRef::TypeName(_) => {
                let mut free = Context::default();
                tree::children(expression, &mut |child| self.gather(child, &mut free));
                self.loose.push(free);
            }
            _ => {
                // What only the server's analysis makes cannot stand here; if it does, nothing is known of it.
                if !tree::children(expression, &mut |child| self.gather(child, context)) {
                    context.leaves.push(Leaf::Function);
                }
            }
        }
    }

    fn link(&mut self, link: &pb::SubLink, context: &mut Context) {
        if let Some(test) = node(&link.testexpr) {
            self.gather(test.to_ref(), context);
        }
        let Some(NodeEnum::SelectStmt(select)) = node(&link.subselect) else {
            context.leaves.push(Leaf::Function);
            return;
        };
        let query = Box::new(self.select(select));
        let exists = link.sub_link_type == pb::SubLinkType::ExistsSublink as i32;
        context.leaves.push(if exists { Leaf::Exists(query) } else { Leaf::Query(query) });
    }

    fn call(&mut self, call: &pb::FuncCall, context: &mut Context) {
        let parts = strings(&call.funcname);
        let (name, schema) = match parts.as_slice() {
            [.., schema, name] => (*name, Some(*schema)),
            [name] => (*name, None),
            [] => ("", Some("")),
        };
        if !functions::is_reviewed(schema, name) && !functions::is_writing(schema, name) {
            context.leaves.push(Leaf::Function);
        }
        let counts = name == "count" && matches!(schema, None | Some("pg_catalog"));
        if !counts {
            tree::children(NodeRef::FuncCall(call), &mut |child| self.gather(child, context));
            return;
        }
        // How many there are is not what they are. Which ones are counted, by FILTER or OVER, may well be.
        let mut counted = Context::default();
        for arg in call.args.iter().chain(&call.agg_order).filter_map(|arg| arg.node.as_ref()) {
            self.gather(arg.to_ref(), &mut counted);
        }
        self.loose.push(counted);
        if let Some(filter) = node(&call.agg_filter) {
            self.gather(filter.to_ref(), context);
        }
        if let Some(window) = call.over.as_deref() {
            self.gather(NodeRef::WindowDef(window), context);
        }
    }

    /// The outputs of a target or RETURNING list.
    pub(super) fn targets(&mut self, list: &[Node]) -> Vec<Target> {
        let targets = list.iter().filter_map(|node| match &node.node {
            Some(NodeEnum::ResTarget(target)) => Some(target),
            _ => None,
        });
        targets.map(|target| self.target(target)).collect()
    }

    fn target(&mut self, target: &pb::ResTarget) -> Target {
        let Some(value) = node(&target.val) else {
            let value = Context { leaves: vec![Leaf::Function], ..Context::default() };
            return Target { name: None, form: Form::Expanded, value };
        };
        let form = match value {
            NodeEnum::ColumnRef(column) if ends_in_star(&column.fields) => Form::Star,
            NodeEnum::ColumnRef(_) => Form::Plain,
            NodeEnum::AIndirection(indirection) if ends_in_star(&indirection.indirection) => Form::Expanded,
            _ => Form::Computed,
        };
        let name = if target.name.is_empty() { self::name(value) } else { Some(target.name.as_str().into()) };
        Target { name, form, value: self.context(value.to_ref()) }
    }
}

/// The name that the server gives an output without an alias, where that is simple.
fn name(value: &NodeEnum) -> Option<Name> {
    let last = |nodes: &[Node]| strings(nodes).last().map(|name| Name::from(*name));
    match value {
        NodeEnum::ColumnRef(column) => last(&column.fields),
        NodeEnum::FuncCall(call) => last(&call.funcname),
        NodeEnum::CollateClause(clause) => name(node(&clause.arg)?),
        NodeEnum::TypeCast(cast) => match node(&cast.arg)? {
            inner @ (NodeEnum::ColumnRef(_) | NodeEnum::FuncCall(_)) => name(inner),
            _ => None,
        },
        _ => None,
    }
}
