//! The running inspector.
