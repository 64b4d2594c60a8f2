//! The remembered command line: `~/.fwknop.run`, `--show-last`, `--last-cmd`.
//!
//! One line, as the original writes it: the words with blanks between them, a blank, a line feed. A word that would not survive that is put
//! in single quotes, so what is remembered is what is done again. Keys are not remembered: the file would hold them in clear. An HMAC key
//! leaves `--use-hmac` behind, so that doing it again asks for the key rather than doing without. Spec: client.md section 15.
//!
//! ```text
//! fwknop -C 'echo a b' -s -D home.example.net
//! ```

use std::{
    ffi::{OsStr, OsString},
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use fwknop_conf::file;

use crate::{
    args::CommandLine,
    output::Output,
    settings::{Name, Settings},
};

/// Why the line was not remembered or not found. Displays as the line for standard error.
#[derive(Debug, thiserror::Error)]
pub enum LastError {
    /// There is no home directory, and no other path.
    #[error("Unable to determine args save file")]
    NoHome,
    /// `--no-home-dir`, and no other path.
    #[error("In --no-home-dir mode must set the args save file path with -E")]
    NoPath,
    /// It cannot be opened.
    #[error("Could not open args file: {}", .0.display())]
    Open(PathBuf, #[source] io::Error),
    /// It has no line.
    #[error("Could not read line from file: {}", .0.display())]
    Empty(PathBuf),
}

/// Where the line is remembered.
///
/// # Errors
/// If nothing says where.
pub fn locate(settings: &Settings, home: Option<&OsStr>) -> Result<PathBuf, LastError> {
    if let Some(path) = settings.path(Name::ArgsFile) {
        return Ok(path.to_owned());
    }
    if settings.on(Name::NoHome) {
        return Err(LastError::NoPath);
    }
    home.map(|home| Path::new(home).join(".fwknop.run")).ok_or(LastError::NoHome)
}

/// Remembers a command line, without its keys.
///
/// # Errors
/// If the file cannot be written.
pub fn remember(path: &Path, words: &[OsString]) -> Result<(), LastError> {
    let mut text = Vec::new();
    for word in CommandLine::without_keys(words) {
        text.extend(quoted(word.as_encoded_bytes()));
        text.push(b' ');
    }
    text.push(b'\n');
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(path)
        .and_then(|mut file| file.write_all(&text))
        .map_err(|error| LastError::Open(path.to_owned(), error))
}

/// The remembered line, without its line feed; a wrong mode or owner is warned about.
///
/// # Errors
/// If there is none.
pub fn recall(path: &Path, output: &mut Output<'_>) -> Result<Vec<u8>, LastError> {
    let open = |error| LastError::Open(path.to_owned(), error);
    for warning in file::warnings(path, &path.metadata().map_err(open)?) {
        output.warn(warning.text);
    }
    let text = fs::read(path).map_err(open)?;
    match text.split(|&byte| byte == b'\n').next() {
        Some(line) if !text.is_empty() => Ok(line.to_vec()),
        _ => Err(LastError::Empty(path.to_owned())),
    }
}

/// A word as it is written.
fn quoted(word: &[u8]) -> Vec<u8> {
    let plain = |byte: &u8| !matches!(byte, b' ' | b'\t' | b'\n' | b'\'' | b'"' | b'\\');
    if !word.is_empty() && word.iter().all(plain) {
        return word.to_vec();
    }
    let mut quoted = vec![b'\''];
    for &byte in word {
        match byte {
            b'\'' => quoted.extend(br"'\''"),
            b'\n' => quoted.extend(br"'\n'"), // the line must stay one line
            byte => quoted.push(byte),
        }
    }
    quoted.push(b'\'');
    quoted
}

/// The words of a line. One with an open quote at its end was written by the original, which knows no quotes: it is split at blanks.
#[must_use]
pub fn words(line: &[u8]) -> Vec<OsString> {
    let words = unquoted(line).unwrap_or_else(|| {
        line.split(|&byte| byte == b' ').filter(|word| !word.is_empty()).map(<[u8]>::to_vec).collect()
    });
    words.into_iter().map(from_bytes).collect()
}

fn unquoted(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut bytes = line.iter().copied();
    let mut inside = false;
    while let Some(byte) = bytes.next() {
        match byte {
            b'\'' => {
                inside = !inside;
                word.get_or_insert_with(Vec::new);
            }
            b' ' if !inside => words.extend(word.take()),
            b'\\' if !inside => {
                let escaped = match bytes.next()? {
                    b'n' => b'\n',
                    byte => byte,
                };
                word.get_or_insert_with(Vec::new).push(escaped);
            }
            byte => word.get_or_insert_with(Vec::new).push(byte),
        }
    }
    words.extend(word);
    (!inside).then_some(words)
}

#[cfg(unix)]
fn from_bytes(word: Vec<u8>) -> OsString {
    std::os::unix::ffi::OsStringExt::from_vec(word)
}

#[cfg(not(unix))]
fn from_bytes(word: Vec<u8>) -> OsString {
    String::from_utf8_lossy(&word).into_owned().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round(words_in: &[&str]) -> Vec<OsString> {
        let line: Vec<u8> =
            words_in.iter().flat_map(|word| [quoted(word.as_bytes()), b" ".to_vec()].concat()).collect();
        words(&line)
    }

    #[test]
    fn a_line_of_the_original_is_split_at_blanks() {
        assert_eq!(words(b"fwknop -C echo a b  -s "), ["fwknop", "-C", "echo", "a", "b", "-s"]);
        assert_eq!(words(b"fwknop -C it's -s "), ["fwknop", "-C", "it's", "-s"]);
    }

    #[test]
    fn a_plain_word_is_written_as_it_is() {
        assert_eq!(quoted(b"tcp/22,udp/53"), b"tcp/22,udp/53");
        assert_eq!(quoted(b"echo a"), b"'echo a'");
        assert_eq!(quoted(b""), b"''");
    }

    proptest! {
        #[test]
        fn what_is_remembered_is_what_was_typed(words in proptest::collection::vec("(?s).{0,8}|[ '\\\\n\n]{0,4}", 1..6)) {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let expected: Vec<OsString> = words.iter().map(Into::into).collect();
            prop_assert_eq!(round(&words), expected);
            prop_assert!(!words.iter().any(|word| quoted(word.as_bytes()).contains(&b'\n')));
        }
    }
}
