//! What the engine is told to run: the engine policy document, compiled whole or refused whole.
//!
//! One matcher is shared by all guests; a guest's assignment is a set of signature indices over it.
mod document;
mod needs;
mod shield;

use std::collections::HashMap;
use std::fmt;
use std::io;

use crate::detect::{Matcher, SignatureSet};
use crate::rule::{self, Open, Refusal, Signature, Variables};

pub use document::{Document, Failure, GuestDocument, Mode, OnDrop, OpenOrClosed, PortDocument};
pub use needs::{Exported, Needs, Role, Sought};
pub use shield::Shield;

/// A compiled policy; immutable, swapped whole.
#[derive(Debug)]
pub struct Policy {
    /// The manager's version.
    pub version: u64,
    /// The appliance's own count of loads; a flow that saw another one is armed anew.
    pub generation: u32,
    /// All signatures of all rule sets.
    pub matcher: Matcher,
    shields: Vec<Shield>,
    needs: Vec<Needs>,
    ports: HashMap<u32, Port>,
    /// Rules that did not load; the policy runs without them and says so.
    pub refused: Vec<Refusal>,
}

/// A bridge port and the guest that ends there.
#[derive(Debug)]
pub struct Port {
    /// Its interface's name.
    pub tap: String,
    /// Index into the policy's shields.
    pub shield: u32,
}

/// Why a policy document cannot run.
#[derive(Debug)]
pub enum PolicyError {
    /// Not JSON of the expected form.
    Form(serde_json::Error),
    /// A format this engine does not know.
    Format(u32),
    /// A variable's value cannot be read.
    Variable {
        /// Its name.
        name: String,
        /// Why.
        reason: rule::Reason,
    },
    /// A rule set, guest or segment is named that the document does not define.
    Unknown {
        /// What kind of thing.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A rule file that is listed cannot be opened.
    Unreadable {
        /// Its path.
        path: String,
        /// Why.
        error: io::Error,
    },
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form(error) => write!(f, "the policy document is malformed: {error}"),
            Self::Format(format) => write!(
                f,
                "the policy document has format {format}, this engine reads format {}",
                document::FORMAT
            ),
            Self::Variable { name, reason } => write!(f, "variable {name}: {reason}"),
            Self::Unknown { kind, name } => {
                write!(
                    f,
                    "the policy document names the {kind} {name:?} but does not define it"
                )
            }
            Self::Unreadable { path, error } => write!(f, "{path}: {error}"),
        }
    }
}

impl std::error::Error for PolicyError {}

/// A rule file's path as the document names it, and its text.
pub type RuleFile = (String, Vec<u8>);

impl Policy {
    /// Compiles `document` with the rule files it lists, which are in memory.
    pub fn compile(document: &Document, files: &[RuleFile]) -> Result<Self, PolicyError> {
        Self::compile_from(document, &|path| {
            let file = files.iter().find(|(name, _)| name == path);
            let (_, text) = file.ok_or(io::ErrorKind::NotFound)?;
            Ok(Box::new(&text[..]))
        })
    }

    /// Compiles `document` with the rule files it lists, one read after the other, and the files that those name.
    pub fn compile_from(document: &Document, open: Open<'_>) -> Result<Self, PolicyError> {
        let variables = document.variables()?;
        let (signatures, refused) = read(document, &variables, open)?;
        let matcher = Matcher::compile(signatures, &variables);
        let shields = shields(document, matcher.signatures())?;
        let needs = sought_by(&shields, matcher.signatures(), &variables);
        let ports = document
            .ports
            .iter()
            .map(|port| {
                let shield = document
                    .guests
                    .iter()
                    .position(|guest| guest.name == port.guest);
                let shield = shield.ok_or_else(|| PolicyError::Unknown {
                    kind: "guest",
                    name: port.guest.clone(),
                })?;
                let tap = port.tap.clone();
                Ok((
                    port.ifindex,
                    Port {
                        tap,
                        shield: shield as u32,
                    },
                ))
            })
            .collect::<Result<_, PolicyError>>()?;
        Ok(Self {
            version: document.version,
            generation: document.generation,
            matcher,
            shields,
            needs,
            ports,
            refused,
        })
    }

    /// Offline: one nameless guest with every signature, home from the variables' address lists.
    pub fn offline(signatures: Vec<Signature>, variables: &Variables) -> Self {
        Self {
            version: 0,
            generation: 0,
            matcher: Matcher::compile(signatures, variables),
            shields: vec![Shield::offline()],
            needs: Vec::new(),
            ports: HashMap::new(),
            refused: Vec::new(),
        }
    }

