//! The processes we start: this same program in another role.
//!
//! A child is told what to do over a socket that is its standard input ([`Handover`]) and tells what it does in lines on
//! its standard output ([`Report`]). Its error stream is the same pipe, so that the last words of a process that breaks are
//! heard, too. When either side is gone, the other reads the end.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::SendFlags;
use rustix::thread::CapabilitySet;
use thiserror::Error;

use crate::handover::Handover;
use crate::report::{NotAReport, Report, Reports};
use crate::sandbox;

/// What one of our processes is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Opens and reads the configuration, once.
    Reader,
    /// Hears packets, without any right.
    Listener,
    /// Runs commands, as an ordinary root service would.
    Runner,
    /// Runs gpg, as the owner of a gpg home.
    Keyring,
    /// The warden in the background.
    Daemon,
}

impl Role {
    /// The first word of its command line.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Reader => "read",
            Self::Listener => "listen",
            Self::Runner => "run",
            Self::Keyring => "keyring",
            Self::Daemon => "daemon",
        }
    }

    /// The role that a first word names.
    pub fn from_word(word: &str) -> Option<Self> {
        let mut all = [Self::Reader, Self::Listener, Self::Runner, Self::Keyring, Self::Daemon].into_iter();
        all.find(|role| role.word() == word)
    }
}

/// A command line for this program in another role, with the words the user gave.
pub fn command(role: Role, words: &[OsString]) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("fwknopd").arg(role.word()).args(words);
    command
}

/// A running child and the two lines to it.
#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
    handover: Option<UnixStream>,
    output: io::PipeReader,
    reports: Reports,
    /// Its output has ended.
    over: bool,
    role: Role,
}

/// Why a child is of no use to us.
#[derive(Debug, Error)]
pub enum ChildError {
    /// It could not be started or talked to.
    #[error("cannot start the {role} process")]
    Start {
        /// Its role.
        role: &'static str,
        /// The reason.
        source: io::Error,
    },
    /// It ended before it had said what we wait for; it has told why.
    #[error("the {role} process ended early ({status})")]
    Ended {
        /// Its role.
        role: &'static str,
        /// How.
        status: ExitStatus,
    },
    /// It did not answer in time.
    #[error("the {role} process did not answer within {patience:?}")]
    Silent {
        /// Its role.
        role: &'static str,
        /// How long we waited.
        patience: Duration,
    },
    /// It wrote what none of ours writes.
    #[error(transparent)]
    Nonsense(#[from] NotAReport),
}

impl Child {
    /// Starts this program in `role`, in the folder the user started us from.
    pub fn start(role: Role, words: &[OsString], folder: &Path) -> Result<Self, ChildError> {
        let failed = |source| ChildError::Start { role: role.word(), source };
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        let (output, its_output) = io::pipe().map_err(failed)?;
        let process = command(role, words)
            .current_dir(folder)
            .stdin(OwnedFd::from(theirs))
            .stdout(its_output.try_clone().map_err(failed)?)
            .stderr(its_output)
            .spawn()
            .map_err(failed)?;
        rustix::io::ioctl_fionbio(&output, true).map_err(|errno| failed(errno.into()))?;
        Ok(Self { process, handover: Some(ours), output, reports: Reports::default(), over: false, role })
    }

    /// Hands something over to it.
    pub fn hand(&self, what: &Handover) -> Result<(), ChildError> {
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        self.handover
            .as_ref()
            .ok_or_else(gone)
            .and_then(|socket| what.send(socket))
            .map_err(|source| ChildError::Start { role: self.role.word(), source })
    }

    /// Asks it for something by a line. Whole or not at all, and at once: we do not wait for one that does not read.
    pub fn ask(&self, what: impl fmt::Display) -> io::Result<()> {
        let socket = self.handover.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        let line = format!("{what}\n");
        match rustix::net::send(socket, line.as_bytes(), SendFlags::DONTWAIT | SendFlags::NOSIGNAL)? {
            sent if sent == line.len() => Ok(()),
            _ => Err(io::ErrorKind::WriteZero.into()),
        }
    }

    /// Readable when it has something to say, or has ended.
    pub fn speaks(&self) -> BorrowedFd<'_> {
        self.output.as_fd()
    }

    /// Reads what it has written. `false` when its output has ended; lines may be left to take even then.
    pub fn listen(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 4096];
        loop {
            match self.output.read(&mut buffer) {
                Ok(0) => {
                    self.over = true;
                    return Ok(false);
                }
                Ok(length) => self.reports.feed(buffer.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The next line it has written, if one is complete.
    pub fn report(&mut self) -> Result<Option<Report>, NotAReport> {
        self.reports.next_line()
    }

    /// Waits for its next line.
    pub fn await_report(&mut self, patience: Duration) -> Result<Report, ChildError> {
        let until = Instant::now() + patience;
        loop {
            if let Some(report) = self.reports.next_line()? {
                return Ok(report);
            }
            self.await_output(until, patience)?;
        }
    }

    /// Waits for the bytes that a [`Report::Policy`] announced.
    pub fn await_bytes(&mut self, bytes: usize, patience: Duration) -> Result<Vec<u8>, ChildError> {
        let until = Instant::now() + patience;
        loop {
            if let Some(taken) = self.reports.take(bytes) {
                return Ok(taken);
            }
            self.await_output(until, patience)?;
        }
    }

    fn await_output(&mut self, until: Instant, patience: Duration) -> Result<(), ChildError> {
        let role = self.role.word();
        if self.over {
            let status = self.process.wait().map_err(|source| ChildError::Start { role, source })?;
            return Err(ChildError::Ended { role, status });
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ChildError::Silent { role, patience });
        }
        let timeout = Timespec::try_from(left).ok();
        match poll(&mut [PollFd::new(&self.output, PollFlags::IN)], timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(ChildError::Start { role, source: errno.into() }),
        }
        self.listen().map(drop).map_err(|source| ChildError::Start { role, source })
    }

    /// Tells it that its time is over: it finishes what it is doing, and ends.
    pub fn dismiss(&mut self) {
        self.handover = None;
    }
}

impl Drop for Child {
    /// No child outlives its use: whoever was not waited for is ended by force.
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(Some(_))) {
            return;
        }
        // A listener is another user by now. If it cannot be ended, it is not waited for either: it has nobody to talk to.
        let ended = sandbox::warden::with(CapabilitySet::KILL, || self.process.kill()).and_then(|killed| killed);
        if ended.is_ok() {
            let _ = self.process.wait();
        }
    }
}
