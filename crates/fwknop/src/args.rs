//! The command line: arguments become the strongest layer of settings.
//!
//! It is read in two steps, as the original does: [`CommandLine::parse`] sees which options there are, so that the few that
//! say where to look (`--rc-file`, `-n`, `-h`, …) are known before the rc file is opened; [`CommandLine::layer`] then reads the
//! values. How options are written is `fwknop_conf::getopt`'s business; which there are, the table's.
//!
//! ```text
//! -T -A tcp/22 --nope ─▶ CommandLine { Test: Y, Access: tcp/22; misuse: "unrecognized option '--nope'" } ─▶ Layer
//! ```

use std::ffi::{OsStr, OsString};

use fwknop_conf::getopt::{self, Misuse, Opt};

use crate::settings::{Gives, Kind, Layer, Name, SETTINGS, Setting, Spelling, Value, Wrong};

/// A row of the table and one of its options.
#[derive(Clone, Copy)]
struct Chosen {
    row: &'static Setting,
    spelling: &'static Spelling,
}

/// Synonyms are options that set the same thing to the same value; only for them an abbreviation may be unclear.
impl PartialEq for Chosen {
    fn eq(&self, other: &Self) -> bool {
        self.row.name == other.row.name && self.spelling.gives == other.spelling.gives
    }
}

/// What was typed: options in order, and what was wrong with the others.
pub struct CommandLine {
    given: Vec<(Chosen, Option<OsString>)>,
    /// What is no option of ours, in the C library's words.
    pub misuse: Vec<Misuse>,
}

impl CommandLine {
    /// Reads the words after the program's name.
    pub fn parse(words: impl IntoIterator<Item = OsString>, posixly_correct: bool) -> Self {
        let options: Vec<Opt<Chosen>> = SETTINGS
            .iter()
            .flat_map(|row| row.spellings.iter().map(move |spelling| Chosen { row, spelling }))
            .map(|chosen| Opt {
                id: chosen,
                long: chosen.spelling.long,
                short: chosen.spelling.short,
                takes_value: !matches!(chosen.spelling.gives, Gives::Fixed(_)),
            })
            .collect();
        let mut line = Self { given: Vec::new(), misuse: Vec::new() };
        for found in getopt::scan(&options, words, posixly_correct) {
            match found {
                Ok(given) => line.given.push((given.id, given.value)),
                Err(misuse) => line.misuse.push(misuse),
            }
        }
        line
    }

    /// Whether an option that sets this was given.
    #[must_use]
    pub fn has(&self, name: Name) -> bool {
        self.given.iter().any(|(chosen, _)| chosen.row.name == name)
    }

    /// How often `-v` was given.
    #[must_use]
    pub fn verbosity(&self) -> u32 {
        let told = self.given.iter().filter(|(chosen, _)| chosen.row.name == Name::Verbose);
        told.count().try_into().unwrap_or(u32::MAX)
    }

    /// The last value that was given for this, as typed.
    #[must_use]
    pub fn value(&self, name: Name) -> Option<&OsStr> {
        let last = self.given.iter().rfind(|(chosen, _)| chosen.row.name == name);
        last.and_then(|(_, value)| value.as_deref())
    }

    /// The words of a command line without the keys in them: a program's name and its arguments in, the same out.
    ///
    /// An HMAC key leaves `--use-hmac` behind.
    #[must_use]
    pub fn without_keys(words: &[OsString]) -> Vec<OsString> {
        let mut kept: Vec<OsString> = words.first().cloned().into_iter().collect();
        let mut rest = words.get(1..).unwrap_or_default();
        while let Some((word, after)) = rest.split_first() {
            if word == "--" {
                kept.extend(rest.iter().cloned());
                break;
            }
            // What this word alone would be, and whether it swallows the next one.
            let alone = Self::parse([word.clone()], false);
            let with_next = Self::parse(rest.iter().take(2).cloned(), false);
            let swallows = !alone.misuse.is_empty() && with_next.misuse.is_empty() && !after.is_empty();
            let found = if swallows { &with_next } else { &alone };
            let length = if swallows { 2 } else { 1 };
            let key = found
                .given
                .first()
                .filter(|(chosen, _)| matches!(chosen.row.kind, Kind::Secret | Kind::SecretBase64(_)));
            match key {
                Some((chosen, _)) => {
                    kept.extend(chosen.row.implies.contains(&Name::UseHmac).then(|| "--use-hmac".into()));
                }
                None => kept.extend(rest.iter().take(length).cloned()),
            }
            rest = rest.get(length..).unwrap_or_default();
        }
        kept
    }

