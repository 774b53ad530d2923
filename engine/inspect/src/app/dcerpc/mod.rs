//! DCE/RPC: over TCP, over UDP, and inside SMB's named pipes.
pub mod record;

pub use record::Interface;
