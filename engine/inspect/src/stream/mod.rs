//! (module stream)
