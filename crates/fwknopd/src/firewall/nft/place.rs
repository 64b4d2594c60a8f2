//! Where in the administrator's ruleset the jump to our chain belongs.
//!
//! ```text
//! table inet filter {
//!     chain input { type filter hook input priority 0; policy drop;
//!         jump FWKNOP_INPUT          ◀── here: first rule of every base chain that can drop
//! ```
//!
//! A packet must pass *every* base chain of the hook, and an accept in one does not undo a drop in another:
//! so each that can drop gets the jump. Never in tables of iptables-nft (`iptables-save` would print our
//! set look-up as a rule that lets everybody in) nor in tables that belong to a process.
use std::collections::{BTreeSet, HashSet};
use std::fmt;

use super::super::FirewallError;
use super::super::settings::{Family, NftInput};
use super::doors::Version;
use super::ruleset::{Chain, INPUT, Rule, Ruleset, Step, TABLE_OWNER, TableId, Verdict};

/// A base chain that gets the jump.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Its table, in which our chain and sets will be.
    pub table: TableId,
    /// The base chain.
    pub chain: String,
}

impl Place {
    fn of(named: &NftInput) -> Self {
        Self { table: TableId { family: named.family, name: named.table.clone() }, chain: named.chain.clone() }
    }

    fn is_named(&self, input: &NftInput) -> bool {
        *self == Self::of(input)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "table {} {}", self.table, self.chain)
    }
}

/// A base chain that can drop and is not ours to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Which.
    pub place: Place,
    /// Whether a process owns its table; if not, iptables-nft made it.
    pub owned: bool,
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = if self.owned { OWNED } else { OF_IPTABLES };
        write!(f, "{} ({why})", self.place)
    }
}

const OWNED: &str = "this table belongs to a process";
const OF_IPTABLES: &str = "this table was made by iptables-nft";

/// What was found on the input hook.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Where the jumps go.
    pub places: Vec<Place>,
    /// Base chains that can drop but are not ours to change.
    pub closed: Vec<Closed>,
    /// Base chains that the settings name and that are not there.
    pub missing: Vec<Place>,
}

impl Survey {
    /// What a person should know about a ruleset in which our doors are in `tables`.
    pub fn warnings(&self, tables: &BTreeSet<TableId>) -> Vec<String> {
        let sees =
            |version: Version| tables.clone().into_iter().any(|table| Version::of(table.family).contains(&version));
        let blind = |family: &str| {
            format!("no table that we work in sees {family}: no door can be opened for {family} addresses")
        };
        let mut texts = match (sees(Version::Four), sees(Version::Six)) {
            (false, false) if !self.missing.is_empty() => Vec::new(),
            (false, false) => vec![
                "nothing drops input here, so every port is open to everybody and there is no door to open; load a \
                 ruleset that drops, or set NFT_INPUT"
                    .to_owned(),
            ],
            (true, false) => vec![blind("IPv6")],
            (false, true) => vec![blind("IPv4")],
            (true, true) => Vec::new(),
        };
        let missing = |place: &Place| format!("NFT_INPUT names {place}, which is not there; we wait for it");
        texts.extend(self.missing.iter().map(missing));
        let elsewhere =
            |closed: &Closed| format!("what {closed} drops stays shut, whatever we open: we cannot work there");
        texts.extend(self.closed.iter().map(elsewhere));
        texts
    }
}

/// Finds the places: those that the settings name, or all that can drop.
///
/// # Errors
///
/// When the settings name a chain where we must not work.
pub fn survey(ruleset: &Ruleset, named: &[NftInput]) -> Result<Survey, FirewallError> {
    let mut survey = Survey::default();
    for chain in ruleset.chains.iter().filter(|chain| chain.hook.is_some_and(|(hook, _)| hook == INPUT)) {
        let table = &chain.table;
        let place = Place { table: table.clone(), chain: chain.name.clone() };
        let wanted = if named.is_empty() {
            chain.sort == "filter" && can_drop(ruleset, chain)
        } else {
            named.iter().any(|input| place.is_named(input))
        };
        if !wanted {
            continue;
        }
        let flags = ruleset.tables.iter().find(|found| found.id == *table).map_or(0, |table| table.flags);
        let owned = flags & TABLE_OWNER != 0;
        if !owned && !is_of_iptables(ruleset, table) {
            survey.places.push(place);
        } else if named.is_empty() {
            survey.closed.push(Closed { place, owned });
        } else {
            return Err(FirewallError::Unfit(format!(
                "NFT_INPUT names {}, where we cannot work; name a chain of a table of your own",
                Closed { place, owned }
            )));
        }
    }
    let is_there = |input: &&NftInput| survey.places.iter().any(|place| place.is_named(input));
    let missing = named.iter().filter(|input| !is_there(input));
    survey.missing = missing.map(Place::of).collect();
    Ok(survey)
}

/// Whether iptables-nft made a table: its names are fixed, it counts in every rule, and makes no sets.
pub fn is_of_iptables(ruleset: &Ruleset, table: &TableId) -> bool {
    const TABLES: [&str; 5] = ["filter", "nat", "mangle", "raw", "security"];
    const CHAINS: [&str; 5] = ["INPUT", "FORWARD", "OUTPUT", "PREROUTING", "POSTROUTING"];
    let base = |chain: &&Chain| chain.table == *table && chain.hook.is_some();
    let counts = |rule: &Rule| rule.steps.contains(&Step::Other("counter".into()));
    table.family != Family::Inet
        && TABLES.contains(&table.name.as_str())
        && ruleset.chains.iter().filter(base).all(|chain| CHAINS.contains(&chain.name.as_str()))
        && !ruleset.sets.iter().any(|set| set.table == *table)
        && ruleset.rules.iter().filter(|rule| rule.table == *table).all(counts)
}

