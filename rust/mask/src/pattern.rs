//! Patterns for columns: `target:schema.table.column`.
//!
//! `*` stands for any run of characters within one part. A part without quotes ignores the case of ASCII letters: a
//! class must not miss `"SSN"` because somebody wrote `ssn`. A part in double quotes means exactly itself; inside it
//! `""` is a quote, and `.`, `:` and `*` are ordinary.

/// One part of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    text: String,
    quoted: bool,
}

/// A parsed pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ColumnPattern {
    target: Option<Part>,
    /// Schema, table, column.
    parts: [Part; 3],
}

impl ColumnPattern {
    /// Parses `target:schema.table.column`.
    ///
    /// # Errors
    /// One sentence: what is wrong.
    pub(crate) fn with_target(text: &str) -> Result<Self, String> {
        let (target, rest) = part(text)?;
        let rest = rest.strip_prefix(':').ok_or("a column's pattern begins with a target and a colon")?;
        Ok(Self { target: Some(target), parts: parts(rest)? })
    }

    /// Parses `schema.table.column`.
    ///
    /// # Errors
    /// One sentence: what is wrong.
    pub(crate) fn without_target(text: &str) -> Result<Self, String> {
        Ok(Self { target: None, parts: parts(text)? })
    }

    /// Whether the pattern means this column of this target.
    pub(crate) fn matches(&self, target: &str, schema: &str, table: &str, column: &str) -> bool {
        let [of_schema, of_table, of_column] = &self.parts;
        of_column.matches(column) && of_table.matches(table) && of_schema.matches(schema) && self.names_target(target)
    }

    /// Whether the pattern speaks of this target at all.
    pub(crate) fn names_target(&self, target: &str) -> bool {
        self.target.as_ref().is_none_or(|part| part.matches(target))
    }

    /// Whether the pattern may mean a column of which only the last parts are known: `[column]`, `[table, column]` …
    pub(crate) fn may_mean(&self, known: &[&str]) -> bool {
        let pairs = self.parts.iter().rev().zip(known.iter().rev());
        !known.is_empty() && pairs.into_iter().all(|(part, name)| part.matches(name))
    }
}

impl Part {
    fn matches(&self, name: &str) -> bool {
        match self.quoted {
            true => self.text == name,
            false => glob(self.text.as_bytes(), name.as_bytes()),
        }
    }
}

/// Splits `a.b.c`, minding quotes; for names whose parts are asked for rather than matched.
pub(crate) fn split(name: &str) -> Option<Vec<String>> {
    let mut found = Vec::new();
    let mut rest = name;
    loop {
        let (next, behind) = part(rest).ok()?;
        found.push(next.text);
        match behind.strip_prefix('.') {
            Some(more) => rest = more,
            None => return (behind.is_empty() && found.len() <= 3).then_some(found),
        }
    }
}

fn parts(text: &str) -> Result<[Part; 3], String> {
    let wrong = "a column's pattern ends with schema.table.column";
    let (schema, rest) = part(text)?;
    let (table, rest) = part(rest.strip_prefix('.').ok_or(wrong)?)?;
    let (column, rest) = part(rest.strip_prefix('.').ok_or(wrong)?)?;
    if rest.is_empty() { Ok([schema, table, column]) } else { Err(wrong.into()) }
}

/// The first part of `text` and what follows it.
fn part(text: &str) -> Result<(Part, &str), String> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let end = text.find(['.', ':', '"']).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        return if name.trim() == name && !name.is_empty() {
            Ok((Part { text: name.into(), quoted: false }, rest))
        } else {
            Err("a part of a column's pattern is empty or has blanks around it".into())
        };
    };
    let mut name = String::new();
    while let Some((inside, behind)) = rest.split_once('"') {
        name.push_str(inside);
        match behind.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => return Ok((Part { text: name, quoted: true }, behind)),
        }
    }
    Err("a quote in a column's pattern is not closed".into())
}

/// Whether `name` fits `pattern`, in which `*` is any run of bytes. Linear in practice, never worse than the product.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut place) = (0, 0);
    let mut last_star: Option<(usize, usize)> = None;
    while place < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                last_star = Some((at, place));
                at += 1;
            }
            Some(byte) if byte.eq_ignore_ascii_case(&name[place]) => {
                at += 1;
                place += 1;
            }
            _ => {
                let Some((star, from)) = last_star else { return false };
                last_star = Some((star, from + 1));
                at = star + 1;
                place = from + 1;
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}
