//! Everything a statement names, wherever in its tree it stands.

use pg_query::protobuf as pb;
use pg_query::{NodeEnum, NodeRef};

use crate::functions;
use crate::kinds::{self, strings};
use crate::statement::{Access, FunctionRef, RelationRef, Rights};
use crate::tree;

/// Walks one statement's tree. Common table expressions are followed by scope, so that only relations remain.
pub(crate) struct Collector {
    pub relations: Vec<RelationRef>,
    pub functions: Vec<FunctionRef>,
    pub server_io: Vec<&'static str>,
    pub rights: Rights,
    pub hidden_sql: bool,
    pub fields: Vec<Box<str>>,
    pub destructive: bool,
    pub secrets: bool,
    pub parameters: u16,
    pub unmodelled: bool,
    pub settings: Vec<(Box<str>, Option<Box<str>>)>,
    /// It contains a query.
    pub queries: bool,
    access: Access,
    /// Names of common table expressions visible here, innermost last.
    ctes: Vec<Box<str>>,
}

/// How large a list may grow before looking for a name in it gives way to letting it repeat.
const DISTINCT: usize = 256;

/// How many common table expressions may be in scope at once.
const MOST_CTES: usize = 1000;

impl Collector {
    /// `access`: what a relation named outside any query is subject to.
    pub(crate) fn new(access: Access) -> Self {
        Self {
            relations: Vec::new(),
            functions: Vec::new(),
            server_io: Vec::new(),
            rights: Rights::NONE,
            hidden_sql: false,
            fields: Vec::new(),
            destructive: false,
            secrets: false,
            parameters: 0,
            unmodelled: false,
            settings: Vec::new(),
            queries: false,
            access,
            ctes: Vec::new(),
        }
    }

    pub(crate) fn statement(&mut self, root: &NodeEnum) {
        self.visit(root.to_ref());
        if self.relations.len() > DISTINCT || self.functions.len() > DISTINCT {
            self.relations.sort_by(|a, b| (&a.schema, &a.name, a.access).cmp(&(&b.schema, &b.name, b.access)));
            self.relations.dedup();
            self.functions.sort_by(|a, b| (&a.schema, &a.name).cmp(&(&b.schema, &b.name)));
            self.functions.dedup();
        }
    }

    fn visit(&mut self, node: NodeRef<'_>) {
        match node {
            NodeRef::SelectStmt(select) => self.select(select),
            NodeRef::InsertStmt(stmt) => self.change(node, stmt.with_clause.as_ref(), stmt.relation.as_ref(), false),
            NodeRef::UpdateStmt(stmt) => {
                let all = unconditional(stmt.where_clause.as_deref());
                self.change(node, stmt.with_clause.as_ref(), stmt.relation.as_ref(), all);
            }
            NodeRef::DeleteStmt(stmt) => {
                let all = unconditional(stmt.where_clause.as_deref());
                self.change(node, stmt.with_clause.as_ref(), stmt.relation.as_ref(), all);
            }
            NodeRef::MergeStmt(stmt) => self.change(node, stmt.with_clause.as_ref(), stmt.relation.as_ref(), false),
            NodeRef::RangeVar(relation) => self.range(relation, self.access),
            // What stands in these is a name of the query, or of a constraint, not of a relation.
            NodeRef::LockingClause(_) => self.rights |= Rights::WRITE,
            NodeRef::ConstraintsSetStmt(_) => {}
            NodeRef::DropStmt(stmt) => self.dropped(stmt),
            NodeRef::CommentStmt(stmt) => {
                self.object(stmt.objtype, stmt.object.as_deref().and_then(|node| node.node.as_ref()));
                self.children(node);
            }
            NodeRef::SecLabelStmt(stmt) => {
                self.object(stmt.objtype, stmt.object.as_deref().and_then(|node| node.node.as_ref()));
                self.children(node);
            }
            _ => {
                self.note(node);
                self.children(node);
            }
        }
    }

    fn children(&mut self, node: NodeRef<'_>) {
        if !tree::children(node, &mut |child| self.visit(child)) {
            self.unmodelled = true;
        }
    }

