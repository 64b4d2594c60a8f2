//! The server's command line: what was asked for, and which settings it overrides.
//!
//! The original walks its arguments three times, and so the order of what wins is: `-V`, key generation, `-h`, everything
//! else. Options that only set a setting are kept as its name and value; `config` lays them over the files. Nothing is
//! printed here, and the disk is looked at only by [`Args::check_paths`], as the original does for paths given as options.
//!
//! ```text
//! fwknopd -D -i eth1 --config other.conf   ─▶  Asked::Run(Args { mode: Dump, settings: [PCAP_INTF=eth1], … })
//! ```
//!
//! Spec: server.md section 2. `--nfq-capture` is unknown here, as in any build of the original without netfilter queue.

use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
};

use fwknop_conf::{
    complaint::{Complaint, Complaints},
    getopt::{Given, scan},
    value::Number,
};
use spa::DigestType;

mod options;
mod paths;

pub(crate) use paths::unreachable;

pub use options::usage;

use options::{Flag, Id, KeyOption, grammar};

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// `-V`: needs no configuration.
    Version,
    /// `-h`: needs no configuration.
    Help,
    /// `--key-gen`: needs no configuration.
    KeyGen(KeyGen),
    /// Something for which the configuration is read.
    Run(Args),
}

/// What to do once the configuration was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Be a server.
    #[default]
    Serve,
    /// `-D`: print all settings and stanzas.
    Dump,
    /// `-K`: stop the running server.
    Kill,
    /// `-R`: have it read its configuration again.
    Restart,
    /// `-S`: is one running?
    Status,
    /// `--dump-serv-err-codes`.
    ErrorCodes,
    /// `--exit-parse-config`.
    ParseConfig,
    /// `--exit-parse-digest-cache`.
    ParseDigestCache,
    /// `--fw-list`.
    FirewallList,
    /// `--fw-list-all`.
    FirewallListAll,
    /// `--fw-flush`.
    FirewallFlush,
}

/// Lengths and kinds of the keys to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyGen {
    /// Where to; else standard output.
    pub file: Option<PathBuf>,
    /// Bytes of the cipher key, 1 to 128 as given (more than 32 cannot be made).
    pub key_length: Option<u32>,
    /// Bytes of the HMAC key, 1 to 128.
    pub hmac_length: Option<u32>,
    /// What the HMAC key is for.
    pub digest: Option<DigestType>,
}

/// A command line for which the configuration is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Args {
    /// What to do then.
    pub mode: Mode,
    /// `-c`, as written.
    pub config_file: Option<String>,
    /// `-O`, as written: files separated by commas.
    pub overrides: Option<String>,
    /// Settings by their names in fwknopd.conf, in order; the last one counts.
    pub settings: Vec<(&'static str, String)>,
    /// `-f`, or implied by a mode that stays in the foreground.
    pub foreground: bool,
    /// `-t`.
    pub test: bool,
    /// `-U`.
    pub udp_server: bool,
    /// `-v`, counted.
    pub verbose: u32,
    /// `-C`; 0 is no limit.
    pub packet_limit: u32,
    /// `--pcap-any-direction`.
    pub any_direction: bool,
    /// `--rotate-digest-cache`.
    pub rotate_digest_cache: bool,
    /// `--syslog-enable`.
    pub syslog_enable: bool,
    /// `--no-ipt-check-support`.
    pub no_ipt_check_support: bool,
    /// `--no-firewd-check-support`.
    pub no_firewd_check_support: bool,
}

/// Reads the arguments (without the program's name).
///
/// `posixly_correct` is whether the environment has `POSIXLY_CORRECT`. Mistakes of the option grammar are complaints in the
/// C library's words, to be printed after the program's name and `: `; they and wrong values are all told.
///
/// `None` if something is wrong; then at least one of the complaints is an error.
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    posixly_correct: bool,
    complaints: &mut Complaints,
) -> Option<Asked> {
    let scanned = scan(&grammar(), arguments, posixly_correct);
    let given = || scanned.iter().flatten();
    if given().any(|option| option.id == Id::Version) {
        return Some(Asked::Version);
    }
    let before = complaints.errors();
    let key_gen = key_gen(given(), complaints);
    if complaints.errors() > before {
        return None;
    }
    if let Some(key_gen) = key_gen {
        return Some(Asked::KeyGen(key_gen));
    }
    if given().any(|option| option.id == Id::Help) {
        return Some(Asked::Help);
    }
    complaints.extend(
        scanned
            .iter()
            .filter_map(|item| item.as_ref().err().map(|misuse| Complaint::error(format!("fwknopd: {misuse}")))),
    );
    let args = Args::of(given(), complaints);
    (complaints.errors() == before).then_some(Asked::Run(args))
}

