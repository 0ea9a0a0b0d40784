//! The seam: what Python sees of the data plane. It converts and maps errors, and decides nothing.

mod error;
mod free;
mod gateway;
mod masker;
mod rules;
mod trail;

use pyo3::prelude::*;

/// The data plane of Penstock.
#[pymodule(gil_used = false)]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("NativeError", module.py().get_type::<error::NativeError>())?;
    module.add_class::<gateway::Gateway>()?;
    module.add_class::<masker::Masker>()?;
    module.add_class::<trail::Records>()?;
    module.add_function(wrap_pyfunction!(rules::check_rules, module)?)?;
    module.add_function(wrap_pyfunction!(rules::check_expression, module)?)?;
    module.add_function(wrap_pyfunction!(rules::evaluate_claims, module)?)?;
    module.add_function(wrap_pyfunction!(rules::explain, module)?)?;
    module.add_function(wrap_pyfunction!(rules::facts, module)?)?;
    module.add_function(wrap_pyfunction!(trail::read_trail, module)?)?;
    Ok(())
}
