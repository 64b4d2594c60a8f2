//! A command as text: split into words at white space, and carried between processes in one spelling.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt as _;
use std::str::FromStr;

use thiserror::Error;

use crate::journal::escape;

/// The most words of one command, the program among them.
const MOST_WORDS: usize = 28;
/// The longest word, in bytes.
const LONGEST_WORD: usize = 1023;

/// A command, as somebody wrote it: at least one byte, no NUL, not split yet. Its text form is for machines: every byte
/// that is not a visible ASCII character, and `%`, is written `%XX`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine(Vec<u8>);

/// A command that cannot be run as it is.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Unsplittable {
    /// It has nothing but white space.
    #[error("no word")]
    Empty,
    /// It has too many words.
    #[error("more than {MOST_WORDS} words")]
    Words,
    /// One is too long.
    #[error("a word of more than {LONGEST_WORD} bytes")]
    Length,
}

/// What separates words: the white space of the C locale.
pub(super) fn is_white(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

impl CommandLine {
    /// Takes at least one byte, and no NUL.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Option<Self> {
        let bytes = bytes.into();
        (!bytes.is_empty() && !bytes.contains(&0)).then_some(Self(bytes))
    }

    /// The bytes as they were written.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same with other words before it.
    pub(super) fn after(&self, words: &str) -> Self {
        Self([words.as_bytes(), b" ", &self.0].concat())
    }

    /// The program and its arguments. No character but white space means anything: quotes, `$` and `;` are part of words.
    ///
    /// # Errors
    /// If there is none, there are more than 28, or one is longer than 1023 bytes.
    pub fn words(&self) -> Result<(OsString, Vec<OsString>), Unsplittable> {
        let mut words = self.0.split(|byte| is_white(*byte)).filter(|word| !word.is_empty());
        let program = words.next().ok_or(Unsplittable::Empty)?;
        let arguments: Vec<&[u8]> = words.collect();
        if arguments.len() >= MOST_WORDS {
            return Err(Unsplittable::Words);
        }
        if program.len() > LONGEST_WORD || arguments.iter().any(|word| word.len() > LONGEST_WORD) {
            return Err(Unsplittable::Length);
        }
        let own = |word: &[u8]| OsString::from_vec(word.to_vec());
        Ok((own(program), arguments.into_iter().map(own).collect()))
    }

    /// As a person may see it: one printable line.
    pub fn shown(&self) -> String {
        escape(&self.0)
    }
}

impl From<&spa::CommandText> for CommandLine {
    fn from(text: &spa::CommandText) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl fmt::Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| match byte {
            b'!'..=b'~' if *byte != b'%' => write!(f, "{}", char::from(*byte)),
            _ => write!(f, "%{byte:02X}"),
        })
    }
}

/// A text that no [`CommandLine`] is written as.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("not an escaped command")]
pub struct NotACommandLine;

impl FromStr for CommandLine {
    type Err = NotACommandLine;

    fn from_str(text: &str) -> Result<Self, NotACommandLine> {
        let mut pieces = text.split('%');
        let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
        for piece in pieces {
            let (digits, rest) = piece.split_at_checked(2).ok_or(NotACommandLine)?;
            bytes.push(u8::from_str_radix(digits, 16).map_err(|_| NotACommandLine)?);
            bytes.extend_from_slice(rest.as_bytes());
        }
        // One command has one spelling.
        Self::new(bytes).filter(|read| read.to_string() == text).ok_or(NotACommandLine)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(text: &str) -> Result<Vec<String>, Unsplittable> {
        let (program, arguments) = CommandLine::new(text).unwrap().words()?;
        Ok([program].into_iter().chain(arguments).map(|word| word.into_string().unwrap()).collect())
    }

    #[test]
    fn words_are_what_stands_between_white_space() {
        for (text, wanted) in [
            ("id", vec!["id"]),
            ("  echo\ta\n b ", vec!["echo", "a", "b"]),
            ("echo 'a b'; rm -rf $HOME|`id`>x", vec!["echo", "'a", "b';", "rm", "-rf", "$HOME|`id`>x"]),
            ("sh -c \"id\"", vec!["sh", "-c", "\"id\""]),
        ] {
            assert_eq!(words(text).unwrap(), wanted);
        }
        assert_eq!(words(" \t"), Err(Unsplittable::Empty));
    }

    #[test]
    fn words_are_counted_and_measured() {
        assert_eq!(words(&"w ".repeat(28)).unwrap().len(), 28);
        assert_eq!(words(&"w ".repeat(29)), Err(Unsplittable::Words));
        assert!(words(&"w".repeat(1023)).is_ok());
        assert_eq!(words(&format!("echo {}", "w".repeat(1024))), Err(Unsplittable::Length));
    }

    #[test]
    fn every_other_spelling_is_refused() {
        assert_eq!("echo%20100%25".parse::<CommandLine>().unwrap().as_bytes(), b"echo 100%");
        for wrong in ["", "a b", "a%2", "a%2g", "%61", "a%0a", "a%00", "a%+A", "\u{e9}", "a\n"] {
            assert!(wrong.parse::<CommandLine>().is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn any_command_is_read_back_from_one_word(bytes in proptest::collection::vec(1_u8.., 1..300)) {
            let line = CommandLine::new(bytes).unwrap();
            let text = line.to_string();
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_graphic()));
            prop_assert_eq!(text.parse(), Ok(line));
        }
    }
}
