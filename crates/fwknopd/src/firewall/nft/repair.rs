//! Compares what should be in the ruleset with what is, and says what to change: no socket, so that it
//! can be read as one thought.
//!
//! ```text
//! Ruleset + Survey + doors ─▶ Batch of what is missing, what is foreign, a line for each thing put back
//! ```
use std::collections::{BTreeMap, BTreeSet};

use spa::UnixTime;

use super::super::Notice;
use super::doors::{self, SET_TIMEOUT, Version};
use super::place::Survey;
use super::ruleset::{Element, Ruleset, Set, TableId};
use super::socket::Batch;
use crate::grant::{Door, Rule, end_in_comment};

/// How far the kernel's time left may be from ours, in milliseconds, before we put it right.
const TOLERANCE: u64 = 2_000;

/// Something in our chain or sets that we did not put there and that says when it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// A rule in our chain.
    Rule {
        /// The table.
        table: TableId,
        /// Its handle.
        handle: u64,
        /// The end in its comment.
        end: UnixTime,
    },
    /// An element in one of our sets.
    Element {
        /// The table.
        table: TableId,
        /// What it opens, and until when by its comment.
        rule: Rule,
    },
}

impl Foreign {
    /// When it ends.
    pub fn end(&self) -> UnixTime {
        match self {
            Self::Rule { end, .. } => *end,
            Self::Element { rule, .. } => rule.until,
        }
    }

    /// Deletes it.
    pub fn delete(&self, batch: &mut Batch, chain: &str) {
        match self {
            Self::Rule { table, handle, .. } => doors::delete_rules(batch, table, chain, Some(*handle)),
            Self::Element { table, rule } => doors::close(batch, table, chain, &rule.door),
        }
    }
}

/// What is to be done.
#[derive(Clone, Debug, Default)]
pub struct Repair {
    /// The changes.
    pub batch: Batch,
    /// A line for each thing that was missing.
    pub notices: Vec<Notice>,
    /// What others have there.
    pub foreign: Vec<Foreign>,
    /// How many doors had to be opened again.
    pub reopened: usize,
    /// Whether our own table was made anew, and is empty.
    pub remade_guard: bool,
}

/// For each door the longest time it shall be open.
pub fn strongest<'r>(rules: impl IntoIterator<Item = &'r Rule>) -> BTreeMap<Door, UnixTime> {
    let mut ends = BTreeMap::new();
    for rule in rules {
        let end = ends.entry(rule.door).or_insert(rule.until);
        *end = rule.until.max(*end);
    }
    ends
}

/// Makes chain, sets, rules and jumps of all places stand.
pub fn structure(repair: &mut Repair, ruleset: &Ruleset, survey: &Survey, chain: &str) {
    let tables: BTreeSet<&TableId> = survey.places.iter().map(|place| &place.table).collect();
    for (n, table) in (0..).zip(tables) {
        let right = |set: &Set, version: &Version| set.flags & SET_TIMEOUT != 0 && set.key_type == version.key_type();
        let broken = Version::of(table.family)
            .iter()
            .any(|version| ruleset.set(table, &version.set(chain)).is_some_and(|set| !right(set, version)));
        if broken {
            remove(&mut repair.batch, ruleset, table, chain);
        }
        let keep = !broken && ruleset.has_chain(table, chain);
        if !keep {
            doors::make_chain(&mut repair.batch, table, chain);
        }
        for (id, version) in (1..).zip(Version::of(table.family)) {
            let set = version.set(chain);
            if broken || ruleset.set(table, &set).is_none() {
                doors::make_set(&mut repair.batch, table, chain, *version, 2 * n + id);
            }
            if !keep || !ruleset.rules_of(table, chain).any(|rule| rule.accepts(&set)) {
                doors::make_rule(&mut repair.batch, table, chain, *version);
            }
        }
        let bases = survey.places.iter().filter(|place| place.table == *table).map(|place| &place.chain);
        for base in bases {
            let mut jumps = ruleset.rules_of(table, base).filter(|rule| rule.is_plain_jump(chain));
            if broken || jumps.next().is_none() {
                doors::make_jump(&mut repair.batch, table, base, chain);
                let text = format!("Added jump rule from chain: {base} to chain: {chain} in table {table}");
                repair.notices.push(Notice::info(text));
            }
            if !broken {
                for second in jumps {
                    doors::delete_rules(&mut repair.batch, table, base, Some(second.handle));
                }
            }
        }
    }
}

