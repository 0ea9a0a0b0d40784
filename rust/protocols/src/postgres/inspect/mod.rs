//! Inspection: what a text means on this target for this session, and what becomes of each column of its result.
//!
//! Two answers must agree. The grammar and the catalog say before execution what a text touches and what its outputs can
//! carry; the server's own RowDescription says where each column really comes from. Where the server cannot say, the
//! trace of the text counts; where neither can, everything the text touches may be in the value.

pub mod catalog;
pub mod meaning;
pub mod plan;
pub mod protection;
pub mod settings;
pub mod survey;

use std::cell::RefCell;
use std::sync::Arc;

use ahash::AHashMap;
use model::{Fault, Whose};
use statement::Text;

use super::message::{Field, Parameters};
use super::state::names::Names;
use crate::{Catalog as Shared, Opening, View};
use catalog::{Catalog, Oid};
pub use meaning::{Effect, Meaning};
pub use plan::Planned;
use protection::Protection;
use settings::Settings;

/// Meanings remembered by text, per session.
const REMEMBERED: usize = 64;

/// Parameters are shown to reviewers and kept in the trail up to this length, in bytes.
const SHOWN: usize = 256;

/// Where a column of a result comes from, as the server says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The relation, 0 if the server cannot say.
    pub table: Oid,
    /// The attribute, 0 if none.
    pub attribute: i16,
    /// The type of the value.
    pub type_oid: Oid,
}

impl From<&Field<'_>> for Origin {
    fn from(field: &Field<'_>) -> Self {
        Self { table: field.table, attribute: field.attribute, type_oid: field.type_oid }
    }
}

/// Understands texts and plans results for one session.
#[derive(Debug)]
pub struct Inspector {
    view: Arc<View>,
    catalog: Option<Arc<Catalog>>,
    protection: Arc<Protection>,
    settings: Settings,
    /// Grows whenever what was concluded no longer holds.
    epoch: u64,
    remembered: RefCell<AHashMap<usize, (Arc<Text>, Vec<Arc<Meaning>>)>>,
}

impl Inspector {
    /// An inspector that knows no catalog yet.
    #[must_use]
    pub fn new(view: Arc<View>) -> Self {
        Self {
            view,
            catalog: None,
            protection: Arc::new(Protection::default()),
            settings: Settings::new(vec!["$user".to_owned(), "public".to_owned()]),
            epoch: 1,
            remembered: RefCell::default(),
        }
    }

    /// Takes a fresh catalog; anything that is not this protocol's catalog is ignored.
    pub fn set_catalog(&mut self, catalog: &Shared) {
        let Ok(catalog) = Arc::clone(catalog).downcast::<Catalog>() else { return };
        if self.catalog.is_none() {
            self.settings = Settings::new(catalog.search_path.clone());
        }
        self.catalog = Some(catalog);
        self.lay();
    }

    /// What the session sees changed.
    pub fn set_view(&mut self, view: Arc<View>) {
        self.view = view;
        self.lay();
    }

    fn lay(&mut self) {
        if let Some(catalog) = &self.catalog {
            let view = &self.view;
            self.protection =
                catalog.protection(view.generation, || Protection::new(catalog, &view.classes, &view.target));
        }
        self.forget();
    }

    fn forget(&mut self) {
        self.epoch += 1;
        self.remembered.borrow_mut().clear();
    }

    /// Takes the client's start-up settings and the parameters the target reported.
    pub fn opened(&mut self, opening: &Opening) {
        let path = opening.settings.iter().find(|(name, _)| name.eq_ignore_ascii_case("search_path"));
        if let Some((_, path)) = path {
            self.settings = Settings::new(settings::split_path(path));
        }
        for (name, value) in &opening.parameters {
            if name.eq_ignore_ascii_case(b"search_path") {
                self.settings = Settings::new(settings::split_path(&String::from_utf8_lossy(value)));
            }
        }
        self.forget();
    }

    /// The target reported a parameter. Says whether names may now mean something else.
    pub fn parameter_reported(&mut self, name: &[u8], value: &[u8]) -> bool {
        let name = String::from_utf8_lossy(name);
        self.setting_changed(&name, Some(&String::from_utf8_lossy(value)))
    }

