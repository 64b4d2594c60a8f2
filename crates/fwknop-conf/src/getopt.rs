//! The command line grammar of both programs: that of GNU `getopt_long`, on which users and their scripts depend.
//!
//! A table of [`Opt`] and the arguments go in; what was given comes out in order, and so does what was wrong, so that the
//! caller can decide (a `-h` behind an unknown option still helps). Nothing is printed, no environment is read, nothing ends.
//!
//! | written | means |
//! | --- | --- |
//! | `-TvAtcp/22` | short options in a cluster; the first that takes a value takes the rest |
//! | `--access tcp/22`, `--access=tcp/22` | a long option with its value |
//! | `--acc tcp/22` | any beginning that fits one option only; synonyms (same `id`) do not disturb each other |
//! | `word`, `-` | stray words: skipped, wherever they stand |
//! | `--` | the end: what follows is not looked at |
//!
//! ```
//! use fwknop_conf::getopt::{Opt, scan};
//!
//! const TABLE: &[Opt<char>] = &[
//!     Opt { id: 'A', long: "access", short: Some('A'), takes_value: true },
//!     Opt { id: 'T', long: "test", short: Some('T'), takes_value: false },
//! ];
//! let given = scan(TABLE, ["-T", "--acc=tcp/22", "--nope"].map(Into::into), false);
//! assert_eq!(given[0].as_ref().unwrap().id, 'T');
//! assert_eq!(given[1].as_ref().unwrap().value.as_deref(), Some("tcp/22".as_ref()));
//! assert_eq!(given[2].as_ref().unwrap_err().to_string(), "unrecognized option '--nope'");
//! ```

use std::{ffi::OsString, fmt};

/// One option the program knows. Two entries with the same `id` are synonyms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opt<T> {
    /// What the program calls it.
    pub id: T,
    /// The long name, without its dashes.
    pub long: &'static str,
    /// The short name: one ASCII character.
    pub short: Option<char>,
    /// Whether a value must follow. (Options with an optional value do not exist here.)
    pub takes_value: bool,
}

/// One option as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given<T> {
    /// The `id` of its [`Opt`].
    pub id: T,
    /// Its value; `Some` exactly if the option takes one.
    pub value: Option<OsString>,
}

/// What was wrong with one argument. Displays in the C library's words, which the programs print after their name and
/// a colon: `fwknop: unrecognized option '--nope'`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misuse {
    /// No long option begins like this; as written, with dashes and value.
    Unknown(String),
    /// No short option is called this.
    UnknownShort(char),
    /// Several options begin like this.
    Ambiguous {
        /// As written, with dashes and value.
        given: String,
        /// The long names it could be, in the order of the table.
        possibilities: Vec<&'static str>,
    },
    /// The arguments ended where this long option's value should stand.
    ValueMissing(&'static str),
    /// The arguments ended where this short option's value should stand.
    ValueMissingShort(char),
    /// `--name=value`, but the option takes none.
    ValueRefused(&'static str),
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(given) => write!(f, "unrecognized option '{given}'"),
            Self::UnknownShort(letter) => write!(f, "invalid option -- '{letter}'"),
            Self::Ambiguous { given, possibilities } => {
                write!(f, "option '{given}' is ambiguous; possibilities:")?;
                possibilities.iter().try_for_each(|long| write!(f, " '--{long}'"))
            }
            Self::ValueMissing(long) => write!(f, "option '--{long}' requires an argument"),
            Self::ValueMissingShort(letter) => {
                write!(f, "option requires an argument -- '{letter}'")
            }
            Self::ValueRefused(long) => write!(f, "option '--{long}' doesn't allow an argument"),
        }
    }
}

impl std::error::Error for Misuse {}

