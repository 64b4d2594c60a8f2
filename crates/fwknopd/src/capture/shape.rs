//! What an SPA packet looks like to the kernel, before anybody reads it.
//!
//! In a flood aimed at our port, user space must see nothing but what could be a knock: right port, right length, and text.
//! So the filter looks at the first dozen payload bytes; of random junk one packet in ten million gets through.
//!
//! ```text
//! EtherType ─▶ IPv4, no fragment ─┐
//!           └▶ IPv6 with UDP next ┴▶ port ─▶ 140..=1500 bytes ─▶ 12 bytes of base64 text ─▶ keep
//!                                                            └─▶ "GET /" (if HTTP is on) ─▶ keep
//! ```
//!
//! It never decides that a packet is good: every rule is checked again by the reader (spec/spa-protocol.md 10.1). It only
//! drops what the reader must refuse.

use std::num::NonZeroU16;

use super::bpf::{Ancillary, Assembler, BadJump, Instruction, Label, OUTGOING, Size, Test};

/// Payloads that can be SPA: the ingress rule of the daemon.
const PAYLOAD: std::ops::RangeInclusive<u32> = 140..=1500;

/// How many payload bytes are looked at.
const LOOKED_AT: u32 = 12;

const UDP_HEADER: u32 = 8;
const IPV6_HEADER: u32 = 40;
const TAG: u32 = 4;

const IPV4: Test = Test::Equal(0x0800);
const IPV6: Test = Test::Equal(0x86dd);
const VLAN: Test = Test::Equal(0x8100);

/// Which port of a packet has to be ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// Source or destination, as the filter language means `udp port N`.
    Either,
    /// Only the destination: `udp dst port N`.
    Destination,
}

/// What a filter of ours lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Whether a payload may be an HTTP request with the knock in it.
    pub http: bool,
    /// How many bytes of a packet are kept.
    pub keep: u32,
}

impl Shape {
    /// The filter for a packet socket: UDP over IPv4 or IPv6 with this port, in this shape.
    ///
    /// The packet begins at its IP header, or at a second VLAN tag (the kernel takes off only the first).
    ///
    /// # Errors
    /// Never in practice: [`BadJump`] would mean that the program had grown too long.
    pub fn udp_port(self, port: NonZeroU16, ends: Ends, any_direction: bool) -> Result<Vec<Instruction>, BadJump> {
        let port = Test::Equal(u32::from(port.get()));
        let mut program = Assembler::default();
        if !any_direction {
            refuse_outgoing(&mut program);
        }
        let (tagged, other) = (program.label(), program.label());
        let (ipv4, ipv6) = (program.label(), program.label());
        program.load_ancillary(Ancillary::Protocol);
        program.when(IPV4, ipv4);
        program.when(IPV6, ipv6);
        program.choose(VLAN, tagged, other);
        program.place(other);
        program.keep(0);
        self.ip_at(&mut program, 0, (ipv4, ipv6), port, ends);

        let (ipv4, ipv6, other) = (program.label(), program.label(), program.label());
        program.place(tagged);
        program.load(Size::Half, TAG - 2);
        program.when(IPV4, ipv4);
        program.choose(IPV6, ipv6, other);
        program.place(other);
        program.keep(0);
        self.ip_at(&mut program, TAG, (ipv4, ipv6), port, ends);
        program.finish()
    }

    /// The filter for a UDP socket, whose packets begin at the UDP header: only length and text are left to look at.
    ///
    /// # Errors
    /// As [`udp_port`](Self::udp_port).
    pub fn datagram(self) -> Result<Vec<Instruction>, BadJump> {
        let mut program = Assembler::default();
        let reject = program.label();
        program.index(0);
        program.load_length();
        length_rule(&mut program, reject);
        self.text(&mut program, 0, reject);
        program.finish()
    }

    /// Everything about an IP packet that begins at `base`, up to the end of this part of the program.
    fn ip_at(self, program: &mut Assembler, base: u32, (ipv4, ipv6): (Label, Label), port: Test, ends: Ends) {
        const MORE_FRAGMENTS_OR_OFFSET: Test = Test::AnyBit(0x3fff);
        const UDP: Test = Test::Equal(17);
        let (udp, ours, reject) = (program.label(), program.label(), program.label());

        program.place(ipv6);
        program.load(Size::Byte, base + 6);
        program.unless(UDP, reject);
        program.load(Size::Half, base + 4);
        length_rule(program, reject);
        program.index(IPV6_HEADER);
        program.go(udp);

        program.place(ipv4);
        program.load(Size::Byte, base + 9);
        program.unless(UDP, reject);
        program.load(Size::Half, base + 6);
        program.when(MORE_FRAGMENTS_OR_OFFSET, reject);
        program.index_ipv4_header(base);
        program.load(Size::Half, base + 2);
        program.subtract_index();
        length_rule(program, reject);

        program.place(udp);
        if ends == Ends::Either {
            program.load_indexed(Size::Half, base);
            program.when(port, ours);
        }
        program.load_indexed(Size::Half, base + 2);
        program.unless(port, reject);
        program.place(ours);
        self.text(program, base, reject);
    }

    /// The first payload bytes; then the end of the program: `reject` is placed here.
    fn text(self, program: &mut Assembler, base: u32, reject: Label) {
        let payload = base + UDP_HEADER;
        let accept = program.label();
        if self.http {
            const LOWER_CASE: u32 = 0x2020_2000;
            let plain = program.label();
            program.load_indexed(Size::Word, payload);
            program.or(LOWER_CASE);
            program.unless(Test::Equal(u32::from_be_bytes(*b"get ")), plain);
            program.load_indexed(Size::Byte, payload + 4);
            program.when(Test::Equal(b'/'.into()), accept);
            program.place(plain);
        }
        for at in 0..LOOKED_AT {
            program.load_indexed(Size::Byte, payload + at);
            base64(program, reject);
        }
        program.place(accept);
        program.keep(self.keep);
        program.place(reject);
        program.keep(0);
    }
}

/// Drops what leaves this machine, as the original does unless told otherwise.
pub(super) fn refuse_outgoing(program: &mut Assembler) {
    let inbound = program.label();
    program.load_ancillary(Ancillary::PacketType);
    program.unless(Test::Equal(OUTGOING), inbound);
    program.keep(0);
    program.place(inbound);
}

/// Goes on if the accumulator is the length of a UDP datagram whose payload can be SPA.
fn length_rule(program: &mut Assembler, reject: Label) {
    program.unless(Test::AtLeast(PAYLOAD.start() + UDP_HEADER), reject);
    program.when(Test::Greater(PAYLOAD.end() + UDP_HEADER), reject);
}

/// Goes on if the accumulator is one of `A-Z a-z 0-9 + /`.
fn base64(program: &mut Assembler, reject: Label) {
    let (lower, upper, digit, next) = (program.label(), program.label(), program.label(), program.label());
    program.when(Test::AtLeast(b'a'.into()), lower);
    program.when(Test::AtLeast(b'A'.into()), upper);
    program.when(Test::AtLeast(b'/'.into()), digit); // the slash is just before the digits
    program.choose(Test::Equal(b'+'.into()), next, reject);
    program.place(lower);
    program.choose(Test::Greater(b'z'.into()), reject, next);
    program.place(upper);
    program.choose(Test::Greater(b'Z'.into()), reject, next);
    program.place(digit);
    program.when(Test::Greater(b'9'.into()), reject);
    program.place(next);
}

#[cfg(test)]
mod tests;
