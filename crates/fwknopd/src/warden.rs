//! The process that holds the firewall: it has the right to change it, and no keys.
//!
//! It starts the others, checks each order against the limits of the stanza it names, opens, and closes when the time
//! has come. One thread, one `poll`: signals, the listener's pipe, the firewall's events, and the next end.
//!
//! ```text
//! signal ────────▶ end, or read the configuration again
//! listener ──────▶ Order ─▶ permitted? ─▶ firewall.open ─▶ ledger
//! ledger's time ─▶ firewall.close
//! ruleset event ─▶ firewall.mend
//! runner ────────▶ what a command wrote, and how it ended
//! ```

mod actions;
mod duty;
mod keyrings;
mod start;
mod task;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::clock::Moment;
use crate::journal::{Journal, Level};

use duty::Duty;
pub use start::Start;

/// How the watch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As it should: a signal, or the packet limit.
    Asked,
    /// The listener is gone.
    ListenerGone,
    /// An interface is gone, and `EXIT_AT_INTF_DOWN` is on.
    InterfaceGone,
    /// The runner is gone: what is open by commands cannot be closed by this process.
    RunnerGone,
}

/// The warden on watch: everything stands, packets are heard.
pub struct Warden {
    duty: Duty,
    /// Where its lines go.
    pub journal: Journal,
    signals: SignalFd,
}

impl Warden {
    /// Watches until somebody asks for the end or the listener is gone; then leaves the firewall as its settings say.
    pub fn watch(mut self) -> io::Result<End> {
        let end = loop {
            let woken = self.wait()?;
            if woken.signal
                && let Some(end) = self.heed_signal()?
            {
                break end;
            }
            if woken.listener
                && let Some(end) = self.duty.hear_listener(&mut self.journal)?
            {
                break end;
            }
            if woken.runner
                && let Some(end) = self.duty.actions.hear_runner(&mut self.journal)?
            {
                break end;
            }
            if woken.links && !self.duty.listening.follow_links(&mut self.journal) {
                break End::InterfaceGone;
            }
            self.duty.keep(woken.ruleset, &mut self.journal);
        };
        self.duty.retire(&mut self.journal);
        self.journal.write(Level::Info, "Shutting Down fwknopd.");
        Ok(end)
    }

    fn wait(&self) -> io::Result<Woken> {
        let listener = self.duty.listener_speaks();
        let events: Option<BorrowedFd<'_>> = self.duty.ruleset_events();
        let signals = self.signals.as_fd();
        let mut waited = vec![PollFd::new(&signals, PollFlags::IN), PollFd::new(&listener, PollFlags::IN)];
        let runner = self.duty.actions.runner_speaks();
        let links = self.duty.listening.link_events();
        waited.extend(events.iter().chain(&runner).chain(&links).map(|fd| PollFd::new(fd, PollFlags::IN)));
        let timeout = self.duty.next_deed().map(|at| at.saturating_sub(Moment::now().since_boot));
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match poll(&mut waited, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut woken = waited.iter().map(|fd| !fd.revents().is_empty());
        let mut next = || woken.next().unwrap_or_default();
        Ok(Woken {
            signal: next(),
            listener: next(),
            ruleset: events.is_some() && next(),
            runner: runner.is_some() && next(),
            links: links.is_some() && next(),
        })
    }

    fn heed_signal(&mut self) -> io::Result<Option<End>> {
        while let Some(signal) = self.signals.read_signal()? {
            let number = i32::try_from(signal.ssi_signo).unwrap_or_default();
            match Signal::try_from(number) {
                Ok(Signal::SIGHUP) => self.duty.reload(&mut self.journal),
                Ok(signal @ (Signal::SIGTERM | Signal::SIGINT)) => {
                    self.journal.write(Level::Info, "Gracefully leaving the fwknopd event loop.");
                    self.journal.write(Level::Warning, format_args!("Got {signal}. Exiting..."));
                    return Ok(Some(End::Asked));
                }
                _ => {} // USR1 and USR2 are harmless
            }
        }
        Ok(None)
    }
}

struct Woken {
    signal: bool,
    listener: bool,
    ruleset: bool,
    runner: bool,
    links: bool,
}

/// How long we wait for a child to read, understand or take over; expiry is at most that late meanwhile.
const PATIENCE: Duration = Duration::from_secs(10);
