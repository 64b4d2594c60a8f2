//! What the back ends need to know of the configuration, as plain values.
//!
//! The firewalls do not read fwknopd.conf: whoever starts one turns its settings into this.
use std::path::PathBuf;
use std::str::FromStr;

use spa::PortSpec;

use super::ChainSpec;

/// The settings of the firewalls. [`Settings::default`] has the built-in values of fwknopd.conf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `FIREWALL_EXE` if the configuration sets it; its base name decides which firewall runs.
    pub exe: Option<PathBuf>,
    /// `IPT_INPUT_ACCESS`. For nft only the name of our chain is taken from it.
    pub input: ChainSpec,
    /// `FLUSH_IPT_AT_INIT`: take away what an earlier run left; otherwise it is kept to its end.
    pub flush_at_start: bool,
    /// `FLUSH_IPT_AT_EXIT`: take everything of ours away at a clean exit.
    pub flush_at_exit: bool,
    /// `ENABLE_RULE_PREPEND`: new rules at the top of the chain (iptables; the order of doors means nothing to nft).
    pub prepend: bool,
    /// `ENABLE_IPT_COMMENT_CHECK`: prove at start that rules can carry their end in a comment.
    pub comment_check: bool,
    /// `NFT_INPUT`: the base chains that get a jump to ours; empty: all that can drop.
    pub nft_input: Vec<NftInput>,
    /// Ports that a table of our own closes to everybody without a grant, the SPA port included; empty:
    /// no such table.
    pub default_drop: Vec<PortSpec>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            exe: None,
            input: ChainSpec::input(),
            flush_at_start: true,
            flush_at_exit: true,
            prepend: false,
            comment_check: true,
            nft_input: Vec::new(),
            default_drop: Vec::new(),
        }
    }
}

/// One `NFT_INPUT family table chain`: a base chain of the administrator's own ruleset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NftInput {
    /// `ip`, `ip6` or `inet`.
    pub family: Family,
    /// The table's name.
    pub table: String,
    /// The base chain's name.
    pub chain: String,
}

impl FromStr for NftInput {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split_ascii_whitespace();
        let (Some(family), Some(table), Some(chain), None) = (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(format!("'{text}' is not a family, a table and a chain, as in: inet filter input"));
        };
        let family = Family::ALL
            .into_iter()
            .find(|known| known.name() == family)
            .ok_or_else(|| format!("'{family}' is not a family we can work in; use inet, ip or ip6"))?;
        Ok(Self { family, table: table.into(), chain: chain.into() })
    }
}

/// The families of nftables whose input hook sees what is meant for this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4 and IPv6.
    Inet,
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Inet, Self::Ip, Self::Ip6];

    /// The kernel's number.
    pub const fn number(self) -> u8 {
        match self {
            Self::Inet => 1,
            Self::Ip => 2,
            Self::Ip6 => 10,
        }
    }

    /// The word `nft` has for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inet => "inet",
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_where_the_jump_goes() {
        let wanted = NftInput { family: Family::Inet, table: "filter".into(), chain: "input".into() };
        assert_eq!("inet filter input".parse(), Ok(wanted));
        assert!("inet filter".parse::<NftInput>().is_err());
        assert!("arp filter input".parse::<NftInput>().unwrap_err().contains("inet, ip or ip6"));
    }
}
