//! Our chain, its two sets and the doors in them, as messages: pure functions, so that tables can test them.
//!
//! ```text
//! set FWKNOP_INPUT4 { typeof ip saddr . meta l4proto . th dport; flags timeout
//!     elements = { 10.0.0.7 . tcp . 22 timeout 30s comment "_exp_1795332870" } }
//! chain FWKNOP_INPUT { ip saddr . meta l4proto . th dport @FWKNOP_INPUT4 counter accept }
//! ```
//!
//! A door is one element, and the kernel takes it out at its end. To renew one, it is added, deleted and
//! added in one batch: that works whether it was there or not, on every kernel.
use std::net::IpAddr;

use spa::{PortSpec, UnixTime};

use super::super::settings::Family;
use super::message::{Attributes, flag};
use super::ruleset::{TableId, comment_note, kind, of_set};
use super::socket::Batch;
use crate::grant::{Door, Rule};

/// Sets whose elements end by themselves.
pub const SET_TIMEOUT: u32 = 0x10;

/// The sets of one kind of address: `FWKNOP_INPUT4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Clients with an IPv4 address.
    Four,
    /// Clients with an IPv6 address.
    Six,
}

impl Version {
    /// Those that packets of this family can have.
    pub fn of(family: Family) -> &'static [Self] {
        match family {
            Family::Inet => &[Self::Four, Self::Six],
            Family::Ip => &[Self::Four],
            Family::Ip6 => &[Self::Six],
        }
    }

    /// That of an address.
    pub fn of_client(client: IpAddr) -> Self {
        if client.is_ipv4() { Self::Four } else { Self::Six }
    }

    /// The name of the set beside a chain.
    pub fn set(self, chain: &str) -> String {
        format!("{chain}{}", if self == Self::Four { 4 } else { 6 })
    }

    /// Address, protocol and port as `nft` numbers such types.
    pub fn key_type(self) -> u32 {
        let address = if self == Self::Four { 7 } else { 8 };
        address << 12 | 12 << 6 | 13
    }

    fn address_length(self) -> u32 {
        if self == Self::Four { 4 } else { 16 }
    }
}

/// The key of a door: address, protocol, port, each padded to 4 bytes.
pub fn key(door: &Door) -> Vec<u8> {
    let mut key = match door.client {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    key.extend([door.port.protocol.number(), 0, 0, 0]);
    key.extend(door.port.port.get().to_be_bytes());
    key.extend([0, 0]);
    key
}

/// The door of a key, if it is one of ours.
pub fn door(key: &[u8]) -> Option<Door> {
    let (address, [protocol, _, _, _, high, low, _, _]) = key.split_last_chunk()?;
    let client = match address.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(address).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(address).ok()?),
    };
    let protocol = match protocol {
        6 => spa::Protocol::Tcp,
        17 => spa::Protocol::Udp,
        _ => return None,
    };
    let port = u16::from_be_bytes([*high, *low]).try_into().ok()?;
    Some(Door { client, port: PortSpec { protocol, port } })
}

/// How long a rule has still to live, in milliseconds.
pub fn left(rule: &Rule, now: UnixTime) -> u64 {
    rule.until.0.saturating_sub(now.0).saturating_mul(1000)
}

/// Puts a door in, whether or not it was there, with this much time to live.
pub fn open(batch: &mut Batch, table: &TableId, chain: &str, rule: &Rule, milliseconds: u64) {
    let Rule { door, .. } = rule;
    let add = |batch: &mut Batch| {
        let element = Attributes::new()
            .nest(1, &Attributes::new().bytes(1, &key(door)))
            .u64(4, milliseconds)
            .bytes(6, &comment_note(&rule.mark()));
        let doing = format!("opening {door} in table {table}");
        change(batch, kind::NEW_ELEMENT, table, chain, door, &element, doing);
    };
    add(batch);
    delete(batch, table, chain, door);
    add(batch);
}

/// Takes a door out, whether or not it is there.
pub fn close(batch: &mut Batch, table: &TableId, chain: &str, door: &Door) {
    let element = Attributes::new().nest(1, &Attributes::new().bytes(1, &key(door))).u64(4, 1000);
    let doing = format!("closing {door} in table {table}");
    change(batch, kind::NEW_ELEMENT, table, chain, door, &element, doing);
    delete(batch, table, chain, door);
}

