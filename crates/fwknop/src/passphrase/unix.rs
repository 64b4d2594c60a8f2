//! Terminals and descriptors of Unix.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
};

use super::read_line;
use crate::settings::SecretBytes;

/// A descriptor that we were started with, but 0.
pub(super) fn open(descriptor: u32) -> io::Result<Box<dyn Read>> {
    match File::open(format!("/dev/fd/{descriptor}")) {
        Ok(file) => Ok(Box::new(file)),
        // The name is missing because the descriptor is.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(rustix::io::Errno::BADF.into()),
        Err(error) => Err(error),
    }
}

/// Asks the controlling terminal, and shows nothing of what is typed.
pub(super) fn ask_terminal(prompt: &str) -> io::Result<SecretBytes> {
    let mut terminal = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
    let quiet = Quiet::new(terminal.try_clone()?)?;
    terminal.write_all(prompt.as_bytes())?;
    let key = read_line(&mut terminal, true);
    terminal.write_all(b"\n")?;
    drop(quiet);
    key
}

/// While it lives the terminal shows nothing, edits nothing and sends no signals.
struct Quiet {
    terminal: File,
    before: rustix::termios::Termios,
}

impl Quiet {
    fn new(terminal: File) -> io::Result<Self> {
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
        let before = tcgetattr(&terminal)?;
        let mut during = before.clone();
        during.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        tcsetattr(&terminal, OptionalActions::Flush, &during)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _gone = rustix::termios::tcsetattr(&self.terminal, rustix::termios::OptionalActions::Drain, &self.before);
    }
}
