//! The survey: reads the catalog over a connection of the gateway's own.
//!
//! Lists come by simple queries. Where the columns of a view come from is asked of the server itself: its definition is
//! prepared and described, never run, and the description names table and attribute behind each column.

use std::collections::VecDeque;

use bytes::BytesMut;
use model::{Fault, FaultKind, Whose};
use wire::Reader;

use super::catalog::{Catalog, Column, Oid, Relation, Type, View};
use crate::postgres::{frame, message};

/// The most bytes of one row of a list; a view's definition is the largest.
const LARGEST_ROW: usize = 8 << 20;

/// The most rows of all lists together.
const MOST_ROWS: usize = 5_000_000;

/// Nothing below is looked up by a name a user of the target could have shadowed.
const PREPARE: &str = "SET search_path = pg_catalog";

const LISTS: [(List, &str); 7] = [
    (
        List::Relations,
        "SELECT c.oid, n.nspname, c.relname, c.relkind, c.reloftype FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
         WHERE c.relkind IN ('r','v','m','f','p','c','S','t')",
    ),
    (
        List::Columns,
        "SELECT a.attrelid, a.attnum, a.attname, a.atttypid FROM pg_catalog.pg_attribute a \
         JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) a.attrelid \
         WHERE a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped AND c.relkind IN ('r','v','m','f','p','c') \
         ORDER BY a.attrelid, a.attnum",
    ),
    (List::Inherits, "SELECT inhrelid, inhparent FROM pg_catalog.pg_inherits"),
    (
        List::Uses,
        "SELECT DISTINCT r.ev_class, d.refobjid, d.refobjsubid FROM pg_catalog.pg_rewrite r \
         JOIN pg_catalog.pg_depend d ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_rewrite'::pg_catalog.regclass \
         AND d.objid OPERATOR(pg_catalog.=) r.oid \
         AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass \
         WHERE r.rulename OPERATOR(pg_catalog.=) '_RETURN' AND d.refobjid OPERATOR(pg_catalog.<>) r.ev_class",
    ),
    (
        List::Calls,
        "SELECT DISTINCT r.ev_class FROM pg_catalog.pg_rewrite r \
         JOIN pg_catalog.pg_depend d ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_rewrite'::pg_catalog.regclass \
         AND d.objid OPERATOR(pg_catalog.=) r.oid \
         AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass \
         JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) d.refobjid \
         JOIN pg_catalog.pg_language l ON l.oid OPERATOR(pg_catalog.=) p.prolang \
         WHERE l.lanname NOT IN ('internal', 'c')",
    ),
    (
        List::Types,
        "SELECT oid, typrelid, CASE WHEN typtype OPERATOR(pg_catalog.=) 'd' THEN typbasetype ELSE typelem END, typcategory \
         FROM pg_catalog.pg_type",
    ),
    (
        List::Definitions,
        "SELECT c.oid, pg_catalog.pg_get_viewdef(c.oid) FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
         WHERE c.relkind IN ('v','m') AND n.nspname NOT IN ('pg_catalog','information_schema')",
    ),
];

/// Asked last, after the search path is as a new session has it.
const SETTINGS: &str = "RESET search_path";
const WHOAMI: &str = "SELECT pg_catalog.current_setting('search_path'), current_user::pg_catalog.text";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum List {
    None,
    Relations,
    Columns,
    Inherits,
    Uses,
    Calls,
    Types,
    Definitions,
    Settings,
}

/// Reads the catalog; see [`crate::Survey`].
#[derive(Debug)]
pub struct Survey {
    catalog: Catalog,
    asked: VecDeque<List>,
    begun: bool,
    rows: usize,
    definitions: Vec<(Oid, Vec<u8>)>,
    /// The views being described, in order; the first is the one that answers.
    describing: VecDeque<Oid>,
    described: bool,
}

impl Survey {
    /// A survey that has not begun.
    #[must_use]
    pub fn new() -> Self {
        Self {
            catalog: Catalog::default(),
            asked: VecDeque::new(),
            begun: false,
            rows: 0,
            definitions: Vec::new(),
            describing: VecDeque::new(),
            described: false,
        }
    }

    fn begin(&mut self, output: &mut BytesMut) {
        self.begun = true;
        self.ask(List::None, PREPARE, output);
        for (list, query) in LISTS {
            self.ask(list, query, output);
        }
        self.ask(List::None, SETTINGS, output);
        self.ask(List::Settings, WHOAMI, output);
    }

    fn ask(&mut self, list: List, query: &str, output: &mut BytesMut) {
        message::write_query(output, query.as_bytes());
        self.asked.push_back(list);
    }

    /// Sends each definition to be described; a definition the role may not even read makes only its view opaque.
    fn describe(&mut self, output: &mut BytesMut) {
        self.described = true;
        for (view, definition) in std::mem::take(&mut self.definitions) {
            message::write_parse(output, b"", &definition);
            message::write_describe_statement(output, b"");
            message::write(output, b'S', |_| {});
            self.describing.push_back(view);
        }
    }

    fn take(&mut self, tag: u8, body: &[u8]) -> Result<(), Fault> {
        match tag {
            b'D' => self.row(body),
            b'Z' if self.asked.pop_front().is_none() => {
                self.describing.pop_front();
                Ok(())
            }
            b'T' if self.asked.is_empty() => self.description(body),
            b'E' if !self.asked.is_empty() => {
                let fields = message::report(b'E', body)?;
                let text = fields.iter().find(|(code, _)| *code == b'M').map(|(_, text)| String::from_utf8_lossy(text));
                let text = text.unwrap_or_default();
                Err(Fault::new(
                    Whose::Target,
                    FaultKind::Unreachable,
                    format!("the target's catalog cannot be read: {text}"),
                ))
            }
            _ => Ok(()),
        }
    }

