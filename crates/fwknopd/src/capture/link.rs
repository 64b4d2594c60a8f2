//! The link header in front of an IP packet, as capture files have it.
//!
//! Live packets need none of this: the kernel takes link headers off (see [`packet`](super::packet)).
//!
//! ```
//! use fwknopd::capture::link::Link;
//!
//! let frame = [&[0; 12][..], &[0x81, 0x00, 0x00, 0x07, 0x08, 0x00], b"IP from here"].concat();
//! assert_eq!(Link::Ethernet.ip(&frame), Some(&b"IP from here"[..]));
//! ```

/// What kind of header stands in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Ethernet II, with any number of VLAN tags up to [`TAGS`].
    Ethernet,
    /// Linux "cooked" capture, version 1: 16 bytes.
    CookedV1,
    /// The same, version 2: 20 bytes.
    CookedV2,
    /// BSD loopback: four bytes of address family in one byte order or the other.
    Loopback,
    /// None: IP from the first byte (tun, WireGuard, ppp).
    Raw,
}

/// How many VLAN tags are skipped: an outer one, an inner one, and some patience.
pub const TAGS: usize = 4;

impl Link {
    /// The kind by its number in libpcap's list of link types; `None` if it is none of ours.
    #[must_use]
    pub fn from_number(number: i32) -> Option<Self> {
        match number {
            1 => Some(Self::Ethernet),
            113 => Some(Self::CookedV1),
            276 => Some(Self::CookedV2),
            0 | 108 => Some(Self::Loopback),
            12 | 14 | 101 | 228 | 229 => Some(Self::Raw),
            _ => None,
        }
    }

    /// The frame from its IP header on; `None` if it carries something else.
    #[must_use]
    pub fn ip(self, frame: &[u8]) -> Option<&[u8]> {
        match self {
            Self::Ethernet => behind_tags(frame.get(12..)?),
            Self::CookedV1 => behind_tags(frame.get(14..)?),
            Self::CookedV2 => {
                let (kind, rest) = frame.split_first_chunk::<2>()?;
                behind_kind(*kind, rest.get(18..)?)
            }
            Self::Loopback => frame.get(4..),
            Self::Raw => Some(frame),
        }
    }
}

/// What follows, if `bytes` begin with an EtherType.
fn behind_tags(bytes: &[u8]) -> Option<&[u8]> {
    let (kind, rest) = bytes.split_first_chunk::<2>()?;
    behind_kind(*kind, rest)
}

fn behind_kind(mut kind: [u8; 2], mut rest: &[u8]) -> Option<&[u8]> {
    for _ in 0..=TAGS {
        match kind {
            [0x08, 0x00] | [0x86, 0xdd] => return Some(rest),
            [0x81, 0x00] | [0x88, 0xa8] | [0x91, 0x00] => {
                let (&[_, _, k0, k1], after) = rest.split_first_chunk::<4>()?;
                (kind, rest) = ([k0, k1], after);
            }
            _ => return None,
        }
    }
    None
}

/// A live packet from its IP header on. The kernel takes off one VLAN tag; if there was another, what it hands over begins
/// with the rest of that: two bytes of tag and an EtherType. (It names the protocol, but newer kernels name the inner one.)
///
/// The bytes alone tell: read as IP, such a packet would be at least 2048 bytes long, and ours are shorter.
#[must_use]
pub fn behind_second_tag(packet: &[u8]) -> &[u8] {
    match packet {
        [_, _, 0x08, 0x00, rest @ ..] if rest.first().is_some_and(|first| first >> 4 == 4) => rest,
        [_, _, 0x86, 0xdd, rest @ ..] if rest.first().is_some_and(|first| first >> 4 == 6) => rest,
        whole => whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IP: &[u8] = &[0x45, 0, 0, 20];

    #[test]
    fn finds_ip_behind_every_kind_of_header() {
        let ethernet = |kind: &[u8]| [&[7; 12], kind, IP].concat();
        let cooked = |size: usize| [&vec![0; size][..], &[0x08, 0x00], IP].concat();
        let cooked2 = |kind: &[u8]| [kind, &[0; 18], IP].concat();
        let table: [(&str, Link, Vec<u8>); 9] = [
            ("plain", Link::Ethernet, ethernet(&[0x08, 0x00])),
            ("IPv6", Link::Ethernet, ethernet(&[0x86, 0xdd])),
            ("802.1Q", Link::Ethernet, ethernet(&[0x81, 0, 0, 5, 8, 0])),
            ("QinQ", Link::Ethernet, ethernet(&[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, 8, 0])),
            ("cooked", Link::CookedV1, cooked(14)),
            ("cooked 2", Link::CookedV2, cooked2(&[8, 0])),
            ("null", Link::Loopback, [&[2, 0, 0, 0], IP].concat()),
            ("loop", Link::Loopback, [&[0, 0, 0, 2], IP].concat()),
            ("raw", Link::Raw, IP.to_vec()),
        ];
        for (name, link, frame) in table {
            assert_eq!(link.ip(&frame), Some(IP), "{name}");
        }
    }

    #[test]
    fn refuses_what_is_not_ip() {
        let arp = [&[7; 12], &[0x08, 0x06][..], IP].concat();
        let cut_tag = [&[7; 12], &[0x81, 0x00, 0][..]].concat();
        let tags = [[7; 12].to_vec(), [0x81, 0, 0, 1].repeat(TAGS + 1), vec![8, 0]].concat();
        for frame in [arp, cut_tag, tags, vec![]] {
            assert_eq!(Link::Ethernet.ip(&frame), None, "{frame:x?}");
        }
        assert_eq!(Link::CookedV2.ip(&[8, 0, 0]), None);
    }

    #[test]
    fn tells_a_tag_from_an_ip_header() {
        assert_eq!(behind_second_tag(&[0x45, 6, 8, 0, 0x45, 0]), [0x45, 0]);
        assert_eq!(behind_second_tag(&[0x60, 6, 0x86, 0xdd, 0x60, 0]), [0x60, 0]);
        for whole in [&[0x45, 0, 0x05, 0, 0x45][..], &[0x45, 0, 8, 0, 0x12], &[0x60, 6, 0x86, 0xdd, 0x05], &[8, 0]] {
            assert_eq!(behind_second_tag(whole), whole);
        }
    }

    #[test]
    fn knows_link_types_by_number() {
        for number in [0, 1, 12, 101, 108, 113, 228, 229, 276] {
            assert!(Link::from_number(number).is_some(), "{number}");
        }
        assert_eq!(Link::from_number(105), None); // wireless LAN
    }
}
