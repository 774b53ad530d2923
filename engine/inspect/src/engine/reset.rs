//! Tells the ends of a blocked conversation, so that neither waits for what will not come.
use std::net::SocketAddr;

use crate::wire::{reset_to, unreachable_to, Ethernet, Frame, Packet, Reset, Unreachable};
use crate::Direction;

use super::conversation::{Conversation, Sender};
use super::judge::Judgement;
use super::{Counters, Desk};

/// Stands for an end that has not sent anything yet: locally administered, so nobody's.
const UNSEEN_MAC: [u8; 6] = [0x02, 0x53, 0x4b, 0x00, 0x00, 0x01];

/// The sequence numbers at which both ends stand, as they were before the blocked packet.
#[derive(Clone, Copy, Debug)]
pub struct Stand {
    /// What the packet's receiver expects next from its sender.
    pub receiver_expects: u32,
    /// What the packet's sender expects next from its receiver.
    pub sender_expects: Option<u32>,
}

impl Desk {
    /// Frames for the ends of a flow of which `packet` was blocked.
    ///
    /// TCP is reset at both ends unless the guests whose signatures blocked want silence; a `reject` is always
    /// told, and is the only thing that other protocols are told.
    pub(super) fn tell(
        &mut self,
        conversation: &Conversation,
        direction: Direction,
        packet: &Packet<'_>,
        stand: Option<Stand>,
        judgement: &Judgement,
    ) -> Vec<(u32, Vec<u8>)> {
        let asked = judgement.tell;
        let reset = stand.is_some() && judgement.reset;
        let source = asked.source || reset;
        let destination = asked.destination || reset;
        let sender = conversation.senders[direction as usize];
        let receiver = conversation.senders[direction.reverse() as usize];
        let mut frames = Vec::new();
        if destination {
            let built = match stand {
                Some(stand) => reset_receiver(packet, sender, receiver, stand),
                None => None,
            };
            push(&mut frames, &mut self.counters, receiver, built);
        }
        if source {
            let built = match stand {
                Some(stand) => reset_sender(packet, sender, receiver, stand),
                None => frame_between(receiver, sender)
                    .and_then(|frame| unreachable_to(&frame, packet, Unreachable::Port)),
            };
            push(&mut frames, &mut self.counters, sender, built);
        }
        frames
    }
}

fn push(
    frames: &mut Vec<(u32, Vec<u8>)>,
    counters: &mut Counters,
    to: Sender,
    built: Option<Vec<u8>>,
) {
    match built {
        Some(frame) if to.port != 0 => {
            counters.told += 1;
            frames.push((to.port, frame));
        }
        _ => counters.untold += 1,
    }
}

fn frame_between(from: Sender, to: Sender) -> Option<Frame> {
    let ethernet = Ethernet {
        source: from.mac.unwrap_or(UNSEEN_MAC),
        destination: to.mac?,
    };
    Some(Frame {
        ethernet: Some(ethernet),
        ..Frame::default()
    })
}

fn ends(packet: &Packet<'_>) -> Option<(SocketAddr, SocketAddr)> {
    let (source, destination) = packet.addresses()?;
    let ports = packet.ports()?;
    Some((
        SocketAddr::new(source, ports.0),
        SocketAddr::new(destination, ports.1),
    ))
}

fn reset_receiver(
    packet: &Packet<'_>,
    sender: Sender,
    receiver: Sender,
    stand: Stand,
) -> Option<Vec<u8>> {
    let (source, destination) = ends(packet)?;
    reset_to(&Reset {
        frame: frame_between(sender, receiver)?,
        source,
        destination,
        seq: stand.receiver_expects,
        ack: stand.sender_expects,
    })
}

fn reset_sender(
    packet: &Packet<'_>,
    sender: Sender,
    receiver: Sender,
    stand: Stand,
) -> Option<Vec<u8>> {
    let (source, destination) = ends(packet)?;
    reset_to(&Reset {
        frame: frame_between(receiver, sender)?,
        source: destination,
        destination: source,
        seq: stand.sender_expects?,
        ack: Some(stand.receiver_expects),
    })
}