    fn description(&mut self, body: &[u8]) -> Result<(), Fault> {
        let fields = message::row_description(body)?;
        if let Some(view) = self.describing.front().and_then(|oid| self.catalog.views.get_mut(oid)) {
            view.columns = Some(fields.iter().map(|field| (field.table, field.attribute)).collect());
        }
        Ok(())
    }

    fn row(&mut self, body: &[u8]) -> Result<(), Fault> {
        self.rows += 1;
        if self.rows > MOST_ROWS {
            return Err(Fault::new(
                Whose::Target,
                FaultKind::TooLarge,
                "the target's catalog has too many rows to survey",
            ));
        }
        let cells = cells(body)?;
        match self.asked.front() {
            Some(List::Relations) => self.relation(&cells),
            Some(List::Columns) => self.column(&cells),
            Some(List::Inherits) => self.inherits(&cells),
            Some(List::Uses) => self.uses(&cells),
            Some(List::Calls) => number(&cells, 0).map(|oid| self.catalog.views.entry(oid).or_default().calls = true),
            Some(List::Types) => self.type_row(&cells),
            Some(List::Definitions) => self.definition(&cells),
            Some(List::Settings) => self.settings(&cells),
            _ => Some(()),
        }
        .ok_or_else(|| Fault::protocol(Whose::Target, "a row of the target's catalog is not what was asked for"))
    }

    fn relation(&mut self, cells: &[Option<&[u8]>]) -> Option<()> {
        let relation = Relation {
            oid: number(cells, 0)?,
            schema: text(cells, 1)?.into(),
            name: text(cells, 2)?.into(),
            kind: *cells.get(3)?.as_ref()?.first()?,
            of_type: number(cells, 4)?,
            columns: Vec::new(),
        };
        if matches!(relation.kind, b'v' | b'm') {
            self.catalog.views.entry(relation.oid).or_default();
        }
        self.catalog.relations.insert(relation.oid, relation);
        Some(())
    }

    fn column(&mut self, cells: &[Option<&[u8]>]) -> Option<()> {
        let relation = self.catalog.relations.get_mut(&number::<Oid>(cells, 0)?);
        let column = Column { number: number(cells, 1)?, name: text(cells, 2)?.into(), type_oid: number(cells, 3)? };
        if let Some(relation) = relation {
            relation.columns.push(column);
        }
        Some(())
    }

    fn inherits(&mut self, cells: &[Option<&[u8]>]) -> Option<()> {
        self.catalog.inherits.push((number(cells, 0)?, number(cells, 1)?));
        Some(())
    }

    fn uses(&mut self, cells: &[Option<&[u8]>]) -> Option<()> {
        let used = (number(cells, 1)?, number(cells, 2)?);
        let view: &mut View = self.catalog.views.entry(number(cells, 0)?).or_default();
        view.uses.push(used);
        Some(())
    }

    fn type_row(&mut self, cells: &[Option<&[u8]>]) -> Option<()> {
        let category = *cells.get(3)?.as_ref()?.first()?;
        let found = Type { row_of: number(cells, 1)?, made_of: number(cells, 2)?, category };
        self.catalog.types.insert(number(cells, 0)?, found);
        Some(())
    }

    fn definition(&mut self, cells: &[Option<&[u8]>]) -> Option<()> {
        let view = number(cells, 0)?;
        if let Some(Some(definition)) = cells.get(1) {
            let definition = definition.strip_suffix(b";").unwrap_or(definition);
            self.definitions.push((view, definition.to_vec()));
        }
        Some(())
    }

    fn settings(&mut self, cells: &[Option<&[u8]>]) -> Option<()> {
        self.catalog.search_path = super::settings::split_path(text(cells, 0)?);
        self.catalog.user = text(cells, 1)?.to_owned();
        Some(())
    }
}

impl Default for Survey {
    fn default() -> Self {
        Self::new()
    }
}

impl crate::Survey for Survey {
    fn advance(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> Result<Option<crate::Catalog>, Fault> {
        if !self.begun {
            self.begin(output);
        }
        while let Some(head) = frame::head(input, Whose::Target)? {
            if head.body > LARGEST_ROW {
                return Err(frame::oversized(head, LARGEST_ROW, Whose::Target));
            }
            if input.len() < head.whole() {
                return Ok(None);
            }
            let message = input.split_to(head.whole());
            self.take(head.tag, &message[frame::HEAD..])?;
        }
        if self.asked.is_empty() && !self.described {
            self.describe(output);
        }
        if self.described && self.describing.is_empty() {
            return Ok(Some(std::sync::Arc::new(std::mem::take(&mut self.catalog).finish())));
        }
        Ok(None)
    }
}

fn cells(body: &[u8]) -> Result<Vec<Option<&[u8]>>, Fault> {
    let read = || {
        let mut reader = Reader::new(body);
        let count = reader.u16()?;
        let mut cells = Vec::with_capacity(usize::from(count).min(body.len() / 4));
        for _ in 0..count {
            cells.push(reader.sized()?);
        }
        Ok(cells)
    };
    read().map_err(|malformed: wire::Malformed| malformed.fault(Whose::Target, "message 'D'"))
}

fn text<'a>(cells: &[Option<&'a [u8]>], place: usize) -> Option<&'a str> {
    std::str::from_utf8((*cells.get(place)?)?).ok()
}

fn number<T: std::str::FromStr>(cells: &[Option<&[u8]>], place: usize) -> Option<T> {
    text(cells, place)?.parse().ok()
}
