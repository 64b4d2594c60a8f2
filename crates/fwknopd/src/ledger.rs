//! The rules that are open, by the time they end.
//!
//! The ledger answers two questions, and sleeps for nobody: when does the next rule end ([`Ledger::next_end`]), and
//! which have ended by now ([`Ledger::ended`]). Ends are kept in time since boot, so a step of the wall clock moves none.
//!
//! ```text
//! Grant ─▶ firewall ─▶ Rule ─▶ Ledger ─(its time comes)─▶ firewall closes it
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::Moment;
use crate::grant::Rule;

/// Open rules in the order of their ends.
#[derive(Debug, Default)]
pub struct Ledger {
    by_end: BTreeMap<(Duration, u64), Rule>,
    entries: u64,
}

impl Ledger {
    /// Enters a rule that the firewall says is open.
    pub fn enter(&mut self, rule: Rule, now: &Moment) {
        self.by_end.insert((now.reaches(rule.until), self.entries), rule);
        self.entries += 1;
    }

    /// When the next rule ends, in time since boot; `None` while nothing is open.
    pub fn next_end(&self) -> Option<Duration> {
        self.by_end.keys().next().map(|(end, _)| *end)
    }

    /// Takes out the rules whose time has come.
    pub fn ended(&mut self, now: &Moment) -> Vec<Rule> {
        let still_open = self.by_end.split_off(&(now.since_boot + Duration::from_nanos(1), 0));
        std::mem::replace(&mut self.by_end, still_open).into_values().collect()
    }

    /// What is open, soonest end first.
    pub fn open(&self) -> Vec<Rule> {
        self.by_end.values().copied().collect()
    }
}
