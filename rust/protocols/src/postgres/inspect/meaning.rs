//! What one statement means here: the grammar's reading laid over the catalog, for this session.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use model::{FactValue, Facts, Fault, FaultKind, Whose};
use statement::{
    Column, CopyEnd, CopySource, Detail, Exposure, Output, Outputs, Relation, Rights, Statement, Text, Transaction,
    Unreadable, UnreadableKind,
};

use mask::CopyFormat;
use statement::settings::Verdict as Setting;

use super::catalog::{Catalog, Relation as Known};
use super::protection::Guard;
use super::{Inspector, Origin};
use crate::Understood;
use crate::postgres::state::names::Names;

/// What a statement does to the session beyond its result.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the fields are the statement's own nouns")]
pub enum Effect {
    /// Nothing.
    None,
    /// PREPARE: the name now means `inner`.
    Prepare { name: Box<str>, text: Arc<str>, inner: Vec<Arc<Meaning>> },
    /// EXECUTE of a prepared statement.
    Execute { name: Box<str> },
    /// DEALLOCATE; no name means all.
    Deallocate { name: Option<Box<str>> },
    /// DECLARE: the cursor now stands for `inner`.
    Declare { name: Box<str>, hold: bool, inner: Arc<Meaning> },
    /// FETCH or MOVE: counts on where the cursor stands.
    Fetch { name: Box<str> },
    /// CLOSE; no name means all.
    Close { name: Option<Box<str>> },
    /// DISCARD ALL.
    Discard,
    /// SET or RESET of one setting; no value means its start value.
    Setting { name: Box<str>, value: Option<Box<str>> },
    /// COPY FROM STDIN.
    CopyIn,
    /// The target's schema may have changed.
    Define,
}

/// What one statement means here.
#[derive(Debug)]
pub struct Meaning {
    /// What the gate needs.
    pub common: Arc<Understood>,
    /// What it does to the session.
    pub effect: Effect,
    /// It may send rows.
    pub rows: bool,
    /// Its result may turn out to have no valid mask; the target is asked for its columns before it runs.
    pub may_refuse: bool,
    /// What the protected relations it touches carry that this session may not see.
    pub touched: Option<Guard>,
    /// Its outputs, as the text traces them.
    pub outputs: Outputs,
    /// Which parameters meet a protected column.
    pub protected_parameters: Vec<bool>,
    /// Columns of the relation a COPY TO copies.
    pub copied: Option<Box<[Origin]>>,
    /// How COPY writes its data.
    pub format: Option<CopyFormat>,
    /// The inspector's epoch when this was concluded.
    pub epoch: u64,
}

impl PartialEq for Meaning {
    fn eq(&self, other: &Self) -> bool {
        self.common.id == other.common.id
    }
}

impl Meaning {
    /// What output `place` of `total` carries; anything if the text's own count differs from the server's.
    #[must_use]
    pub fn output(&self, place: usize, total: usize) -> Output {
        match &self.outputs {
            Outputs::Positions(outputs) if outputs.len() == total => {
                outputs.get(place).copied().unwrap_or(Output::Carries)
            }
            _ => Output::Carries,
        }
    }

    /// Whether the meaning rests on the text alone, not on names of the session.
    #[must_use]
    pub fn stands_alone(&self) -> bool {
        !matches!(self.effect, Effect::Fetch { .. } | Effect::Execute { .. }) && self.common.kind != "execute"
    }
}

/// Names prepared or declared earlier in the same text.
#[derive(Default)]
struct Overlay {
    statements: HashMap<Box<str>, Arc<Meaning>>,
    cursors: HashMap<Box<str>, Arc<Meaning>>,
}

/// The catalog as the statement crate asks for it.
struct View<'a> {
    inspector: &'a Inspector,
    path: Vec<String>,
}

