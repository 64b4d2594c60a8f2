//! Runs a program of somebody else's for a moment and says how it went.
//!
//! ```text
//! Command { iptables, [-t, filter, -S, FWKNOP_INPUT] } ─▶ Output { status 0, "-N FWKNOP_INPUT\n..." }
//! ```
//!
//! No shell, an argument list; a small fixed environment; `/` as folder; an end to our patience, after
//! which the program and its children are killed, so that no firewall program can keep a door from
//! being shut. What the answer means is for the back ends to say.
use std::fmt;
use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::FirewallError;

/// A program, its arguments and what it reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The program; without a slash it is looked for in the system's folders.
    pub program: PathBuf,
    /// Its arguments.
    pub words: Vec<String>,
    /// What it finds on its standard input.
    pub input: String,
}

impl Command {
    /// A program that reads nothing.
    pub fn new(program: &Path, words: Vec<String>) -> Self {
        Self { program: program.into(), words, input: String::new() }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.program.display())?;
        self.words.iter().try_for_each(|word| write!(f, " {word}"))
    }
}

/// How a program ended and what it printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Its exit status; -1 if a signal ended it.
    pub status: i32,
    /// Its standard output.
    pub text: String,
    /// Its error stream.
    pub complaints: String,
}

/// Something that runs programs.
pub trait Runner {
    /// Runs one to its end.
    ///
    /// # Errors
    ///
    /// When it cannot be started or does not end in time. That it fails is an answer, not an error.
    fn run(&mut self, command: &Command) -> Result<Output, FirewallError>;
}

/// Runs real programs.
#[derive(Clone, Copy, Debug)]
pub struct Programs {
    /// How long each may take.
    pub limit: Duration,
}

