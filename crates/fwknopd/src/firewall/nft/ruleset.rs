//! The ruleset as the kernel tells it: tables, chains, rules and sets, as far as we need to know them.
//!
//! Enough of each rule is understood to see where it may send a packet (drop, reject, jump); the rest is
//! kept as names. Only the families whose input hook sees our packets are here: ip, ip6 and inet.
use super::super::FirewallError;
use super::super::settings::Family;
use super::message::{Attributes, Fields, Message};
use super::socket::Socket;

/// Kinds of messages, without the part that says nftables.
pub mod kind {
    /// Makes or reports tables.
    pub const NEW_TABLE: u16 = 0;
    /// Asks for tables.
    pub const GET_TABLE: u16 = 1;
    /// Deletes tables.
    pub const DELETE_TABLE: u16 = 2;
    /// Makes or reports chains.
    pub const NEW_CHAIN: u16 = 3;
    /// Asks for chains.
    pub const GET_CHAIN: u16 = 4;
    /// Deletes chains.
    pub const DELETE_CHAIN: u16 = 5;
    /// Makes or reports rules.
    pub const NEW_RULE: u16 = 6;
    /// Asks for rules.
    pub const GET_RULE: u16 = 7;
    /// Deletes rules.
    pub const DELETE_RULE: u16 = 8;
    /// Makes or reports sets.
    pub const NEW_SET: u16 = 9;
    /// Asks for sets.
    pub const GET_SET: u16 = 10;
    /// Deletes sets.
    pub const DELETE_SET: u16 = 11;
    /// Makes or reports elements of a set.
    pub const NEW_ELEMENT: u16 = 12;
    /// Asks for elements of a set.
    pub const GET_ELEMENT: u16 = 13;
    /// Deletes elements of a set.
    pub const DELETE_ELEMENT: u16 = 14;
}

/// A table's flag: it belongs to a process, nobody else may change it.
pub const TABLE_OWNER: u32 = 2;
/// A set's flag: it maps keys to something.
const SET_MAP: u32 = 8;
/// The type of data that is a verdict.
const VERDICT_TYPE: u32 = 0xffff_ff00;
/// The input hook.
pub const INPUT: u32 = 1;

/// Which table.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableId {
    /// Its family.
    pub family: Family,
    /// Its name, unique in the family.
    pub name: String,
}

impl std::fmt::Display for TableId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.family.name(), self.name)
    }
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Which.
    pub id: TableId,
    /// Its flags.
    pub flags: u32,
    /// The number of the socket that owns it; 0 if its owner is gone.
    pub owner: Option<u32>,
}

/// A chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The table it is in.
    pub table: TableId,
    /// Its name.
    pub name: String,
    /// Where the kernel enters it, if it does: hook and priority.
    pub hook: Option<(u32, i32)>,
    /// `filter`, `nat` or `route`.
    pub sort: String,
    /// Whether what reaches its end is dropped.
    pub drops: bool,
}

/// Where a rule or a map may send a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// In.
    Accept,
    /// Nowhere.
    Drop,
    /// To another chain of the table.
    Jump(String),
    /// Something that decides nothing for us.
    Other,
}

/// One step of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Its verdict.
    Verdict(Verdict),
    /// It asks this set or map.
    Lookup(String),
    /// Anything else, by the kernel's name for it: `payload`, `cmp`, `counter`, `reject`, `match`.
    Other(String),
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The table it is in.
    pub table: TableId,
    /// The chain it is in.
    pub chain: String,
    /// Its number for as long as it lives.
    pub handle: u64,
    /// What it does.
    pub steps: Vec<Step>,
    /// Its comment.
    pub comment: Option<String>,
}

impl Rule {
    /// Whether this is a jump to `chain` and nothing else.
    pub fn is_plain_jump(&self, chain: &str) -> bool {
        let counts = |step: &&Step| !matches!(step, Step::Other(name) if name == "counter");
        let steps: Vec<&Step> = self.steps.iter().filter(counts).collect();
        matches!(steps.as_slice(), [Step::Verdict(Verdict::Jump(to))] if to == chain)
    }

    /// Whether it accepts what is in this set.
    pub fn accepts(&self, set: &str) -> bool {
        self.steps.contains(&Step::Lookup(set.into())) && self.steps.contains(&Step::Verdict(Verdict::Accept))
    }
}

