//! Who a process is, and how much it may have: user, groups, capabilities, limits. The layer every kernel has.

use std::io;

use nix::unistd::{self, Gid, Uid};
use rustix::{
    process::{self, DumpableBehavior, Resource, Rlimit},
    thread::{self, CapabilitySet, CapabilitySets},
};

use super::{SandboxError, step, user::Account};

/// Descriptors a listener may have: its sockets, its cache, its pipes, and room for the highest number among them.
const DESCRIPTORS: u64 = 64;

/// Becomes `account` for good, with no capability in any set. Says whom it has become.
///
/// # Errors
/// If one step does not work; some rights may be gone by then.
pub fn become_nobody_else(account: &Account) -> Result<String, SandboxError> {
    let root = give_up(account.uid, account.gid)?;
    if unistd::getuid().is_root() || unistd::geteuid().is_root() {
        let source = io::Error::from(io::ErrorKind::PermissionDenied);
        return Err(SandboxError::Step { step: "leave uid 0", source });
    }
    let uid = unistd::geteuid();
    Ok(if root { account.to_string() } else { format!("uid {uid} (as it was started)") })
}

/// Becomes the owner of something, who may be root, but without a capability in any set: a root that can do what the
/// owner of root's files can.
///
/// # Errors
/// If one step does not work; some rights may be gone by then.
pub fn become_owner(uid: u32, gid: u32) -> Result<(), SandboxError> {
    give_up(uid, gid)?;
    let no_core = Rlimit { current: Some(0), maximum: Some(0) };
    process::setrlimit(Resource::Core, no_core).map_err(step("forbid core files"))
}

/// Becomes this user and group with no capability in any set. Whether the process was root; if not, it stays who it is.
fn give_up(uid: u32, gid: u32) -> Result<bool, SandboxError> {
    // A process that may set user ids also may empty the bounding set; one that may not has nothing to gain from it, once
    // no_new_privs is set.
    let root = unistd::geteuid().is_root();
    if root {
        limit_bounding_set(CapabilitySet::empty()).map_err(step("empty the capability bounding set"))?;
        let (user, group) = (Uid::from_raw(uid), Gid::from_raw(gid));
        unistd::setgroups(&[]).map_err(step("give up supplementary groups"))?;
        unistd::setresgid(group, group, group).map_err(step("change the group"))?;
        unistd::setresuid(user, user, user).map_err(step("change the user"))?;
    }
    thread::clear_ambient_capability_set().map_err(step("clear ambient capabilities"))?;
    let nothing = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    thread::set_capabilities(None, nothing).map_err(step("give up capabilities"))?;
    thread::set_no_new_privs(true).map_err(step("set no_new_privs"))?;
    // Not readable through /proc, not traceable, no core file, even for others of the same user.
    process::set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(step("forbid dumps"))?;
    Ok(root)
}

/// Sets the limits that hold for a listener: no new process, no core file, few descriptors.
///
/// # Errors
/// If the kernel refuses, which it does not.
pub fn limit() -> Result<(), SandboxError> {
    let set = |resource, most| process::setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) });
    set(Resource::Core, 0).map_err(step("forbid core files"))?;
    set(Resource::Nproc, 0).map_err(step("forbid new processes"))?;
    set(Resource::Nofile, DESCRIPTORS).map_err(step("limit descriptors"))?;
    set(Resource::Msgqueue, 0).map_err(step("forbid message queues"))
    // No limit on file size: the cache is appended to, and its size is the warden's care.
}

/// Takes every capability but `kept` out of the bounding set: no program that is executed can have it again.
pub(super) fn limit_bounding_set(kept: CapabilitySet) -> rustix::io::Result<()> {
    for number in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        match thread::capability_is_in_bounding_set(capability) {
            Ok(true) if !kept.contains(capability) => {
                thread::remove_capability_from_bounding_set(capability)?;
            }
            Ok(_) => {}
            Err(rustix::io::Errno::INVAL) => break, // the kernel knows no more
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