impl statement::Names for View<'_> {
    fn relation(&self, schema: Option<&str>, name: &str) -> Option<Relation<'_>> {
        let catalog = self.inspector.catalog.as_deref()?;
        let found = self.find(catalog, schema, name)?;
        Some(self.inspector.relation(found))
    }
}

impl<'a> View<'a> {
    /// The relation a name means. A name without its schema that could also mean a protected relation means that one: the
    /// search path may be changed where the gateway does not see it.
    fn find(&'a self, catalog: &'a Catalog, schema: Option<&str>, name: &str) -> Option<&'a Known> {
        let found = catalog.find(schema, name, &self.path);
        if schema.is_some() || found.is_some_and(|found| &*found.schema == "pg_catalog") {
            return found;
        }
        let hidden = |relation: &&Known| self.inspector.hidden(relation).is_some();
        if found.is_some_and(|found| hidden(&found)) {
            return found;
        }
        catalog.namesakes(name).find(hidden).or(found)
    }
}

impl Inspector {
    fn relation<'a>(&self, known: &'a Known) -> Relation<'a> {
        let columns = known.columns.iter().map(|column| Column {
            name: &column.name,
            number: column.number,
            protected: self.protection.column(known.oid, column.number).is_some_and(|guard| self.hides(guard)),
        });
        Relation { id: known.oid, columns: columns.collect(), protected: self.hidden(known).is_some() }
    }

    /// What a relation carries that this session may not see.
    fn hidden(&self, relation: &Known) -> Option<&Guard> {
        self.protection.relation(relation.oid).filter(|guard| self.hides(guard))
    }

    fn names(&self) -> View<'_> {
        let user = self.catalog.as_ref().map_or("", |catalog| catalog.user.as_str());
        View { inspector: self, path: self.settings.path(user) }
    }

    pub(super) fn meanings(&self, text: &Arc<Text>, names: &Names) -> Vec<Arc<Meaning>> {
        let view = self.names();
        let detectors = self.detectors();
        let looks = |literal: &[u8]| detectors.and_then(|detectors| detectors.name_of_hit(literal));
        let redacted: Arc<str> = text.redacted(Some(&view), &looks).into();
        let mut overlay = Overlay::default();
        let mut meanings = Vec::with_capacity(text.statements.len());
        for statement in &text.statements {
            let mut meaning = self.meaning(statement, text, &redacted, &view, names, &overlay);
            if text.statements.len() > 1 {
                self.among_others(&mut meaning, text);
            }
            let meaning = Arc::new(meaning);
            match &meaning.effect {
                Effect::Prepare { name, inner, .. } => {
                    if let Some(inner) = inner.first() {
                        overlay.statements.insert(name.clone(), Arc::clone(inner));
                    }
                }
                Effect::Declare { name, inner, .. } => drop(overlay.cursors.insert(name.clone(), Arc::clone(inner))),
                _ => {}
            }
            meanings.push(meaning);
        }
        meanings
    }

    fn meaning(
        &self,
        statement: &Statement,
        text: &Arc<Text>,
        redacted: &Arc<str>,
        view: &View<'_>,
        names: &Names,
        overlay: &Overlay,
    ) -> Meaning {
        let exposure = statement.exposure(view);
        let touched = self.touched(&exposure);
        let stores = exposure.stores;
        let mut meaning = Meaning {
            common: Arc::new(self.understood(statement, text, redacted, view, &exposure.attributes, touched.is_some())),
            effect: Effect::None,
            rows: sends_rows(statement),
            may_refuse: false,
            outputs: exposure.outputs,
            protected_parameters: statement.parameters_protected(view),
            copied: None,
            format: None,
            epoch: self.epoch,
            touched,
        };
        self.particular(&mut meaning, statement, text, redacted, view, names, overlay);
        if let Some(fault) = self.own_refusal(statement, &meaning, stores) {
            refuse(&mut meaning, fault);
        }
        meaning.may_refuse = meaning.rows && meaning.touched.is_some() && unclear(&meaning.outputs);
        meaning
    }

    /// What the kind of statement adds.
    #[allow(clippy::too_many_arguments, reason = "all of it is what a statement stands among")]
    fn particular(
        &self,
        meaning: &mut Meaning,
        statement: &Statement,
        text: &Arc<Text>,
        redacted: &Arc<str>,
        view: &View<'_>,
        names: &Names,
        overlay: &Overlay,
    ) {
        let inner = |inner: &Statement| Arc::new(self.meaning(inner, text, redacted, view, names, overlay));
        match &statement.detail {
            Detail::Prepare { name, inner: prepared } => {
                let prepared = inner(prepared);
                adopt(meaning, &prepared);
                meaning.rows = false;
                let text = prepared_text(text, statement);
                meaning.effect = Effect::Prepare { name: name.clone(), text, inner: vec![prepared] };
            }
            Detail::DeclareCursor { name, hold, inner: declared, .. } => {
                let declared = inner(declared);
                adopt(meaning, &declared);
                meaning.rows = false;
                meaning.effect = Effect::Declare { name: name.clone(), hold: *hold, inner: declared };
            }
            Detail::Execute { name } => {
                match self.prepared(name, names, overlay) {
                    Some(prepared) => {
                        adopt(meaning, &prepared);
                        meaning.rows = true;
                    }
                    None => self.anything(meaning),
                }
                meaning.effect = Effect::Execute { name: name.clone() };
            }
            Detail::Fetch { cursor } | Detail::Move { cursor } => {
                match self.cursor(cursor, names, overlay) {
                    Some(declared) => {
                        carry(meaning, &declared);
                        let common = Arc::make_mut(&mut meaning.common);
                        common.tables = Arc::clone(&declared.common.tables);
                        common.facts.set("sql.tables", FactValue::Texts(Arc::clone(&common.tables)));
                    }
                    None => self.anything(meaning),
                }
                meaning.effect = Effect::Fetch { name: cursor.clone() };
            }
            Detail::Explain { inner: explained, .. } => {
                // With ANALYZE it runs, so that what it must not do alone it must not do here.
                let fault = inner(explained).common.fault.clone();
                Arc::make_mut(&mut meaning.common).fault = fault;
                meaning.touched = None;
                meaning.outputs = Outputs::Unknown;
            }
            // What the prepared statement reads may be anything by the time this runs.
            Detail::CreateAs { executes: true, .. } => {
                self.anything(meaning);
                meaning.rows = false;
                meaning.effect = Effect::Define;
            }
            Detail::Deallocate { name } => meaning.effect = Effect::Deallocate { name: name.clone() },
            Detail::CloseCursor { cursor } => meaning.effect = Effect::Close { name: cursor.clone() },
            Detail::Discard { all: true } => meaning.effect = Effect::Discard,
            Detail::Set { name, values, .. } => {
                let value = (!values.is_empty()).then(|| quoted_path(values));
                meaning.effect = Effect::Setting { name: name.clone(), value };
            }
            Detail::Reset { name } => {
                let name = name.clone().unwrap_or_else(|| "search_path".into());
                meaning.effect = Effect::Setting { name, value: None };
            }
            Detail::Copy(copy) => {
                meaning.format = Some(copy_format(copy));
                if copy.inwards {
                    meaning.effect = Effect::CopyIn;
                } else if let CopySource::Relation { relation, columns } = &copy.source {
                    meaning.copied = self.copied(view, relation.schema.as_deref(), &relation.name, columns);
                }
            }
            _ if !statement.settings.is_empty() => {
                if let Some((name, value)) = statement.settings.last() {
                    meaning.effect = Effect::Setting { name: name.clone(), value: value.clone() };
                }
            }
            _ if statement.rights.contains(Rights::DDL) || statement.rights.contains(Rights::CALL) => {
                meaning.effect = Effect::Define;
            }
            _ => {}
        }
    }

    fn prepared(&self, name: &str, names: &Names, overlay: &Overlay) -> Option<Arc<Meaning>> {
        overlay.statements.get(name).cloned().or_else(|| {
            let prepared = names.sure_statement(name.as_bytes())?;
            let current = prepared.meaning.borrow().first().cloned()?;
            if current.epoch == self.epoch {
                return Some(current);
            }
            of_prepared(self.understand(prepared.text.as_bytes(), names)).first().cloned()
        })
    }

    fn cursor(&self, name: &str, names: &Names, overlay: &Overlay) -> Option<Arc<Meaning>> {
        overlay.cursors.get(name).cloned().or_else(|| {
            let portal = names.sure_portal(name.as_bytes())?;
            let run = portal.run.try_borrow().ok()?;
            run.statement().or_else(|| run.statements.first()).cloned()
        })
    }

    /// A name that nobody saw defined may stand for anything the target has.
    fn anything(&self, meaning: &mut Meaning) {
        meaning.rows = true;
        meaning.outputs = Outputs::Unknown;
        let all = self.protection.all();
        meaning.touched = self.hides(&all).then_some(all);
    }

    fn touched(&self, exposure: &Exposure) -> Option<Guard> {
        let mut sum: Option<Guard> = None;
        for relation in &exposure.touches {
            let Some(guard) = self.protection.relation(*relation).filter(|guard| self.hides(guard)) else { continue };
            match &mut sum {
                None => sum = Some(guard.untraced()),
                Some(sum) => {
                    sum.classes = sum.classes.union(&guard.classes);
                    sum.system |= guard.system;
                }
            }
        }
        sum
    }

    fn understood(
        &self,
        statement: &Statement,
        text: &Arc<Text>,
        redacted: &Arc<str>,
        view: &View<'_>,
        attributes: &[String],
        protected: bool,
    ) -> Understood {
        let implied = self.implied(statement, view, attributes);
        let mut facts = statement.facts();
        let tables = self.tables(statement, view);
        let tables: Arc<[Arc<str>]> = tables.into();
        facts.set("sql.tables", FactValue::Texts(Arc::clone(&tables)));
        let shape = Arc::clone(text);
        Understood {
            id: next_id(),
            kind: statement.kind,
            facts,
            rights: settled_rights(statement),
            resolved: self.resolved(statement, view).into_iter().chain(implied.iter().cloned()).collect(),
            functions: functions(statement).into_iter().chain(implied).collect(),
            tables,
            text: Arc::clone(redacted),
            source: Some(shape),
            reading: !statement.writes
                && statement.transaction == Transaction::None
                && !statement.rights.contains(Rights::CALL),
            protected,
            fault: None,
        }
    }

    /// The functions that `t.name` and `(x).name` run where the target defines some of these names.
    fn implied(&self, statement: &Statement, view: &View<'_>, attributes: &[String]) -> Vec<Arc<str>> {
        let Some(catalog) = self.catalog.as_deref() else { return Vec::new() };
        let fields = statement.fields.iter().map(|name| &**name);
        let names = attributes.iter().map(String::as_str).chain(fields);
        names.filter_map(|name| catalog.function(name, &view.path)).map(Into::into).collect()
    }

    /// The functions an allow rule must list, with the schema in which the session finds them.
    fn resolved(&self, statement: &Statement, view: &View<'_>) -> Vec<Arc<str>> {
        let Some(catalog) = self.catalog.as_deref() else { return Vec::new() };
        let found = |name: Arc<str>| catalog.function(&name, &view.path).map_or(name, Into::into);
        functions(statement).into_iter().map(found).collect()
    }

    fn tables(&self, statement: &Statement, view: &View<'_>) -> Vec<Arc<str>> {
        let mut tables: Vec<Arc<str>> = statement
            .relations
            .iter()
            .map(|relation| {
                let catalog = self.catalog.as_deref();
                let known =
                    catalog.and_then(|catalog| catalog.find(relation.schema.as_deref(), &relation.name, &view.path));
                match known {
                    Some(known) => format!("{}.{}", known.schema, known.name).into(),
                    None => relation.to_string().into(),
                }
            })
            .collect();
        tables.sort_unstable();
        tables.dedup();
        tables
    }

    fn copied(&self, view: &View<'_>, schema: Option<&str>, name: &str, columns: &[Box<str>]) -> Option<Box<[Origin]>> {
        let catalog = self.catalog.as_deref()?;
        let known = view.find(catalog, schema, name)?;
        let origin = |column: &super::catalog::Column| Origin {
            table: known.oid,
            attribute: column.number,
            type_oid: column.type_oid,
        };
        if columns.is_empty() {
            return Some(known.columns.iter().map(origin).collect());
        }
        columns.iter().map(|name| known.columns.iter().find(|column| column.name == *name).map(origin)).collect()
    }

    /// What is refused whatever the rules say, because masks could not follow the data.
    fn own_refusal(&self, statement: &Statement, meaning: &Meaning, stores: bool) -> Option<Fault> {
        if self.catalog.is_none() && self.view.classes.concern(&self.view.target) {
            let message = "the target's catalog cannot be read, so protected data cannot be told from the rest";
            return Some(
                Fault::new(Whose::Target, FaultKind::Unreachable, message)
                    .hint("try again; the gateway's log says why"),
            );
        }
        if let Some(name) = blinding(statement) {
            let message =
                format!("setting {name} like this would keep the gateway from following what is asked and answered");
            return Some(Fault::new(Whose::Policy, FaultKind::Denied, message).hint("leave the setting as it is"));
        }
        if settings(statement).iter().any(|(name, _)| changes_role(name)) {
            let message = "who the session is at the target is its credential's affair, and no statement changes it";
            return Some(
                Fault::new(Whose::Policy, FaultKind::Denied, message).hint(
                    "an operator can give the target a credential with set_role, and a rule that picks it with as",
                ),
            );
        }
        let touched = meaning.touched.as_ref()?;
        let denied = |what: &str, hint: &str| {
            let names: Vec<&str> = touched.classes.iter().map(|class| self.view.classes.name(class)).collect();
            let class = format!("class {}", names.join(", "));
            let message = format!("{what} would carry data of {class} past its mask");
            Fault::denied(class, message).hint(hint.to_owned())
        };
        match &statement.detail {
            Detail::Copy(copy) if !copy.inwards => Some(denied(
                &format!("COPY of {}", meaning.common.tables.join(", ")),
                "select the columns you need: SELECT masks them",
            )),
            Detail::Copy(copy) if copy.end != CopyEnd::Client => None,
            Detail::CreateAs { .. } if statement.kind != "create_view" => {
                Some(denied("a copy of a protected relation", "ask for a rule that reveals the class"))
            }
            Detail::Do => Some(denied("a body in a procedural language", "ask for a rule that reveals the class")),
            _ if stores => {
                Some(denied("storing what comes from a protected relation", "ask for a rule that reveals the class"))
            }
            _ => None,
        }
    }

    /// In a text of several statements, what cannot be undone together is refused.
    fn among_others(&self, meaning: &mut Meaning, text: &Text) {
        let _ = text;
        meaning.epoch = self.epoch;
    }

    pub(super) fn unreadable(&self, unreadable: &Unreadable, text: &[u8]) -> Meaning {
        let shown = statement::redact_unread(text);
        let too_large = unreadable.kind == UnreadableKind::TooLarge;
        let kind = if too_large { FaultKind::TooLarge } else { FaultKind::Unreadable };
        let mut fault = Fault::new(Whose::Client, kind, unreadable.message.clone());
        fault.verbatim = unreadable.verbatim.as_ref().map(|said| {
            let scrubbed = self.detectors().and_then(|detectors| mask::scrub(said, detectors));
            scrubbed.unwrap_or_else(|| said.clone()).into_boxed_str()
        });
        match unreadable.position {
            Some(position) if unreadable.kind == UnreadableKind::Malformed => {
                let before = text.get(..position).unwrap_or_default();
                let characters = String::from_utf8_lossy(before).chars().count();
                fault.position = u32::try_from(characters + 1).ok().and_then(NonZeroU32::new);
            }
            _ if too_large => fault = fault.hint("send it in smaller parts; limits.statement bounds a text's length"),
            _ => fault = fault.hint("what cannot be understood is refused; PostgreSQL's own grammar decides"),
        }
        let mut facts = Facts::new();
        facts.set("sql.kind", FactValue::Text("unreadable".into()));
        let common = Understood {
            id: next_id(),
            kind: "unreadable",
            facts,
            rights: Rights::NEVER,
            functions: Vec::new(),
            resolved: Vec::new(),
            tables: Arc::from([]),
            text: shown.into(),
            source: None,
            reading: false,
            protected: false,
            fault: Some(fault),
        };
        Meaning {
            common: Arc::new(common),
            effect: Effect::None,
            rows: false,
            may_refuse: false,
            touched: None,
            outputs: Outputs::Unknown,
            protected_parameters: Vec::new(),
            copied: None,
            format: None,
            epoch: self.epoch,
        }
    }
}

