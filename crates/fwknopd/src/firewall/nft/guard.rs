//! A table of our own that closes ports to everybody without a grant: only if the settings ask for it.
//!
//! ```text
//! table inet fwknop { flags owner, persist
//!     chain input { type filter hook input priority 0; policy accept;
//!         iif lo accept; ct state established,related accept; jump FWKNOP_INPUT; tcp dport 22 drop; ... } }
//! ```
//!
//! It stays when we end, however we end: closed is the safe state. `owner` keeps a reload by others away
//! from it and is never set without `persist`, or the table would vanish with our process and the ports
//! would be open. A kernel before 6.9 refuses `persist`; then the table is an ordinary one.
use spa::PortSpec;

use super::super::settings::Family;
use super::super::{FirewallError, Notice};
use super::doors::{JUMP, Version, add_rule, equal, make_chain, make_rule, make_set, meta, other, payload, verdict};
use super::message::{Attributes, flag};
use super::ruleset::{INPUT, Ruleset, TABLE_OWNER, Table, TableId, kind};
use super::socket::{Batch, Socket};

/// The base chain of the table.
pub const CHAIN: &str = "input";
/// A table's flag: it outlives its owner.
const TABLE_PERSIST: u32 = 4;
/// The connection is known, or belongs to one that is.
const ESTABLISHED_OR_RELATED: u32 = 2 | 4;

/// Our table.
pub fn table() -> TableId {
    TableId { family: Family::Inet, name: "fwknop".into() }
}

/// Whether it stands, with a chain and all its rules.
pub fn stands(ruleset: &Ruleset, chain: &str, closed: &[PortSpec]) -> bool {
    let table = table();
    ruleset.has_chain(&table, chain) && ruleset.rules_of(&table, CHAIN).count() == 3 + closed.len()
}

/// Whether the table of our name is ours, by its chains.
pub fn is_ours(ruleset: &Ruleset, chain: &str) -> bool {
    [CHAIN, chain].iter().all(|chain| ruleset.has_chain(&table(), chain))
}

/// Makes it anew, with an owner if the kernel can do that, and says what it did.
///
/// # Errors
///
/// When there is a table of this name that is not ours, or it belongs to another process of ours.
pub fn build(
    socket: &mut Socket,
    ruleset: &Ruleset,
    chain: &str,
    closed: &[PortSpec],
) -> Result<Vec<Notice>, FirewallError> {
    if ruleset.tables.iter().any(|found| found.id == table()) && !is_ours(ruleset, chain) {
        return Err(FirewallError::Unfit(
            "there is a table inet fwknop that we did not make; rename it, or close the ports there".into(),
        ));
    }
    take_over(socket, ruleset)?;
    let mut notices = Vec::new();
    if let Err(error) = socket.commit(&making(ruleset, chain, closed, true)) {
        socket.commit(&making(ruleset, chain, closed, false))?;
        notices.push(Notice::info(format!(
            "table fwknop can be changed by others: a reload of their rules may take it away for a moment ({error})"
        )));
    }
    let ports: Vec<String> = closed.iter().map(ToString::to_string).collect();
    notices.push(Notice::info(format!("table inet fwknop closes {} to all who have no grant", ports.join(","))));
    Ok(notices)
}

/// Takes it away; false if there is none of ours.
///
/// # Errors
///
/// When it belongs to another process of ours.
pub fn remove(socket: &mut Socket, ruleset: &Ruleset, chain: &str) -> Result<bool, FirewallError> {
    if !is_ours(ruleset, chain) {
        return Ok(false);
    }
    take_over(socket, ruleset)?;
    let mut batch = Batch::default();
    delete(&mut batch);
    socket.commit(&batch).map(|()| true)
}

/// Becomes the owner of the table that an earlier run of ours owned.
fn take_over(socket: &mut Socket, ruleset: &Ruleset) -> Result<(), FirewallError> {
    let own = socket.port();
    let by_another = |found: &Table| found.id == table() && found.flags & TABLE_OWNER != 0 && found.owner != own;
    let mut batch = Batch::default();
    if ruleset.tables.iter().any(by_another) {
        make_table(&mut batch, true);
    }
    socket.commit(&batch)
}

/// The changes that make it anew, all in one step, so that no packet comes through in between.
fn making(ruleset: &Ruleset, chain: &str, closed: &[PortSpec], owned: bool) -> Batch {
    let (table, mut all) = (table(), Batch::default());
    let batch = &mut all;
    if ruleset.tables.iter().any(|found| found.id == table) {
        delete(batch);
    }
    make_table(batch, owned);
    let hook = Attributes::new().u32(1, INPUT).u32(2, 0);
    let base = Attributes::new().text(1, &table.name).text(3, CHAIN).nest(4, &hook).u32(5, 1).text(7, "filter");
    batch.push(kind::NEW_CHAIN, flag::CREATE, table.family.number(), base, "making the base chain of table fwknop");
    make_chain(batch, &table, chain);
    for (id, version) in (1..).zip(Version::of(table.family)) {
        make_set(batch, &table, chain, *version, id);
        make_rule(batch, &table, chain, *version);
    }
    let mut rules = vec![loopback(), known(), Attributes::new().nest(1, &verdict(JUMP, Some(chain)))];
    rules.extend(closed.iter().map(closing));
    for steps in rules {
        add_rule(batch, &table, CHAIN, flag::APPEND, &steps, "making the rules of table fwknop".into());
    }
    all
}

fn delete(batch: &mut Batch) {
    let TableId { family, name } = table();
    let body = Attributes::new().text(1, &name);
    batch.push(kind::DELETE_TABLE, 0, family.number(), body, "deleting table fwknop");
}

fn make_table(batch: &mut Batch, owned: bool) {
    let TableId { family, name } = table();
    let flags = if owned { TABLE_OWNER | TABLE_PERSIST } else { 0 };
    let body = Attributes::new().text(1, &name).u32(2, flags);
    batch.push(kind::NEW_TABLE, flag::CREATE, family.number(), body, "making table fwknop");
}

/// The register that everything here passes through.
const REGISTER: u32 = 8;

fn loopback() -> Attributes {
    const INCOMING_NAME: u32 = 6;
    let name = *b"lo\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    Attributes::new()
        .nest(1, &meta(INCOMING_NAME, 1)) // 16 bytes long, so it takes a long register
        .nest(1, &equal(1, &name))
        .nest(1, &verdict(1, None))
}

fn known() -> Attributes {
    let state = Attributes::new().u32(1, REGISTER).u32(2, 0);
    let value = |bits: u32| Attributes::new().bytes(1, &bits.to_ne_bytes());
    let masked = Attributes::new()
        .u32(1, REGISTER)
        .u32(2, REGISTER)
        .u32(3, 4)
        .nest(4, &value(ESTABLISHED_OR_RELATED))
        .nest(5, &value(0));
    let not_none = Attributes::new().u32(1, REGISTER).u32(2, 1).nest(3, &value(0));
    Attributes::new()
        .nest(1, &other("ct", &state))
        .nest(1, &other("bitwise", &masked))
        .nest(1, &other("cmp", &not_none))
        .nest(1, &verdict(1, None))
}

fn closing(port: &PortSpec) -> Attributes {
    Attributes::new()
        .nest(1, &meta(16, REGISTER))
        .nest(1, &equal(REGISTER, &[port.protocol.number()]))
        .nest(1, &payload(2, 2, 2, REGISTER))
        .nest(1, &equal(REGISTER, &port.port.get().to_be_bytes()))
        .nest(1, &verdict(0, None))
}
