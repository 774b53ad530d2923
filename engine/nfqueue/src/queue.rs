use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::sys::{self, Buffers, Socket, Stop};
use crate::verdict::{Decision, Verdict, Verdicts};
use crate::wire::{self, Builder, Message};
use crate::{packet, QueueConfig, QueueCounters, QueuedPacket};

/// How long the kernel may take to answer a configuration message.
const ANSWER_WAIT: Duration = Duration::from_secs(2);
/// [`Handler::idle`] is called this often, with or without traffic; a wait for packets takes no longer.
const IDLE_INTERVAL: Duration = Duration::from_millis(100);
/// How long a stopped queue goes on with packets that wait already.
const DRAIN_WAIT: Duration = Duration::from_millis(200);
/// Verdicts are sent at the latest after this many bytes were inspected, so that the first packet of a batch of
/// 64 KiB packets does not wait for the last.
const VERDICT_AFTER_BYTES: usize = 256 << 10;

const NFQA_CFG_CMD: u16 = 1;
const NFQA_CFG_PARAMS: u16 = 2;
const NFQA_CFG_QUEUE_MAXLEN: u16 = 3;
const NFQA_CFG_MASK: u16 = 4;
const NFQA_CFG_FLAGS: u16 = 5;
const CMD_BIND: u8 = 1;
const COPY_PACKET: u8 = 2;
/// What the kernel clamps to 65,531: as much as an attribute can hold.
const COPY_RANGE: u32 = 0xffff;
const FLAG_FAIL_OPEN: u32 = 1;
const FLAG_CONNTRACK: u32 = 2;
const FLAG_GSO: u32 = 4;

/// Decides packets.
pub trait Handler {
    /// Decides one packet. `now_ns`: Unix time in nanoseconds.
    fn packet(&mut self, packet: &QueuedPacket<'_>, now_ns: u64) -> Decision;

    /// Called about every 100 ms, with or without traffic: time for timeouts.
    fn idle(&mut self, now_ns: u64) {
        let _ = now_ns;
    }
}

/// One queue, bound to one netlink socket.
///
/// Dropping it closes the socket: the kernel drops what it still holds, and from then on does what the rule says
/// for a queue without listener.
pub struct Queue {
    number: u16,
    socket: Socket,
    counters: Arc<QueueCounters>,
    verdicts: Verdicts,
    /// Datagrams that arrived before the kernel's answer to the bind.
    early: Vec<Vec<u8>>,
    /// When nothing waited last.
    emptied: Instant,
    /// While it is open the kernel notes when it takes a packet.
    _clock: Option<OwnedFd>,
}

impl Queue {
    /// Binds the queue; packets wait in the kernel from now on, until [`Queue::run`].
    ///
    /// Errors name the queue and the reason: no right (CAP_NET_ADMIN), the number taken by another process, or a
    /// kernel without NFQUEUE.
    pub fn open(config: &QueueConfig) -> io::Result<Self> {
        let socket = Socket::open().map_err(|error| explain(config.number, &error, true))?;
        let privileged = set_receive_buffer(&socket, config.receive_buffer);
        Self::bind(socket, config).map_err(|error| explain(config.number, &error, privileged))
    }

    fn bind(socket: Socket, config: &QueueConfig) -> io::Result<Self> {
        // Otherwise one overrun stops delivery until the buffer is empty. Losses show as gaps between ids.
        socket.set_option::<libc::c_int>(libc::SOL_NETLINK, libc::NETLINK_NO_ENOBUFS, 1)?;
        socket.set_wait(IDLE_INTERVAL)?;
        let mut queue = Self {
            number: config.number,
            socket,
            counters: Arc::default(),
            verdicts: Verdicts::new(config.number),
            early: Vec::new(),
            emptied: Instant::now(),
            _clock: sys::take_times().ok(),
        };
        match queue.configure(config, config.conntrack) {
            Err(error) if config.conntrack && error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                queue.configure(config, false)?;
            }
            result => result?,
        }
        Ok(queue)
    }

    /// The queue's number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// The counters, to be read from any thread.
    pub fn counters(&self) -> Arc<QueueCounters> {
        Arc::clone(&self.counters)
    }

