//! Saving a stanza: the rc file with the settings of one stanza replaced.
//!
//! Comments, empty lines, other stanzas and keys that somebody wants to keep stay as they are; the original drops all
//! comments of the file. The new text goes to a file of its own that then takes the old one's name, so that at no moment
//! there is no file or half a file; if anything fails, the old file is untouched and the run fails.
//! Which values are saved is decided by [`variables`]. Spec: client.md section 6.
//!
//! ```text
//! [home]                [home]
//! # my house            # my house
//! ACCESS tcp/80    ─▶   KEY oldkey                        (asked about, and kept)
//! KEY oldkey            ACCESS                      tcp/22
//! ```

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};
use fwknop_conf::{
    file,
    lines::{Entry, FWKNOPRC, lines},
};
use zeroize::Zeroizing;

use super::{invalid_entry, is_comment, words};
use crate::{
    keygen::NewKeys,
    output::{Output, reason},
    settings::{Layer, Name, SETTINGS, Saved, SecretBytes, Setting, Value},
};

/// Why a stanza was not saved. Displays as the line for standard error.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The file cannot be read.
    #[error("Unable to open rc file: {}: {why}", .path.display())]
    #[allow(missing_docs)]
    Read { path: PathBuf, why: String },
    /// The stanza has a line that is no setting.
    #[error("{0}")]
    Line(String),
    /// No name for a stanza.
    #[error("[*] A stanza cannot be called '{0}': there is a bracket or a line break in the name")]
    Name(String),
    /// The rc file has no quotes.
    #[error("[*] {0} cannot be saved: in the rc file a value ends at a blank, ';' or '#'")]
    Unwritable(&'static str),
    /// The new file cannot be made: perhaps another run is saving, perhaps one was killed while it did.
    #[error("update_rc() : Unable to create temporary rc file: {}: {}", .path.display(), reason(.source))]
    #[allow(missing_docs)]
    Create { path: PathBuf, source: io::Error },
    /// The new file cannot be written or put in the place of the old one.
    #[error("update_rc() : Unable to write rc file: {}: {}", .path.display(), reason(.source))]
    #[allow(missing_docs)]
    Write { path: PathBuf, source: io::Error },
}

/// Asks a person whether the old line of this variable, a key, may go.
pub type Overwrite<'a> = dyn FnMut(&mut Output<'_>, &str) -> bool + 'a;

/// One line to be written.
pub struct Variable {
    name: &'static str,
    value: Zeroizing<String>,
    is_secret: bool,
}

impl Variable {
    /// A key in base64.
    fn key(name: &'static str, base64: &str) -> Self {
        Self { name, value: Zeroizing::new(base64.to_owned()), is_secret: true }
    }
}

/// What of a command line is saved, in the order of the table.
///
/// # Errors
/// If a value cannot be written so that it can be read back.
pub fn variables(layer: &Layer) -> Result<Vec<Variable>, SaveError> {
    let mut found = Vec::new();
    for row in SETTINGS {
        let (Some(name), Saved::Yes | Saved::Asked) = (row.variable, row.saved) else {
            continue;
        };
        let Some(value) = layer.get(row.name) else {
            continue;
        };
        let raw_stands_in = matches!(row.name, Name::KeyBase64 | Name::HmacKeyBase64)
            && layer.get(raw_of(row.name)).is_some_and(|raw| !is_word(raw));
        if raw_stands_in {
            continue; // the raw key wins over this one, and is written in base64 itself
        }
        let text = match (row.name, value) {
            (Name::Verbose, Value::Number(1)) => "Y".to_owned(),
            (Name::Resolve, _) if layer.get(Name::AllowIp).is_some() => "N".to_owned(),
            (_, Value::Secret(secret)) => match std::str::from_utf8(secret.expose()) {
                Ok(text) if can_be_written(text) => text.to_owned(),
                // No quotes there: a key with blanks would be read back as half a key (D9, D17).
                _ if secret.expose().is_empty() => return Err(SaveError::Unwritable(name)),
                _ => {
                    found.push(Variable::key(base64_of(name), &BASE64.encode(secret.expose())));
                    continue;
                }
            },
            (_, value) => value.to_string(),
        };
        if !can_be_written(&text) {
            return Err(SaveError::Unwritable(name));
        }
        found.push(Variable { name, value: Zeroizing::new(text), is_secret: matches!(value, Value::Secret(_)) });
    }
    Ok(found)
}

/// Puts two new keys among what is saved, where the table has them.
pub fn add_keys(variables: &mut Vec<Variable>, keys: &NewKeys) {
    let place = |name: &str| SETTINGS.iter().position(|row| row.variable == Some(name));
    for (name, key) in [("KEY_BASE64", &keys.cipher), ("HMAC_KEY_BASE64", &keys.hmac)] {
        variables.retain(|variable| variable.name != name);
        let at = variables.iter().take_while(|variable| place(variable.name) < place(name)).count();
        variables.insert(at, Variable::key(name, key));
    }
}

