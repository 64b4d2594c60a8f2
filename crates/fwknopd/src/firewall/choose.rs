//! Which firewall runs: the one that FIREWALL_EXE names, or else the one that drops input on this machine.
//!
//! ```text
//! FIREWALL_EXE iptables, iptables-legacy, ... ─▶ iptables        firewall-cmd, pfctl, ipfw ─▶ refused: not served
//! FIREWALL_EXE nft                            ─▶ nftables
//! not set ─▶ who drops?  native nftables ─▶ nftables        iptables-nft, iptables-legacy ─▶ iptables
//!                        several ─▶ refused, by name        nobody ─▶ see `undecided`
//! ```
//!
//! An accept in one of them does not undo a drop in another; so the wrong choice would log doors as open
//! that are not. That is why this looks, and why it does not guess between two.
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::libc;

use super::iptables::Iptables;
use super::nft::Nft;
use super::nft::guard;
use super::nft::place::{Closed, can_drop, is_of_iptables, survey};
use super::nft::ruleset::{INPUT, Ruleset};
use super::nft::socket::Socket;
use super::runner::{Command, Programs, Runner as _};
use super::settings::Settings;
use super::undecided::Undecided;
use super::{Firewall, FirewallError, Notice};

/// How long each firewall program may take.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// The built-in value of FIREWALL_EXE.
pub const BUILT_IN: &str = "/usr/sbin/iptables";

/// A firewall, not prepared yet, and why it is this one.
pub struct Choice {
    /// The firewall.
    pub firewall: Box<dyn Firewall>,
    /// Why, for the log, followed by what a person should know about this choice.
    pub notices: Vec<Notice>,
}

/// Chooses. Changes nothing.
///
/// # Errors
///
/// When FIREWALL_EXE names a firewall that is not served, or several firewalls drop input.
pub fn choose(settings: &Settings) -> Result<Choice, FirewallError> {
    match &settings.exe {
        Some(exe) => by_name(exe, settings),
        None => by_drop(settings),
    }
}

/// Firewalls that the original knows and we do not serve.
const NOT_SERVED: [&str; 4] = ["firewall-cmd", "pfctl", "ipfw", "ipf"];

fn by_name(exe: &Path, settings: &Settings) -> Result<Choice, FirewallError> {
    let name = exe.file_name().unwrap_or_default().to_string_lossy();
    if NOT_SERVED.contains(&name.as_ref()) {
        return Err(FirewallError::Unfit(format!(
            "FIREWALL_EXE {} is not served yet; set it to iptables or nft, or leave it out",
            exe.display()
        )));
    }
    let is_nft = name == "nft";
    let firewall = if is_nft { nft(settings)? } else { iptables(exe, settings) };
    let mut notices = vec![Notice::info(format!("FIREWALL_EXE chooses {}", firewall.name()))];
    if !is_nft && !name.starts_with("iptables") {
        notices.push(Notice::warning(format!("{name} is not a name we know: it is called as iptables would be")));
    }
    // What drops besides is worth a word, but the person has decided.
    if let Ok(found) = Findings::look(settings) {
        let others = if is_nft { [found.iptables_nft, found.legacy].concat() } else { found.native };
        for other in others {
            let text = format!("{other} can drop, too: what it drops stays shut, whatever we open elsewhere");
            notices.push(Notice::warning(text));
        }
    }
    Ok(Choice { firewall, notices })
}

fn by_drop(settings: &Settings) -> Result<Choice, FirewallError> {
    if !settings.nft_input.is_empty() || !settings.default_drop.is_empty() {
        let reason = Notice::info("the settings of nftables choose nftables");
        return Ok(Choice { firewall: nft(settings)?, notices: vec![reason] });
    }
    match Findings::look(settings)?.holder()? {
        Some((holder, reason)) => {
            let notices = vec![Notice::info(format!("{} runs, because {reason} drops", holder.name()))];
            Ok(Choice { firewall: holder.firewall(settings)?, notices })
        }
        None => {
            let firewall: Box<dyn Firewall> = Box::new(Undecided::new(settings)?);
            let warning = Notice::warning(format!(
                "nothing drops input here: every port is open to everybody, with or without a knock. {} is used \
                 until a ruleset that drops is loaded",
                firewall.name()
            ));
            Ok(Choice { firewall, notices: vec![warning] })
        }
    }
}

fn nft(settings: &Settings) -> Result<Box<dyn Firewall>, FirewallError> {
    Ok(Box::new(Nft::new(settings.clone())?))
}

