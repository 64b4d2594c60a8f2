//! The process that hears packets: it has the keys and no rights.
//!
//! It is told its policy, gives up everything it will not need, says that it is ready, and waits. Once it is handed the
//! sockets it hears: every packet goes through the [`Engine`], every order goes out as one line. It never executes
//! anything, opens nothing, and talks to nobody but the warden; when the warden closes its end, it finishes and goes.
//!
//! ```text
//! Begin ─▶ policy, digests ─▶ confined ─▶ "ready" ─▶ Go ─▶ "hearing" ─▶ Arrival ─▶ Order … ─▶ end
//! ```

mod breath;

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use spa::UnixTime;
use thiserror::Error;

use self::breath::Breath;
use crate::args::Args;
use crate::arrival::{Arrival, Transport};
use crate::brief::{Brief, BriefError};
use crate::capture::Capture;
use crate::clock::Moment;
use crate::config;
use crate::engine::{Engine, KeyedStanza};
use crate::forwarded::Requests;
use crate::handover::Handover;
use crate::hearing::{Hearing, HearingError};
use crate::journal::{Level, Tally, Throttle};
use crate::keyring::{self, Keyrings};
use crate::policy::Terms;
use crate::refusal::Note;
use crate::replay::DigestFile;
use crate::report::{self, Report};
use crate::sandbox::user::Account;
use crate::sandbox::{self, Confinement};

/// Packets taken from one socket before the others, and the warden, get their turn.
const TURN: usize = 256;