fn raw_of(name: Name) -> Name {
    if name == Name::KeyBase64 { Name::Key } else { Name::HmacKey }
}

fn base64_of(variable: &'static str) -> &'static str {
    if variable == "KEY" { "KEY_BASE64" } else { "HMAC_KEY_BASE64" }
}

fn is_word(value: &Value) -> bool {
    matches!(value, Value::Secret(secret) if std::str::from_utf8(secret.expose()).is_ok_and(can_be_written))
}

/// Whether the rc file, which has no quotes, can hold this text as a value.
fn can_be_written(text: &str) -> bool {
    !text.is_empty() && !text.contains([' ', '\t', ';', '#', '\r', '\n', '\0', '\x0b', '\x0c'])
}

/// Puts the variables into the stanza and the new text into the place of the old file.
///
/// Without anybody to ask, all old lines go.
///
/// # Errors
/// If it could not be done; then nothing was changed.
pub fn save(
    path: &Path,
    stanza: &str,
    new: Vec<Variable>,
    overwrite: Option<&mut Overwrite<'_>>,
    output: &mut Output<'_>,
) -> Result<(), SaveError> {
    if stanza.contains([']', '\n', '\0']) {
        return Err(SaveError::Name(stanza.to_owned()));
    }
    let opened = file::read(path).map_err(|error| SaveError::Read { path: path.to_owned(), why: words(&error) })?;
    let text = updated(&opened.text, stanza, new, overwrite, output)?;
    // A link is followed: it is the file behind it that is meant (D16).
    let behind = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let beside = with_suffix(&behind, ".updated");
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file =
        options.open(&beside).map_err(|source| SaveError::Create { path: with_suffix(path, ".updated"), source })?;
    replace(file, &beside, &behind, &text).map_err(|source| {
        let _gone = fs::remove_file(&beside); // it is ours: we made it just now
        SaveError::Write { path: path.to_owned(), source }
    })
}

fn replace(mut file: File, beside: &Path, behind: &Path, text: &[u8]) -> io::Result<()> {
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(beside, behind)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The whole new text.
fn updated(
    text: &[u8],
    stanza: &str,
    mut new: Vec<Variable>,
    mut overwrite: Option<&mut Overwrite<'_>>,
    output: &mut Output<'_>,
) -> Result<SecretBytes, SaveError> {
    let old = text.strip_suffix(b"\n").unwrap_or(text);
    let mut old: Vec<&[u8]> = if old.is_empty() { Vec::new() } else { old.split(|&byte| byte == b'\n').collect() };
    let mut place = None; // where the new lines go
    let mut inside = false;
    let mut settled = false; // whether the place has been found for good
    let mut error = None;
    let mut at = 0;
    old.retain(|line| {
        let keep = match lines(line, &FWKNOPRC).next().map(|(_, entry)| entry) {
            Some(Entry::Section(name)) => {
                settled |= place.is_some();
                inside = name.eq_ignore_ascii_case(stanza);
                if inside && !settled {
                    place = Some(at + 1);
                }
                true
            }
            Some(Entry::Setting(setting)) if inside && !is_comment(setting.key) => {
                let asked = Setting::of_variable(setting.key)
                    .is_some_and(|row| matches!(row.saved, Saved::Asked | Saved::AskedOnly));
                let keep = match &mut overwrite {
                    Some(overwrite) if asked => !overwrite(output, setting.key),
                    _ => false,
                };
                if keep {
                    new.retain(|variable| variable.name != setting.key);
                }
                if !settled {
                    place = Some(at + usize::from(keep));
                }
                keep
            }
            Some(Entry::Malformed(line)) if inside && !is_comment(&line) => {
                error.get_or_insert_with(|| SaveError::Line(invalid_entry(&line)));
                true
            }
            _ => true,
        };
        at += usize::from(keep);
        keep
    });
    if let Some(error) = error {
        return Err(error);
    }
    output.debug(format_args!(
        "update_rc() : {} {stanza} stanza",
        if place.is_some() { "Updating" } else { "Inserting new" }
    ));
    // Room for all of it at once: a buffer that grows leaves pieces of keys behind.
    let added: usize = new.iter().map(|variable| variable.value.len() + 64).sum();
    let mut whole = SecretBytes::new(Vec::with_capacity(text.len() + stanza.len() + added + 8));
    let (before, after) = old.split_at_checked(place.unwrap_or(old.len())).unwrap_or((&old, &[]));
    for line in before {
        whole.extend_from_slice(line);
        whole.push(b'\n');
    }
    if place.is_none() {
        whole.extend_from_slice(format!("\n[{stanza}]\n").as_bytes());
    }
    for variable in &new {
        let shown = if variable.is_secret { "***" } else { variable.value.as_str() };
        let index = SETTINGS.iter().position(|row| row.variable == Some(variable.name)).unwrap_or_default();
        output.debug(format_args!("add_single_var_to_rc() : Updating param ({index}) {} to {shown}", variable.name));
        whole.extend_from_slice(Zeroizing::new(format!("{:<24}    {}\n", variable.name, *variable.value)).as_bytes());
    }
    let next_is_header = after.first().is_some_and(|line| line.trim_ascii_start().first() == Some(&b'['));
    if next_is_header {
        whole.push(b'\n');
    }
    for line in after {
        whole.extend_from_slice(line);
        whole.push(b'\n');
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn saved(text: &str, answers: Option<&[bool]>) -> String {
        let new = vec![
            Variable { name: "ACCESS", value: Zeroizing::new("tcp/22".into()), is_secret: false },
            Variable::key("KEY", "new"),
        ];
        let mut answers = answers.map(|answers| answers.iter().copied());
        let (mut out, mut err) = (io::sink(), io::sink());
        let mut output = Output::new(&mut out, &mut err);
        let mut ask = |_: &mut Output<'_>, _: &str| answers.as_mut().and_then(Iterator::next).unwrap_or(false);
        let forced = text.contains("forced");
        let ask: Option<&mut Overwrite<'_>> = if forced { None } else { Some(&mut ask) };
        match updated(text.as_bytes(), "home", new, ask, &mut output) {
            Ok(text) => String::from_utf8(text.to_vec()).unwrap(),
            Err(error) => error.to_string(),
        }
    }

    const ACCESS: &str = "ACCESS                      tcp/22\n";
    const KEY: &str = "KEY                         new\n";

    #[test]
    fn comments_and_empty_lines_stay() {
        let text = "# mine\n\n[default]\n#x\n\n[home]\n# my house\nACCESS tcp/80\n# forced\nFW_TIMEOUT 9\n\n# the other\n[c]\n";
        assert_eq!(
            saved(text, None),
            format!("# mine\n\n[default]\n#x\n\n[home]\n# my house\n# forced\n{ACCESS}{KEY}\n# the other\n[c]\n")
        );
    }

    #[test]
    fn a_stanza_that_is_not_there_is_appended() {
        assert_eq!(saved("[default]\nACCESS tcp/1", None), format!("[default]\nACCESS tcp/1\n\n[home]\n{ACCESS}{KEY}"));
    }

    #[test]
    fn a_key_goes_only_if_somebody_says_so() {
        let text = "[HOME]\nACCESS tcp/80\nKEY old\nHMAC_KEY older\n";
        assert_eq!(saved(text, Some(&[true, false])), format!("[HOME]\nHMAC_KEY older\n{ACCESS}{KEY}"));
        assert_eq!(saved(text, Some(&[false, true])), format!("[HOME]\nKEY old\n{ACCESS}"));
        assert_eq!(saved(text, None), format!("[HOME]\nKEY old\nHMAC_KEY older\n{ACCESS}"), "no answer is no");
    }

    #[test]
    fn two_stanzas_of_one_name_become_one() {
        let text = "[home]\nACCESS tcp/80\n[x]\nKEY other\n[home]\nACCESS tcp/81\nKEY old\n";
        assert_eq!(saved(text, Some(&[true])), format!("[home]\n{ACCESS}{KEY}\n[x]\nKEY other\n[home]\n"));
    }

    proptest! {
        #[test]
        fn only_settings_of_the_stanza_ever_go(
            lines in proptest::collection::vec("\\[(home|HOME|other|default)\\]|#[ a-z]{0,5}||(KEY|HMAC_KEY|ACCESS|RAND_PORT) [a-z]{1,5}", 0..20),
            answer in any::<bool>(),
        ) {
            let text = lines.join("\n");
            let after = saved(&text, Some(&[answer; 20]));
            let mut inside = false;
            let stays: Vec<&str> = lines.iter().map(String::as_str).filter(|line| {
                if line.starts_with('[') {
                    inside = line.eq_ignore_ascii_case("[home]");
                }
                let is_setting = !line.is_empty() && !line.starts_with(['[', '#']);
                !line.is_empty() && !(inside && is_setting && (answer || !line.contains("KEY")))
            }).collect();
            let mut found = after.lines();
            for line in &stays {
                prop_assert!(found.any(|found| found == *line), "{line:?} is gone or moved\n{text}\n--\n{after}");
            }
            prop_assert!(after.contains(ACCESS));
            let keeps_key = stays.iter().any(|line| line.starts_with("KEY ")) && !answer;
            prop_assert!(keeps_key || after.contains(KEY), "{after}");
        }
    }

    #[test]
    fn a_stanza_that_cannot_be_read_is_not_touched() {
        assert_eq!(saved("[home]\ngarbage\n", None), "*Invalid entry in 'garbage\n'");
    }
}