impl Args {
    /// The same words once more, in a process that our own program started with them. Mistakes were told before that.
    #[must_use]
    pub fn trusted(words: &[OsString]) -> Self {
        let posixly_correct = std::env::var_os("POSIXLY_CORRECT").is_some();
        let scanned = scan(&grammar(), words.iter().cloned(), posixly_correct);
        Self::of(scanned.iter().flatten(), &mut Complaints::new())
    }

    fn of<'g>(given: impl Iterator<Item = &'g Given<Id>>, complaints: &mut Complaints) -> Self {
        let mut args = Self::default();
        let mut modes = Vec::new();
        for option in given {
            args.take(option, &mut modes, complaints);
        }
        args.mode = chosen(&modes, complaints);
        args.foreground |= matches!(args.mode, Mode::ParseConfig | Mode::ParseDigestCache);
        args
    }

    fn take(&mut self, option: &Given<Id>, modes: &mut Vec<Mode>, complaints: &mut Complaints) {
        let value = option.value.as_deref().map_or(String::new(), |value| text(value, complaints));
        match option.id {
            Id::ConfigFile => self.config_file = Some(value),
            Id::Overrides => self.overrides = Some(value),
            Id::Setting(name) => {
                let folder = matches!(name, "ACCESS_FOLDER" | "GPG_HOME_DIR");
                let value =
                    value.strip_suffix('/').filter(|rest| folder && !rest.is_empty()).map_or(value.clone(), Into::into);
                self.settings.push((name, value));
            }
            Id::Mode(mode) => modes.push(mode),
            Id::Flag(flag) => *self.flag(flag) = true,
            Id::Verbose => self.verbose = self.verbose.saturating_add(1),
            Id::PacketLimit => match limit(&value, complaints) {
                Some(limit) => self.packet_limit = limit,
                None => complaints.push(
                    Complaint::error(format!("[*] invalid -C packet count limit '{value}'"))
                        .hint("write a number of packets, 0 to 2147483647; 0 is no limit"),
                ),
            },
            Id::Refused(text) => complaints.push(Complaint::error(text)),
            Id::Version | Id::Help | Id::Key(_) => {}
        }
    }

    fn flag(&mut self, flag: Flag) -> &mut bool {
        match flag {
            Flag::Foreground => &mut self.foreground,
            Flag::Test => &mut self.test,
            Flag::UdpServer => &mut self.udp_server,
            Flag::AnyDirection => &mut self.any_direction,
            Flag::RotateDigestCache => &mut self.rotate_digest_cache,
            Flag::SyslogEnable => &mut self.syslog_enable,
            Flag::NoIptCheckSupport => &mut self.no_ipt_check_support,
            Flag::NoFirewdCheckSupport => &mut self.no_firewd_check_support,
        }
    }

    /// The last value given for a setting.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.settings.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// The files of `-O`, in order.
    pub fn override_files(&self) -> impl Iterator<Item = &str> {
        self.overrides.iter().flat_map(|list| fwknop_conf::value::elements(list))
    }
}

/// The value as text that a configuration file could hold.
fn text(value: &OsStr, complaints: &mut Complaints) -> String {
    match value.to_str() {
        Some(text) if !text.contains('\n') => text.into(),
        _ => {
            let shown = value.to_string_lossy();
            complaints.push(Complaint::error(format!("[*] '{shown}' is not one line of UTF-8 text")));
            String::new()
        }
    }
}

fn limit(value: &str, complaints: &mut Complaints) -> Option<u32> {
    let number = Number::read(value);
    let limit = number.within(&(0..=i32::MAX.unsigned_abs()))?;
    if number.odd {
        complaints.push(Complaint::warning(format!("-C packet count limit '{value}' is read as {limit}")));
    }
    Some(limit)
}

/// The one mode. Of those that print and end, the original carries out the one whose turn comes first.
fn chosen(modes: &[Mode], complaints: &mut Complaints) -> Mode {
    const EXCLUSIVE: [Mode; 4] = [Mode::Dump, Mode::Kill, Mode::Restart, Mode::Status];
    const TURNS: [Mode; 10] = [
        Mode::ErrorCodes,
        Mode::Kill,
        Mode::Status,
        Mode::Restart,
        Mode::FirewallList,
        Mode::FirewallListAll,
        Mode::FirewallFlush,
        Mode::Dump,
        Mode::ParseConfig,
        Mode::ParseDigestCache,
    ];
    if EXCLUSIVE.iter().filter(|mode| modes.contains(mode)).count() > 1 {
        complaints.push(Complaint::error("The -D, -K, -R, and -S options are mutually exclusive.  Pick only one."));
    }
    TURNS.into_iter().find(|mode| modes.contains(mode)).unwrap_or_default()
}

