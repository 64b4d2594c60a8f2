//! The server's firewall, as the kernel lists it.
//!
//! What a scenario believes about doors it reads here, never in the log of the daemon under test.

use std::net::IpAddr;

use serde_json::Value;

use crate::host::Host;
use crate::now;

/// Which firewall keeps port 22 of the server hidden, and so must be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wall {
    /// iptables, with chains as the original lays them out.
    Iptables,
    /// The administrator's own nftables ruleset.
    Nft,
}

/// A door that stands open, as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Door {
    /// Who may come.
    pub client: IpAddr,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// To which port.
    pub port: u16,
    /// Unix time at which it ends, rounded up; `None` if nothing says so.
    pub ends: Option<u64>,
}

/// A ruleset as an administrator would write it: established connections live on, port 22 is hidden, IPv4 and IPv6.
pub const NFT_RULES: &str = "\
table inet filter {
	chain input {
		type filter hook input priority filter; policy accept;
		ct state established,related accept
		tcp dport { 22, 2222 } drop
	}
}
";

impl Wall {
    /// The value of `FIREWALL_EXE`.
    pub fn firewall_exe(self) -> &'static str {
        match self {
            Self::Iptables => "/sbin/iptables",
            Self::Nft => "/usr/sbin/nft",
        }
    }

    /// Hides port 22 (and 2222), as the tutorial says: drop, but let established connections live on.
    pub fn raise(self, server: &Host) {
        match self {
            Self::Iptables => {
                for iptables in ["iptables", "ip6tables"] {
                    server.sh(&format!(
                        "{iptables} -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT && \
                         {iptables} -A INPUT -p tcp -m multiport --dports 22,2222 -j DROP"
                    ));
                }
            }
            Self::Nft => self.reload(server),
        }
    }

    /// Loads the administrator's ruleset anew, as a boot or a careless hand would: flush, then all of it.
    pub fn reload(self, server: &Host) {
        let file = server.home().join("rules.nft");
        std::fs::write(&file, format!("flush ruleset\n{NFT_RULES}")).expect("the lab's folder can be written");
        server.must(&["nft", "-f", &file.to_string_lossy()]);
    }

    /// The whole ruleset, as text, without counters.
    pub fn listing(self, server: &Host) -> String {
        match self {
            Self::Iptables => server.sh("iptables -S; ip6tables -S"),
            Self::Nft => server.must(&["nft", "-s", "list", "ruleset"]),
        }
    }

    /// All doors that are open, for IPv4 and IPv6.
    pub fn doors(self, server: &Host) -> Vec<Door> {
        match self {
            Self::Iptables => {
                let listing =
                    server.sh("iptables -S FWKNOP_INPUT 2>/dev/null; ip6tables -S FWKNOP_INPUT 2>/dev/null; true");
                listing.lines().filter_map(iptables_door).collect()
            }
            Self::Nft => nft_doors(&server.must(&["nft", "-j", "list", "ruleset"])),
        }
    }

    /// The one door there is.
    ///
    /// # Panics
    /// When there is none, or more than one.
    pub fn only_door(self, server: &Host) -> Door {
        let mut doors = self.doors(server);
        assert_eq!(doors.len(), 1, "expected one door: {doors:?}\n{}", self.listing(server));
        doors.remove(0)
    }
}

/// `-A FWKNOP_INPUT -s 192.0.2.10/32 -p tcp -m tcp --dport 22 … --comment _exp_1795332870 -j ACCEPT`
fn iptables_door(line: &str) -> Option<Door> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let after = |flag: &str| words.iter().position(|word| *word == flag).and_then(|at| words.get(at + 1)).copied();
    Some(Door {
        client: after("-s")?.split('/').next()?.parse().ok()?,
        protocol: after("-p")?.to_owned(),
        port: after("--dport")?.parse().ok()?,
        ends: after("--comment").and_then(|comment| comment.trim_matches('"').strip_prefix("_exp_")?.parse().ok()),
    })
}

/// Every element `address . protocol . port` of every set, whatever the sets are called.
fn nft_doors(json: &str) -> Vec<Door> {
    let listing: Value = serde_json::from_str(json).expect("nft -j prints JSON");
    let objects = listing["nftables"].as_array().cloned().unwrap_or_default();
    let sets = objects.iter().filter_map(|object| object["set"]["elem"].as_array());
    sets.flatten().filter_map(nft_door).collect()
}

fn nft_door(element: &Value) -> Option<Door> {
    let (value, expires) = match element.get("elem") {
        Some(elem) => (&elem["val"], elem["expires"].as_u64()),
        None => (element, None),
    };
    let [client, protocol, port] = value["concat"].as_array()?.as_slice() else {
        return None;
    };
    Some(Door {
        client: client.as_str()?.parse().ok()?,
        protocol: protocol.as_str()?.to_owned(),
        port: u16::try_from(port.as_u64()?).ok()?,
        // nft rounds what is left down, and so does the clock.
        ends: expires.map(|seconds| now() + seconds + 1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_rule_of_the_original() {
        let door = iptables_door(
            "-A FWKNOP_INPUT -s 10.77.0.2/32 -p tcp -m tcp --dport 22 -m comment --comment _exp_1795332870 -j ACCEPT",
        );
        let expected =
            Door { client: [10, 77, 0, 2].into(), protocol: "tcp".into(), port: 22, ends: Some(1_795_332_870) };
        assert_eq!(door, Some(expected));
    }

    #[test]
    fn reads_an_element_with_its_remaining_time() {
        let json = r#"{"nftables":[{"set":{"name":"x","elem":[{"elem":{"val":{"concat":["2001:db8::7","tcp",22]},"timeout":30,"expires":29}}]}}]}"#;
        let doors = nft_doors(json);
        assert_eq!(doors.len(), 1);
        assert_eq!(doors[0].port, 22);
        assert!(doors[0].ends.is_some_and(|end| end >= now() + 28));
    }

    #[test]
    fn a_set_of_port_numbers_is_no_door() {
        assert_eq!(nft_doors(r#"{"nftables":[{"set":{"name":"x","elem":[22,2222]}}]}"#), []);
    }
}
