//! Which system calls a listener may make: seccomp.
//!
//! Two filters, and the kernel obeys the stricter. The first allows what the listener does: read, write, wait, memory, clock,
//! end. Everything else fails with `EPERM` and the process goes on, because a C library or allocator of another version may
//! politely try something we have not seen here, and a listener that dies of that is a lock-out.
//!
//! The second kills for what has no innocent caller in this program: executing, forking, new sockets, tracing, changing user,
//! mounting. Whoever asks for these has taken the process over, so it must not live to try the next thing; the warden sees
//! it die of `SIGSYS`.

use super::{Layer, SandboxError};

/// Restricts this process to the calls of a listener, and says how many there are. Taking connections is one of them only
/// if it `accepts` any.
///
/// # Errors
/// If the kernel has the means but refuses to use them.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub fn restrict(accepts: bool) -> Result<Layer, SandboxError> {
    listed::restrict(accepts)
}

/// Says that there is no list of calls for this processor.
///
/// # Errors
/// Never.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub fn restrict(_accepts: bool) -> Result<Layer, SandboxError> {
    Ok(Layer::Missing("no list of calls for this processor".into()))
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod listed {
    use std::{collections::BTreeMap, io};

    use nix::{errno::Errno, libc};
    use seccompiler::{
        BpfProgram, Error, SeccompAction, SeccompCmpArgLen as Width, SeccompCmpOp as Is, SeccompCondition,
        SeccompFilter, SeccompRule,
    };

    use super::super::{Layer, SandboxError, step};

    /// Calls that are allowed whatever their arguments.
    const ALLOWED: &[i64] = &[
        // packets, orders, cache
        libc::SYS_read,
        libc::SYS_readv,
        libc::SYS_recvfrom,
        libc::SYS_recvmsg,
        libc::SYS_recvmmsg,
        libc::SYS_getsockname,
        libc::SYS_getsockname, // is the interface still there?
        libc::SYS_write,
        libc::SYS_writev,
        libc::SYS_fdatasync,
        libc::SYS_fsync,
        libc::SYS_fstat,
        libc::SYS_lseek,
        libc::SYS_close,
        // waiting
        #[cfg(target_arch = "x86_64")]
        libc::SYS_poll,
        libc::SYS_ppoll,
        libc::SYS_nanosleep,
        libc::SYS_clock_nanosleep,
        libc::SYS_restart_syscall,
        libc::SYS_futex,
        libc::SYS_sched_yield,
        // clock and chance
        libc::SYS_clock_gettime,
        libc::SYS_gettimeofday,
        libc::SYS_getrandom,
        // memory
        libc::SYS_brk,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_madvise,
        // signals to itself, and the end
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sigaltstack,
        libc::SYS_getpid,
        libc::SYS_gettid,
        libc::SYS_exit,
        libc::SYS_exit_group,
    ];

    /// Calls that nothing in this program makes.
    const DEADLY: &[i64] = &[
        libc::SYS_execve,
        libc::SYS_execveat,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_fork,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_vfork,
        libc::SYS_clone,
        libc::SYS_clone3,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_socket,
        libc::SYS_connect,
        libc::SYS_bind,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_pidfd_getfd,
        libc::SYS_setuid,
        libc::SYS_setreuid,
        libc::SYS_setresuid,
        libc::SYS_setgid,
        libc::SYS_setregid,
        libc::SYS_setresgid,
        libc::SYS_setgroups,
        libc::SYS_capset,
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_pivot_root,
        libc::SYS_chroot,
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_userfaultfd,
        libc::SYS_io_uring_setup,
        libc::SYS_keyctl,
        libc::SYS_add_key,
        libc::SYS_init_module,
        libc::SYS_finit_module,
        libc::SYS_kexec_load,
    ];

    type Rules = BTreeMap<i64, Vec<SeccompRule>>;

    pub(super) fn restrict(accepts: bool) -> Result<Layer, SandboxError> {
        let failed = |error: Error| step("prepare the system call filter")(io::Error::other(error));
        let mut allowed = allowed().map_err(failed)?;
        if accepts {
            allowed.insert(libc::SYS_accept4, vec![]);
        }
        let calls = allowed.len();
        let refuse = SeccompAction::Errno(Errno::EPERM as u32);
        let polite = program(allowed, refuse, SeccompAction::Allow).map_err(failed)?;
        let deadly = DEADLY.iter().map(|call| (*call, vec![])).collect();
        let deadly = program(deadly, SeccompAction::Allow, SeccompAction::KillProcess).map_err(failed)?;
        // The deadly one first: once the polite one stands, no more can be added.
        for program in [&deadly, &polite] {
            match seccompiler::apply_filter_all_threads(program) {
                Ok(()) => {}
                Err(Error::Seccomp(error)) if error.raw_os_error() == Some(libc::ENOSYS) => {
                    return Ok(Layer::Missing("not in this kernel".into()));
                }
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(Layer::Holds(format!("{calls} calls")))
    }

    fn program(rules: Rules, otherwise: SeccompAction, listed: SeccompAction) -> Result<BpfProgram, Error> {
        let here = std::env::consts::ARCH.try_into()?;
        Ok(SeccompFilter::new(rules, otherwise, listed, here)?.try_into()?)
    }

    fn allowed() -> Result<Rules, Error> {
        let mut rules: Rules = ALLOWED.iter().map(|call| (*call, vec![])).collect();
        let no_code = Is::MaskedEq(u64::from(libc::PROT_EXEC.unsigned_abs()));
        let only_if = |argument, width, is, value| {
            Ok::<_, Error>(vec![SeccompRule::new(vec![SeccompCondition::new(argument, width, is, value)?])?])
        };
        // memory, but never code
        rules.insert(libc::SYS_mmap, only_if(2, Width::Dword, no_code.clone(), 0)?);
        rules.insert(libc::SYS_mprotect, only_if(2, Width::Dword, no_code, 0)?);
        // a connected socket (the signal handler's pipe to itself), but no address
        rules.insert(libc::SYS_sendto, only_if(4, Width::Qword, Is::Eq, 0)?);
        // a filter for a socket it was handed; that takes away, and gives nothing
        let attach = SeccompRule::new(vec![
            SeccompCondition::new(1, Width::Dword, Is::Eq, u64::from(libc::SOL_SOCKET.unsigned_abs()))?,
            SeccompCondition::new(2, Width::Dword, Is::Eq, u64::from(libc::SO_ATTACH_FILTER.unsigned_abs()))?,
        ])?;
        rules.insert(libc::SYS_setsockopt, vec![attach]);
        // abort() signals itself, nobody else
        let own = std::process::id().into();
        rules.insert(libc::SYS_tgkill, only_if(0, Width::Dword, Is::Eq, own)?);
        Ok(rules)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn no_call_is_both_allowed_and_deadly() {
            let allowed = allowed().unwrap();
            assert!(DEADLY.iter().all(|call| !allowed.contains_key(call)));
        }
    }
}
