//! The shape of PostgreSQL's raw parse tree: for every node kind, which of its fields hold further nodes.
//!
//! The table names every kind there is, without a wildcard: a new grammar version does not compile until somebody has
//! said where its new nodes keep their children. A walk therefore never passes over a part of a statement.

use pg_query::protobuf as pb;
use pg_query::{Node, NodeEnum, NodeRef};

/// A field that may hold nodes.
trait Branch {
    fn each<'a>(&'a self, visit: &mut dyn FnMut(NodeRef<'a>));
}

impl Branch for Node {
    fn each<'a>(&'a self, visit: &mut dyn FnMut(NodeRef<'a>)) {
        if let Some(node) = &self.node {
            visit(node.to_ref());
        }
    }
}

impl<T: Branch> Branch for Vec<T> {
    fn each<'a>(&'a self, visit: &mut dyn FnMut(NodeRef<'a>)) {
        self.iter().for_each(|item| item.each(visit));
    }
}

impl<T: Branch> Branch for Option<T> {
    fn each<'a>(&'a self, visit: &mut dyn FnMut(NodeRef<'a>)) {
        if let Some(item) = self {
            item.each(visit);
        }
    }
}

impl<T: Branch + ?Sized> Branch for Box<T> {
    fn each<'a>(&'a self, visit: &mut dyn FnMut(NodeRef<'a>)) {
        (**self).each(visit);
    }
}

macro_rules! structs {
    ($($name:ident as $variant:ident),+ $(,)?) => {
        $(impl Branch for pb::$name {
            fn each<'a>(&'a self, visit: &mut dyn FnMut(NodeRef<'a>)) {
                visit(NodeRef::$variant(self));
            }
        })+
    };
}

structs! {
    Alias as Alias, CollateClause as CollateClause, CreateStmt as CreateStmt, CteCycleClause as CtecycleClause,
    CteSearchClause as CtesearchClause, FuncCall as FuncCall, GrantStmt as GrantStmt,
    InferClause as InferClause, IntoClause as IntoClause, JsonAggConstructor as JsonAggConstructor,
    JsonBehavior as JsonBehavior, JsonFormat as JsonFormat, JsonKeyValue as JsonKeyValue,
    JsonOutput as JsonOutput, JsonReturning as JsonReturning, JsonTablePathSpec as JsonTablePathSpec,
    JsonValueExpr as JsonValueExpr, ObjectWithArgs as ObjectWithArgs, OnConflictClause as OnConflictClause,
    PartitionBoundSpec as PartitionBoundSpec, PartitionSpec as PartitionSpec,
    PublicationTable as PublicationTable, RangeVar as RangeVar, ReturningClause as ReturningClause,
    RoleSpec as RoleSpec, SelectStmt as SelectStmt, TypeName as TypeName, VariableSetStmt as VariableSetStmt,
    WindowDef as WindowDef, WithClause as WithClause,
}

macro_rules! table {
    (branches { $($variant:ident { $($field:ident),+ })+ } leaves { $($leaf:ident)+ } analysed { $($analysed:ident)+ }) => {
        /// Visits the direct children of `node`. `false` if the kind is one that only the server's analysis makes, so
        /// that finding it in a raw tree means that this crate does not know what it is looking at.
        pub(crate) fn children<'a>(node: NodeRef<'a>, visit: &mut dyn FnMut(NodeRef<'a>)) -> bool {
            match node {
                $(NodeRef::$variant(node) => { $(node.$field.each(visit);)+ true })+
                $(NodeRef::$leaf(_) => true,)+
                $(NodeRef::$analysed(_) => false,)+
            }
        }
    };
}

table! {
    branches {
        Alias { colnames }
        RangeVar { alias }
        TableFunc { ns_uris, ns_names, docexpr, rowexpr, colnames, coltypes, coltypmods, colcollations,
            colexprs, coldefexprs, colvalexprs, passingvalexprs, plan }
        IntoClause { rel, col_names, options }
        GroupingFunc { xpr, args, refs }
        MergeSupportFunc { xpr }
        NamedArgExpr { xpr, arg }
        BoolExpr { xpr, args }
        SubLink { xpr, testexpr, oper_name, subselect }
        CollateExpr { xpr, arg }
        CaseExpr { xpr, arg, args, defresult }
        CaseWhen { xpr, expr, result }
        RowExpr { xpr, args, colnames }
        CoalesceExpr { xpr, args }
        MinMaxExpr { xpr, args }
        SqlvalueFunction { xpr }
        XmlExpr { xpr, named_args, arg_names, args }
        JsonReturning { format }
        JsonValueExpr { raw_expr, formatted_expr, format }
        JsonIsPredicate { expr, format }
        JsonBehavior { expr }
        NullTest { xpr, arg }
        BooleanTest { xpr, arg }
        SetToDefault { xpr }
        CurrentOfExpr { xpr }
        JoinExpr { larg, rarg, using_clause, join_using_alias, quals, alias }
        TypeName { names, typmods, array_bounds }
        ColumnRef { fields }
        AExpr { name, lexpr, rexpr }
        TypeCast { arg, type_name }
        CollateClause { arg, collname }
        FuncCall { funcname, args, agg_order, agg_filter, over }
        AIndices { lidx, uidx }
        AIndirection { arg, indirection }
        AArrayExpr { elements }
        ResTarget { indirection, val }
        MultiAssignRef { source }
        SortBy { node, use_op }
        WindowDef { partition_clause, order_clause, start_offset, end_offset }
        RangeSubselect { subquery, alias }
        RangeFunction { functions, alias, coldeflist }
        RangeTableFunc { docexpr, rowexpr, namespaces, columns, alias }
        RangeTableFuncCol { type_name, colexpr, coldefexpr }
        RangeTableSample { relation, method, args, repeatable }
        ColumnDef { type_name, raw_default, cooked_default, identity_sequence, coll_clause, constraints,
            fdwoptions }
        TableLikeClause { relation }
        IndexElem { expr, collation, opclass, opclassopts }
        DefElem { arg }
        LockingClause { locked_rels }
        XmlSerialize { expr, type_name }
        PartitionElem { expr, collation, opclass }
        PartitionSpec { part_params }
        PartitionBoundSpec { listdatums, lowerdatums, upperdatums }
        PartitionRangeDatum { value }
        PartitionCmd { name, bound }
        GroupingSet { content }
        WithClause { ctes }
        InferClause { index_elems, where_clause }
        OnConflictClause { infer, target_list, where_clause }
        CtesearchClause { search_col_list }
        CtecycleClause { cycle_col_list, cycle_mark_value, cycle_mark_default }
        CommonTableExpr { aliascolnames, ctequery, search_clause, cycle_clause, ctecolnames, ctecoltypes,
            ctecoltypmods, ctecolcollations }
        MergeWhenClause { condition, target_list, values }
        ReturningClause { options, exprs }
        JsonOutput { type_name, returning }
        JsonArgument { val }
        JsonFuncExpr { context_item, pathspec, passing, output, on_empty, on_error }
        JsonTablePathSpec { string }
        JsonTable { context_item, pathspec, passing, columns, on_error, alias }
        JsonTableColumn { type_name, pathspec, format, columns, on_empty, on_error }
        JsonKeyValue { key, value }
        JsonParseExpr { expr, output }
        JsonScalarExpr { expr, output }
        JsonSerializeExpr { expr, output }
        JsonObjectConstructor { exprs, output }
        JsonArrayConstructor { exprs, output }
        JsonArrayQueryConstructor { query, output, format }
        JsonAggConstructor { output, agg_filter, agg_order, over }
        JsonObjectAgg { constructor, arg }
        JsonArrayAgg { constructor, arg }
        RawStmt { stmt }
        InsertStmt { relation, cols, select_stmt, on_conflict_clause, returning_clause, with_clause }
        DeleteStmt { relation, using_clause, where_clause, returning_clause, with_clause }
        UpdateStmt { relation, target_list, where_clause, from_clause, returning_clause, with_clause }
        MergeStmt { relation, source_relation, join_condition, merge_when_clauses, returning_clause, with_clause
            }
        SelectStmt { distinct_clause, into_clause, target_list, from_clause, where_clause, group_clause,
            having_clause, window_clause, values_lists, sort_clause, limit_offset, limit_count, locking_clause,
            with_clause, larg, rarg }
        ReturnStmt { returnval }
        PlassignStmt { indirection, val }
        CreateSchemaStmt { authrole, schema_elts }
        AlterTableStmt { relation, cmds }
        AlterTableCmd { newowner, def }
        AlterCollationStmt { collname }
        AlterDomainStmt { type_name, def }
        GrantStmt { objects, privileges, grantees, grantor }
        ObjectWithArgs { objname, objargs, objfuncargs }
        AccessPriv { cols }
        GrantRoleStmt { granted_roles, grantee_roles, opt, grantor }
        AlterDefaultPrivilegesStmt { options, action }
        CopyStmt { relation, query, attlist, options, where_clause }
        VariableSetStmt { args }
        CreateStmt { relation, table_elts, inh_relations, partbound, partspec, of_typename, constraints,
            nnconstraints, options }
        Constraint { raw_expr, keys, including, exclusions, options, where_clause, pktable, fk_attrs, pk_attrs,
            fk_del_set_cols, old_conpfeqop }
        CreateTableSpaceStmt { owner, options }
        AlterTableSpaceOptionsStmt { options }
        AlterTableMoveAllStmt { roles }
        CreateExtensionStmt { options }
        AlterExtensionStmt { options }
        AlterExtensionContentsStmt { object }
        CreateFdwStmt { func_options, options }
        AlterFdwStmt { func_options, options }
        CreateForeignServerStmt { options }
        AlterForeignServerStmt { options }
        CreateForeignTableStmt { base_stmt, options }
        CreateUserMappingStmt { user, options }
        AlterUserMappingStmt { user, options }
        DropUserMappingStmt { user }
        ImportForeignSchemaStmt { table_list, options }
        CreatePolicyStmt { table, roles, qual, with_check }
        AlterPolicyStmt { table, roles, qual, with_check }
        CreateAmStmt { handler_name }
        CreateTrigStmt { relation, funcname, args, columns, when_clause, transition_rels, constrrel }
        CreateEventTrigStmt { whenclause, funcname }
        CreatePlangStmt { plhandler, plinline, plvalidator }
        CreateRoleStmt { options }
        AlterRoleStmt { role, options }
        AlterRoleSetStmt { role, setstmt }
        DropRoleStmt { roles }
        CreateSeqStmt { sequence, options }
        AlterSeqStmt { sequence, options }
        DefineStmt { defnames, args, definition }
        CreateDomainStmt { domainname, type_name, coll_clause, constraints }
        CreateOpClassStmt { opclassname, opfamilyname, datatype, items }
        CreateOpClassItem { name, order_family, class_args, storedtype }
        CreateOpFamilyStmt { opfamilyname }
        AlterOpFamilyStmt { opfamilyname, items }
        DropStmt { objects }
        TruncateStmt { relations }
        CommentStmt { object }
        SecLabelStmt { object }
        DeclareCursorStmt { query }
        IndexStmt { relation, index_params, index_including_params, options, where_clause, exclude_op_names }
        CreateStatsStmt { defnames, stat_types, exprs, relations }
        StatsElem { expr }
        AlterStatsStmt { defnames, stxstattarget }
        CreateFunctionStmt { funcname, parameters, return_type, options, sql_body }
        FunctionParameter { arg_type, defexpr }
        AlterFunctionStmt { func, actions }
        DoStmt { args }
        CallStmt { funccall, outargs }
        RenameStmt { relation, object }
        AlterObjectDependsStmt { relation, object }
        AlterObjectSchemaStmt { relation, object }
        AlterOwnerStmt { relation, object, newowner }
        AlterOperatorStmt { opername, options }
        AlterTypeStmt { type_name, options }
        RuleStmt { relation, where_clause, actions }
        TransactionStmt { options }
        CompositeTypeStmt { typevar, coldeflist }
        CreateEnumStmt { type_name, vals }
        CreateRangeStmt { type_name, params }
        AlterEnumStmt { type_name }
        ViewStmt { view, aliases, query, options }
        CreatedbStmt { options }
        AlterDatabaseStmt { options }
        AlterDatabaseSetStmt { setstmt }
        DropdbStmt { options }
        AlterSystemStmt { setstmt }
        ClusterStmt { relation, params }
        VacuumStmt { options, rels }
        VacuumRelation { relation, va_cols }
        ExplainStmt { query, options }
        CreateTableAsStmt { query, into }
        RefreshMatViewStmt { relation }
        LockStmt { relations }
        ConstraintsSetStmt { constraints }
        ReindexStmt { relation, params }
        CreateConversionStmt { conversion_name, func_name }
        CreateCastStmt { sourcetype, targettype, func }
        CreateTransformStmt { type_name, fromsql, tosql }
        PrepareStmt { argtypes, query }
        ExecuteStmt { params }
        DropOwnedStmt { roles }
        ReassignOwnedStmt { roles, newrole }
        AlterTsdictionaryStmt { dictname, options }
        AlterTsconfigurationStmt { cfgname, tokentype, dicts }
        PublicationTable { relation, where_clause, columns }
        PublicationObjSpec { pubtable }
        CreatePublicationStmt { options, pubobjects }
        AlterPublicationStmt { options, pubobjects }
        CreateSubscriptionStmt { publication, options }
        AlterSubscriptionStmt { publication, options }
        List { items }
    }
    leaves {
        JsonFormat ParamRef RoleSpec AStar ReturningOption TriggerTransition AtalterConstraint
        ReplicaIdentityStmt VariableShowStmt DropTableSpaceStmt AlterEventTrigStmt ClosePortalStmt FetchStmt
        NotifyStmt ListenStmt UnlistenStmt LoadStmt AlterDatabaseRefreshCollStmt CheckPointStmt DiscardStmt
        DeallocateStmt DropSubscriptionStmt Integer Float Boolean String BitString AConst
    }
    analysed {
        Var Param Aggref WindowFunc WindowFuncRunCondition SubscriptingRef FuncExpr OpExpr DistinctExpr
        NullIfExpr ScalarArrayOpExpr SubPlan AlternativeSubPlan FieldSelect FieldStore RelabelType CoerceViaIo
        ArrayCoerceExpr ConvertRowtypeExpr CaseTestExpr ArrayExpr RowCompareExpr JsonConstructorExpr JsonExpr
        JsonTablePath JsonTablePathScan JsonTableSiblingJoin MergeAction CoerceToDomain CoerceToDomainValue
        NextValueExpr InferenceElem ReturningExpr TargetEntry RangeTblRef FromExpr OnConflictExpr Query
        RangeTblEntry RtepermissionInfo RangeTblFunction TableSampleClause WithCheckOption SortGroupClause
        WindowClause RowMarkClause SetOperationStmt InlineCodeBlock CallContext IntList OidList
    }
}

/// How a tree measures up against the depth that the recursive walks of this crate can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    /// Messages from the root to the deepest node.
    pub depth: usize,
    /// Nodes in all.
    pub nodes: usize,
}

/// Measures a statement without recursion.
pub(crate) fn measure(root: &NodeEnum) -> Size {
    let mut size = Size { depth: 0, nodes: 0 };
    let mut pending = vec![(root.to_ref(), 1)];
    while let Some((node, depth)) = pending.pop() {
        size.depth = size.depth.max(depth);
        size.nodes += 1;
        children(node, &mut |child| pending.push((child, depth + 1)));
    }
    size
}
