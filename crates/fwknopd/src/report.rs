//! What a child process tells the warden: one line of text each, on its standard output.
//!
//! ```text
//! log warning Replay detected from source IP: 192.0.2.10, …
//! ready 9f86d081884c7d65          the policy of this generation is understood
//! hearing                         from now on no packet is missed
//! open stanza=1 from=…            an order
//! limit 5                         as many packets as `-C` allows have been heard
//! end                             the capture file has been read to its end
//! policy 9f86d081884c7d65 512     (reader only) the next 512 bytes are the policy of this generation, without keys
//! said 7 uid=1001(alice)          (runner only) a line of a command's output
//! done 7 exit 0                   (runner only) how it ended
//! ```

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::str::FromStr;

use thiserror::Error;

use crate::action::errand::Ending;
use crate::journal::{Level, Line, escape};
use crate::order::Order;

/// The longest line that is believed, in bytes; a child that writes more is broken.
pub const LONGEST: usize = 8 * 1024;

/// One line of a child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// Something for the log.
    Log(Line),
    /// The policy of this generation was understood; waiting for descriptors.
    Ready(String),
    /// Packets are heard from now on.
    Hearing,
    /// An order.
    Order(Order),
    /// This many packets were heard, and that was all that `-C` allows.
    Limit(u64),
    /// The capture file was read to its end.
    End,
    /// The policy follows.
    Policy {
        /// Its generation.
        generation: String,
        /// How many bytes of it follow.
        bytes: usize,
    },
    /// (Runner only) a line that a command has written.
    Said {
        /// The errand.
        ticket: u64,
        /// The line.
        text: String,
    },
    /// (Runner only) a command has ended, or could not begin.
    Done {
        /// The errand.
        ticket: u64,
        /// How.
        ending: Ending,
    },
}

impl Report {
    /// Writes the line in one system call, so that it is whole or not there.
    pub fn send(&self, to: impl AsFd) -> io::Result<()> {
        let line = format!("{self}\n");
        let mut rest = line.as_bytes();
        while !rest.is_empty() {
            match rustix::io::write(&to, rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(line) => {
                let mut text = escape(&line.text);
                text.truncate(LONGEST - 32);
                write!(f, "log {} {text}", word(line.level))
            }
            Self::Ready(generation) => write!(f, "ready {generation}"),
            Self::Hearing => f.write_str("hearing"),
            Self::Order(order) => order.fmt(f),
            Self::Limit(packets) => write!(f, "limit {packets}"),
            Self::End => f.write_str("end"),
            Self::Policy { generation, bytes } => write!(f, "policy {generation} {bytes}"),
            Self::Said { ticket, text } => write!(f, "said {ticket} {}", escape(text)),
            Self::Done { ticket, ending } => write!(f, "done {ticket} {ending}"),
        }
    }
}

const LEVELS: [(Level, &str); 4] =
    [(Level::Error, "error"), (Level::Warning, "warning"), (Level::Info, "info"), (Level::Debug, "debug")];

fn word(level: Level) -> &'static str {
    LEVELS.into_iter().find(|(known, _)| *known == level).map_or("error", |(_, word)| word)
}

fn level_of(word: &str) -> Option<Level> {
    LEVELS.into_iter().find(|(_, known)| *known == word).map(|(level, _)| level)
}

/// A line that no child of ours writes.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("a child process wrote what none of ours writes: {0}")]
pub struct NotAReport(String);

impl NotAReport {
    /// A line that is nonsense.
    pub(crate) fn from_text(line: &str) -> Self {
        Self(escape(line))
    }
}

impl FromStr for Report {
    type Err = NotAReport;

    fn from_str(line: &str) -> Result<Self, NotAReport> {
        let no = || NotAReport::from_text(line);
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        Ok(match word {
            "log" => {
                let (level, text) = rest.split_once(' ').ok_or_else(no)?;
                Self::Log(Line::new(level_of(level).ok_or_else(no)?, text))
            }
            "ready" => Self::Ready(rest.to_owned()),
            "hearing" if rest.is_empty() => Self::Hearing,
            "end" if rest.is_empty() => Self::End,
            "limit" => Self::Limit(rest.parse().map_err(|_| no())?),
            "policy" => {
                let (generation, bytes) = rest.split_once(' ').ok_or_else(no)?;
                Self::Policy { generation: generation.to_owned(), bytes: bytes.parse().map_err(|_| no())? }
            }
            "said" => {
                let (ticket, text) = rest.split_once(' ').ok_or_else(no)?;
                Self::Said { ticket: ticket.parse().map_err(|_| no())?, text: text.to_owned() }
            }
            "done" => {
                let (ticket, ending) = rest.split_once(' ').ok_or_else(no)?;
                let ending = ending.parse().map_err(|_| no())?;
                Self::Done { ticket: ticket.parse().map_err(|_| no())?, ending }
            }
            _ => Self::Order(line.parse().map_err(|_| no())?),
        })
    }
}