    /// Shows packets to `handler` until `stop` is raised; then decides those that wait already, and returns.
    ///
    /// Errors: the socket failed. A refused verdict is counted, not an error.
    pub fn run(&mut self, handler: &mut impl Handler, stop: &Stop) -> io::Result<()> {
        let mut buffers = Buffers::new();
        let mut next_idle = Instant::now();
        for datagram in std::mem::take(&mut self.early) {
            self.take(&datagram, handler);
        }
        self.send_verdicts()?;
        while !stop.raised() {
            self.turn(handler, &mut buffers, true)?;
            let now = Instant::now();
            if now >= next_idle {
                handler.idle(unix_ns());
                next_idle = now + IDLE_INTERVAL;
            }
        }
        let deadline = Instant::now() + DRAIN_WAIT;
        while Instant::now() < deadline && self.turn(handler, &mut buffers, false)? {}
        Ok(())
    }

    /// Takes one batch, after a wait for it if `wait`, and answers it; returns whether there was one.
    fn turn(
        &mut self,
        handler: &mut impl Handler,
        buffers: &mut Buffers,
        wait: bool,
    ) -> io::Result<bool> {
        let count = match self.socket.receive(buffers, wait) {
            Ok(count) => count,
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                self.emptied = Instant::now();
                return Ok(false);
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                self.counters.enobufs.add(1);
                return Ok(true);
            }
            Err(error) => return Err(error),
        };
        // What comes from now on was not there yet.
        let emptied = (count < sys::BATCH).then(Instant::now);
        self.counters.batches.add(1);
        self.counters.largest_batch.raise_to(count as u64);
        let mut unanswered = 0;
        for index in 0..count {
            match buffers.datagram(index) {
                Some(datagram) => {
                    self.take(datagram, handler);
                    unanswered += datagram.len();
                }
                None => self.counters.foreign.add(1),
            }
            if unanswered >= VERDICT_AFTER_BYTES {
                self.send_verdicts()?;
                unanswered = 0;
            }
        }
        self.send_verdicts()?;
        self.emptied = emptied.unwrap_or(self.emptied);
        Ok(true)
    }

    /// Decides every packet of a datagram.
    fn take(&mut self, datagram: &[u8], handler: &mut impl Handler) {
        for message in wire::messages(datagram) {
            match message.kind {
                wire::MSG_PACKET => self.decide(&message, handler),
                wire::NLMSG_ERROR => self.counters.refused_verdicts.add(1),
                _ => self.counters.unreadable.add(1),
            }
        }
    }

    fn decide(&mut self, message: &Message<'_>, handler: &mut impl Handler) {
        let Some(packet) = packet::read(message.body) else {
            // Its id is unknown, so it stays with the kernel; no batch verdict may sweep it along.
            self.verdicts.give_up_runs();
            self.counters.unreadable.add(1);
            return;
        };
        let counters = &self.counters;
        counters
            .lost
            .add(u64::from(self.verdicts.arrived(packet.id)));
        counters.packets.add(1);
        counters.bytes.add(packet.original_len as u64);
        counters.truncated.add(u64::from(packet.truncated()));
        counters.gso.add(u64::from(packet.gso));
        let now_ns = unix_ns();
        let waited = self.waited(&packet, now_ns);
        if packet.timestamp_ns.is_some() {
            counters.waited.record(waited);
        }
        let packet = QueuedPacket { waited, ..packet };
        let decision = handler.packet(&packet, now_ns);
        match decision.verdict {
            Verdict::Accept => counters.accepted.add(1),
            Verdict::Drop => counters.dropped.add(1),
        }
        self.verdicts.push(packet.id, decision);
    }

    /// How long a packet stood in the queue: since the kernel took it, where it says when; else at most since the
    /// queue was last empty.
    fn waited(&self, packet: &QueuedPacket<'_>, now_ns: u64) -> Duration {
        match packet.timestamp_ns {
            // By the wall clock, which may be set back in between.
            Some(taken_ns) => Duration::from_nanos(now_ns.saturating_sub(taken_ns)),
            None => self.emptied.elapsed(),
        }
    }

    fn send_verdicts(&mut self) -> io::Result<()> {
        let (messages, count) = self.verdicts.pending();
        if count == 0 {
            return Ok(());
        }
        let began = Instant::now();
        let result = self.socket.send(messages);
        self.counters.answering.record(began.elapsed());
        self.counters.verdict_messages.add(count);
        self.verdicts.clear();
        result
    }

    /// Binds and configures in one message, so that no packet meets a queue that is bound but not ready.
    fn configure(&mut self, config: &QueueConfig, conntrack: bool) -> io::Result<()> {
        let mut flags = 0;
        for (wanted, flag) in [
            (config.fail_open, FLAG_FAIL_OPEN),
            (conntrack, FLAG_CONNTRACK),
            (config.gso, FLAG_GSO),
        ] {
            flags |= if wanted { flag } else { 0 };
        }
        let mut params = [0; 5];
        params[..4].copy_from_slice(&COPY_RANGE.to_be_bytes());
        params[4] = COPY_PACKET;
        let mut request = Builder::default();
        let sequence = 1 + u32::from(conntrack);
        let start = request.begin(wire::MSG_CONFIG, wire::NLM_F_ACK, sequence, self.number);
        request.attribute(NFQA_CFG_CMD, &[CMD_BIND, 0, 0, 0]);
        request.attribute(NFQA_CFG_PARAMS, &params);
        request.attribute(NFQA_CFG_QUEUE_MAXLEN, &config.max_length.to_be_bytes());
        request.attribute(NFQA_CFG_FLAGS, &flags.to_be_bytes());
        request.attribute(
            NFQA_CFG_MASK,
            &(FLAG_FAIL_OPEN | FLAG_CONNTRACK | FLAG_GSO).to_be_bytes(),
        );
        request.finish(start);
        self.socket.send(request.bytes())?;
        self.await_answer(sequence)
    }

    fn await_answer(&mut self, sequence: u32) -> io::Result<()> {
        let mut buffers = Buffers::new();
        let deadline = Instant::now() + ANSWER_WAIT;
        loop {
            let count = match self.socket.receive(&mut buffers, true) {
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error),
            };
            let mut answer = None;
            for datagram in (0..count).filter_map(|index| buffers.datagram(index)) {
                match answer_to(sequence, datagram) {
                    Some(result) => answer = Some(result),
                    None => self.early.push(datagram.to_vec()),
                }
            }
            if let Some(answer) = answer {
                return answer;
            }
            if Instant::now() >= deadline {
                return Err(ErrorKind::TimedOut.into());
            }
        }
    }
}