/// What key generation was asked for, if it was. Values are checked even if it was not, as in the original.
fn key_gen<'g>(given: impl Iterator<Item = &'g Given<Id>>, complaints: &mut Complaints) -> Option<KeyGen> {
    let mut wanted = false;
    let mut keys = KeyGen::default();
    for option in given {
        let Id::Key(key) = option.id else { continue };
        let value = option.value.as_deref().map_or(String::new(), |value| text(value, complaints));
        match key {
            KeyOption::Generate => wanted = true,
            KeyOption::File => {
                wanted = true;
                keys.file = Some(value.into());
            }
            KeyOption::Length => keys.key_length = key_length("key", &value, complaints),
            KeyOption::HmacLength => keys.hmac_length = key_length("hmac key", &value, complaints),
            KeyOption::HmacDigest => match value.parse() {
                Ok(digest) => keys.digest = Some(digest),
                Err(_) => complaints.push(
                    Complaint::error(format!(
                        "* Invalid hmac digest type: {value}, use {{md5,sha1,sha256,sha384,sha512}}"
                    ))
                    .hint("sha3_256 and sha3_512 are known too"),
                ),
            },
        }
    }
    wanted.then_some(keys)
}

fn key_length(what: &str, value: &str, complaints: &mut Complaints) -> Option<u32> {
    let number = Number::read(value);
    let length = number.within(&(1..=128)).filter(|_| !number.odd);
    if length.is_none() {
        complaints.push(Complaint::error(format!("Invalid {what} length '{value}', must be in [1-128]")));
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<(Asked, Complaints), Vec<String>> {
        let mut complaints = Complaints::new();
        match parse(line.split_whitespace().map(Into::into), false, &mut complaints) {
            Some(asked) => Ok((asked, complaints)),
            None => Err(complaints.iter().map(ToString::to_string).collect()),
        }
    }

    fn run(line: &str) -> Args {
        match read(line).unwrap().0 {
            Asked::Run(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn options_become_settings_and_flags() {
        let args = run("-c f --access-fol /a/ -i lo stray -fvv -C 7 --gpg-home /g -i eth1 -O a,b");
        assert_eq!(args.config_file.as_deref(), Some("f"));
        assert_eq!(args.override_files().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(args.setting("ACCESS_FOLDER"), Some("/a"));
        assert_eq!(args.setting("PCAP_INTF"), Some("eth1"));
        assert_eq!((args.foreground, args.verbose, args.packet_limit, args.mode), (true, 2, 7, Mode::Serve));
    }

    #[test]
    fn version_and_help_win_over_mistakes() {
        assert_eq!(read("--nope -h -V").unwrap().0, Asked::Version);
        assert_eq!(read("--nope -h").unwrap().0, Asked::Help);
        assert_eq!(read("-h --key-gen").unwrap().0, Asked::KeyGen(KeyGen::default()));
    }

    #[test]
    fn keys_need_no_configuration() {
        let Asked::KeyGen(keys) = read("--key-gen-file k --key-len 16 --hmac-digest-type SHA512").unwrap().0 else {
            panic!("not key generation")
        };
        assert_eq!((keys.file, keys.key_length, keys.digest), (Some("k".into()), Some(16), Some(DigestType::Sha512)));
    }

    #[test]
    fn modes_that_exclude_each_other_are_refused() {
        let told = "The -D, -K, -R, and -S options are mutually exclusive.  Pick only one.";
        assert_eq!(read("-D -S").unwrap_err(), [told]);
        assert_eq!(run("-D -D").mode, Mode::Dump);
        assert_eq!(run("-D --fw-list").mode, Mode::FirewallList);
        assert!(run("--exit-parse-config").foreground);
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        for (line, told) in [
            ("--nope -n", &["fwknopd: unrecognized option '--nope'", "fwknopd: invalid option -- 'n'"] as &[_]),
            (
                "-C -1",
                &[
                    "[*] invalid -C packet count limit '-1'\n    write a number of packets, 0 to 2147483647; 0 is no limit",
                ],
            ),
            ("-A", &["[*] fwknopd not compiled with AFL fuzzing support"]),
            ("--fault-inj x", &["[*] fwknopd not compiled with libfiu support"]),
            ("-D --key-len 129", &["Invalid key length '129', must be in [1-128]"]),
            ("--hmac-key-len 0", &["Invalid hmac key length '0', must be in [1-128]"]),
        ] {
            assert_eq!(read(line).unwrap_err(), told, "{line}");
        }
    }
}
