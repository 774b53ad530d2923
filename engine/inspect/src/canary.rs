//! The trial of a new policy: conversations with a known end, played to each of its guests before it goes live.
//!
//! A conversation is a capture. Ordinary ones must pass, whatever is assigned; one whose name is `alert-SID` is an
//! attack that signature SID of the shipped ones must see where it is assigned. What a packet costs is measured
//! by a clock that the caller brings, so that this crate needs none.
use std::collections::HashSet;
use std::fmt;
use std::io::Read;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::{Arrival, Engine, EventSink, Settings};
use crate::policy::{Mode, Policy, Shield};
use crate::wire::{decode_link, CaptureError, CaptureReader};

/// A packet that keeps a processor longer is a policy that must not meet traffic: it is far more than the worst
/// of all ET Open, and a watchdog ends an inspector that a packet keeps for 700 ms.
const PACKET_LIMIT: Duration = Duration::from_millis(100);
/// A packet that takes long each time is the policy's fault. A virtual machine's processor time runs on while the
/// host lets others run, and what is met first costs more, so once says nothing.
const TRIES: u32 = 3;
/// What the messages of shipped signatures begin with; others may have taken their numbers.
const SHIPPED: &str = "SEKISHO ";

/// A conversation with a known end.
#[derive(Debug)]
pub struct Exercise {
    name: String,
    client: IpAddr,
    frames: Vec<Frame>,
    /// The signature that must see it; `None`: it is ordinary, and must pass.
    alert: Option<u32>,
}

#[derive(Debug)]
struct Frame {
    link_type: u32,
    since_first_ns: u64,
    bytes: Vec<u8>,
}

/// Why a policy must not go live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failed {
    /// Ordinary traffic of a guest would be dropped.
    Drops {
        /// The conversation.
        exercise: String,
        /// The guest.
        guest: String,
        /// The signature that did it, if one did: sid and message.
        signature: Option<(u64, String)>,
    },
    /// A shipped signature is assigned and does not see its own attack.
    Misses {
        /// Its sid.
        sid: u32,
        /// The guest.
        guest: String,
    },
    /// A packet took too long.
    Slow {
        /// The conversation.
        exercise: String,
        /// The guest.
        guest: String,
        /// Processor time of one packet.
        took: Duration,
    },
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drops { exercise, guest, signature: Some((sid, msg)) } => write!(
                f,
                "it would drop ordinary traffic ({exercise}) of guest {guest}: signature {sid} \"{msg}\"; narrow \
                 it or set it to detect, or block such traffic with a firewall rule"
            ),
            Self::Drops { exercise, guest, signature: None } => {
                write!(f, "it would drop ordinary traffic ({exercise}) of guest {guest}")
            }
            Self::Misses { sid, guest } => write!(
                f,
                "signature {sid} is assigned to guest {guest} but no longer sees its own attack; look for a `pass` \
                 rule or a threshold that hides it"
            ),
            Self::Slow { exercise, guest, took } => write!(
                f,
                "a packet of ordinary traffic ({exercise}) of guest {guest} took {} ms",
                took.as_millis()
            ),
        }
    }
}

impl std::error::Error for Failed {}

impl Exercise {
    /// Reads a capture; the first packet is the client's. Errors: none, or not one packet of IP.
    pub fn read(name: &str, capture: impl Read) -> Result<Self, CaptureError> {
        let mut reader = CaptureReader::new(capture)?;
        let (mut frames, mut client, mut first_ns) = (Vec::new(), None, None);
        while let Some(record) = reader.next_record() {
            let record = record?;
            let decoded = decode_link(record.link_type, record.data);
            client = client.or(decoded.addresses().map(|(source, _)| source));
            let first_ns = *first_ns.get_or_insert(record.timestamp_ns);
            frames.push(Frame {
                link_type: record.link_type,
                since_first_ns: record.timestamp_ns.saturating_sub(first_ns),
                bytes: record.data.to_vec(),
            });
        }
        Ok(Self {
            name: name.to_owned(),
            client: client.ok_or(CaptureError::UnknownFormat)?,
            frames,
            alert: name.strip_prefix("alert-").and_then(|sid| sid.parse().ok()),
        })
    }
}

/// Plays every exercise to every guest of `policy` that has a port; guests that are treated alike count once.
///
/// now_ns: Unix time, for overrides that end. cpu: processor time of this thread. Panics where the engine does.
pub fn trial(
    policy: &Arc<Policy>,
    exercises: &[Exercise],
    now_ns: u64,
    cpu: &dyn Fn() -> Duration,
) -> Result<(), Failed> {
    let mut done: Vec<&Shield> = Vec::new();
    for (port, shield) in policy.guarded_ports() {
        if done.iter().any(|other| other.judges_like(shield)) {
            continue;
        }
        done.push(shield);
        let stage = Stage {
            policy,
            shield,
            port,
            now_ns,
            cpu,
        };
        for exercise in exercises {
            stage.play(exercise)?;
        }
    }
    Ok(())
}

