//! A knock for somebody who wants to come in right now: `fwknop wait HOST PORT …` and `fwknop connect HOST PORT …`.
//!
//! If the port is open already nothing is sent. Else the rest of the command line knocks, and connections are tried until one stands, for as
//! long as patience lasts. `wait` then ends with status 0; `connect` carries what comes on standard input over the connection and what comes back
//! to standard output, as a `ProxyCommand` of ssh does. All talk goes to standard error. The rc file learns no new variable for this: a stanza
//! stays one that every client understands, and the line in `~/.ssh/config` says the rest.
//!
//! ```text
//! open? ──yes─────────────────────────────▶ done, or carry
//!   └─no─▶ knock ─▶ try, try … (--wait) ─▶ done, or carry      or status 1
//! ```

mod carry;

use std::{
    ffi::OsString,
    io::{self, Write as _},
    net::{SocketAddr, TcpStream},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use crate::{
    Told,
    args::CommandLine,
    output::reason,
    settings::{Name, Value},
    transport,
};

/// How long to wait if nothing is said.
const PATIENCE: u64 = 10;
/// How long the port may take to answer before we knock. On a slower line a knock too many is sent, which does no harm.
const GLANCE: Duration = Duration::from_millis(700);
/// How long the first try after the knock may take. Each later one may take twice as long, so that a slow line gets its chance …
const FIRST_TRY: Duration = Duration::from_millis(25);
/// … up to this.
const LONGEST_TRY: Duration = Duration::from_secs(4);
/// The pause after a port that is closed instead of silent.
const PAUSE: Duration = Duration::from_millis(50);

/// Where to, how, and with which knock.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Visit {
    host: String,
    port: u16,
    patience: Duration,
    carries: bool,
    knock: Vec<OsString>,
}