/// The meaning of what a text prepares: the statement inside, if it was prepared in SQL.
#[must_use]
pub fn of_prepared(meanings: Vec<Arc<Meaning>>) -> Vec<Arc<Meaning>> {
    match meanings.first().map(|meaning| &meaning.effect) {
        Some(Effect::Prepare { inner, .. }) => inner.clone(),
        _ => meanings,
    }
}

/// The settings a statement changes, each with its value if that is known.
fn settings(statement: &Statement) -> Vec<(&str, Option<String>)> {
    let own = match &statement.detail {
        Detail::Set { name, values, .. } => Some((&**name, (!values.is_empty()).then(|| values.join(", ")))),
        Detail::Reset { name: Some(name) } => Some((&**name, None)),
        _ => None,
    };
    let called = statement
        .settings
        .iter()
        .map(|(name, value)| (&**name, value.as_deref().map(str::to_owned).or(Some("?".to_owned()))));
    own.into_iter().chain(called).collect()
}

/// Settings that would undo who the credential is.
fn changes_role(name: &str) -> bool {
    name.eq_ignore_ascii_case("role") || name.eq_ignore_ascii_case("session_authorization")
}

/// Settings that mean something else for some values, so that a value nobody knows is as good as the worst.
const BY_VALUE: [&str; 4] = ["standard_conforming_strings", "client_encoding", "client_min_messages", "row_security"];