fn delete(batch: &mut Batch, table: &TableId, chain: &str, door: &Door) {
    let element = Attributes::new().nest(1, &Attributes::new().bytes(1, &key(door)));
    let doing = format!("closing {door} in table {table}");
    change(batch, kind::DELETE_ELEMENT, table, chain, door, &element, doing);
}

fn change(
    batch: &mut Batch,
    what: u16,
    table: &TableId,
    chain: &str,
    door: &Door,
    element: &Attributes,
    doing: String,
) {
    let set = Version::of_client(door.client).set(chain);
    let elements = Attributes::new().nest(1, element);
    let body = of_set(table, &set).nest(3, &elements);
    let flags = if what == kind::NEW_ELEMENT { flag::CREATE } else { 0 };
    batch.push(what, flags, table.family.number(), body, doing);
}

/// Makes our chain, without rules and without a way to it.
pub fn make_chain(batch: &mut Batch, table: &TableId, chain: &str) {
    let body = Attributes::new().text(1, &table.name).text(3, chain);
    batch.push(
        kind::NEW_CHAIN,
        flag::CREATE,
        table.family.number(),
        body,
        format!("making chain {chain} in table {table}"),
    );
}

/// Makes one of our sets. `id` tells the sets of one batch apart.
pub fn make_set(batch: &mut Batch, table: &TableId, chain: &str, version: Version, id: u32) {
    let body = of_set(table, &version.set(chain))
        .u32(3, SET_TIMEOUT)
        .u32(4, version.key_type())
        .u32(5, version.address_length() + 8)
        .u32(10, id);
    let doing = format!("making set {} in table {table}", version.set(chain));
    batch.push(kind::NEW_SET, flag::CREATE, table.family.number(), body, doing);
}

/// Makes the rule that accepts what is in one of our sets, as the last one of our chain.
pub fn make_rule(batch: &mut Batch, table: &TableId, chain: &str, version: Version) {
    // Registers of 4 bytes begin at 8; the fields of a key stand in a row of them.
    const ROW: u32 = 8;
    let length = version.address_length();
    let behind = ROW + length / 4;
    let (offset, nfproto) = if version == Version::Four { (12, 2) } else { (8, 10) };
    let mut steps = Attributes::new();
    if table.family == Family::Inet {
        steps = steps.nest(1, &meta(15, ROW)).nest(1, &equal(ROW, &[nfproto]));
    }
    let steps = steps
        .nest(1, &payload(1, offset, length, ROW))
        .nest(1, &meta(16, behind))
        .nest(1, &payload(2, 2, 2, behind + 1))
        .nest(1, &lookup(&version.set(chain), ROW))
        .nest(1, &counter())
        .nest(1, &verdict(1, None));
    add_rule(batch, table, chain, flag::APPEND, &steps, format!("making the rule of {chain} in table {table}"));
}

/// Makes the jump to our chain the first rule of `base`.
pub fn make_jump(batch: &mut Batch, table: &TableId, base: &str, chain: &str) {
    let steps = Attributes::new().nest(1, &verdict(JUMP, Some(chain)));
    add_rule(batch, table, base, 0, &steps, format!("making the jump from {base} to {chain} in table {table}"));
}

/// Adds a rule: first in the chain, or with [`flag::APPEND`] last.
pub fn add_rule(batch: &mut Batch, table: &TableId, chain: &str, end: u16, steps: &Attributes, doing: String) {
    let body = Attributes::new().text(1, &table.name).text(2, chain).nest(4, steps);
    batch.push(kind::NEW_RULE, flag::CREATE | end, table.family.number(), body, doing);
}

/// Deletes one rule, or all rules of a chain.
pub fn delete_rules(batch: &mut Batch, table: &TableId, chain: &str, handle: Option<u64>) {
    let mut body = Attributes::new().text(1, &table.name).text(2, chain);
    if let Some(handle) = handle {
        body = body.u64(3, handle);
    }
    batch.push(
        kind::DELETE_RULE,
        0,
        table.family.number(),
        body,
        format!("deleting rules of {chain} in table {table}"),
    );
}

/// Deletes a chain that nothing jumps to.
pub fn delete_chain(batch: &mut Batch, table: &TableId, chain: &str) {
    let body = Attributes::new().text(1, &table.name).text(3, chain);
    batch.push(kind::DELETE_CHAIN, 0, table.family.number(), body, format!("deleting chain {chain} in table {table}"));
}

