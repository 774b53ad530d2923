//! One worker.
