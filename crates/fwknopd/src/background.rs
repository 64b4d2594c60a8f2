//! Starting a daemon: the starter waits until the daemon is ready, and its exit status is the truth (trap T15).
//!
//! ```text
//! fwknopd ──starts──▶ fwknopd daemon   new session, /, umask 077
//!    waits ◀─ "ready" on its standard output, or the end of it
//!    exit 0, or 1                      then standard descriptors go to /dev/null
//! ```

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::process::{ExitCode, Stdio};

use rustix::process::{setsid, umask};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use crate::args::Args;
use crate::child::{Role, command};
use crate::journal::{Journal, Level};
use crate::warden::{End, Start};

/// What the daemon writes to its standard output when no packet is missed any more.
const READY: &[u8] = b"ready\n";

/// Starts the daemon and waits for it to be ready or to have failed.
pub fn start(words: &[OsString]) -> ExitCode {
    let started = command(Role::Daemon, words).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let said = started.and_then(|mut daemon| {
        let mut said = Vec::new();
        match daemon.stdout.take() {
            Some(mut output) => output.read_to_end(&mut said).map(|_| said),
            None => Ok(said),
        }
    });
    match said {
        Ok(said) if said == READY => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE, // it has told why on our error stream
        Err(error) => {
            eprintln!("fwknopd: cannot start the daemon: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The daemon itself.
pub fn run(words: &[OsString]) -> ExitCode {
    umask(rustix::fs::Mode::from_raw_mode(0o077));
    let _ = setsid(); // fails only for a leader of its group, who has a session already
    serve(words, &Args::trusted(words), true)
}

/// Serves until the end: in the background when `daemon`, else in the foreground.
pub fn serve(words: &[OsString], args: &Args, daemon: bool) -> ExitCode {
    let mut journal = Journal::on_stderr(args.verbose);
    if daemon {
        journal = journal.hush_stderr();
    }
    let folder = match std::env::current_dir() {
        Ok(folder) => folder,
        Err(error) => {
            journal.write(Level::Error, format_args!("cannot tell the working directory: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let start = Start { words: words.to_vec(), args: args.clone(), folder };
    let mut warden = match start.take_up(&mut journal) {
        Ok(warden) => warden,
        Err(error) => {
            journal.write(Level::Error, crate::chain(&error));
            return ExitCode::FAILURE;
        }
    };
    if daemon && let Err(error) = detach() {
        warden.journal.write(Level::Error, format_args!("cannot let go of the terminal: {error}"));
    }
    if daemon {
        warden.journal.leave_stderr();
    }
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]); // nobody may be there to be told
    match warden.watch() {
        Ok(End::Asked) => ExitCode::SUCCESS,
        Ok(End::ListenerGone | End::InterfaceGone | End::RunnerGone) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("fwknopd: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Tells the starter that we are ready, and lets go of its terminal and folder.
fn detach() -> io::Result<()> {
    rustix::io::write(io::stdout(), READY)?;
    let nowhere = File::options().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&nowhere)?;
    dup2_stdout(&nowhere)?;
    dup2_stderr(&nowhere)?;
    std::env::set_current_dir("/")
}
