//! What kind of statement a root node is, and what follows from that alone.

use pg_query::protobuf as pb;
use pg_query::{Node, NodeEnum};

use crate::build;
use crate::statement::{Access, Copy, CopyEnd, CopySource, Detail, FunctionRef, RelationRef, Rights, Transaction};

/// What the root says.
pub(crate) struct Class {
    pub kind: &'static str,
    pub rights: Rights,
    /// What a relation named outside any query is subject to.
    pub access: Access,
    pub destructive: bool,
    pub server_io: Vec<&'static str>,
    pub hidden_sql: bool,
    pub transaction: Transaction,
    pub detail: Detail,
    pub secrets: bool,
}

impl Class {
    fn new(kind: &'static str, rights: Rights) -> Self {
        Self {
            kind,
            rights,
            access: if rights == Rights::READ { Access::Read } else { Access::Write },
            destructive: false,
            server_io: Vec::new(),
            hidden_sql: false,
            transaction: Transaction::None,
            detail: Detail::None,
            secrets: false,
        }
    }

    fn read(kind: &'static str) -> Self {
        Self::new(kind, Rights::READ)
    }

    fn ddl(kind: &'static str) -> Self {
        Self::new(kind, Rights::DDL)
    }

    fn destructive(mut self) -> Self {
        self.destructive = true;
        self
    }

    fn detail(mut self, detail: Detail) -> Self {
        self.detail = detail;
        self
    }

    fn transaction(mut self, transaction: Transaction) -> Self {
        self.transaction = transaction;
        self
    }

    fn outside(mut self, area: &'static str) -> Self {
        self.server_io.push(area);
        self
    }

    fn secret(mut self) -> Self {
        self.secrets = true;
        self
    }

    fn hidden(mut self) -> Self {
        self.hidden_sql = true;
        self
    }
}

/// The strings of a dotted name.
pub(crate) fn strings(nodes: &[Node]) -> Vec<&str> {
    nodes.iter().filter_map(string).collect()
}

fn string(node: &Node) -> Option<&str> {
    match node.node.as_ref()? {
        NodeEnum::String(string) => Some(&string.sval),
        _ => None,
    }
}

fn inner(node: Option<&Node>) -> Option<&NodeEnum> {
    node.and_then(|node| node.node.as_ref())
}

fn optional(text: &str) -> Option<Box<str>> {
    (!text.is_empty()).then(|| text.into())
}

/// A relation as the tree names it.
pub(crate) fn relation(range: &pb::RangeVar, access: Access) -> RelationRef {
    RelationRef { schema: optional(&range.schemaname), name: range.relname.as_str().into(), access }
}

/// How the object of a DROP or COMMENT is named.
pub(crate) enum Naming {
    /// As a relation.
    Relation,
    /// As a part of a relation: its own name comes last.
    Part,
    /// Otherwise.
    Other,
}

/// How objects of this type are named.
pub(crate) fn naming(kind: i32) -> Naming {
    use pb::ObjectType as Type;
    match Type::try_from(kind) {
        Ok(
            Type::ObjectTable
            | Type::ObjectView
            | Type::ObjectMatview
            | Type::ObjectForeignTable
            | Type::ObjectSequence
            | Type::ObjectIndex,
        ) => Naming::Relation,
        Ok(
            Type::ObjectColumn
            | Type::ObjectPolicy
            | Type::ObjectRule
            | Type::ObjectTrigger
            | Type::ObjectTabconstraint,
        ) => Naming::Part,
        _ => Naming::Other,
    }
}

/// Classifies a statement by its root.
pub(crate) fn classify(root: &NodeEnum) -> Class {
    query(root).or_else(|| session(root)).or_else(|| utility(root)).or_else(|| definition(root)).unwrap_or_else(|| {
        // Not a statement, or one that no release had when this was written.
        Class::new("other", Rights::NEVER)
    })
}