/// A set or map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// The table it is in.
    pub table: TableId,
    /// Its name.
    pub name: String,
    /// Its flags.
    pub flags: u32,
    /// The type of its keys.
    pub key_type: u32,
    /// For a map to verdicts: all of them.
    pub verdicts: Vec<Verdict>,
}

/// One element of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// Its key, each field padded to 4 bytes.
    pub key: Vec<u8>,
    /// How long it has still to live, in milliseconds; `None`: for ever.
    pub left: Option<u64>,
    /// Its comment.
    pub comment: Option<String>,
}

/// All of it, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// Tables.
    pub tables: Vec<Table>,
    /// Chains.
    pub chains: Vec<Chain>,
    /// Rules, in order within their chain.
    pub rules: Vec<Rule>,
    /// Sets.
    pub sets: Vec<Set>,
}

impl Ruleset {
    /// Asks the kernel.
    ///
    /// # Errors
    ///
    /// When it may not be asked (that takes CAP_NET_ADMIN) or does not answer.
    pub fn load(socket: &mut Socket) -> Result<Self, FirewallError> {
        let mut all = Self::default();
        let none = Attributes::new();
        socket.dump(kind::GET_TABLE, 0, &none, |message| all.tables.extend(table(message)))?;
        socket.dump(kind::GET_CHAIN, 0, &none, |message| all.chains.extend(chain(message)))?;
        socket.dump(kind::GET_RULE, 0, &none, |message| all.rules.extend(rule(message)))?;
        let mut maps = Vec::new();
        socket.dump(kind::GET_SET, 0, &none, |message| {
            if let Some((set, to_verdicts)) = set(message) {
                maps.extend(to_verdicts.then_some(all.sets.len()));
                all.sets.push(set);
            }
        })?;
        for at in maps {
            if let Some(set) = all.sets.get_mut(at) {
                let question = of_set(&set.table, &set.name);
                let mut verdicts = Vec::new();
                socket.dump(kind::GET_ELEMENT, set.table.family.number(), &question, |message| {
                    verdicts.extend(elements(message).map(|element| verdict(element.inside(2))));
                })?;
                set.verdicts = verdicts;
            }
        }
        Ok(all)
    }

    /// The rules of a chain, in order.
    pub fn rules_of<'r>(&'r self, table: &'r TableId, chain: &'r str) -> impl Iterator<Item = &'r Rule> {
        self.rules.iter().filter(move |rule| rule.table == *table && rule.chain == chain)
    }

    /// Whether the table has a chain of this name.
    pub fn has_chain(&self, table: &TableId, name: &str) -> bool {
        self.chains.iter().any(|chain| chain.table == *table && chain.name == name)
    }

    /// The set of this name.
    pub fn set(&self, table: &TableId, name: &str) -> Option<&Set> {
        self.sets.iter().find(|set| set.table == *table && set.name == name)
    }
}

/// The elements of a set.
///
/// # Errors
///
/// As for [`Ruleset::load`].
pub fn load_elements(socket: &mut Socket, table: &TableId, set: &str) -> Result<Vec<Element>, FirewallError> {
    let mut found = Vec::new();
    socket.dump(kind::GET_ELEMENT, table.family.number(), &of_set(table, set), |message| {
        let read = |fields: Fields<'_>| {
            let left = fields.u64(5).or_else(|| fields.u64(4));
            Some(Element { key: fields.inside(1).get(1)?.to_vec(), left, comment: comment(fields.get(6)) })
        };
        found.extend(elements(message).filter_map(read));
    })?;
    Ok(found)
}

/// Names the set whose elements are meant.
pub fn of_set(table: &TableId, set: &str) -> Attributes {
    Attributes::new().text(1, &table.name).text(2, set)
}

fn elements<'m>(message: &Message<'m>) -> impl Iterator<Item = Fields<'m>> {
    message.attributes().inside(3).map(|(_, element)| Fields(element))
}

fn table_id(message: &Message<'_>) -> Option<TableId> {
    let family = Family::ALL.into_iter().find(|family| family.number() == message.family())?;
    Some(TableId { family, name: message.attributes().text(1)?.into() })
}

fn table(message: &Message<'_>) -> Option<Table> {
    let fields = message.attributes();
    Some(Table { id: table_id(message)?, flags: fields.u32(2).unwrap_or_default(), owner: fields.u32(7) })
}

