//! Types of operators, functions and macros.

use cel::common::ast::{CallExpr, Expr, IdedExpr, operators};
use regex::RegexBuilder;

use super::check::{Checked, Checker, dotted};
use super::node::{Comparison, FUNCTIONS, Function, Loop, LoopKind, Node, Operator};
use super::types::Type;
use crate::suggest;

/// Most memory one pattern may take once compiled, in bytes.
const PATTERN_BYTES: usize = 256 * 1024;

impl<'a> Checker<'a> {
    /// `a ? b : c`
    pub(super) fn choice(
        &mut self,
        part: &IdedExpr,
        condition: &'a IdedExpr,
        yes: &'a IdedExpr,
        no: &'a IdedExpr,
    ) -> Checked {
        let condition = self.condition(condition);
        let ((yes, one), (no, other)) = (self.part(yes), self.part(no));
        match one.join(&other) {
            Some(kind) => (Node::If(Box::new([condition, yes, no])), kind),
            None => {
                let message = format!("both outcomes of `?:` have one type; these are {one} and {other}");
                self.wrong(part, message, "make both the same type")
            }
        }
    }

    /// `!a` and `-a`
    pub(super) fn prefix(&mut self, part: &IdedExpr, name: &str, one: &'a IdedExpr) -> Checked {
        match name {
            operators::LOGICAL_NOT => (Node::Not(Box::new(self.condition(one))), Type::Bool),
            operators::NEGATE => {
                let (node, kind) = self.part(one);
                if kind.is_open() || kind.is_number() {
                    return (Node::Negate(Box::new(node)), kind);
                }
                self.wrong(part, format!("`-` needs a number; this is {kind}"), "leave out the `-`")
            }
            other => self.wrong(part, format!("the operator `{other}` is not known here"), "write it in another way"),
        }
    }

    /// `a && b`, `a == b`, `a[b]` and so on.
    pub(super) fn infix(&mut self, part: &IdedExpr, name: &str, one: &'a IdedExpr, other: &'a IdedExpr) -> Checked {
        match name {
            operators::LOGICAL_AND => {
                let (a, b) = (self.condition(one), self.condition(other));
                return (Node::And(Box::new(a), Box::new(b)), Type::Bool);
            }
            operators::LOGICAL_OR => {
                let (a, b) = (self.condition(one), self.condition(other));
                return (Node::Or(Box::new(a), Box::new(b)), Type::Bool);
            }
            _ => {}
        }
        let (one, other) = (self.part(one), self.part(other));
        if let Some(comparison) = comparison(name) {
            return self.order(part, one, other, comparison);
        }
        if let Some(operator) = operator(name) {
            return self.arithmetic(part, one, other, operator);
        }
        match name {
            operators::EQUALS | operators::NOT_EQUALS => self.equal(part, one, other, name == operators::NOT_EQUALS),
            operators::IN => self.membership(part, one, other),
            operators::INDEX => self.index(part, one, other),
            other => self.wrong(part, format!("the operator `{other}` is not known here"), "write it in another way"),
        }
    }

    fn equal(&mut self, part: &IdedExpr, (a, one): Checked, (b, other): Checked, negated: bool) -> Checked {
        if one.comparable(&other) {
            return (Node::Equal(Box::new(a), Box::new(b), negated), Type::Bool);
        }
        let hint = match (&one, &other) {
            (Type::List(of), element) | (element, Type::List(of)) if of.comparable(element) => {
                "use `in` to look for an element of a list"
            }
            (Type::Null, _) | (_, Type::Null) => "a fact is never null; use `has(…)` to ask whether it is known",
            _ => "compare values of one type; int(…), string(…) and bool(…) convert",
        };
        self.wrong(part, format!("{one} is never equal to {other}"), hint)
    }

    fn order(&mut self, part: &IdedExpr, (a, one): Checked, (b, other): Checked, how: Comparison) -> Checked {
        if one.ordered(&other) {
            return (Node::Order(Box::new(a), Box::new(b), how), Type::Bool);
        }
        let hint = match (&one, &other) {
            (Type::List(_) | Type::Map(_), Type::Int) | (Type::Int, Type::List(_) | Type::Map(_)) => {
                "use `size(…)` to compare how many there are"
            }
            _ => "compare two numbers or two strings",
        };
        self.wrong(part, format!("{one} is neither less nor greater than {other}"), hint)
    }

    fn arithmetic(&mut self, part: &IdedExpr, (a, one): Checked, (b, other): Checked, how: Operator) -> Checked {
        let defined = |kind: &Type| match kind {
            open if open.is_open() => true,
            Type::Int => true,
            Type::Double => how != Operator::Remainder,
            Type::Text | Type::List(_) => how == Operator::Add,
            _ => false,
        };
        let kind = one.join(&other).filter(|_| defined(&one) && defined(&other));
        match kind {
            Some(kind) => (Node::Arithmetic(Box::new(a), Box::new(b), how), kind),
            None => {
                let message = format!("`{}` is not defined between {one} and {other}", how.sign());
                self.wrong(part, message, "both sides have one type; int(…), double(…) and string(…) convert")
            }
        }
    }