fn query(root: &NodeEnum) -> Option<Class> {
    Some(match root {
        NodeEnum::SelectStmt(stmt) => select(stmt),
        NodeEnum::InsertStmt(_) => Class::new("insert", Rights::READ | Rights::WRITE),
        NodeEnum::UpdateStmt(_) => Class::new("update", Rights::READ | Rights::WRITE),
        NodeEnum::DeleteStmt(_) => Class::new("delete", Rights::READ | Rights::WRITE),
        NodeEnum::MergeStmt(_) => Class::new("merge", Rights::READ | Rights::WRITE),
        NodeEnum::CopyStmt(stmt) => copy(stmt),
        NodeEnum::ExplainStmt(stmt) => explain(stmt),
        NodeEnum::PrepareStmt(stmt) => {
            let statement = build::statement(inner(stmt.query.as_deref())?);
            let detail = Detail::Prepare { name: stmt.name.as_str().into(), inner: Box::new(statement) };
            Class::read("prepare").detail(detail)
        }
        NodeEnum::ExecuteStmt(stmt) => {
            Class::read("execute").detail(Detail::Execute { name: stmt.name.as_str().into() })
        }
        NodeEnum::DeallocateStmt(stmt) => {
            Class::read("deallocate").detail(Detail::Deallocate { name: optional(&stmt.name) })
        }
        NodeEnum::DeclareCursorStmt(stmt) => declare(stmt)?,
        NodeEnum::FetchStmt(stmt) if stmt.ismove => {
            Class::read("move").detail(Detail::Move { cursor: stmt.portalname.as_str().into() })
        }
        NodeEnum::FetchStmt(stmt) => {
            Class::read("fetch").detail(Detail::Fetch { cursor: stmt.portalname.as_str().into() })
        }
        NodeEnum::ClosePortalStmt(stmt) => {
            Class::read("close").detail(Detail::CloseCursor { cursor: optional(&stmt.portalname) })
        }
        _ => return None,
    })
}

fn select(stmt: &pb::SelectStmt) -> Class {
    if let Some(relation) = stmt.into_clause.as_deref().and_then(|into| into.rel.as_ref()) {
        let relation = self::relation(relation, Access::Write);
        return Class::new("select_into", Rights::READ | Rights::DDL)
            .detail(Detail::CreateAs { relation, executes: false });
    }
    let values = !stmt.values_lists.is_empty() && stmt.op <= pb::SetOperation::SetopNone as i32;
    Class::read(if values { "values" } else { "select" })
}

fn option<'a>(options: &'a [Node], name: &str) -> Option<&'a pb::DefElem> {
    options.iter().rev().find_map(|option| match &option.node {
        Some(NodeEnum::DefElem(element)) if element.defname.eq_ignore_ascii_case(name) => Some(&**element),
        _ => None,
    })
}

/// Whether a boolean option is on. Anything that is not plainly off counts as on.
fn is_on(options: &[Node], name: &str) -> bool {
    let Some(element) = option(options, name) else { return false };
    match inner(element.arg.as_deref()) {
        None => true,
        Some(NodeEnum::Integer(value)) => value.ival != 0,
        Some(NodeEnum::Boolean(value)) => value.boolval,
        Some(NodeEnum::String(value)) => !matches!(value.sval.to_ascii_lowercase().as_str(), "false" | "off" | "0"),
        Some(_) => true,
    }
}

fn explain(stmt: &pb::ExplainStmt) -> Class {
    let Some(root) = inner(stmt.query.as_deref()) else { return Class::new("other", Rights::NEVER) };
    let statement = build::statement(root);
    let analyze = is_on(&stmt.options, "analyze");
    // The rights of the inner statement are found by the walk over it; the build drops them again for a plain EXPLAIN.
    let mut class = Class::read("explain");
    class.rights |= if analyze { statement.rights } else { statement.rights & Rights::NEVER };
    class.access = if statement.writes { Access::Write } else { Access::Read };
    class.destructive = analyze && statement.destructive;
    class.detail(Detail::Explain { analyze, inner: Box::new(statement) })
}

fn declare(stmt: &pb::DeclareCursorStmt) -> Option<Class> {
    const BINARY: i32 = 0x0001;
    const HOLD: i32 = 0x0020;
    let statement = build::statement(inner(stmt.query.as_deref())?);
    Some(Class::read("declare").detail(Detail::DeclareCursor {
        name: stmt.portalname.as_str().into(),
        hold: stmt.options & HOLD != 0,
        binary: stmt.options & BINARY != 0,
        inner: Box::new(statement),
    }))
}

