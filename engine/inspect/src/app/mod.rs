//! Application protocols: which one a flow speaks, and what its messages say.
pub mod detect;
pub mod http;

pub use detect::{AppProto, Detection, Detector};
