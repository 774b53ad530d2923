//! `appliance._engine`: converts, releases the GIL, nothing else. What it offers is stated in `_engine.pyi`.
mod inspector;
mod offline;
mod rules;

use pyo3::prelude::*;

/// A message through its parsers takes and gives back some dozen blocks of memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pyo3::create_exception!(
    _engine,
    PolicyError,
    pyo3::exceptions::PyValueError,
    "An engine policy that cannot be loaded; the live one stays."
);

#[pymodule]
fn _engine(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<rules::SignatureInfo>()?;
    module.add_class::<rules::Remark>()?;
    module.add_function(wrap_pyfunction!(rules::check_rules, module)?)?;
    module.add_class::<rules::Signatures>()?;
    module.add_class::<offline::Rules>()?;
    module.add_class::<inspector::Inspector>()?;
    module.add_class::<inspector::Spool>()?;
    module.add_function(wrap_pyfunction!(inspector::steering, module)?)?;
    module.add("PolicyError", module.py().get_type::<PolicyError>())?;
    Ok(())
}