fn copy(stmt: &pb::CopyStmt) -> Class {
    let format = match option(&stmt.options, "format").and_then(|element| inner(element.arg.as_deref())) {
        Some(NodeEnum::String(format)) => format.sval.to_ascii_lowercase(),
        _ => "text".to_owned(),
    };
    let end = match (stmt.is_program, stmt.filename.is_empty()) {
        (true, _) => CopyEnd::Program,
        (false, true) => CopyEnd::Client,
        (false, false) => CopyEnd::File,
    };
    let access = if stmt.is_from { Access::Write } else { Access::Read };
    let source = match &stmt.relation {
        Some(relation) => CopySource::Relation {
            relation: self::relation(relation, access),
            columns: strings(&stmt.attlist).into_iter().map(Into::into).collect(),
        },
        None => CopySource::Query,
    };
    let mut class = Class::new("copy", if stmt.is_from { Rights::COPY_IN } else { Rights::COPY_OUT });
    class.access = access;
    match end {
        CopyEnd::Client => {}
        CopyEnd::File => class.server_io.push("files"),
        CopyEnd::Program => class.server_io.push("programs"),
    }
    let options = stmt.options.iter().filter_map(|node| match &node.node {
        Some(NodeEnum::DefElem(element)) => {
            let value = inner(element.arg.as_deref()).map_or_else(|| "true".into(), written);
            Some((element.defname.to_ascii_lowercase().into(), value))
        }
        _ => None,
    });
    let options = options.collect();
    class.detail(Detail::Copy(Copy { inwards: stmt.is_from, source, format: format.into(), options, end }))
}

fn session(root: &NodeEnum) -> Option<Class> {
    Some(match root {
        NodeEnum::TransactionStmt(stmt) => transaction(stmt)?,
        NodeEnum::VariableSetStmt(stmt) => set(stmt)?,
        NodeEnum::VariableShowStmt(stmt) => {
            Class::read("show").detail(Detail::Show { name: stmt.name.as_str().into() })
        }
        NodeEnum::ConstraintsSetStmt(_) => Class::read("set_constraints"),
        NodeEnum::DiscardStmt(stmt) => {
            let all = stmt.target == pb::DiscardMode::DiscardAll as i32;
            Class::read("discard").detail(Detail::Discard { all })
        }
        NodeEnum::ListenStmt(stmt) => {
            Class::read("listen").detail(Detail::Listen { channel: stmt.conditionname.as_str().into() })
        }
        NodeEnum::UnlistenStmt(stmt) => {
            Class::read("unlisten").detail(Detail::Unlisten { channel: optional(&stmt.conditionname) })
        }
        NodeEnum::NotifyStmt(stmt) => {
            Class::new("notify", Rights::WRITE).detail(Detail::Notify { channel: stmt.conditionname.as_str().into() })
        }
        NodeEnum::LockStmt(stmt) => {
            // pg_query numbers lock modes as the server does: 1 is ACCESS SHARE, what any SELECT takes.
            let mut class = Class::new("lock", if stmt.mode == 1 { Rights::READ } else { Rights::WRITE });
            class.access = Access::Read;
            class
        }
        _ => return None,
    })
}

fn transaction(stmt: &pb::TransactionStmt) -> Option<Class> {
    use pb::TransactionStmtKind as Kind;
    let chain = stmt.chain;
    let (kind, effect) = match Kind::try_from(stmt.kind).ok()? {
        Kind::Undefined => return None,
        Kind::TransStmtBegin | Kind::TransStmtStart => ("begin", Transaction::Begin),
        Kind::TransStmtCommit => ("commit", Transaction::Commit { chain }),
        Kind::TransStmtRollback => ("rollback", Transaction::Rollback { chain }),
        Kind::TransStmtSavepoint => ("savepoint", Transaction::Savepoint),
        Kind::TransStmtRelease => ("release", Transaction::Release),
        Kind::TransStmtRollbackTo => ("rollback_to", Transaction::RollbackTo),
        Kind::TransStmtPrepare => ("prepare_transaction", Transaction::Prepare),
        Kind::TransStmtCommitPrepared => ("commit_prepared", Transaction::Prepared),
        Kind::TransStmtRollbackPrepared => ("rollback_prepared", Transaction::Prepared),
    };
    // Two-phase commit outlives the session and reaches into those of others.
    let two_phase = matches!(effect, Transaction::Prepare | Transaction::Prepared);
    Some(Class::new(kind, if two_phase { Rights::WRITE } else { Rights::READ }).transaction(effect))
}

