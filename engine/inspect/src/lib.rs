//! The inspection engine: packets in, events and verdicts out.
//!
//! Pure by construction: no I/O, no clock (time arrives as `now_ns`), no unsafe code. The modules follow one
//! packet's way: [`wire`] decodes it, [`flow`] finds its conversation, [`stream`] puts TCP bytes in order,
//! [`app`] parses the protocol, [`detect`] evaluates the signatures that [`rule`] read, [`event`] says what
//! was found. [`Direction`] is shared by all of them.
#![forbid(unsafe_code)]

pub mod app;
pub mod canary;
pub mod detect;
pub mod engine;
pub mod event;
pub mod flow;
pub mod policy;
pub mod replay;
pub mod rule;
pub mod stream;
pub mod wire;

mod direction;
mod pieces;
mod room;
pub use direction::Direction;
