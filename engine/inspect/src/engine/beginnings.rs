//! Whether both directions of a connection began with the same protocol.
use crate::app::{AppProto, Beginning, Detector};
use crate::wire::{PacketEvent, PacketEvents};
use crate::Direction;

/// Protocols that lead to TLS when their peers agree on another one.
const LEAD_TO_TLS: [AppProto; 2] = [AppProto::Smtp, AppProto::Ftp];
/// Protocols that Suricata tells by one direction, or by port.
const ONE_SIDED: [AppProto; 7] = [
    AppProto::Http2,
    AppProto::Imap,
    AppProto::Telnet,
    AppProto::Rdp,
    AppProto::Mqtt,
    AppProto::Nfs,
    AppProto::Krb5,
];

/// What the first bytes of either direction say, from when the protocol is told until both have spoken.
#[derive(Debug)]
pub(super) struct Beginnings {
    proto: AppProto,
    /// By direction; `None`: nothing was heard yet.
    heard: [Option<Beginning>; 2],
    found: PacketEvents,
}

impl Beginnings {
    /// Of a connection that was told to speak `proto`; `left`: what it spoke before.
    pub fn of(proto: AppProto, left: Option<AppProto>) -> Self {
        let mut found = PacketEvents::NONE;
        if left.is_some_and(|left| LEAD_TO_TLS.contains(&left)) && proto != AppProto::Tls {
            found.insert(PacketEvent::ApplayerUnexpectedProtocol);
            found.insert(PacketEvent::ApplayerNoTlsAfterStarttls);
        }
        Self {
            proto,
            heard: [None; 2],
            found,
        }
    }

    /// Takes note of the bytes that `direction` begins with, if it was not heard before.
    pub fn hear(&mut self, detector: &Detector, direction: Direction, bytes: &[u8]) {
        use Beginning::{Nothing, Other, Same};
        let side = direction as usize;
        if bytes.is_empty() || self.heard[side].is_some() {
            return;
        }
        self.heard[side] = Some(detector.compare(self.proto, direction, bytes));
        let [client, server] = self.heard;
        let odd = match (client, server) {
            (Some(Other), Some(_)) | (Some(_), Some(Other)) => {
                PacketEvent::ApplayerMismatchProtocolBothDirections
            }
            (Some(Same), Some(Nothing)) | (Some(Nothing), Some(Same))
                if !ONE_SIDED.contains(&self.proto) =>
            {
                PacketEvent::ApplayerDetectProtocolOnlyOneDirection
            }
            _ => return,
        };
        self.found.insert(odd);
    }

    /// Whether both directions were heard.
    pub fn are_heard(&self) -> bool {
        self.heard.iter().all(Option::is_some)
    }

    /// Which directions' bytes are nothing known, of a protocol that both must be told by.
    pub fn foreign(&self) -> [bool; 2] {
        let both = !ONE_SIDED.contains(&self.proto);
        self.heard
            .map(|heard| both && heard == Some(Beginning::Nothing))
    }

    /// What is odd about them, once.
    pub fn odd(&mut self) -> PacketEvents {
        std::mem::take(&mut self.found)
    }
}
