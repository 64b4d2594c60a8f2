//! One line of the digest file: a used packet, and where and when it was used.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use spa::{ReplayDigest, UnixTime};

use crate::arrival::{Arrival, Transport};
use crate::capture::tcp::TIME;

/// The first line of a new file, to the letter.
pub const HEADER: &str = "# <digest> <proto> <src_ip> <src_port> <dst_ip> <dst_port> <time>";

/// Where and when a packet was used. The file format knows IPv4 only: IPv6 addresses become 0.0.0.0, so that the
/// original, too, still loads the digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// IP protocol number.
    pub protocol: u8,
    /// Where it came from.
    pub source: Ipv4Addr,
    /// Its source port; 0 for ICMP.
    pub source_port: u16,
    /// Where it went; 0.0.0.0 if unknown.
    pub destination: Ipv4Addr,
    /// Its destination port; 0 for ICMP.
    pub destination_port: u16,
    /// When it was received.
    pub time: UnixTime,
}

impl Used {
    /// Used by this arrival, now.
    pub fn by(arrival: &Arrival<'_>, now: UnixTime) -> Self {
        let v4 = |address| match address {
            IpAddr::V4(address) => address,
            IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
        };
        Self {
            protocol: arrival.transport.number(),
            source: v4(arrival.source),
            source_port: arrival.source_port,
            destination: v4(arrival.destination),
            destination_port: arrival.destination_port,
            time: now,
        }
    }
}

impl Used {
    /// Whether this arrival is the packet that was used, heard a second time: what came over a connection of ours was seen
    /// on the link before. Over IPv6 only the ports tell.
    pub fn is_same_connection(&self, arrival: &Arrival<'_>, now: UnixTime) -> bool {
        let again = Self { time: self.time, ..Self::by(arrival, now) };
        arrival.transport == Transport::Stream && *self == again && now.distance(self.time) <= 2 * TIME.as_secs()
    }
}

/// A line as it is written.
pub(super) struct Written<'a> {
    pub(super) digest: &'a ReplayDigest,
    pub(super) used: &'a Used,
}

impl fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Used { protocol, source, source_port, destination, destination_port, time } = self.used;
        let digest = self.digest;
        writeln!(f, "{digest} {protocol} {source} {source_port} {destination} {destination_port} {time}")
    }
}

/// Reads a line; `None` if it is no entry.
pub(super) fn parse(line: &str) -> Option<(ReplayDigest, Used)> {
    let mut words = line.split_ascii_whitespace();
    let digest = words.next()?.parse().ok()?;
    let used = Used {
        protocol: words.next()?.parse().ok()?,
        source: words.next()?.parse().ok()?,
        source_port: words.next()?.parse().ok()?,
        destination: words.next()?.parse().ok()?,
        destination_port: words.next()?.parse().ok()?,
        time: UnixTime(words.next()?.parse().ok()?),
    };
    words.next().is_none().then_some((digest, used))
}
