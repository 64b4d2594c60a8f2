//! A rule as the words of an iptables command line: a pure function, so that a table can test it.
//!
//! ```text
//! -t filter -p 6 -s 10.0.0.7 -d 0.0.0.0/0 --dport 22
//!     -m time --datestop 2026-11-22T07:34:29 -m comment --comment _exp_1795332870 -j ACCEPT
//! ```
//!
//! Words and order are the original's (server specification, section 9.1.4); the time match is ours. It
//! lets the kernel end the rule when we no longer can, and stands before the comment so that a listing
//! still ends in the comment. A further kind of rule is one more function like [`access`].
use std::net::IpAddr;
use std::num::NonZeroU16;

use spa::{Protocol, UnixTime};

use super::super::ChainSpec;
use crate::grant::Rule;

/// One rule before it is words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// What the log calls this kind of rule.
    pub label: &'static str,
    table: String,
    protocol: Option<Protocol>,
    matches: Vec<Match>,
    rule: Rule,
    target: Vec<String>,
}

/// One test of a rule, in the order in which the original writes them.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Match {
    Source(IpAddr),
    /// Every destination of this client's family.
    AnyDestination(IpAddr),
    DestinationPort(NonZeroU16),
}

/// Lets the client in to a port of this machine.
pub fn access(spec: &ChainSpec, rule: Rule) -> Text {
    let door = rule.door;
    Text {
        label: "access",
        table: spec.table.clone(),
        protocol: Some(door.port.protocol),
        matches: vec![
            Match::Source(door.client),
            Match::AnyDestination(door.client),
            Match::DestinationPort(door.port.port),
        ],
        rule,
        target: vec![spec.target.clone()],
    }
}

impl Text {
    /// The words after the chain's name. With `time`, the kernel ends the rule by itself.
    pub fn words(&self, time: bool) -> Vec<String> {
        let mut words: Vec<String> = vec!["-t".into(), self.table.clone()];
        if let Some(protocol) = self.protocol {
            words.extend(["-p".into(), protocol.number().to_string()]);
        }
        for test in &self.matches {
            words.extend(match test {
                Match::Source(address) => ["-s".into(), address.to_string()],
                Match::AnyDestination(IpAddr::V4(_)) => ["-d".into(), "0.0.0.0/0".into()],
                Match::AnyDestination(IpAddr::V6(_)) => ["-d".into(), "::/0".into()],
                Match::DestinationPort(port) => ["--dport".into(), port.to_string()],
            });
        }
        if time && let Some(last) = last_second(self.rule.until) {
            words.extend(["-m", "time", "--datestop"].map(String::from));
            words.push(last);
        }
        words.extend(["-m", "comment", "--comment"].map(String::from));
        words.push(self.rule.mark());
        words.push("-j".into());
        words.extend(self.target.iter().cloned());
        words
    }
}

/// The last second that the time match knows.
const LAST_OF_TIME_MATCH: u64 = i32::MAX as u64;

/// The last second in which a rule may accept, in UTC, for `--datestop`, which includes it. `None` when
/// the time match cannot say it: it ends in January 2038.
pub fn last_second(until: UnixTime) -> Option<String> {
    let last = until.0.checked_sub(1)?;
    (last <= LAST_OF_TIME_MATCH).then(|| iso(last))
}

/// Seconds since 1970 as `2026-11-22T07:34:29`.
fn iso(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Years that begin in March have the leap day at their end (days_from_civil, turned around).
    let day = days + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grant::Door;

    fn rule(client: &str, port: &str, until: u64) -> Rule {
        let door = Door { client: client.parse().unwrap(), port: port.parse().unwrap() };
        Rule { door, until: UnixTime(until) }
    }

    #[test]
    fn writes_the_words_of_the_original_and_the_time_match_before_the_comment() {
        for (client, port, time, wanted) in [
            (
                "10.77.0.2",
                "tcp/22",
                false,
                "-t filter -p 6 -s 10.77.0.2 -d 0.0.0.0/0 --dport 22 -m comment --comment _exp_1795332870 -j ACCEPT",
            ),
            (
                "10.77.0.2",
                "udp/53",
                true,
                "-t filter -p 17 -s 10.77.0.2 -d 0.0.0.0/0 --dport 53 -m time --datestop 2026-11-22T07:34:29 \
                 -m comment --comment _exp_1795332870 -j ACCEPT",
            ),
            (
                "2001:db8::7",
                "tcp/22",
                false,
                "-t filter -p 6 -s 2001:db8::7 -d ::/0 --dport 22 -m comment --comment _exp_1795332870 -j ACCEPT",
            ),
        ] {
            let text = access(&ChainSpec::input(), rule(client, port, 1_795_332_870));
            assert_eq!(text.words(time).join(" "), wanted);
        }
    }

    #[test]
    fn the_time_match_is_left_out_where_it_cannot_say_the_end() {
        let words = |until| access(&ChainSpec::input(), rule("10.0.0.1", "tcp/1", until)).words(true);
        assert!(words((1 << 31) + 1).iter().all(|word| word != "time"));
        assert!(words(1 << 31).contains(&"2038-01-19T03:14:07".into()));
    }

    #[test]
    fn knows_the_calendar() {
        for (seconds, date) in [
            (0, "1970-01-01T00:00:00"),
            (951_782_399, "2000-02-28T23:59:59"),
            (951_782_400, "2000-02-29T00:00:00"),
            (1_709_251_199, "2024-02-29T23:59:59"),
            (1_709_251_200, "2024-03-01T00:00:00"),
            (1_798_761_599, "2026-12-31T23:59:59"),
            (4_102_444_800, "2100-01-01T00:00:00"),
        ] {
            assert_eq!(iso(seconds), date);
        }
    }
}
