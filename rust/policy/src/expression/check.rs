//! Turns a text into a checked expression: parses it, then gives every part its type.

use cel::Env;
use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, SelectExpr, SourceInfo, operators};
use model::Fact;

use super::node::Node;
use super::types::Type;
use super::{Problem, Scope, as_condition};
use crate::suggest;

/// Deepest nesting of parts. Longer chains of `+` or `.` are nested parts, too.
const MAX_DEPTH: usize = 100;
/// Most problems told about one expression.
const MAX_PROBLEMS: usize = 20;

/// A part and its type; its type is `Never` where a problem was found.
pub(super) type Checked = (Node, Type);

/// Parses and checks `source`. Returns the expression and the facts it mentions.
pub(super) fn check(source: &str, scope: &Scope) -> Result<(Node, Vec<Fact>), Vec<Problem>> {
    let program =
        Env::default().with_optional_support(false).compile(source).map_err(|errors| syntax(source, &errors))?;
    let mut checker = Checker {
        scope,
        places: program.source_info(),
        source,
        locals: Vec::new(),
        problems: Vec::new(),
        mentions: Vec::new(),
        depth: 0,
    };
    let root = checker.condition(program.expression());
    if checker.problems.is_empty() {
        return Ok((root, checker.mentions));
    }
    checker.problems.sort_by_key(|problem| problem.offset);
    checker.problems.dedup();
    checker.problems.truncate(MAX_PROBLEMS);
    Err(checker.problems)
}

pub(super) struct Checker<'a> {
    scope: &'a Scope,
    places: &'a SourceInfo,
    source: &'a str,
    locals: Vec<(&'a str, Type)>,
    problems: Vec<Problem>,
    mentions: Vec<Fact>,
    depth: usize,
}

impl<'a> Checker<'a> {
    /// Notes a problem at `part`.
    pub(super) fn wrong(&mut self, part: &IdedExpr, message: impl Into<String>, hint: impl Into<String>) -> Checked {
        let offset = self.places.offset_for(part.id).map_or(0, |(start, _)| start as usize).min(self.source.len());
        self.problems.push(Problem::new(offset, message, hint));
        (Node::Null, Type::Never)
    }

    /// A part that must be true or false.
    pub(super) fn condition(&mut self, part: &'a IdedExpr) -> Node {
        let (node, kind) = self.part(part);
        if !kind.fits(&Type::Bool) {
            let hint = match &node {
                Node::Fact(name) => self.scope.facts().iter().find(|fact| fact.name == *name).map(as_condition),
                _ => None,
            };
            let hint = hint.unwrap_or_else(|| "compare it with something, so that it is true or false".to_owned());
            self.wrong(part, format!("a condition is true or false; this is {kind}"), hint);
        }
        node
    }

    /// Any part.
    pub(super) fn part(&mut self, part: &'a IdedExpr) -> Checked {
        if self.depth == MAX_DEPTH {
            return self.wrong(part, "the expression is nested too deeply", "split it into several rules");
        }
        self.depth += 1;
        let checked = match &part.expr {
            Expr::Literal(literal) => self.literal(part, literal),
            Expr::Ident(_) => self.name(part),
            Expr::Select(select) => self.select(part, select),
            Expr::Call(call) => self.call(part, call),
            Expr::List(list) => self.list(part, &list.elements),
            Expr::Map(_) | Expr::Struct(_) => {
                self.wrong(part, "maps and messages cannot be written out here", "compare the keys one by one")
            }
            Expr::Comprehension(_) | Expr::Unspecified => {
                self.wrong(part, "this part cannot be understood", "write it in another way")
            }
        };
        self.depth -= 1;
        checked
    }

