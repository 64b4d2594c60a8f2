//! The usage text, the man page and the shells' completions, all from the table of settings.
//!
//! Every option stands in them, in chapters; none can be forgotten, since the table is what is printed. Page and completions are had by
//! a first word that the original would have ignored. Spec: output-contract.md section 1.2, decisions.md (Subcommands).
//!
//! ```text
//! fwknop -h      fwknop manual > fwknop.1      fwknop completions bash
//! ```

mod completions;
mod page;

use std::ffi::OsString;

use crate::{
    plan::COMPATIBLE_VERSION,
    settings::{Gives, Name, SETTINGS, Setting, Spelling, Topic},
};

/// The first line that `--version` prints, and the only one.
#[must_use]
pub fn version() -> String {
    format!("fwknop client {COMPATIBLE_VERSION}, FKO protocol version 3.0.0")
}

/// The whole text, with the empty line it begins with and the one it ends with.
#[must_use]
pub fn usage() -> String {
    let mut text = format!(
        "\nfwknop client version {COMPATIBLE_VERSION}\n\
         Single Packet Authorization client - http://www.cipherdyne.org/fwknop/\n\n\
         Usage: fwknop -A <port list> [-s|-R|-a] -D <spa_server> [options]\n"
    );
    for (topic, title) in CHAPTERS {
        text.push_str(&format!("\n{title}:\n"));
        for row in chapter(*topic) {
            row.spellings.iter().for_each(|spelling| entry(&mut text, row, spelling));
        }
    }
    text.push('\n');
    text
}

/// What a subcommand prints, if the first argument is one, spelled exactly.
#[must_use]
pub fn subcommand(words: &[OsString]) -> Option<String> {
    match (words.get(1)?.to_str()?, words.get(2).and_then(|word| word.to_str())) {
        ("manual", None) => Some(page::page()),
        ("completions", Some(shell)) => completions::completions(shell),
        _ => None,
    }
}

/// The rows of a chapter: what everybody needs comes first, the rest in the table's order.
fn chapter(topic: Topic) -> Vec<&'static Setting> {
    const FIRST: &[Name] = &[
        Name::Access,
        Name::AllowIp,
        Name::Resolve,
        Name::NatAccess,
        Name::Server,
        Name::UseHmac,
        Name::GpgRecipient,
        Name::Stanza,
        Name::SaveStanza,
        Name::Test,
    ];
    let mut rows: Vec<_> = SETTINGS.iter().filter(|row| row.topic == topic).collect();
    rows.sort_by_key(|row| FIRST.iter().position(|name| *name == row.name).unwrap_or(FIRST.len()));
    rows
}

/// What the usage text calls the value of an option, if it takes one.
fn value_of(spelling: &Spelling) -> Option<&'static str> {
    match spelling.gives {
        Gives::Value(value) | Gives::Negative(value) => Some(value),
        Gives::Fixed(_) => None,
    }
}

const CHAPTERS: &[(Topic, &str)] = &[
    (Topic::Ask, "What to ask for"),
    (Topic::Address, "Finding the address to let in"),
    (Topic::Nat, "Reaching a host behind the server"),
    (Topic::Send, "Sending"),
    (Topic::Keys, "Keys"),
    (Topic::Gpg, "GnuPG"),
    (Topic::KeyGen, "Making keys"),
    (Topic::Files, "Files"),
    (Topic::Other, "Other"),
];

/// Where the explanations begin, and where they end.
const LEFT: usize = 32;
const RIGHT: usize = 80;

fn entry(text: &mut String, row: &Setting, spelling: &Spelling) {
    let short = spelling.short.map_or("    ".into(), |short| format!("-{short}, "));
    let value = value_of(spelling).map_or(String::new(), |value| format!(" {value}"));
    let head = format!(" {short}--{}{value}", spelling.long);
    let mut explained = spelling.help.to_owned();
    if let Some(variable) = row.variable {
        explained.push_str(&format!(" [{variable}]"));
    }
    let mut line = format!("{head:<LEFT$}");
    if head.len() >= LEFT {
        line = format!("{head}\n{:LEFT$}", "");
    }
    let mut column = LEFT;
    for word in explained.split(' ') {
        if column > LEFT && column + 1 + word.len() > RIGHT {
            line.push_str(&format!("\n{:LEFT$}", ""));
            column = LEFT;
        }
        if column > LEFT {
            line.push(' ');
            column += 1;
        }
        line.push_str(word);
        column += word.len();
    }
    text.push_str(&line);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_and_every_chapter_stands_in_the_usage_text() {
        let text = usage();
        for spelling in SETTINGS.iter().flat_map(|row| row.spellings) {
            assert!(text.contains(&format!("--{}", spelling.long)), "{}", spelling.long);
        }
        assert!(text.lines().all(|line| line.len() <= RIGHT), "{text}");
        assert!(text.starts_with("\nfwknop client version ") && text.ends_with("\n\n"));
    }
}
