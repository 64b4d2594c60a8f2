//! The rc file `.fwknoprc`: finding it, making it, and reading its stanzas.
//!
//! A stanza fills a layer of settings; only the stanzas that are asked for are looked at. How a line is written is
//! `fwknop_conf::lines`' business, which variables there are the table's, writing is `save`'s.
//! A wrong mode or owner is a warning, a missing file is made, an unreadable one is told and forgotten: as in the original.
//!
//! ```text
//! [default]                  ─▶ the weakest layer
//! ALLOW_IP  source
//! [home]                     ─▶ the next one, with -n home
//! SPA_SERVER: home.example   # a note
//! ```

pub mod save;

use std::{
    ffi::OsStr,
    fs::OpenOptions,
    io::{self, Write},
    path::{Path, PathBuf},
};

use fwknop_conf::{
    file::{self, Unreadable},
    lines::{Entry, FWKNOPRC, Line, lines},
};

use crate::{
    args::CommandLine,
    output::{Output, reason},
    settings::{Kind, Layer, Name, SecretBytes, Setting},
};

/// What ends the run because of the rc file. Displays as the lines for standard error.
#[derive(Debug, thiserror::Error)]
pub enum RcError {
    /// There is no home directory to look into, and no other path.
    #[error("Warning: Unable to determine HOME directory.\n No .fwknoprc file processed.")]
    NoHome,
    /// `--no-home-dir`, and no other path.
    #[error("Warning: in --no-home-dir mode, must set --rc-file path.")]
    NoPath,
    /// It cannot even be looked at.
    #[error("[-] stat() against file: {} returned: {}", .0.display(), reason(.1))]
    Stat(PathBuf, #[source] io::Error),
    /// It is to be listed, and cannot be read.
    #[error("Unable to open rc file: {}: {}", .0.display(), .1)]
    Open(PathBuf, String),
    /// Lines that are wrong, as they have been told already.
    #[error("{0}")]
    Lines(String),
}

/// Where the rc file is. Spec: client.md section 5.1.
///
/// # Errors
/// If nothing says where.
pub fn locate(line: &CommandLine, home: Option<&OsStr>) -> Result<PathBuf, RcError> {
    if let Some(path) = line.value(Name::RcFile) {
        return Ok(path.into());
    }
    if line.has(Name::NoHome) {
        return Err(RcError::NoPath);
    }
    home.map(|home| Path::new(home).join(".fwknoprc")).ok_or(RcError::NoHome)
}

/// An rc file that was read, or an empty one.
#[derive(Debug)]
pub struct RcFile {
    path: PathBuf,
    text: SecretBytes,
}

impl RcFile {
    /// Reads the file, or makes it if there is none. Spec: client.md sections 5.2, 5.3.
    ///
    /// # Errors
    /// If it can neither be looked at nor said to be missing.
    pub fn open(path: PathBuf, output: &mut Output<'_>) -> Result<Self, RcError> {
        let empty = SecretBytes::default();
        let metadata = match path.metadata() {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                output.say(format_args!("[*] Creating initial rc file: {}.", path.display()));
                if let Err(error) = create(&path) {
                    output.warn(format_args!(
                        "Unable to create initial rc file: {}: {}",
                        path.display(),
                        reason(&error)
                    ));
                }
                return Ok(Self { path, text: empty });
            }
            Err(error) => return Err(RcError::Stat(path, error)),
        };
        for warning in file::warnings(&path, &metadata) {
            output.warn(warning.text);
        }
        let text = match file::read(&path) {
            Ok(opened) => opened.text,
            Err(Unreadable::Kind) => empty, // told among the warnings
            Err(error) => {
                output.warn(format_args!("Unable to open rc file: {}: {}", path.display(), words(&error)));
                empty
            }
        };
        Ok(Self { path, text })
    }

    /// Reads the file, which must be there, for a list of its stanzas: nothing is made, nothing is warned about.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn open_for_list(path: PathBuf) -> Result<Self, RcError> {
        match file::read(&path) {
            Ok(opened) => Ok(Self { path, text: opened.text }),
            Err(error) => Err(RcError::Open(path, words(&error))),
        }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of the stanzas but `default`, in the file's order.
    pub fn stanzas(&self) -> impl Iterator<Item = &str> {
        lines(&self.text, &FWKNOPRC).filter_map(|(_, entry)| match entry {
            Entry::Section(name) if !name.eq_ignore_ascii_case("default") => Some(name),
            _ => None,
        })
    }

    /// What all stanzas of this name say, the later ones right; `None` if there is none. Spec: client.md sections 5.4 to 5.6.
    ///
    /// # Errors
    /// All lines with unknown variables or impossible values, or what the first line that is no setting looks like.
    pub fn stanza(&self, wanted: &str, output: &mut Output<'_>) -> Result<Option<Layer>, RcError> {
        let mut layer = None;
        let mut wrong = Vec::new();
        let mut inside = false;
        for (number, entry) in lines(&self.text, &FWKNOPRC) {
            match entry {
                Entry::Section(name) => {
                    inside = name.eq_ignore_ascii_case(wanted);
                    if inside {
                        output.debug(format_args!("process_rc_section() : Parsing section '{wanted}' ..."));
                        layer.get_or_insert_with(Layer::default);
                    }
                }
                Entry::Setting(line) if inside && !is_comment(line.key) => {
                    output.debug(format_args!("parse_rc_param() : Parsing variable {}...", line.key));
                    if let Err(told) = self.setting(number, line, layer.get_or_insert_with(Layer::default)) {
                        wrong.push(told);
                    }
                }
                Entry::Malformed(text) if inside && !is_comment(&text) => {
                    wrong.push(invalid_entry(&text));
                    return Err(RcError::Lines(wrong.join("\n")));
                }
                Entry::Setting(_) | Entry::Malformed(_) => (),
            }
        }
        if wrong.is_empty() { Ok(layer) } else { Err(RcError::Lines(wrong.join("\n"))) }
    }

