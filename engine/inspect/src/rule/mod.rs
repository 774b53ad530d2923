//! (module rule)
