//! The process that runs commands: it has the rights of an ordinary root service, and does what the warden's lines say.
//!
//! One thread around `poll`: the warden's lines, the output of what runs, and the moment when something has taken too
//! long. Commands of one stanza run one after the other, those of different stanzas side by side, so that nobody's
//! command waits for a stranger's that hangs. When the warden is gone, what still runs is ended, and so are we.
//!
//! ```text
//! Errand ─▶ waits for its turn ─▶ runs, its output line by line ─▶ Ending
//! ```

use std::collections::VecDeque;
use std::io::{self, PipeReader, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::sockopt::socket_type;
use rustix::net::{RecvFlags, recv};
use rustix::process::{Pid, PidfdFlags, pidfd_open, umask};
use thiserror::Error;

use super::errand::{Ending, Errand, Turn};
use crate::firewall::runner::{ENVIRONMENT, stop};
use crate::journal::Level;
use crate::report::{self, NotAReport, Report, Reports};

/// Lines of output of one command that are told; the rest is read and forgotten, so that it can go on.
const MOST_LINES: usize = 32;
/// Bytes of one line that are told.
const LONGEST_LINE: usize = 400;

#[derive(Debug, Error)]
enum RunnerError {
    #[error("the runner is started by fwknopd itself; its standard input is no line to a warden")]
    NotStartedByUs(#[source] io::Error),
    #[error("the warden asked for what no warden of ours asks for")]
    Nonsense(#[from] NotAReport),
    #[error("cannot wait for the warden or a command")]
    Wait(#[source] io::Error),
}

/// Runs what the warden asks for, until it asks no more.
pub fn run() -> ExitCode {
    match Runner::default().serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = report::log(io::stdout(), Level::Error, crate::chain(&error)); // the warden may be gone
            ExitCode::FAILURE
        }
    }
}

#[derive(Default)]
struct Runner {
    requests: Reports,
    waiting: VecDeque<Errand>,
    running: Vec<Running>,
}

impl Runner {
    fn serve(mut self) -> Result<(), RunnerError> {
        socket_type(io::stdin()).map_err(|errno| RunnerError::NotStartedByUs(errno.into()))?;
        // The end is when the warden says so: a signal to its group, as from a terminal or a service manager, comes while
        // closes are still to be run. Programs that we start get none of this.
        let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
        signals.thread_block().map_err(|errno| RunnerError::Wait(errno.into()))?;
        umask(Mode::from_raw_mode(0o022)); // theirs, whoever started the daemon
        std::env::set_current_dir("/").map_err(RunnerError::Wait)?;
        loop {
            self.begin_what_can_begin();
            if self.wait().map_err(RunnerError::Wait)? && !self.hear_warden()? {
                self.running.iter_mut().for_each(|running| stop(&mut running.program));
                return Ok(());
            }
            self.running.retain_mut(Running::goes_on);
        }
    }

    /// Waits for anything; whether the warden has said something.
    fn wait(&self) -> io::Result<bool> {
        let stdin = io::stdin();
        let mut waited = vec![PollFd::new(&stdin, PollFlags::IN)];
        for running in &self.running {
            waited.push(PollFd::from_borrowed_fd(running.end.as_fd(), PollFlags::IN));
            if let Some(output) = &running.output {
                waited.push(PollFd::from_borrowed_fd(output.as_fd(), PollFlags::IN));
            }
        }
        let soonest = self.running.iter().map(|running| running.until.saturating_duration_since(Instant::now())).min();
        let timeout = soonest.and_then(|left| Timespec::try_from(left + Duration::from_millis(1)).ok());
        match poll(&mut waited, timeout.as_ref()) {
            Ok(_) => Ok(waited.first().is_some_and(|warden| !warden.revents().is_empty())),
            Err(Errno::INTR) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Takes what the warden asks for; `false` when it is gone.
    fn hear_warden(&mut self) -> Result<bool, RunnerError> {
        let mut buffer = [0; 4096];
        let (length, _) = match recv(io::stdin(), &mut buffer, RecvFlags::DONTWAIT) {
            Ok(received) => received,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(true),
            Err(errno) => return Err(RunnerError::Wait(errno.into())),
        };
        self.requests.feed(buffer.get(..length).unwrap_or_default());
        while let Some(line) = self.requests.next_text()? {
            let errand = line.parse().map_err(|_| NotAReport::from_text(&line))?;
            self.waiting.push_back(errand);
        }
        Ok(length > 0)
    }

    fn begin_what_can_begin(&mut self) {
        let running: Vec<(u64, u32)> =
            self.running.iter().map(|running| (running.errand.ticket, running.errand.stanza)).collect();
        for index in may_begin(&self.waiting, &running).into_iter().rev() {
            let Some(errand) = self.waiting.remove(index) else { continue };
            let ticket = errand.ticket;
            match Running::begin(errand) {
                Ok(running) => self.running.push(running),
                Err(ending) => tell(&Report::Done { ticket, ending }),
            }
        }
    }
}

/// Which of those that wait may begin, by their places: of each stanza at most one, and none while one of it runs.
fn may_begin(waiting: &VecDeque<Errand>, running: &[(u64, u32)]) -> Vec<usize> {
    let is_done = |ticket: u64| {
        running.iter().all(|(known, _)| *known != ticket) && waiting.iter().all(|errand| errand.ticket != ticket)
    };
    let mut busy: Vec<u32> = running.iter().map(|(_, stanza)| *stanza).collect();
    let urgent = waiting.iter().enumerate().filter(|(_, errand)| match errand.turn {
        Turn::After(ticket) => is_done(ticket),
        Turn::InOrder => false,
    });
    let in_order = waiting.iter().enumerate().filter(|(_, errand)| errand.turn == Turn::InOrder);
    let mut chosen = Vec::new();
    for (index, errand) in urgent.chain(in_order) {
        if !busy.contains(&errand.stanza) {
            busy.push(errand.stanza);
            chosen.push(index);
        }
    }
    chosen.sort_unstable();
    chosen
}

struct Running {
    errand: Errand,
    program: Child,
    /// Readable when the program has ended.
    end: OwnedFd,
    /// What it writes, to either stream; `None` when that has ended.
    output: Option<PipeReader>,
    unread: Vec<u8>,
    told: usize,
    until: Instant,
}

impl Running {
    fn begin(errand: Errand) -> Result<Self, Ending> {
        let failed = |error: io::Error| Ending::Failed(error.to_string());
        let (program, arguments) = errand.text.words().map_err(|_| Ending::Unsplittable)?;
        let (output, written) = io::pipe().map_err(failed)?;
        rustix::io::ioctl_fionbio(&output, true).map_err(|errno| failed(errno.into()))?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(ENVIRONMENT)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(written.try_clone().map_err(failed)?)
            .stderr(written)
            .process_group(0);
        if let Some(ids) = errand.account {
            command.gid(ids.group).uid(ids.user); // which also empties the supplementary groups (trap T26)
        }
        let mut child = command.spawn().map_err(failed)?;
        drop(command); // and with it our copy of what it writes to
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let end = match pid.ok_or(Errno::SRCH).and_then(|pid| pidfd_open(pid, PidfdFlags::empty())) {
            Ok(end) => end,
            Err(errno) => {
                stop(&mut child); // what we cannot watch, we do not run
                return Err(failed(errno.into()));
            }
        };
        let until = Instant::now() + Duration::from_secs(errand.seconds.get().into());
        Ok(Self { errand, program: child, end, output: Some(output), unread: Vec::new(), told: 0, until })
    }

    /// Takes what it has written and tells how it ended, if it has; whether it goes on.
    fn goes_on(&mut self) -> bool {
        // Asked before the last reading, so that what it wrote last is not missed.
        let ended = self.program.try_wait();
        self.read_output();
        let ending = match ended {
            Ok(Some(status)) => how(status),
            Ok(None) if Instant::now() < self.until => return true,
            Ok(None) => {
                stop(&mut self.program);
                Ending::Late
            }
            Err(error) => {
                stop(&mut self.program);
                Ending::Failed(error.to_string())
            }
        };
        let rest = std::mem::take(&mut self.unread);
        if !rest.is_empty() {
            self.tell_line(&rest);
        }
        tell(&Report::Done { ticket: self.errand.ticket, ending });
        false
    }

    /// Takes as much as a pipe holds, and no more: one that writes without end gets its turn like everybody.
    fn read_output(&mut self) {
        let mut buffer = [0; 4096];
        for _ in 0..16 {
            let Some(output) = &mut self.output else { return };
            match output.read(&mut buffer) {
                Ok(length) if length > 0 => self.unread.extend_from_slice(buffer.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => self.output = None,
            }
            while let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                self.tell_line(line.strip_suffix(b"\n").unwrap_or_default());
            }
            self.unread.truncate(LONGEST_LINE);
        }
    }

    fn tell_line(&mut self, line: &[u8]) {
        self.told += 1;
        let text = match self.told {
            told if told > MOST_LINES + 1 => return,
            told if told > MOST_LINES => "(there is more)".to_owned(),
            _ => crate::journal::escape(line.get(..LONGEST_LINE).unwrap_or(line)),
        };
        tell(&Report::Said { ticket: self.errand.ticket, text });
    }
}

fn how(status: ExitStatus) -> Ending {
    match (status.code(), status.signal()) {
        (Some(code), _) => Ending::Exit(code),
        (None, Some(signal)) => Ending::Signal(signal),
        (None, None) => Ending::Failed(status.to_string()),
    }
}

/// A warden that is gone is found by the end of its lines, not here.
fn tell(report: &Report) {
    let _ = report.send(io::stdout());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ticket stanza turn` of each that waits, and the tickets that may begin.
    fn begin(waiting: &[(u64, u32, Turn)], running: &[(u64, u32)]) -> Vec<u64> {
        let errand = |&(ticket, stanza, turn): &(u64, u32, Turn)| -> Errand {
            format!("run ticket={ticket} stanza={stanza} turn={turn} as=self seconds=9 text=x").parse().unwrap()
        };
        let waiting: VecDeque<Errand> = waiting.iter().map(errand).collect();
        may_begin(&waiting, running).into_iter().map(|index| waiting[index].ticket).collect()
    }

    #[test]
    fn commands_of_one_stanza_wait_for_each_other_and_for_no_other_stanza() {
        use Turn::{After, InOrder};
        for (waiting, running, wanted) in [
            (vec![(1, 1, InOrder), (2, 1, InOrder), (3, 2, InOrder)], vec![], vec![1, 3]),
            (vec![(2, 1, InOrder), (3, 2, InOrder)], vec![(1, 1)], vec![3]),
            (vec![(2, 1, InOrder), (3, 1, After(1))], vec![], vec![3]),
            (vec![(2, 1, InOrder), (3, 1, After(2))], vec![], vec![2]),
            (vec![(2, 1, InOrder), (3, 1, After(1))], vec![(1, 1)], vec![]),
            (vec![(3, 1, After(0)), (4, 1, After(0))], vec![], vec![3]),
            (vec![], vec![(1, 1)], vec![]),
        ] {
            assert_eq!(begin(&waiting, &running), wanted, "{waiting:?} {running:?}");
        }
    }

    fn to_its_end(line: &str) -> (Result<(), Ending>, Duration) {
        let started = Instant::now();
        let result = Running::begin(line.parse().unwrap()).map(|mut running| while running.goes_on() {});
        (result, started.elapsed())
    }

    #[test]
    fn what_cannot_be_started_says_why() {
        let begin =
            |text: &str| to_its_end(&format!("run ticket=1 stanza=1 turn=in-order as=self seconds=9 text={text}"));
        assert_eq!(begin(&"w%20".repeat(29)).0, Err(Ending::Unsplittable));
        assert!(matches!(begin("/no/such/program").0, Err(Ending::Failed(why)) if why.contains("No such file")));
    }

    #[test]
    fn a_command_that_writes_without_end_is_ended_all_the_same() {
        let (result, took) = to_its_end("run ticket=1 stanza=1 turn=in-order as=self seconds=1 text=yes");
        assert_eq!(result, Ok(()));
        assert!(took < Duration::from_secs(20), "{took:?}");
    }

    #[test]
    fn a_command_that_takes_too_long_is_ended_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let (script, alive) = (folder.path().join("hang"), folder.path().join("alive"));
        std::fs::write(&script, format!("(sleep 2; echo > {}) &\nsleep 60\n", alive.display())).unwrap();
        let line = format!("run ticket=1 stanza=1 turn=in-order as=self seconds=1 text=sh%20{}", script.display());
        let (result, took) = to_its_end(&line);
        assert_eq!(result, Ok(()));
        assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(20), "{took:?}");
        std::thread::sleep(Duration::from_millis(1500));
        assert!(!alive.exists(), "its child has been ended, too");
    }
}
