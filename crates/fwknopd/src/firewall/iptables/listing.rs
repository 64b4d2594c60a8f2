//! What a chain holds, read from `iptables -S CHAIN`.
//!
//! ```text
//! -A FWKNOP_INPUT -s 10.0.0.7/32 -p tcp -m tcp --dport 22 -m comment --comment _exp_1795332870 -j ACCEPT
//!    ─▶ Listed { number 1, door 10.0.0.7 -> tcp/22, end 1795332870 }
//! ```
//!
//! This form, unlike `-L`, names protocols and addresses in one way only and can be given back to `-D`,
//! so a rule is deleted by what it says and not by a number that may mean another rule by then.
use std::net::IpAddr;

use spa::{PortSpec, UnixTime};

use crate::grant::{Door, Rule, end_in_comment};

/// One rule of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its place in the chain, from 1: what `-L --line-numbers` shows.
    pub number: usize,
    /// What it says, word by word, without `-A` and the chain.
    pub words: Vec<String>,
    /// The same as the program wrote it.
    pub text: String,
    /// The end its comment is marked with.
    pub end: Option<UnixTime>,
    /// The door it opens, if it is of the shape that we write.
    pub door: Option<Door>,
}

impl Listed {
    /// Door and end, if it has both.
    pub fn rule(&self) -> Option<Rule> {
        Some(Rule { door: self.door?, until: self.end? })
    }
}

/// The rules in a listing of one chain, in order.
pub fn read(listing: &str, chain: &str) -> Vec<Listed> {
    let ours = |line: &str| {
        let rest = line.strip_prefix("-A ")?.strip_prefix(chain)?.strip_prefix(' ')?;
        Some(rest.to_owned())
    };
    let texts = listing.lines().filter_map(ours);
    (1..).zip(texts).map(|(number, text)| Listed::new(number, text)).collect()
}

impl Listed {
    fn new(number: usize, text: String) -> Self {
        let words = split(&text);
        let after = |option: &str| {
            let at = words.iter().position(|word| word == option)?;
            words.get(at + 1).map(String::as_str)
        };
        let end = after("--comment").and_then(end_in_comment);
        let door = door(after("-s"), after("-p"), after("--dport"));
        Self { number, end, door, words, text }
    }
}

fn door(source: Option<&str>, protocol: Option<&str>, port: Option<&str>) -> Option<Door> {
    let source = source?;
    let (address, bits) = source.split_once('/').unwrap_or((source, ""));
    let client: IpAddr = address.parse().ok()?;
    let whole = if client.is_ipv4() { "32" } else { "128" };
    let protocol = match protocol? {
        "6" => "tcp",
        "17" => "udp",
        name => name,
    };
    let port: PortSpec = format!("{protocol}/{}", port?).parse().ok()?;
    (bits.is_empty() || bits == whole).then_some(Door { client, port })
}

/// Words as the program writes them: apart by blanks, in double quotes where they hold some, with a
/// backslash before quotes and backslashes.
fn split(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), None::<String>, false);
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            ' ' if !quoted => words.extend(word.take()),
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            '\\' => word.get_or_insert_default().extend(letters.next()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = r#"# Warning: iptables-legacy tables present, use iptables-legacy to see them
-N FWKNOP_INPUT
-A FWKNOP_INPUT -s 10.77.0.2/32 -p tcp -m tcp --dport 22 -m time --datestop 2026-11-22T07:34:29 -m comment --comment _exp_1795332870 -j ACCEPT
-A FWKNOP_INPUT -s 192.168.0.0/16 -j ACCEPT
-A FWKNOP_INPUT -s 10.0.0.0/8 -p udp -m udp --dport 53 -m comment --comment "for \"bob\" _exp_1795332870 x" -j ACCEPT
-A FWKNOP_INPUT_2 -s 10.77.0.2/32 -j ACCEPT
"#;

    #[test]
    fn numbers_rules_and_finds_door_and_end() {
        let rules = read(LISTING, "FWKNOP_INPUT");
        let shown: Vec<_> = rules
            .iter()
            .map(|rule| (rule.number, rule.door.map(|door| door.to_string()), rule.end.map(|end| end.0)))
            .collect();
        let end = Some(1_795_332_870);
        assert_eq!(shown, [(1, Some("10.77.0.2 -> tcp/22".into()), end), (2, None, None), (3, None, end)]);
    }

    #[test]
    fn takes_quotes_off() {
        let rules = read(LISTING, "FWKNOP_INPUT");
        assert!(rules[2].words.contains(&"for \"bob\" _exp_1795332870 x".into()));
        assert_eq!(split(r#"a "" "b c" d\\e"#), ["a", "", "b c", r"d\e"]);
    }

    #[test]
    fn a_listing_that_is_none_holds_no_rules() {
        assert_eq!(read("iptables: No chain/target/match by that name.\n-A", "FWKNOP_INPUT"), []);
    }
}
