//! Configurations that fwknopd 2.6.10 was run with, and what it made of them: ours comes to the same verdict and the same
//! effective values, except where [`DIFFERENCES`] says why not.
//!
//! `tests/vectors/server-config.json` says how each case was recorded. Wording is compared nowhere here; unit tests do that.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::Path,
};

use fwknop_conf::complaint::Complaints;
use fwknopd::{
    args::{self, Asked, Mode},
    dump,
};
use jiff::tz::TimeZone;
use serde::Deserialize;

/// Cases in which we are different on purpose, and why. (T: the traps of the server's specification, section 16.)
const DIFFERENCES: &[(&str, &str)] = &[
    ("conf-long-line", "a line is one line however long it is; the original takes the rest for another line"),
    ("acc-long-line", "a line is one line however long it is; the key is then too long to be used, and that is told"),
    ("src-ipv6", "SOURCE and DESTINATION take IPv6 networks"),
    ("src-cidr0", "T65: a prefix of 0 is everybody"),
    ("acc-cmdgroup-group", "T26: groups are looked up as groups, and as users only if there is no such group"),
    ("acc-sudogroup", "T26: groups are looked up as groups, and as users only if there is no such group"),
    ("acc-masq", "T48: an address that is not set is shown as such, not as (null)"),
    ("acc-masq-all", "T48: an address that is not set is shown as such, not as (null)"),
    ("acc-masq-noforward", "T48: an address that is not set is shown as such, not as (null)"),
];

/// Cases about something that needs no configuration, and is tested with what does it.
const ELSEWHERE: &[&str] = &["cli-keylen-33"];

type Values = BTreeMap<String, Option<String>>;

#[derive(Deserialize)]
struct Vectors {
    config_defaults: Values,
    stanza_defaults: Values,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    id: String,
    about: String,
    files: BTreeMap<String, String>,
    args: Vec<String>,
    #[serde(default)]
    modes: BTreeMap<String, String>,
    #[serde(default)]
    dirs: Vec<String>,
    #[serde(default)]
    symlinks: BTreeMap<String, String>,
    expect: Expect,
    differs_in_2_6_11: Option<Newer>,
}

#[derive(Deserialize)]
struct Expect {
    accepted: bool,
    #[serde(default)]
    config: Values,
    #[serde(default)]
    stanzas: Vec<Values>,
}

/// Where 2.6.11 came to other values, we follow it.
#[derive(Deserialize)]
struct Newer {
    config: Option<Values>,
    stanzas: Option<Vec<Values>>,
}

/// What a run came to: the settings and stanzas that it shows, or a refusal.
#[derive(Debug, PartialEq)]
enum Outcome {
    Accepted(Values, Vec<Values>),
    Refused,
}

impl Case {
    /// Puts the case's files into `folder`, and gives that folder's name.
    fn lay_out(&self, folder: &Path) -> String {
        let place = folder.to_str().unwrap().to_owned();
        fs::create_dir(folder.join("run")).unwrap();
        for name in &self.dirs {
            fs::create_dir_all(folder.join(name)).unwrap();
        }
        for (name, text) in self.files.iter().filter(|(name, _)| !self.dirs.contains(name)) {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text.replace("@DIR@", &place)).unwrap();
            let mode = self.modes.get(name).map_or("0600", String::as_str);
            match mode.strip_prefix("owner:") {
                // Only root can give a file away; without that there is one warning less.
                Some(owner) => drop(chown(&path, Some(owner.parse().unwrap()), None)),
                None => fs::set_permissions(&path, PermissionsExt::from_mode(u32::from_str_radix(mode, 8).unwrap()))
                    .unwrap(),
            }
        }
        for (name, target) in &self.symlinks {
            symlink(target.replace("@DIR@", &place), folder.join(name)).unwrap();
        }
        place
    }

    /// Runs the case; gives what came of it and everything that was told.
    fn run(&self) -> (Outcome, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let place = self.lay_out(folder.path());
        let mut complaints = Complaints::new();
        let arguments = self.args.iter().map(|argument| argument.replace("@DIR@", &place).into());
        let outcome = match args::parse(arguments, false, &mut complaints) {
            None => Outcome::Refused,
            Some(Asked::Run(args)) => match dump::text(&args, &TimeZone::UTC, &mut complaints) {
                None => Outcome::Refused,
                Some(_) if args.mode != Mode::Dump => Outcome::Accepted(Values::new(), Vec::new()),
                Some(text) => parse(&text.replace(&place, "@DIR@")),
            },
            Some(_) => Outcome::Accepted(Values::new(), Vec::new()),
        };
        (outcome, complaints.iter().map(|complaint| complaint.to_string().replace(&place, "@DIR@")).collect())
    }

    fn expected(&self, vectors: &Vectors) -> Outcome {
        if !self.expect.accepted {
            return Outcome::Refused;
        }
        if !self.args.iter().any(|argument| argument == "-D") {
            return Outcome::Accepted(Values::new(), Vec::new());
        }
        let newer = self.differs_in_2_6_11.as_ref();
        let config = newer.and_then(|newer| newer.config.as_ref()).unwrap_or(&self.expect.config);
        let stanzas = newer.and_then(|newer| newer.stanzas.as_ref()).unwrap_or(&self.expect.stanzas);
        let over = |defaults: &Values, values: &Values| {
            let mut all = defaults.clone();
            all.extend(values.clone());
            all
        };
        let mut config = over(&vectors.config_defaults, config);
        self.defaults_without_options(&mut config);
        let stanzas = stanzas.iter().map(|stanza| over(&vectors.stanza_defaults, stanza)).collect();
        Outcome::Accepted(config, stanzas)
    }

    /// The recorded defaults are those of a run with -c, -a and -r; a case may leave one of them out.
    fn defaults_without_options(&self, config: &mut Values) {
        if !self.args.iter().any(|argument| argument == "-a") && !self.expect.config.contains_key("ACCESS_FILE") {
            config.insert("ACCESS_FILE".into(), Some("/etc/fwknop/access.conf".into()));
        }
    }
}

