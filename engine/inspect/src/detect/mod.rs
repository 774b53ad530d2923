//! Evaluates signatures.
//!
//! [`Matcher::compile`] turns signatures into one immutable matcher for all guests and workers. For every
//! packet a worker calls, in this order: [`Scratch::begin`]; [`Matcher::packet`]; [`Matcher::stream`] for the
//! bytes that became readable; [`Matcher::transaction`] for each transaction direction that progressed; and
//! [`Matcher::finish`], which puts the hits in order, lets `pass` silence what comes after it, and applies
//! thresholds. [`Scratch::hits`] are the result.
mod state;
mod threshold;
mod view;

use crate::app::http::transaction::Transaction;
use crate::rule::{Signature, Variables};

pub use state::{FlowState, TxState};
pub use threshold::Thresholds;
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
    /// How far its action reaches.
    pub scope: Scope,
    /// The transaction it was found in.
    pub tx_id: Option<u64>,
    /// Found in the stream rather than in one packet's payload.
    pub in_stream: bool,
}

/// Work space of one worker, reused for every packet.
#[derive(Debug, Default)]
pub struct Scratch {
    hits: Vec<Hit>,
}

impl Scratch {
    /// Forgets the previous packet.
    pub fn begin(&mut self) {
        self.hits.clear();
    }

    /// What was found since [`Scratch::begin`]; in the order of their actions once [`Matcher::finish`] ran.
    pub fn hits(&self) -> &[Hit] {
        &self.hits
    }
}

/// Compiled signatures: immutable, shared by all workers through an `Arc`.
#[derive(Debug)]
pub struct Matcher {
    signatures: Vec<Signature>,
}

impl Matcher {
    /// Compiles `signatures`; they get their index in order of evaluation, see [`Matcher::signatures`].
    ///
    /// `variables` must know every variable that the signatures name: `rule::load` saw to that.
    pub fn compile(signatures: Vec<Signature>, _variables: &Variables) -> Self {
        Self { signatures }
    }

    /// The signatures in order of evaluation; indices in hits and sets point into this slice.
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Evaluates signatures on the packet's header and payload.
    pub fn packet(&self, _context: &Context<'_>, _flow: &mut FlowState, _scratch: &mut Scratch) {}

    /// Evaluates signatures on stream bytes that travel in the packet's direction.
    pub fn stream(
        &self,
        _context: &Context<'_>,
        _flow: &mut FlowState,
        _stream: &StreamView<'_>,
        _scratch: &mut Scratch,
    ) {
    }

    /// Evaluates signatures on that side of an HTTP transaction that the packet's direction fills.
    ///
    /// To be called whenever that side's progress or body grew; a signature fires once a transaction.
    pub fn transaction(
        &self,
        _context: &Context<'_>,
        _flow: &mut FlowState,
        _tx: &mut Transaction,
        _scratch: &mut Scratch,
    ) {
    }

    /// Orders the hits, applies `pass` and thresholds.
    pub fn finish(&self, _context: &Context<'_>, _flow: &mut FlowState, _scratch: &mut Scratch) {}
}
