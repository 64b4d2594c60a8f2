//! What a knock earns: leave for one address to reach some ports until a given second.
//!
//! ```text
//! Grant { 10.0.0.7, tcp/22 + udp/53, until E }  ─▶  Rule { Door 10.0.0.7 → tcp/22, E }
//!                                                   Rule { Door 10.0.0.7 → udp/53, E }
//! ```
//!
//! A [`Grant`] is what the ledger and the log speak of, a [`Rule`] what a firewall holds. Nothing here
//! knows how a firewall writes it down, except for the mark with the end that all of them share.
use std::fmt;
use std::net::IpAddr;

use spa::{PortList, PortSpec, UnixTime};

/// One client and one port it may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Door {
    /// The address that is let in.
    pub client: IpAddr,
    /// The port of ours it is let in to.
    pub port: PortSpec,
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.client, self.port)
    }
}

/// Leave for one client to reach certain ports until a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The stanza of access.conf that allowed it, from 1.
    pub stanza: u32,
    /// The address that is let in.
    pub client: IpAddr,
    /// The ports, in the order the client asked for them.
    pub ports: PortList,
    /// The first second in which the doors are closed again.
    pub until: UnixTime,
}

impl Grant {
    /// The doors of this grant, in the order of its ports.
    pub fn doors(&self) -> impl Iterator<Item = Door> + '_ {
        self.ports.iter().map(|port| Door { client: self.client, port: *port })
    }

    /// The doors with their common end.
    pub fn rules(&self) -> impl Iterator<Item = Rule> + '_ {
        self.doors().map(|door| Rule { door, until: self.until })
    }
}

/// One door with its end, as a firewall holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rule {
    /// Who may reach what.
    pub door: Door,
    /// The first second in which it is closed again.
    pub until: UnixTime,
}

impl Rule {
    /// The mark that says in every firewall when this rule ends: `_exp_1795332870`.
    pub fn mark(&self) -> String {
        format!("{MARK}{}", self.until.0)
    }
}

const MARK: &str = "_exp_";
/// How much after the mark can belong to it; what is longer is not a time.
const LONGEST_END: usize = 11;

/// The end that a rule's comment speaks of, read as the original reads it (server specification,
/// section 9.1.7): the mark may stand anywhere, then come digits only, then a blank or the end.
/// `None` for comments without such a mark: those rules are nobody's business but their maker's.
///
/// ```
/// # use fwknopd::grant::end_in_comment;
/// assert_eq!(end_in_comment("for bob _exp_1795332870"), Some(spa::UnixTime(1_795_332_870)));
/// assert_eq!(end_in_comment("_exp_1795332870abc"), None);
/// ```
pub fn end_in_comment(comment: &str) -> Option<UnixTime> {
    comment.match_indices(MARK).find_map(|(at, _)| {
        let after = comment.get(at + MARK.len()..)?;
        let field: String = after.chars().take(LONGEST_END).take_while(|c| *c != '*').collect();
        let digits = field.trim_end();
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| digits.parse().ok().map(UnixTime))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_end_where_the_original_finds_it() {
        for (comment, end) in [
            ("_exp_1795332870", Some(1_795_332_870)),
            ("x_exp_1795332870", Some(1_795_332_870)),
            ("_exp_1795332870 by hand", Some(1_795_332_870)),
            ("_exp_12", Some(12)),
            ("_exp_12 by hand", None),
            ("_exp_1795332870abc", None),
            ("_exp_abc", None),
            ("_exp_", None),
            ("_exp_abc _exp_5", Some(5)),
            ("a rule of the house", None),
        ] {
            assert_eq!(end_in_comment(comment), end.map(UnixTime), "{comment}");
        }
    }

    #[test]
    fn a_grant_is_one_rule_for_each_port() {
        let grant = Grant {
            stanza: 1,
            client: "10.0.0.7".parse().unwrap(),
            ports: "tcp/22,udp/53".parse().unwrap(),
            until: UnixTime(5),
        };
        let doors: Vec<String> = grant.doors().map(|door| door.to_string()).collect();
        assert_eq!(doors, ["10.0.0.7 -> tcp/22", "10.0.0.7 -> udp/53"]);
        assert!(grant.rules().all(|rule| rule.mark() == "_exp_5"));
    }
}
