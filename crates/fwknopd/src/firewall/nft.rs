//! The firewall of nftables, over netlink: no program is run, a grant is one message.
//!
//! ```text
//! the administrator's table     ┌─ chain input { jump FWKNOP_INPUT ; ... drop }
//! (one or more)                 ├─ chain FWKNOP_INPUT { addr . proto . port in set: accept }
//!                               └─ set FWKNOP_INPUT4, FWKNOP_INPUT6: the doors, each with its time to live
//! ```
//!
//! A jump reaches only chains of its own table, so ours lives in the administrator's; we listen for
//! changes and put back what a reload took away. The kernel takes elements out by itself at their end,
//! whether we live or not. Several grants for one door are one element, with the latest end.
use std::collections::BTreeSet;
use std::os::fd::{AsFd as _, BorrowedFd};

use spa::UnixTime;

use self::changes::{Changes, Told, concerns_doors};
use self::doors::Version;
use self::repair::{Foreign, Repair};
use self::ruleset::{Element, Ruleset, TableId};
use self::socket::{Batch, Socket};
use super::settings::Settings;
use super::{Added, Firewall, FirewallError, Listing, Notice, Opened, Removed};
use crate::grant::{Grant, Rule};

pub mod changes;
pub mod doors;
pub mod guard;
mod listing;
pub mod message;
pub mod place;
pub mod repair;
pub mod ruleset;
pub mod socket;

/// How often a change is tried that somebody else's change got in the way of.
const TRIES: usize = 3;

/// Our part of the ruleset.
#[derive(Debug)]
pub struct Nft {
    settings: Settings,
    socket: Socket,
    changes: Changes,
    /// The tables that doors are opened in.
    tables: BTreeSet<TableId>,
    /// The rules we opened.
    held: BTreeSet<Rule>,
    /// Rules of an earlier run that have not ended.
    adopted: BTreeSet<Rule>,
    /// What others put into our chain and sets.
    foreign: Vec<Foreign>,
    /// What was said about the ruleset, so as not to say it again at each change.
    warned: Vec<String>,
}

impl Nft {
    /// Connects to nftables. Nothing is changed before [`Firewall::prepare`].
    ///
    /// # Errors
    ///
    /// When this kernel has no nftables or we may not talk to it.
    pub fn new(settings: Settings) -> Result<Self, FirewallError> {
        let (socket, changes) = (Socket::open()?, Changes::open()?);
        let (tables, held, adopted) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let (foreign, warned) = (Vec::new(), Vec::new());
        Ok(Self { settings, socket, changes, tables, held, adopted, foreign, warned })
    }

    fn chain(&self) -> String {
        self.settings.input.to_chain.clone()
    }

    /// Whether somebody else changed something that concerns us, since we last asked.
    fn was_changed(&self) -> bool {
        let (own, chain) = (self.socket.port(), &self.settings.input.to_chain);
        self.changes.told(|message| concerns_doors(message, own, chain)) == Told::OfUs
    }

    /// Looks at everything and puts right what is not; tries again when others change it meanwhile.
    fn repair(&mut self, now: UnixTime, anew: bool) -> Result<Vec<Notice>, FirewallError> {
        let mut outcome = self.repair_once(now, anew);
        for _ in 1..TRIES {
            match outcome {
                Err(FirewallError::Kernel { .. }) => outcome = self.repair_once(now, anew),
                _ => break,
            }
        }
        outcome
    }

    fn repair_once(&mut self, now: UnixTime, anew: bool) -> Result<Vec<Notice>, FirewallError> {
        let chain = self.chain();
        let ruleset = Ruleset::load(&mut self.socket)?;
        let mut repair = Repair::default();
        let closed = &self.settings.default_drop;
        let guarded = !closed.is_empty();
        let rebuild = guarded && (anew || !guard::stands(&ruleset, &chain, closed));
        if rebuild {
            repair.notices.extend(guard::build(&mut self.socket, &ruleset, &chain, closed)?);
        }
        let mut survey = place::survey(&ruleset, &self.settings.nft_input)?;
        if guarded {
            survey.places.retain(|place| place.table != guard::table());
            survey.closed.retain(|closed| closed.place.table != guard::table());
        }
        repair::structure(&mut repair, &ruleset, &survey, &chain);
        self.tables = survey.places.iter().map(|place| place.table.clone()).collect();
        self.tables.extend(guarded.then(guard::table));
        let wanted = repair::strongest(self.held.union(&self.adopted));
        for table in &self.tables {
            // Our own table holds nothing if it was built just now, whatever it held before.
            let empty = rebuild && *table == guard::table();
            let held = if empty { Vec::new() } else { elements(&mut self.socket, &ruleset, table, &chain)? };
            repair::contents(&mut repair, &ruleset, table, &chain, &held, &wanted, now);
        }
        self.socket.commit(&repair.batch)?;
        self.foreign = std::mem::take(&mut repair.foreign);
        if repair.reopened > 0 {
            let text = format!("put back {} doors that were gone from chain {chain}", repair.reopened);
            repair.notices.push(Notice::warning(text));
        }
        let warnings = survey.warnings(&self.tables);
        let news = warnings.iter().filter(|text| !self.warned.contains(text));
        repair.notices.extend(news.map(Notice::warning));
        self.warned = warnings;
        Ok(repair.notices)
    }

