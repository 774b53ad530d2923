//! Reads signatures: Suricata 7's language.
//!
//! [`check`], [`load`] and [`Reading`] read whole files: `lexer` cuts them into rules, `header` reads what stands before
//! the parentheses, `keyword` what stands between them into a `draft`, and `validate` turns a draft into a
//! [`Signature`] or says what contradicts. Whatever is not evaluated is refused by name.
mod address;
mod attachment;
pub(crate) mod buffer;
mod condition;
pub(crate) mod content;
pub(crate) mod dataset;
mod draft;
pub(crate) mod expression;
mod file;
pub(crate) mod group;
mod header;
mod keyword;
mod lexer;
mod number;
pub(crate) mod packet_buffer;
pub(crate) mod pcre;
mod port;
mod reading;
mod reason;
mod rule_set;
pub(crate) mod shared;
mod signature;
#[cfg(test)]
mod tests;
pub(crate) mod threshold;
mod threshold_config;
mod transform;
mod validate;
mod variables;

pub use address::AddressRange;
pub use attachment::Attachments;
pub(crate) use condition::{Operand, TxTest};
pub(crate) use keyword::may_fit_empty_segment;
pub use keyword::supported as supported_keywords;
pub use port::PortRange;
pub use reading::{Loaded, Reading};
pub use reason::{Reason, Refusal, Warning};
pub use rule_set::{read_set, Open};
pub use signature::{Action, FlowStateTest, Protocol, Signature, Target};
pub use variables::Variables;

pub(crate) use signature::{
    Amount, FlowbitChange, Flowint, FlowintStep, HostChange, HostStep, HostTest, Owner,
    PayloadScene, Scene, Tag, TagMetric, TagScope,
};

pub use shared::Pair;
pub(crate) use transform::Transform;
pub(crate) use variables::{EXTERNAL_NET, HOME_NET};

/// Reads rule files (name, text) with the default variables; returns what loads and what is refused and why.
pub fn check(files: &[(String, Vec<u8>)]) -> (Vec<Signature>, Vec<Refusal>) {
    load(files, &Variables::default())
}

/// Reads rule files (name, text) with the given variables; see [`Reading`].
pub fn load(files: &[(String, Vec<u8>)], variables: &Variables) -> (Vec<Signature>, Vec<Refusal>) {
    load_with(files, variables, &())
}

/// The same, with the files that rules name. Files called `threshold.config` are read as such.
pub fn load_with(
    files: &[(String, Vec<u8>)],
    variables: &Variables,
    attachments: &dyn Attachments,
) -> (Vec<Signature>, Vec<Refusal>) {
    let mut reading = Reading::new(variables, attachments);
    for (file, text) in files {
        reading.read(file, &text[..]);
    }
    let loaded = reading.finish();
    (loaded.signatures, loaded.refused)
}