    /// Reads the values, in the order in which they stand.
    ///
    /// # Errors
    /// What the first one that is wrong deserves to be told.
    pub fn layer(&self) -> Result<Layer, String> {
        let mut layer = Layer::default();
        for (Chosen { row, spelling }, value) in &self.given {
            if row.name == Name::FaultInjection {
                return Err("fwknop not compiled with fault injection support.".into());
            }
            let given = match (spelling.gives, value) {
                (Gives::Fixed(text), _) => OsStr::new(text),
                (_, Some(value)) => trimmed(row.name, value),
                (_, None) => OsStr::new(""),
            };
            let refused = |wrong| row.kind.refused_as_option(given, &wrong);
            let keyword = matches!(given.to_ascii_lowercase().to_str(), Some("source" | "resolve"));
            let read = if row.kind == Kind::Allow && spelling.gives != Gives::Fixed("source") && keyword {
                Err(Wrong::Form) // these are words of the rc file, and hosts may be called so
            } else {
                row.kind.read(given)
            };
            match (spelling.gives, read.map_err(refused)?) {
                (Gives::Negative(_), Value::Offset(seconds)) => {
                    layer.set_offset(not_negative(seconds).ok_or_else(|| refused(Wrong::Form))?.saturating_neg());
                }
                (_, Value::Offset(seconds)) => {
                    layer.set_offset(not_negative(seconds).ok_or_else(|| refused(Wrong::Form))?);
                }
                (_, value) => layer.set(row.name, value),
            }
            for implied in row.implies {
                layer.set_instead(*implied, Value::YesNo(true));
            }
            if row.name == Name::Proxy {
                // A proxy means http; only a -P that comes later can contradict.
                layer.forget(Name::Transport);
            }
        }
        Ok(layer)
    }
}

/// A sign inside the value of `--time-offset-plus` would mean the opposite of the option's name.
fn not_negative(seconds: i64) -> Option<i64> {
    (seconds >= 0).then_some(seconds)
}

/// One trailing slash of GnuPG's directory goes, on the command line only.
fn trimmed(name: Name, value: &OsStr) -> &OsStr {
    match value.to_str() {
        Some(text) if name == Name::GpgHome => OsStr::new(text.strip_suffix('/').unwrap_or(text)),
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_words_make_it_panic(words in proptest::collection::vec("-[a-zA-Z]{0,3}|--[a-z-]{0,14}(=.{0,6})?|.{0,9}|-?[0-9]{0,25}[mhd]?", 0..9)) {
            let words: Vec<OsString> = words.into_iter().map(Into::into).collect();
            let line = CommandLine::parse(words.clone(), false);
            let _read_or_refused = line.layer();
            let kept = CommandLine::without_keys(&words);
            prop_assert!(kept.len() <= words.len());
        }
    }

    fn read(words: &str) -> Result<Layer, String> {
        let line = CommandLine::parse(words.split_whitespace().map(Into::into), false);
        assert_eq!(line.misuse, []);
        line.layer()
    }

    #[test]
    fn the_later_of_two_wins() {
        let told = |words: &str| read(words).unwrap().get(Name::AllowIp).unwrap().to_string();
        assert_eq!(told("-a 1.1.1.1 -s"), "source");
        assert_eq!(told("-s -a 1.1.1.1"), "1.1.1.1");
    }

    #[test]
    fn abbreviations_that_fit_only_synonyms_are_clear() {
        let layer = read("--resolve-ip --spoof-s 192.0.2.1 --gpg-recip x").unwrap();
        assert!(layer.says_yes(Name::Resolve) && layer.says_yes(Name::UseGpg));
        let line = CommandLine::parse(["--res".into()], false);
        assert_eq!(line.misuse.len(), 1);
    }

    #[test]
    fn an_option_sets_what_it_implies() {
        let layer = read("--key-hmac x -K f").unwrap();
        assert!(layer.says_yes(Name::UseHmac) && layer.says_yes(Name::KeyGen));
    }

    #[test]
    fn an_address_is_not_a_word_of_the_rc_file() {
        assert!(read("-a source").is_err());
        assert!(read("-a resolve").is_err());
    }

    #[test]
    fn keys_are_taken_out_however_they_are_written() {
        for (words, kept) in [
            ("fwknop -T --key-rijndael sekret -v", "fwknop -T -v"),
            ("fwknop --key-r=sekret --key-base64-h c2Vr -A tcp/22", "fwknop --use-hmac -A tcp/22"),
            ("fwknop -TvA --key-rijndael x", "fwknop -TvA --key-rijndael x"),
            ("fwknop -T -- --key-rijndael x", "fwknop -T -- --key-rijndael x"),
            ("fwknop --nope -D h --key-hmac", "fwknop --nope -D h --key-hmac"),
        ] {
            let words: Vec<OsString> = words.split(' ').map(Into::into).collect();
            assert_eq!(CommandLine::without_keys(&words).join(OsStr::new(" ")), kept);
        }
    }

    #[test]
    fn a_time_offset_has_no_sign_of_its_own() {
        assert!(read("--time-offset-plus -60").is_err());
        assert_eq!(read("--time-offset-minus 2m").unwrap().get(Name::TimeOffset).unwrap().to_string(), "-120");
    }
}
