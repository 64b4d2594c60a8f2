//! From a command line to a warden on watch: every step that can fail comes before the first packet is heard.
//!
//! ```text
//! reader ─▶ Brief ─▶ run folder ─▶ PID file ─▶ digest file, sockets ─▶ listener ready ─▶ runner ─▶ firewall ─▶ listener hears
//! ```

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use thiserror::Error;

use super::actions::Actions;
use super::duty::Duty;
use super::{PATIENCE, Warden};
use crate::access::Stanza;
use crate::args::Args;
use crate::brief::{Brief, BriefError};
use crate::capture::interfaces::{Change, Watch};
use crate::capture::packet;
use crate::child::{Child, ChildError, Role};
use crate::clock::Moment;
use crate::config::Config;
use crate::firewall::choose::choose;
use crate::firewall::{Firewall, FirewallError};
use crate::handover::Handover;
use crate::hearing::{Hearing, HearingError};
use crate::journal::{Journal, Level};
use crate::ledger::Ledger;
use crate::pidfile::{PidFile, PidFileError};
use crate::report::Report;
use crate::runfiles::{self, Digests, RunFilesError};
use crate::sandbox::user::{Account, AccountError};
use crate::sandbox::{self, SandboxError};

/// What was asked for, and where we stood when it was.
pub struct Start {
    /// The words of the command line; a reload reads them again.
    pub words: Vec<OsString>,
    /// What they say.
    pub args: Args,
    /// The folder we were started in: relative paths start here, also at a reload.
    pub folder: PathBuf,
}