    fn membership(&mut self, part: &IdedExpr, (a, one): Checked, (b, other): Checked) -> Checked {
        let fits = match &other {
            open if open.is_open() => true,
            Type::List(of) => of.comparable(&one),
            Type::Map(_) => one.fits(&Type::Text),
            _ => false,
        };
        if fits {
            return (Node::In(Box::new(a), Box::new(b)), Type::Bool);
        }
        let hint =
            if other == Type::Text { "use `.contains(…)` to look into a string" } else { "look for one element" };
        self.wrong(part, format!("{one} is never in {other}"), hint)
    }

    fn index(&mut self, part: &IdedExpr, (a, one): Checked, (b, other): Checked) -> Checked {
        let (wanted, kind) = match &one {
            open if open.is_open() => (None, open.clone()),
            Type::List(of) => (Some(Type::Int), of.as_ref().clone()),
            Type::Map(of) => (Some(Type::Text), of.as_ref().clone()),
            kind => {
                let message = format!("{kind} has no elements");
                return self.wrong(part, message, "only lists and maps have elements");
            }
        };
        match wanted {
            Some(wanted) if !other.fits(&wanted) => {
                self.wrong(part, format!("an element of {one} is named by {wanted}"), format!("this is {other}"))
            }
            _ => (Node::Index(Box::new(a), Box::new(b)), kind),
        }
    }

    /// A function or macro, as `f(x)` or `x.f()`.
    pub(super) fn function(&mut self, part: &'a IdedExpr, call: &'a CallExpr) -> Checked {
        let name = call.func_name.as_str();
        match (name, call.target.as_deref(), call.args.as_slice()) {
            ("has", None, [of]) => self.presence(part, of),
            ("matches", Some(of), [pattern]) | ("matches", None, [of, pattern]) => self.matches(of, pattern),
            ("all", Some(over), [name, condition]) => self.run(LoopKind::All, over, name, Some(condition), None),
            ("exists", Some(over), [name, condition]) => self.run(LoopKind::Exists, over, name, Some(condition), None),
            ("exists_one" | "existsOne", Some(over), [name, condition]) => {
                self.run(LoopKind::ExistsOne, over, name, Some(condition), None)
            }
            ("filter", Some(over), [name, condition]) => self.run(LoopKind::Gather, over, name, Some(condition), None),
            ("map", Some(over), [name, step]) => self.run(LoopKind::Gather, over, name, None, Some(step)),
            ("map", Some(over), [name, condition, step]) => {
                self.run(LoopKind::Gather, over, name, Some(condition), Some(step))
            }
            _ => self.plain(part, call),
        }
    }

    fn plain(&mut self, part: &'a IdedExpr, call: &'a CallExpr) -> Checked {
        let name = call.func_name.as_str();
        let Some(function) = Function::named(name) else {
            if FUNCTIONS.contains(&name) {
                return self.wrong(part, format!("`{name}` does not take these arguments"), usage(name));
            }
            let hint = suggest::hint(name, FUNCTIONS);
            return self.wrong(part, format!("there is no function `{name}`"), hint);
        };
        let of_value = matches!(function, Function::Contains | Function::StartsWith | Function::EndsWith);
        let placed = if of_value { call.target.is_some() } else { call.target.is_none() || name == "size" };
        let given: Vec<&IdedExpr> = call.target.as_deref().into_iter().chain(&call.args).collect();
        if !placed || given.len() != function.arity() {
            return self.wrong(part, format!("`{name}` does not take these arguments"), usage(name));
        }
        let mut nodes = Vec::with_capacity(given.len());
        for one in given {
            let (node, kind) = self.part(one);
            if !takes(function, &kind) {
                return self.wrong(one, format!("`{name}` cannot take {kind}"), usage(name));
            }
            nodes.push(node);
        }
        let kind = match function {
            Function::Size | Function::Int => Type::Int,
            Function::Double => Type::Double,
            Function::Text => Type::Text,
            _ => Type::Bool,
        };
        (Node::Call(function, nodes), kind)
    }

    /// `has(a.b)`: whether a fact is known, or a map has a key.
    fn presence(&mut self, part: &IdedExpr, of: &'a IdedExpr) -> Checked {
        let Expr::Select(select) = &of.expr else {
            return self.wrong(part, "`has` asks for a field", usage("has"));
        };
        let path = dotted(of).filter(|path| self.local(path[0]).is_none());
        if let Some((fact, _)) = path.as_ref().and_then(|path| self.fact(path).filter(|(_, used)| *used == path.len()))
        {
            self.mention(fact);
            return (Node::HasFact(fact.name), Type::Bool);
        }
        if let Some(path) = path.as_ref().filter(|path| self.is_unknown_in_group(path)) {
            return self.unknown(of, path);
        }
        let (map, kind) = self.part(&select.operand);
        if kind.is_open() || matches!(kind, Type::Map(_)) {
            return (Node::Has(Box::new(map), select.field.as_str().into()), Type::Bool);
        }
        self.wrong(part, format!("{kind} has no fields"), usage("has"))
    }

