//! The state of one TCP connection, as Suricata follows it: which packets belong to it, and what is odd about them.
//!
//! A packet that does not belong (a reset or an acknowledgment that no end would believe, data outside the window)
//! changes nothing and brings nothing to the stream. States are named after the server's: a FIN of the client leads
//! to `CloseWait`, one of the server to `FinWait1`.
//!
//! | in | on | goes to |
//! |---|---|---|
//! | None | SYN | SynSent |
//! | SynSent | SYN/ACK that answers it | SynRecv |
//! | SynRecv | ACK that answers the SYN/ACK | Established |
//! | Established | the client's FIN, the server's FIN | CloseWait, FinWait1 |
//! | CloseWait | the server's FIN | LastAck |
//! | FinWait1 | ACK of it, FIN with ACK, FIN without | FinWait2, TimeWait, Closing |
//! | FinWait2 | FIN | TimeWait |
//! | LastAck, Closing, TimeWait | ACK in its place | Closed, TimeWait, Closed |
//! | any | RST that the receiver would believe | Closed |
//!
//! Sequence numbers are compared modulo 2³² (RFC 9293, 3.4).

mod closing;
mod established;
mod opening;
mod side;
#[cfg(test)]
mod tests;

use super::{Mode, OsPolicy, StreamConfig};

use crate::wire::{flags, PacketEvent, PacketEvents, Tcp, TcpOptions};
use crate::Direction;

use side::{after, Side};

/// How far a connection has come (RFC 9293, 3.3.2, seen from the server).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Nothing that could be followed was seen.
    #[default]
    None,
    /// A SYN was seen.
    SynSent,
    /// Its answer was seen.
    SynRecv,
    /// The handshake is complete, or was not seen and is not asked for.
    Established,
    /// The server has sent its FIN.
    FinWait1,
    /// That was acknowledged.
    FinWait2,
    /// Both ends have sent their FIN, the client last.
    TimeWait,
    /// Both ends have sent their FIN, the server last.
    LastAck,
    /// The client has sent its FIN.
    CloseWait,
    /// Both ends have sent their FIN at once.
    Closing,
    /// Finished or reset.
    Closed,
}

impl State {
    /// What EVE calls it; empty: left out.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::SynSent => "syn_sent",
            Self::SynRecv => "syn_recv",
            Self::Established => "established",
            Self::FinWait1 => "fin_wait1",
            Self::FinWait2 => "fin_wait2",
            Self::TimeWait => "time_wait",
            Self::LastAck => "last_ack",
            Self::CloseWait => "close_wait",
            Self::Closing => "closing",
            Self::Closed => "closed",
        }
    }
}

/// How connections are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackerConfig {
    /// Take up connections whose handshake was not seen.
    pub midstream: bool,
    /// Packets can be held back, so that none is let through before the handshake is complete.
    pub inline: bool,
    /// What both ends are taken for.
    pub os: OsPolicy,
}

/// What the tracker says about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tracked {
    /// It belongs to the connection: its bytes are the stream's.
    pub belongs: bool,
    /// It does not, and still goes its way inline, as Suricata lets it.
    pub ignored: bool,
    /// What is odd about it.
    pub events: PacketEvents,
}

/// One connection.
#[derive(Clone, Debug)]
pub struct Tracker {
    config: TrackerConfig,
    state: State,
    /// The state before a reset that its receiver may have ignored.
    before_reset: State,
    /// What the client (0) and the server (1) send.
    sides: [Side; 2],
    /// Both ends use timestamps.
    timestamps: bool,
    midstream: bool,
    /// The client opened with data and a fast open cookie (RFC 7413).
    fast_open: bool,
    /// An end spoke of fast open, so that the server may send before the handshake is complete.
    open_early: bool,
    /// A client answered the SYN/ACK.
    confirmed: bool,

    /// Both ends have sent a SYN (RFC 9293, 3.5: simultaneous open).
    simultaneous: bool,
    queue: Option<Box<opening::Queue>>,
}

/// A packet that is being looked at.
struct Segment<'a> {
    direction: Direction,
    tcp: &'a Tcp<'a>,
    seq: u32,
    ack: u32,
    /// Bytes of payload.
    len: u32,
    time_s: u32,
    options: TcpOptions,
    events: PacketEvents,
    ignored: bool,
}

