//! How far flows have come, when they end for being idle, and in which order they are given up.

use super::Flow;
use crate::wire::proto;

/// How far a flow has come; decides its timeout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum FlowPhase {
    /// Packets in one direction only (TCP: no handshake yet).
    #[default]
    New,
    /// TCP only: the opening was answered. That this was acknowledged need not be shown (the caller says so).
    Answered,
    /// Packets in both directions (TCP: the caller says so, see [`FlowTable::set_phase`]).
    Established,
    /// TCP only: one end has said all it had to say.
    Closing,
    /// TCP only: finished or reset.
    Closed,
}

/// Idle timeouts in seconds; the defaults are Suricata's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowTimeouts {
    /// TCP before its handshake is complete.
    pub tcp_new_s: u32,
    /// TCP whose opening was answered, before more was seen.
    pub tcp_answered_s: u32,
    /// TCP after its handshake.
    pub tcp_established_s: u32,
    /// TCP after one end's FIN.
    pub tcp_closing_s: u32,
    /// TCP after FINs or a reset.
    pub tcp_closed_s: u32,
    /// UDP seen in one direction.
    pub udp_new_s: u32,
    /// UDP seen in both directions.
    pub udp_established_s: u32,
    /// ICMP seen in one direction.
    pub icmp_new_s: u32,
    /// ICMP seen in both directions.
    pub icmp_established_s: u32,
    /// Other protocols, one direction.
    pub other_new_s: u32,
    /// Other protocols, both directions.
    pub other_established_s: u32,
}

impl Default for FlowTimeouts {
    fn default() -> Self {
        Self {
            tcp_new_s: 60,
            tcp_answered_s: 60,
            tcp_established_s: 600,
            tcp_closing_s: 600,
            tcp_closed_s: 60,
            udp_new_s: 30,
            udp_established_s: 300,
            icmp_new_s: 30,
            icmp_established_s: 300,
            other_new_s: 30,
            other_established_s: 300,
        }
    }
}

impl FlowTimeouts {
    /// Between guests: TCP as long as Linux' conntrack keeps it (five days), for whoever says nothing for a while
    /// (a pool's connection to a database) would otherwise be found midstream. A handshake's last segment stays in
    /// the kernel, so a connection that nobody has used yet, an hour. Room is made for others where it is needed.
    pub fn live() -> Self {
        Self {
            tcp_answered_s: 3600,
            tcp_established_s: 5 * 24 * 3600,
            ..Self::default()
        }
    }

    pub(super) fn of_class(&self, class: usize) -> u32 {
        match class {
            TCP_CLOSED => self.tcp_closed_s,
            TCP_NEW => self.tcp_new_s,
            UDP_NEW => self.udp_new_s,
            ICMP_NEW => self.icmp_new_s,
            OTHER_NEW => self.other_new_s,
            TCP_ANSWERED => self.tcp_answered_s,
            TCP_CLOSING => self.tcp_closing_s,
            TCP_ESTABLISHED => self.tcp_established_s,
            UDP_ESTABLISHED => self.udp_established_s,
            ICMP_ESTABLISHED => self.icmp_established_s,
            _ => self.other_established_s,
        }
    }
}

/// The timeout classes; of conversations, in the order in which they are given up when room is needed.
pub(super) const CLASSES: usize = 11;
const TCP_CLOSED: usize = 0;
const TCP_NEW: usize = 1;
const UDP_NEW: usize = 2;
const ICMP_NEW: usize = 3;
const OTHER_NEW: usize = 4;
const TCP_ANSWERED: usize = 5;
const TCP_CLOSING: usize = 6;
pub(super) const TCP_ESTABLISHED: usize = 7;
const UDP_ESTABLISHED: usize = 8;
const ICMP_ESTABLISHED: usize = 9;
const OTHER_ESTABLISHED: usize = 10;

/// What the flows of a class are worth to whoever holds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing any more.
    Over,
    /// Nobody knows yet whether they become conversations.
    Opening,
    /// They will be over soon.
    Closing,
    /// What must not be lost sight of.
    Conversation,
}

pub(super) const KINDS: usize = 4;

impl Kind {
    pub fn of(class: usize) -> Self {
        match class {
            TCP_CLOSED => Self::Over,
            TCP_NEW..=TCP_ANSWERED => Self::Opening,
            TCP_CLOSING => Self::Closing,
            _ => Self::Conversation,
        }
    }

    pub fn classes(self) -> std::ops::RangeInclusive<usize> {
        match self {
            Self::Over => TCP_CLOSED..=TCP_CLOSED,
            Self::Opening => TCP_NEW..=TCP_ANSWERED,
            Self::Closing => TCP_CLOSING..=TCP_CLOSING,
            Self::Conversation => TCP_ESTABLISHED..=OTHER_ESTABLISHED,
        }
    }
}

pub(super) fn class_of<T>(flow: &Flow<T>) -> u8 {
    let new = flow.phase == FlowPhase::New;
    let class = match flow.key.protocol {
        proto::TCP if flow.phase == FlowPhase::Closed => TCP_CLOSED,
        proto::TCP if new => TCP_NEW,
        proto::TCP if flow.phase == FlowPhase::Answered => TCP_ANSWERED,
        proto::TCP if flow.phase == FlowPhase::Closing => TCP_CLOSING,
        proto::TCP => TCP_ESTABLISHED,
        proto::UDP if new => UDP_NEW,
        proto::UDP => UDP_ESTABLISHED,
        proto::ICMP | proto::ICMPV6 if new => ICMP_NEW,
        proto::ICMP | proto::ICMPV6 => ICMP_ESTABLISHED,
        _ if new => OTHER_NEW,
        _ => OTHER_ESTABLISHED,
    };
    class as u8
}