fn iptables(program: &Path, settings: &Settings) -> Box<dyn Firewall> {
    Box::new(Iptables::new(program, settings.clone(), Programs { limit: PATIENCE }))
}

/// Who drops input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Tables of the administrator's own.
    Nft,
    /// Tables made by iptables-nft.
    IptablesNft,
    /// The older tables of iptables.
    IptablesLegacy,
}

impl Holder {
    /// What people call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nft => "nftables",
            Self::IptablesNft => "iptables-nft",
            Self::IptablesLegacy => "iptables-legacy",
        }
    }

    /// The firewall that works there.
    ///
    /// # Errors
    ///
    /// When its program is not installed.
    pub fn firewall(self, settings: &Settings) -> Result<Box<dyn Firewall>, FirewallError> {
        if self == Self::Nft {
            return nft(settings);
        }
        let program = installed(self.name()).ok_or_else(|| {
            FirewallError::Unfit(format!("{} drops input, but its program is not installed", self.name()))
        })?;
        Ok(iptables(&program, settings))
    }
}

/// Where a program is, if it is anywhere.
pub fn installed(name: &str) -> Option<PathBuf> {
    let folders = ["/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/sbin"];
    folders.into_iter().map(|folder| Path::new(folder).join(name)).find(|path| path.exists())
}

/// The chains that can drop input, by who made them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Base chains of native tables.
    pub native: Vec<String>,
    /// Base chains of tables that belong to a process.
    pub closed: Vec<String>,
    /// Base chains of iptables-nft.
    pub iptables_nft: Vec<String>,
    /// Chains of iptables-legacy.
    pub legacy: Vec<String>,
}

impl Findings {
    /// Looks at all of them. A kernel without nftables has no such tables; that is no error.
    ///
    /// # Errors
    ///
    /// When we may not look.
    pub fn look(settings: &Settings) -> Result<Self, FirewallError> {
        let mut found = Self::default();
        match Socket::open().and_then(|mut socket| Ruleset::load(&mut socket)) {
            Ok(ruleset) => found.add_nft(&ruleset, settings)?,
            Err(FirewallError::Kernel { source, .. }) if source.raw_os_error() != Some(libc::EPERM) => {}
            Err(FirewallError::Socket(source)) if source.raw_os_error() == Some(libc::EPROTONOSUPPORT) => {}
            Err(error) => return Err(error),
        }
        for (family, program) in [("ip", "iptables-legacy"), ("ip6", "ip6tables-legacy")] {
            // Only if its table exists already: asking the program would make it.
            let names = std::fs::read_to_string(format!("/proc/net/{family}_tables_names")).unwrap_or_default();
            let program = installed(program).filter(|_| names.lines().any(|name| name == "filter"));
            if let Some(program) = program {
                let command = Command::new(&program, ["-t", "filter", "-S"].map(String::from).to_vec());
                let listing = Programs { limit: PATIENCE }.run(&command)?.text;
                found.legacy.extend(legacy_drops(&listing).then(|| format!("{} INPUT", program.display())));
            }
        }
        Ok(found)
    }

    fn add_nft(&mut self, ruleset: &Ruleset, settings: &Settings) -> Result<(), FirewallError> {
        let survey = survey(ruleset, &settings.nft_input)?;
        // Our own table of an earlier run is native to us, whoever owned it.
        let is_own = |closed: &&Closed| closed.place.table == guard::table();
        let own = survey.closed.iter().filter(is_own).map(|closed| &closed.place);
        self.native = survey.places.iter().chain(own).map(ToString::to_string).collect();
        let owned = survey.closed.iter().filter(|closed| closed.owned && !is_own(closed));
        self.closed = owned.map(ToString::to_string).collect();
        let on_input = ruleset.chains.iter().filter(|chain| chain.hook.is_some_and(|(hook, _)| hook == INPUT));
        let of_iptables = on_input.filter(|chain| is_of_iptables(ruleset, &chain.table) && can_drop(ruleset, chain));
        self.iptables_nft = of_iptables.map(|chain| format!("table {} {}", chain.table, chain.name)).collect();
        Ok(())
    }

