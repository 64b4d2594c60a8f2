//! The settings as text: files, override files and command line laid over one another.
//!
//! ```text
//! fwknopd.conf ─▶ override files ─▶ command line  =  RawConfig  (name → value and its place)
//! ```
//!
//! A [`RawConfig`] can be written as lines and read back: so one process reads the files, and others get what they said.
//! Not here: what values mean; [`Config`](super::Config) is that.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use fwknop_conf::{
    complaint::{Complaint, Complaints, closest},
    file::{self, Unreadable},
    lines::{Entry, FWKNOPD_CONF, HANDOVER, Line, handover, lines},
    value::elements,
};

use super::settings::{self, Builtin, Kind, SETTINGS, Setting};
use crate::args::Args;

/// What each setting was set to.
#[derive(Clone, Debug, Default)]
pub struct RawConfig(BTreeMap<&'static str, Vec<Value>>);

/// One value, and where it was written; nowhere if it came from the command line.
#[derive(Clone, Debug)]
struct Value {
    text: String,
    place: Option<(PathBuf, u32)>,
}

/// Two are equal if they mean the same; where it was written does not count.
impl PartialEq for RawConfig {
    fn eq(&self, other: &Self) -> bool {
        self.lines().eq(other.lines())
    }
}

impl Eq for RawConfig {}

/// Reads the files that `args` name, and lays the settings of `args` over them.
///
/// `None` if a file could not be read at all. Other mistakes are complaints; a line that cannot be used is left out.
/// Nothing is said about values yet.
pub fn read(args: &Args, complaints: &mut Complaints) -> Option<RawConfig> {
    let mut raw = RawConfig::default();
    if let Some(file) = &args.config_file {
        raw.set("CONFIG_FILE", file.clone(), None);
    }
    let main = raw.effective("CONFIG_FILE").unwrap_or_default().into_owned();
    raw.read_file(Path::new(&main), complaints)?;
    if let Some(overrides) = &args.overrides {
        raw.set("OVERRIDE_CONFIG", overrides.clone(), None);
    }
    let overrides = raw.explicit("OVERRIDE_CONFIG").unwrap_or_default().to_owned();
    for file in elements(&overrides).filter(|file| !file.is_empty() && *file != main) {
        raw.read_file(Path::new(file), complaints)?;
    }
    // The original shows the main file as its own override if -c names no other (and reads it twice; we do not).
    if let (Some(file), "") = (&args.config_file, overrides.as_str()) {
        raw.set("OVERRIDE_CONFIG", file.clone(), None);
    }
    for (name, value) in &args.settings {
        raw.set(name, value.clone(), None);
    }
    Some(raw)
}

impl RawConfig {
    fn read_file(&mut self, path: &Path, complaints: &mut Complaints) -> Option<()> {
        let name = path.display();
        let opened = match file::read(path) {
            Ok(opened) => opened,
            Err(Unreadable::Kind) => {
                let text = format!("[-] file: {name} is not a regular file or symbolic link.");
                complaints.push(Complaint::error(text).of(path));
                return None;
            }
            Err(error) => {
                let text = format!("[*] Could not open config file: {name}");
                complaints.push(Complaint::error(text).of(path).hint(error.to_string()));
                return None;
            }
        };
        complaints.extend(opened.warnings);
        for (number, entry) in lines(&opened.text, &FWKNOPD_CONF) {
            match entry {
                Entry::Setting(line) => self.take(path, number, line, complaints),
                Entry::Section(_) => {}
                Entry::Malformed(line) => complaints.push(
                    Complaint::warning(format!("*Invalid config file entry in {name} at line {number}.\n - '{line}'"))
                        .hint("this line is ignored; write a name, blanks and a value"),
                ),
            }
        }
        Some(())
    }

    fn take(&mut self, path: &Path, number: u32, line: Line<'_>, complaints: &mut Complaints) {
        let Some(setting) = settings::find(line.key) else {
            let text = format!("[*] Ignoring unknown configuration parameter: '{}' in {}", line.key, path.display());
            let mut complaint = Complaint::warning(text).at(path, number);
            if let Some(name) = closest(line.key, SETTINGS.iter().map(|setting| setting.name)) {
                complaint = complaint.hint(format!("perhaps {name} was meant"));
            }
            complaints.push(complaint);
            return;
        };
        if let Kind::Dead(why) = setting.kind {
            let text = format!("{} has no effect: {why}", setting.name);
            complaints.push(Complaint::warning(text).at(path, number));
            if setting.name == "CONFIG_FILE" {
                return;
            }
        }
        match self.expand(line.value) {
            Some(value) => self.set(setting.name, value.into_owned(), Some((path.to_path_buf(), number))),
            None => complaints.push(
                Complaint::warning(format!("[*] Invalid embedded variable in: '{}'", line.value))
                    .at(path, number)
                    .hint(format!("{} is ignored; a value may start with $NAME if NAME was set before", line.key)),
            ),
        }
    }

    /// `$NAME/rest` at the start of a value: NAME's value, if a line before set it, and the rest up to a blank.
    fn expand<'v>(&self, value: &'v str) -> Option<Cow<'v, str>> {
        let Some(named) = value.strip_prefix('$') else { return Some(value.into()) };
        let end = named.find(|c: char| !c.is_ascii_uppercase() && c != '_').unwrap_or(named.len());
        let (name, rest) = named.split_at(end);
        let rest = rest.split([' ', '\t']).next().unwrap_or_default();
        let known = match self.explicit(name) {
            Some(known) => known,
            // The one default that is there before the files are read.
            None if name == "FIREWALL_EXE" => settings::BUILT_IN_FIREWALL,
            None => return None,
        };
        Some(format!("{known}{rest}").into())
    }

    fn set(&mut self, name: &'static str, text: String, place: Option<(PathBuf, u32)>) {
        let values = self.0.entry(name).or_default();
        if !settings::find(name).is_some_and(Setting::repeats) {
            values.clear();
        }
        values.push(Value { text, place });
    }

    /// What somebody set it to, in a file or on the command line.
    #[must_use]
    pub fn explicit(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.last().map(|value| value.text.as_str())
    }

    /// Every value of a setting that may be repeated, in order.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.get(name).into_iter().flatten().map(|value| value.text.as_str())
    }

    /// What it was set to, else its default; `None` if it has none.
    #[must_use]
    pub fn effective(&self, name: &str) -> Option<Cow<'_, str>> {
        if let Some(text) = self.explicit(name) {
            return Some(text.into());
        }
        match settings::find(name)?.default {
            Builtin::Unset => None,
            Builtin::Text(text) => Some(text.into()),
            Builtin::InRunDir(file) => {
                let folder = self.effective("FWKNOP_RUN_DIR")?;
                Some(format!("{}/{file}", folder.strip_suffix('/').unwrap_or(&folder)).into())
            }
            Builtin::UnlessCaptureFile => Some(if self.explicit("PCAP_FILE").is_some() { "N" } else { "Y" }.into()),
        }
    }

    /// The same complaint, with the place where this setting was last set.
    #[must_use]
    pub fn locate(&self, name: &str, complaint: Complaint) -> Complaint {
        match self.0.get(name).and_then(|values| values.last()?.place.as_ref()) {
            Some((file, line)) => complaint.at(file, *line),
            None => complaint,
        }
    }

    fn lines(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().flat_map(|(name, values)| values.iter().map(|value| (*name, value.text.as_str())))
    }

    /// Everything that was set, as lines for another process of ours.
    #[must_use]
    pub fn to_handover(&self) -> String {
        self.lines().filter_map(|(name, value)| handover(name, value)).collect()
    }

    /// Reads what [`Self::to_handover`] wrote; `None` for anything else.
    #[must_use]
    pub fn from_handover(text: &str) -> Option<Self> {
        let mut raw = Self::default();
        for (_, entry) in lines(text.as_bytes(), &HANDOVER) {
            let Entry::Setting(line) = entry else { return None };
            raw.set(settings::find(line.key)?.name, line.value.to_owned(), None);
        }
        Some(raw)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    /// The configuration of these files, `main` first, and what was complained about.
    fn read_files(files: &[&str], settings: &[(&'static str, &str)]) -> (RawConfig, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let mut paths = Vec::new();
        for (index, text) in files.iter().enumerate() {
            let path = folder.path().join(format!("{index}.conf"));
            fs::write(&path, text).unwrap();
            paths.push(path.display().to_string());
        }
        let (main, overrides) = paths.split_first().unwrap();
        let args = Args {
            config_file: Some(main.clone()),
            overrides: (!overrides.is_empty()).then(|| overrides.join(",")),
            settings: settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(),
            ..Args::default()
        };
        let mut complaints = Complaints::new();
        let raw = read(&args, &mut complaints).unwrap();
        let told = complaints.iter().map(ToString::to_string).filter(|text| !text.contains("0600"));
        let folder = format!("{}/", folder.path().display());
        (raw, told.map(|text| text.replace(&folder, "")).collect())
    }

    #[test]
    fn later_files_and_the_command_line_win() {
        let (raw, told) =
            read_files(&["PCAP_INTF a;\nVERBOSE 1\n", "PCAP_INTF b\n", "PCAP_INTF c\n"], &[("VERBOSE", "2")]);
        assert_eq!(raw.effective("PCAP_INTF").unwrap(), "c");
        assert_eq!(raw.effective("VERBOSE").unwrap(), "2");
        assert_eq!(raw.effective("MAX_SNIFF_BYTES").unwrap(), "1500");
        assert_eq!(raw.explicit("MAX_SNIFF_BYTES"), None);
        assert_eq!(told, Vec::<String>::new());
    }

    #[test]
    fn a_file_may_name_its_overrides() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        fs::write(path("main"), format!("OVERRIDE_CONFIG {}\nPCAP_INTF a\n", path("more"))).unwrap();
        fs::write(path("more"), "PCAP_INTF b\n").unwrap();
        let args = Args { config_file: Some(path("main")), ..Args::default() };
        let raw = read(&args, &mut Complaints::new()).unwrap();
        assert_eq!(raw.explicit("PCAP_INTF"), Some("b"));
        assert_eq!(raw.explicit("OVERRIDE_CONFIG"), Some(path("more").as_str()));
    }

    #[test]
    fn only_what_was_set_before_is_expanded() {
        let (raw, told) = read_files(
            &[
                "FWKNOP_RUN_DIR /r;\nDIGEST_FILE $FWKNOP_RUN_DIR/d x\nSUDO_EXE $FIREWALL_EXE\nGPG_EXE $DIGEST\nACCESS_FILE $FWKNOP_RUN_DIR\n",
            ],
            &[],
        );
        assert_eq!(raw.explicit("DIGEST_FILE"), Some("/r/d"));
        assert_eq!(raw.explicit("SUDO_EXE"), Some("/usr/sbin/iptables"));
        assert_eq!(raw.explicit("ACCESS_FILE"), Some("/r"));
        assert_eq!(raw.explicit("GPG_EXE"), None);
        assert_eq!(
            told,
            [
                "[*] Invalid embedded variable in: '$DIGEST'\n    0.conf:4: GPG_EXE is ignored; a value may start with $NAME if NAME was set before"
            ]
        );
    }

    #[test]
    fn unknown_and_dead_names_are_told_with_what_was_meant() {
        let (raw, told) = read_files(&["PCAP_INFT x\nFWKNOP_CONF_DIR /x\nPCAP_INTF\n"], &[]);
        assert_eq!(raw.explicit("FWKNOP_CONF_DIR"), Some("/x"));
        assert_eq!(
            told,
            [
                "[*] Ignoring unknown configuration parameter: 'PCAP_INFT' in 0.conf\n    0.conf:1: perhaps PCAP_INTF was meant",
                "FWKNOP_CONF_DIR has no effect: nothing reads it\n    0.conf:2",
                "*Invalid config file entry in 0.conf at line 3.\n - 'PCAP_INTF'\n    this line is ignored; write a name, blanks and a value",
            ]
        );
    }

    #[test]
    fn repeated_nft_chains_are_all_kept() {
        let (raw, _) = read_files(&["NFT_INPUT inet a b\nNFT_INPUT ip c d\n"], &[]);
        assert_eq!(raw.all("NFT_INPUT").collect::<Vec<_>>(), ["inet a b", "ip c d"]);
    }

    #[test]
    fn a_capture_file_switches_ageing_off() {
        let (raw, _) = read_files(&["PCAP_FILE x\n"], &[]);
        assert_eq!(raw.effective("ENABLE_SPA_PACKET_AGING").unwrap(), "N");
    }

    proptest! {
        #[test]
        fn what_is_handed_over_arrives(values in proptest::collection::vec((0..SETTINGS.len(), "[^\n\0]*"), 0..20)) {
            let mut raw = RawConfig::default();
            for (index, value) in values {
                raw.set(SETTINGS[index].name, value, None);
            }
            prop_assert_eq!(RawConfig::from_handover(&raw.to_handover()), Some(raw));
        }
    }
}