/// Whether a packet that enters this base chain may be dropped: by its policy, or by a rule in it or in
/// a chain that it may be sent to.
pub fn can_drop(ruleset: &Ruleset, base: &Chain) -> bool {
    let mut seen = HashSet::new();
    let mut ahead = vec![base.name.clone()];
    while let Some(name) = ahead.pop() {
        for rule in ruleset.rules_of(&base.table, &name) {
            for verdict in verdicts(ruleset, rule) {
                match verdict {
                    Verdict::Drop => return true,
                    Verdict::Jump(chain) if seen.insert(chain.clone()) => ahead.push(chain),
                    _ => {}
                }
            }
        }
    }
    base.drops
}

fn verdicts(ruleset: &Ruleset, rule: &Rule) -> Vec<Verdict> {
    let of_step = |step: &Step| match step {
        Step::Verdict(verdict) => vec![verdict.clone()],
        Step::Lookup(set) => ruleset.set(&rule.table, set).map(|set| set.verdicts.clone()).unwrap_or_default(),
        Step::Other(name) if name == "reject" => vec![Verdict::Drop],
        Step::Other(_) => Vec::new(),
    };
    rule.steps.iter().flat_map(of_step).collect()
}

#[cfg(test)]
mod tests {
    use super::super::ruleset::{Set, Table};
    use super::*;

    fn id(family: Family, name: &str) -> TableId {
        TableId { family, name: name.into() }
    }

    fn base(table: &TableId, name: &str, drops: bool) -> Chain {
        Chain { table: table.clone(), name: name.into(), hook: Some((INPUT, 0)), sort: "filter".into(), drops }
    }

    fn rule(table: &TableId, chain: &str, steps: &[Step]) -> Rule {
        Rule { table: table.clone(), chain: chain.into(), handle: 1, steps: steps.to_vec(), comment: None }
    }

    fn ruleset(table: &TableId, flags: u32, chains: Vec<Chain>, rules: Vec<Rule>) -> Ruleset {
        Ruleset { tables: vec![Table { id: table.clone(), flags, owner: None }], chains, rules, sets: Vec::new() }
    }

    fn jump(chain: &str) -> Step {
        Step::Verdict(Verdict::Jump(chain.into()))
    }

    #[test]
    fn a_chain_can_drop_by_policy_by_rule_by_reject_by_jump_and_by_map() {
        let table = id(Family::Inet, "filter");
        let place = |policy, rules: Vec<Rule>| {
            let mut all = ruleset(&table, 0, vec![base(&table, "input", policy)], rules);
            let verdicts = vec![Verdict::Jump("deep".into())];
            all.sets = vec![Set { table: table.clone(), name: "m".into(), flags: 8, key_type: 0, verdicts }];
            survey(&all, &[]).unwrap().places.len()
        };
        let (drop, reject) = (Step::Verdict(Verdict::Drop), Step::Other("reject".into()));
        assert_eq!(place(true, vec![]), 1);
        assert_eq!(place(false, vec![]), 0);
        assert_eq!(place(false, vec![rule(&table, "input", &[Step::Verdict(Verdict::Accept)])]), 0);
        assert_eq!(place(false, vec![rule(&table, "input", std::slice::from_ref(&drop))]), 1);
        assert_eq!(place(false, vec![rule(&table, "input", &[reject])]), 1);
        let far = rule(&table, "deep", &[drop]);
        assert_eq!(place(false, vec![far.clone()]), 0, "nobody goes there");
        assert_eq!(place(false, vec![rule(&table, "input", &[jump("deep")]), far.clone()]), 1);
        assert_eq!(place(false, vec![rule(&table, "input", &[Step::Lookup("m".into())]), far]), 1);
        let circle = [rule(&table, "input", &[jump("a")]), rule(&table, "a", &[jump("input")])];
        assert_eq!(place(false, circle.to_vec()), 0, "and a circle ends");
    }

    #[test]
    fn keeps_out_of_tables_of_iptables_and_of_processes() {
        let counter = Step::Other("counter".into());
        let ours = id(Family::Ip, "filter");
        let theirs = ruleset(&ours, 0, vec![base(&ours, "INPUT", true)], vec![rule(&ours, "INPUT", &[counter])]);
        assert!(survey(&theirs, &[]).unwrap().closed[0].to_string().contains("iptables-nft"));
        let named = NftInput { family: Family::Ip, table: "filter".into(), chain: "INPUT".into() };
        assert!(survey(&theirs, &[named]).is_err(), "not even by name");
        let native = ruleset(&ours, 0, vec![base(&ours, "INPUT", true)], vec![rule(&ours, "INPUT", &[jump("x")])]);
        assert_eq!(survey(&native, &[]).unwrap().places.len(), 1, "iptables-nft counts in every rule");
        let owned = id(Family::Inet, "filter");
        let owned = ruleset(&owned, TABLE_OWNER, vec![base(&owned, "input", true)], vec![]);
        assert!(survey(&owned, &[]).unwrap().closed[0].to_string().contains("belongs to a process"));
    }

    #[test]
    fn the_settings_may_name_chains_and_then_only_those_count() {
        let table = id(Family::Inet, "filter");
        let all = ruleset(&table, 0, vec![base(&table, "input", true), base(&table, "late", false)], vec![]);
        let named = NftInput { family: Family::Inet, table: "filter".into(), chain: "late".into() };
        let places = survey(&all, &[named]).unwrap().places;
        assert_eq!(places, [Place { table, chain: "late".into() }]);
    }
}