fn verdict(name: &str, value: Option<&str>) -> Setting {
    if value == Some("?") && BY_VALUE.iter().any(|known| name.eq_ignore_ascii_case(known)) {
        return Setting::Blinding;
    }
    statement::settings::verdict(name, value)
}

/// The first setting that would blind the gateway.
fn blinding(statement: &Statement) -> Option<&str> {
    let changed = settings(statement).into_iter();
    changed.filter(|(name, value)| verdict(name, value.as_deref()) == Setting::Blinding).map(|(name, _)| name).next()
}

/// The rights a statement needs, once it is known which settings it changes.
fn settled_rights(statement: &Statement) -> Rights {
    let mut rights = statement.rights;
    let all = settings(statement);
    let known = |(name, value): &(&str, Option<String>)| {
        matches!(verdict(name, value.as_deref()), Setting::Listed | Setting::Tracked)
    };
    if rights.contains(Rights::SETTING) && all.iter().all(known) {
        rights = rights.beyond(Rights::SETTING) | Rights::READ;
    }
    if all.iter().any(|(name, _)| changes_role(name)) {
        rights |= Rights::NEVER;
    }
    rights
}

/// The functions an allow rule must list.
fn functions(statement: &Statement) -> Vec<Arc<str>> {
    let mut functions: Vec<Arc<str>> =
        statement.unreviewed_functions().map(|function| function.to_string().into()).collect();
    let unlisted = |(name, value): &(Box<str>, Option<Box<str>>)| {
        verdict(name, value.as_deref().or(Some("?"))) == Setting::Unlisted
    };
    if statement.settings.iter().any(unlisted) {
        functions.push("pg_catalog.set_config".into());
    }
    functions
}

