//! `appliance._engine`: converts, releases the GIL, nothing else. What it offers is stated in `_engine.pyi`.
mod offline;
mod rules;

use pyo3::prelude::*;

#[pymodule]
fn _engine(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<rules::SignatureInfo>()?;
    module.add_class::<rules::Refusal>()?;
    module.add_function(wrap_pyfunction!(rules::check_rules, module)?)?;
    module.add_function(wrap_pyfunction!(offline::replay, module)?)?;
    Ok(())
}
