//! The close commands that wait for their time, and the file that remembers them if the daemon is killed (trap T6).
//!
//! The file is root's and stands in the run folder while something waits. A close leaves it only when its command has
//! ended, so what was opened is closed at least once: by the clock, at the end of the daemon, or at its next start.
//!
//! ```text
//! boot 5f0c2f6e-…                   times are since this boot; after another one, all are due at once
//! close due=123456 stanza=1 client=192.0.2.10 seconds=300 text=ipset%20del%20in%20192.0.2.10
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use rustix::fs::OFlags;
use thiserror::Error;

use super::command_line::CommandLine;
use crate::order::{NotAnOrder, field};

/// The file's name in the run folder.
pub const NAME: &str = "cycle.closes";
/// As many may wait; each knock of a cycle adds one.
const MOST: usize = 1024;
/// No file of ours is longer.
const LONGEST_FILE: u64 = 4 << 20;

/// A command that undoes what another has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// The stanza it is of.
    pub stanza: u32,
    /// For whom something was opened.
    pub client: IpAddr,
    /// How long it may take, in seconds.
    pub seconds: NonZeroU32,
    /// What is run.
    pub text: CommandLine,
}

/// The closes by the time they are due, in time since boot.
#[derive(Debug, Default)]
pub struct Closes {
    waiting: BTreeMap<(Duration, u64), Close>,
    /// Given to the runner, and not known to have ended.
    underway: BTreeMap<u64, (Duration, Close)>,
    /// `None`: they are remembered nowhere.
    file: Option<CloseFile>,
}

/// Why a close cannot be promised.
#[derive(Debug, Error)]
pub enum NotEntered {
    /// There are too many.
    #[error("{MOST} close commands wait already")]
    TooMany,
    /// The file cannot be written.
    #[error("it could not be remembered in {path}")]
    Unwritten {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

/// A file that is not one of ours; what it says is not run.
#[derive(Debug, Error)]
pub enum NotOurs {
    /// It cannot be read.
    #[error("cannot read {path}")]
    Unread {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// Somebody else may have written it.
    #[error(
        "{0} is not a file that only its owner, and no other than this daemon's user, can write; its commands are not run"
    )]
    Foreign(PathBuf),
    /// It is not what we write.
    #[error("line {line} of {path} is none of ours; no command in this file is run")]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
}

impl Closes {
    /// The closes that a daemon which was killed has left in its run folder, and the file for those to come.
    ///
    /// # Errors
    /// See [`NotOurs`]: commands are run as root, so every doubt is an error.
    pub fn in_folder(folder: &Path, boot: &str) -> Result<Self, NotOurs> {
        let path = folder.join(NAME);
        let left = read(&path, boot)?;
        let waiting = (1..).zip(left).map(|(ticket, (due, close))| ((due, ticket), close)).collect();
        let file = Some(CloseFile { path, boot: boot.to_owned() });
        Ok(Self { waiting, underway: BTreeMap::new(), file })
    }

    /// None, and a file for those to come. One that is there already, and not ours, is put aside.
    pub fn anew(folder: &Path, boot: &str) -> Self {
        let path = folder.join(NAME);
        let _ = fs::rename(&path, path.with_extension("refused")); // it may be unmovable just as it was unreadable
        Self { file: Some(CloseFile { path, boot: boot.to_owned() }), ..Self::default() }
    }

    /// How many there are, underway or waiting.
    pub fn count(&self) -> usize {
        self.waiting.len() + self.underway.len()
    }

    /// Enters one, under the ticket of what it undoes, and remembers it in the file before anything is opened.
    ///
    /// # Errors
    /// If that cannot be done; then it is not entered.
    pub fn enter(&mut self, due: Duration, ticket: u64, close: Close) -> Result<(), NotEntered> {
        if self.count() >= MOST {
            return Err(NotEntered::TooMany);
        }
        self.waiting.insert((due, ticket), close);
        self.write().map_err(|source| {
            self.waiting.remove(&(due, ticket));
            let path = self.file.as_ref().map(|file| file.path.clone()).unwrap_or_default();
            NotEntered::Unwritten { path, source }
        })
    }

    /// When the next one is due; `None` while none waits.
    pub fn next_due(&self) -> Option<Duration> {
        self.waiting.keys().next().map(|(due, _)| *due)
    }

