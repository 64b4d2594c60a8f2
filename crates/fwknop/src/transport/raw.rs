//! Packets made by hand: IPv4 with UDP, TCP or ICMP, whose source can be forged. Root only.
//!
//! The kernel fills in the header checksum, and the source address if none is given. UDP and TCP go without a checksum, as in the original;
//! the TCP packet is a lone SYN with the SPA packet as its data. Spec: client.md section 12.2.
//!
//! ```text
//! IPv4, 20 bytes │ UDP or ICMP, 8 bytes; TCP, 20 bytes │ SPA packet
//! ```

use std::net::{Ipv4Addr, SocketAddr};

use rand_core::Rng;
use socket2::{Domain, Protocol, Socket, Type};

use super::{Trouble, look_up};
use crate::{
    message::random_port,
    plan::{Family, Route},
    settings::TransportKind,
};

/// IPPROTO_RAW: the header is ours.
const RAW: i32 = 255;

/// Sends one packet; in a test only looks the server up.
pub(super) fn send(route: &Route, test: bool, packet: &[u8], rng: &mut impl Rng) -> Result<usize, Trouble> {
    let way = match route.transport {
        TransportKind::UdpRaw => "udp_raw",
        TransportKind::TcpRaw => "tcp_raw",
        _ => "icmp",
    };
    let to = first_ipv4(route)?;
    if test {
        return Ok(0);
    }
    let whole = datagram(route, *to.ip(), packet, rng);
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(RAW)))
        .map_err(Trouble::socket(way, "create socket"))?;
    socket.set_header_included_v4(true).map_err(Trouble::socket(way, "setsockopt HDRINCL"))?;
    socket.send_to(&whole, &SocketAddr::from(to).into()).map_err(Trouble::socket(way, "sendto error"))
}

/// We make IPv4 headers only.
fn first_ipv4(route: &Route) -> Result<std::net::SocketAddrV4, Trouble> {
    let trouble = |reason| Trouble::RawLookup { reason, server: route.server.clone() };
    if route.server.is_empty() {
        return Err(trouble("Name or service not known".into()));
    }
    let found = look_up(&route.server, route.port, Some(Family::V4)).map_err(trouble)?;
    let first = found.into_iter().find_map(|address| match address {
        SocketAddr::V4(v4) => Some(v4),
        SocketAddr::V6(_) => None,
    });
    first.ok_or_else(|| trouble("Address family for hostname not supported".into()))
}

/// The whole packet, from its IP header on.
fn datagram(route: &Route, to: Ipv4Addr, packet: &[u8], rng: &mut impl Rng) -> Vec<u8> {
    let from = route.source_port.unwrap_or_else(|| random_port(rng));
    let (protocol, inner) = match route.transport {
        TransportKind::UdpRaw => (17, udp_header(from, route.port, packet.len())),
        TransportKind::TcpRaw => (6, tcp_syn(from, route.port)),
        _ => (1, icmp_header(route.icmp, packet, rng)),
    };
    let length = u16::try_from(20 + inner.len() + packet.len()).unwrap_or(0); // a packet has less than 1500 bytes
    // Never 0, which would ask the kernel for one.
    let id = u16::try_from(rng.next_u32() >> 16).unwrap_or(0) | 1;
    let mut whole = Vec::with_capacity(length.into());
    whole.extend([0x45, 0]);
    whole.extend(length.to_be_bytes());
    whole.extend(id.to_be_bytes());
    whole.extend([0, 0, 255, protocol, 0, 0]);
    whole.extend(route.spoofed.unwrap_or(Ipv4Addr::UNSPECIFIED).octets());
    whole.extend(to.octets());
    whole.extend(inner);
    whole.extend(packet);
    whole
}

fn udp_header(from: u16, to: u16, data: usize) -> Vec<u8> {
    let length = u16::try_from(8 + data).unwrap_or(0);
    [from, to, length, 0].into_iter().flat_map(u16::to_be_bytes).collect()
}

/// Sequence 1, nothing acknowledged, only SYN, a window of 32767, no checksum, nothing urgent.
fn tcp_syn(from: u16, to: u16) -> Vec<u8> {
    [from, to, 0, 1, 0, 0, 0x5002, 32767, 0, 0].into_iter().flat_map(u16::to_be_bytes).collect()
}

/// An echo request has an identifier and a number, as ping's have; other messages have zeroes there.
fn icmp_header((kind, code): (u8, u8), data: &[u8], rng: &mut impl Rng) -> Vec<u8> {
    let (identifier, sequence) = match (kind, code) {
        (8, 0) => (u16::try_from(rng.next_u32() >> 16).unwrap_or(1), 1),
        _ => (0, 0),
    };
    let mut header = vec![kind, code, 0, 0];
    header.extend(identifier.to_be_bytes());
    header.extend::<[u8; 2]>(u16::to_be_bytes(sequence));
    let sum = checksum(header.iter().chain(data));
    if let Some(place) = header.get_mut(2..4) {
        place.copy_from_slice(&sum.to_be_bytes());
    }
    header
}

/// The Internet checksum (RFC 1071).
fn checksum<'b>(bytes: impl Iterator<Item = &'b u8>) -> u16 {
    let mut sum: u32 = bytes.enumerate().map(|(at, byte)| u32::from(*byte) << if at % 2 == 0 { 8 } else { 0 }).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_over_its_own_packet_is_zero() {
        // From RFC 1071, section 3: the sum of these words is ddf2.
        let words = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(checksum(words.iter()), !0xddf2);
        assert_eq!(checksum([&words[..], &(!0xddf2u16).to_be_bytes()].concat().iter()), 0);
        assert_eq!(checksum([0x01, 0x02, 0x03].iter()), !0x0402, "an odd byte counts as a high one");
    }

    #[test]
    fn the_lone_syn_says_what_the_original_says() {
        assert_eq!(
            tcp_syn(1234, 62201),
            [0x04, 0xd2, 0xf2, 0xf9, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0x7f, 0xff, 0, 0, 0, 0]
        );
    }
}