    /// Whether `has(…)` asks for a fact that is not declared, of a group that is.
    fn is_unknown_in_group(&self, path: &[&str]) -> bool {
        self.hides(path[0]) && path[0] != "claims" && self.fact(path).is_none()
    }

    fn matches(&mut self, of: &'a IdedExpr, pattern: &'a IdedExpr) -> Checked {
        let (node, kind) = self.part(of);
        if !kind.fits(&Type::Text) {
            return self.wrong(of, format!("`matches` cannot take {kind}"), usage("matches"));
        }
        let (Node::Text(text), _) = self.part(pattern) else {
            return self.wrong(pattern, "the pattern of `matches` is not written out", usage("matches"));
        };
        match RegexBuilder::new(&text).size_limit(PATTERN_BYTES).dfa_size_limit(PATTERN_BYTES).build() {
            Ok(regex) => (Node::Matches(Box::new(node), Box::new(regex)), Type::Bool),
            Err(regex::Error::CompiledTooBig(_)) => {
                self.wrong(pattern, "the pattern is too large once compiled", "use smaller repetitions")
            }
            Err(error) => {
                let error = error.to_string();
                let reason = error.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                self.wrong(
                    pattern,
                    format!("the pattern is wrong: {reason}"),
                    "the syntax has no look-around and no back-references",
                )
            }
        }
    }

    /// A macro over the elements of a list or the keys of a map.
    fn run(
        &mut self,
        kind: LoopKind,
        over: &'a IdedExpr,
        name: &'a IdedExpr,
        condition: Option<&'a IdedExpr>,
        step: Option<&'a IdedExpr>,
    ) -> Checked {
        let (over_node, over_type) = self.part(over);
        let element = match over_type {
            Type::List(of) => *of,
            Type::Map(_) => Type::Text,
            open if open.is_open() => open,
            other => return self.wrong(over, format!("{other} has no elements to run over"), "run over a list"),
        };
        let Expr::Ident(variable) = &name.expr else {
            return self.wrong(
                name,
                "a macro's first argument names its variable",
                "for example `.exists(t, t == \"…\")`",
            );
        };
        if variable.starts_with('.') || self.hides(variable) {
            return self.wrong(name, format!("the variable `{variable}` would hide a fact"), "choose another name");
        }
        let (condition, step) = self.with(variable, element.clone(), |inner| {
            let condition = condition.map_or(Node::Bool(true), |part| inner.condition(part));
            (condition, step.map(|part| inner.part(part)))
        });
        let result = match (kind, &step) {
            (LoopKind::Gather, Some((_, made))) => Type::List(Box::new(made.clone())),
            (LoopKind::Gather, None) => Type::List(Box::new(element)),
            _ => Type::Bool,
        };
        let step = step.map(|(node, _)| node);
        (Node::Loop(Box::new(Loop { kind, over: over_node, condition, step })), result)
    }
}

fn comparison(name: &str) -> Option<Comparison> {
    Some(match name {
        operators::LESS => Comparison::Less,
        operators::LESS_EQUALS => Comparison::LessOrEqual,
        operators::GREATER => Comparison::Greater,
        operators::GREATER_EQUALS => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

fn operator(name: &str) -> Option<Operator> {
    Some(match name {
        operators::ADD => Operator::Add,
        operators::SUBSTRACT => Operator::Subtract,
        operators::MULTIPLY => Operator::Multiply,
        operators::DIVIDE => Operator::Divide,
        operators::MODULO => Operator::Remainder,
        _ => return None,
    })
}

/// Whether a function can take a value of this type.
fn takes(function: Function, kind: &Type) -> bool {
    if kind.is_open() {
        return true;
    }
    match function {
        Function::Size => matches!(kind, Type::Text | Type::List(_) | Type::Map(_)),
        Function::Contains | Function::StartsWith | Function::EndsWith => *kind == Type::Text,
        Function::Int | Function::Double => matches!(kind, Type::Int | Type::Double | Type::Text),
        Function::Text => matches!(kind, Type::Text | Type::Int | Type::Bool),
        Function::Bool => matches!(kind, Type::Bool | Type::Text),
    }
}

/// How a function is used.
fn usage(name: &str) -> &'static str {
    match name {
        "size" => "write `size(x)` for a string, list or map",
        "contains" => "write `x.contains(\"…\")` for two strings; for a list, write `\"…\" in x`",
        "startsWith" => "write `x.startsWith(\"…\")` for two strings",
        "endsWith" => "write `x.endsWith(\"…\")` for two strings",
        "matches" => "write `x.matches(\"…\")` for a string and a pattern written out",
        "has" => "write `has(a.b)`, for example `has(target.labels.env)`",
        "all" | "exists" | "exists_one" | "filter" => "write `list.exists(t, condition on t)` and the like",
        "map" => "write `list.map(t, value of t)` or `list.map(t, condition on t, value of t)`",
        "int" => "write `int(x)` for a number or string",
        "double" => "write `double(x)` for a number or string",
        "string" => "write `string(x)` for a string, int or bool",
        _ => "write `bool(x)` for a bool or string",
    }
}