    /// The next one that is due by now, with the ticket of what it undoes. From here on it is underway.
    pub fn take_due(&mut self, now: Duration) -> Option<(u64, Close)> {
        let entry = self.waiting.first_entry().filter(|entry| entry.key().0 <= now)?;
        let ((due, ticket), close) = entry.remove_entry();
        self.underway.insert(ticket, (due, close.clone()));
        Some((ticket, close))
    }

    /// One that could not be given to the runner waits again, until `due`.
    pub fn put_back(&mut self, ticket: u64, due: Duration) {
        if let Some((_, close)) = self.underway.remove(&ticket) {
            self.waiting.insert((due, ticket), close);
        }
    }

    /// One has been run, or its opening has not: it is forgotten.
    ///
    /// # Errors
    /// If the file cannot be written; then a daemon started after this one runs the close once more.
    pub fn forget(&mut self, ticket: u64) -> io::Result<()> {
        self.underway.remove(&ticket);
        self.waiting.retain(|(_, waiting), _| *waiting != ticket);
        self.write()
    }

    fn write(&self) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let waiting = self.waiting.iter().map(|((due, _), close)| (*due, close));
        file.write(waiting.chain(self.underway.values().map(|(due, close)| (*due, close))))
    }
}

#[derive(Debug)]
struct CloseFile {
    path: PathBuf,
    boot: String,
}

impl CloseFile {
    /// Puts a new file in the place of the old one: there is never half of one. With nothing to remember there is none.
    fn write<'c>(&self, closes: impl Iterator<Item = (Duration, &'c Close)>) -> io::Result<()> {
        let lines: String = closes.map(|(due, close)| format!("{}\n", Entry { due, close: close.clone() })).collect();
        let gone = |removed: io::Result<()>| match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        if lines.is_empty() {
            return gone(fs::remove_file(&self.path));
        }
        let new = self.path.with_extension("new");
        gone(fs::remove_file(&new))?;
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(format!("boot {}\n{lines}", self.boot).as_bytes())?;
        fs::rename(&new, &self.path)
    }
}

fn read(path: &Path, boot: &str) -> Result<Vec<(Duration, Close)>, NotOurs> {
    let unread = |source| NotOurs::Unread { path: path.to_owned(), source };
    let no_link = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = match File::options().read(true).custom_flags(no_link.bits().cast_signed()).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unread(error)),
    };
    let found = file.metadata().map_err(unread)?;
    let ours = found.is_file() && found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o022 == 0;
    if !ours || found.len() > LONGEST_FILE {
        return Err(NotOurs::Foreign(path.to_owned()));
    }
    let mut text = String::new();
    file.take(LONGEST_FILE).read_to_string(&mut text).map_err(unread)?;
    let none_of_ours = |line| NotOurs::Line { path: path.to_owned(), line };
    let (first, entries) = text.split_once('\n').ok_or_else(|| none_of_ours(1))?;
    let of_this_boot = first.strip_prefix("boot ").ok_or_else(|| none_of_ours(1))? == boot;
    (2..)
        .zip(entries.lines())
        .map(|(number, line)| {
            let Entry { due, close } = line.parse().map_err(|NotAnEntry| none_of_ours(number))?;
            Ok((if of_this_boot { due } else { Duration::ZERO }, close))
        })
        .collect()
}

/// One line of the file.
struct Entry {
    due: Duration,
    close: Close,
}

#[derive(Debug)]
struct NotAnEntry;

impl From<NotAnOrder> for NotAnEntry {
    fn from(_: NotAnOrder) -> Self {
        Self
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Close { stanza, client, seconds, text } = &self.close;
        let due = self.due.as_millis();
        write!(f, "close due={due} stanza={stanza} client={client} seconds={seconds} text={text}")
    }
}

impl FromStr for Entry {
    type Err = NotAnEntry;

