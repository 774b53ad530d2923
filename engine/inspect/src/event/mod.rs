//! Events as Suricata's EVE JSON: one object a line, Suricata's names, what is ours under `sekisho`.
//!
//! An [`Event`] borrows everything; [`write_line`] appends it to a reused buffer.
mod classification;
mod file;
mod header;
mod protocol;
mod record;
mod remembered;
mod serialise;
pub(crate) mod text;
mod time;

pub use classification::{category, default_priority};
pub use file::FileInfo;
pub use record::{
    write_line, Action, Alert, Anomaly, AnomalyKind, AppOthers, Drop, Endpoints, Event, FlowEnd,
    FlowSummary, FlowTotals, Http, Kind, Outer, Payload, Sekisho, TcpEnd,
};
pub(crate) use text::{AsText, Text};
pub use time::append_timestamp;
pub(crate) use time::iso_seconds;