    fn literal(&mut self, part: &IdedExpr, literal: &LiteralValue) -> Checked {
        match literal {
            LiteralValue::Null => (Node::Null, Type::Null),
            LiteralValue::Boolean(value) => (Node::Bool(*value.inner()), Type::Bool),
            LiteralValue::Int(value) => (Node::Int(*value.inner()), Type::Int),
            LiteralValue::Double(value) => (Node::Double(*value.inner()), Type::Double),
            LiteralValue::String(value) => (Node::Text(value.inner().into()), Type::Text),
            LiteralValue::UInt(_) => {
                self.wrong(part, "no fact is an unsigned integer", "leave out the `u` after the number")
            }
            LiteralValue::Bytes(_) => {
                self.wrong(part, "no fact is a string of bytes", "leave out the `b` before the string")
            }
        }
    }

    fn list(&mut self, part: &IdedExpr, elements: &'a [IdedExpr]) -> Checked {
        let mut of = Type::Never;
        let mut nodes = Vec::with_capacity(elements.len());
        for element in elements {
            let (node, kind) = self.part(element);
            nodes.push(node);
            let Some(joined) = of.join(&kind) else {
                let message = format!("a list holds one type; this one holds {of} and {kind}");
                return self.wrong(part, message, "write two lists, or two conditions");
            };
            of = joined;
        }
        (Node::List(nodes), Type::List(Box::new(of)))
    }

    fn select(&mut self, part: &'a IdedExpr, select: &'a SelectExpr) -> Checked {
        let spelled = dotted(part);
        if spelled.as_ref().is_some_and(|path| self.local(path[0]).is_none()) {
            return self.name(part);
        }
        let (of, kind) = self.part(&select.operand);
        self.field(part, of, &kind, &select.field)
    }

    /// `of.field`, where `of` is checked.
    fn field(&mut self, part: &IdedExpr, of: Node, kind: &Type, field: &str) -> Checked {
        let found = match kind {
            Type::Map(found) => found.as_ref().clone(),
            open if open.is_open() => open.clone(),
            other => {
                let message = format!("{other} has no fields, so there is no `.{field}`");
                return self.wrong(part, message, "only maps, such as target.labels, have fields");
            }
        };
        (Node::Select(Box::new(of), field.into()), found)
    }

    pub(super) fn local(&self, name: &str) -> Option<(usize, &Type)> {
        let place = self.locals.iter().rposition(|(known, _)| *known == name)?;
        Some((place, &self.locals[place].1))
    }

    /// A dotted name: a macro's variable, `claims`, or a fact, and then fields of it.
    fn name(&mut self, part: &'a IdedExpr) -> Checked {
        let path = dotted(part).unwrap_or_default();
        let Some(root) = path.first() else { return self.wrong(part, "this is not a name", "name a fact") };
        if path.len() > MAX_DEPTH {
            return self.wrong(part, "the name has too many parts", "name a fact");
        }
        if let Some((place, kind)) = self.local(root) {
            return (Node::Local(place), kind.clone());
        }
        let (mut node, mut kind, used) = if self.scope.claims && *root == "claims" {
            (Node::Claims, Type::Dynamic, 1)
        } else if let Some((fact, used)) = self.fact(&path) {
            self.mention(fact);
            (Node::Fact(fact.name), Type::of(fact.kind), used)
        } else {
            return self.unknown(part, &path);
        };
        for field in &path[used..] {
            (node, kind) = self.field(part, node, &kind, field);
        }
        (node, kind)
    }

    /// The fact that `path` begins with, the longest if several do, and how many of its words that takes.
    pub(super) fn fact(&self, path: &[&str]) -> Option<(Fact, usize)> {
        (1..=path.len()).rev().find_map(|used| {
            let name = path[..used].join(".");
            self.scope.facts.iter().find(|fact| fact.name == name).map(|fact| (*fact, used))
        })
    }

    pub(super) fn mention(&mut self, fact: Fact) {
        if self.mentions.iter().all(|known| known.name != fact.name) {
            self.mentions.push(fact);
        }
    }