fn set(stmt: &pb::VariableSetStmt) -> Option<Class> {
    use pb::VariableSetKind as Kind;
    let values = || stmt.args.iter().filter_map(|node| Some(value(node.node.as_ref()?))).collect();
    let name: Box<str> = stmt.name.as_str().into();
    let local = stmt.is_local;
    let changing = |kind, detail| Class { access: Access::Read, ..Class::new(kind, Rights::SETTING).detail(detail) };
    Some(match Kind::try_from(stmt.kind).ok()? {
        Kind::Undefined => return None,
        Kind::VarSetValue | Kind::VarSetCurrent => changing("set", Detail::Set { name, values: values(), local }),
        Kind::VarSetDefault => changing("set", Detail::Set { name, values: Vec::new(), local }),
        // SET TRANSACTION and SET SESSION CHARACTERISTICS: transaction control, but for joining another's snapshot,
        // which is a way to see what a session already sees.
        Kind::VarSetMulti => Class::read("set_transaction"),
        Kind::VarReset => changing("reset", Detail::Reset { name: Some(name) }),
        Kind::VarResetAll => changing("reset", Detail::Reset { name: None }),
    })
}

/// An option's value as written, without quotes.
fn written(node: &NodeEnum) -> Box<str> {
    match node {
        NodeEnum::String(string) => string.sval.as_str().into(),
        NodeEnum::Boolean(boolean) => if boolean.boolval { "true" } else { "false" }.into(),
        NodeEnum::Integer(integer) => integer.ival.to_string().into(),
        _ => value(node),
    }
}

/// A constant's value without quotes; `None` for anything else.
pub(crate) fn constant(node: &pg_query::Node) -> Option<Box<str>> {
    match node.node.as_ref()? {
        node @ NodeEnum::AConst(_) => Some(value(node)),
        NodeEnum::TypeCast(cast) => cast.arg.as_deref().and_then(constant),
        _ => None,
    }
}

/// A setting's value as written, without quotes.
fn value(node: &NodeEnum) -> Box<str> {
    use pb::a_const::Val;
    match node {
        NodeEnum::AConst(constant) => match &constant.val {
            Some(Val::Ival(value)) => value.ival.to_string().into(),
            Some(Val::Fval(value)) => value.fval.as_str().into(),
            Some(Val::Boolval(value)) => if value.boolval { "true" } else { "false" }.into(),
            Some(Val::Sval(value)) => value.sval.as_str().into(),
            Some(Val::Bsval(value)) => value.bsval.as_str().into(),
            None => "".into(),
        },
        NodeEnum::TypeCast(cast) => inner(cast.arg.as_deref()).map(value).unwrap_or_default(),
        _ => "?".into(),
    }
}