/// Makes the sets of a table hold the doors, with the time they have left; remembers what else is there.
pub fn contents(
    repair: &mut Repair,
    ruleset: &Ruleset,
    table: &TableId,
    chain: &str,
    held: &[Element],
    wanted: &BTreeMap<Door, UnixTime>,
    now: UnixTime,
) {
    let there: BTreeMap<Door, &Element> =
        held.iter().filter_map(|element| Some((doors::door(&element.key)?, element))).collect();
    let fits = |version: Version| Version::of(table.family).contains(&version);
    for (door, until) in wanted.iter().filter(|(door, _)| fits(Version::of_client(door.client))) {
        let rule = Rule { door: *door, until: *until };
        let left = doors::left(&rule, now);
        let holds =
            there.get(door).and_then(|element| element.left).is_some_and(|held| held.abs_diff(left) <= TOLERANCE);
        if left > 0 && !holds {
            doors::open(&mut repair.batch, table, chain, &rule, left);
            repair.reopened += 1;
        }
    }
    for (door, element) in there.iter().filter(|(door, _)| !wanted.contains_key(door)) {
        if let Some(until) = element.comment.as_deref().and_then(end_in_comment) {
            let rule = Rule { door: *door, until };
            let left = doors::left(&rule, now);
            // A ruleset that was saved and restored may bring back what has ended, or give it more time.
            if left > 0 && element.left.is_some_and(|held| held > left + TOLERANCE) {
                doors::open(&mut repair.batch, table, chain, &rule, left);
            }
            repair.foreign.push(Foreign::Element { table: table.clone(), rule });
        }
    }
    let ours = |rule: &&super::ruleset::Rule| {
        Version::of(table.family).iter().any(|version| rule.accepts(&version.set(chain)))
    };
    for rule in ruleset.rules_of(table, chain).filter(|rule| !ours(rule)) {
        if let Some(end) = rule.comment.as_deref().and_then(end_in_comment) {
            repair.foreign.push(Foreign::Rule { table: table.clone(), handle: rule.handle, end });
        }
    }
}

/// Takes everything of ours out of a table: jumps, rules, sets, and the chain unless somebody's own
/// rule still goes there.
pub fn remove(batch: &mut Batch, ruleset: &Ruleset, table: &TableId, chain: &str) {
    let jumps = ruleset.rules.iter().filter(|rule| rule.table == *table && rule.is_plain_jump(chain));
    jumps.for_each(|rule| doors::delete_rules(batch, table, &rule.chain, Some(rule.handle)));
    if ruleset.has_chain(table, chain) {
        doors::delete_rules(batch, table, chain, None);
    }
    for version in Version::of(table.family) {
        let set = version.set(chain);
        if ruleset.set(table, &set).is_some() {
            doors::delete_set(batch, table, &set);
        }
    }
    if ruleset.has_chain(table, chain) && !is_used_by_others(ruleset, table, chain) {
        doors::delete_chain(batch, table, chain);
    }
}

/// Whether a rule that is not ours leads to our chain: with conditions, or from a map.
fn is_used_by_others(ruleset: &Ruleset, table: &TableId, chain: &str) -> bool {
    use super::ruleset::{Step, Verdict};
    let leads = |verdict: &Verdict| *verdict == Verdict::Jump(chain.into());
    let by_rule = |rule: &super::ruleset::Rule| {
        let here = |step: &Step| matches!(step, Step::Verdict(verdict) if leads(verdict));
        rule.table == *table && !rule.is_plain_jump(chain) && rule.steps.iter().any(here)
    };
    let by_map = |set: &Set| set.table == *table && set.verdicts.iter().any(leads);
    ruleset.rules.iter().any(by_rule) || ruleset.sets.iter().any(by_map)
}

/// The tables that have a chain or set of ours.
pub fn tables_with(ruleset: &Ruleset, chain: &str) -> BTreeSet<TableId> {
    let chains = ruleset.chains.iter().filter(|found| found.name == chain).map(|found| &found.table);
    let is_ours = |set: &&Set| Version::of(set.table.family).iter().any(|version| version.set(chain) == set.name);
    let sets = ruleset.sets.iter().filter(is_ours).map(|set| &set.table);
    chains.chain(sets).cloned().collect()
}
