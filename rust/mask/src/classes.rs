//! The manifest's classes, and what becomes of columns that are in none.

use std::sync::Arc;

use serde_json::Value;

use crate::detectors::Detectors;
use crate::kind::MaskKind;
use crate::pattern::{ColumnPattern, split};
use crate::problem::{At, Problem};

/// A class's place in the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassId(u16);

/// The classes of a column: none, one, or several.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ClassSet(Box<[ClassId]>);

impl ClassSet {
    /// Whether the column is in no class.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The classes in the manifest's order.
    pub fn iter(&self) -> impl Iterator<Item = ClassId> {
        self.0.iter().copied()
    }

    /// The classes of both: for a value made of several columns.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut both: Vec<ClassId> = self.iter().chain(other.iter()).collect();
        both.sort_unstable();
        both.dedup();
        Self(both.into())
    }
}

/// The classes that a session's rules reveal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reveals(Vec<ClassId>);

impl Reveals {
    /// Whether the class is revealed.
    #[must_use]
    pub fn contains(&self, class: ClassId) -> bool {
        self.0.contains(&class)
    }
}

#[derive(Debug)]
struct Class {
    name: String,
    columns: Vec<ColumnPattern>,
    detect: Vec<String>,
    mask: MaskKind,
}

/// All classes of a manifest.
///
/// A column, or a detector, may be in several classes. Then it is shown only if all of them are revealed, and of those
/// that are not the one counts whose mask shows least: null, full, replace, hmac, then the fewest characters kept.
#[derive(Debug, Default)]
pub struct Classes {
    classes: Vec<Class>,
}

impl Classes {
    /// Reads `classes` of the settings; none there means no classes.
    ///
    /// # Errors
    /// Every mistake, each with the place where it stands.
    pub fn load(settings: &Value) -> Result<Self, Vec<Problem>> {
        let listed = match settings.get("classes") {
            None | Some(Value::Null) => return Ok(Self::default()),
            Some(Value::Array(listed)) if listed.len() <= usize::from(u16::MAX) => listed,
            Some(_) => return Err(vec![Problem::new(&["classes".into()], "classes are a list", "write - {name: …}")]),
        };
        let mut problems = Vec::new();
        let mut classes: Vec<Class> = Vec::new();
        for (place, value) in listed.iter().enumerate() {
            let at = ["classes".into(), place.into()];
            let class = read_class(value, &at, &mut problems);
            if classes.iter().any(|known| !class.name.is_empty() && known.name == class.name) {
                let message = format!("two classes are called `{}`", class.name);
                problems.push(Problem::new(&[&at[..], &["name".into()]].concat(), message, "join them or rename one"));
            }
            classes.push(class);
        }
        if problems.is_empty() { Ok(Self { classes }) } else { Err(problems) }
    }

    /// The classes of a column, by the names the target's catalog gives.
    #[must_use]
    pub fn column(&self, target: &str, schema: &str, table: &str, column: &str) -> ClassSet {
        self.having(|class| class.columns.iter().any(|pattern| pattern.matches(target, schema, table, column)))
    }

    /// The classes of a column of which only the last parts are known, `column`, `table.column` or
    /// `schema.table.column`: every class that may mean it. A name that cannot be taken apart is in every class.
    #[must_use]
    pub fn column_named(&self, name: &str) -> ClassSet {
        let parts = split(name);
        self.having(|class| match &parts {
            Some(parts) => {
                let known: Vec<&str> = parts.iter().map(String::as_str).collect();
                class.columns.iter().any(|pattern| pattern.may_mean(&known))
            }
            None => !class.columns.is_empty(),
        })
    }

    /// Whether any class names columns of this target, so that its catalog matters.
    #[must_use]
    pub fn concern(&self, target: &str) -> bool {
        self.classes.iter().flat_map(|class| &class.columns).any(|pattern| pattern.names_target(target))
    }

    /// The class called `name`.
    #[must_use]
    pub fn id(&self, name: &str) -> Option<ClassId> {
        let place = self.classes.iter().position(|class| class.name == name)?;
        u16::try_from(place).ok().map(ClassId)
    }

