//! Evaluates checked expressions, within a budget of steps.

use std::rc::Rc;

use model::Facts;
use serde_json::Value as Json;

use super::node::{Comparison, Function, Loop, LoopKind, Node, Operator};
use super::value::Value;
use crate::facts::excerpt;

/// Steps one evaluation may take: a few milliseconds. One step is a part evaluated, an element visited or sixteen
/// bytes of text looked at.
const BUDGET: usize = 100_000;

/// Why an evaluation came to no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    /// A value has another type than the operation needs. Impossible for facts, which are checked at load.
    Type(String),
    /// The operation is not defined for these values: a missing key, a division by zero.
    Value(String),
    /// The budget is spent.
    Spent,
}

impl Stop {
    /// The message for people.
    pub(super) fn message(self) -> String {
        match self {
            Self::Type(message) | Self::Value(message) => message,
            Self::Spent => {
                format!("it takes more than {BUDGET} steps: the lists it runs over are too long for its nesting")
            }
        }
    }
}

type Outcome<'a> = Result<Value<'a>, Stop>;

/// What an expression is evaluated against: facts in several layers, the first that knows one wins, or claims.
#[derive(Debug, Clone, Copy)]
pub(super) struct Surroundings<'a> {
    pub(super) facts: &'a [&'a Facts],
    pub(super) claims: Option<&'a Json>,
}

/// Evaluates `root`, which must come to true or false.
pub(super) fn run(root: &Node, surroundings: Surroundings<'_>) -> Result<bool, Stop> {
    let mut run = Run { surroundings, locals: Vec::new(), left: BUDGET };
    run.truth(root)
}

struct Run<'a> {
    surroundings: Surroundings<'a>,
    locals: Vec<Value<'a>>,
    left: usize,
}

impl<'a> Run<'a> {
    fn spend(&mut self, steps: usize) -> Result<(), Stop> {
        self.left = self.left.checked_sub(steps).ok_or(Stop::Spent)?;
        Ok(())
    }

    fn spend_on_text(&mut self, bytes: usize) -> Result<(), Stop> {
        self.spend(1 + bytes / 16)
    }

    fn truth(&mut self, node: &'a Node) -> Result<bool, Stop> {
        match self.value(node)? {
            Value::Bool(truth) => Ok(truth),
            other => Err(mismatch("a condition needs bool", &other)),
        }
    }

    fn value(&mut self, node: &'a Node) -> Outcome<'a> {
        self.spend(1)?;
        Ok(match node {
            Node::Null => Value::Null,
            Node::Bool(value) => Value::Bool(*value),
            Node::Int(value) => Value::Int(*value),
            Node::Double(value) => Value::Double(*value),
            Node::Text(value) => Value::Text(value),
            Node::List(parts) => Value::List(parts.iter().map(|part| self.value(part)).collect::<Result<_, _>>()?),
            Node::Fact(name) => self.fact(name)?,
            Node::HasFact(name) => Value::Bool(self.surroundings.facts.iter().any(|facts| facts.get(name).is_some())),
            Node::Claims => match self.surroundings.claims.and_then(Value::of_json) {
                Some(claims) => claims,
                None => return Err(Stop::Value("no claims are known here".to_owned())),
            },
            Node::Local(place) => match self.locals.get(*place) {
                Some(value) => value.clone(),
                None => return Err(Stop::Type("a macro's variable has no value".to_owned())),
            },
            Node::Select(of, field) => {
                let of = self.value(of)?;
                self.field(&of, field)?
            }
            Node::Has(of, field) => match self.value(of)? {
                map if map.is_map() => Value::Bool(map.has(field)),
                other => return Err(mismatch("has() looks for a key of a map", &other)),
            },
            Node::Index(of, index) => self.index(of, index)?,
            Node::Not(of) => Value::Bool(!self.truth(of)?),
            Node::Negate(of) => self.negate(of)?,
            Node::And(a, b) => Value::Bool(self.either(a, b, false)?),
            Node::Or(a, b) => Value::Bool(self.either(a, b, true)?),
            Node::If(parts) => {
                let [condition, yes, no] = parts.as_ref();
                let chosen = if self.truth(condition)? { yes } else { no };
                self.value(chosen)?
            }
            Node::Equal(a, b, negated) => {
                let (a, b) = (self.value(a)?, self.value(b)?);
                Value::Bool(self.equal(&a, &b)? != *negated)
            }
            Node::Order(a, b, comparison) => Value::Bool(self.ordered(a, b, *comparison)?),
            Node::Arithmetic(a, b, operator) => {
                let (a, b) = (self.value(a)?, self.value(b)?);
                self.arithmetic(&a, &b, *operator)?
            }
            Node::In(needle, hay) => Value::Bool(self.contains(needle, hay)?),
            Node::Call(function, arguments) => self.call(*function, arguments)?,
            Node::Matches(of, pattern) => {
                let of = self.value(of)?;
                let text = of.text().ok_or_else(|| mismatch("matches() needs a string", &of))?;
                self.spend_on_text(text.len().saturating_mul(8))?;
                Value::Bool(pattern.is_match(text))
            }
            Node::Loop(body) => self.run_loop(body)?,
        })
    }

    fn fact(&mut self, name: &str) -> Outcome<'a> {
        let known = self.surroundings.facts.iter().find_map(|facts| facts.get(name));
        let known = known.ok_or_else(|| Stop::Value(format!("`{name}` is not known here")))?;
        Ok(Value::of_fact(known))
    }

