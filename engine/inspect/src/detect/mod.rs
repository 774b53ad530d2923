//! Evaluates signatures.
//!
//! [`Matcher::compile`] turns signatures into one immutable matcher for all guests and workers. For every
//! packet a worker calls, in this order: [`Scratch::begin`]; [`Matcher::packet`]; [`Matcher::stream`] for the
//! bytes that became readable; [`Matcher::transaction`] for each transaction direction that progressed; and
//! [`Matcher::finish`], which puts the hits in order, lets `pass` silence what comes after it, and applies
//! thresholds. [`Scratch::hits`] are the result.
//!
//! A prefilter per place (payload by protocol and direction, stream, each buffer) finds the signatures worth
//! evaluating; `chain` verifies their conditions exactly.
pub(crate) mod address;
mod address_index;
mod asn1;
pub(crate) mod bounded;
mod chain;
mod effort;
mod evaluate;
mod growing;
mod headers;
mod hosts;
mod lane;
mod learned;
mod matcher;
mod port_index;
mod prefilter;
mod remembered;
mod scratch;
mod shared;
mod state;
mod tag;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_prefilter;
mod threshold;
mod transaction;
mod view;

use crate::rule::Action;

pub use matcher::Matcher;
pub use remembered::Remembered;
pub use scratch::Scratch;
pub use shared::SharedState;
pub use state::{FlowState, TxState};
pub use view::{
    Context, FlowView, Home, IcmpView, PacketView, Side, SignatureSet, StreamView, TcpView,
};

/// How many perspectives a flow can have: two protected guests.
pub const MAX_SIDES: usize = 2;

/// How far a blocking hit reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// This packet only.
    Packet,
    /// The rest of the flow: the signature looked at its stream, its protocol, or its addresses alone.
    Flow,
}

/// One signature that matched for one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Index into [`Matcher::signatures`].
    pub signature: u32,
    /// Index into [`Context::sides`].
    pub side: u8,
    /// An alert is due; false when `noalert` or a threshold silences it while its action still holds.
    pub alert: bool,
    /// The action that a rate filter put in place of the signature's.
    pub instead: Option<Action>,
    /// How far its action reaches.
    pub scope: Scope,
    /// The transaction it was found in.
    pub tx_id: Option<u64>,
    /// Found in the stream rather than in one packet's payload.
    pub in_stream: bool,
}