impl Segment<'_> {
    fn has(&self, mask: u8) -> bool {
        self.tcp.has(mask)
    }

    fn end(&self) -> u32 {
        self.seq.wrapping_add(self.len)
    }

    /// Notes what is odd; the packet does not belong.
    fn refuse(&mut self, event: PacketEvent) -> bool {
        self.events.insert(event);
        false
    }

    /// The packet does not belong, and goes its way all the same.
    fn ignore(&mut self) -> bool {
        self.ignored = true;
        false
    }

    /// Notes what is odd about a packet that is ignored.
    fn disregard(&mut self, event: PacketEvent) -> bool {
        self.events.insert(event);
        self.ignore()
    }

    fn to_server(&self) -> bool {
        self.direction == Direction::ToServer
    }
}

impl TrackerConfig {
    /// What a session's configuration asks for.
    pub fn of(config: &StreamConfig) -> Self {
        Self {
            midstream: config.midstream,
            inline: !matches!(config.mode, Mode::Detect(_)),
            os: match config.mode {
                Mode::Detect(os) => os,
                Mode::Inline | Mode::Rewrite => OsPolicy::default(),
            },
        }
    }
}

impl Tracker {
    /// A connection of which nothing was seen.
    pub fn new(config: TrackerConfig) -> Self {
        Self {
            config,
            state: State::None,
            before_reset: State::None,
            sides: [Side::new(config.os), Side::new(config.os)],
            timestamps: false,
            midstream: false,
            fast_open: false,
            open_early: false,
            confirmed: false,

            simultaneous: false,
            queue: None,
        }
    }

    /// How far the connection has come.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether the handshake was not seen.
    pub fn midstream(&self) -> bool {
        self.midstream
    }

    /// Whether the server may send before the handshake is complete (RFC 7413).
    pub fn is_open_early(&self) -> bool {
        self.open_early
    }

    /// Whether both ends have sent their FIN and it was acknowledged, or one a reset.
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Whether bytes on the client's SYN are the stream's (RFC 7413).
    pub fn takes_data_on_syn(&self) -> bool {
        self.fast_open
    }

    /// Whether the reset that closed the connection may have been ignored.
    pub fn is_reset_doubted(&self) -> bool {
        self.sides.iter().any(|side| side.doubted)
    }

    /// The sequence number of the first byte that travels in `direction`, once known.
    pub fn first_seq(&self, direction: Direction) -> Option<u32> {
        let side = &self.sides[direction as usize];
        side.opened.then(|| side.isn.wrapping_add(1))
    }

    /// How far the sequence numbers of `direction` have come, the SYN's included; 0 before it is known.
    pub fn sent(&self, direction: Direction) -> u32 {
        let side = &self.sides[direction as usize];
        match side.opened {
            true => side.next_seq.wrapping_sub(side.isn),
            false => 0,
        }
    }

    /// How many bytes the receiver of `direction` takes beyond what it acknowledged.
    pub fn window(&self, direction: Direction) -> u32 {
        self.sides[direction as usize].window
    }

    /// Whether a SYN with this sequence number opens another connection on the same addresses and ports.
    pub fn is_replaced_by(&self, direction: Direction, tcp: &Tcp<'_>) -> bool {
        tcp.flags() & (flags::SYN | flags::ACK | flags::FIN | flags::RST) == flags::SYN
            && self.state >= State::LastAck
            && (direction == Direction::ToClient || self.sides[0].isn != tcp.seq())
    }

    /// Goes on at `seq` in `direction`, past bytes that were not shown.
    pub fn step_to(&mut self, direction: Direction, seq: u32) {
        let side = &mut self.sides[direction as usize];
        (side.next_seq, side.last_ack) = (seq, seq);
        side.move_window();
    }

    /// Takes note that everything before `seq` was acknowledged: so much its receiver allowed, in whatever segment.
    pub fn hear_of(&mut self, direction: Direction, seq: u32) {
        let side = &mut self.sides[direction as usize];
        if after(seq, side.next_win) {
            side.acknowledge(seq);
            side.move_window();
        }
    }

