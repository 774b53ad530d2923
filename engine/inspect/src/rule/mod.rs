//! Reads signatures: Suricata 7's language.
//!
//! [`check`] and [`load`] read whole files: `lexer` cuts them into rules, `header` reads what stands before
//! the parentheses, `keyword` what stands between them into a `draft`, and `validate` turns a draft into a
//! [`Signature`] or says what contradicts. Whatever is not evaluated is refused by name.
mod address;
mod attachment;
pub(crate) mod buffer;
mod condition;
pub(crate) mod content;
pub(crate) mod dataset;
mod draft;
mod file;
pub(crate) mod group;
mod header;
mod keyword;
mod lexer;
mod number;
pub(crate) mod packet_buffer;
pub(crate) mod pcre;
mod port;
mod reason;
mod signature;
#[cfg(test)]
mod tests;
pub(crate) mod threshold;
mod threshold_config;
mod transform;
mod validate;
mod variables;

use std::collections::hash_map::{Entry, HashMap};

pub use address::AddressRange;
pub use attachment::{wanted as wanted_attachments, Attachments};
pub(crate) use condition::TxTest;
pub use keyword::supported as supported_keywords;
pub use port::PortRange;
pub use reason::{Reason, Refusal};
pub use signature::{Action, FlowStateTest, Protocol, Signature, Target};
pub use threshold_config::is_threshold_config;
pub use variables::Variables;

use dataset::Datasets;
pub(crate) use signature::{
    Amount, FlowbitChange, Flowint, FlowintStep, HostChange, HostStep, HostTest, Owner,
    PayloadScene, Scene, Tag, TagMetric, TagScope,
};

pub(crate) use transform::Transform;
pub(crate) use variables::{EXTERNAL_NET, HOME_NET};

/// Reads rule files (name, text) with the default variables; returns what loads and what is refused and why.
pub fn check(files: &[(String, Vec<u8>)]) -> (Vec<Signature>, Vec<Refusal>) {
    load(files, &Variables::default())
}

/// Reads rule files with the given variables.
///
/// Of signatures with the same gid and sid the latest rev is loaded; the others are refused.
pub fn load(files: &[(String, Vec<u8>)], variables: &Variables) -> (Vec<Signature>, Vec<Refusal>) {
    load_with(files, variables, &Attachments::default())
}

/// The same, with the files that rules name. Files called `threshold.config` are read as such.
pub fn load_with(
    files: &[(String, Vec<u8>)],
    variables: &Variables,
    attachments: &Attachments,
) -> (Vec<Signature>, Vec<Refusal>) {
    load_configured(files, &[], variables, attachments)
}

/// The same, with files that are read as `threshold.config` whatever they are called.
pub fn load_configured(
    files: &[(String, Vec<u8>)],
    configs: &[(String, Vec<u8>)],
    variables: &Variables,
    attachments: &Attachments,
) -> (Vec<Signature>, Vec<Refusal>) {
    let named = files.iter().filter(|(file, _)| is_threshold_config(file));
    let (mut loaded, mut refused) = load_rules(files, variables, attachments);
    for (file, text) in named.chain(configs) {
        let not = threshold_config::apply(file, text, variables, &mut loaded);
        refused.extend(not);
    }
    (loaded, refused)
}

fn load_rules(
    files: &[(String, Vec<u8>)],
    variables: &Variables,
    attachments: &Attachments,
) -> (Vec<Signature>, Vec<Refusal>) {
    let mut loaded: Vec<Signature> = Vec::new();
    let mut refused = Vec::new();
    let mut by_sid: HashMap<(u32, u32), usize> = HashMap::new();
    let datasets = Datasets::default();
    let rules = files.iter().filter(|(file, _)| !is_threshold_config(file));
    for (file, text) in rules {
        for statement in lexer::statements(text) {
            let refuse = |sid, reason| Refusal {
                file: file.clone(),
                line: statement.line,
                sid,
                reason,
            };
            let signature = match read(file, &statement, variables, attachments, &datasets) {
                Ok(signature) => signature,
                Err((sid, reason)) => {
                    refused.push(refuse(sid, reason));
                    continue;
                }
            };
            match by_sid.entry((signature.gid, signature.sid)) {
                Entry::Vacant(free) => {
                    free.insert(loaded.len());
                    loaded.push(signature);
                }
                Entry::Occupied(known) => {
                    let known = &mut loaded[*known.get()];
                    refused.push(keep_newer(known, signature));
                }
            }
        }
    }
    (loaded, refused)
}

/// Keeps the newer of two signatures with one sid in `known`; returns the refusal of the other.
fn keep_newer(known: &mut Signature, next: Signature) -> Refusal {
    let (reason, other) = if next.rev > known.rev {
        let rev = next.rev;
        (Reason::Superseded { rev }, std::mem::replace(known, next))
    } else {
        (
            Reason::Duplicate {
                file: known.file.clone(),
                line: known.line,
            },
            next,
        )
    };
    Refusal {
        file: other.file,
        line: other.line,
        sid: Some(other.sid),
        reason,
    }
}

/// One rule as a signature; or its sid, where that could be read, and what is wrong.
fn read(
    file: &str,
    statement: &lexer::Statement,
    variables: &Variables,
    attachments: &Attachments,
    datasets: &Datasets,
) -> Result<Signature, (Option<u32>, Reason)> {
    if statement.text.len() > lexer::MAX_RULE_BYTES {
        return Err((None, Reason::TooLong));
    }
    let outcome = header::parse(&statement.text).and_then(|parts| {
        variables.check_addresses(&parts.header.src)?;
        variables.check_addresses(&parts.header.dst)?;
        variables.check_ports(&parts.header.src_ports)?;
        variables.check_ports(&parts.header.dst_ports)?;
        let options = lexer::options(parts.options)?;
        let mut draft = draft::Draft::new(parts.action, parts.protocol, parts.header);
        draft.file = file.into();
        draft.attachments = attachments.clone();
        draft.datasets = datasets.clone();
        options
            .iter()
            .try_for_each(|option| keyword::apply(&mut draft, option))?;
        validate::finish(draft, file, statement.line, variables)
    });
    outcome.map_err(|reason| (find_sid(&statement.text), reason))
}

/// The sid of a rule that may not be readable otherwise.
fn find_sid(text: &[u8]) -> Option<u32> {
    let open = text.iter().position(|byte| *byte == b'(')?;
    text[open + 1..]
        .split(|byte| *byte == b';')
        .find_map(|option| {
            let (name, value) = number::split_once(option, b":")?;
            let sid = (lexer::trim(name) == b"sid")
                .then(|| number::number(value))
                .flatten()?;
            u32::try_from(sid).ok()
        })
}