    fn from_str(line: &str) -> Result<Self, NotAnEntry> {
        let mut words = line.strip_prefix("close ").ok_or(NotAnEntry)?.split(' ');
        let due = Duration::from_millis(field(&mut words, "due")?);
        let close = Close {
            stanza: field(&mut words, "stanza")?,
            client: field(&mut words, "client")?,
            seconds: field(&mut words, "seconds")?,
            text: field(&mut words, "text")?,
        };
        let entry = Self { due, close };
        if words.next().is_some() || entry.to_string() != line { Err(NotAnEntry) } else { Ok(entry) }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn close(text: &str) -> Close {
        Close {
            stanza: 1,
            client: "192.0.2.10".parse().unwrap(),
            seconds: NonZeroU32::new(300).unwrap(),
            text: CommandLine::new(text).unwrap(),
        }
    }

    fn texts(closes: &mut Closes, now: u64) -> Vec<String> {
        let now = Duration::from_secs(now);
        std::iter::from_fn(|| closes.take_due(now)).map(|(_, close)| close.text.shown()).collect()
    }

    #[test]
    fn closes_are_due_by_the_clock_and_gone_when_they_are_done() {
        let folder = tempfile::tempdir().unwrap();
        let mut closes = Closes::in_folder(folder.path(), "b1").unwrap();
        closes.enter(Duration::from_secs(20), 1, close("late")).unwrap();
        closes.enter(Duration::from_secs(10), 2, close("early")).unwrap();
        assert_eq!(closes.next_due(), Some(Duration::from_secs(10)));
        assert_eq!(texts(&mut closes, 9), Vec::<String>::new());
        assert_eq!(texts(&mut closes, 15), ["early"]);
        let file = folder.path().join(NAME);
        let kept = |what: &str| fs::read_to_string(&file).unwrap().contains(what);
        assert!(kept("text=early"), "it may not have been run yet");
        closes.forget(2).unwrap();
        assert!(kept("text=late") && !kept("text=early"));
        closes.forget(1).unwrap();
        assert!(!file.exists(), "nothing is left to remember");
    }

    #[test]
    fn one_that_could_not_be_given_to_the_runner_waits_again() {
        let mut closes = Closes::default();
        closes.enter(Duration::from_secs(10), 1, close("x")).unwrap();
        assert_eq!(texts(&mut closes, 10), ["x"]);
        assert_eq!(closes.next_due(), None);
        closes.put_back(1, Duration::from_secs(11));
        assert_eq!(texts(&mut closes, 11), ["x"]);
        assert_eq!(closes.count(), 1);
    }

    #[test]
    fn a_killed_daemon_leaves_its_closes_to_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let mut closes = Closes::in_folder(folder.path(), "b1").unwrap();
        closes.enter(Duration::from_secs(20), 7, close("a b%")).unwrap();
        closes.enter(Duration::from_secs(10), 8, close("underway")).unwrap();
        assert_eq!(texts(&mut closes, 10), ["underway"]);
        drop(closes);
        assert_eq!(fs::metadata(folder.path().join(NAME)).unwrap().mode() & 0o777, 0o600);
        let mut next = Closes::in_folder(folder.path(), "b1").unwrap();
        assert_eq!(texts(&mut next, 19), ["underway"]);
        assert_eq!(texts(&mut next, 20), ["a b%"]);
        let mut after_a_boot = Closes::in_folder(folder.path(), "b2").unwrap();
        assert_eq!(texts(&mut after_a_boot, 0).len(), 2, "that clock has gone: all are due");
    }

    #[test]
    fn a_file_that_others_may_have_written_is_not_run() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(NAME);
        let good = "boot b1\nclose due=1 stanza=1 client=192.0.2.10 seconds=300 text=x\n";
        fs::write(&file, good).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
        assert!(matches!(Closes::in_folder(folder.path(), "b1"), Err(NotOurs::Foreign(_))));
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(Closes::in_folder(folder.path(), "b1").unwrap().count(), 1);
        for wrong in ["", "x\n", "boot b1\nrm -rf /\n", "boot b1\nclose due=+1 stanza=1 client=::1 seconds=1 text=x\n"]
        {
            fs::write(&file, wrong).unwrap();
            assert!(matches!(Closes::in_folder(folder.path(), "b1"), Err(NotOurs::Line { .. })), "{wrong}");
        }
        fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
        assert!(matches!(Closes::in_folder(folder.path(), "b1"), Err(NotOurs::Unread { .. })));
    }

    #[test]
    fn there_is_an_end_to_what_may_wait() {
        let mut closes = Closes::default();
        for ticket in 0..1024 {
            closes.enter(Duration::from_secs(10), ticket, close("x")).unwrap();
        }
        assert!(matches!(closes.enter(Duration::from_secs(10), 1024, close("x")), Err(NotEntered::TooMany)));
    }
}