    /// No guests, no signatures: what runs before a policy is loaded.
    pub fn empty(variables: &Variables) -> Self {
        Self {
            shields: Vec::new(),
            ..Self::offline(Vec::new(), variables)
        }
    }

    /// The guests, in the document's order.
    pub fn shields(&self) -> &[Shield] {
        &self.shields
    }

    /// What must be looked at for the guest of that shield; `None` offline, where everything is.
    pub fn needs(&self, shield: u32) -> Option<&Needs> {
        self.needs.get(shield as usize)
    }

    /// What each guest of `document` needs looked at, by name, without compiling anything.
    pub fn steering(
        document: &Document,
        open: Open<'_>,
    ) -> Result<Vec<(String, Needs)>, PolicyError> {
        let variables = document.variables()?;
        let (signatures, _) = read(document, &variables, open)?;
        let shields = shields(document, &signatures)?;
        let needs = sought_by(&shields, &signatures, &variables);
        let names = shields.into_iter().map(|shield| shield.guest);
        Ok(names.zip(needs).collect())
    }

    /// The ports of guests, each with the guest's shield, in the order of their interface indices.
    pub fn guarded_ports(&self) -> Vec<(u32, &Shield)> {
        let shield = |port: &Port| self.shields.get(port.shield as usize);
        let ports = self.ports.iter();
        let mut ports: Vec<_> = ports
            .filter_map(|(index, port)| Some((*index, shield(port)?)))
            .collect();
        ports.sort_by_key(|(index, _)| *index);
        ports
    }

    /// Who pays for what a packet takes: the guest that sent it, or the one it is for where no guest did.
    pub fn payer(&self, in_port: u32, out_port: u32) -> Payer {
        match self.port(in_port) {
            Some(_) => in_port,
            None => out_port,
        }
    }

    /// The port with that interface index, if a guest ends there.
    pub fn port(&self, ifindex: u32) -> Option<&Port> {
        self.ports.get(&ifindex)
    }
}

/// Whom something is charged to: the interface index of a port.
pub type Payer = u32;

/// Reads the document's rule sets.
fn read(
    document: &Document,
    variables: &Variables,
    open: Open<'_>,
) -> Result<(Vec<Signature>, Vec<Refusal>), PolicyError> {
    let mut signatures = Vec::new();
    let mut refused = Vec::new();
    for rule_set in &document.rule_sets {
        let files = rule_set.files.iter().map(String::as_str);
        let loaded = rule::read_set(files, variables, open)
            .map_err(|(path, error)| PolicyError::Unreadable { path, error })?;
        signatures.extend(loaded.signatures);
        refused.extend(loaded.refused);
    }
    Ok((signatures, refused))
}

fn shields(document: &Document, signatures: &[Signature]) -> Result<Vec<Shield>, PolicyError> {
    let sets = members(document, signatures);
    let guests = document.guests.iter();
    guests
        .map(|guest| Shield::build(guest, document, signatures, &sets))
        .collect()
}

/// What each shield's signatures look at; one signature's part is worked out once for all of them.
fn sought_by(shields: &[Shield], signatures: &[Signature], variables: &Variables) -> Vec<Needs> {
    let mut needs: Vec<Needs> = shields.iter().map(|_| Needs::default()).collect();
    for (index, signature) in (0u32..).zip(signatures) {
        let mut holders = shields.iter().zip(&mut needs);
        let mut holders = holders
            .by_ref()
            .filter(|(it, _)| it.assigned.contains(index));
        let Some((_, first)) = holders.next() else {
            continue;
        };
        let sought = Sought::by(signature, variables);
        first.add(&sought);
        holders.for_each(|(_, other)| other.add(&sought));
    }
    needs.iter_mut().for_each(Needs::settle);
    needs
}

/// For each rule set of the document, which signatures came from it.
fn members(document: &Document, signatures: &[Signature]) -> HashMap<String, SignatureSet> {
    let owner: HashMap<&str, &str> = document
        .rule_sets
        .iter()
        .flat_map(|set| {
            set.files
                .iter()
                .map(|file| (file.as_str(), set.name.as_str()))
        })
        .collect();
    let mut sets: HashMap<String, SignatureSet> = document
        .rule_sets
        .iter()
        .map(|set| (set.name.clone(), SignatureSet::default()))
        .collect();
    for (index, signature) in signatures.iter().enumerate() {
        let set = owner
            .get(&*signature.file)
            .and_then(|name| sets.get_mut(*name));
        if let Some(set) = set {
            set.insert(index as u32);
        }
    }
    sets
}
