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

use self::doors::Version;
use self::message::Message;
use self::place::Survey;
use self::repair::{Foreign, Repair};
use self::ruleset::{Element, Ruleset, TableId, kind};
use self::socket::{Batch, Changes, NFTABLES, Socket};
use super::settings::Settings;
use super::{Added, Firewall, FirewallError, Listing, Notice, Opened, Removed};
use crate::grant::{Grant, Rule};

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
    /// Said once, and again when it changes.
    warned: Vec<String>,
    /// Whether our own table can have an owner.
    owned: bool,
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
        Ok(Self { settings, socket, changes, tables, held, adopted, foreign, warned, owned: true })
    }

    fn chain(&self) -> String {
        self.settings.input.to_chain.clone()
    }

    /// Whether somebody else changed something that concerns us, since we last asked.
    fn was_changed(&self) -> bool {
        let (own, chain) = (self.socket.port(), self.chain());
        self.changes.any(|message| concerns(message, own, &chain))
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
        let guarded = !self.settings.default_drop.is_empty();
        if guarded && (anew || !guard::stands(&ruleset, &chain, &self.settings.default_drop)) {
            self.make_guard(&ruleset, &mut repair)?;
        }
        let mut survey = place::survey(&ruleset, &self.settings.nft_input)?;
        if guarded {
            survey.places.retain(|place| place.table != guard::table());
        }
        repair::structure(&mut repair, &ruleset, &survey, &chain);
        self.tables = survey.places.iter().map(|place| place.table.clone()).collect();
        self.tables.extend(guarded.then(guard::table));
        let wanted = repair::strongest(self.held.union(&self.adopted));
        for table in &self.tables {
            let held = elements(&mut self.socket, &ruleset, table, &chain)?;
            // A table that was just made anew holds nothing, whatever it held before.
            let fresh = guarded && *table == guard::table() && repair.remade_guard;
            let held = if fresh { Vec::new() } else { held };
            repair::contents(&mut repair, &ruleset, table, &chain, &held, &wanted, now);
        }
        if !repair.batch.is_empty() {
            self.socket.commit(&repair.batch)?;
        }
        self.foreign = std::mem::take(&mut repair.foreign);
        if repair.reopened > 0 {
            let text = format!("put back {} doors that were gone from chain {chain}", repair.reopened);
            repair.notices.push(Notice::warning(text));
        }
        repair.notices.extend(self.warnings(&survey, guarded));
        Ok(repair.notices)
    }

    /// Our own table, with an owner where the kernel can do that.
    fn make_guard(&mut self, ruleset: &Ruleset, repair: &mut Repair) -> Result<(), FirewallError> {
        let (chain, closed) = (self.chain(), self.settings.default_drop.clone());
        if ruleset.tables.iter().any(|table| table.id == guard::table()) && !self.is_guard(ruleset) {
            return Err(FirewallError::Unfit(
                "there is a table inet fwknop that we did not make; rename it, or close the ports there".into(),
            ));
        }
        self.take_over_guard(ruleset)?;
        let mut batch = Batch::default();
        guard::make(&mut batch, ruleset, &chain, &closed, self.owned);
        if let Err(error) = self.socket.commit(&batch) {
            if !self.owned {
                return Err(error);
            }
            self.owned = false;
            let mut plain = Batch::default();
            guard::make(&mut plain, ruleset, &chain, &closed, false);
            self.socket.commit(&plain)?;
            repair.notices.push(Notice::info(format!(
                "table fwknop can be changed by others, a reload of their rules may take it away for a moment ({error})"
            )));
        }
        let ports: Vec<String> = closed.iter().map(ToString::to_string).collect();
        let text = format!("table inet fwknop closes {} to all who have no grant", ports.join(","));
        repair.notices.push(Notice::info(text));
        repair.remade_guard = true;
        Ok(())
    }

    /// Whether the table of our name is ours by its chains.
    fn is_guard(&self, ruleset: &Ruleset) -> bool {
        [guard::CHAIN, &self.chain()].iter().all(|chain| ruleset.has_chain(&guard::table(), chain))
    }

    /// Becomes the owner of the table that an earlier run of ours owned.
    fn take_over_guard(&mut self, ruleset: &Ruleset) -> Result<(), FirewallError> {
        let owned = |table: &ruleset::Table| table.id == guard::table() && table.flags & ruleset::TABLE_OWNER != 0;
        if ruleset.tables.iter().any(owned) { self.socket.commit(&guard::take_over()) } else { Ok(()) }
    }

    /// Deletes our own table; false if there is none, or one of that name that somebody else made.
    fn delete_guard(&mut self, ruleset: &Ruleset) -> Result<bool, FirewallError> {
        if !self.is_guard(ruleset) {
            return Ok(false);
        }
        self.take_over_guard(ruleset)?;
        let mut batch = Batch::default();
        guard::delete(&mut batch);
        self.commit(&batch).map(|()| true)
    }

    /// What a person should know about this ruleset, if it is news.
    fn warnings(&mut self, survey: &Survey, guarded: bool) -> Vec<Notice> {
        let sees = |version: Version| self.tables.iter().any(|table| Version::of(table.family).contains(&version));
        let blind = |family: &str| {
            format!("no table that we work in sees {family}: no door can be opened for {family} addresses")
        };
        let mut texts = match (sees(Version::Four), sees(Version::Six)) {
            (false, false) => vec![
                "nothing drops input here, so every port is open to everybody and there is no door to open; load a \
                 ruleset that drops, or set NFT_INPUT"
                    .to_owned(),
            ],
            (true, false) => vec![blind("IPv6")],
            (false, true) => vec![blind("IPv4")],
            (true, true) => Vec::new(),
        };
        for closed in &survey.closed {
            if !(guarded && closed.starts_with(&guard::table().to_string())) {
                texts
                    .push(format!("a door that we open stays shut if {closed} drops the packet: we cannot work there"));
            }
        }
        let news = texts.iter().filter(|text| !self.warned.contains(text)).map(Notice::warning).collect();
        self.warned = texts;
        news
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

    /// Commits, and once more after a look if others had changed the ruleset.
    fn commit(&mut self, batch: &Batch) -> Result<(), FirewallError> {
        if batch.is_empty() { Ok(()) } else { self.socket.commit(batch) }
    }
}

