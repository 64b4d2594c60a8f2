//! Giving up rights, for good.
//!
//! The listener reads what strangers send. So before it reads the first byte it gives up everything: [`confine`] is one
//! function, and it says what it achieved. What the process needs from then on it already has open.
//!
//! ```text
//! account      who it is         a user of its own, no groups, no capabilities, not traceable
//! limits       how much it has   no new processes, no core file, few descriptors
//! filesystem   what it reaches   no file, no TCP port, nobody's signals or sockets      (Landlock)
//! calls        what it may ask   read, write, wait, memory, clock                        (seccomp)
//! ```
//!
//! Each layer stands alone: one that is broken leaves the others. The first two exist on every kernel and must succeed; the
//! last two may be missing from a kernel, which is reported, or with `SANDBOX require` refused.
//!
//! The warden keeps what its work needs and gives up the rest: [`warden`]. Which user the listener becomes is said by
//! [`user`].

use std::{fmt, fs, io};

use thiserror::Error;

use self::user::Account;

pub mod calls;
pub mod filesystem;
pub mod rights;
pub mod user;
pub mod warden;

/// How the listener is to be confined.
#[derive(Clone, Copy, Debug)]
pub struct Confinement<'a> {
    /// Whom to become. A process that was not started as root stays who it is.
    pub account: &'a Account,
    /// `SANDBOX require`: a layer that this kernel lacks is an error.
    pub required: bool,
    /// It is to take connections on a socket that it is handed.
    pub accepts: bool,
}

/// Why the process is not confined. It must not go on.
#[derive(Debug, Error)]
pub enum SandboxError {
    /// Rights belong to threads; with more than one, some would keep theirs.
    #[error("sandbox: this process has {0} threads, and only one would be confined")]
    Threads(usize),
    /// A step that works on every kernel did not.
    #[error("sandbox: cannot {step}")]
    Step {
        /// What was tried.
        step: &'static str,
        /// What the kernel says.
        source: io::Error,
    },
    /// It was asked for as root and is not in this kernel.
    #[error("sandbox: {layer} is missing ({reason}), and SANDBOX says require")]
    Missing {
        /// Which layer.
        layer: &'static str,
        /// Why.
        reason: String,
    },
}

/// A layer that a kernel may lack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layer {
    /// It holds. What is said about it: `ABI 6`.
    Holds(String),
    /// It does not, and why.
    Missing(String),
}

/// What stands between a broken listener and the rest of the machine. Its text is one line for the log:
/// `sandbox: user fwknop (uid 60922), no capabilities, Landlock ABI 6, seccomp 38 calls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Achieved {
    /// Whom the process has become, or stayed.
    pub identity: String,
    /// Files, ports and other processes.
    pub landlock: Layer,
    /// System calls.
    pub seccomp: Layer,
}

impl Achieved {
    /// Whether no layer is missing.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        [&self.landlock, &self.seccomp].iter().all(|layer| matches!(layer, Layer::Holds(_)))
    }
}

impl fmt::Display for Achieved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { identity, landlock, seccomp } = self;
        write!(f, "sandbox: {identity}, no capabilities, Landlock {landlock}, seccomp {seccomp}")
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Holds(how) => f.write_str(how),
            Self::Missing(why) => write!(f, "MISSING ({why})"),
        }
    }
}

/// Gives up everything but what is open already. There is no way back, and no second call.
///
/// The process must have one thread. Descriptors stay usable: sockets to receive from, the cache to append to, pipes.
///
/// # Errors
/// If a layer that every kernel has did not work, or one is missing that was required. Some rights may be gone by then:
/// the process has to end.
pub fn confine(confinement: &Confinement<'_>) -> Result<Achieved, SandboxError> {
    only_one_thread()?;
    let identity = rights::become_nobody_else(confinement.account)?;
    rights::limit()?;
    let landlock = filesystem::close()?;
    let seccomp = calls::restrict(confinement.accepts)?;
    let achieved = Achieved { identity, landlock, seccomp };
    if confinement.required {
        for (layer, state) in [("Landlock", &achieved.landlock), ("seccomp", &achieved.seccomp)] {
            if let Layer::Missing(reason) = state {
                return Err(SandboxError::Missing { layer, reason: reason.clone() });
            }
        }
    }
    Ok(achieved)
}

fn only_one_thread() -> Result<(), SandboxError> {
    let threads = fs::read_dir("/proc/self/task").map_err(step("count the threads in /proc/self/task"))?;
    match threads.count() {
        1 => Ok(()),
        several => Err(SandboxError::Threads(several)),
    }
}

/// Names the step that an error of the kernel's belongs to.
fn step<E: Into<io::Error>>(step: &'static str) -> impl Fn(E) -> SandboxError {
    move |source| SandboxError::Step { step, source: source.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_in_one_line_what_stands_and_what_is_missing() {
        let mut achieved = Achieved {
            identity: "user fwknop (uid 60922)".into(),
            landlock: Layer::Holds("ABI 6".into()),
            seccomp: Layer::Holds("38 calls".into()),
        };
        let line = "sandbox: user fwknop (uid 60922), no capabilities, Landlock ABI 6, seccomp 38 calls";
        assert_eq!(achieved.to_string(), line);
        assert!(achieved.is_complete());
        achieved.landlock = Layer::Missing("not in this kernel".into());
        assert!(achieved.to_string().contains("Landlock MISSING (not in this kernel), seccomp 38 calls"));
        assert!(!achieved.is_complete());
    }

    #[test]
    fn refuses_a_process_with_several_threads() {
        // The test runner has at least its own thread and this one.
        let threads = std::thread::scope(|scope| scope.spawn(only_one_thread).join().unwrap());
        assert!(matches!(threads, Err(SandboxError::Threads(2..))));
    }
}