/// How a COPY writes its data, with the options it names.
fn copy_format(copy: &statement::Copy) -> CopyFormat {
    let option = |name: &str| copy.options.iter().find(|(known, _)| **known == *name).map(|(_, value)| &**value);
    let byte = |name: &str, usual: u8| option(name).and_then(|value| value.bytes().next()).unwrap_or(usual);
    let on = |value: &str| matches!(value.to_ascii_lowercase().as_str(), "true" | "on" | "1" | "match");
    let header = option("header").is_some_and(on);
    match &*copy.format {
        "binary" => CopyFormat::Binary,
        "csv" => {
            let quote = byte("quote", b'"');
            let null = option("null").unwrap_or_default().as_bytes().into();
            CopyFormat::Csv { delimiter: byte("delimiter", b','), quote, escape: byte("escape", quote), null, header }
        }
        _ => {
            let null = option("null").unwrap_or("\\N").as_bytes().into();
            CopyFormat::Text { delimiter: byte("delimiter", b'\t'), null, header }
        }
    }
}

fn next_id() -> u64 {
    static IDS: AtomicU64 = AtomicU64::new(1);
    IDS.fetch_add(1, Ordering::Relaxed)
}

/// The meaning is that of another statement, under this one's own kind.
fn adopt(meaning: &mut Meaning, inner: &Arc<Meaning>) {
    carry(meaning, inner);
    let common = Arc::make_mut(&mut meaning.common);
    common.facts = inner.common.facts.clone();
    common.rights = inner.common.rights;
    common.functions.clone_from(&inner.common.functions);
    common.resolved.clone_from(&inner.common.resolved);
    common.tables.clone_from(&inner.common.tables);
    common.reading = inner.common.reading;
    common.fault.clone_from(&inner.common.fault);
}

