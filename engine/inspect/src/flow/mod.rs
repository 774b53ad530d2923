//! (module flow)
