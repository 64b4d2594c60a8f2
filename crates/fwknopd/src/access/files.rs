//! Reads `access.conf`, or a folder of such files, and all they include, into stanzas.
//!
//! ```text
//! SOURCE ANY                    a stanza starts; it is in the list from here on
//! KEY_BASE64 …                  belongs to it
//! %include more.conf            stanzas of that file come behind it; it stays open
//! %include_folder conf.d        the same for every *.conf in it, sorted by name
//! %include_keys secrets.conf    only keys are taken; if they are no good, this stanza alone is dropped
//! ```
//!
//! What stands before the first SOURCE of a file is ignored, except includes. Spec: server.md 5.1, 5.2.

use std::{
    fs,
    path::{Path, PathBuf},
};

use fwknop_conf::{
    complaint::{Complaint, Complaints, Severity, closest},
    file::{self, Opened, Unreadable},
    lines::{ACCESS_CONF, Entry, Line, lines},
};

use super::{keys::StanzaKeys, names, raw::RawStanza};
use crate::config::{AccessPlace, Config};

/// A file may include a file that includes a file.
const DEEPEST: u32 = 2;

/// Reads all stanzas of the configuration, in order.
///
/// Mistakes are complaints; if one of them is an error, the stanzas are not to be used. Values are not looked at yet,
/// except where `%include_keys` says that a stanza without good keys is to be dropped.
pub fn read(config: &Config, complaints: &mut Complaints) -> Vec<RawStanza> {
    let mut reader = Reader { config, complaints, stanzas: Vec::new() };
    match &config.access {
        AccessPlace::File(path) => reader.whole_file(path, 0),
        AccessPlace::Folder(path) => reader.folder(path, 0, Reader::whole_file),
    }
    let Reader { stanzas, complaints, .. } = reader;
    if stanzas.is_empty() && !complaints.has_errors() {
        complaints.push(Complaint::error("Fatal, could not find any valid access.conf stanzas"));
    }
    stanzas.into_iter().flatten().collect()
}

struct Reader<'a> {
    config: &'a Config,
    complaints: &'a mut Complaints,
    /// `None` is a stanza that was dropped.
    stanzas: Vec<Option<RawStanza>>,
}