    /// What a node says of itself.
    fn note(&mut self, node: NodeRef<'_>) {
        match node {
            NodeRef::FuncCall(call) => self.call(call),
            NodeRef::RangeTableSample(sample) => self.function(&strings(&sample.method)),
            NodeRef::CreateTrigStmt(stmt) => self.function(&strings(&stmt.funcname)),
            NodeRef::CreateEventTrigStmt(stmt) => self.function(&strings(&stmt.funcname)),
            NodeRef::CreateConversionStmt(stmt) => self.function(&strings(&stmt.func_name)),
            NodeRef::AExpr(expression) => self.operator(&strings(&expression.name)),
            NodeRef::SortBy(sort) => self.operator(&strings(&sort.use_op)),
            NodeRef::SubLink(link) => self.operator(&strings(&link.oper_name)),
            NodeRef::SqlvalueFunction(value) => self.value_function(value.op),
            NodeRef::ParamRef(parameter) => {
                // The protocol counts parameters in 16 bits; a higher number cannot be bound, let alone run.
                self.parameters = self.parameters.max(u16::try_from(parameter.number).unwrap_or(u16::MAX));
            }
            NodeRef::AIndirection(indirection) => self.attributes(&indirection.indirection),
            NodeRef::TypeName(name) if name.pct_type => {
                // table.column%TYPE names a relation.
                let mut parts = strings(&name.names);
                parts.pop();
                self.relation(&parts, Access::Read);
            }
            NodeRef::DoStmt(_) => self.hidden_sql = true,
            _ => {}
        }
    }

    /// A call. `set_config` with a constant name is SET in another form, and is judged as such.
    fn call(&mut self, call: &pb::FuncCall) {
        let name = strings(&call.funcname);
        if matches!(name.as_slice(), ["set_config"] | ["pg_catalog", "set_config"])
            && let [setting, value, _] = call.args.as_slice()
            && let Some(setting) = kinds::constant(setting)
        {
            self.settings.push((setting, kinds::constant(value)));
            return;
        }
        self.function(&name);
    }

    /// `(x).name` runs a function of that name if the value has no field of that name, so both are possible.
    fn attributes(&mut self, indirection: &[pb::Node]) {
        for name in strings(indirection) {
            if functions::is_notable(name) {
                self.function(&[name]);
            } else if self.fields.len() >= DISTINCT || !self.fields.iter().any(|known| **known == *name) {
                self.fields.push(name.into());
            }
        }
    }

    fn value_function(&mut self, op: i32) {
        use pb::SqlValueFunctionOp as Op;
        let name = match Op::try_from(op) {
            Ok(Op::SvfopCurrentDate) => "current_date",
            Ok(Op::SvfopCurrentTime | Op::SvfopCurrentTimeN) => "current_time",
            Ok(Op::SvfopCurrentTimestamp | Op::SvfopCurrentTimestampN) => "current_timestamp",
            Ok(Op::SvfopLocaltime | Op::SvfopLocaltimeN) => "localtime",
            Ok(Op::SvfopLocaltimestamp | Op::SvfopLocaltimestampN) => "localtimestamp",
            Ok(Op::SvfopCurrentRole) => "current_role",
            Ok(Op::SvfopCurrentUser) => "current_user",
            Ok(Op::SvfopUser) => "user",
            Ok(Op::SvfopSessionUser) => "session_user",
            Ok(Op::SvfopCurrentCatalog) => "current_catalog",
            Ok(Op::SvfopCurrentSchema) => "current_schema",
            Ok(Op::SqlvalueFunctionOpUndefined) | Err(_) => {
                self.unmodelled = true;
                return;
            }
        };
        self.function(&["pg_catalog", name]);
    }

    fn function(&mut self, parts: &[&str]) {
        let Some((name, before)) = parts.split_last() else { return };
        let schema = before.last().copied();
        let function = FunctionRef { schema: schema.map(Into::into), name: (*name).into() };
        self.rights |= functions::rights(name);
        self.hidden_sql |= functions::hides_sql(name);
        if let Some(area) = functions::server_io(name) {
            self.server_io.push(area);
            self.secrets |= area == "dblink";
        }
        if self.functions.len() > DISTINCT || !self.functions.contains(&function) {
            self.functions.push(function);
        }
    }

    /// An operator is a function by another name. Those of no written schema or of the system's are the system's, as
    /// far as a text can tell.
    fn operator(&mut self, parts: &[&str]) {
        if let [.., schema, _] = parts
            && *schema != "pg_catalog"
        {
            self.function(parts);
        }
    }

    fn range(&mut self, relation: &pb::RangeVar, access: Access) {
        let schema = (!relation.schemaname.is_empty()).then_some(relation.schemaname.as_str());
        if schema.is_none() && access == Access::Read && self.ctes.iter().any(|cte| **cte == *relation.relname) {
            return;
        }
        match schema {
            Some(schema) => self.relation(&[schema, &relation.relname], access),
            None => self.relation(&[&relation.relname], access),
        }
    }

