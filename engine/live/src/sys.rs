//! The only unsafe code: a packet socket, which neither std nor rustix can send on, and what glibc alone offers.

use std::io;
use std::mem::{size_of_val, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Takes over a descriptor that this process was started with. Errors: it is not open.
pub(crate) fn adopt(descriptor: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    if unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, and who started us says that it is ours.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Gives back to the system what the allocator holds and nobody uses; takes milliseconds.
pub(crate) fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no pointers; glibc's allocator locks what it works on.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Has the allocator keep what is freed, within bounds: a body that is inspected takes a megabyte or two for some
/// milliseconds, and to have each of its pages cleared by the system anew costs two fifths of what it costs to look
/// through it.
///
/// Source: mallopt(3). glibc raises both bounds by itself, but only as far as twice the largest block freed so far.
pub(crate) fn keep_freed_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no pointers; glibc's allocator locks what it works on.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 4 << 20);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 16 << 20);
    }
}

/// Sends whole Ethernet frames out of chosen ports; receives nothing.
#[derive(Debug)]
pub(crate) struct PacketSocket {
    fd: OwnedFd,
}

impl PacketSocket {
    /// Errors: no CAP_NET_RAW in this network namespace.
    pub(crate) fn open() -> io::Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // Protocol 0: no packet is ever copied to this socket.
        // SAFETY: no pointers; a result that is not negative is a descriptor nobody else owns.
        let fd = unsafe {
            let fd = libc::socket(libc::AF_PACKET, kind, 0);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        Ok(Self { fd })
    }

    /// Sends `frame` (from its Ethernet header on, at least 14 bytes) out of the port; never waits.
    pub(crate) fn send(&self, ifindex: i32, frame: &[u8]) -> io::Result<()> {
        let [.., high, low] = frame
            .first_chunk::<14>()
            .ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: all-zero is a valid sockaddr_ll.
        let mut address: libc::sockaddr_ll = unsafe { zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = u16::from_ne_bytes([*high, *low]);
        address.sll_ifindex = ifindex;
        // SAFETY: frame and address live through the call, with their own lengths.
        let sent = unsafe {
            libc::sendto(
                self.fd.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                libc::MSG_DONTWAIT,
                (&raw const address).cast(),
                size_of_val(&address) as libc::socklen_t,
            )
        };
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}