impl Reader<'_> {
    /// A file that must have stanzas, if no file before it had any.
    fn whole_file(&mut self, path: &Path, depth: u32) {
        let before = self.complaints.errors();
        self.file(path, depth);
        if self.complaints.errors() == before && self.stanzas.iter().flatten().count() == 0 {
            let text = format!("[*] Could not find valid SOURCE stanza in access file: '{}'", path.display());
            self.complaints.push(Complaint::error(text).of(path).hint("start with: SOURCE ANY"));
        }
    }

    fn file(&mut self, path: &Path, depth: u32) {
        let name = path.display();
        let Some(opened) = self.open(path) else { return };
        self.complaints.extend(opened.warnings);
        self.complaints.push(Complaint::new(Severity::Debug, format!("Opened access file: {name}")));
        let mut current = None;
        for (number, entry) in lines(&opened.text, &ACCESS_CONF) {
            match entry {
                Entry::Setting(line) => self.take(path, number, line, depth, &mut current),
                Entry::Malformed(line) => self.malformed(path, number, &line),
                Entry::Section(_) => {}
            }
        }
    }

    fn take(&mut self, path: &Path, number: u32, line: Line<'_>, depth: u32, current: &mut Option<usize>) {
        let place = || Some((path.to_path_buf(), number));
        match line.key {
            "%include" | "%include_folder" if depth == DEEPEST => {
                let text = format!("[*] Refusing to go deeper than 3 levels. Lost in Limbo: '{}'", path.display());
                self.complaints.push(Complaint::error(text).at(path, number).hint("does a file include itself?"));
            }
            "%include" => self.file(Path::new(line.value), depth + 1),
            "%include_folder" => self.folder(Path::new(line.value), depth + 1, Self::file),
            "SOURCE" => {
                *current = Some(self.stanzas.len());
                self.stanzas.push(Some(RawStanza::new(line.value, place())));
            }
            "%include_keys" => {
                if let Some(index) = *current {
                    self.keys(Path::new(line.value), index);
                }
            }
            key => {
                let Some(Some(stanza)) = current.and_then(|index| self.stanzas.get_mut(index)) else { return };
                match names::find(key) {
                    Some(name) => {
                        stanza.push(name, line.value, place());
                        if name.secret && !line.ignored.is_empty() {
                            let text = format!("{key}: the value ends at a ';', what follows is ignored");
                            let hint = "a key with a ';' in it can be written in base64";
                            self.complaints.push(Complaint::warning(text).at(path, number).hint(hint));
                        }
                    }
                    None => self.unknown(path, number, key),
                }
            }
        }
    }

    fn unknown(&mut self, path: &Path, number: u32, key: &str) {
        let text = format!("[*] Ignoring unknown access parameter: '{key}' in {}", path.display());
        let mut complaint = Complaint::warning(text).at(path, number);
        if let Some(name) = closest(key, names::all()) {
            complaint = complaint.hint(format!("perhaps {name} was meant"));
        }
        self.complaints.push(complaint);
    }

    fn malformed(&mut self, path: &Path, number: u32, line: &str) {
        let name = path.display();
        let shown = if may_be_a_key(line) { ".." } else { line };
        let text = format!("[*] Invalid access file entry in {name} at line {number}.\n - '{shown}'");
        self.complaints.push(Complaint::error(text).of(path).hint("write a name, blanks and a value"));
    }

    fn open(&mut self, path: &Path) -> Option<Opened> {
        let name = path.display();
        let error = match file::read(path) {
            Ok(opened) => return Some(opened),
            Err(Unreadable::Kind) => {
                Complaint::error(format!("[-] file: {name} is not a regular file or symbolic link."))
            }
            Err(error) => Complaint::error(format!("[*] Could not open access file: {name}")).hint(error.to_string()),
        };
        self.complaints.push(error.of(path));
        None
    }

    /// Every file of a folder whose name ends in `.conf` and perhaps more letters, sorted by name.
    fn folder(&mut self, path: &Path, depth: u32, take: fn(&mut Self, &Path, u32)) {
        let found = fs::read_dir(path).and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<PathBuf>, _>>()
        });
        let mut paths = match found {
            Ok(paths) => paths,
            Err(error) => {
                let text = format!("[*] Access folder: '{}' could not be opened.", path.display());
                self.complaints.push(Complaint::error(text).of(path).hint(error.to_string()));
                return;
            }
        };
        paths.retain(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name.rsplit_once('.').is_some_and(|(_, suffix)| suffix.starts_with("conf"))
        });
        paths.sort();
        for path in paths {
            take(self, &path, depth);
        }
    }

    /// `%include_keys`: takes the keys of a file, and drops the stanza if they are no good.
    fn keys(&mut self, path: &Path, index: usize) {
        let Some(Some(mut stanza)) = self.stanzas.get_mut(index).map(Option::take) else { return };
        let name = path.display();
        self.complaints.push(Complaint::new(Severity::Info, format!("Including key file: '{name}'")));
        let mut told = Complaints::new();
        Reader { config: self.config, complaints: &mut told, stanzas: Vec::new() }.key_file(path, &mut stanza);
        let mut about_keys = Complaints::new();
        let usable = StanzaKeys::new(&stanza, &mut about_keys).is_some();
        if usable && !told.has_errors() {
            // What there is to say about the keys is said when all stanzas are checked.
            self.complaints.extend(told);
            if let Some(slot) = self.stanzas.get_mut(index) {
                *slot = Some(stanza);
            }
            return;
        }
        told.extend(about_keys);
        let softer =
            |complaint: Complaint| Complaint { severity: complaint.severity.min(Severity::Warning), ..complaint };
        self.complaints.extend(told.into_iter().map(softer));
        let text = format!("[*] Data error in included keyfile: '{name}', skipping stanza.");
        let hint = format!("the stanza with SOURCE {} opens nothing", stanza.source());
        self.complaints.push(stanza.locate("SOURCE", Complaint::warning(text)).hint(hint));
    }

    fn key_file(&mut self, path: &Path, stanza: &mut RawStanza) {
        let Some(opened) = self.open(path) else { return };
        self.complaints.extend(opened.warnings);
        for (number, entry) in lines(&opened.text, &ACCESS_CONF) {
            match entry {
                Entry::Setting(line) => match names::find(line.key).filter(|name| name.in_key_file) {
                    Some(name) => stanza.push(name, line.value, Some((path.to_path_buf(), number))),
                    None => {
                        let text = format!("Ignoring invalid entry: '{}'", line.key);
                        self.complaints.push(Complaint::new(Severity::Info, text).at(path, number));
                    }
                },
                Entry::Malformed(line) => self.malformed(path, number, &line),
                Entry::Section(_) => {}
            }
        }
    }
}

/// A line that is no setting may still be a key: one behind a misspelt name, or the rest of one that was wrapped.
fn may_be_a_key(line: &str) -> bool {
    let word = line.trim_start().split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
    match names::find(word) {
        Some(name) => name.secret && word != line.trim(),
        None => line.trim().len() > 20,
    }
}