fn utility(root: &NodeEnum) -> Option<Class> {
    Some(match root {
        NodeEnum::DoStmt(_) => Class::new("do", Rights::CALL).hidden().detail(Detail::Do),
        NodeEnum::CallStmt(stmt) => {
            let parts = strings(&stmt.funccall.as_deref()?.funcname);
            let (name, before) = parts.split_last()?;
            let procedure = FunctionRef { schema: before.last().map(|schema| (*schema).into()), name: (*name).into() };
            Class::new("call", Rights::CALL).detail(Detail::Call { procedure })
        }
        NodeEnum::TruncateStmt(_) => Class::ddl("truncate").destructive(),
        NodeEnum::VacuumStmt(stmt) => Class::ddl(if stmt.is_vacuumcmd { "vacuum" } else { "analyze" }),
        NodeEnum::ClusterStmt(_) => Class::ddl("cluster"),
        NodeEnum::ReindexStmt(_) => Class::ddl("reindex"),
        NodeEnum::CheckPointStmt(_) => Class::ddl("checkpoint"),
        NodeEnum::RefreshMatViewStmt(_) => Class::ddl("refresh_materialized_view"),
        NodeEnum::CreateTableAsStmt(stmt) => {
            let into = stmt.into.as_deref()?.rel.as_ref()?;
            let matview = stmt.objtype == pb::ObjectType::ObjectMatview as i32;
            let kind = if matview { "create_materialized_view" } else { "create_table_as" };
            let query = stmt.query.as_deref().and_then(|query| query.node.as_ref());
            let executes = matches!(query, Some(NodeEnum::ExecuteStmt(_)));
            Class::ddl(kind).detail(Detail::CreateAs { relation: relation(into, Access::Write), executes })
        }
        NodeEnum::ViewStmt(stmt) => {
            let relation = relation(stmt.view.as_ref()?, Access::Write);
            Class::ddl("create_view").detail(Detail::CreateAs { relation, executes: false })
        }
        NodeEnum::LoadStmt(_) => Class::ddl("load").outside("files"),
        NodeEnum::AlterSystemStmt(_) => Class::ddl("alter_system").outside("configuration"),
        NodeEnum::CreateExtensionStmt(_) => Class::ddl("create_extension").outside("extensions"),
        NodeEnum::AlterExtensionStmt(_) => Class::ddl("alter_extension").outside("extensions"),
        NodeEnum::AlterExtensionContentsStmt(_) => Class::ddl("alter_extension").outside("extensions"),
        NodeEnum::CreateForeignServerStmt(_) => Class::ddl("create_server").outside("servers").secret(),
        NodeEnum::AlterForeignServerStmt(_) => Class::ddl("alter_server").outside("servers").secret(),
        NodeEnum::CreateUserMappingStmt(_) => Class::ddl("create_user_mapping").outside("servers").secret(),
        NodeEnum::AlterUserMappingStmt(_) => Class::ddl("alter_user_mapping").outside("servers").secret(),
        NodeEnum::DropUserMappingStmt(_) => Class::ddl("drop_user_mapping").destructive(),
        NodeEnum::CreateFdwStmt(_) => Class::ddl("create_foreign_data_wrapper").outside("servers").secret(),
        NodeEnum::AlterFdwStmt(_) => Class::ddl("alter_foreign_data_wrapper").outside("servers").secret(),
        NodeEnum::CreateForeignTableStmt(_) => Class::ddl("create_foreign_table").outside("servers"),
        NodeEnum::ImportForeignSchemaStmt(_) => Class::ddl("import_foreign_schema").outside("servers"),
        NodeEnum::CreateSubscriptionStmt(_) => Class::ddl("create_subscription").outside("replication").secret(),
        NodeEnum::AlterSubscriptionStmt(_) => Class::ddl("alter_subscription").outside("replication").secret(),
        NodeEnum::DropSubscriptionStmt(_) => Class::ddl("drop_subscription").outside("replication").destructive(),
        NodeEnum::CreatePublicationStmt(_) => Class::ddl("create_publication").outside("replication"),
        NodeEnum::AlterPublicationStmt(_) => Class::ddl("alter_publication").outside("replication"),
        NodeEnum::CreateTableSpaceStmt(_) => Class::ddl("create_tablespace").outside("files"),
        NodeEnum::DropTableSpaceStmt(_) => Class::ddl("drop_tablespace").outside("files").destructive(),
        NodeEnum::CreateRoleStmt(_) => Class::ddl("create_role").secret(),
        NodeEnum::AlterRoleStmt(_) => Class::ddl("alter_role").secret(),
        NodeEnum::DropRoleStmt(_) => Class::ddl("drop_role").destructive(),
        NodeEnum::DropdbStmt(_) => Class::ddl("drop_database").destructive(),
        NodeEnum::DropOwnedStmt(_) => Class::ddl("drop_owned").destructive(),
        NodeEnum::DropStmt(_) => Class::ddl("drop").destructive(),
        NodeEnum::AlterTableStmt(stmt) => alter_table(stmt),
        NodeEnum::CreateFunctionStmt(_) => Class::ddl("create_function").hidden(),
        _ => return None,
    })
}

fn alter_table(stmt: &pb::AlterTableStmt) -> Class {
    use pb::AlterTableType as Type;
    let drops = |node: &Node| match &node.node {
        Some(NodeEnum::AlterTableCmd(command)) => matches!(
            Type::try_from(command.subtype),
            Ok(Type::AtDropColumn | Type::AtDropConstraint | Type::AtDetachPartition)
        ),
        _ => false,
    };
    let mut class = Class::ddl("alter_table");
    class.destructive = stmt.cmds.iter().any(drops);
    class
}