    pub(super) fn unknown(&mut self, part: &IdedExpr, path: &[&str]) -> Checked {
        let name = path.join(".");
        if self.scope.claims {
            return self.wrong(part, format!("`{name}` is not known here"), "only `claims` is, as in `claims.sub`");
        }
        let group = format!("{name}.");
        let facts = self.scope.facts.iter().map(|fact| fact.name);
        if facts.clone().any(|fact| fact.starts_with(&group)) {
            let members: Vec<&str> = facts.filter(|fact| fact.starts_with(&group)).collect();
            let message = format!("`{name}` is a group of facts, not a fact");
            return self.wrong(part, message, format!("name one: {}", members.join(", ")));
        }
        let hint = suggest::hint(&name, facts);
        self.wrong(part, format!("there is no fact `{name}`"), hint)
    }

    /// Checks `body` while a macro's variable `name` has the type `kind`.
    pub(super) fn with<T>(&mut self, name: &'a str, kind: Type, body: impl FnOnce(&mut Self) -> T) -> T {
        self.locals.push((name, kind));
        let checked = body(self);
        self.locals.pop();
        checked
    }

    /// Whether `name` may be a macro's variable: it must not hide a fact.
    pub(super) fn hides(&self, name: &str) -> bool {
        let hidden = |fact: &Fact| fact.name.split('.').next() == Some(name);
        (self.scope.claims && name == "claims") || self.scope.facts.iter().any(hidden)
    }

    fn call(&mut self, part: &'a IdedExpr, call: &'a CallExpr) -> Checked {
        match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::CONDITIONAL, [condition, yes, no]) => self.choice(part, condition, yes, no),
            (name, [one]) if call.target.is_none() && is_sign(name) => self.prefix(part, name, one),
            (name, [one, other]) if call.target.is_none() && is_sign(name) => self.infix(part, name, one, other),
            _ => self.function(part, call),
        }
    }
}

/// Whether a call's name is an operator's: those hold a letter that no name can.
fn is_sign(name: &str) -> bool {
    name.starts_with('@') || name.contains(['_', '!', '-']) && !name.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// The words of a dotted name, if that is all the part is.
pub(super) fn dotted(part: &IdedExpr) -> Option<Vec<&str>> {
    let mut words = Vec::new();
    let mut at = part;
    loop {
        match &at.expr {
            Expr::Ident(name) => {
                words.push(name.as_str());
                words.reverse();
                return Some(words);
            }
            Expr::Select(select) if !select.test => {
                words.push(select.field.as_str());
                at = &select.operand;
            }
            _ => return None,
        }
    }
}

/// The parser's errors, as problems.
fn syntax(source: &str, errors: &cel::ParseErrors) -> Vec<Problem> {
    let hint = "conditions are CEL: `==`, `&&`, `||`, `!`, `in`, and strings in quotes";
    let problem = |error: &cel::ParseError| {
        let message = error.msg.split(" expecting ").next().unwrap_or_default().trim_start_matches("Syntax error: ");
        let message: String = message.chars().take(200).collect();
        Problem::new(byte_at(source, error.pos), format!("it is not an expression: {message}"), hint)
    };
    let mut problems: Vec<Problem> = errors.errors.iter().take(MAX_PROBLEMS).map(problem).collect();
    if problems.is_empty() {
        problems.push(Problem::new(0, "it is not an expression", hint));
    }
    problems
}

/// The byte at a line and column, both counted from 1.
fn byte_at(source: &str, (line, column): (isize, isize)) -> usize {
    let line = usize::try_from(line).unwrap_or(1).saturating_sub(1);
    let column = usize::try_from(column).unwrap_or(1).saturating_sub(1);
    let before: usize = source.split_inclusive('\n').take(line).map(str::len).sum();
    let rest = source.get(before..).unwrap_or_default();
    before + rest.char_indices().nth(column).map_or(rest.len(), |(byte, _)| byte)
}
