//! Signs of life for the watchdog.
//!
//! Every worker says `[its number, how many workers there are]`, two bytes, about every 100 ms, between packets: a
//! worker that a packet keeps, or that was stopped, falls silent whatever other threads do. `[its number, 0]` is its
//! farewell. Nobody waits for a reader: what does not fit is not said.

use std::io;
use std::os::fd::RawFd;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::sys;

const INTERVAL: Duration = Duration::from_millis(100);

/// Where an inspector's workers say that they live; without a socket they say it to nobody.
#[derive(Clone, Debug, Default)]
pub struct Heart {
    socket: Option<Arc<UnixDatagram>>,
    workers: u8,
}

impl Heart {
    /// Takes over `descriptor`, a connected datagram socket that nobody else in this process uses.
    pub fn of(descriptor: RawFd, workers: u8) -> io::Result<Self> {
        let socket = UnixDatagram::from(sys::adopt(descriptor)?);
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: Some(Arc::new(socket)),
            workers,
        })
    }

    /// Says that the workers are about to be: to be called before packets can wait for them.
    pub(crate) fn announce(&self) {
        for worker in 0..self.workers {
            self.say(worker, self.workers);
        }
    }

    pub(crate) fn pulse(&self, worker: usize) -> Pulse {
        Pulse {
            heart: self.clone(),
            worker: worker as u8,
            next: Instant::now(),
        }
    }

    fn say(&self, worker: u8, workers: u8) {
        if let Some(socket) = &self.socket {
            let _ = socket.send(&[worker, workers]);
        }
    }
}

/// One worker's; its end says farewell.
#[derive(Debug)]
pub(crate) struct Pulse {
    heart: Heart,
    worker: u8,
    next: Instant,
}

impl Pulse {
    /// Beats, if it is time.
    pub(crate) fn at(&mut self, now: Instant) {
        if now >= self.next {
            self.heart.say(self.worker, self.heart.workers);
            self.next = now + INTERVAL;
        }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.heart.say(self.worker, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::IntoRawFd;

    fn pair(workers: u8) -> (UnixDatagram, Heart) {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (ours, Heart::of(theirs.into_raw_fd(), workers).unwrap())
    }

    fn heard(socket: &UnixDatagram) -> Vec<[u8; 2]> {
        let mut message = [0; 2];
        std::iter::from_fn(|| socket.recv(&mut message).ok().map(|_| message)).collect()
    }

    #[test]
    fn a_worker_beats_when_it_is_time_and_says_farewell() {
        let (socket, heart) = pair(2);
        heart.announce();
        assert_eq!(heard(&socket), [[0, 2], [1, 2]]);
        let mut pulse = heart.pulse(1);
        let begin = Instant::now();
        for millis in [0, 1, 99, 100, 150, 250] {
            pulse.at(begin + Duration::from_millis(millis));
        }
        assert_eq!(heard(&socket).len(), 3);
        drop(pulse);
        assert_eq!(heard(&socket), [[1, 0]]);
    }

    #[test]
    fn nobody_who_listens_stops_no_worker() {
        let (socket, heart) = pair(1);
        let mut pulse = heart.pulse(0);
        let begin = Instant::now();
        for second in 0..10_000 {
            pulse.at(begin + Duration::from_secs(second));
        }
        drop(socket);
        pulse.at(begin + Duration::from_secs(20_000));
    }
}