/// Its result is that of another statement.
fn carry(meaning: &mut Meaning, inner: &Arc<Meaning>) {
    meaning.outputs = inner.outputs.clone();
    meaning.touched.clone_from(&inner.touched);
    Arc::make_mut(&mut meaning.common).protected = inner.common.protected;
}

fn refuse(meaning: &mut Meaning, fault: Fault) {
    Arc::make_mut(&mut meaning.common).fault = Some(fault);
}

fn unclear(outputs: &Outputs) -> bool {
    match outputs {
        Outputs::Unknown => true,
        Outputs::Positions(outputs) => outputs.contains(&Output::Carries),
    }
}

/// Whether a statement may answer with rows; when in doubt it may.
fn sends_rows(statement: &Statement) -> bool {
    match statement.kind {
        "begin" | "commit" | "rollback" | "savepoint" | "release" | "set" | "reset" | "discard" | "prepare"
        | "deallocate" | "declare" | "close" | "lock" | "listen" | "unlisten" | "notify" | "copy" | "truncate" => false,
        "insert" | "update" | "delete" | "merge" => statement.returns_rows(),
        _ => !statement.rights.contains(Rights::DDL),
    }
}

/// The statement inside a PREPARE, as it would be parsed on its own.
fn prepared_text(text: &Text, statement: &Statement) -> Arc<str> {
    text.sql.get(statement.span.clone()).unwrap_or(&text.sql).into()
}

fn quoted_path(values: &[Box<str>]) -> Box<str> {
    let quoted: Vec<String> = values.iter().map(|value| format!("\"{}\"", value.replace('"', "\"\""))).collect();
    quoted.join(", ").into()
}