    fn relation(&mut self, parts: &[&str], access: Access) {
        let Some((name, before)) = parts.split_last() else { return };
        let relation =
            RelationRef { schema: before.last().map(|schema| (*schema).into()), name: (*name).into(), access };
        if self.relations.len() > DISTINCT || !self.relations.contains(&relation) {
            self.relations.push(relation);
        }
    }

    /// Runs `inside` where the names of `with` are visible, having visited its queries where they are.
    fn scoped(&mut self, with: Option<&pb::WithClause>, inside: impl FnOnce(&mut Self)) {
        let outer = self.ctes.len();
        let (access, ctes) = (self.access, with.map(|with| with.ctes.as_slice()).unwrap_or_default());
        self.access = Access::Read;
        let ctes = ctes.iter().filter_map(|node| match &node.node {
            Some(NodeEnum::CommonTableExpr(cte)) => Some(cte),
            _ => None,
        });
        // Looking names up among so many would take longer than any honest text is worth.
        self.unmodelled |= self.ctes.len() + ctes.clone().count() > MOST_CTES;
        if self.unmodelled {
            return;
        }
        let recursive = with.is_some_and(|with| with.recursive);
        if recursive {
            self.ctes.extend(ctes.clone().map(|cte| cte.ctename.as_str().into()));
        }
        for cte in ctes {
            self.children(NodeRef::CommonTableExpr(cte));
            if !recursive {
                self.ctes.push(cte.ctename.as_str().into());
            }
        }
        inside(self);
        self.ctes.truncate(outer);
        self.access = access;
    }

    fn select(&mut self, select: &pb::SelectStmt) {
        self.queries = true;
        self.scoped(select.with_clause.as_ref(), |this| {
            if let Some(into) = select.into_clause.as_deref() {
                this.rights |= Rights::DDL;
                if let Some(relation) = &into.rel {
                    this.range(relation, Access::Write);
                }
            }
            // A long UNION leans to the left; following it there costs no stack.
            let mut arm = select;
            loop {
                this.arm(arm);
                let (Some(left), Some(right)) = (arm.larg.as_deref(), arm.rarg.as_deref()) else { break };
                this.select(right);
                if left.with_clause.is_some() || left.into_clause.is_some() {
                    this.select(left);
                    break;
                }
                arm = left;
            }
        });
    }

    /// A SELECT's own parts, without its WITH, INTO and arms.
    fn arm(&mut self, select: &pb::SelectStmt) {
        let skipped = |child: &NodeRef<'_>| {
            matches!(child, NodeRef::WithClause(_) | NodeRef::SelectStmt(_) | NodeRef::IntoClause(_))
        };
        tree::children(NodeRef::SelectStmt(select), &mut |child| {
            if !skipped(&child) {
                self.visit(child);
            }
        });
    }

    fn change(&mut self, node: NodeRef<'_>, with: Option<&pb::WithClause>, target: Option<&pb::RangeVar>, all: bool) {
        self.rights |= Rights::WRITE;
        self.destructive |= all;
        if let Some(target) = target {
            self.range(target, Access::Write);
        }
        self.scoped(with, |this| {
            tree::children(node, &mut |child| {
                let is_target =
                    matches!(child, NodeRef::RangeVar(child) if target.is_some_and(|t| std::ptr::eq(t, child)));
                if !is_target && !matches!(child, NodeRef::WithClause(_)) {
                    this.visit(child);
                }
            });
        });
    }

    fn dropped(&mut self, stmt: &pb::DropStmt) {
        for object in &stmt.objects {
            self.object(stmt.remove_type, object.node.as_ref());
        }
        self.children(NodeRef::DropStmt(stmt));
    }

    /// The relation in the name of an object that DROP, COMMENT or SECURITY LABEL is about.
    fn object(&mut self, kind: i32, object: Option<&NodeEnum>) {
        let Some(NodeEnum::List(list)) = object else { return };
        let mut parts = strings(&list.items);
        match kinds::naming(kind) {
            kinds::Naming::Relation => self.relation(&parts, Access::Write),
            kinds::Naming::Part => {
                parts.pop();
                self.relation(&parts, Access::Write);
            }
            kinds::Naming::Other => {}
        }
    }
}

/// Whether a WHERE clause excludes no row that the text could tell: there is none, or it mentions no column.
fn unconditional(condition: Option<&pb::Node>) -> bool {
    let Some(condition) = condition.and_then(|node| node.node.as_ref()) else { return true };
    let mut pending = vec![condition.to_ref()];
    while let Some(node) = pending.pop() {
        if matches!(node, NodeRef::ColumnRef(_) | NodeRef::CurrentOfExpr(_)) {
            return false;
        }
        tree::children(node, &mut |child| pending.push(child));
    }
    true
}