/// Why there is no warden.
#[derive(Debug, Error)]
pub enum StartError {
    /// The configuration is wrong; what is wrong has been told.
    #[error("the configuration was refused")]
    Configuration,
    #[error(transparent)]
    #[allow(missing_docs)]
    Child(#[from] ChildError),
    #[error(transparent)]
    #[allow(missing_docs)]
    Brief(#[from] BriefError),
    #[error(transparent)]
    #[allow(missing_docs)]
    RunFiles(#[from] RunFilesError),
    #[error(transparent)]
    #[allow(missing_docs)]
    PidFile(#[from] PidFileError),
    #[error(transparent)]
    #[allow(missing_docs)]
    Hearing(#[from] HearingError),
    #[error(transparent)]
    #[allow(missing_docs)]
    Firewall(#[from] FirewallError),
    #[error(transparent)]
    #[allow(missing_docs)]
    Account(#[from] AccountError),
    #[error(transparent)]
    #[allow(missing_docs)]
    Sandbox(#[from] SandboxError),
    /// A reload asks for what only a start can give.
    #[error("{0}; this takes a restart of fwknopd")]
    NeedsRestart(&'static str),
    /// The kernel refused something that it never refuses.
    #[error("{doing}")]
    System {
        /// What we were doing.
        doing: &'static str,
        /// The reason.
        source: io::Error,
    },
}

/// A configuration that the reader has read and found good, with the end of the pipe through which its keys will come.
pub(super) struct Read {
    pub(super) brief: Brief,
    keys: OwnedFd,
    /// Writes the keys, and ends; kept so that it is waited for.
    _reader: Child,
}

/// A listener, and the policy it was started with: its orders are measured by that policy and no other.
pub(super) struct Listening {
    pub(super) child: Child,
    pub(super) config: Config,
    stanzas: Vec<Stanza>,
    hearing: Hearing,
    sockets: Vec<OwnedFd>,
    /// Run gpg for this listener; they end when it has gone.
    _keyrings: Vec<Child>,
    /// Where interfaces are named: which of them are there.
    watch: Option<Watch>,
    /// Interfaces that have come, and that the listener does not hear yet.
    appeared: Vec<String>,
}

impl Listening {
    /// The stanza with this number, counted from 1.
    pub(super) fn stanza(&self, number: u32) -> Option<&Stanza> {
        self.stanzas.iter().find(|stanza| stanza.number == number)
    }

    /// Whether a runner is needed.
    pub(super) fn runs_commands(&self) -> bool {
        self.stanzas.iter().any(Stanza::runs_commands)
    }

    /// Whether a firewall is needed: with cycles alone it is left as it is.
    pub(super) fn opens_doors(&self) -> bool {
        self.stanzas.iter().any(Stanza::opens_doors)
    }

    /// Hands over the sockets and waits until no packet is missed any more.
    pub(super) fn go(&mut self, sockets: Vec<OwnedFd>, journal: &mut Journal) -> Result<(), ChildError> {
        self.sockets = sockets;
        self.watch = self.hearing.watch().map_err(|source| ChildError::Start { role: "listener", source })?;
        let links = self.first_look(journal);
        let handover = Handover::Go { sockets: std::mem::take(&mut self.sockets), links };
        self.child.hand(&handover)?;
        if let Handover::Go { sockets, .. } = handover {
            self.sockets = sockets;
        }
        loop {
            match self.child.await_report(PATIENCE)? {
                Report::Hearing => return Ok(()),
                Report::Log(line) => journal.line(&line),
                other => journal.write(Level::Warning, format_args!("the listener said '{other}' out of turn")),
            }
        }
    }

    /// Finds the interfaces that are there, and says which are waited for.
    fn first_look(&mut self, journal: &mut Journal) -> Vec<u32> {
        let change = self.look(journal);
        let present = change.map(|change| change.present).unwrap_or_default();
        if let Some(watch) = &self.watch {
            for missing in watch.wanted().missing(&present) {
                let text = format_args!(
                    "PCAP_INTF: there is no interface {missing} yet; nothing is heard on it until there is"
                );
                journal.write(Level::Warning, text);
            }
        }
        present.iter().map(|link| link.index).collect()
    }

    /// Readable when an interface has come or gone.
    pub(super) fn link_events(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(Watch::events)
    }

    /// Follows interfaces that have come or gone; `false` if that is the end.
    pub(super) fn follow_links(&mut self, journal: &mut Journal) -> bool {
        let Some(change) = self.look(journal) else { return true };
        let (last, how) = match self.hearing.ends_with_its_interfaces() {
            true => (true, "Fatal error"),
            false => (false, "Error"),
        };
        for word in &change.gone {
            let text = format_args!("[*] {how} from pcap_dispatch: {word}: the interface is gone");
            journal.write(Level::Error, text);
        }
        if last && !change.gone.is_empty() {
            return false;
        }
        let links = change.present.iter().map(|link| link.index).collect();
        if let Err(error) = self.child.hand(&Handover::Links(links)) {
            journal.write(Level::Error, crate::chain(&error)); // it has gone, which is found at once
        }
        self.appeared.extend(change.new.into_iter().map(|link| link.name));
        true
    }

    /// Says which interfaces have come: after that line no packet is missed on them.
    pub(super) fn say_what_appeared(&mut self, journal: &mut Journal) {
        for name in self.appeared.drain(..) {
            journal.write(Level::Warning, format_args!("Sniffing interface: {name} (it is there now)"));
        }
    }

    /// What has changed; a socket for one interface is bound to the new one.
    fn look(&mut self, journal: &mut Journal) -> Option<Change> {
        let watch = self.watch.as_mut()?;
        let change = match watch.look() {
            Ok(change) => change?,
            Err(error) => {
                journal.write(Level::Error, format_args!("cannot tell which interfaces there are: {error}"));
                return None;
            }
        };
        if let (Some(name), Some(socket)) = (watch.wanted().single(), self.sockets.first())
            && !change.new.is_empty()
            && let Err(error) = packet::bind(socket.as_fd(), name)
        {
            journal.write(Level::Error, format_args!("cannot listen to {name}: {error}"));
        }
        Some(change)
    }

    /// The lines that say what is heard; after the last of them no packet is missed.
    pub(super) fn say_what_is_heard(&self, journal: &mut Journal) {
        for line in self.hearing.lines() {
            journal.write(Level::Info, line);
        }
    }
}

impl Start {
    /// Everything, up to the watch.
    pub fn take_up(self, journal: &mut Journal) -> Result<Warden, StartError> {
        let signals = block_signals()?;
        let read = self.read_configuration(journal)?;
        let config = read.brief.config.clone();
        self.set_up_log(&config, journal);
        runfiles::make_run_folder(&config, journal)?;
        let pid_file = PidFile::take(&config.pid_file)?;
        journal.write(Level::Info, "Starting fwknopd");
        warn_about_memory_across_boots(&config, journal);
        let account = Account::choose(config.listener_user.as_deref())?;
        let digests = Digests::open(&config, self.args.rotate_digest_cache, journal)?;
        let mut listening = self.ready_listener(read, &account, &digests, journal)?;
        let sockets = listening.hearing.open()?;
        let promiscuous = listening.hearing.hold_promiscuous()?;
        let actions = match self.args.test {
            true => Actions::default(),
            false => Actions::take_up(listening.runs_commands(), &config.run_dir, &self.folder, journal)?,
        };
        let mut firewall = self.ready_firewall(&listening, journal)?;
        let heard = sandbox::warden::reduce(firewall.as_deref().is_some_and(|firewall| firewall.name() == "iptables"))
            .map_err(StartError::from)
            .and_then(|()| Ok(listening.go(sockets, journal)?));
        if let Err(error) = heard {
            if let Some(firewall) = &mut firewall {
                let _ = firewall.retire(); // nothing half-started is left behind; the error below is the one to tell
            }
            return Err(error);
        }
        listening.say_what_is_heard(journal);
        let duty = Duty {
            start: self,
            listening,
            _promiscuous: promiscuous,
            account,
            digests,
            firewall,
            ledger: Ledger::default(),
            unclosed: None,
            unmended: None,
            actions,
            _pid_file: pid_file,
        };
        Ok(Warden { duty, journal: std::mem::replace(journal, Journal::on_stderr(0)), signals })
    }

    /// Has the files read by a child that does nothing else.
    pub(super) fn read_configuration(&self, journal: &mut Journal) -> Result<Read, StartError> {
        let (keys, writing) =
            io::pipe().map_err(|source| StartError::System { doing: "cannot make a pipe", source })?;
        let mut reader = Child::start(Role::Reader, &self.words, &self.folder)?;
        reader.hand(&Handover::Keys(writing.into()))?;
        loop {
            match reader.await_report(PATIENCE) {
                Ok(Report::Policy { generation: _, bytes }) => {
                    let text = reader.await_bytes(bytes, PATIENCE)?;
                    let brief = Brief::parse(&String::from_utf8_lossy(&text), &self.args)?;
                    return Ok(Read { brief, keys: keys.into(), _reader: reader });
                }
                Ok(Report::Log(line)) => journal.line(&line),
                Ok(other) => journal.write(Level::Warning, format_args!("the reader said '{other}' out of turn")),
                Err(ChildError::Ended { .. }) => return Err(StartError::Configuration), // it has told why
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Starts a listener for a configuration and waits until it has understood it and given up its rights.
    pub(super) fn ready_listener(
        &self,
        read: Read,
        account: &Account,
        digests: &Digests,
        journal: &mut Journal,
    ) -> Result<Listening, StartError> {
        let Read { brief, keys, _reader } = read;
        let system = |source| StartError::System { doing: "cannot hand over the digest file", source };
        let keyrings = self.ready_keyrings(&brief.stanzas, journal)?;
        let words: Vec<_> = [account.to_word().into()].into_iter().chain(self.words.iter().cloned()).collect();
        let mut child = Child::start(Role::Listener, &words, &self.folder)?;
        let (reading, claims) = (digests.reading().map_err(system)?, digests.appending().map_err(system)?);
        child.hand(&Handover::Begin { policy: keys, digests: reading, claims, keyrings: keyrings.sockets })?;
        loop {
            match child.await_report(PATIENCE)? {
                Report::Ready(generation) if generation == brief.generation => break,
                Report::Log(line) => journal.line(&line),
                other => journal.write(Level::Warning, format_args!("the listener said '{other}' out of turn")),
            }
        }
        let hearing = Hearing::of(&brief.config);
        let Brief { config, stanzas, .. } = brief;
        Ok(Listening {
            child,
            config,
            stanzas,
            hearing,
            sockets: Vec::new(),
            watch: None,
            appeared: Vec::new(),
            _keyrings: keyrings.children,
        })
    }

    fn ready_firewall(
        &self,
        listening: &Listening,
        journal: &mut Journal,
    ) -> Result<Option<Box<dyn Firewall>>, StartError> {
        if self.args.test || !listening.opens_doors() {
            return Ok(None);
        }
        let chosen = choose(&listening.config.firewall())?;
        for notice in &chosen.notices {
            journal.line(notice);
        }
        let mut firewall = chosen.firewall;
        for notice in firewall.prepare(Moment::now().unix)? {
            journal.line(&notice);
        }
        Ok(Some(firewall))
    }

    /// The sockets for a successor: the same ones, if it hears the same way; else new ones.
    pub(super) fn sockets_for(&self, present: &Listening, next: &Listening) -> Result<Vec<OwnedFd>, StartError> {
        Ok(next.hearing.open_after(&present.hearing, &present.sockets)?)
    }

    /// Says which changed settings are in force only after a restart.
    pub(super) fn tell_what_needs_a_restart(&self, present: &Listening, next: &Read, journal: &mut Journal) {
        let next = &next.brief.config;
        for (what, same) in [
            ("the settings of the firewall", present.config.firewall() == next.firewall()),
            ("FWKNOP_PID_FILE", present.config.pid_file == next.pid_file),
            ("the digest file", present.config.digest_file == next.digest_file),
            ("LISTENER_USER", present.config.listener_user == next.listener_user),
        ] {
            if !same {
                journal
                    .write(Level::Warning, format_args!("{what} changed; the old ones stay in force until a restart"));
            }
        }
    }

    fn set_up_log(&self, config: &Config, journal: &mut Journal) {
        let mut wanted = Journal::on_stderr(config.verbose);
        if !self.args.foreground {
            wanted = wanted.hush_stderr();
        }
        if !self.args.foreground || self.args.syslog_enable {
            wanted = wanted.with_syslog(&config.syslog);
        }
        *journal = wanted;
    }
}

/// Without ageing a packet stays good for ever, so what was used up must be known for ever.
fn warn_about_memory_across_boots(config: &Config, journal: &mut Journal) {
    let reads_a_file = config.capture.file.is_some();
    if config.max_age.is_none() && !reads_a_file {
        let text = "ENABLE_SPA_PACKET_AGING is N: used packets are refused only as long as the digest file exists, so it \
                    must lie on a disk (DIGEST_FILE), not in a folder that is emptied when the machine boots";
        journal.write(Level::Warning, text);
    }
}

/// From now on signals are read, not suffered.
fn block_signals() -> Result<SignalFd, StartError> {
    let ours = [Signal::SIGHUP, Signal::SIGTERM, Signal::SIGINT, Signal::SIGUSR1, Signal::SIGUSR2];
    let mask: SigSet = ours.into_iter().collect();
    mask.thread_block()
        .and_then(|()| SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC))
        .map_err(|errno| StartError::System { doing: "cannot take signals", source: errno.into() })
}
