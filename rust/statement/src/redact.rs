//! Redaction: the text as the trail and reviewers may see it.
//!
//! A literal stays only if it looks harmless and, in a statement that touches protected relations, if it stands among
//! columns that are all known and unprotected. Everything else becomes a typed placeholder.

use std::collections::{HashMap, HashSet};

use pg_query::protobuf::{self as pb, Token};
use pg_query::{Node, NodeEnum, NodeRef};

use crate::kinds::strings;
use crate::lineage::Names;
use crate::statement::{Detail, RelationRef, Statement, Text};
use crate::tree;

/// An unreadable text is shown up to this length, in bytes.
const UNREAD: usize = 1024;

/// Names of columns in the relations a statement touches.
struct Columns {
    protected: HashSet<String>,
    known: HashSet<String>,
    /// By relation, in order, for INSERT without a column list.
    ordered: HashMap<String, Vec<String>>,
    touches: bool,
}

impl Columns {
    fn of(relations: &[RelationRef], names: Option<&dyn Names>) -> Self {
        let mut columns =
            Self { protected: HashSet::new(), known: HashSet::new(), ordered: HashMap::new(), touches: false };
        for relation in relations {
            let Some(found) = names.and_then(|names| names.relation(relation.schema.as_deref(), &relation.name)) else {
                continue;
            };
            columns.touches |= found.protected;
            let order = found.columns.iter().map(|column| column.name.to_owned()).collect();
            columns.ordered.insert(relation.name.to_string(), order);
            for column in found.columns {
                if column.protected {
                    columns.protected.insert(column.name.to_owned());
                }
                columns.known.insert(column.name.to_owned());
            }
        }
        columns
    }

    fn harmless(&self, name: &str) -> bool {
        self.known.contains(name) && !self.protected.contains(name)
    }
}

/// Which literals (by their offset) and parameters (by their number) stand among unprotected columns only.
#[derive(Default)]
struct Harmless {
    literals: HashSet<i32>,
    parameters: HashSet<i32>,
}

struct Walk<'c> {
    columns: &'c Columns,
    found: Harmless,
}

impl Walk<'_> {
    fn visit(&mut self, node: NodeRef<'_>, harmless: bool) {
        match node {
            NodeRef::AConst(constant) if harmless => drop(self.found.literals.insert(constant.location)),
            NodeRef::ParamRef(parameter) if harmless => drop(self.found.parameters.insert(parameter.number)),
            NodeRef::SelectStmt(select) => self.select(select),
            NodeRef::InsertStmt(insert) => self.insert(insert),
            NodeRef::UpdateStmt(update) => self.update(update),
            NodeRef::AExpr(_) | NodeRef::FuncCall(_) | NodeRef::CaseExpr(_) | NodeRef::SubLink(_) => {
                let harmless = harmless || self.among_harmless(node);
                self.children(node, harmless);
            }
            _ => self.children(node, harmless),
        }
    }

    fn children(&mut self, node: NodeRef<'_>, harmless: bool) {
        tree::children(node, &mut |child| self.visit(child, harmless));
    }

    fn node(&mut self, node: Option<&Node>, harmless: bool) {
        if let Some(node) = node.and_then(|node| node.node.as_ref()) {
            self.visit(node.to_ref(), harmless);
        }
    }

    /// A sub-query starts from nothing known; how many rows are wanted is nobody's secret.
    fn select(&mut self, select: &pb::SelectStmt) {
        self.children(NodeRef::SelectStmt(select), false);
        self.node(select.limit_count.as_deref(), true);
        self.node(select.limit_offset.as_deref(), true);
    }

    fn insert(&mut self, insert: &pb::InsertStmt) {
        self.children(NodeRef::InsertStmt(insert), false);
        let table = insert.relation.as_ref().map_or("", |relation| relation.relname.as_str());
        let named: Vec<String> = insert.cols.iter().filter_map(target_name).collect();
        let order = if named.is_empty() { self.columns.ordered.get(table).cloned().unwrap_or_default() } else { named };
        let Some(NodeEnum::SelectStmt(values)) = insert.select_stmt.as_deref().and_then(|node| node.node.as_ref())
        else {
            return;
        };
        for list in &values.values_lists {
            let Some(NodeEnum::List(list)) = &list.node else { continue };
            for (item, column) in list.items.iter().zip(&order) {
                if self.columns.harmless(column) {
                    self.node(Some(item), true);
                }
            }
        }
    }

    fn update(&mut self, update: &pb::UpdateStmt) {
        self.children(NodeRef::UpdateStmt(update), false);
        for target in &update.target_list {
            if let Some(NodeEnum::ResTarget(target)) = &target.node
                && self.columns.harmless(&target.name)
                && !has_subquery(target.val.as_deref())
            {
                self.node(target.val.as_deref(), true);
            }
        }
    }

    /// Whether a node mentions columns, all of them known and unprotected, and no sub-query.
    fn among_harmless(&self, node: NodeRef<'_>) -> bool {
        let mut names = Vec::new();
        let plain = gather(node, &mut names);
        plain && !names.is_empty() && names.iter().all(|name| self.columns.harmless(name))
    }
}