/// What a datagram says about the request `sequence`, if it is the answer to it.
fn answer_to(sequence: u32, datagram: &[u8]) -> Option<io::Result<()>> {
    let message = wire::messages(datagram).next()?;
    if message.kind != wire::NLMSG_ERROR || message.sequence != sequence {
        return None;
    }
    Some(match wire::u32_ne(message.body, 0)? as i32 {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code.wrapping_neg())),
    })
}

/// Sets the size as far as we may; returns whether we may anything, which is to have CAP_NET_ADMIN here.
fn set_receive_buffer(socket: &Socket, bytes: usize) -> bool {
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    let forced = socket
        .set_option(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, bytes)
        .is_ok();
    // A smaller buffer than asked for only means that packets are lost earlier, which is counted.
    if !forced {
        let _ = socket.set_option(libc::SOL_SOCKET, libc::SO_RCVBUF, bytes);
    }
    forced
}

/// The kernel says EPERM both to those without the right and for a queue that is another's.
fn explain(number: u16, error: &io::Error, privileged: bool) -> io::Error {
    let reason = match error.raw_os_error() {
        Some(libc::EPERM) if !privileged => "needs CAP_NET_ADMIN in this network namespace",
        Some(libc::EPERM | libc::EBUSY) => "another process has bound it",
        Some(libc::EINVAL | libc::EPROTONOSUPPORT) => "the kernel has no nfnetlink_queue",
        _ => "the kernel refused",
    };
    io::Error::new(error.kind(), format!("queue {number}: {reason} ({error})"))
}

fn unix_ns() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as u64)
}