/// Reads `arguments` (without the program's name) by `table`.
///
/// `posixly_correct` is whether the environment has `POSIXLY_CORRECT`: then the first stray word ends the options.
/// Spec: client.md section 2, server.md section 2.
pub fn scan<T: Copy + PartialEq>(
    table: &[Opt<T>],
    arguments: impl IntoIterator<Item = OsString>,
    posixly_correct: bool,
) -> Vec<Result<Given<T>, Misuse>> {
    let mut arguments = arguments.into_iter().map(into_bytes);
    let mut found = Vec::new();
    while let Some(argument) = arguments.next() {
        if argument == b"--" {
            break;
        } else if let Some(name) = argument.strip_prefix(b"--") {
            found.push(long(table, name, &mut arguments));
        } else if let Some(cluster @ [_, ..]) = argument.strip_prefix(b"-") {
            short(table, cluster, &mut arguments, &mut found);
        } else if posixly_correct {
            break;
        }
    }
    found
}

/// One `--name` or `--name=value`; `written` is without the dashes.
fn long<T: Copy + PartialEq>(
    table: &[Opt<T>],
    written: &[u8],
    arguments: &mut impl Iterator<Item = Vec<u8>>,
) -> Result<Given<T>, Misuse> {
    let (name, attached) = match written.iter().position(|&byte| byte == b'=') {
        Some(at) => {
            let (name, rest) = written.split_at(at);
            (name, rest.get(1..))
        }
        None => (written, None),
    };
    let as_written = || format!("--{}", String::from_utf8_lossy(written));
    let exact = table.iter().find(|opt| opt.long.as_bytes() == name);
    let opt = match exact {
        Some(opt) => opt,
        None => abbreviated(table, name).map_err(|possibilities| match possibilities.as_slice() {
            [] => Misuse::Unknown(as_written()),
            _ => Misuse::Ambiguous { given: as_written(), possibilities },
        })?,
    };
    let value = match (opt.takes_value, attached) {
        (false, None) => None,
        (false, Some(_)) => return Err(Misuse::ValueRefused(opt.long)),
        (true, Some(attached)) => Some(attached.to_vec()),
        (true, None) => Some(arguments.next().ok_or(Misuse::ValueMissing(opt.long))?),
    };
    Ok(Given { id: opt.id, value: value.map(from_bytes) })
}

/// The option that begins with `name`, or all that do. As in the C library a candidate counts against the first one
/// only if it means something else.
fn abbreviated<'t, T: PartialEq>(table: &'t [Opt<T>], name: &[u8]) -> Result<&'t Opt<T>, Vec<&'static str>> {
    let mut candidates = table.iter().filter(|opt| opt.long.as_bytes().starts_with(name));
    let first = candidates.next().ok_or_else(Vec::new)?;
    let others: Vec<_> = candidates.filter(|opt| opt.id != first.id || opt.takes_value != first.takes_value).collect();
    if others.is_empty() {
        return Ok(first);
    }
    Err(std::iter::once(first).chain(others).map(|opt| opt.long).collect())
}

/// One `-abc`; `cluster` is without the dash. An unknown letter is told and the next one is looked at.
fn short<T: Copy>(
    table: &[Opt<T>],
    mut cluster: &[u8],
    arguments: &mut impl Iterator<Item = Vec<u8>>,
    found: &mut Vec<Result<Given<T>, Misuse>>,
) {
    while let Some((&letter, rest)) = cluster.split_first() {
        cluster = rest;
        let letter = if letter.is_ascii() { char::from(letter) } else { char::REPLACEMENT_CHARACTER };
        let Some(opt) = table.iter().find(|opt| opt.short == Some(letter)) else {
            found.push(Err(Misuse::UnknownShort(letter)));
            continue;
        };
        if !opt.takes_value {
            found.push(Ok(Given { id: opt.id, value: None }));
            continue;
        }
        let value = if rest.is_empty() { arguments.next() } else { Some(rest.to_vec()) };
        found.push(match value {
            Some(value) => Ok(Given { id: opt.id, value: Some(from_bytes(value)) }),
            None => Err(Misuse::ValueMissingShort(letter)),
        });
        return;
    }
}

#[cfg(unix)]
fn into_bytes(argument: OsString) -> Vec<u8> {
    std::os::unix::ffi::OsStringExt::into_vec(argument)
}