/// What a program is told of the world.
pub(crate) const ENVIRONMENT: [(&str, &str); 2] =
    [("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), ("LC_ALL", "C")];
/// More output than any ruleset makes; what comes after it is read and forgotten.
const MOST_OUTPUT: usize = 64 << 20;

impl Runner for Programs {
    fn run(&mut self, command: &Command) -> Result<Output, FirewallError> {
        let failed = |source| FirewallError::CannotRun { program: command.program.display().to_string(), source };
        let mut child = std::process::Command::new(&command.program)
            .args(&command.words)
            .env_clear()
            .envs(ENVIRONMENT)
            .current_dir("/")
            .stdin(input(&command.input).map_err(failed)?)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let outcome = listen(&mut child, Instant::now() + self.limit);
        if !matches!(outcome, Ok(Some(_))) {
            stop(&mut child);
        }
        let too_slow = || FirewallError::TooSlow { command: command.to_string(), limit: self.limit };
        let (status, text, complaints) = outcome.map_err(failed)?.ok_or_else(too_slow)?;
        let read = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let status = status.code().unwrap_or(-1);
        Ok(Output { status, text: read(text), complaints: read(complaints) })
    }
}

/// A file in memory, so that we need not write while we read.
fn input(text: &str) -> io::Result<Stdio> {
    if text.is_empty() {
        return Ok(Stdio::null());
    }
    let mut file = File::from(rustix::fs::memfd_create("input", MemfdFlags::CLOEXEC)?);
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file.into())
}

type Ended = (ExitStatus, Vec<u8>, Vec<u8>);

/// Reads both streams until the program itself has ended, even if a child of its holds them open;
/// `None` when the deadline comes first.
fn listen(child: &mut Child, deadline: Instant) -> io::Result<Option<Ended>> {
    let (Some(mut out), Some(mut err)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(io::Error::other("the program has no output streams"));
    };
    rustix::io::ioctl_fionbio(&out, true)?;
    rustix::io::ioctl_fionbio(&err, true)?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let end = pidfd_open(pid.ok_or(Errno::SRCH)?, PidfdFlags::empty())?;
    let (mut text, mut complaints) = (Vec::new(), Vec::new());
    let (mut out_open, mut err_open) = (true, true);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        let mut waits = vec![PollFd::from_borrowed_fd(end.as_fd(), PollFlags::IN)];
        if out_open {
            waits.push(PollFd::from_borrowed_fd(out.as_fd(), PollFlags::IN));
        }
        if err_open {
            waits.push(PollFd::from_borrowed_fd(err.as_fd(), PollFlags::IN));
        }
        match poll(&mut waits, Some(&Timespec::try_from(left).map_err(io::Error::other)?)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        // Asked before the last reading, so that what it printed last is not missed.
        let status = child.try_wait()?;
        out_open = out_open && drain(&mut out, &mut text)?;
        err_open = err_open && drain(&mut err, &mut complaints)?;
        if let Some(status) = status {
            return Ok(Some((status, text, complaints)));
        }
    }
}

/// Reads what is there; false at the end of the stream.
fn drain(stream: &mut impl io::Read, into: &mut Vec<u8>) -> io::Result<bool> {
    let mut piece = [0; 65536];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return Ok(false),
            Ok(length) => {
                let room = MOST_OUTPUT.saturating_sub(into.len());
                into.extend(piece.iter().take(length.min(room)));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Ends a program we have no more time for, with its children.
pub(crate) fn stop(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // That it is gone already is as good.
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// Runs nothing: records what it is asked and answers from a list. For tests of the back ends.
#[derive(Debug, Default)]
pub struct Script {
    /// Answers by the beginning of the arguments; the last one that fits counts, and the default is
    /// success without output.
    pub answers: Vec<(String, Output)>,
    /// What was asked, as text.
    pub asked: Vec<String>,
}

impl Script {
    /// Answers every command whose text contains `part` with this status and output.
    pub fn answer(&mut self, part: &str, status: i32, text: &str) {
        self.answers.push((part.into(), Output { status, text: text.into(), ..Output::default() }));
    }
}

impl Runner for Script {
    fn run(&mut self, command: &Command) -> Result<Output, FirewallError> {
        let asked = command.to_string();
        let answer = self.answers.iter().rev().find(|(part, _)| asked.contains(part));
        let output = answer.map(|(_, output)| output.clone()).unwrap_or_default();
        self.asked.push(asked);
        if !command.input.is_empty() {
            self.asked.push(command.input.clone());
        }
        Ok(output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Result<Output, FirewallError> {
        let mut command = Command::new(Path::new("sh"), vec!["-c".into(), script.into()]);
        command.input = "given".into();
        Programs { limit }.run(&command)
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn hands_back_status_and_both_streams() {
        let output = shell("cat; echo oops >&2; exit 3", LONG).unwrap();
        let wanted = Output { status: 3, text: "given".into(), complaints: "oops\n".into() };
        assert_eq!(output, wanted);
    }

    #[test]
    fn reads_more_than_a_pipe_holds() {
        let output = shell("head -c 1000000 /dev/zero | tr '\\0' x", LONG).unwrap();
        assert_eq!(output.text.len(), 1_000_000);
    }

    #[test]
    fn the_program_sees_a_small_environment() {
        let output = shell("echo ${HOME-none} $PATH; pwd", LONG).unwrap();
        assert_eq!(output.text, format!("none {}\n/\n", ENVIRONMENT[0].1));
    }

    #[test]
    fn stops_a_program_that_hangs() {
        let started = Instant::now();
        let error = shell("sleep 60; echo late", Duration::from_millis(200)).unwrap_err();
        assert!(matches!(error, FirewallError::TooSlow { .. }), "{error}");
        assert!(started.elapsed() < LONG);
    }

    #[test]
    fn does_not_wait_for_a_grandchild_that_holds_the_streams() {
        let started = Instant::now();
        let output = shell("sleep 30 & echo done", LONG).unwrap();
        assert_eq!(output.text, "done\n");
        assert!(started.elapsed() < Duration::from_secs(15));
    }

    #[test]
    fn says_which_program_is_missing() {
        let command = Command::new(Path::new("/nonexistent/iptables"), Vec::new());
        let error = Programs { limit: LONG }.run(&command).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/iptables"), "{error}");
    }
}