    /// A SET or RESET took effect. Says whether names may now mean something else.
    pub fn setting_changed(&mut self, name: &str, value: Option<&str>) -> bool {
        let changed = self.settings.changed(name, value);
        if changed {
            self.forget();
        }
        changed
    }

    /// DISCARD ALL took effect.
    pub fn settings_reset(&mut self) {
        self.settings.reset();
        self.forget();
    }

    /// Counts changes of what conclusions rest on.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether the gateway only observes this session.
    #[must_use]
    pub fn observes(&self) -> bool {
        self.view.observe
    }

    /// Whether the target's catalog is known, and so must be kept up to date.
    #[must_use]
    pub fn knows_catalog(&self) -> bool {
        self.catalog.is_some()
    }

    /// The detectors that look at free text, if any.
    #[must_use]
    pub fn detectors(&self) -> Option<&mask::Detectors> {
        self.view.detectors.as_deref()
    }

    /// Whether something on the target is protected from this session.
    #[must_use]
    pub fn protects(&self) -> bool {
        !self.protection.is_empty()
    }

    /// What the statements of a text mean. A text that cannot be understood gives one meaning that is a refusal; an empty
    /// one gives none.
    #[must_use]
    pub fn understand(&self, text: &[u8], names: &Names) -> Vec<Arc<Meaning>> {
        let parsed = match self.view.parser.parse_bytes(text) {
            Ok(parsed) => parsed,
            Err(unreadable) => return vec![Arc::new(self.unreadable(&unreadable, text))],
        };
        let key = Arc::as_ptr(&parsed) as usize;
        if let Some((known, meanings)) = self.remembered.borrow().get(&key) {
            if Arc::ptr_eq(known, &parsed) {
                return meanings.clone();
            }
        }
        let meanings = self.meanings(&parsed, names);
        if meanings.iter().all(|meaning| meaning.stands_alone()) {
            let mut remembered = self.remembered.borrow_mut();
            if remembered.len() >= REMEMBERED {
                remembered.clear();
            }
            remembered.insert(key, (parsed, meanings.clone()));
        }
        meanings
    }

    /// The parameters of a Bind as the trail and reviewers may see them.
    ///
    /// # Errors
    /// The client broke the protocol.
    pub fn parameters(&self, values: &[u8], meanings: &[Arc<Meaning>]) -> Result<Vec<Option<String>>, Fault> {
        let parameters = Parameters::read(values).map_err(|malformed| malformed.fault(Whose::Client, "message 'B'"))?;
        let protected = meanings.first().map(|meaning| &meaning.protected_parameters[..]).unwrap_or_default();
        let shown = parameters.iter().enumerate().map(|(place, (format, value))| {
            let value = value?;
            if protected.get(place).copied().unwrap_or(false) {
                return Some("<protected>".to_owned());
            }
            Some(self.shown(format, value))
        });
        Ok(shown.collect())
    }

    fn shown(&self, format: i16, value: &[u8]) -> String {
        if let Some(name) = self.detectors().and_then(|detectors| detectors.name_of_hit(value)) {
            return format!("<{name}>");
        }
        let cut = &value[..value.len().min(SHOWN)];
        let more = if cut.len() < value.len() { "…" } else { "" };
        match std::str::from_utf8(cut) {
            Ok(text) if format == 0 => format!("{text}{more}"),
            Err(wrong) if format == 0 && wrong.error_len().is_none() => {
                format!("{}{more}", String::from_utf8_lossy(&cut[..wrong.valid_up_to()]))
            }
            _ => binary(cut, more),
        }
    }
}

/// A binary value as its bytes in hexadecimal; the widths of integers are shown as numbers.
fn binary(value: &[u8], more: &str) -> String {
    match value {
        [a, b] => i16::from_be_bytes([*a, *b]).to_string(),
        [a, b, c, d] => i32::from_be_bytes([*a, *b, *c, *d]).to_string(),
        _ => {
            let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("\\x{hex}{more}")
        }
    }
}