#[cfg(unix)]
fn from_bytes(value: Vec<u8>) -> OsString {
    std::os::unix::ffi::OsStringExt::from_vec(value)
}

// Elsewhere arguments are Unicode, but for lone surrogates, which no option of ours could use.
#[cfg(not(unix))]
fn into_bytes(argument: OsString) -> Vec<u8> {
    argument.to_string_lossy().into_owned().into_bytes()
}

#[cfg(not(unix))]
fn from_bytes(value: Vec<u8>) -> OsString {
    String::from_utf8_lossy(&value).into_owned().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TABLE: &[Opt<u8>] = &[
        Opt { id: 1, long: "access", short: Some('A'), takes_value: true },
        Opt { id: 2, long: "resolve-ip-http", short: Some('R'), takes_value: false },
        Opt { id: 2, long: "resolve-ip-https", short: None, takes_value: false },
        Opt { id: 3, long: "resolve-url", short: None, takes_value: true },
        Opt { id: 4, long: "save-packet", short: Some('B'), takes_value: true },
        Opt { id: 5, long: "save-packet-append", short: Some('b'), takes_value: false },
        Opt { id: 6, long: "test", short: Some('T'), takes_value: false },
        Opt { id: 7, long: "verbose", short: Some('v'), takes_value: false },
    ];

    /// `3=x` for option 3 with value x, the message for what is wrong.
    fn told(arguments: &[&str], posixly_correct: bool) -> Vec<String> {
        scan(TABLE, arguments.iter().map(Into::into), posixly_correct)
            .into_iter()
            .map(|item| match item {
                Ok(Given { id, value: None }) => id.to_string(),
                Ok(Given { id, value: Some(value) }) => format!("{id}={}", value.to_string_lossy()),
                Err(misuse) => misuse.to_string(),
            })
            .collect()
    }

    #[test]
    fn reads_every_form_the_c_library_reads() {
        for (arguments, expected) in [
            (&["-TvAtcp/22"] as &[_], &["6", "7", "1=tcp/22"] as &[_]),
            (&["-A", "tcp/22", "-v"], &["1=tcp/22", "7"]),
            (&["--access=tcp/22=x", "--access", "-v"], &["1=tcp/22=x", "1=-v"]),
            (&["--access="], &["1="]),
            (&["--acc", "--", "-T"], &["1=--", "6"]),
            (&["--save-packet", "f", "--save-packet-append"], &["4=f", "5"]),
            (&["--resolve-ip", "--resolve-ip-https"], &["2", "2"]),
            (&["word", "-T", "-", "x", "--", "-v"], &["6"]),
        ] {
            assert_eq!(told(arguments, false), expected, "{arguments:?}");
        }
    }

    #[test]
    fn says_what_the_c_library_says() {
        for (arguments, expected) in [
            (&["--nope=1", "-T"] as &[_], &["unrecognized option '--nope=1'", "6"] as &[_]),
            (&["--Test"], &["unrecognized option '--Test'"]),
            (&["--res=1"], &["option '--res=1' is ambiguous; possibilities: '--resolve-ip-http' '--resolve-url'"]),
            (&["--access"], &["option '--access' requires an argument"]),
            (&["--acc"], &["option '--access' requires an argument"]),
            (&["-TA"], &["6", "option requires an argument -- 'A'"]),
            (&["--verb=3"], &["option '--verbose' doesn't allow an argument"]),
            (&["-TxyA1"], &["6", "invalid option -- 'x'", "invalid option -- 'y'", "1=1"]),
            (&["-T-"], &["6", "invalid option -- '-'"]),
        ] {
            assert_eq!(told(arguments, false), expected, "{arguments:?}");
        }
    }

    #[test]
    fn the_first_stray_word_ends_the_options_for_posix() {
        assert_eq!(told(&["-T", "word", "-v"], true), ["6"]);
    }

    proptest! {
        #[test]
        fn no_argument_makes_it_panic(arguments in proptest::collection::vec(".*|-[-ARBbTvx=]{0,6}", 0..8)) {
            let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
            told(&words, false);
        }
    }
}