/// Deletes a set that no rule asks.
pub fn delete_set(batch: &mut Batch, table: &TableId, set: &str) {
    let doing = format!("deleting set {set} in table {table}");
    batch.push(kind::DELETE_SET, 0, table.family.number(), of_set(table, set), doing);
}

/// Deletes every element of a set.
pub fn empty_set(batch: &mut Batch, table: &TableId, set: &str) {
    let doing = format!("emptying set {set} in table {table}");
    batch.push(kind::DELETE_ELEMENT, 0, table.family.number(), of_set(table, set), doing);
}

/// The verdict that goes to another chain and comes back.
pub const JUMP: i32 = -3;

fn expression(name: &str, data: &Attributes) -> Attributes {
    Attributes::new().text(1, name).nest(2, data)
}

/// Loads bytes of a header (1 network, 2 transport) into a register.
pub fn payload(base: u32, offset: u32, length: u32, register: u32) -> Attributes {
    expression("payload", &Attributes::new().u32(1, register).u32(2, base).u32(3, offset).u32(4, length))
}

/// Loads what the kernel knows of the packet into a register.
pub fn meta(what: u32, register: u32) -> Attributes {
    expression("meta", &Attributes::new().u32(1, register).u32(2, what))
}

/// Goes on if the register holds this.
pub fn equal(register: u32, value: &[u8]) -> Attributes {
    let value = Attributes::new().bytes(1, value);
    expression("cmp", &Attributes::new().u32(1, register).u32(2, 0).nest(3, &value))
}

fn lookup(set: &str, register: u32) -> Attributes {
    expression("lookup", &Attributes::new().text(1, set).u32(2, register))
}

fn counter() -> Attributes {
    expression("counter", &Attributes::new().u64(1, 0).u64(2, 0))
}

/// Ends the rule: 1 accept, 0 drop, [`JUMP`] to a chain.
pub fn verdict(code: i32, chain: Option<&str>) -> Attributes {
    let mut verdict = Attributes::new().bytes(1, &code.to_be_bytes());
    if let Some(chain) = chain {
        verdict = verdict.text(2, chain);
    }
    let data = Attributes::new().nest(2, &verdict);
    expression("immediate", &Attributes::new().u32(1, 0).nest(2, &data))
}

/// Another expression, for whoever needs one that is not here.
pub fn other(name: &str, data: &Attributes) -> Attributes {
    expression(name, data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_three_fields_padded_to_four_bytes_and_reads_back() {
        for (client, port, wanted) in [
            ("10.77.0.2", "tcp/22", vec![10, 77, 0, 2, 6, 0, 0, 0, 0, 22, 0, 0]),
            (
                "2001:db8::7",
                "udp/62201",
                vec![0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 17, 0, 0, 0, 0xf2, 0xf9, 0, 0],
            ),
        ] {
            let wanted_door = Door { client: client.parse().unwrap(), port: port.parse().unwrap() };
            assert_eq!(key(&wanted_door), wanted);
            assert_eq!(door(&wanted), Some(wanted_door));
        }
    }

    #[test]
    fn a_key_of_another_shape_is_no_door() {
        for key in [&[][..], &[0; 8], &[0; 12], &[1; 13], &[10, 0, 0, 1, 1, 0, 0, 0, 0, 22, 0, 0]] {
            assert_eq!(door(key), None, "{key:?}");
        }
    }

    #[test]
    fn a_verdict_is_spelled_as_the_kernel_reads_it() {
        let accept = verdict(1, None);
        let wanted: &[u8] = &[
            14, 0, 1, 0, b'i', b'm', b'm', b'e', b'd', b'i', b'a', b't', b'e', 0, 0, 0, // its name
            28, 0, 2, 0x80, 8, 0, 1, 0, 0, 0, 0, 0, // into register 0, the verdict's
            16, 0, 2, 0x80, 12, 0, 2, 0x80, 8, 0, 1, 0, 0, 0, 0, 1, // a verdict: accept
        ];
        if cfg!(target_endian = "little") {
            assert_eq!(accept.as_bytes(), wanted);
        }
    }

    #[test]
    fn the_time_left_ends_at_nothing() {
        let door = door(&[10, 0, 0, 1, 6, 0, 0, 0, 0, 22, 0, 0]).unwrap();
        let rule = Rule { door, until: UnixTime(100) };
        assert_eq!(left(&rule, UnixTime(70)), 30_000);
        assert_eq!(left(&rule, UnixTime(101)), 0);
    }
}