    /// Takes one segment with `payload_bytes` bytes of payload, seen at `time_s` (seconds).
    pub fn on_segment(
        &mut self,
        direction: Direction,
        tcp: &Tcp<'_>,
        payload_bytes: usize,
        time_s: u32,
    ) -> Tracked {
        let reads_options = self.timestamps
            || self.state <= State::SynSent
            || tcp.flags() & (flags::SYN | flags::RST) != 0;
        let mut segment = Segment {
            direction,
            tcp,
            seq: tcp.seq(),
            ack: tcp.ack(),
            len: payload_bytes as u32,
            time_s,
            options: if reads_options {
                tcp.options()
            } else {
                TcpOptions::default()
            },
            events: PacketEvents::NONE,
            ignored: false,
        };
        if tcp.ack() != 0 && !tcp.has(flags::ACK) {
            segment.events.insert(PacketEvent::StreamPktBrokenAck);
        }
        let belongs = self.dispatch(&mut segment);
        if let Some((value, _)) = segment
            .options
            .timestamps
            .filter(|_| belongs && self.timestamps)
        {
            self.sender_mut(&segment).note_timestamp(segment.seq, value);
        }
        Tracked {
            belongs,
            ignored: segment.ignored,
            events: segment.events,
        }
    }

    fn dispatch(&mut self, segment: &mut Segment<'_>) -> bool {
        if self.state == State::None {
            return self.in_none(segment);
        }
        if self.is_keep_alive(segment) {
            return true;
        }
        if self.is_outdated(segment) {
            return true;
        }
        if self.is_bad_window_update(segment) {
            return segment.disregard(PacketEvent::StreamPktBadWindowUpdate);
        }
        let sender = &self.sides[segment.direction as usize];
        if segment.len > 0 && !after(segment.end(), sender.last_ack) && sender.opened {
            segment
                .events
                .insert(PacketEvent::StreamPktSpuriousRetransmission);
            if !after(segment.end(), sender.isn.wrapping_add(1)) {
                return segment.ignore();
            }
        }
        self.in_state(segment)
    }

    fn in_state(&mut self, segment: &mut Segment<'_>) -> bool {
        match self.state {
            State::None => self.in_none(segment),
            State::SynSent => self.in_syn_sent(segment),
            State::SynRecv => self.in_syn_recv(segment),
            State::Established => self.in_established(segment),
            State::FinWait1 => self.in_fin_wait_1(segment),
            State::FinWait2 => self.in_fin_wait_2(segment),
            State::TimeWait => self.in_time_wait(segment),
            State::LastAck => self.in_last_ack(segment),
            State::CloseWait => self.in_close_wait(segment),
            State::Closing => self.in_closing(segment),
            State::Closed => self.in_closed(segment),
        }
    }

    /// What the segment's sender sends.
    fn sender(&self, segment: &Segment<'_>) -> &Side {
        &self.sides[segment.direction as usize]
    }

    fn sender_mut(&mut self, segment: &Segment<'_>) -> &mut Side {
        &mut self.sides[segment.direction as usize]
    }

    /// What the segment's receiver sends: what the segment acknowledges.
    fn receiver(&self, segment: &Segment<'_>) -> &Side {
        &self.sides[segment.direction.reverse() as usize]
    }

    fn receiver_mut(&mut self, segment: &Segment<'_>) -> &mut Side {
        &mut self.sides[segment.direction.reverse() as usize]
    }

    /// A segment one before what is next, to provoke an answer, or that answer (RFC 9293, 3.8.4).
    fn is_keep_alive(&mut self, segment: &Segment<'_>) -> bool {
        let plain = segment.tcp.flags() & (flags::SYN | flags::FIN | flags::RST) == 0;
        let probe = plain
            && segment.len <= 1
            && segment.seq == self.sender(segment).next_seq.wrapping_sub(1)
            && segment.ack == self.receiver(segment).last_ack;
        let answer = plain
            && segment.len == 0
            && self.receiver(segment).probed
            && segment.ack == self.receiver(segment).next_seq
            && segment.seq == self.sender(segment).next_seq;
        self.sender_mut(segment).probed = probe;
        probe || answer
    }

    /// An acknowledgment that brings nothing, for a later one overtook it.
    fn is_outdated(&self, segment: &Segment<'_>) -> bool {
        let odd = flags::SYN | flags::FIN | flags::RST | flags::ACK;
        self.state >= State::Established
            && segment.len == 0
            && segment.tcp.flags() & odd == flags::ACK
            && segment.seq == self.sender(segment).next_seq
            && after(self.receiver(segment).last_ack, segment.ack)
    }

