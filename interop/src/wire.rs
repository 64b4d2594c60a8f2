//! Packets by hand: any protocol, whole or in pieces.
//!
//! IPv4 only. The kernel fills in the IP checksum; UDP may go without one, and who sniffs does not look at TCP's.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use crate::host::Host;

/// Sends a payload as one UDP datagram from an ordinary socket, IPv4 or IPv6.
///
/// # Panics
/// When the kernel does not take it.
pub fn udp(from: &Host, to: SocketAddr, payload: &[u8]) {
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let sent = from.inside(|| UdpSocket::bind(any)?.send_to(payload, to));
    assert_eq!(sent.expect("the kernel takes a datagram"), payload.len());
}

/// Sends a complete IPv4 packet, header and all.
///
/// # Panics
/// When the kernel does not take it.
pub fn raw(from: &Host, packet: &[u8]) {
    let destination = packet.get(16..20).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok()).map(Ipv4Addr::from);
    let destination = SocketAddrV4::new(destination.expect("an IPv4 header has a destination"), 0);
    let sent = from.inside(|| -> io::Result<usize> {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255)))?;
        socket.set_header_included_v4(true)?;
        socket.send_to(packet, &destination.into())
    });
    sent.expect("the kernel takes a raw packet");
}

/// An IPv4 packet with the given protocol number and body.
pub fn ipv4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, body: &[u8]) -> Vec<u8> {
    fragment(source, destination, protocol, 0, body)
}

/// The two fragments of one packet, cut after `first` bytes of the body (a multiple of 8).
pub fn fragments(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, body: &[u8], first: usize) -> [Vec<u8>; 2] {
    const MORE: u16 = 0x2000;
    let (head, tail) = body.split_at(first);
    let offset = u16::try_from(first / 8).expect("a body is short");
    [fragment(source, destination, protocol, MORE, head), fragment(source, destination, protocol, offset, tail)]
}

fn fragment(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, place: u16, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + body.len()).expect("a packet is short");
    let mut packet = vec![0x45, 0];
    packet.extend(length.to_be_bytes());
    packet.extend(0x4a4a_u16.to_be_bytes());
    packet.extend(place.to_be_bytes());
    packet.extend([64, protocol, 0, 0]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(body);
    packet
}

/// A UDP header, without checksum, and its payload.
pub fn udp_body(source_port: u16, destination_port: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).expect("a datagram is short");
    let mut body = Vec::new();
    for word in [source_port, destination_port, length, 0] {
        body.extend(word.to_be_bytes());
    }
    body.extend(payload);
    body
}

/// A TCP segment with data that belongs to no connection.
pub fn tcp_body(source_port: u16, destination_port: u16, payload: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(source_port.to_be_bytes());
    body.extend(destination_port.to_be_bytes());
    body.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x18, 0x20, 0, 0, 0, 0, 0]);
    body.extend(payload);
    body
}

/// An ICMP echo reply with data.
pub fn icmp_body(payload: &[u8]) -> Vec<u8> {
    let mut body = vec![0, 0, 0, 0, 0, 1, 0, 1];
    body.extend(payload);
    body
}
