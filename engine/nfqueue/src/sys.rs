//! The only unsafe code: the system calls that std has no safe form of.

use std::io;
use std::mem::{size_of, size_of_val, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

/// Packets taken with one system call at most.
pub(crate) const BATCH: usize = 32;
/// The kernel copies at most 65,531 bytes of a packet; the rest is for the other attributes.
const BUFFER: usize = 68 << 10;

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// What one slot of the receive buffers holds.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    length: usize,
    from_kernel: bool,
}

/// Memory for one batch of datagrams.
pub(crate) struct Buffers {
    memory: Box<[u8]>,
    slots: [Slot; BATCH],
}

impl Buffers {
    pub(crate) fn new() -> Self {
        Self {
            memory: vec![0; BATCH * BUFFER].into_boxed_slice(),
            slots: [Slot::default(); BATCH],
        }
    }

    /// The `index`th datagram of the last batch, or `None` if somebody other than the kernel sent it.
    pub(crate) fn datagram(&self, index: usize) -> Option<&[u8]> {
        let slot = self.slots[index];
        let start = index * BUFFER;
        slot.from_kernel
            .then(|| &self.memory[start..start + slot.length])
    }
}

/// A netlink socket for netfilter.
pub(crate) struct Socket {
    fd: OwnedFd,
}

/// Makes the kernel note the time at which it takes a packet, of every packet, for as long as the socket is open;
/// [`crate::QueuedPacket::timestamp_ns`] is that.
pub(crate) fn take_times() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;
    // SAFETY: no pointers; a result that is not negative is a descriptor nobody else owns.
    let fd = unsafe { OwnedFd::from_raw_fd(check(libc::socket(libc::AF_INET, kind, 0))?) };
    let on: libc::c_int = 1;
    // SAFETY: the value lives through the call and the length is its own.
    check(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_TIMESTAMPNS,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    })?;
    Ok(fd)
}

impl Socket {
    pub(crate) fn open() -> io::Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        // SAFETY: no pointers; a result that is not negative is a descriptor nobody else owns.
        let fd = unsafe {
            let fd = check(libc::socket(
                libc::AF_NETLINK,
                kind,
                libc::NETLINK_NETFILTER,
            ))?;
            OwnedFd::from_raw_fd(fd)
        };
        let address = kernel_address();
        // SAFETY: the address lives through the call and the length is its own.
        check(unsafe {
            libc::bind(
                fd.as_raw_fd(),
                (&raw const address).cast(),
                size_of_val(&address) as libc::socklen_t,
            )
        })?;
        Ok(Self { fd })
    }

    /// `value`: what the option takes, a plain C type.
    pub(crate) fn set_option<T: Copy>(
        &self,
        level: libc::c_int,
        name: libc::c_int,
        value: T,
    ) -> io::Result<()> {
        // SAFETY: the value lives through the call and the length is its own.
        check(unsafe {
            libc::setsockopt(
                self.fd.as_raw_fd(),
                level,
                name,
                (&raw const value).cast(),
                size_of_val(&value) as libc::socklen_t,
            )
        })
        .map(drop)
    }

    /// Sends whole messages to the kernel. Netlink handles them before it returns.
    pub(crate) fn send(&self, messages: &[u8]) -> io::Result<()> {
        let address = kernel_address();
        loop {
            // SAFETY: bytes and address live through the call, with their own lengths.
            let sent = unsafe {
                libc::sendto(
                    self.fd.as_raw_fd(),
                    messages.as_ptr().cast(),
                    messages.len(),
                    0,
                    (&raw const address).cast(),
                    size_of_val(&address) as libc::socklen_t,
                )
            };
            if sent >= 0 {
                return Ok(());
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }

    /// Bounds how long [`Socket::receive`] waits.
    pub(crate) fn set_wait(&self, wait: Duration) -> io::Result<()> {
        let wait = libc::timeval {
            tv_sec: wait.as_secs() as libc::time_t,
            tv_usec: wait.subsec_micros() as libc::suseconds_t,
        };
        self.set_option(libc::SOL_SOCKET, libc::SO_RCVTIMEO, wait)
    }

    /// Takes up to [`BATCH`] datagrams, after waiting for the first if `wait`; returns how many. `WouldBlock` when
    /// there is none. To wait in the call that takes them spares two system calls a batch.
    pub(crate) fn receive(&self, buffers: &mut Buffers, wait: bool) -> io::Result<usize> {
        let flags = match wait {
            true => libc::MSG_WAITFORONE,
            false => libc::MSG_DONTWAIT,
        };
        // SAFETY: all-zero is a valid value of each of these plain C structs.
        let (mut names, mut vectors, mut headers): (
            [libc::sockaddr_nl; BATCH],
            [libc::iovec; BATCH],
            [libc::mmsghdr; BATCH],
        ) = unsafe { (zeroed(), zeroed(), zeroed()) };
        let parts = buffers.memory.chunks_exact_mut(BUFFER);
        for (((name, vector), header), part) in names
            .iter_mut()
            .zip(&mut vectors)
            .zip(&mut headers)
            .zip(parts)
        {
            vector.iov_base = part.as_mut_ptr().cast();
            vector.iov_len = part.len();
            header.msg_hdr.msg_name = (&raw mut *name).cast();
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
            header.msg_hdr.msg_iov = &raw mut *vector;
            header.msg_hdr.msg_iovlen = 1;
        }
        // SAFETY: each header points at a name and a vector of the arrays above, each vector at its own part of
        // `buffers.memory`, which is borrowed mutably; all outlive the call.
        let count = check(unsafe {
            libc::recvmmsg(
                self.fd.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                flags as _,
                std::ptr::null_mut(),
            )
        })? as usize;
        for ((slot, header), name) in buffers
            .slots
            .iter_mut()
            .zip(&headers)
            .zip(&names)
            .take(count)
        {
            slot.length = (header.msg_len as usize).min(BUFFER);
            slot.from_kernel = name.nl_pid == 0;
        }
        Ok(count)
    }
}

fn kernel_address() -> libc::sockaddr_nl {
    // SAFETY: all-zero is a valid sockaddr_nl.
    let mut address: libc::sockaddr_nl = unsafe { zeroed() };
    address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
    address
}

/// Ends the [`crate::Queue::run`] of every thread that was given a clone, within a tenth of a second and for good.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    raised: Arc<AtomicBool>,
}

impl Stop {
    /// Raises the signal; it stays raised.
    pub fn raise(&self) {
        self.raised.store(true, Ordering::Release);
    }

    /// Whether it was raised.
    pub fn raised(&self) -> bool {
        self.raised.load(Ordering::Acquire)
    }
}
