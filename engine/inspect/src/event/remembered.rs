//! What detection remembers of a flow, as EVE tells it: `traffic` and `metadata`.
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use super::text::Printable;
use crate::detect::Remembered;

/// Flowbits whose names begin so say what a flow is rather than what a signature found.
const TRAFFIC_ID: &str = "traffic/id/";
const TRAFFIC_LABEL: &str = "traffic/label/";

/// Appends both, each where there is something to tell.
pub(super) fn entries<M: SerializeMap>(
    map: &mut M,
    remembered: &Remembered<'_>,
) -> Result<(), M::Error> {
    if remembered.is_empty() {
        return Ok(());
    }
    let traffic = Traffic {
        id: named(remembered, TRAFFIC_ID),
        label: named(remembered, TRAFFIC_LABEL),
    };
    if !traffic.id.is_empty() || !traffic.label.is_empty() {
        map.serialize_entry("traffic", &traffic)?;
    }
    let bits = remembered.bits.iter().copied();
    let plain = |bit: &&str| !bit.starts_with(TRAFFIC_ID) && !bit.starts_with(TRAFFIC_LABEL);
    let metadata = Metadata {
        flowbits: bits.filter(plain).collect(),
        flowints: Integers(&remembered.integers),
        flowvars: Texts(&remembered.texts),
        pktvars: Texts(&remembered.packet_texts),
    };
    map.serialize_entry("metadata", &metadata)
}

/// What follows `prefix` in the names of flowbits that begin with it.
fn named<'a>(remembered: &Remembered<'a>, prefix: &str) -> Vec<&'a str> {
    let bits = remembered.bits.iter();
    bits.filter_map(|bit| bit.strip_prefix(prefix)).collect()
}

#[derive(Serialize)]
struct Traffic<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    id: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    label: Vec<&'a str>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    flowbits: Vec<&'a str>,
    #[serde(skip_serializing_if = "Integers::is_empty")]
    flowints: Integers<'a>,
    #[serde(skip_serializing_if = "Texts::is_empty")]
    flowvars: Texts<'a>,
    #[serde(skip_serializing_if = "Texts::is_empty")]
    pktvars: Texts<'a>,
}

/// One object, an entry an integer.
struct Integers<'a>(&'a [(&'a str, u32)]);

impl Integers<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Integers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

/// A list, an object a capture: a packet may have several of one name.
struct Texts<'a>(&'a [(&'a str, &'a [u8])]);

impl Texts<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Texts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for (name, text) in self.0 {
            list.serialize_element(&Single(name, text))?;
        }
        list.end()
    }
}

struct Single<'a>(&'a str, &'a [u8]);

impl Serialize for Single<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([(self.0, Printable(self.1))])
    }
}
