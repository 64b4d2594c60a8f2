//! A packet that reached us, and how its headers come off.
//!
//! [`Arrival::from_ip`] is given the bytes from the IP header on and looks at nothing else: no checksum, no port,
//! no text. It takes every byte string, and either finds a payload or says why there is none.
//!
//! ```text
//! IPv4 [options] ─┐              ┌─ UDP  (8) ───────────┐
//!                 ├─▶ transport ─┼─ TCP  (data offset) ─┼─▶ payload, up to the IP length
//! IPv6 [headers] ─┘              └─ ICMP (8) ───────────┘
//! ```
//!
//! Differences from the original (spec/server.md 6.2, T23): the header length is read with all its bits, so IP options are
//! skipped; IPv6 is understood; fragments are refused instead of being read as if they were whole.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use thiserror::Error;

/// A packet that reached us, with where it came from and how.
///
/// Addresses are in their plain form: an IPv4 address is never written as `::ffff:a.b.c.d` here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival<'p> {
    /// Where it says it came from. Nobody has checked that.
    pub source: IpAddr,
    /// The sender's port; 0 where the transport has none.
    pub source_port: u16,
    /// Whom it was sent to; the unspecified address if that is not known.
    pub destination: IpAddr,
    /// The port it was sent to; 0 where the transport has none.
    pub destination_port: u16,
    /// What carried it.
    pub transport: Transport,
    /// What was in it, of any length (the length rule is the reader's).
    pub payload: &'p [u8],
}

/// What carried a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// A datagram.
    Udp,
    /// One segment, whatever its flags.
    Tcp,
    /// All that a peer sent over one TCP connection of ours.
    Stream,
    /// An ICMP message of any type, over IPv4.
    Icmp,
    /// The same over IPv6.
    Icmpv6,
}

impl Transport {
    /// The protocol's number in an IP header: 17, 6, 1 or 58.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Udp => 17,
            Self::Tcp | Self::Stream => 6,
            Self::Icmp => 1,
            Self::Icmpv6 => 58,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "udp",
            Self::Tcp | Self::Stream => "tcp",
            Self::Icmp => "icmp",
            Self::Icmpv6 => "icmpv6",
        })
    }
}

/// Why a packet has no payload for us. Counted, never logged: anybody can send such things all day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unreadable {
    /// Neither IPv4 nor IPv6.
    #[error("not an IP packet")]
    NotIp,
    /// A header, or the length in it, goes beyond the bytes that were captured.
    #[error("cut short")]
    Cut,
    /// A length field that contradicts its own header.
    #[error("lengths that contradict each other")]
    Lengths,
    /// A piece of a packet. A UDP socket gets them put together again, a capture does not.
    #[error("a fragment")]
    Fragment,
    /// A transport we do not read, by its number.
    #[error("IP protocol {0}")]
    Protocol(u8),
    /// More IPv6 extension headers than any honest sender puts in front.
    #[error("too many extension headers")]
    Headers,
}

/// How many IPv6 extension headers are skipped before we stop believing in them.
const EXTENSION_HEADERS: usize = 8;

impl<'p> Arrival<'p> {
    /// Takes the headers off a packet that starts at its IP header.
    ///
    /// Bytes after the IP length (padding, a frame check sequence) are ignored. Checksums are not looked at, as in the
    /// original: the link has checked its own, and the HMAC decides.
    pub fn from_ip(packet: &'p [u8]) -> Result<Self, Unreadable> {
        match packet.first().ok_or(Unreadable::Cut)? >> 4 {
            4 => Self::from_ipv4(packet),
            6 => Self::from_ipv6(packet),
            _ => Err(Unreadable::NotIp),
        }
    }

    /// A datagram that a UDP socket has already unpacked.
    #[must_use]
    pub fn datagram(source: (IpAddr, u16), destination: (IpAddr, u16), payload: &'p [u8]) -> Self {
        Self::unpacked(Transport::Udp, source, destination, payload)
    }

    /// What came over a connection of ours.
    #[must_use]
    pub fn stream(source: (IpAddr, u16), destination: (IpAddr, u16), payload: &'p [u8]) -> Self {
        Self::unpacked(Transport::Stream, source, destination, payload)
    }

