//! A firewall that is a list: for tests of everything above the firewalls.
//!
//! It keeps what is open, and can be told to fail or to lose its rules as if somebody had reloaded the
//! ruleset. No kernel, no root.
use std::os::fd::BorrowedFd;

use spa::UnixTime;

use super::{Added, Firewall, FirewallError, Listing, Notice, Opened, Removed};
use crate::grant::{Grant, Rule};

/// The chain that rules of this firewall are said to be in.
const CHAIN: &str = "FWKNOP_INPUT";

/// What a real firewall would hold, in the open.
#[derive(Debug, Default)]
pub struct Memory {
    /// Our rules, oldest first.
    pub rules: Vec<Rule>,
    /// Rules of others with an end in their comment.
    pub foreign: Vec<Rule>,
    /// As long as this is set, every request fails with this text.
    pub failure: Option<String>,
    /// Every call, as one word: `prepare`, `open`, ...
    pub calls: Vec<&'static str>,
}

impl Memory {
    fn called(&mut self, call: &'static str) -> Result<(), FirewallError> {
        self.calls.push(call);
        match &self.failure {
            Some(text) => Err(FirewallError::Unfit(text.clone())),
            None => Ok(()),
        }
    }
}

impl Firewall for Memory {
    fn name(&self) -> &str {
        "memory"
    }

    fn prepare(&mut self, now: UnixTime) -> Result<Vec<Notice>, FirewallError> {
        self.called("prepare")?;
        self.rules.retain(|rule| rule.until > now);
        Ok(Vec::new())
    }

    fn open(&mut self, grant: &Grant, _now: UnixTime) -> Result<Opened, FirewallError> {
        self.called("open")?;
        let new: Vec<Rule> = grant.rules().filter(|rule| !self.rules.contains(rule)).collect();
        self.rules.extend(&new);
        let added = new.into_iter().map(|rule| Added { rule, chain: CHAIN.into(), label: "access" }).collect();
        Ok(Opened { notices: Vec::new(), added })
    }

    fn close(&mut self, ended: &[Rule], now: UnixTime) -> Result<Vec<Removed>, FirewallError> {
        self.called("close")?;
        let ours = self.rules.iter().map(|rule| (rule, ended.contains(rule)));
        let theirs = self.foreign.iter().map(|rule| (rule, rule.until <= now));
        let removed = (1..)
            .zip(ours.chain(theirs))
            .filter(|(_, (_, gone))| *gone)
            .map(|(number, (rule, _))| Removed { number, chain: CHAIN.into(), end: rule.until })
            .collect();
        self.rules.retain(|rule| !ended.contains(rule));
        self.foreign.retain(|rule| rule.until > now);
        Ok(removed)
    }

    fn revoke(&mut self, rules: &[Rule]) -> Result<(), FirewallError> {
        self.called("revoke")?;
        self.rules.retain(|rule| !rules.contains(rule));
        Ok(())
    }

    fn foreign_end(&self) -> Option<UnixTime> {
        self.foreign.iter().map(|rule| rule.until).min()
    }

    fn events(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn mend(&mut self, open: &[Rule], now: UnixTime) -> Result<Vec<Notice>, FirewallError> {
        self.called("mend")?;
        let lost = |rule: &&Rule| rule.until > now && !self.rules.contains(rule);
        let lost: Vec<Rule> = open.iter().filter(lost).copied().collect();
        self.rules.extend(lost);
        Ok(Vec::new())
    }

    fn list(&mut self, _what: Listing) -> Result<String, FirewallError> {
        self.called("list")?;
        let lines = self.rules.iter().map(|rule| format!("{} /* {} */\n", rule.door, rule.mark()));
        Ok(format!("\nChain {CHAIN} (1 references)\n{}", lines.collect::<String>()))
    }

    fn flush(&mut self) -> Result<(), FirewallError> {
        self.called("flush")?;
        self.rules.clear();
        Ok(())
    }

    fn retire(&mut self) -> Result<(), FirewallError> {
        self.called("retire")?;
        self.rules.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_opened_is_there_until_it_is_closed() {
        let mut firewall = Memory::default();
        let grant = Grant {
            stanza: 1,
            client: "10.0.0.7".parse().unwrap(),
            ports: "tcp/22,tcp/80".parse().unwrap(),
            until: UnixTime(30),
        };
        let opened = firewall.open(&grant, UnixTime(0)).unwrap();
        assert_eq!(
            opened.added[0].line(&grant),
            "Added access rule to FWKNOP_INPUT for 10.0.0.7 -> 0.0.0.0/0 tcp/22,tcp/80, expires at 30"
        );
        assert!(firewall.open(&grant, UnixTime(0)).unwrap().added.is_empty(), "open already");
        let ended: Vec<Rule> = grant.rules().collect();
        let removed = firewall.close(&ended, UnixTime(30)).unwrap();
        assert_eq!(removed[1].to_string(), "Removed rule 2 from FWKNOP_INPUT with expire time of 30");
        assert!(firewall.rules.is_empty());
    }
}
