//! One call and its results.
use std::any::Any;
use std::sync::Arc;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::record::{kind, kind_name};
use super::Interface;
use crate::app::{AppProto, Description, Head, Purpose};

/// Arguments or results of one call that are kept.
pub const STUB_BYTES: usize = 1 << 20;

/// An interface, and whether a bind's first fragment named it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The interface.
    pub interface: Interface,
    /// The first fragment named it.
    pub first: bool,
}

/// One of DCE/RPC's transactions.
#[derive(Debug)]
pub struct Transaction {
    /// What the engine keeps in it.
    pub head: Head,
    /// What the response has in common with its request.
    pub call: u32,
    /// Over UDP also the activity.
    pub activity: Option<[u8; 16]>,
    /// The request's type.
    pub request: u8,
    /// The response's type.
    pub response: u8,
    /// Presentation context.
    pub context: u16,
    /// Operation.
    pub opnum: u16,
    /// A request was seen, not only a response.
    pub called: bool,
    /// Numbers begin with their least significant byte.
    pub little: bool,
    /// Arguments and results.
    pub stub: [Vec<u8>; 2],
    /// Fragments by direction.
    pub fragments: [u16; 2],
    /// Sides that are over.
    pub done: [bool; 2],
    /// Sides of which something was lost.
    pub lost: [bool; 2],
    /// The interfaces named so far.
    pub interfaces: Arc<Vec<Known>>,
    /// Version 5 over TCP, 4 over UDP; with the minor one.
    pub version: (u8, u8),
}

impl Transaction {
    /// Of which nothing is known but what it is found by.
    pub fn new(call: u32, little: bool, version: (u8, u8)) -> Self {
        Self {
            head: Head::default(),
            call,
            activity: None,
            request: kind::REQUEST,
            response: kind::RESPONSE,
            context: 0,
            opnum: 0,
            called: false,
            little,
            stub: Default::default(),
            fragments: [0; 2],
            done: [false; 2],
            lost: [false; 2],
            interfaces: Arc::default(),
            version,
        }
    }

    /// Adds arguments or results, within the bound.
    pub fn extend(&mut self, side: usize, bytes: &[u8]) {
        let stub = &mut self.stub[side];
        let room = STUB_BYTES.saturating_sub(stub.len());
        stub.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.fragments[side] = self.fragments[side].saturating_add(1);
    }
}

impl crate::app::Transaction for Transaction {
    fn head(&self) -> &Head {
        &self.head
    }

    fn head_mut(&mut self) -> &mut Head {
        &mut self.head
    }

    fn app(&self) -> AppProto {
        AppProto::Dcerpc
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn is_little(&self) -> bool {
        self.little
    }

    fn is_tellable(&self) -> bool {
        self.done == [true; 2]
    }

    fn describe(&self, _: Purpose) -> Option<Description<'_>> {
        Some(("dcerpc", Box::new(Record(self))))
    }

    fn heap_bytes(&self) -> usize {
        self.stub.iter().map(Vec::capacity).sum()
    }
}

/// EVE's `dcerpc`.
struct Record<'a>(&'a Transaction);

impl Serialize for Record<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let tx = self.0;
        let mut map = serializer.serialize_map(None)?;
        let request = match tx.lost[0] || !tx.done[0] {
            true => "REQUEST_LOST".into(),
            false => kind_name(tx.request),
        };
        map.serialize_entry("request", &request)?;
        if tx.done[0] {
            match tx.request {
                kind::REQUEST => {
                    map.serialize_entry("req", &Call(tx))?;
                }
                kind::BIND if !tx.interfaces.is_empty() => {
                    let all: Vec<_> = tx.interfaces.iter().map(Named).collect();
                    map.serialize_entry("interfaces", &all)?;
                }
                _ => {}
            }
        }
        let response = match tx.lost[1] || !tx.done[1] {
            true => "UNREPLIED".into(),
            false => kind_name(tx.response),
        };
        map.serialize_entry("response", &response)?;
        if tx.done[1] && tx.response == kind::RESPONSE {
            map.serialize_entry("res", &Results(tx))?;
        }
        match &tx.activity {
            None => map.serialize_entry("call_id", &tx.call)?,
            Some(activity) => {
                map.serialize_entry("activityuuid", &super::uuid_text(activity))?;
                map.serialize_entry("seqnum", &tx.call)?;
            }
        }
        let (major, minor) = tx.version;
        map.serialize_entry("rpc_version", &format!("{major}.{minor}"))?;
        map.end()
    }
}

struct Call<'a>(&'a Transaction);

impl Serialize for Call<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let tx = self.0;
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("opnum", &tx.opnum)?;
        map.serialize_entry("frag_cnt", &tx.fragments[0])?;
        map.serialize_entry("stub_data_size", &tx.stub[0].len())?;
        map.end()
    }
}

struct Results<'a>(&'a Transaction);

impl Serialize for Results<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let tx = self.0;
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("frag_cnt", &tx.fragments[1])?;
        map.serialize_entry("stub_data_size", &tx.stub[1].len())?;
        map.end()
    }
}

struct Named<'a>(&'a Known);

impl Serialize for Named<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let interface = &self.0.interface;
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("uuid", &super::uuid_text(&interface.uuid))?;
        let version = format!("{}.{}", interface.major, interface.minor);
        map.serialize_entry("version", &version)?;
        map.serialize_entry("ack_result", &interface.ack.map_or(0, |(result, _)| result))?;
        map.end()
    }
}
