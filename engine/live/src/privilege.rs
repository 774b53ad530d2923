//! Giving up rights: an inspector that parses hostile bytes keeps only what verdicts and resets need.

use std::io;
use std::time::Duration;

use rustix::process::{Gid, Uid};
use rustix::thread::{self, CapabilitySet, CapabilitySets};

/// Who the process becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unprivileged {
    /// User number, not 0.
    pub uid: u32,
    /// Group number, not 0.
    pub gid: u32,
    /// Keep CAP_NET_RAW, for a reset socket that is opened later.
    pub keep_raw: bool,
}

/// The highest capability number the kernel can have; dropping one it does not know ends the list.
const CAPABILITIES: u32 = 64;
/// How often, and how far apart, it is looked whether a thread that ended is gone.
const LOOKS: u32 = 200;
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Becomes `who`, for good: no other groups, no capability but CAP_NET_ADMIN (verdicts need it) and on request
/// CAP_NET_RAW, none to gain (bounding set, `no_new_privs`).
///
/// To be called after the queues and the spool are open or openable by `who`, and before any thread is started:
/// capabilities belong to threads, and another thread would keep its own. Errors: more than one thread runs
/// (`InvalidInput`), or the process has not the right to give up (`PermissionDenied`).
pub fn drop_to(who: Unprivileged) -> io::Result<()> {
    let threads = lasting_threads()?;
    if threads != 1 {
        let reason =
            format!("{threads} threads run; rights must be given up before threads are started");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    if who.uid == 0 || who.gid == 0 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "user and group must not be root's",
        ));
    }
    let mut kept = CapabilitySet::NET_ADMIN;
    if who.keep_raw {
        kept |= CapabilitySet::NET_RAW;
    }
    bound_to(kept)?;
    let (uid, gid) = (Uid::from_raw(who.uid), Gid::from_raw(who.gid));
    thread::set_keep_capabilities(true)?;
    thread::set_thread_groups(&[])?;
    thread::set_thread_res_gid(gid, gid, gid)?;
    thread::set_thread_res_uid(uid, uid, uid)?;
    let sets = CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: CapabilitySet::empty(),
    };
    thread::set_capabilities(None, sets)?;
    thread::set_no_new_privs(true)?;
    Ok(())
}

/// How many threads run. One that was joined may be listed a moment longer: whoever joins it is woken before it is gone.
fn lasting_threads() -> io::Result<usize> {
    let mut threads = 0;
    for _ in 0..LOOKS {
        threads = std::fs::read_dir("/proc/self/task")?.count();
        if threads == 1 {
            break;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(threads)
}

/// Takes every capability but `kept` out of the bounding set.
fn bound_to(kept: CapabilitySet) -> io::Result<()> {
    for bit in 0..CAPABILITIES {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        if kept.contains(capability) {
            continue;
        }
        match thread::remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            Err(rustix::io::Errno::INVAL) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