    /// The name of a class of these.
    #[must_use]
    pub fn name(&self, class: ClassId) -> &str {
        self.classes.get(usize::from(class.0)).map_or("", |class| &class.name)
    }

    /// The names of all classes in the manifest's order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.classes.iter().map(|class| class.name.as_str())
    }

    /// The classes called so, revealed. A name that no class has reveals nothing.
    #[must_use]
    pub fn reveal<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Reveals {
        Reveals(names.into_iter().filter_map(|name| self.id(name)).collect())
    }

    /// How a column of these classes is masked; `None` if it is in none, or all are revealed.
    #[must_use]
    pub fn mask(&self, classes: &ClassSet, reveals: &Reveals) -> Option<&MaskKind> {
        self.strictest(classes.iter().filter(|class| !reveals.contains(*class)))
    }

    /// The detectors that the classes list and nothing reveals, each with its mask; `None` if there are none.
    ///
    /// # Errors
    /// A detector's pattern does not compile on this machine.
    pub fn detectors(&self, reveals: &Reveals) -> Result<Option<Arc<Detectors>>, scan::Problem> {
        let mut chosen = Vec::new();
        for name in scan::names() {
            let listing = self.having(|class| class.detect.iter().any(|listed| listed == name));
            if let Some(mask) = self.mask(&listing, reveals) {
                chosen.push((name, Some(mask.clone())));
            }
        }
        if chosen.is_empty() { Ok(None) } else { Detectors::new(&chosen).map(|found| Some(Arc::new(found))) }
    }

    fn having(&self, wanted: impl Fn(&Class) -> bool) -> ClassSet {
        let ids = (0u16..).zip(&self.classes).filter(|(_, class)| wanted(class)).map(|(place, _)| ClassId(place));
        ClassSet(ids.collect())
    }

    fn strictest(&self, classes: impl Iterator<Item = ClassId>) -> Option<&MaskKind> {
        let masks = classes.filter_map(|class| self.classes.get(usize::from(class.0))).map(|class| &class.mask);
        masks.min_by_key(|mask| mask.shows())
    }
}

/// Everything in the settings that this crate reads, checked: the classes and each target's `unclassified`.
#[must_use]
pub fn check(settings: &Value) -> Vec<Problem> {
    let mut problems = Classes::load(settings).err().unwrap_or_default();
    let targets = settings.get("targets").and_then(Value::as_array);
    for (place, target) in targets.into_iter().flatten().enumerate() {
        let at = ["targets".into(), place.into(), "unclassified".into()];
        problems.extend(Unclassified::load(target.get("unclassified"), &at).err().unwrap_or_default());
    }
    problems
}

/// What becomes of a column in no class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnclassifiedColumn {
    /// Delivered as it is.
    Pass,
    /// The detectors look at it.
    #[default]
    Scan,
    /// Masked in full.
    Mask,
    /// Not delivered.
    Refuse,
}

/// What becomes of a target's columns in no class, and which are exempt.
#[derive(Debug, Clone, Default)]
pub struct Unclassified {
    default: UnclassifiedColumn,
    except: Vec<ColumnPattern>,
}

impl Unclassified {
    /// Reads a target's `unclassified`, which stands at `at`: `{"default": "scan", "except": ["public.t.col"]}`, the
    /// default's name alone, or nothing, which is `scan`.
    ///
    /// # Errors
    /// Every mistake, each with the place where it stands.
    pub fn load(value: Option<&Value>, at: &[At]) -> Result<Self, Vec<Problem>> {
        let (default, except) = match value {
            None | Some(Value::Null) => return Ok(Self::default()),
            Some(Value::Object(object)) => (object.get("default"), object.get("except")),
            other => (other, None),
        };
        let mut problems = Vec::new();
        let default = match default.map(Value::as_str) {
            None | Some(Some("scan")) => UnclassifiedColumn::Scan,
            Some(Some("pass")) => UnclassifiedColumn::Pass,
            Some(Some("mask")) => UnclassifiedColumn::Mask,
            Some(Some("refuse")) => UnclassifiedColumn::Refuse,
            Some(_) => {
                let at = [at, &["default".into()]].concat();
                problems.push(Problem::new(&at, "no such way with unclassified columns", "pass, scan, mask or refuse"));
                UnclassifiedColumn::Refuse
            }
        };
        let at = [at, &["except".into()]].concat();
        let texts = read_texts(except, &at, &mut problems);
        let except = read_patterns(&texts, ColumnPattern::without_target, "public.t.col", &at, &mut problems);
        if problems.is_empty() { Ok(Self { default, except }) } else { Err(problems) }
    }

