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
            Self::Tcp => 6,
            Self::Icmp => 1,
            Self::Icmpv6 => 58,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
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
        Self {
            source: source.0.to_canonical(),
            source_port: source.1,
            destination: destination.0.to_canonical(),
            destination_port: destination.1,
            transport: Transport::Udp,
            payload,
        }
    }

    fn from_ipv4(packet: &'p [u8]) -> Result<Self, Unreadable> {
        const MORE_FRAGMENTS_OR_OFFSET: u16 = 0x3fff;
        let (fixed, _) = packet.split_first_chunk::<20>().ok_or(Unreadable::Cut)?;
        let &[
            first,
            _,
            l0,
            l1,
            _,
            _,
            f0,
            f1,
            _,
            protocol,
            _,
            _,
            s0,
            s1,
            s2,
            s3,
            d0,
            d1,
            d2,
            d3,
        ] = fixed;
        let header = usize::from(first & 0x0f) * 4;
        let total = usize::from(u16::from_be_bytes([l0, l1]));
        if header < 20 || total < header {
            return Err(Unreadable::Lengths);
        }
        let body = packet
            .get(..total)
            .and_then(|whole| whole.get(header..))
            .ok_or(Unreadable::Cut)?;
        if u16::from_be_bytes([f0, f1]) & MORE_FRAGMENTS_OR_OFFSET != 0 {
            return Err(Unreadable::Fragment);
        }
        let transport = match protocol {
            17 => Transport::Udp,
            6 => Transport::Tcp,
            1 => Transport::Icmp,
            other => return Err(Unreadable::Protocol(other)),
        };
        let ends = (
            Ipv4Addr::new(s0, s1, s2, s3).into(),
            Ipv4Addr::new(d0, d1, d2, d3).into(),
        );
        Self::from_transport(ends, transport, body)
    }

    fn from_ipv6(packet: &'p [u8]) -> Result<Self, Unreadable> {
        let (fixed, rest) = packet.split_first_chunk::<40>().ok_or(Unreadable::Cut)?;
        let (&[_, _, _, _, l0, l1, mut next, _], addresses) =
            fixed.split_first_chunk::<8>().ok_or(Unreadable::Cut)?;
        let (source, destination) = addresses.split_first_chunk::<16>().ok_or(Unreadable::Cut)?;
        let destination: &[u8; 16] = destination.try_into().map_err(|_| Unreadable::Cut)?;
        let mut body = rest
            .get(..usize::from(u16::from_be_bytes([l0, l1])))
            .ok_or(Unreadable::Cut)?;
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
                    body = body
                        .get((usize::from(units) + 1) * 8..)
                        .ok_or(Unreadable::Cut)?;
                    next = after;
                    continue;
                }
                other => return Err(Unreadable::Protocol(other)),
            };
            return Self::from_transport(ends, transport, body);
        }
        Err(Unreadable::Headers)
    }

    fn from_transport(
        ends: (IpAddr, IpAddr),
        transport: Transport,
        body: &'p [u8],
    ) -> Result<Self, Unreadable> {
        let &[s0, s1, d0, d1, ..] = body.first_chunk::<8>().ok_or(Unreadable::Cut)?;
        let (ports, header) = match transport {
            Transport::Udp => (
                (u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1])),
                8,
            ),
            Transport::Tcp => {
                let offset = body.get(12).ok_or(Unreadable::Cut)? >> 4;
                let header = usize::from(offset) * 4;
                if header < 20 {
                    return Err(Unreadable::Lengths);
                }
                (
                    (u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1])),
                    header,
                )
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &[u8] = b"8lRlCH0bHkOP1WHqztagaYJm";

    fn udp(payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len() + 8).unwrap().to_be_bytes();
        [&[0x30, 0x39, 0xf2, 0xf9], &length[..], &[0, 0], payload].concat()
    }

    fn ipv4(header: u8, flags: u16, protocol: u8, body: &[u8]) -> Vec<u8> {
        let options = vec![1; usize::from(header) * 4 - 20];
        let total = u16::try_from(20 + options.len() + body.len())
            .unwrap()
            .to_be_bytes();
        let fixed = [
            0x40 | header,
            0,
            total[0],
            total[1],
            0,
            1,
            flags.to_be_bytes()[0],
            flags.to_be_bytes()[1],
        ];
        let rest = [64, protocol, 0, 0, 192, 0, 2, 7, 198, 51, 100, 9];
        [&fixed[..], &rest[..], &options, body].concat()
    }

    fn ipv6(next: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        let source = "2001:db8::7".parse::<Ipv6Addr>().unwrap().octets();
        let destination = "2001:db8::9".parse::<Ipv6Addr>().unwrap().octets();
        [
            &[0x60, 0, 0, 0, length[0], length[1], next, 64][..],
            &source,
            &destination,
            body,
        ]
        .concat()
    }

    fn extended(headers: &[u8], body: &[u8]) -> Vec<u8> {
        let mut packet = Vec::new();
        for (place, _) in headers.iter().enumerate() {
            let after = headers.get(place + 1).copied().unwrap_or(17);
            packet.extend([after, 1].iter().chain([0; 14].iter()));
        }
        packet.extend(body);
        ipv6(headers.first().copied().unwrap_or(17), &packet)
    }

    #[test]
    fn finds_the_text_in_every_packet_of_the_original_client() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../tests/vectors/frames.json")).unwrap();
        for frame in vectors["frames"].as_array().unwrap() {
            let hex = frame["ip_packet"].as_str().unwrap();
            let bytes: Vec<u8> = (0..hex.len() / 2)
                .map(|at| u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).unwrap())
                .collect();
            let arrival = Arrival::from_ip(&bytes).unwrap();
            let offset = usize::try_from(frame["payload_offset"].as_u64().unwrap()).unwrap();
            assert_eq!(arrival.payload, &bytes[offset..], "{}", frame["id"]);
            let transport = frame["transport"].as_str().unwrap();
            let carried_by = match arrival.transport {
                Transport::Udp => transport.starts_with("udp"),
                Transport::Tcp => transport.starts_with("tcp") || transport == "http",
                Transport::Icmp => transport.starts_with("icmp"),
                Transport::Icmpv6 => false,
            };
            assert!(carried_by, "{transport} came as {}", arrival.transport);
        }
    }

    #[test]
    fn says_where_an_ipv4_packet_came_from_and_went_to() {
        let packet = ipv4(5, 0x4000, 17, &udp(TEXT));
        let wanted = Arrival {
            source: "192.0.2.7".parse().unwrap(),
            source_port: 12345,
            destination: "198.51.100.9".parse().unwrap(),
            destination_port: 62201,
            transport: Transport::Udp,
            payload: TEXT,
        };
        assert_eq!(Arrival::from_ip(&packet), Ok(wanted));
    }

    #[test]
    fn skips_ip_options_of_every_length() {
        for header in 5..=15 {
            let packet = ipv4(header, 0, 17, &udp(TEXT));
            assert_eq!(
                Arrival::from_ip(&packet).unwrap().payload,
                TEXT,
                "header of {header} words"
            );
        }
    }

    #[test]
    fn ignores_bytes_after_the_packet() {
        for mut packet in [ipv4(5, 0, 17, &udp(TEXT)), ipv6(17, &udp(TEXT))] {
            packet.extend(b"frame check");
            assert_eq!(Arrival::from_ip(&packet).unwrap().payload, TEXT);
        }
    }

    #[test]
    fn refuses_fragments_of_both_families() {
        for flags in [0x2000, 0x2001, 0x0001, 0x1fff] {
            assert_eq!(
                Arrival::from_ip(&ipv4(5, flags, 17, &udp(TEXT))),
                Err(Unreadable::Fragment)
            );
        }
        assert_eq!(
            Arrival::from_ip(&extended(&[44], &udp(TEXT))),
            Err(Unreadable::Fragment)
        );
        assert_eq!(
            Arrival::from_ip(&extended(&[60, 44], &udp(TEXT))),
            Err(Unreadable::Fragment)
        );
    }

    #[test]
    fn skips_a_few_ipv6_extension_headers_and_not_many() {
        for headers in [&[][..], &[0], &[43], &[60], &[0, 43, 60]] {
            let packet = extended(headers, &udp(TEXT));
            let arrival = Arrival::from_ip(&packet).unwrap();
            assert_eq!(
                (arrival.payload, arrival.destination_port),
                (TEXT, 62201),
                "{headers:?}"
            );
            assert_eq!(arrival.source, "2001:db8::7".parse::<IpAddr>().unwrap());
        }
        assert!(Arrival::from_ip(&extended(&[60; EXTENSION_HEADERS], &udp(TEXT))).is_ok());
        let many = extended(&[60; EXTENSION_HEADERS + 1], &udp(TEXT));
        assert_eq!(Arrival::from_ip(&many), Err(Unreadable::Headers));
    }

    #[test]
    fn skips_tcp_options_and_refuses_impossible_tcp_headers() {
        let segment = |words: u8, size: usize| {
            let mut segment = vec![0; size];
            segment[12] = words << 4;
            segment.extend(TEXT);
            ipv4(5, 0, 6, &segment)
        };
        assert_eq!(Arrival::from_ip(&segment(5, 20)).unwrap().payload, TEXT);
        assert_eq!(Arrival::from_ip(&segment(8, 32)).unwrap().payload, TEXT);
        assert_eq!(Arrival::from_ip(&segment(4, 20)), Err(Unreadable::Lengths));
        assert_eq!(Arrival::from_ip(&segment(15, 20)), Err(Unreadable::Cut));
    }

    #[test]
    fn reads_icmp_without_ports() {
        let message = [&[13, 0, 0, 0, 1, 2, 3, 4], TEXT].concat();
        for packet in [ipv4(5, 0, 1, &message), ipv6(58, &message)] {
            let arrival = Arrival::from_ip(&packet).unwrap();
            assert_eq!(
                (
                    arrival.source_port,
                    arrival.destination_port,
                    arrival.payload
                ),
                (0, 0, TEXT)
            );
        }
        assert_eq!(
            Arrival::from_ip(&ipv6(1, &message)),
            Err(Unreadable::Protocol(1))
        );
        assert_eq!(
            Arrival::from_ip(&ipv4(5, 0, 58, &message)),
            Err(Unreadable::Protocol(58))
        );
    }

    #[test]
    fn says_why_a_packet_cannot_be_read() {
        let good = ipv4(5, 0, 17, &udp(TEXT));
        let with = |at: usize, byte: u8| {
            let mut packet = good.clone();
            packet[at] = byte;
            packet
        };
        let table: [(&str, Vec<u8>, Unreadable); 8] = [
            ("nothing at all", vec![], Unreadable::Cut),
            ("version 5", with(0, 0x55), Unreadable::NotIp),
            ("header of 4 words", with(0, 0x44), Unreadable::Lengths),
            (
                "total length below the header",
                with(3, 19),
                Unreadable::Lengths,
            ),
            (
                "total length beyond the capture",
                with(2, 9),
                Unreadable::Cut,
            ),
            (
                "a byte missing",
                good[..good.len() - 1].to_vec(),
                Unreadable::Cut,
            ),
            ("no room for UDP", ipv4(5, 0, 17, &[0; 7]), Unreadable::Cut),
            ("GRE", ipv4(5, 0, 47, &udp(TEXT)), Unreadable::Protocol(47)),
        ];
        for (name, packet, why) in table {
            assert_eq!(Arrival::from_ip(&packet), Err(why), "{name}");
        }
    }

    #[test]
    fn writes_a_mapped_address_as_plain_ipv4() {
        let mapped = "::ffff:192.0.2.7".parse().unwrap();
        let arrival = Arrival::datagram((mapped, 1), (mapped, 2), TEXT);
        assert_eq!(arrival.source, "192.0.2.7".parse::<IpAddr>().unwrap());
        assert_eq!(arrival.destination, arrival.source);
    }

    proptest! {
        #[test]
        fn takes_any_bytes_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), version in 0u8..3) {
            let mut bytes = bytes;
            if let (Some(first), true) = (bytes.first_mut(), version > 0) {
                *first = *first & 0x0f | version * 2 + 2 << 4;
            }
            if let Ok(arrival) = Arrival::from_ip(&bytes) {
                prop_assert!(bytes.as_ptr_range().contains(&arrival.payload.as_ptr()) || arrival.payload.is_empty());
            }
        }
    }
}