    fn field(&mut self, of: &Value<'a>, field: &str) -> Outcome<'a> {
        if !of.is_map() {
            return Err(mismatch(&format!("`.{field}` needs a map"), of));
        }
        match of.field(field) {
            Some(value) => Ok(value),
            None if of.has(field) => Err(too_large()),
            None => Err(Stop::Value(format!("there is no key {}", excerpt(field)))),
        }
    }

    fn index(&mut self, of: &'a Node, index: &'a Node) -> Outcome<'a> {
        let (of, index) = (self.value(of)?, self.value(index)?);
        match (of.is_map(), of.length(), &index) {
            (true, _, key) => {
                let key = key.text().ok_or_else(|| mismatch("a map's key is a string", key))?;
                self.field(&of, key)
            }
            (false, Some(length), Value::Int(place)) => {
                let element = usize::try_from(*place).ok().and_then(|place| of.element(place));
                element.ok_or_else(|| Stop::Value(format!("there is no element {place} in a list of {length}")))
            }
            (false, Some(_), other) => Err(mismatch("a list's index is an int", other)),
            (false, None, _) => Err(mismatch("only lists and maps have elements", &of)),
        }
    }

    fn negate(&mut self, of: &'a Node) -> Outcome<'a> {
        match self.value(of)? {
            Value::Int(value) => {
                value.checked_neg().map(Value::Int).ok_or_else(|| Stop::Value(format!("-({value}) is too large")))
            }
            Value::Double(value) => Ok(Value::Double(-value)),
            other => Err(mismatch("`-` needs a number", &other)),
        }
    }

    /// `&&` and `||`: either side that is `decisive` decides, even if the other has no result.
    fn either(&mut self, a: &'a Node, b: &'a Node, decisive: bool) -> Result<bool, Stop> {
        let first = match self.truth(a) {
            Ok(truth) if truth == decisive => return Ok(decisive),
            Err(Stop::Spent) => return Err(Stop::Spent),
            other => other,
        };
        let second = self.truth(b)?;
        if second == decisive { Ok(decisive) } else { first }
    }

    fn equal(&mut self, a: &Value<'a>, b: &Value<'a>) -> Result<bool, Stop> {
        self.spend(1)?;
        if let (Some(length), Some(other)) = (a.length(), b.length()) {
            if length != other || a.is_map() != b.is_map() {
                return Ok(false);
            }
            return if a.is_map() { self.equal_maps(a, b) } else { self.equal_lists(a, b, length) };
        }
        if let (Some(a), Some(b)) = (a.text(), b.text()) {
            self.spend_on_text(a.len().min(b.len()))?;
        }
        match (a, b) {
            (Value::Null, Value::Null) => Ok(true),
            (a, b) => Ok(a.order(b).is_some_and(std::cmp::Ordering::is_eq)),
        }
    }

    fn equal_lists(&mut self, a: &Value<'a>, b: &Value<'a>, length: usize) -> Result<bool, Stop> {
        for place in 0..length {
            let (Some(a), Some(b)) = (a.element(place), b.element(place)) else { return Err(too_large()) };
            if !self.equal(&a, &b)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn equal_maps(&mut self, a: &Value<'a>, b: &Value<'a>) -> Result<bool, Stop> {
        for key in a.keys() {
            let key = key.text().unwrap_or_default();
            if !b.has(key) {
                return Ok(false);
            }
            let (Some(a), Some(b)) = (a.field(key), b.field(key)) else { return Err(too_large()) };
            if !self.equal(&a, &b)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn ordered(&mut self, a: &'a Node, b: &'a Node, comparison: Comparison) -> Result<bool, Stop> {
        let (a, b) = (self.value(a)?, self.value(b)?);
        if let (Some(a), Some(b)) = (a.text(), b.text()) {
            self.spend_on_text(a.len().min(b.len()))?;
        }
        match a.order(&b) {
            Some(order) => Ok(comparison.holds(order)),
            // Not a number stands in no order to anything, so no comparison with it is a result.
            None if matches!((&a, &b), (Value::Int(_) | Value::Double(_), Value::Int(_) | Value::Double(_))) => {
                Err(Stop::Value("a value that is not a number cannot be compared".to_owned()))
            }
            None => Err(Stop::Type(format!("{} and {} cannot be compared", a.kind(), b.kind()))),
        }
    }

    fn arithmetic(&mut self, a: &Value<'a>, b: &Value<'a>, operator: Operator) -> Outcome<'a> {
        match (a, b) {
            (Value::Int(a), Value::Int(b)) => integers(*a, *b, operator),
            (Value::Double(a), Value::Double(b)) if operator != Operator::Remainder => {
                Ok(Value::Double(match operator {
                    Operator::Add => a + b,
                    Operator::Subtract => a - b,
                    Operator::Multiply => a * b,
                    _ => a / b,
                }))
            }
            (a, b) if operator == Operator::Add => self.join(a, b),
            (a, b) => Err(unfit(a, b, operator)),
        }
    }

    fn join(&mut self, a: &Value<'a>, b: &Value<'a>) -> Outcome<'a> {
        if let (Some(one), Some(other)) = (a.text(), b.text()) {
            self.spend_on_text((one.len() + other.len()).saturating_mul(4))?;
            return Ok(Value::Made(Rc::from([one, other].concat())));
        }
        let (Some(one), Some(other)) = (a.length(), b.length()) else { return Err(unfit(a, b, Operator::Add)) };
        if a.is_map() || b.is_map() {
            return Err(unfit(a, b, Operator::Add));
        }
        let mut elements = self.elements(a, one)?;
        elements.extend(self.elements(b, other)?);
        Ok(Value::List(elements.into()))
    }

    /// The elements of a list, or the keys of a map.
    fn elements(&mut self, of: &Value<'a>, length: usize) -> Result<Vec<Value<'a>>, Stop> {
        self.spend(length)?;
        if of.is_map() {
            return Ok(of.keys());
        }
        (0..length).map(|place| of.element(place).ok_or_else(too_large)).collect()
    }

    fn contains(&mut self, needle: &'a Node, hay: &'a Node) -> Result<bool, Stop> {
        let (needle, hay) = (self.value(needle)?, self.value(hay)?);
        let length = hay.length().ok_or_else(|| mismatch("`in` looks into a list or a map", &hay))?;
        if hay.is_map() {
            return Ok(needle.text().is_some_and(|key| hay.has(key)));
        }
        for place in 0..length {
            let element = hay.element(place).ok_or_else(too_large)?;
            if self.equal(&needle, &element)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn call(&mut self, function: Function, arguments: &'a [Node]) -> Outcome<'a> {
        let [first, rest @ ..] = arguments else {
            return Err(Stop::Type(format!("{}() needs a value", function.name())));
        };
        let first = self.value(first)?;
        let (Some(text), Some(second)) = (first.text(), rest.first()) else { return self.convert(function, &first) };
        let second = self.value(second)?;
        let Some(part) = second.text() else { return Err(mismatch("a string is compared with a string", &second)) };
        self.spend_on_text(text.len())?;
        Ok(Value::Bool(match function {
            Function::StartsWith => text.starts_with(part),
            Function::EndsWith => text.ends_with(part),
            _ => text.contains(part),
        }))
    }

    fn convert(&mut self, function: Function, value: &Value<'a>) -> Outcome<'a> {
        if let Some(text) = value.text() {
            self.spend_on_text(text.len())?;
        }
        let unfit = || mismatch(&format!("{}() cannot take it", function.name()), value);
        let unreadable = |text: &str| Stop::Value(format!("{}() cannot read {}", function.name(), excerpt(text)));
        match (function, value) {
            (Function::Size, value) => {
                let size =
                    value.text().map(|text| text.chars().count()).or_else(|| value.length()).ok_or_else(unfit)?;
                Ok(Value::Int(i64::try_from(size).unwrap_or(i64::MAX)))
            }
            (Function::Int, Value::Int(_))
            | (Function::Double, Value::Double(_))
            | (Function::Bool, Value::Bool(_)) => Ok(value.clone()),
            (Function::Text, Value::Text(_) | Value::Made(_)) => Ok(value.clone()),
            (Function::Text, Value::Int(number)) => Ok(Value::Made(number.to_string().into())),
            (Function::Text, Value::Bool(truth)) => Ok(Value::Text(if *truth { "true" } else { "false" })),
            (Function::Int, Value::Double(number)) => whole(*number),
            #[allow(clippy::cast_precision_loss)]
            (Function::Double, Value::Int(number)) => Ok(Value::Double(*number as f64)),
            (function, value) => {
                let text = value.text().ok_or_else(unfit)?;
                let read = match function {
                    Function::Int => text.parse().ok().map(Value::Int),
                    Function::Double => text.parse().ok().map(Value::Double),
                    Function::Bool => text.parse().ok().map(Value::Bool),
                    _ => return Err(unfit()),
                };
                read.ok_or_else(|| unreadable(text))
            }
        }
    }

    fn run_loop(&mut self, body: &'a Loop) -> Outcome<'a> {
        let over = self.value(&body.over)?;
        let length = over.length().ok_or_else(|| mismatch("a macro runs over a list or a map", &over))?;
        let elements = self.elements(&over, length)?;
        match body.kind {
            LoopKind::All => self.any(elements, &body.condition, false),
            LoopKind::Exists => self.any(elements, &body.condition, true),
            LoopKind::ExistsOne => {
                let mut met = 0;
                for element in elements {
                    met += usize::from(self.with(element, |run| run.truth(&body.condition))?);
                }
                Ok(Value::Bool(met == 1))
            }
            LoopKind::Gather => self.gather(elements, body),
        }
    }

    /// `exists` and `all`: an element that is `decisive` decides, even if another has no result.
    fn any(&mut self, elements: Vec<Value<'a>>, condition: &'a Node, decisive: bool) -> Outcome<'a> {
        let mut result = Ok(Value::Bool(!decisive));
        for element in elements {
            match self.with(element, |run| run.truth(condition)) {
                Ok(truth) if truth == decisive => return Ok(Value::Bool(decisive)),
                Ok(_) => {}
                Err(Stop::Spent) => return Err(Stop::Spent),
                Err(stop) => result = Err(stop),
            }
        }
        result
    }

    fn gather(&mut self, elements: Vec<Value<'a>>, body: &'a Loop) -> Outcome<'a> {
        let mut gathered = Vec::new();
        for element in elements {
            let made = self.with(element, |run| {
                if !run.truth(&body.condition)? {
                    return Ok(None);
                }
                match &body.step {
                    Some(step) => run.value(step).map(Some),
                    None => Ok(run.locals.last().cloned()),
                }
            })?;
            gathered.extend(made);
        }
        Ok(Value::List(gathered.into()))
    }

    fn with<T>(&mut self, element: Value<'a>, body: impl FnOnce(&mut Self) -> Result<T, Stop>) -> Result<T, Stop> {
        self.locals.push(element);
        let result = body(self);
        self.locals.pop();
        result
    }
}

fn integers<'a>(a: i64, b: i64, operator: Operator) -> Outcome<'a> {
    let result = match operator {
        Operator::Add => a.checked_add(b),
        Operator::Subtract => a.checked_sub(b),
        Operator::Multiply => a.checked_mul(b),
        Operator::Divide => a.checked_div(b),
        Operator::Remainder => a.checked_rem(b),
    };
    let undefined = || Stop::Value(format!("{a} {} {b} has no 64-bit result", operator.sign()));
    result.map(Value::Int).ok_or_else(undefined)
}

/// The whole part of a floating-point number.
fn whole<'a>(number: f64) -> Outcome<'a> {
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    if number > -BEYOND && number < BEYOND {
        // In range, so the cast keeps the whole part.
        #[allow(clippy::cast_possible_truncation)]
        return Ok(Value::Int(number.trunc() as i64));
    }
    Err(Stop::Value(format!("int() cannot hold {number}")))
}

/// JSON may hold numbers that no type here can hold exactly.
fn too_large() -> Stop {
    Stop::Value("a number in the claims is too large".to_owned())
}

fn mismatch(wanted: &str, got: &Value<'_>) -> Stop {
    Stop::Type(format!("{wanted}; this is {}", got.kind()))
}

fn unfit(a: &Value<'_>, b: &Value<'_>, operator: Operator) -> Stop {
    Stop::Type(format!("`{}` is not defined between {} and {}", operator.sign(), a.kind(), b.kind()))
}
