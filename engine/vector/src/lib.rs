//! Searches with the processor's vector instructions, where it has them.
//!
//! The `inspect` crate holds no unsafe code; what it needs of the kind is here: one call into a function that is
//! compiled for AVX2, made after the processor was asked.
#![deny(unsafe_code)]

mod gram_set;
mod groups;
mod starts;
mod windows;

pub use gram_set::{folded, GramSet, GRAM, STRIDE};
pub use starts::{Starts, DEPTH};