/// Whether a change matters to us: not our own, and not to sets of others.
fn concerns(message: &Message<'_>, own: Option<u32>, chain: &str) -> bool {
    const ELEMENTS: [u16; 2] = [NFTABLES | kind::NEW_ELEMENT, NFTABLES | kind::DELETE_ELEMENT];
    if message.kind & 0xff00 != NFTABLES || Some(message.port) == own {
        return false;
    }
    let ours = || message.attributes().text(2).is_some_and(|set| set.starts_with(chain));
    message.kind <= NFTABLES | kind::DELETE_SET || ELEMENTS.contains(&message.kind) && ours()
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
        let ruleset = Ruleset::load(&mut self.socket)?;
        let mut sweep = Batch::default();
        let mut notices = Vec::new();
        if self.settings.default_drop.is_empty() && self.delete_guard(&ruleset)? {
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
        self.commit(&sweep)?;
        notices.extend(self.repair(now, true)?);
        let swept = self.close(&[], now)?;
        notices.extend(swept.iter().map(|rule| Notice::info(rule.to_string())));
        self.was_changed(); // what was told until now is in what we have just read
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
        if let Err(first) = self.commit(&self.opening(grant, now)) {
            // Somebody may have reloaded the rules this very moment: look, and try once more.
            opened.notices.extend(self.repair(now, false).map_err(|_| first)?);
            self.commit(&self.opening(grant, now))?;
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
        let mut batch = Batch::default();
        self.shut(ended, &mut batch);
        self.shut(&adopted, &mut batch);
        self.commit(&batch)?;
        let before = self.held.len() + self.adopted.len() + removed.len();
        let over: Vec<Foreign> = self.foreign.extract_if(.., |foreign| foreign.end() <= now).collect();
        for (number, foreign) in (before + 1..).zip(&over) {
            let mut batch = Batch::default();
            foreign.delete(&mut batch, &chain);
            // Gone already is as good; what is still there will be found at the next look.
            if self.commit(&batch).is_ok() {
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
        self.commit(&batch)
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
                self.delete_guard(&ruleset)?;
            } else {
                repair::remove(&mut batch, &ruleset, &table, &chain);
            }
        }
        self.commit(&batch)
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
        self.commit(&batch)
    }
}
