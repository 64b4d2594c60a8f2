//! The firewall of a machine where nothing drops input yet, as when we start before its rules are loaded.
//!
//! It works as the original would, with the built-in iptables (or nftables where there is no iptables), and
//! looks again at each grant: once something drops, the firewall that drops takes over. Without this, a
//! ruleset that is loaded after us could drop what we have logged as open.
use std::os::fd::BorrowedFd;
use std::path::Path;

use spa::UnixTime;

use super::choose::{BUILT_IN, Findings, Holder, PATIENCE, installed};
use super::iptables::Iptables;
use super::nft::Nft;
use super::runner::Programs;
use super::settings::Settings;
use super::{Firewall, FirewallError, Listing, Notice, Opened, Removed};
use crate::grant::{Grant, Rule};

/// Works with one firewall until another one drops.
pub struct Undecided {
    settings: Settings,
    now: Box<dyn Firewall>,
    holder: Option<Holder>,
    /// What was opened before anything dropped; it must be open afterwards, too.
    grants: Vec<Grant>,
}

impl Undecided {
    /// Begins with the built-in firewall, or the one that is there.
    ///
    /// # Errors
    ///
    /// When there is neither iptables nor nftables.
    pub fn new(settings: &Settings) -> Result<Self, FirewallError> {
        let own = settings.clone();
        let built_in = Path::new(BUILT_IN);
        let program = if built_in.exists() { Some(built_in.to_owned()) } else { installed("iptables") };
        let now: Box<dyn Firewall> = match program {
            Some(program) => Box::new(Iptables::new(&program, own, Programs { limit: PATIENCE })),
            None => Box::new(Nft::new(own)?),
        };
        Ok(Self { settings: settings.clone(), now, holder: None, grants: Vec::new() })
    }

    /// Moves to the firewall that drops, if one does by now.
    fn decide(&mut self, now: UnixTime) -> Result<Vec<Notice>, FirewallError> {
        if self.holder.is_some() {
            return Ok(Vec::new());
        }
        let Some((holder, place)) = Findings::look(&self.settings)?.holder()? else {
            return Ok(Vec::new());
        };
        let mut notices = vec![Notice::warning(format!("{} takes over, because {place} drops now", holder.name()))];
        self.now.flush()?;
        self.now = holder.firewall(&self.settings)?;
        notices.extend(self.now.prepare(now)?);
        for grant in self.grants.drain(..).filter(|grant| grant.until > now) {
            self.now.open(&grant, now)?;
        }
        self.holder = Some(holder);
        Ok(notices)
    }
}

impl Firewall for Undecided {
    fn name(&self) -> &str {
        self.now.name()
    }

    fn prepare(&mut self, now: UnixTime) -> Result<Vec<Notice>, FirewallError> {
        self.now.prepare(now)
    }

    fn open(&mut self, grant: &Grant, now: UnixTime) -> Result<Opened, FirewallError> {
        let mut notices = self.decide(now)?;
        let mut opened = self.now.open(grant, now)?;
        notices.append(&mut opened.notices);
        if self.holder.is_none() {
            self.grants.retain(|grant| grant.until > now);
            self.grants.push(grant.clone());
        }
        Ok(Opened { notices, ..opened })
    }

    fn close(&mut self, ended: &[Rule], now: UnixTime) -> Result<Vec<Removed>, FirewallError> {
        self.now.close(ended, now)
    }

    fn revoke(&mut self, rules: &[Rule]) -> Result<(), FirewallError> {
        self.grants.retain(|grant| !grant.rules().any(|rule| rules.contains(&rule)));
        self.now.revoke(rules)
    }

    fn foreign_end(&self) -> Option<UnixTime> {
        self.now.foreign_end()
    }

    fn events(&self) -> Option<BorrowedFd<'_>> {
        self.now.events()
    }

    fn mend(&mut self, open: &[Rule], now: UnixTime) -> Result<Vec<Notice>, FirewallError> {
        self.now.mend(open, now)
    }

    fn list(&mut self, what: Listing) -> Result<String, FirewallError> {
        self.now.list(what)
    }

    fn flush(&mut self) -> Result<(), FirewallError> {
        self.now.flush()
    }

    fn retire(&mut self) -> Result<(), FirewallError> {
        self.now.retire()
    }

    fn trace(&mut self) -> Vec<Notice> {
        self.now.trace()
    }
}
