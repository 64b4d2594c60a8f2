//! One run of gpg: a fixed list of arguments, never a shell; something in, something out, and not for ever.
//!
//! A passphrase goes in as the first line of standard input, ahead of what is to be worked on, so that it is in no argument, file or
//! environment. gpg is told to take it from there and not to ask anybody a second time (D40). What it makes comes from standard output;
//! what it says, and its status lines that programs read, from standard error.
//!
//! ```text
//! [passphrase LF] text ─▶ gpg --batch --status-fd 2 … ─▶ output
//!                                   └─▶ "[GNUPG:] STATUS …" and "gpg: words: reason"
//! ```

use std::{
    ffi::OsStr,
    io::{self, Read, Write as _},
    path::PathBuf,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use zeroize::Zeroizing;

use crate::{output, settings::SecretBytes};

/// How long gpg may take if it has all it needs.
const ALONE: Duration = Duration::from_secs(30);
/// How long, if its agent may have to ask a person.
const WITH_A_PERSON: Duration = Duration::from_secs(300);
/// More than this is not read from it: a listing of thousands of keys.
const LONGEST: u64 = 1 << 20;

/// The program, and where its keys are.
pub(super) struct Program {
    pub(super) path: PathBuf,
    /// `None`: where GnuPG has them.
    pub(super) home: Option<PathBuf>,
    /// Whether an agent is told of in the environment, as old versions of GnuPG have it.
    pub(super) agent: bool,
}

/// Why gpg gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error("{}", output::reason(.0))]
    Io(#[from] io::Error),
    #[error("gpg took longer than {} seconds; its agent may be waiting for somebody to type a passphrase", .0.as_secs())]
    Late(Duration),
}

/// What came of a run.
pub(super) struct Answer {
    /// Whether gpg was content.
    pub(super) succeeded: bool,
    /// What it made.
    pub(super) output: SecretBytes,
    told: String,
}

impl Answer {
    /// The status lines, without what marks them.
    pub(super) fn statuses(&self) -> impl Iterator<Item = &str> {
        self.told.lines().filter_map(|line| line.strip_prefix(STATUS))
    }

    /// The reason that the last thing it said ends in: of `gpg: signing failed: Bad passphrase` what stands last.
    pub(super) fn reason(&self) -> String {
        let said = self.told.lines().rfind(|line| !line.starts_with(STATUS));
        said.and_then(|line| line.rsplit(": ").next()).unwrap_or_default().to_owned()
    }
}

const STATUS: &str = "[GNUPG:] ";

impl Program {
    /// Runs it. A name is the last argument, and `words` end in `--` then.
    pub(super) fn run(
        &self,
        words: &[&str],
        name: Option<&OsStr>,
        input: &[u8],
        passphrase: Option<&[u8]>,
    ) -> Result<Answer, NoAnswer> {
        let mut command = Command::new(&self.path);
        command.args(["--batch", "--status-fd", "2"]);
        if let Some(home) = &self.home {
            command.arg("--homedir").arg(home);
        }
        let mut typed = Zeroizing::new(Vec::with_capacity(input.len() + 2048)); // it does not grow, so leaves no pieces behind
        if let Some(passphrase) = passphrase {
            command.args(["--pinentry-mode", "loopback", "--passphrase-fd", "0"]);
            typed.extend_from_slice(passphrase);
            typed.push(b'\n');
        }
        typed.extend_from_slice(input);
        if !self.agent {
            command.env_remove("GPG_AGENT_INFO");
        }
        let limit = if passphrase.is_some() { ALONE } else { WITH_A_PERSON };
        finish(command.args(words).args(name), &typed, limit)
    }
}

/// Runs a command to its end or the limit.
fn finish(command: &mut Command, input: &[u8], limit: Duration) -> Result<Answer, NoAnswer> {
    let end = Instant::now() + limit;
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let output = child.stdout.take().map(in_background);
    let told = child.stderr.take().map(in_background);
    if let Some(mut stdin) = child.stdin.take() {
        // It fits into a pipe, so this does not wait. If gpg ended before reading it, it says why.
        let _ended = stdin.write_all(input);
    }
    let read = |stream: Option<mpsc::Receiver<SecretBytes>>| match stream {
        Some(stream) => stream.recv_timeout(end.saturating_duration_since(Instant::now())).ok(),
        None => None,
    };
    match (read(output), read(told)) {
        (Some(output), Some(told)) => {
            Ok(Answer { succeeded: child.wait()?.success(), output, told: String::from_utf8_lossy(&told).into_owned() })
        }
        _ => {
            child.kill()?;
            child.wait()?;
            Err(NoAnswer::Late(limit))
        }
    }
}

/// Reads a stream to its end, beside whatever else happens.
fn in_background(stream: impl Read + Send + 'static) -> mpsc::Receiver<SecretBytes> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = SecretBytes::new(Vec::with_capacity(1 << 16));
        let _broken = stream.take(LONGEST).read_to_end(&mut bytes);
        let _nobody_waits = sender.send(bytes);
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Result<Answer, NoAnswer> {
        finish(Command::new("/bin/sh").args(["-c", script]), b"in\n", limit)
    }

    #[test]
    fn what_it_makes_and_what_it_says_are_kept_apart() {
        let script = "cat; echo '[GNUPG:] FAILURE sign 11' >&2; echo 'gpg: signing failed: Bad passphrase' >&2; exit 2";
        let answer = shell(script, ALONE).unwrap();
        assert!(!answer.succeeded);
        assert_eq!(*answer.output, b"in\n");
        assert_eq!(answer.statuses().collect::<Vec<_>>(), ["FAILURE sign 11"]);
        assert_eq!(answer.reason(), "Bad passphrase");
    }

    #[test]
    fn nobody_waits_for_ever() {
        let started = Instant::now();
        assert!(matches!(shell("exec sleep 60", Duration::from_millis(50)), Err(NoAnswer::Late(_))));
        assert!(started.elapsed() < Duration::from_secs(30));
    }
}