/// What is wrong with a command line that wants to visit. Displays as the line for standard error.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Misuse {
    #[error(
        "fwknop {0}: say where to: fwknop {0} HOST PORT [--wait SECONDS] and the options of a knock, as in -n NAME"
    )]
    Place(&'static str),
    #[error("fwknop {0}: {1:?} is no port (1 to 65535)")]
    Port(&'static str, OsString),
    #[error("fwknop {0}: --wait needs a number of seconds, 0 to 3600")]
    Seconds(&'static str),
    #[error("fwknop connect: standard input belongs to the connection, no key can come from there")]
    Input,
}

impl Visit {
    /// Reads the whole command line, if its first word is `wait` or `connect`.
    pub(crate) fn read(words: &[OsString]) -> Option<Result<Self, Misuse>> {
        let (program, words) = words.split_first()?;
        let (first, words) = words.split_first()?;
        let name = ["wait", "connect"].into_iter().find(|name| first == *name)?;
        Some(Self::options(name, program, words))
    }

    fn options(name: &'static str, program: &OsString, words: &[OsString]) -> Result<Self, Misuse> {
        let [host, port, rest @ ..] = words else { return Err(Misuse::Place(name)) };
        let host = host.to_str().filter(|host| !host.starts_with('-')).ok_or(Misuse::Place(name))?;
        let number = port.to_str().filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
        let number = number.and_then(|port| port.parse().ok()).filter(|port| *port != 0);
        // A visit is no command line to come back to: what -l repeats stays what was typed last.
        let mut knock = vec![program.clone(), "--no-save-args".into()];
        let mut seconds = PATIENCE;
        let mut rest = rest.iter();
        while let Some(word) = rest.next() {
            if word == "--wait" {
                let said = rest.next().and_then(|word| word.to_str()?.parse().ok());
                seconds = said.filter(|seconds| *seconds <= 3600).ok_or(Misuse::Seconds(name))?;
            } else {
                knock.push(word.clone());
            }
        }
        let visit = Self {
            host: host.to_owned(),
            port: number.ok_or_else(|| Misuse::Port(name, port.clone()))?,
            patience: Duration::from_secs(seconds),
            carries: name == "connect",
            knock,
        };
        if visit.carries && visit.reads_input() { Err(Misuse::Input) } else { Ok(visit) }
    }

    /// Whether the knock would take its keys from standard input.
    fn reads_input(&self) -> bool {
        let line = CommandLine::parse(self.knock.iter().skip(1).cloned(), false);
        line.layer().is_ok_and(|layer| matches!(layer.get(Name::Descriptor), Some(Value::Number(0))))
    }

    /// Pays it: `knock` gets the command line to knock with, if that is needed, and has told what went wrong when it fails.
    pub(crate) fn pay(self, knock: impl FnOnce(Vec<OsString>) -> Result<(), Told>) -> ExitCode {
        let Self { host, port, patience, carries, knock: words } = self;
        // A name that nobody knows is told before a packet is spent on it.
        let addresses = transport::look_up(&host, port, None).map_err(|why| format!("fwknop: {host}: {why}"));
        let arrived = addresses.and_then(|addresses| match one_round(&addresses, Instant::now() + GLANCE, GLANCE) {
            Ok(stream) => Ok(stream),
            Err(_shut) => knock(words).map_err(|Told| String::new()).and_then(|()| {
                arrive(&addresses, patience).map_err(|why| {
                    let (seconds, why) = (patience.as_secs(), reason(&why));
                    format!("fwknop: {host} port {port} did not open within {seconds} s of the knock: {why}")
                })
            }),
        });
        let ended = arrived.and_then(|stream| match carries {
            true => carry::carry(&stream).map_err(|error| format!("fwknop: the connection ended: {}", reason(&error))),
            false => Ok(()),
        });
        match ended {
            Ok(()) => ExitCode::SUCCESS,
            Err(told) => {
                if !told.is_empty() {
                    let _gone = writeln!(io::stderr(), "{told}");
                }
                ExitCode::FAILURE
            }
        }
    }
}

/// Tries until a connection stands.
fn arrive(addresses: &[SocketAddr], patience: Duration) -> io::Result<TcpStream> {
    let end = Instant::now() + patience;
    let mut limit = FIRST_TRY;
    loop {
        let why = match one_round(addresses, end, limit) {
            Ok(stream) => return Ok(stream),
            Err(why) => why,
        };
        if why.kind() == io::ErrorKind::TimedOut {
            limit = (limit * 2).min(LONGEST_TRY);
        } else {
            thread::sleep(PAUSE.min(end.saturating_duration_since(Instant::now())));
        }
        if Instant::now() >= end {
            return Err(why);
        }
    }
}

/// Tries each address once, none beyond the end. The error is the last address's.
fn one_round(addresses: &[SocketAddr], end: Instant, limit: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::TimedOut);
    for address in addresses {
        let left = end.saturating_duration_since(Instant::now()).min(limit);
        if left.is_zero() {
            break;
        }
        match TcpStream::connect_timeout(address, left) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn read(words: &str) -> Option<Result<Visit, Misuse>> {
        Visit::read(&words.split(' ').map(Into::into).collect::<Vec<_>>())
    }

    #[test]
    fn only_the_very_first_word_asks_for_a_visit() {
        assert_eq!(read("fwknop -n home wait h 22"), None);
        assert_eq!(read("fwknop waits h 22"), None);
        let visit = read("fwknop connect h 22 -n home --wait 3 -v").unwrap().unwrap();
        assert_eq!(
            (visit.host.as_str(), visit.port, visit.patience, visit.carries),
            ("h", 22, Duration::from_secs(3), true)
        );
        assert_eq!(visit.knock, ["fwknop", "--no-save-args", "-n", "home", "-v"]);
    }

    #[test]
    fn a_visit_that_makes_no_sense_is_refused_before_anything_is_sent() {
        for (words, misuse) in [
            ("fwknop wait", Misuse::Place("wait")),
            ("fwknop connect -n home", Misuse::Place("connect")),
            ("fwknop wait h 0", Misuse::Port("wait", "0".into())),
            ("fwknop wait h +22", Misuse::Port("wait", "+22".into())),
            ("fwknop wait h ssh", Misuse::Port("wait", "ssh".into())),
            ("fwknop wait h 22 --wait", Misuse::Seconds("wait")),
            ("fwknop wait h 22 --wait 3601", Misuse::Seconds("wait")),
            ("fwknop connect h 22 --stdin", Misuse::Input),
            ("fwknop connect h 22 --fd 0", Misuse::Input),
        ] {
            assert_eq!(read(words), Some(Err(misuse)), "{words}");
        }
        assert!(read("fwknop wait h 22 --stdin").unwrap().is_ok());
    }

    #[test]
    fn nobody_knocks_at_an_open_door_or_for_a_name_that_is_none() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        let pay = |words: &str| read(words).unwrap().unwrap().pay(|_| panic!("knocked"));
        assert_eq!(pay(&format!("fwknop wait 127.0.0.1 {port}")), ExitCode::SUCCESS);
        assert_eq!(pay(&format!("fwknop wait nobody.invalid {port}")), ExitCode::FAILURE);
    }

    #[test]
    fn a_door_that_opens_after_the_knock_is_found_and_one_that_does_not_is_told() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let opener = thread::spawn(move || {
            thread::sleep(Duration::from_millis(150));
            TcpListener::bind(free).unwrap()
        });
        assert!(arrive(&[free], Duration::from_secs(5)).is_ok());
        drop(opener.join().unwrap());
        let begin = Instant::now();
        let told = arrive(&[free], Duration::from_millis(300)).unwrap_err();
        assert_eq!(told.kind(), io::ErrorKind::ConnectionRefused);
        assert!((0.3..2.0).contains(&begin.elapsed().as_secs_f64()), "{:?}", begin.elapsed());
    }
}
