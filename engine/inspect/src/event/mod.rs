//! (module event)