/// Why a listener ended before its time.
#[derive(Debug, Error)]
enum ListenerError {
    #[error("the listener is started by fwknopd itself; its standard input is no hand-over")]
    NotStartedByUs,
    #[error("cannot read the policy")]
    Policy(#[source] io::Error),
    #[error(transparent)]
    Brief(#[from] BriefError),
    #[error("cannot read the digest file")]
    Digests(#[source] io::Error),
    #[error(transparent)]
    Hearing(#[from] HearingError),
    #[error(transparent)]
    Sandbox(#[from] sandbox::SandboxError),
    #[error("a keyring process is gone, and GPG packets could not be opened any more")]
    KeyringGone,
    #[error("cannot talk to the warden")]
    Warden(#[from] io::Error),
}

/// Runs the listener until the warden dismisses it.
pub fn run(words: &[OsString]) -> ExitCode {
    match listen(words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without a warden there is nobody to tell.
            let _ = report::log(io::stdout(), Level::Error, crate::chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn listen(words: &[OsString]) -> Result<(), ListenerError> {
    let stdin = io::stdin();
    let Ok(Some(Handover::Begin { policy, digests, claims, keyrings })) = Handover::receive(&stdin) else {
        return Err(ListenerError::NotStartedByUs);
    };
    let (account, words) = words.split_first().ok_or(ListenerError::NotStartedByUs)?;
    let account = Account::from_word(account).ok_or(ListenerError::NotStartedByUs)?;
    let args = Args::trusted(words);
    let mut text = zeroize::Zeroizing::new(String::new());
    File::from(policy).read_to_string(&mut text).map_err(ListenerError::Policy)?;
    let brief = Brief::parse(&text, &args)?;
    drop(text);
    let keys = brief.keys()?;
    let terms = Terms { max_age: brief.config.max_age.map(u64::from), test_mode: args.test };
    let hearing = Hearing::of(&brief.config);
    let prepared = hearing.prepare()?;
    let mut used = DigestFile::new(digests.into(), claims.into());
    read_digests(&mut used, &brief, &terms)?;
    let required = brief.config.sandbox == config::Sandbox::Require;
    let achieved = sandbox::confine(&Confinement { account: &account, required, accepts: hearing.accepts() })?;
    report::log(io::stdout(), Level::Info, format_args!("listener: {achieved}"))?;
    Report::Ready(brief.generation.clone()).send(io::stdout())?;

    let keyrings = Keyrings::new(keyring::homes(&brief.stanzas), keyrings);
    let (sockets, links) = match Handover::receive(&stdin)? {
        Some(Handover::Go { sockets, links }) => (sockets, links),
        Some(_) => return Err(ListenerError::NotStartedByUs),
        None => return Ok(()), // not wanted after all
    };
    read_digests(&mut used, &brief, &terms)?; // what our predecessor has added meanwhile
    let captures = prepared.attach(sockets, &links)?;
    let habits = Habits {
        verbose: brief.config.verbose > 0,
        limit: args.packet_limit.into(),
        udp_server: hearing.is_udp_server(),
    };
    let stanzas = brief.stanzas.into_iter().zip(keys).filter_map(|(stanza, keys)| KeyedStanza::new(stanza, keys));
    let requests = Requests::of(brief.config.http.as_ref());
    let engine = Engine::new(stanzas.collect(), used, terms).taking(requests).with_keyring(Box::new(keyrings));
    Report::Hearing.send(io::stdout())?;
    let listener = Listener {
        engine,
        captures,
        throttle: Throttle::default(),
        notes: Vec::new(),
        habits,
        busy: false,
        breath: Breath::default(),
    };
    listener.hear_until_dismissed(stdin.as_fd())
}

/// Reads the digest file on, and tells what in it is no entry.
fn read_digests(used: &mut DigestFile, brief: &Brief, terms: &Terms) -> Result<(), ListenerError> {
    // The line has the time of reception; the packet's own may be one age later, and is good for another.
    let floor = terms.max_age.map_or(0, |age| Moment::now().unix.0.saturating_sub(2 * age));
    let file = brief.config.digest_file.as_deref().unwrap_or(Path::new("memory"));
    for bad in used.read_on(UnixTime(floor)).map_err(ListenerError::Digests)? {
        let number = bad.number;
        report::log(
            io::stdout(),
            Level::Info,
            format_args!("*Skipping invalid digest file entry in {} at line {number}.", file.display()),
        )?;
        report::log(io::stdout(), Level::Info, format_args!(" - {}", bad.text))?;
    }
    Ok(())
}

struct Listener {
    engine: Engine<DigestFile>,
    captures: Vec<Box<dyn Capture>>,
    throttle: Throttle,
    notes: Vec<Note>,
    habits: Habits,
    /// Some capture may have more for us at once.
    busy: bool,
    /// How long to let strangers gather.
    breath: Breath,
}

/// What the settings say of how we listen.
#[derive(Clone, Copy, Debug)]
struct Habits {
    /// Debug lines are wanted.
    verbose: bool,
    /// Datagrams come in at a port of ours.
    udp_server: bool,
    /// `-C`; 0 is no limit.
    limit: u64,
}

impl Listener {
    fn hear_until_dismissed(mut self, warden: BorrowedFd<'_>) -> Result<(), ListenerError> {
        loop {
            if self.wait(warden)? {
                match Handover::receive(warden)? {
                    Some(Handover::Links(links)) => {
                        self.captures.iter_mut().try_for_each(|capture| capture.follow(&links))?;
                        Report::Hearing.send(io::stdout())?;
                    }
                    Some(_) => return Err(ListenerError::NotStartedByUs),
                    None => return Ok(()),
                }
            }
            self.hear()?;
            if self.engine.keyring_gone() {
                return Err(ListenerError::KeyringGone);
            }
            let heard: u64 = self.captures.iter().map(|capture| capture.heard()).sum();
            if self.habits.limit > 0 && heard >= self.habits.limit {
                Report::Limit(self.habits.limit).send(io::stdout())?;
                return Ok(());
            }
            if self.captures.iter().all(|capture| capture.as_fd().is_none() && capture.ended()) {
                Report::End.send(io::stdout())?;
                return Ok(());
            }
            if let Some(tally) = self.throttle.turn(Moment::now().since_boot) {
                tell_what_was_left_out(&tally)?;
            }
        }
    }

    /// Takes what can be read now, a turn's worth from each capture.
    fn hear(&mut self) -> io::Result<()> {
        let Self { engine, captures, throttle, notes, habits, busy, breath } = self;
        let mut decide = Decide { engine, throttle, habits: *habits, notes, heard: 0, strangers_only: true };
        *busy = false;
        let mut rest = captures.as_mut_slice();
        while let Some((capture, before)) = rest.split_last_mut() {
            *busy |= take_turn(capture.as_mut(), before, &mut decide)?;
            for source in capture.newcomers() {
                decide.tell(source, format_args!("tcp_server: Got TCP connection from {source}."))?;
            }
            rest = before;
        }
        *breath = breath.after(decide.heard, decide.strangers_only);
        Ok(())
    }

    /// Waits for packets, for the end of the minute in which lines were left out, or for the warden (`true`).
    fn wait(&self, warden: BorrowedFd<'_>) -> Result<bool, ListenerError> {
        let mut waited = vec![PollFd::new(&warden, PollFlags::IN)];
        if let Some(breath) = self.breath.next().filter(|_| !self.busy) {
            poll(&mut waited, Timespec::try_from(breath).ok().as_ref()).or_else(interrupted)?;
        }
        let sockets: Vec<BorrowedFd<'_>> = self.captures.iter().filter_map(|capture| capture.as_fd()).collect();
        let connections: Vec<BorrowedFd<'_>> = self.captures.iter().flat_map(|capture| capture.connections()).collect();
        waited.extend(sockets.iter().chain(&connections).map(|socket| PollFd::new(socket, PollFlags::IN)));
        let before_keyrings = waited.len();
        let keyrings = self.engine.keyring_sockets();
        waited.extend(keyrings.iter().map(|socket| PollFd::new(socket, PollFlags::IN)));
        let file_goes_on = self.captures.iter().any(|capture| capture.as_fd().is_none() && !capture.ended());
        let at_once = (self.busy || file_goes_on).then_some(Duration::ZERO);
        let owed = self.throttle.owes_at().map(|at| at.saturating_sub(Moment::now().since_boot));
        let patience = self.captures.iter().filter_map(|capture| capture.patience()).min();
        let timeout = [at_once, owed, patience].into_iter().flatten().min();
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match poll(&mut waited, timeout.as_ref()) {
            Ok(_) if waited.iter().skip(before_keyrings).any(|keyring| !keyring.revents().is_empty()) => {
                Err(ListenerError::KeyringGone)
            }
            Ok(_) => Ok(waited.first().is_some_and(|warden| !warden.revents().is_empty())),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(errno) => Err(io::Error::from(errno).into()),
        }
    }
}

/// A signal is no reason not to look.
fn interrupted(errno: rustix::io::Errno) -> io::Result<usize> {
    if errno == rustix::io::Errno::INTR { Ok(0) } else { Err(errno.into()) }
}

/// Takes a turn's worth from one capture; `true` if there may be more.
///
/// What came over a connection was seen on the link `before`, if that passes the filter: so the link has its turn first, and
/// the same packet is known again (`Refusal::HeardBefore`) instead of being called a replay.
fn take_turn(capture: &mut dyn Capture, before: &mut [Box<dyn Capture>], decide: &mut Decide<'_>) -> io::Result<bool> {
    let limit = decide.habits.limit;
    for _ in 0..TURN {
        if limit > 0 && capture.heard() >= limit {
            return Ok(false);
        }
        match capture.next() {
            Ok(Some(arrival)) => {
                if let (Transport::Stream, [link, ..]) = (arrival.transport, &mut *before) {
                    take_turn(link.as_mut(), &mut [], decide)?;
                }
                decide.one(&arrival)?;
            }
            Ok(None) => return Ok(false),
            Err(error) => {
                let text = format_args!("[*] Error from pcap_dispatch: {}: {error}", capture.describe());
                report::log(io::stdout(), Level::Error, text)?;
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// One packet after the other: decided, sent on, told.
struct Decide<'l> {
    engine: &'l mut Engine<DigestFile>,
    throttle: &'l mut Throttle,
    habits: Habits,
    notes: &'l mut Vec<Note>,
    /// Packets decided about.
    heard: u64,
    /// All of them were strangers' whose log lines are left out.
    strangers_only: bool,
}

impl Decide<'_> {
    fn one(&mut self, arrival: &Arrival<'_>) -> io::Result<()> {
        if arrival.transport == Transport::Tcp && arrival.payload.is_empty() {
            return Ok(()); // a handshake or an acknowledgement
        }
        self.heard += 1;
        let now = Moment::now();
        if self.throttle.is_spent(arrival.source)
            && let Some(lines) = self.engine.finds_strange(arrival, &now)
        {
            self.throttle.leave_out(arrival.source, lines);
            return Ok(());
        }
        self.strangers_only = false;
        self.notes.clear();
        if self.habits.udp_server && arrival.transport == Transport::Udp {
            let (bytes, source) = (arrival.payload.len(), arrival.source);
            self.tell(source, format_args!("udp_server: Got UDP datagram ({bytes} bytes) from: {source}"))?;
        }
        let order = self.engine.hear(arrival, &now, self.notes);
        let of_a_key_holder = order.is_some()
            || self.notes.iter().any(|note| matches!(note, Note::Refused(_, why) if why.is_of_a_key_holder()));
        for note in self.notes.iter().filter(|note| note.level() > Level::Debug || self.habits.verbose) {
            if of_a_key_holder || self.throttle.admit(arrival.source, now.since_boot) {
                Report::Log(note.line(arrival)).send(io::stdout())?;
            }
        }
        if let Some(order) = order {
            Report::Order(order).send(io::stdout())?;
        }
        if of_a_key_holder && let Err(error) = self.engine.replays().sync() {
            report::log(io::stdout(), Level::Error, format_args!("cannot sync the digest file: {error}"))?;
        }
        Ok(())
    }

    /// A debug line that a stranger caused: within what strangers may write.
    fn tell(&mut self, source: IpAddr, text: fmt::Arguments<'_>) -> io::Result<()> {
        if self.habits.verbose && self.throttle.admit(source, Moment::now().since_boot) {
            report::log(io::stdout(), Level::Debug, text)?;
        }
        Ok(())
    }
}

fn tell_what_was_left_out(tally: &Tally) -> io::Result<()> {
    const NAMED: usize = 20;
    for (source, lines) in tally.sources.iter().take(NAMED) {
        let text = format_args!("{lines} log lines about packets from {source} were left out in the last minute");
        report::log(io::stdout(), Level::Warning, text)?;
    }
    let others = tally.crowd + tally.sources.iter().skip(NAMED).map(|(_, lines)| lines).sum::<u64>();
    if others > 0 {
        let text = format_args!("{others} log lines about packets from other sources were left out in the last minute");
        report::log(io::stdout(), Level::Warning, text)?;
    }
    Ok(())
}