fn definition(root: &NodeEnum) -> Option<Class> {
    Some(Class::ddl(match root {
        NodeEnum::CreateStmt(_) => "create_table",
        NodeEnum::IndexStmt(_) => "create_index",
        NodeEnum::CreateSchemaStmt(_) => "create_schema",
        NodeEnum::CreateSeqStmt(_) => "create_sequence",
        NodeEnum::AlterSeqStmt(_) => "alter_sequence",
        NodeEnum::CreateTrigStmt(_) => "create_trigger",
        NodeEnum::CreateEventTrigStmt(_) => "create_event_trigger",
        NodeEnum::AlterEventTrigStmt(_) => "alter_event_trigger",
        NodeEnum::RuleStmt(_) => "create_rule",
        NodeEnum::CreatePolicyStmt(_) => "create_policy",
        NodeEnum::AlterPolicyStmt(_) => "alter_policy",
        NodeEnum::AlterFunctionStmt(_) => "alter_function",
        NodeEnum::CreatePlangStmt(_) => "create_language",
        NodeEnum::CreateDomainStmt(_) => "create_domain",
        NodeEnum::AlterDomainStmt(_) => "alter_domain",
        NodeEnum::CompositeTypeStmt(_) | NodeEnum::CreateEnumStmt(_) | NodeEnum::CreateRangeStmt(_) => "create_type",
        NodeEnum::AlterEnumStmt(_) | NodeEnum::AlterTypeStmt(_) => "alter_type",
        NodeEnum::DefineStmt(_) => "define",
        NodeEnum::CreateCastStmt(_) => "create_cast",
        NodeEnum::CreateTransformStmt(_) => "create_transform",
        NodeEnum::CreateConversionStmt(_) => "create_conversion",
        NodeEnum::CreateOpClassStmt(_) => "create_operator_class",
        NodeEnum::CreateOpFamilyStmt(_) => "create_operator_family",
        NodeEnum::AlterOpFamilyStmt(_) => "alter_operator_family",
        NodeEnum::AlterOperatorStmt(_) => "alter_operator",
        NodeEnum::CreateStatsStmt(_) => "create_statistics",
        NodeEnum::AlterStatsStmt(_) => "alter_statistics",
        NodeEnum::CreateAmStmt(_) => "create_access_method",
        NodeEnum::AlterCollationStmt(_) => "alter_collation",
        NodeEnum::AlterTsdictionaryStmt(_) => "alter_text_search_dictionary",
        NodeEnum::AlterTsconfigurationStmt(_) => "alter_text_search_configuration",
        NodeEnum::AlterTableSpaceOptionsStmt(_) | NodeEnum::AlterTableMoveAllStmt(_) => "alter_tablespace",
        NodeEnum::CreatedbStmt(_) => "create_database",
        NodeEnum::AlterDatabaseStmt(_)
        | NodeEnum::AlterDatabaseRefreshCollStmt(_)
        | NodeEnum::AlterDatabaseSetStmt(_) => "alter_database",
        NodeEnum::AlterRoleSetStmt(_) => "alter_role",
        NodeEnum::GrantStmt(stmt) => {
            if stmt.is_grant {
                "grant"
            } else {
                "revoke"
            }
        }
        NodeEnum::GrantRoleStmt(stmt) => {
            if stmt.is_grant {
                "grant"
            } else {
                "revoke"
            }
        }
        NodeEnum::AlterDefaultPrivilegesStmt(_) => "alter_default_privileges",
        NodeEnum::ReassignOwnedStmt(_) => "reassign_owned",
        NodeEnum::CommentStmt(_) => "comment",
        NodeEnum::SecLabelStmt(_) => "security_label",
        NodeEnum::RenameStmt(_) => "rename",
        NodeEnum::AlterObjectSchemaStmt(_) => "alter_schema",
        NodeEnum::AlterOwnerStmt(_) => "alter_owner",
        NodeEnum::AlterObjectDependsStmt(_) => "alter_depends",
        _ => return None,
    }))
}