    /// What becomes of this column.
    #[must_use]
    pub fn column(&self, schema: &str, table: &str, column: &str) -> UnclassifiedColumn {
        match self.except.iter().any(|pattern| pattern.matches("", schema, table, column)) {
            true => UnclassifiedColumn::Pass,
            false => self.default,
        }
    }

    /// What becomes of a value that comes from no column that is known.
    #[must_use]
    pub fn derived(&self) -> UnclassifiedColumn {
        self.default
    }
}

fn read_class(value: &Value, at: &[At], problems: &mut Vec<Problem>) -> Class {
    let under = |key: &str| [at, &[key.into()]].concat();
    let name = value.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    if name.is_empty() {
        problems.push(Problem::new(&under("name"), "a class needs a name", "write name: ssn"));
    }
    for key in value.as_object().into_iter().flat_map(|object| object.keys()) {
        if !["name", "columns", "detect", "mask"].contains(&key.as_str()) {
            let hint = "a class has name, columns, detect and mask";
            problems.push(Problem::new(&under(key), format!("a class has no `{key}`"), hint));
        }
    }
    let texts = read_texts(value.get("columns"), &under("columns"), problems);
    let example = "shop:public.customers.ssn";
    let columns = read_patterns(&texts, ColumnPattern::with_target, example, &under("columns"), problems);
    let detect = read_texts(value.get("detect"), &under("detect"), problems);
    for (place, detector) in detect.iter().enumerate() {
        if let Err(problem) = scan::Scanner::new(&[detector]) {
            let at = [&under("detect")[..], &[place.into()]].concat();
            problems.push(Problem::new(&at, problem.message, problem.hint));
        }
    }
    if texts.is_empty() && detect.is_empty() {
        problems.push(Problem::new(at, "a class names columns, detectors or both", "add columns: or detect:"));
    }
    let mask = value
        .get("mask")
        .map_or_else(|| Err(("a class needs a mask".into(), "write mask: {full: true}".into())), MaskKind::read);
    let mask = mask.unwrap_or_else(|(message, hint)| {
        problems.push(Problem::new(&under("mask"), message, hint));
        MaskKind::Full
    });
    Class { name, columns, detect, mask }
}

fn read_texts(value: Option<&Value>, at: &[At], problems: &mut Vec<Problem>) -> Vec<String> {
    let listed = match value {
        None | Some(Value::Null) => return Vec::new(),
        Some(Value::Array(listed)) => listed,
        Some(_) => {
            problems.push(Problem::new(at, "this is not a list", "write a list of texts"));
            return Vec::new();
        }
    };
    let mut texts = Vec::new();
    for (place, value) in listed.iter().enumerate() {
        match value.as_str() {
            Some(text) => texts.push(text.to_owned()),
            None => problems.push(Problem::new(&[at, &[place.into()]].concat(), "this is not a text", "quote it")),
        }
    }
    texts
}

fn read_patterns(
    texts: &[String],
    parse: fn(&str) -> Result<ColumnPattern, String>,
    example: &str,
    at: &[At],
    problems: &mut Vec<Problem>,
) -> Vec<ColumnPattern> {
    let mut patterns = Vec::new();
    for (place, text) in texts.iter().enumerate() {
        match parse(text) {
            Ok(pattern) => patterns.push(pattern),
            Err(message) => {
                let message = format!("`{text}`: {message}");
                let hint = format!("write it like {example}; * stands for any name");
                problems.push(Problem::new(&[at, &[place.into()]].concat(), message, hint));
            }
        }
    }
    patterns
}
