//! The line grammar that `.fwknoprc`, `fwknopd.conf` and `access.conf` share, and where they differ.
//!
//! ```text
//! # a comment                         only in the first column, as with ';'
//! [section]                           in dialects that have sections
//!     NAME value, perhaps of words    blanks before and between; trailing blanks and CR are dropped
//!     NAME value; and no more         what ends a value is a matter of the dialect
//! ```
//!
//! A line is one line however long it is. (The original cuts lines after 1023 bytes and takes the rest for another line.)
//! This module knows no setting by name, and no value's meaning; it does not decide whether a malformed line is fatal.
//!
//! ```
//! use fwknop_conf::lines::{ACCESS_CONF, Entry, lines};
//!
//! let text = b"# who may come in\nSOURCE: ANY\nOPEN_PORTS   tcp/22, udp/53;\n";
//! let found: Vec<_> = lines(text, &ACCESS_CONF)
//!     .map(|(number, entry)| match entry {
//!         Entry::Setting(line) => format!("{number}: {} = {}", line.key, line.value),
//!         other => format!("{number}: {other:?}"),
//!     })
//!     .collect();
//! assert_eq!(found, ["2: SOURCE = ANY", "3: OPEN_PORTS = tcp/22, udp/53"]);
//! ```

use std::borrow::Cow;

/// What distinguishes one file's lines from another's.
#[derive(Clone, Copy, Debug)]
pub struct Dialect {
    /// The characters that end a value, besides the end of the line.
    value_ends_at: &'static [char],
    /// Whether `NAME:` means `NAME`.
    colon: bool,
    /// Whether `[name]` starts a section.
    sections: bool,
    /// Whether there are comments, indentation and empty lines; else a line is a name, one blank and the value as it is.
    loose: bool,
}

/// The client's `.fwknoprc`: sections, and values that are one word.
pub const FWKNOPRC: Dialect =
    Dialect { value_ends_at: &[' ', '\t', ';', '#', '\r'], colon: true, sections: true, loose: true };

/// The server's `fwknopd.conf`, and its override files.
pub const FWKNOPD_CONF: Dialect = Dialect { value_ends_at: &[';', '\r'], colon: false, sections: false, loose: true };

/// The server's `access.conf`, and what it includes.
pub const ACCESS_CONF: Dialect = Dialect { value_ends_at: &[';', '\r'], colon: true, sections: false, loose: true };

/// What one process of ours hands to another: any value without a line feed survives, an empty one too.
pub const HANDOVER: Dialect = Dialect { value_ends_at: &[], colon: false, sections: false, loose: false };

/// One `NAME value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'t> {
    /// The name.
    pub key: &'t str,
    /// The value, without blanks around it.
    pub value: &'t str,
    /// What stood between the end of the value and the end of the line, if more than blanks: a comment perhaps, or half
    /// of a passphrase with a `;` in it. Without the character that ended the value if that is `;` or `#`.
    pub ignored: &'t str,
}

/// What a line is, if it is not to be skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry<'t> {
    /// `[name]`: blanks inside count.
    Section(&'t str),
    /// `NAME value`.
    Setting(Line<'t>),
    /// Neither: no value, blanks only, a NUL, or not UTF-8 (then as well as it can be shown).
    Malformed(Cow<'t, str>),
}

/// Reads `text` line by line; gives each line's number, from 1, and what it is. Comments and empty lines are left out.
pub fn lines<'t>(text: &'t [u8], dialect: &Dialect) -> impl Iterator<Item = (u32, Entry<'t>)> {
    let dialect = *dialect;
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let skipped = move |line: &[u8]| dialect.loose && matches!(line.first(), None | Some(b'#' | b';' | b'\r' | 0));
    (1u32..)
        .zip(text.split(|&byte| byte == b'\n'))
        .filter(move |(_, line)| !skipped(line) && !(line.is_empty()))
        .map(move |(number, line)| (number, entry(line, &dialect)))
}

fn entry<'t>(line: &'t [u8], dialect: &Dialect) -> Entry<'t> {
    let Ok(text) = std::str::from_utf8(line) else {
        return Entry::Malformed(String::from_utf8_lossy(line));
    };
    let section = text.trim_start_matches([' ', '\t']).strip_prefix('[').and_then(|rest| rest.split_once(']'));
    match section {
        Some((name, _)) if dialect.sections => Entry::Section(name),
        _ => match setting(text, dialect) {
            Some(line) => Entry::Setting(line),
            None => Entry::Malformed(text.into()),
        },
    }
}

fn setting<'t>(text: &'t str, dialect: &Dialect) -> Option<Line<'t>> {
    if text.contains('\0') {
        return None;
    }
    if !dialect.loose {
        let (key, value) = text.split_once(' ')?;
        return Some(Line { key, value, ignored: "" });
    }
    let (word, rest) = text.trim_start_matches(blank).split_once(blank)?;
    let rest = rest.trim_start_matches(blank);
    let (value, ignored) = rest.split_at(rest.find(dialect.value_ends_at).unwrap_or(rest.len()));
    let value = value.trim_end_matches(blank);
    let key = match word.rsplit_once(':') {
        Some((key, _)) if dialect.colon => key,
        _ => word,
    };
    if value.is_empty() || key.is_empty() {
        return None;
    }
    let ignored = ignored.trim_matches(blank);
    let ignored = ignored.strip_prefix([';', '#']).unwrap_or(ignored).trim_matches(blank);
    Some(Line { key, value, ignored })
}