    /// The tables that see this client.
    fn tables_for(&self, rule: &Rule) -> impl Iterator<Item = &TableId> {
        let version = Version::of_client(rule.door.client);
        self.tables.iter().filter(move |table| Version::of(table.family).contains(&version))
    }

    /// The latest end that we hold for the door of a rule.
    fn latest(&self, rule: &Rule) -> Option<UnixTime> {
        let first = Rule { until: UnixTime(0), ..*rule };
        let last = Rule { until: UnixTime(u64::MAX), ..*rule };
        let of = |set: &BTreeSet<Rule>| set.range(first..=last).next_back().map(|rule| rule.until);
        of(&self.held).max(of(&self.adopted))
    }

    /// The changes that open the doors of a grant, as far as they are not open for as long already.
    fn opening(&self, grant: &Grant, now: UnixTime) -> Batch {
        let (mut batch, chain) = (Batch::default(), self.chain());
        for rule in grant.rules().filter(|rule| self.latest(rule).is_none_or(|end| end < rule.until)) {
            let left = doors::left(&rule, now);
            for table in self.tables_for(&rule).filter(|_| left > 0) {
                doors::open(&mut batch, table, &chain, &rule, left);
            }
        }
        batch
    }

    /// Shuts doors for which we hold no other rule.
    fn shut(&mut self, rules: &[Rule], batch: &mut Batch) {
        let chain = self.chain();
        for rule in rules.iter().filter(|rule| self.latest(rule).is_none()) {
            self.tables_for(rule).for_each(|table| doors::close(batch, table, &chain, &rule.door));
        }
    }
}

/// What our sets in a table hold.
fn elements(
    socket: &mut Socket,
    ruleset: &Ruleset,
    table: &TableId,
    chain: &str,
) -> Result<Vec<Element>, FirewallError> {
    let mut all = Vec::new();
    for set in Version::of(table.family).iter().map(|version| version.set(chain)) {
        if ruleset.set(table, &set).is_some() {
            all.extend(ruleset::load_elements(socket, table, &set)?);
        }
    }
    Ok(all)
}

impl Firewall for Nft {
    fn name(&self) -> &str {
        "nftables"
    }

    fn prepare(&mut self, now: UnixTime) -> Result<Vec<Notice>, FirewallError> {
        if !self.settings.input.is_enabled() {
            return Err(FirewallError::Unfit(
                "IPT_INPUT_ACCESS has no target, so no door can be opened; write ACCEPT there".into(),
            ));
        }
        let chain = self.chain();
        self.was_changed(); // what was told until now is in what we read next
        let ruleset = Ruleset::load(&mut self.socket)?;
        let mut sweep = Batch::default();
        let mut notices = Vec::new();
        if self.settings.default_drop.is_empty() && guard::remove(&mut self.socket, &ruleset, &chain)? {
            notices.push(Notice::info("the table fwknop of an earlier run closes no ports any more: it is deleted"));
        }
        for table in repair::tables_with(&ruleset, &chain) {
            if self.settings.flush_at_start {
                if table != guard::table() {
                    repair::remove(&mut sweep, &ruleset, &table, &chain);
                }
            } else if table != guard::table() || !self.settings.default_drop.is_empty() {
                let left = elements(&mut self.socket, &ruleset, &table, &chain)?;
                let mut found = Repair::default();
                repair::contents(&mut found, &ruleset, &table, &chain, &left, &repair::strongest([]), now);
                let rules = found.foreign.iter().filter_map(|foreign| match foreign {
                    Foreign::Element { rule, .. } if rule.until > now => Some(*rule),
                    _ => None,
                });
                self.adopted.extend(rules);
            }
        }
        self.socket.commit(&sweep)?;
        notices.extend(self.repair(now, true)?);
        let swept = self.close(&[], now)?;
        notices.extend(swept.iter().map(|rule| Notice::info(rule.to_string())));
        Ok(notices)
    }