/// One guest, its port, and what the exercises need beside.
struct Stage<'a> {
    policy: &'a Arc<Policy>,
    shield: &'a Shield,
    port: u32,
    now_ns: u64,
    cpu: &'a dyn Fn() -> Duration,
}

impl Stage<'_> {
    fn play(&self, exercise: &Exercise) -> Result<(), Failed> {
        let Some(sid) = exercise.alert else {
            // The guest serves, and the guest asks.
            return [true, false].into_iter().try_for_each(|serves| {
                let ended = self.converse(exercise, serves)?;
                match ended.blocked {
                    true => Err(self.drops(exercise, &ended)),
                    false => Ok(()),
                }
            });
        };
        if !self.must_see(sid, exercise.client) {
            return Ok(());
        }
        let ended = self.converse(exercise, true)?;
        match ended.blocked || ended.alerts.contains(&u64::from(sid)) {
            true => Ok(()),
            false => Err(Failed::Misses {
                sid,
                guest: self.shield.guest.clone(),
            }),
        }
    }

    /// Whether the shipped signature of that number holds for the guest, and says so.
    fn must_see(&self, sid: u32, peer: IpAddr) -> bool {
        let signatures = self.policy.matcher.signatures().iter().zip(0u32..);
        let mut shipped = signatures.filter(|(it, _)| {
            (it.gid, it.sid) == (1, sid) && it.msg.starts_with(SHIPPED) && !it.may_be_silent()
        });
        shipped.any(|(_, index)| {
            let mode = self.shield.mode(index, peer, self.now_ns / 1_000_000_000);
            self.shield.assigned.contains(index) && mode != Mode::Off
        })
    }

    fn drops(&self, exercise: &Exercise, ended: &Ended) -> Failed {
        Failed::Drops {
            exercise: exercise.name.clone(),
            guest: self.shield.guest.clone(),
            signature: ended.blocking.clone(),
        }
    }

    /// Plays it, again if a packet took too long.
    fn converse(&self, exercise: &Exercise, serves: bool) -> Result<Ended, Failed> {
        let mut tries = 1;
        loop {
            match self.converse_once(exercise, serves) {
                Err(Failed::Slow { .. }) if tries < TRIES => tries += 1,
                ended => return ended,
            }
        }
    }

    fn converse_once(&self, exercise: &Exercise, serves: bool) -> Result<Ended, Failed> {
        let mut engine = Engine::new(Settings::live([0; 2]), self.policy.clone(), Arc::default());
        let mut ended = Ended::default();
        for frame in &exercise.frames {
            let packet = decode_link(frame.link_type, &frame.bytes);
            let by_client = packet
                .addresses()
                .is_some_and(|(source, _)| source == exercise.client);
            let (in_port, out_port) = match by_client == serves {
                true => (0, self.port),
                false => (self.port, 0),
            };
            let arrival = Arrival {
                now_ns: frame.since_first_ns,
                wall_ns: self.now_ns + frame.since_first_ns,
                in_port,
                out_port,
                ..Arrival::default()
            };
            let before = (self.cpu)();
            let outcome = engine.packet(&arrival, packet, &mut ended);
            let took = (self.cpu)().saturating_sub(before);
            if took > PACKET_LIMIT {
                let (exercise, guest) = (exercise.name.clone(), self.shield.guest.clone());
                return Err(Failed::Slow {
                    exercise,
                    guest,
                    took,
                });
            }
            if outcome.block {
                ended.blocked = true;
                break;
            }
        }
        Ok(ended)
    }
}

/// How a conversation ended.
#[derive(Default)]
struct Ended {
    blocked: bool,
    alerts: HashSet<u64>,
    /// Sid and message of the alert that blocked.
    blocking: Option<(u64, String)>,
}

impl EventSink for Ended {
    fn event(&mut self, _severity: u8, line: &[u8]) {
        let event: serde_json::Value = serde_json::from_slice(line).unwrap_or_default();
        let alert = &event["alert"];
        let Some(sid) = alert["signature_id"].as_u64() else {
            return;
        };
        self.alerts.insert(sid);
        if alert["action"] == "blocked" && self.blocking.is_none() {
            let msg = alert["signature"].as_str().unwrap_or_default();
            self.blocking = Some((sid, msg.to_owned()));
        }
    }
}