    /// Takes one `NAME value` into a layer, or says what is wrong with it.
    fn setting(&self, number: u32, line: Line<'_>, layer: &mut Layer) -> Result<(), String> {
        let Line { key, value, ignored } = line;
        let refused = |more: Option<String>| {
            let what = format!("Parameter error in {}, line {number}: var={key}, val={value}", self.path.display());
            more.map_or_else(|| what.clone(), |more| format!("{more}\n{what}"))
        };
        let row = Setting::of_variable(key).ok_or_else(|| refused(None))?;
        if row.kind == Kind::Secret && !ignored.is_empty() {
            // The original takes what is before it and knocks with half a key (D9).
            return Err(format!(
                "Parameter error in {}, line {number}: var={key}: here a key ends at a blank, ';' or '#', and more follows. \
                 Write such a key in base64, as {key}_BASE64.",
                self.path.display()
            ));
        }
        let given = OsStr::new(value);
        let read = row.kind.read(given).map_err(|_| refused(row.kind.refused_as_variable(key, given)))?;
        layer.set_instead(row.name, read);
        Ok(())
    }
}

/// Blanks only, or a comment that is indented: the original calls them errors (D33).
fn is_comment(text: &str) -> bool {
    matches!(text.trim_start().chars().next(), None | Some('#' | ';'))
}

/// What is said about a line that is neither a setting nor a header, with the line feed that the original leaves in.
fn invalid_entry(line: &str) -> String {
    format!("*Invalid entry in '{line}\n'")
}

fn words(error: &Unreadable) -> String {
    match error {
        Unreadable::Missing => "No such file or directory".into(),
        Unreadable::Io(error) => reason(error),
        other => other.to_string(),
    }
}

fn create(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(INITIAL.as_bytes())
}

/// What a new rc file contains: comments, and one header. Spec: client.md section 5.3.
const INITIAL: &str = include_str!("rc/initial.fwknoprc");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_text_makes_it_panic(lines in proptest::collection::vec("\\[[a-z]{0,3}\\]?|[A-Z_]{0,12}:?[ \t=]{0,3}[-!-~]{0,9}.{0,3}|(TIME_OFFSET|FW_TIMEOUT|ALLOW_IP|VERBOSE) [-0-9.:a-f]{0,12}", 0..9)) {
            let _read_or_refused = read(&format!("[default]\n{}", lines.join("\n")), "default");
        }
    }

    fn read(text: &str, stanza: &str) -> Result<Option<Layer>, RcError> {
        let rc = RcFile { path: "rc".into(), text: SecretBytes::new(text.as_bytes().to_vec()) };
        rc.stanza(stanza, &mut Output::new(&mut io::sink(), &mut io::sink()))
    }

    fn told(text: &str, name: Name) -> String {
        match read(text, "default") {
            Ok(Some(layer)) => layer.get(name).map_or("unset".into(), ToString::to_string),
            Ok(None) => "no stanza".into(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_text_of_a_new_file_says_nothing_yet() {
        assert!(read(INITIAL, "default").unwrap().is_some());
        assert!(INITIAL.contains("This file contains"));
    }

    #[test]
    fn lines_are_read_as_the_original_reads_them() {
        for (text, name, expected) in [
            ("[default]\nACCESS: tcp/22\n", Name::Access, "tcp/22"),
            ("[DEFAULT] x\r\n\tACCESS tcp/22;note\r\n", Name::Access, "tcp/22"),
            ("[default]\nACCESS tcp/1\n[other]\nACCESS tcp/2\n[default]\nACCESS tcp/3", Name::Access, "tcp/3"),
            ("[default]\n  # note\n   \nACCESS tcp/22", Name::Access, "tcp/22"),
            ("[default]\nUSE_HMAC yes", Name::UseHmac, "Y"),
            ("[default]\nVERBOSE 3\nVERBOSE 1", Name::Verbose, "1"),
            ("[x]\nJUNK", Name::Access, "no stanza"),
            ("[default]\nACCESS\nBADVAR x", Name::Access, "*Invalid entry in 'ACCESS\n'"),
            (
                "[default]\naccess tcp/22\nRAND_PORT maybe\n",
                Name::Access,
                "Parameter error in rc, line 2: var=access, val=tcp/22\nParameter error in rc, line 3: var=RAND_PORT, val=maybe",
            ),
        ] {
            assert_eq!(told(text, name), expected, "{text:?}");
        }
    }

    #[test]
    fn half_a_key_is_refused_and_not_shown() {
        for text in ["[default]\nKEY my secret", "[default]\nKEY my#secret", "[default]\nHMAC_KEY my;secret"] {
            let told = told(text, Name::Key);
            assert!(told.contains("ends at a blank") && !told.contains("secret"), "{told}");
        }
        assert_eq!(told("[default]\nKEY sekret;", Name::Key), "***");
    }
}