/// Reads the layout of `-D` back.
fn parse(text: &str) -> Outcome {
    let (settings, access) = text.split_once("\n\nCurrent fwknopd access settings:\n").unwrap();
    let mut config = Values::new();
    for (index, line) in settings.lines().skip(1).enumerate() {
        let (number, rest) = line.split_once(". ").unwrap();
        assert_eq!(number, format!("{index:3}"));
        let (name, value) = rest.split_once(" =  '").unwrap();
        assert_eq!(name.len(), 28, "{line}");
        config.insert(name.trim_end().into(), unless_unset(value.strip_suffix('\'').unwrap()));
    }
    let mut stanzas: Vec<Values> = Vec::new();
    for line in access.lines().filter(|line| !line.is_empty() && !line.starts_with('=')) {
        if let Some(rest) = line.strip_prefix("SOURCE (") {
            let (number, source) = rest.split_once("):  ").unwrap();
            stanzas.push(Values::from([("SOURCE".into(), Some(source.into()))]));
            assert_eq!(number, stanzas.len().to_string());
        } else {
            let (name, value) = line.split_once(":  ").unwrap();
            assert!(name.len() >= 27, "{line}");
            let value = value.replace("<see the access.conf file>", "(set)");
            stanzas.last_mut().unwrap().insert(name.trim_start().into(), unless_unset(&value));
        }
    }
    Outcome::Accepted(config, stanzas)
}

fn unless_unset(value: &str) -> Option<String> {
    (value != "<not set>").then(|| value.into())
}

/// What differs, for a person to read. Names that only we show do not count.
fn difference(case: &Case, got: &Outcome, expected: &Outcome) -> Option<String> {
    let mut told = Vec::new();
    let mut compare = |what: &str, got: &Values, expected: &Values| {
        for (name, value) in expected {
            if got.get(name) != Some(value) {
                told.push(format!("{what} {name}: {:?} instead of {value:?}", got.get(name)));
            }
        }
    };
    match (got, expected) {
        (Outcome::Refused, Outcome::Refused) => {}
        (Outcome::Accepted(got, stanzas), Outcome::Accepted(expected, expected_stanzas)) => {
            compare("setting", got, expected);
            for (got, expected) in stanzas.iter().zip(expected_stanzas) {
                compare("stanza", got, expected);
            }
            if stanzas.len() != expected_stanzas.len() {
                told.push(format!("{} stanzas instead of {}", stanzas.len(), expected_stanzas.len()));
            }
        }
        (got, _) => told.push(if *got == Outcome::Refused { "refused" } else { "accepted" }.into()),
    }
    (!told.is_empty()).then(|| format!("{} ({}): {}", case.id, case.about, told.join("; ")))
}

#[test]
fn comes_to_the_same_verdicts_and_values_as_the_original() {
    let vectors: Vectors = serde_json::from_str(include_str!("vectors/server-config.json")).unwrap();
    let mut wrong = Vec::new();
    for case in vectors.cases.iter().filter(|case| !ELSEWHERE.contains(&case.id.as_str())) {
        let (got, told) = case.run();
        let reason = DIFFERENCES.iter().find(|(id, _)| *id == case.id);
        match (difference(case, &got, &case.expected(&vectors)), reason) {
            (None, None) | (Some(_), Some(_)) => {}
            (Some(difference), None) => wrong.push(format!("{difference}\n    told: {told:?}")),
            (None, Some(_)) => wrong.push(format!("{}: is listed as a difference, but is none", case.id)),
        }
        if got == Outcome::Refused {
            assert_ne!(told, Vec::<String>::new(), "{}: refused without a word", case.id);
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), vectors.cases.len(), wrong.join("\n"));
}

#[test]
fn no_key_is_ever_told() {
    let vectors: Vectors = serde_json::from_str(include_str!("vectors/server-config.json")).unwrap();
    let keys = ["testkey1234", "hmackey5678", "dGVzdGtleTEyMzQ", "samekey"];
    for case in &vectors.cases {
        let (got, told) = case.run();
        let shown = format!("{got:?}{told:?}");
        for key in keys {
            assert!(!shown.contains(key), "{} shows {key}", case.id);
        }
    }
}
