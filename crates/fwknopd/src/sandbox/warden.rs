//! What the privileged process keeps.
//!
//! It stays root by name, since the run directory and the firewall's lock files are root's, but root without most powers:
//!
//! | capability | in use | within reach | for |
//! | --- | --- | --- | --- |
//! | CAP_NET_ADMIN | yes | | nftables, iptables |
//! | CAP_NET_RAW | with iptables | | its raw sockets |
//! | CAP_SETUID, CAP_SETGID, CAP_SETPCAP | | yes | the next listener gives up its rights with these |
//! | CAP_DAC_READ_SEARCH | | yes | the child that reads the configuration |
//! | CAP_KILL | | yes | ending a listener that does not end: it is another user |
//!
//! "Within reach" is not in effect in the warden itself, but a program it executes gets it, and [`with`] can use it for one
//! call. Everything else is out of the bounding set: no child can have it again.

use std::io;

use rustix::thread::{self, CapabilitySet, CapabilitySets};

use super::{SandboxError, rights, step};

/// For children, and for one call at a time.
const WITHIN_REACH: CapabilitySet = CapabilitySet::SETUID
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::KILL);

/// Gives up all that the warden does not need; `iptables` keeps CAP_NET_RAW, too. Sockets, listener and runner are open or
/// running by then. A warden that never had a capability does not get it here.
///
/// # Errors
/// What the kernel refuses.
pub fn reduce(iptables: bool) -> Result<(), SandboxError> {
    let raw = if iptables { CapabilitySet::NET_RAW } else { CapabilitySet::empty() };
    let in_use = CapabilitySet::NET_ADMIN | raw;
    let kept = in_use | WITHIN_REACH;
    let now = thread::capabilities(None).map_err(step("read the capabilities"))?;
    if now.effective.contains(CapabilitySet::SETPCAP) {
        rights::limit_bounding_set(kept).map_err(step("shrink the capability bounding set"))?;
    }
    let reduced = CapabilitySets {
        effective: now.permitted & in_use,
        permitted: now.permitted & kept,
        inheritable: now.inheritable & in_use,
    };
    thread::set_capabilities(None, reduced).map_err(step("give up capabilities"))
}

/// Does one thing with a capability that is within reach, and puts it back.
///
/// # Errors
/// If the capability is not within reach, or cannot be put back (then the process should end).
pub fn with<T>(extra: CapabilitySet, act: impl FnOnce() -> T) -> io::Result<T> {
    let before = thread::capabilities(None)?;
    let raised = CapabilitySets { effective: before.effective | extra, ..before };
    thread::set_capabilities(None, raised)?;
    let result = act();
    thread::set_capabilities(None, before)?;
    Ok(result)
}
