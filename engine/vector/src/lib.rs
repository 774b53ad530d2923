//! Searches with the processor's vector instructions, where it has them.
//!
//! The `inspect` crate holds no unsafe code; what it needs of the kind is here: calls into functions that are compiled
//! for AVX2 and for AVX-512, made after the processor was asked, and their loads.
#![deny(unsafe_code)]

mod gram_set;
mod groups;
mod starts;
mod windows;

pub use gram_set::{folded, GramSet, GRAM, STRIDE};
pub use starts::{Starts, DEPTH};