/// Collects the names of all columns below a node; false if there is a sub-query or a `*`.
fn gather(node: NodeRef<'_>, names: &mut Vec<String>) -> bool {
    match node {
        NodeRef::SelectStmt(_) => false,
        NodeRef::ColumnRef(column) => {
            let parts = strings(&column.fields);
            names.extend(parts.last().map(|name| (*name).to_owned()));
            parts.len() == column.fields.len()
        }
        _ => {
            let mut plain = true;
            tree::children(node, &mut |child| plain &= gather(child, names));
            plain
        }
    }
}

fn has_subquery(node: Option<&Node>) -> bool {
    let Some(node) = node.and_then(|node| node.node.as_ref()) else { return false };
    !gather(node.to_ref(), &mut Vec::new())
}

fn target_name(node: &Node) -> Option<String> {
    match &node.node {
        Some(NodeEnum::ResTarget(target)) => Some(target.name.clone()),
        _ => None,
    }
}

impl Statement {
    fn harmless(&self, names: Option<&dyn Names>) -> (bool, Harmless) {
        let columns = Columns::of(&self.relations, names);
        let mut walk = Walk { columns: &columns, found: Harmless::default() };
        if let (true, Some(root)) = (columns.touches, self.lineage.root()) {
            walk.visit(root.to_ref(), false);
        }
        (columns.touches, walk.found)
    }

    /// For each parameter in order, whether it stands against a protected column, or cannot be shown not to.
    #[must_use]
    pub fn parameters_protected(&self, names: &dyn Names) -> Vec<bool> {
        let inner = match &self.detail {
            Detail::Prepare { inner, .. } | Detail::DeclareCursor { inner, .. } | Detail::Explain { inner, .. } => {
                inner
            }
            _ => self,
        };
        let (touches, harmless) = inner.harmless(Some(names));
        (1..=i32::from(self.parameters)).map(|number| touches && !harmless.parameters.contains(&number)).collect()
    }
}

impl Text {
    /// The text with every literal that `looks_sensitive` names, or that stands against a protected column, replaced by a
    /// placeholder such as `<us_ssn>`, `<text>` or `<number>`. Where protected relations are touched, comments go as well.
    #[must_use]
    pub fn redacted<'a>(
        &self,
        names: Option<&dyn Names>,
        looks_sensitive: &dyn Fn(&[u8]) -> Option<&'a str>,
    ) -> String {
        let Ok(tokens) = pg_query::scan_tokens(&self.sql) else { return redact_unread(self.sql.as_bytes()) };
        let (mut touches, mut secrets) = (false, false);
        let mut harmless = HashSet::new();
        for statement in &self.statements {
            let inner = match &statement.detail {
                Detail::Prepare { inner, .. } | Detail::DeclareCursor { inner, .. } | Detail::Explain { inner, .. } => {
                    inner
                }
                _ => statement,
            };
            let (touched, found) = inner.harmless(names);
            touches |= touched;
            secrets |= statement.secrets;
            harmless.extend(found.literals);
        }
        let mut out = String::with_capacity(self.sql.len());
        let mut copied = 0;
        for token in &tokens {
            let (Ok(start), Ok(end)) = (usize::try_from(token.start), usize::try_from(token.end)) else { continue };
            let (Some(before), Some(literal)) = (self.sql.get(copied..start), self.sql.get(start..end)) else {
                continue;
            };
            let kept = touches && !harmless.contains(&token.start);
            let placeholder = match kind(token.token) {
                Literal::None => None,
                Literal::Comment if touches || looks_sensitive(literal.as_bytes()).is_some() => Some(String::new()),
                Literal::Comment => None,
                Literal::Text if secrets => Some("<secret>".to_owned()),
                Literal::Text | Literal::Number => match looks_sensitive(literal.as_bytes()) {
                    Some(name) => Some(format!("<{name}>")),
                    None if kept && kind(token.token) == Literal::Text => Some("<text>".to_owned()),
                    None if kept => Some("<number>".to_owned()),
                    None => None,
                },
            };
            if let Some(placeholder) = placeholder {
                out.push_str(before);
                out.push_str(&placeholder);
                copied = end;
            }
        }
        out.push_str(self.sql.get(copied..).unwrap_or_default());
        out
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Literal {
    None,
    Text,
    Number,
    Comment,
}

fn kind(token: i32) -> Literal {
    match Token::try_from(token) {
        Ok(Token::Sconst | Token::Usconst | Token::Bconst | Token::Xconst) => Literal::Text,
        Ok(Token::Iconst | Token::Fconst) => Literal::Number,
        Ok(Token::SqlComment | Token::CComment) => Literal::Comment,
        _ => Literal::None,
    }
}

/// What of a text that no grammar accepts may be shown: its words. Quoted parts and digits go, for nobody can tell what
/// they are; it is cut after a kilobyte.
#[must_use]
pub fn redact_unread(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(UNREAD)]);
    let mut out = String::with_capacity(text.len());
    let mut quoted = false;
    for character in text.chars() {
        match character {
            '\'' => {
                quoted = !quoted;
                out.push_str(if quoted { "'…" } else { "'" });
            }
            _ if quoted => {}
            digit if digit.is_numeric() => out.push('#'),
            control if control.is_control() => out.push(' '),
            '$' => out.push('¤'),
            other => out.push(other),
        }
    }
    out
}