fn chain(message: &Message<'_>) -> Option<Chain> {
    let fields = message.attributes();
    let hook = || {
        let hook = fields.inside(4);
        Some((hook.u32(1)?, i32::from_be_bytes(hook.u32(2)?.to_be_bytes())))
    };
    Some(Chain {
        table: table_id(message)?,
        name: fields.text(3)?.into(),
        hook: hook(),
        sort: fields.text(7).unwrap_or_default().into(),
        drops: fields.u32(5) == Some(0),
    })
}

fn rule(message: &Message<'_>) -> Option<Rule> {
    let fields = message.attributes();
    Some(Rule {
        table: table_id(message)?,
        chain: fields.text(2)?.into(),
        handle: fields.u64(3)?,
        steps: fields.inside(4).filter_map(|(_, expression)| step(Fields(expression))).collect(),
        comment: comment(fields.get(7)),
    })
}

fn step(expression: Fields<'_>) -> Option<Step> {
    let name = expression.text(1)?;
    let data = expression.inside(2);
    Some(match name {
        "immediate" if data.inside(2).get(2).is_some() => Step::Verdict(verdict(data.inside(2))),
        "lookup" => Step::Lookup(data.text(1)?.into()),
        _ => Step::Other(name.into()),
    })
}

/// Reads a value that may be a verdict.
fn verdict(data: Fields<'_>) -> Verdict {
    let verdict = data.inside(2);
    let code = verdict.u32(1).map(|code| i32::from_be_bytes(code.to_be_bytes()));
    match (code, verdict.text(2)) {
        (Some(0), _) => Verdict::Drop,
        (Some(1), _) => Verdict::Accept,
        (Some(-3 | -4), Some(chain)) => Verdict::Jump(chain.into()),
        _ => Verdict::Other,
    }
}

fn set(message: &Message<'_>) -> Option<(Set, bool)> {
    let fields = message.attributes();
    let flags = fields.u32(3).unwrap_or_default();
    let to_verdicts = flags & SET_MAP != 0 && fields.u32(6) == Some(VERDICT_TYPE);
    let key_type = fields.u32(4).unwrap_or_default();
    let (table, name) = (table_id(message)?, fields.text(2)?.into());
    Some((Set { table, name, flags, key_type, verdicts: Vec::new() }, to_verdicts))
}

/// The comment among the notes that `nft` leaves: kind 1, length 1, text, NUL; a comment is of kind 0.
fn comment(notes: Option<&[u8]>) -> Option<String> {
    let mut rest = notes?;
    while let [kind, length, after @ ..] = rest {
        let (value, next) = after.split_at_checked(usize::from(*length))?;
        if *kind == 0 {
            let text = value.strip_suffix(&[0]).unwrap_or(value);
            return Some(String::from_utf8_lossy(text).into_owned());
        }
        rest = next;
    }
    None
}

/// A comment as `nft` leaves it.
pub fn comment_note(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len() + 1).unwrap_or(u8::MAX); // ours are 16 bytes long
    [&[0, length], text.as_bytes(), &[0]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_comment_among_other_notes() {
        assert_eq!(comment(Some(&comment_note("_exp_12"))), Some("_exp_12".into()));
        assert_eq!(comment(Some(&[7, 1, 9, 0, 2, b'x', 0])), Some("x".into()));
        for broken in [&[][..], &[0], &[0, 9, b'x'], &[7, 0]] {
            assert_eq!(comment(Some(broken)), None);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let message = Message { kind: 0, flags: 0, sequence: 0, port: 0, body: &bytes };
            let _ = (table(&message), chain(&message), rule(&message), set(&message), comment(Some(&bytes)));
            elements(&message).for_each(|element| drop(verdict(element)));
        }
    }

    #[test]
    fn knows_a_jump_from_a_jump_with_conditions() {
        let rule = |steps: Vec<Step>| Rule {
            table: TableId { family: Family::Inet, name: "filter".into() },
            chain: "input".into(),
            handle: 1,
            steps,
            comment: None,
        };
        let jump = Step::Verdict(Verdict::Jump("K".into()));
        assert!(rule(vec![jump.clone()]).is_plain_jump("K"));
        assert!(rule(vec![Step::Other("counter".into()), jump.clone()]).is_plain_jump("K"));
        assert!(!rule(vec![Step::Other("meta".into()), jump.clone()]).is_plain_jump("K"));
        assert!(!rule(vec![jump]).is_plain_jump("L"));
    }
}
