//! The PID file, its lock, and what `--status`, `--kill` and `--restart` do with them.
//!
//! The running daemon holds an advisory record lock on the file (spec `server.md` 12.2); the lock, not the number in the file,
//! says who runs. So a number left behind by a dead daemon is never signalled, and asking writes nothing (traps T13, T14).
//! The file stays after the end, as the original's does.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use thiserror::Error;

/// The locked file of the running daemon. Closing any descriptor of it would drop the lock, so it is kept, and never
/// opened a second time.
#[derive(Debug)]
pub struct PidFile {
    _locked: File,
}

/// Why the PID file could not be taken.
#[derive(Debug, Error)]
pub enum PidFileError {
    /// Another daemon holds it.
    #[error("[*] An instance of fwknopd is already running: (PID={0}).")]
    Running(i32),
    /// It cannot be opened, locked or written; then nothing would keep a second daemon away.
    #[error("Error trying to open PID file: {path}: {source}")]
    File {
        /// The file.
        path: String,
        /// The reason.
        source: io::Error,
    },
}

impl PidFile {
    /// Locks the file for this process and writes its PID into it.
    pub fn take(path: &Path) -> Result<Self, PidFileError> {
        let failed = |source: io::Error| PidFileError::File { path: path.display().to_string(), source };
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(failed)?;
        if fcntl(&file, FcntlArg::F_SETLK(&whole_file(libc::F_WRLCK))).is_err() {
            return Err(match holder(&file).map_err(failed)? {
                Some(pid) => PidFileError::Running(pid.as_raw()),
                None => failed(io::Error::from(io::ErrorKind::WouldBlock)),
            });
        }
        file.set_len(0).map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Self { _locked: file })
    }
}

/// The daemon that holds the lock of this PID file, if one runs. Writes nothing.
pub fn running(path: &Path) -> io::Result<Option<Pid>> {
    match File::open(path) {
        Ok(file) => holder(&file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// How a daemon was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Killed {
    /// Within the first second.
    AtOnce,
    /// It took a moment.
    BySigterm,
    /// It had to be forced; rules may be left behind.
    BySigkill,
}

impl Killed {
    /// What the original adds to `Killed fwknopd (pid=N)`.
    pub const fn ending(self) -> &'static str {
        match self {
            Self::AtOnce => "",
            Self::BySigterm => " via SIGTERM",
            Self::BySigkill => " via SIGKILL",
        }
    }
}

/// Ends the daemon that holds the lock: asks it, waits up to four seconds, forces it.
pub fn end(path: &Path, pid: Pid) -> io::Result<Killed> {
    kill(pid, Signal::SIGTERM)?;
    if ended_within(path, pid, Duration::from_secs(1))? {
        return Ok(Killed::AtOnce);
    }
    if ended_within(path, pid, Duration::from_secs(3))? {
        return Ok(Killed::BySigterm);
    }
    kill(pid, Signal::SIGKILL)?;
    ended_within(path, pid, Duration::from_secs(1))?;
    Ok(Killed::BySigkill)
}

/// Asks the daemon to read its configuration again.
pub fn restart(pid: Pid) -> io::Result<()> {
    Ok(kill(pid, Signal::SIGHUP)?)
}

fn ended_within(path: &Path, pid: Pid, patience: Duration) -> io::Result<bool> {
    const STEP: Duration = Duration::from_millis(20);
    let mut waited = Duration::ZERO;
    while waited < patience {
        if running(path)? != Some(pid) {
            return Ok(true);
        }
        std::thread::sleep(STEP);
        waited += STEP;
    }
    Ok(false)
}

fn holder(file: &File) -> io::Result<Option<Pid>> {
    let mut lock = whole_file(libc::F_WRLCK);
    fcntl(file, FcntlArg::F_GETLK(&mut lock))?;
    Ok((i32::from(lock.l_type) != libc::F_UNLCK).then(|| Pid::from_raw(lock.l_pid)))
}

fn whole_file(kind: i32) -> libc::flock {
    libc::flock {
        l_type: i16::try_from(kind).unwrap_or_default(),
        l_whence: 0, // SEEK_SET
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asking_writes_nothing_and_a_number_left_behind_is_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fwknopd.pid");
        assert_eq!(running(&path).unwrap(), None);
        assert!(!path.exists());
        std::fs::write(&path, "1\n").unwrap();
        assert_eq!(running(&path).unwrap(), None, "nobody holds the lock");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1\n");
    }

    #[test]
    fn a_longer_number_left_behind_does_not_survive_in_part() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fwknopd.pid");
        std::fs::write(&path, "4194304194304\n").unwrap();
        let _taken = PidFile::take(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
    }
}