    fn open(&mut self, grant: &Grant, now: UnixTime) -> Result<Opened, FirewallError> {
        let mut opened = Opened::default();
        if self.was_changed() {
            opened.notices = self.repair(now, false)?;
        }
        for rule in grant.rules() {
            if self.tables_for(&rule).next().is_none() {
                let reason = "nothing that we can work in drops what comes from such addresses".into();
                return Err(FirewallError::NoPlace { client: grant.client, reason });
            }
        }
        if let Err(first) = self.socket.commit(&self.opening(grant, now)) {
            // Somebody may have reloaded the rules this very moment: look, and try once more.
            opened.notices.extend(self.repair(now, false).map_err(|_| first)?);
            self.socket.commit(&self.opening(grant, now))?;
        }
        for rule in grant.rules().filter(|rule| rule.until > now) {
            if self.held.insert(rule) {
                opened.added.push(Added { rule, chain: self.chain(), label: "access" });
            }
        }
        Ok(opened)
    }

    fn close(&mut self, ended: &[Rule], now: UnixTime) -> Result<Vec<Removed>, FirewallError> {
        let gone: BTreeSet<&Rule> = ended.iter().collect();
        let (chain, mut removed) = (self.chain(), Vec::new());
        let adopted: Vec<Rule> = self.adopted.iter().filter(|rule| rule.until <= now).copied().collect();
        for (number, rule) in (1..).zip(self.held.union(&self.adopted)) {
            if gone.contains(rule) || adopted.contains(rule) {
                removed.push(Removed { number, chain: chain.clone(), end: rule.until });
            }
        }
        self.held.retain(|rule| !gone.contains(rule));
        self.adopted.retain(|rule| rule.until > now && !gone.contains(rule));
        if self.was_changed() {
            self.repair(now, false)?; // or the tables that we know may not be there any more
        }
        let mut batch = Batch::default();
        self.shut(ended, &mut batch);
        self.shut(&adopted, &mut batch);
        if let Err(error) = self.socket.commit(&batch) {
            // Whoever asked will ask again for theirs; for the others this is when.
            self.held.extend(ended);
            self.adopted.extend(adopted.iter().map(|rule| Rule { until: UnixTime(now.0 + 1), ..*rule }));
            return Err(error);
        }
        let before = self.held.len() + self.adopted.len() + removed.len();
        let over: Vec<Foreign> = self.foreign.extract_if(.., |foreign| foreign.end() <= now).collect();
        for (number, foreign) in (before + 1..).zip(&over) {
            let mut batch = Batch::default();
            foreign.delete(&mut batch, &chain);
            // Gone already is as good; what is still there will be found at the next look.
            if self.socket.commit(&batch).is_ok() {
                removed.push(Removed { number, chain: chain.clone(), end: foreign.end() });
            }
        }
        Ok(removed)
    }

    fn revoke(&mut self, rules: &[Rule]) -> Result<(), FirewallError> {
        self.held.retain(|rule| !rules.contains(rule));
        self.adopted.retain(|rule| !rules.contains(rule));
        let mut batch = Batch::default();
        self.shut(rules, &mut batch);
        self.socket.commit(&batch)
    }

    fn foreign_end(&self) -> Option<UnixTime> {
        let foreign = self.foreign.iter().map(Foreign::end);
        foreign.chain(self.adopted.iter().map(|rule| rule.until)).min()
    }

    fn events(&self) -> Option<BorrowedFd<'_>> {
        Some(self.changes.as_fd())
    }

    fn mend(&mut self, open: &[Rule], now: UnixTime) -> Result<Vec<Notice>, FirewallError> {
        if !self.was_changed() {
            return Ok(Vec::new());
        }
        self.held = open.iter().copied().collect();
        self.repair(now, false)
    }

    fn list(&mut self, what: Listing) -> Result<String, FirewallError> {
        match what {
            Listing::Ours => listing::ours(&mut self.socket, &self.settings.input.to_chain),
            Listing::All => listing::all(self.settings.exe.as_deref()),
        }
    }

    fn flush(&mut self) -> Result<(), FirewallError> {
        let (chain, mut batch) = (self.chain(), Batch::default());
        let ruleset = Ruleset::load(&mut self.socket)?;
        for table in repair::tables_with(&ruleset, &chain) {
            if table == guard::table() {
                guard::remove(&mut self.socket, &ruleset, &chain)?;
            } else {
                repair::remove(&mut batch, &ruleset, &table, &chain);
            }
        }
        self.socket.commit(&batch)
    }

    fn retire(&mut self) -> Result<(), FirewallError> {
        if !self.settings.flush_at_exit {
            return Ok(());
        }
        let (chain, mut batch) = (self.chain(), Batch::default());
        let ruleset = Ruleset::load(&mut self.socket)?;
        for table in repair::tables_with(&ruleset, &chain) {
            if table == guard::table() {
                // Closed is the safe state: only the doors go.
                let sets = Version::of(table.family).iter().map(|version| version.set(&chain));
                sets.for_each(|set| doors::empty_set(&mut batch, &table, &set));
            } else {
                repair::remove(&mut batch, &ruleset, &table, &chain);
            }
        }
        self.held.clear();
        self.adopted.clear();
        self.socket.commit(&batch)
    }
}
