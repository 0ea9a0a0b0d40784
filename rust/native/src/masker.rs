//! The masker as a library: bytes in, bytes out, the interpreter free meanwhile.

use std::borrow::Cow;
use std::sync::Arc;

use mask::{Classes, Reveals};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::raise;

/// Masks texts and rows as detectors and classes say. Holds no state between calls; any number of threads may share it.
#[pyclass(module = "penstock._native", frozen)]
pub struct Masker(mask::Masker);

#[pymethods]
impl Masker {
    /// A masker with these built-in detectors.
    #[staticmethod]
    fn builtin(detectors: Vec<String>) -> PyResult<Self> {
        let names: Vec<&str> = detectors.iter().map(String::as_str).collect();
        mask::Masker::builtin(&names).map(Self).map_err(|problem| raise(problem.message))
    }

    /// A masker with the classes of a settings document.
    #[staticmethod]
    fn from_settings(settings: &[u8]) -> PyResult<Self> {
        let settings = serde_json::from_slice(settings).map_err(|error| raise(error.to_string()))?;
        let classes = Classes::load(&settings)
            .map_err(|problems| raise(problems.first().map_or_else(String::new, |problem| problem.message.clone())))?;
        mask::Masker::from_classes(Arc::new(classes), Reveals::default())
            .map(Self)
            .map_err(|problem| raise(problem.message))
    }

    /// `value` with everything the detectors find masked; the same object if they find nothing.
    fn mask<'py>(&self, py: Python<'py>, value: &Bound<'py, PyBytes>) -> Bound<'py, PyBytes> {
        let bytes = value.as_bytes();
        match py.detach(|| self.0.mask_bytes(bytes)) {
            Cow::Borrowed(_) => value.clone(),
            Cow::Owned(masked) => PyBytes::new(py, &masked),
        }
    }

    /// Rows of cells (bytes or None) under columns of these names, each `column`, `table.column` or
    /// `schema.table.column`.
    fn mask_rows(
        &self,
        py: Python<'_>,
        rows: Vec<Vec<Option<Vec<u8>>>>,
        columns: Vec<String>,
    ) -> Vec<Vec<Option<Py<PyBytes>>>> {
        let names: Vec<&str> = columns.iter().map(String::as_str).collect();
        let masked = py.detach(|| {
            let columns = self.0.columns(&names);
            let mut rows: Vec<Vec<Option<Cow<'_, [u8]>>>> =
                rows.into_iter().map(|row| row.into_iter().map(|cell| cell.map(Cow::Owned)).collect()).collect();
            self.0.mask_rows(&columns, &mut rows);
            rows
        });
        let cell = |cell: Option<Cow<'_, [u8]>>| cell.map(|cell| PyBytes::new(py, &cell).unbind());
        masked.into_iter().map(|row| row.into_iter().map(cell).collect()).collect()
    }

    /// What the detectors find: start, end (bytes) and detector of each.
    fn scan(&self, py: Python<'_>, value: &[u8]) -> Vec<(usize, usize, &'static str)> {
        py.detach(|| {
            let mut spans = Vec::new();
            self.0.scan(value, &mut spans);
            spans.iter().map(|span| (span.start, span.end, self.0.detector(span))).collect()
        })
    }
}