    /// The one that drops, and where; `None` if nobody does.
    ///
    /// # Errors
    ///
    /// When several do, or one does that we cannot work with.
    pub fn holder(&self) -> Result<Option<(Holder, String)>, FirewallError> {
        let holders: Vec<(Holder, &Vec<String>)> = [
            (Holder::Nft, &self.native),
            (Holder::IptablesNft, &self.iptables_nft),
            (Holder::IptablesLegacy, &self.legacy),
        ]
        .into_iter()
        .filter(|(_, chains)| !chains.is_empty())
        .collect();
        match holders.as_slice() {
            [] if self.closed.is_empty() => Ok(None),
            [(holder, chains)] if self.closed.is_empty() => Ok(Some((*holder, chains.join(" and ")))),
            several => {
                let mut named: Vec<String> = several
                    .iter()
                    .map(|(holder, chains)| format!("{} ({})", holder.name(), chains.join(", ")))
                    .collect();
                named.extend(self.closed.iter().cloned());
                Err(FirewallError::Unfit(format!(
                    "more than one firewall, or one that is not ours to change, drops input here: {}. An accept in \
                     one does not undo a drop in another. Set FIREWALL_EXE to the one that guards the ports",
                    named.join(" and ")
                )))
            }
        }
    }
}

/// Whether a packet that enters INPUT may be dropped, from the output of `iptables -S`.
fn legacy_drops(listing: &str) -> bool {
    let words: Vec<Vec<&str>> = listing.lines().map(|line| line.split(' ').collect()).collect();
    let targets = |chain: &str| -> Vec<&str> {
        let of_chain = words.iter().filter(|words| words.starts_with(&["-A", chain]));
        let target = |words: &Vec<&'_ str>| words.iter().position(|word| matches!(*word, "-j" | "-g")).map(|at| at + 1);
        of_chain.filter_map(|words| words.get(target(words)?).copied()).collect()
    };
    let (mut seen, mut ahead) = (vec!["INPUT"], vec!["INPUT"]);
    while let Some(chain) = ahead.pop() {
        for target in targets(chain) {
            if matches!(target, "DROP" | "REJECT" | "TARPIT") {
                return true;
            }
            if !seen.contains(&target) {
                seen.push(target);
                ahead.push(target);
            }
        }
    }
    listing.lines().any(|line| line == "-P INPUT DROP")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legacy_chains_drop_by_policy_by_rule_and_by_jump() {
        for (listing, drops) in [
            ("-P INPUT ACCEPT\n-P FORWARD DROP\n", false),
            ("-P INPUT DROP\n", true),
            ("-P INPUT ACCEPT\n-A INPUT -p tcp -m tcp --dport 22 -j DROP\n", true),
            ("-P INPUT ACCEPT\n-N ufw\n-A ufw -j REJECT --reject-with icmp-port-unreachable\n", false),
            ("-P INPUT ACCEPT\n-N ufw\n-A INPUT -j ufw\n-A ufw -j REJECT --reject-with x\n", true),
            ("-P INPUT ACCEPT\n-N a\n-A INPUT -j a\n-A a -g a\n", false),
        ] {
            assert_eq!(legacy_drops(listing), drops, "{listing}");
        }
    }

    #[test]
    fn the_one_that_drops_is_chosen_and_two_are_refused_by_name() {
        let chains = |text: &str| vec![text.to_owned()];
        let native = Findings { native: chains("table inet filter input"), ..Findings::default() };
        assert_eq!(native.holder().unwrap().unwrap().0, Holder::Nft);
        let legacy = Findings { legacy: chains("iptables-legacy INPUT"), ..Findings::default() };
        assert_eq!(legacy.holder().unwrap().unwrap().0, Holder::IptablesLegacy);
        assert_eq!(Findings::default().holder().unwrap(), None);
        let both = Findings { iptables_nft: chains("table ip filter INPUT"), ..native };
        let text = both.holder().unwrap_err().to_string();
        assert!(text.contains("inet filter input") && text.contains("ip filter INPUT"), "{text}");
        let closed = Findings { closed: chains("inet firewalld filter_INPUT"), ..Findings::default() };
        assert!(closed.holder().unwrap_err().to_string().contains("firewalld"));
    }

    #[test]
    fn firewalls_that_are_not_served_are_refused_by_name() {
        for exe in ["/usr/bin/firewall-cmd", "/sbin/pfctl", "/sbin/ipfw"] {
            let settings = Settings { exe: Some(exe.into()), ..Settings::default() };
            let error = choose(&settings).err().unwrap().to_string();
            assert!(error.contains(exe) && error.contains("not served yet"), "{error}");
        }
    }
}
