//! What the warden asks the runner to do, and how it went: one line of text each.
//!
//! ```text
//! run ticket=7 stanza=2 turn=in-order as=1001:1001 seconds=300 text=id%20-a         warden ─▶ runner
//! said 7 uid=1001(alice) gid=1001(alice)                                            runner ─▶ warden
//! done 7 exit 0
//! ```

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use thiserror::Error;

use super::command_line::CommandLine;
use crate::order::{NotAnOrder, field};

/// One program to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errand {
    /// Its number; what is told about it names it.
    pub ticket: u64,
    /// The stanza it is for: the commands of one stanza are run one after the other.
    pub stanza: u32,
    /// When it may begin.
    pub turn: Turn,
    /// User and group to become; `None`: stay who the runner is.
    pub account: Option<Ids>,
    /// How long it may take.
    pub seconds: NonZeroU32,
    /// What is run.
    pub text: CommandLine,
}

/// When an errand may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// When those of its stanza that were asked for before are done.
    InOrder,
    /// Before all that wait, but not before the one with this ticket: what it undoes must have been done.
    After(u64),
}

/// The numbers of a user and a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    /// The user.
    pub user: u32,
    /// The group.
    pub group: u32,
}

/// How an errand ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The program ended with this status.
    Exit(i32),
    /// This signal ended it.
    Signal(i32),
    /// It took too long and was ended, with all its children.
    Late,
    /// There were too many words, or none.
    Unsplittable,
    /// It could not be started.
    Failed(String),
}

impl fmt::Display for Errand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ticket, stanza, turn, account, seconds, text } = self;
        write!(f, "run ticket={ticket} stanza={stanza} turn={turn} as=")?;
        match account {
            Some(ids) => write!(f, "{ids}")?,
            None => f.write_str("self")?,
        }
        write!(f, " seconds={seconds} text={text}")
    }
}

/// A line that is not an errand.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("not an errand")]
pub struct NotAnErrand;

impl From<NotAnOrder> for NotAnErrand {
    fn from(_: NotAnOrder) -> Self {
        Self
    }
}

impl FromStr for Errand {
    type Err = NotAnErrand;

    fn from_str(line: &str) -> Result<Self, NotAnErrand> {
        let mut words = line.strip_prefix("run ").ok_or(NotAnErrand)?.split(' ');
        let errand = Self {
            ticket: field(&mut words, "ticket")?,
            stanza: field(&mut words, "stanza")?,
            turn: field(&mut words, "turn")?,
            account: match field::<String>(&mut words, "as")?.as_str() {
                "self" => None,
                ids => Some(ids.parse()?),
            },
            seconds: field(&mut words, "seconds")?,
            text: field(&mut words, "text")?,
        };
        // One errand has one spelling.
        if words.next().is_some() || errand.to_string() != line { Err(NotAnErrand) } else { Ok(errand) }
    }
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InOrder => f.write_str("in-order"),
            Self::After(ticket) => write!(f, "after:{ticket}"),
        }
    }
}

impl FromStr for Turn {
    type Err = NotAnErrand;

    fn from_str(text: &str) -> Result<Self, NotAnErrand> {
        match text.strip_prefix("after:") {
            Some(ticket) => ticket.parse().map(Self::After).map_err(|_| NotAnErrand),
            None if text == "in-order" => Ok(Self::InOrder),
            None => Err(NotAnErrand),
        }
    }
}

impl fmt::Display for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.user, self.group)
    }
}

impl FromStr for Ids {
    type Err = NotAnErrand;

    fn from_str(text: &str) -> Result<Self, NotAnErrand> {
        let (user, group) = text.split_once(':').ok_or(NotAnErrand)?;
        let number = |text: &str| text.parse().map_err(|_| NotAnErrand);
        Ok(Self { user: number(user)?, group: number(group)? })
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(status) => write!(f, "exit {status}"),
            Self::Signal(number) => write!(f, "signal {number}"),
            Self::Late => f.write_str("late"),
            Self::Unsplittable => f.write_str("unsplittable"),
            Self::Failed(why) => write!(f, "failed {}", crate::journal::escape(why)),
        }
    }
}

impl FromStr for Ending {
    type Err = NotAnErrand;

    fn from_str(text: &str) -> Result<Self, NotAnErrand> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let number = || rest.parse().map_err(|_| NotAnErrand);
        match (word, rest) {
            ("exit", _) => Ok(Self::Exit(number()?)),
            ("signal", _) => Ok(Self::Signal(number()?)),
            ("late", "") => Ok(Self::Late),
            ("unsplittable", "") => Ok(Self::Unsplittable),
            ("failed", why) if !why.is_empty() => Ok(Self::Failed(why.to_owned())),
            _ => Err(NotAnErrand),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errands_are_read_back_as_they_were_written() {
        for line in [
            "run ticket=7 stanza=2 turn=in-order as=1001:1002 seconds=300 text=id%20-a;%20rm%0A",
            "run ticket=8 stanza=1 turn=after:7 as=self seconds=1 text=/bin/true",
        ] {
            assert_eq!(line.parse::<Errand>().unwrap().to_string(), line);
        }
    }

    #[test]
    fn every_other_spelling_is_refused() {
        for wrong in [
            "",
            "run",
            "run ticket=7 stanza=2 turn=in-order as=1001 seconds=300 text=id",
            "run ticket=7 stanza=2 turn=in-order as=-1:0 seconds=300 text=id",
            "run ticket=7 stanza=2 turn=first as=self seconds=300 text=id",
            "run ticket=7 stanza=2 turn=after:x as=self seconds=300 text=id",
            "run ticket=7 stanza=2 turn=in-order as=self seconds=0 text=id",
            "run ticket=7 stanza=2 turn=in-order as=self seconds=300 text=",
            "run ticket=7 stanza=2 turn=in-order as=self seconds=300 text=id as=0:0",
            "run ticket=07 stanza=2 turn=in-order as=self seconds=300 text=id",
            "run stanza=2 ticket=7 turn=in-order as=self seconds=300 text=id",
        ] {
            assert_eq!(wrong.parse::<Errand>(), Err(NotAnErrand), "{wrong}");
        }
    }

    #[test]
    fn endings_are_read_back_as_they_were_written() {
        for text in ["exit 0", "exit 255", "signal 9", "late", "unsplittable", "failed No such file (os error 2)"] {
            assert_eq!(text.parse::<Ending>().unwrap().to_string(), text);
        }
        for wrong in ["", "exit", "exit x", "late 5", "failed", "ok"] {
            assert!(wrong.parse::<Ending>().is_err(), "{wrong}");
        }
    }
}