/// The lines of one child, as they come out of its pipe: whole lines only, of bounded length.
#[derive(Debug, Default)]
pub struct Reports {
    unread: Vec<u8>,
}

impl Reports {
    /// Takes bytes as they come out of the pipe.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
    }

    /// The next line that is complete.
    pub fn next_line(&mut self) -> Result<Option<Report>, NotAReport> {
        self.next_text()?.map(|line| line.parse()).transpose()
    }

    /// The same, for whoever reads other lines.
    pub fn next_text(&mut self) -> Result<Option<String>, NotAReport> {
        let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') else {
            let too_long = self.unread.len() > LONGEST;
            return if too_long { Err(NotAReport(format!("a line of more than {LONGEST} bytes"))) } else { Ok(None) };
        };
        let line: Vec<u8> = self.unread.drain(..=end).collect();
        Ok(Some(String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or_default()).into_owned()))
    }

    /// The next `bytes` bytes, if they are here already: what a [`Report::Policy`] announced.
    pub fn take(&mut self, bytes: usize) -> Option<Vec<u8>> {
        (self.unread.len() >= bytes).then(|| self.unread.drain(..bytes).collect())
    }
}

/// Sends one line for the log.
pub fn log(to: impl AsFd, level: Level, text: impl fmt::Display) -> io::Result<()> {
    Report::Log(Line::new(level, text)).send(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_read_back_as_they_were_written() {
        for line in [
            "log warning Replay detected from source IP: 192.0.2.10",
            "ready 9f86d081884c7d65",
            "hearing",
            "open stanza=1 from=192.0.2.10 client=192.0.2.10 ports=tcp/22 seconds=30",
            "limit 5",
            "end",
            "policy 9f86d081884c7d65 512",
            "said 7 done 7 exit 0",
            "done 7 failed Permission denied (os error 13)",
        ] {
            assert_eq!(line.parse::<Report>().unwrap().to_string(), line);
        }
    }

    #[test]
    fn what_no_child_writes_is_refused() {
        for line in ["", "log", "log loud x", "hearing well", "limit few", "end well", "rm -rf /", "open"] {
            assert!(line.parse::<Report>().is_err(), "{line}");
        }
    }

    #[test]
    fn lines_are_put_together_from_pieces_and_never_grow_without_bound() {
        let mut reports = Reports::default();
        reports.feed(b"hea");
        assert_eq!(reports.next_line().unwrap(), None);
        reports.feed(b"ring\nlimit 2\nlog");
        assert_eq!(reports.next_line().unwrap(), Some(Report::Hearing));
        assert_eq!(reports.next_line().unwrap(), Some(Report::Limit(2)));
        assert_eq!(reports.next_line().unwrap(), None);
        reports.feed(&[b'x'; LONGEST]);
        assert!(reports.next_line().is_err());
    }

    #[test]
    fn a_policy_is_taken_when_all_of_it_is_there() {
        let mut reports = Reports::default();
        reports.feed(b"policy 9f86 10\nSOURCE");
        let policy = reports.next_line().unwrap();
        assert_eq!(policy, Some(Report::Policy { generation: "9f86".into(), bytes: 10 }));
        assert_eq!(reports.take(10), None);
        reports.feed(b" ANYhearing\n");
        assert_eq!(reports.take(10).unwrap(), b"SOURCE ANY");
        assert_eq!(reports.next_line().unwrap(), Some(Report::Hearing));
    }

    #[test]
    fn the_text_of_a_stranger_cannot_forge_an_order() {
        let line = Report::Log(Line::new(Level::Info, "user bob\nopen stanza=1")).to_string();
        assert!(!line.contains('\n'), "{line}");
    }
}
