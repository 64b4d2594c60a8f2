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
use super::ruleset::{self, Element, Ruleset, Set, Step, TableId, Verdict};
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
    let ours =
        |rule: &&ruleset::Rule| Version::of(table.family).iter().any(|version| rule.accepts(&version.set(chain)));
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
    let leads = |verdict: &Verdict| *verdict == Verdict::Jump(chain.into());
    let by_rule = |rule: &ruleset::Rule| {
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

#[cfg(test)]
mod tests {
    use super::super::place::Place;
    use super::super::ruleset::Chain;
    use super::*;
    use crate::firewall::settings::Family;

    const CHAIN: &str = "K";

    fn table() -> TableId {
        TableId { family: Family::Ip, name: "filter".into() }
    }

    fn survey() -> Survey {
        Survey { places: vec![Place { table: table(), chain: "input".into() }], ..Survey::default() }
    }

    fn rule(chain: &str, handle: u64, steps: Vec<Step>) -> ruleset::Rule {
        ruleset::Rule { table: table(), chain: chain.into(), handle, steps, comment: None }
    }

    fn jump(handle: u64) -> ruleset::Rule {
        rule("input", handle, vec![Step::Verdict(Verdict::Jump(CHAIN.into()))])
    }

    /// A ruleset in which everything of ours stands.
    fn whole() -> Ruleset {
        let chain = Chain { table: table(), name: CHAIN.into(), hook: None, sort: String::new(), drops: false };
        let (flags, key_type) = (SET_TIMEOUT, Version::Four.key_type());
        let set = Set { table: table(), name: "K4".into(), flags, key_type, verdicts: Vec::new() };
        let accept = rule(CHAIN, 2, vec![Step::Lookup("K4".into()), Step::Verdict(Verdict::Accept)]);
        Ruleset { tables: Vec::new(), chains: vec![chain], rules: vec![jump(1), accept], sets: vec![set] }
    }

    fn changes(ruleset: &Ruleset) -> Vec<String> {
        let mut repair = Repair::default();
        structure(&mut repair, ruleset, &survey(), CHAIN);
        repair.batch.doings().map(String::from).collect()
    }

    #[test]
    fn nothing_is_changed_where_everything_stands() {
        assert_eq!(changes(&whole()), Vec::<String>::new());
    }

    #[test]
    fn what_is_missing_is_made_in_the_order_in_which_it_is_needed() {
        let all = [
            "making chain K in table ip filter",
            "making set K4 in table ip filter",
            "making the rule of K in table ip filter",
            "making the jump from input to K in table ip filter",
        ];
        assert_eq!(changes(&Ruleset::default()), all);
        let without = |take: fn(&mut Ruleset)| {
            let mut ruleset = whole();
            take(&mut ruleset);
            changes(&ruleset)
        };
        assert_eq!(without(|ruleset| drop(ruleset.rules.remove(0))), all[3..]);
        assert_eq!(without(|ruleset| drop(ruleset.rules.remove(1))), all[2..3]);
    }

    #[test]
    fn a_second_jump_goes_and_a_set_of_another_shape_is_replaced() {
        let mut ruleset = whole();
        ruleset.rules.push(jump(9));
        assert_eq!(changes(&ruleset), ["deleting rules of input in table ip filter"]);
        let mut ruleset = whole();
        ruleset.sets[0].flags = 0;
        assert_eq!(changes(&ruleset).len(), 4 + 4, "everything goes, everything comes");
    }

    fn element(left: u64, mark: u64) -> Element {
        let key = vec![10, 0, 0, 1, 6, 0, 0, 0, 0, 22, 0, 0];
        Element { key, left: Some(left), comment: Some(format!("_exp_{mark}")) }
    }

    #[test]
    fn doors_are_opened_again_only_if_they_are_gone_or_have_the_wrong_time_left() {
        let door = doors::door(&element(0, 0).key).unwrap();
        let wanted = BTreeMap::from([(door, UnixTime(130))]);
        let reopened = |held: &[Element], now| {
            let mut repair = Repair::default();
            contents(&mut repair, &whole(), &table(), CHAIN, held, &wanted, UnixTime(now));
            repair.reopened
        };
        assert_eq!(reopened(&[], 100), 1, "gone");
        assert_eq!(reopened(&[element(29_500, 130)], 100), 0, "there");
        assert_eq!(reopened(&[element(90_000, 130)], 100), 1, "restored with too much time");
        assert_eq!(reopened(&[], 130), 0, "over");
    }

    #[test]
    fn what_others_put_in_is_known_by_its_mark_and_gets_no_more_time_than_that() {
        let found = |element: Element| {
            let mut repair = Repair::default();
            contents(&mut repair, &whole(), &table(), CHAIN, &[element], &BTreeMap::new(), UnixTime(100));
            (repair.foreign.iter().map(|foreign| foreign.end().0).collect::<Vec<_>>(), repair.batch.doings().count())
        };
        assert_eq!(found(element(30_000, 130)), (vec![130], 0));
        assert_eq!(found(element(90_000, 130)), (vec![130], 3), "add, delete, add");
        assert_eq!(found(Element { comment: None, ..element(30_000, 0) }), (vec![], 0), "no mark, not our business");
    }

    #[test]
    fn a_chain_that_an_administrator_jumps_to_with_conditions_is_emptied_but_stays() {
        let mut ruleset = whole();
        let conditional = vec![Step::Other("meta".into()), Step::Verdict(Verdict::Jump(CHAIN.into()))];
        let mut batch = Batch::default();
        remove(&mut batch, &ruleset, &table(), CHAIN);
        assert!(batch.doings().any(|doing| doing.starts_with("deleting chain")));
        ruleset.rules.push(rule("input", 5, conditional));
        let mut batch = Batch::default();
        remove(&mut batch, &ruleset, &table(), CHAIN);
        assert!(!batch.doings().any(|doing| doing.starts_with("deleting chain")));
    }
}