/// The C library's white space.
fn blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\x0b' | '\x0c')
}

/// One line of the [`HANDOVER`] dialect, with its line feed; `None` if the value has a line feed or NUL in it, or the
/// key a blank, so that it could not be read back.
pub fn handover(key: &str, value: &str) -> Option<String> {
    let whole = !key.is_empty() && !key.contains([' ', '\n', '\0']) && !value.contains(['\n', '\0']);
    whole.then(|| format!("{key} {value}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn told(text: &str, dialect: &Dialect) -> Vec<String> {
        lines(text.as_bytes(), dialect)
            .map(|(number, entry)| match entry {
                Entry::Section(name) => format!("{number}[{name}]"),
                Entry::Setting(Line { key, value, ignored: "" }) => format!("{number}:{key}={value}"),
                Entry::Setting(line) => {
                    format!("{number}:{}={}|{}", line.key, line.value, line.ignored)
                }
                Entry::Malformed(text) => format!("{number}!{text}"),
            })
            .collect()
    }

    #[test]
    fn reads_the_configuration_of_the_server() {
        for (text, expected) in [
            ("# a\n\n;b\n\r\nPCAP_INTF eth7", "5:PCAP_INTF=eth7"),
            (" \tPCAP_INTF\t eth7  ; note\r\n", "1:PCAP_INTF=eth7|note"),
            ("PCAP_INTF = eth7;\r\n", "1:PCAP_INTF== eth7"),
            ("PCAP_INTF: eth7\n", "1:PCAP_INTF:=eth7"),
            ("  # x y\n", "1:#=x y"),
            ("PCAP_INTF ;\n", "1!PCAP_INTF ;"),
            ("PCAP_INTF;\n", "1!PCAP_INTF;"),
            ("   \n", "1!   "),
            ("[a] b\n", "1:[a]=b"),
        ] {
            assert_eq!(told(text, &FWKNOPD_CONF), [expected], "{text:?}");
        }
    }

    #[test]
    fn reads_the_access_file() {
        for (text, expected) in
            [("KEY: a#b c\n", "1:KEY=a#b c"), ("KEY:x abc;def\n", "1:KEY=abc|def"), ("KEY:abc\n", "1!KEY:abc")]
        {
            assert_eq!(told(text, &ACCESS_CONF), [expected], "{text:?}");
        }
    }

    #[test]
    fn reads_the_rc_file_of_the_client() {
        for (text, expected) in [
            ("  [my host] x\n", "1[my host]"),
            ("KEY a#b\n", "1:KEY=a|b"),
            ("KEY a b\n", "1:KEY=a|b"),
            ("KEY: a;\n", "1:KEY=a"),
            ("KEY=a\n", "1!KEY=a"),
            ("KEY = a\n", "1:KEY==|a"),
            ("[open\n", "1![open"),
            ("  # note\n", "1!  # note"),
        ] {
            let expected = if text.contains("# note") { "1:#=note" } else { expected };
            assert_eq!(told(text, &FWKNOPRC), [expected], "{text:?}");
        }
    }

    #[test]
    fn a_long_line_is_one_line() {
        let text = format!("KEY {}\nX y\n", "k".repeat(5000));
        assert_eq!(told(&text, &ACCESS_CONF).len(), 2);
    }

    #[test]
    fn a_comment_need_not_be_unicode_but_a_setting_must() {
        let found: Vec<_> = lines(b"# \xff\nKEY \xff\n", &ACCESS_CONF).collect();
        assert_eq!(found, [(2, Entry::Malformed("KEY \u{fffd}".into()))]);
    }

    proptest! {
        #[test]
        fn every_setting_stands_on_the_line_it_names(text in "([ \t]?[A-C:#;\\[\\]\r\0é]{0,3}[ \t]{0,2}[x-z ;#]{0,4}\n?){0,12}") {
            for dialect in [FWKNOPRC, FWKNOPD_CONF, ACCESS_CONF, HANDOVER] {
                for (number, entry) in lines(text.as_bytes(), &dialect) {
                    let line = text.split('\n').nth(number as usize - 1).unwrap();
                    match entry {
                        Entry::Section(name) => prop_assert!(line.contains(name)),
                        Entry::Setting(found) => {
                            prop_assert!(line.contains(found.key) && line.contains(found.value));
                        }
                        Entry::Malformed(shown) => prop_assert_eq!(shown, line),
                    }
                }
            }
        }

        #[test]
        fn what_is_handed_over_arrives(key in "[A-Z_%]{1,9}", value in "[^\n\0]*") {
            let line = handover(&key, &value).unwrap();
            let found: Vec<_> = lines(line.as_bytes(), &HANDOVER).collect();
            prop_assert_eq!(found, [(1, Entry::Setting(Line { key: &key, value: &value, ignored: "" }))]);
        }
    }
}