    fn unpacked(transport: Transport, source: (IpAddr, u16), destination: (IpAddr, u16), payload: &'p [u8]) -> Self {
        Self {
            source: source.0.to_canonical(),
            source_port: source.1,
            destination: destination.0.to_canonical(),
            destination_port: destination.1,
            transport,
            payload,
        }
    }

    fn from_ipv4(packet: &'p [u8]) -> Result<Self, Unreadable> {
        const MORE_FRAGMENTS_OR_OFFSET: u16 = 0x3fff;
        let (fixed, _) = packet.split_first_chunk::<20>().ok_or(Unreadable::Cut)?;
        let &[first, _, l0, l1, _, _, f0, f1, _, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] = fixed;
        let header = usize::from(first & 0x0f) * 4;
        let total = usize::from(u16::from_be_bytes([l0, l1]));
        if header < 20 || total < header {
            return Err(Unreadable::Lengths);
        }
        let body = packet.get(..total).and_then(|whole| whole.get(header..)).ok_or(Unreadable::Cut)?;
        if u16::from_be_bytes([f0, f1]) & MORE_FRAGMENTS_OR_OFFSET != 0 {
            return Err(Unreadable::Fragment);
        }
        let transport = match protocol {
            17 => Transport::Udp,
            6 => Transport::Tcp,
            1 => Transport::Icmp,
            other => return Err(Unreadable::Protocol(other)),
        };
        let ends = (Ipv4Addr::new(s0, s1, s2, s3).into(), Ipv4Addr::new(d0, d1, d2, d3).into());
        Self::from_transport(ends, transport, body)
    }

    fn from_ipv6(packet: &'p [u8]) -> Result<Self, Unreadable> {
        let (fixed, rest) = packet.split_first_chunk::<40>().ok_or(Unreadable::Cut)?;
        let (&[_, _, _, _, l0, l1, mut next, _], addresses) = fixed.split_first_chunk::<8>().ok_or(Unreadable::Cut)?;
        let (source, destination) = addresses.split_first_chunk::<16>().ok_or(Unreadable::Cut)?;
        let destination: &[u8; 16] = destination.try_into().map_err(|_| Unreadable::Cut)?;
        let mut body = rest.get(..usize::from(u16::from_be_bytes([l0, l1]))).ok_or(Unreadable::Cut)?;
        let ends = (
            IpAddr::from(Ipv6Addr::from(*source)).to_canonical(),
            IpAddr::from(Ipv6Addr::from(*destination)).to_canonical(),
        );
        for _ in 0..=EXTENSION_HEADERS {
            let transport = match next {
                17 => Transport::Udp,
                6 => Transport::Tcp,
                58 => Transport::Icmpv6,
                44 => return Err(Unreadable::Fragment),
                // hop-by-hop, routing, destination options: next header, length in units of 8 beyond the first 8
                0 | 43 | 60 => {
                    let &[after, units, ..] = body.first_chunk::<8>().ok_or(Unreadable::Cut)?;
                    body = body.get((usize::from(units) + 1) * 8..).ok_or(Unreadable::Cut)?;
                    next = after;
                    continue;
                }
                other => return Err(Unreadable::Protocol(other)),
            };
            return Self::from_transport(ends, transport, body);
        }
        Err(Unreadable::Headers)
    }

    fn from_transport(ends: (IpAddr, IpAddr), transport: Transport, body: &'p [u8]) -> Result<Self, Unreadable> {
        let &[s0, s1, d0, d1, ..] = body.first_chunk::<8>().ok_or(Unreadable::Cut)?;
        let (ports, header) = match transport {
            Transport::Udp => ((u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1])), 8),
            Transport::Tcp | Transport::Stream => {
                let offset = body.get(12).ok_or(Unreadable::Cut)? >> 4;
                let header = usize::from(offset) * 4;
                if header < 20 {
                    return Err(Unreadable::Lengths);
                }
                ((u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1])), header)
            }
            Transport::Icmp | Transport::Icmpv6 => ((0, 0), 8),
        };
        Ok(Self {
            source: ends.0,
            source_port: ports.0,
            destination: ends.1,
            destination_port: ports.1,
            transport,
            payload: body.get(header..).ok_or(Unreadable::Cut)?,
        })
    }
}

#[cfg(test)]
pub(crate) mod samples;

#[cfg(test)]
mod tests;