    /// A smaller window than was promised, from beyond what is known of either end: most likely forged. What no end
    /// would believe is not held to be one.
    fn is_bad_window_update(&self, segment: &Segment<'_>) -> bool {
        if self.state < State::Established
            || self.state == State::Closed
            || segment.tcp.flags() & (flags::SYN | flags::FIN | flags::RST) != 0
        {
            return false;
        }
        let (sender, receiver) = (self.sender(segment), self.receiver(segment));
        let window = receiver.scaled(segment.tcp.window());
        let shrunk_by = receiver.window.saturating_sub(window);
        shrunk_by > segment.len
            && after(segment.ack, receiver.next_seq)
            && !after(segment.ack, receiver.next_win)
            && after(segment.seq, sender.next_seq)
    }

    /// Whether the receiver would believe the acknowledgment.
    fn acceptable_ack(&self, segment: &mut Segment<'_>) -> bool {
        if !segment.has(flags::ACK) {
            return true;
        }
        let receiver = self.receiver(segment);
        let refusal = self.state == State::SynSent
            && !segment.to_server()
            && segment.has(flags::RST)
            && segment.ack == receiver.isn.wrapping_add(1);
        let ahead = after(segment.ack, receiver.next_win) && !refusal;
        let behind = receiver.window > 0
            && after(receiver.last_ack.wrapping_sub(receiver.window), segment.ack);
        if self.midstream || !ahead && !behind {
            return true;
        }
        segment.refuse(PacketEvent::StreamPktInvalidAck)
    }

    /// Whether the receiver would believe the timestamp; notes it.
    fn acceptable_timestamp(&mut self, segment: &mut Segment<'_>) -> bool {
        if !self.timestamps {
            return true;
        }
        let Some((value, _)) = segment.options.timestamps else {
            return true;
        };
        let sender = &mut self.sides[segment.direction as usize];
        match sender.check_timestamp(segment.seq, value, segment.time_s, self.midstream) {
            side::Clock::Accepted => true,
            side::Clock::Off => {
                self.timestamps = false;
                true
            }
            side::Clock::Refused => segment.refuse(PacketEvent::StreamPktInvalidTimestamp),
        }
    }

    /// Whether the receiver would believe a reset, which differs between systems (RFC 5961, 3 came late).
    fn acceptable_reset(&mut self, segment: &mut Segment<'_>) -> bool {
        if !self.acceptable_timestamp(segment) {
            return false;
        }
        if segment.len > 0 {
            segment.events.insert(PacketEvent::StreamRstWithData);
        }
        if segment.has(flags::ACK) && !self.acceptable_ack(segment) {
            return segment.refuse(PacketEvent::StreamRstInvalidAck);
        }
        let receiver_os = self.receiver(segment).os;
        self.sender(segment)
            .acceptable_reset(receiver_os, segment.seq, segment.end())
    }

    /// Ends the connection, if the receiver would believe the reset.
    fn reset(&mut self, segment: &mut Segment<'_>) -> bool {
        if !self.acceptable_reset(segment) {
            return false;
        }
        if segment.options.signed {
            // Who does not share the key ignores it: whether it did is seen when the sender goes on.
            self.sender_mut(segment).doubted = true;
        }
        self.before_reset = self.state;
        if self.state == State::SynRecv {
            self.state = State::Closed;
        } else {
            self.close(segment);
        }
        true
    }

    fn close(&mut self, segment: &Segment<'_>) {
        self.state = State::Closed;
        self.acknowledge(segment);
        let end = segment.end();
        let sender = self.sender_mut(segment);
        // Nothing more will be acknowledged.
        sender.acknowledge(sender.next_seq);
        sender.acknowledge(segment.seq);
        sender.next_seq = end;
    }

    /// Takes note of what the segment acknowledges, and of the window it advertises.
    fn acknowledge(&mut self, segment: &Segment<'_>) {
        let acknowledges = segment.has(flags::ACK);
        let receiver = self.receiver_mut(segment);
        receiver.window = receiver.scaled(segment.tcp.window());
        if acknowledges {
            receiver.acknowledge(segment.ack);
        }
        receiver.move_window();
    }

    /// Whether the segment repeats bytes; notes it.
    fn is_retransmission(&self, segment: &mut Segment<'_>) -> bool {
        let sender = self.sender(segment);
        let old = segment.len > 0
            && (after(sender.last_ack, segment.seq) || !after(segment.end(), sender.next_seq));
        if old {
            segment.events.insert(PacketEvent::StreamPktRetransmission);
        }
        old
    }
}
