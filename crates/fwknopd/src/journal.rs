//! Where log lines go: the system log, the error stream, or both.
//!
//! A [`Line`] has a level and one line of text. Text that a stranger sent is escaped here ([`escape`]), once, so that
//! nothing on the wire can forge a second line or colour a terminal. Destinations and levels are those of spec
//! `output-contract.md` 2.1: up to *info* always, *debug* from one `-v`.

mod throttle;

use std::fmt;
use std::io::Write as _;

use syslog::{Facility, Formatter3164, Logger, LoggerBackend};

/// How loud a line is: one scale for complaints about files and for the log.
pub use fwknop_conf::complaint::Severity as Level;
pub use throttle::{Tally, Throttle};

use crate::config;

/// One line for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// How loud.
    pub level: Level,
    /// The text, without its line end.
    pub text: String,
}

impl Line {
    /// A line of this level.
    pub fn new(level: Level, text: impl fmt::Display) -> Self {
        Self { level, text: text.to_string() }
    }

    /// Something is not as it should be.
    pub fn warning(text: impl fmt::Display) -> Self {
        Self::new(Level::Warning, text)
    }

    /// Something was done.
    pub fn info(text: impl fmt::Display) -> Self {
        Self::new(Level::Info, text)
    }

    /// Why and how.
    pub fn debug(text: impl fmt::Display) -> Self {
        Self::new(Level::Debug, text)
    }
}

/// Writes `text` so that it stays one printable line: what is not printable ASCII becomes `\xNN`.
pub fn escape(text: impl AsRef<[u8]>) -> String {
    let text = text.as_ref();
    let mut escaped = String::with_capacity(text.len());
    for byte in text {
        match byte {
            b' '..=b'~' => escaped.push(char::from(*byte)),
            _ => escaped.push_str(&format!("\\x{byte:02x}")),
        }
    }
    escaped
}

/// Where the lines of one process go.
pub struct Journal {
    /// Lines at least as loud as this are written.
    quietest: Level,
    /// Lines at least as loud as this go to the error stream, too.
    stderr: Option<Level>,
    syslog: Option<Syslog>,
}

struct Syslog {
    identity: String,
    facility: Facility,
    logger: Option<Logger<LoggerBackend, Formatter3164>>,
}

impl Journal {
    /// A journal on the error stream alone: bare text, as the original's foreground mode prints it.
    pub fn on_stderr(verbosity: u32) -> Self {
        let quietest = if verbosity > 0 { Level::Debug } else { Level::Info };
        Self { quietest, stderr: Some(quietest), syslog: None }
    }

    /// Adds the system log. It is connected to when the first line is written, and again whenever it was restarted.
    pub fn with_syslog(mut self, settings: &config::Syslog) -> Self {
        let (identity, facility) = (settings.identity.clone(), facility(settings.local));
        self.syslog = Some(Syslog { identity, facility, logger: None });
        self
    }

    /// Writes only warnings and errors to the error stream: it is the terminal of whoever starts a daemon.
    pub fn hush_stderr(mut self) -> Self {
        self.stderr = Some(Level::Warning);
        self
    }

    /// Stops writing to the error stream (a daemon that has told its starter how the start went).
    pub fn leave_stderr(&mut self) {
        self.stderr = None;
    }

    /// Whether a line of this level would be written.
    pub fn wants(&self, level: Level) -> bool {
        level >= self.quietest
    }

    /// Writes one line.
    pub fn write(&mut self, level: Level, text: impl fmt::Display) {
        if !self.wants(level) {
            return;
        }
        let text = escape(text.to_string());
        if self.stderr.is_some_and(|quietest| level >= quietest) {
            // A closed error stream must not stop a door from being closed.
            let _ = writeln!(std::io::stderr(), "{text}");
        }
        if let Some(syslog) = &mut self.syslog {
            syslog.write(level, &text);
        }
    }

    /// Writes a line that somebody else made.
    pub fn line(&mut self, line: &Line) {
        self.write(line.level, &line.text);
    }
}

impl Syslog {
    fn write(&mut self, level: Level, text: &str) {
        for _ in 0..2 {
            if self.logger.is_none() {
                self.logger = self.connect();
            }
            let Some(logger) = &mut self.logger else { return };
            let sent = match level {
                Level::Error => logger.err(text),
                Level::Warning => logger.warning(text),
                Level::Info => logger.info(text),
                Level::Debug => logger.debug(text),
            };
            if sent.is_ok() {
                return;
            }
            self.logger = None; // the system log was restarted: connect again, once
        }
    }

    fn connect(&self) -> Option<Logger<LoggerBackend, Formatter3164>> {
        let formatter = Formatter3164 {
            facility: self.facility,
            hostname: None,
            process: self.identity.clone(),
            pid: std::process::id(),
        };
        syslog::unix(formatter).ok()
    }
}

/// The facility of the settings: daemon, or one of the eight that are free for local use.
fn facility(local: Option<u8>) -> Facility {
    match local {
        Some(0) => Facility::LOG_LOCAL0,
        Some(1) => Facility::LOG_LOCAL1,
        Some(2) => Facility::LOG_LOCAL2,
        Some(3) => Facility::LOG_LOCAL3,
        Some(4) => Facility::LOG_LOCAL4,
        Some(5) => Facility::LOG_LOCAL5,
        Some(6) => Facility::LOG_LOCAL6,
        Some(7) => Facility::LOG_LOCAL7,
        _ => Facility::LOG_DAEMON,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_stays_one_printable_line() {
        assert_eq!(escape("bob"), "bob");
        assert_eq!(escape("a\nfwknopd: Added\u{1b}[2J"), "a\\x0afwknopd: Added\\x1b[2J");
        assert_eq!(escape("é"), "\\xc3\\xa9");
    }
}
