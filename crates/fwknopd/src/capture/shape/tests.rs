//! The shape filter, run by an interpreter: what it keeps, and that it agrees with libpcap about the port.

use super::*;
use crate::{
    arrival::samples::*,
    capture::bpf::interpreter::{Known, run},
};

const PORT: NonZeroU16 = NonZeroU16::new(62201).unwrap();
const KEEP: u32 = 2048;

fn shape(http: bool) -> Shape {
    Shape { http, keep: KEEP }
}

fn inbound(packet: &[u8]) -> Known {
    let version = packet.first().map_or(0, |first| first >> 4);
    Known { protocol: if version == 6 { 0x86dd } else { 0x0800 }, packet_type: 0 }
}

fn keeps(packet: &[u8]) -> bool {
    let program = shape(false).udp_port(PORT, Ends::Either, false).unwrap();
    run(&program, inbound(packet), packet) == KEEP
}

fn knock(length: usize) -> Vec<u8> {
    TEXT.iter().copied().cycle().take(length).collect()
}

fn ports(source: u16, destination: u16) -> Vec<u8> {
    let mut datagram = udp(&knock(200));
    datagram[0..2].copy_from_slice(&source.to_be_bytes());
    datagram[2..4].copy_from_slice(&destination.to_be_bytes());
    datagram
}

#[test]
fn keeps_knocks_over_both_families_and_with_options() {
    for length in [140, 200, 1499, 1500] {
        assert!(keeps(&ipv6(17, &udp(&knock(length)))), "{length}");
        for header in 5..=15 {
            assert!(keeps(&ipv4(header, 0x4000, 17, &udp(&knock(length)))), "{header}, {length}");
        }
    }
}

#[test]
fn drops_what_is_too_short_or_too_long() {
    for length in [0, 1, 139, 1501, 9000] {
        assert!(!keeps(&ipv4(5, 0, 17, &udp(&knock(length)))), "{length}");
        assert!(!keeps(&ipv6(17, &udp(&knock(length)))), "{length}");
    }
    let mut lies = ipv4(15, 0, 17, &udp(&knock(200)));
    lies[3] = 20; // a total length below the header
    lies[2] = 0;
    assert!(!keeps(&lies));
}

#[test]
fn drops_fragments_other_protocols_and_other_ports() {
    for flags in [0x2000, 0x0001, 0x3fff] {
        assert!(!keeps(&ipv4(5, flags, 17, &udp(&knock(200)))));
    }
    for next in [6, 1, 44, 58, 0] {
        assert!(!keeps(&ipv4(5, 0, next, &udp(&knock(200)))));
        assert!(!keeps(&ipv6(next, &udp(&knock(200)))));
    }
    assert!(!keeps(&ipv4(5, 0, 17, &ports(1, 62202))));
}

#[test]
fn takes_the_port_at_either_end_or_only_as_destination() {
    let answers = ipv4(5, 0, 17, &ports(62201, 1));
    let knocks = ipv4(5, 0, 17, &ports(1, 62201));
    for (ends, wanted) in [(Ends::Either, [true, true]), (Ends::Destination, [false, true])] {
        let program = shape(false).udp_port(PORT, ends, false).unwrap();
        let kept = [&answers, &knocks].map(|packet| run(&program, inbound(packet), packet) == KEEP);
        assert_eq!(kept, wanted, "{ends:?}");
    }
}

#[test]
fn drops_outgoing_packets_unless_told_otherwise() {
    let packet = ipv4(5, 0, 17, &udp(&knock(200)));
    for any_direction in [false, true] {
        let program = shape(false).udp_port(PORT, Ends::Either, any_direction).unwrap();
        let outgoing = Known { protocol: 0x0800, packet_type: OUTGOING };
        assert_eq!(run(&program, outgoing, &packet) == KEEP, any_direction);
    }
}

#[test]
fn looks_behind_a_second_vlan_tag() {
    let program = shape(false).udp_port(PORT, Ends::Either, false).unwrap();
    let tagged = Known { protocol: 0x8100, packet_type: 0 };
    for (kind, packet) in [([8, 0], ipv4(7, 0, 17, &udp(&knock(200)))), ([0x86, 0xdd], ipv6(17, &udp(&knock(200))))] {
        let behind = [&[0, 6], &kind[..], &packet].concat();
        assert_eq!(run(&program, tagged, &behind), KEEP);
        let arp = [&[0, 6, 8, 6], &packet[..]].concat();
        assert_eq!(run(&program, tagged, &arp), 0);
    }
    let arp = Known { protocol: 0x0806, packet_type: 0 };
    assert_eq!(run(&program, arp, &ipv4(5, 0, 17, &udp(&knock(200)))), 0);
}

#[test]
fn looks_at_each_of_the_first_bytes() {
    for at in 0..LOOKED_AT as usize {
        for byte in 0..=u8::MAX {
            let mut payload = knock(140);
            payload[at] = byte;
            let text = byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
            assert_eq!(keeps(&ipv4(5, 0, 17, &udp(&payload))), text, "byte {byte:#x} at {at}");
            let program = shape(false).datagram().unwrap();
            assert_eq!(run(&program, inbound(&[]), &udp(&payload)) == KEEP, text);
        }
    }
}

#[test]
fn takes_http_requests_only_if_told_to() {
    let filler = knock(150);
    for (request, http) in
        [("GET /", true), ("get /", true), ("gEt /", true), ("GET x", false), ("POST /", false), ("PUT /", false)]
    {
        let datagram = udp(&[request.as_bytes(), b"...\r\n", &filler].concat());
        for (enabled, wanted) in [(false, false), (true, http)] {
            let link = shape(enabled).udp_port(PORT, Ends::Either, false).unwrap();
            let packet = ipv4(5, 0, 17, &datagram);
            assert_eq!(run(&link, inbound(&packet), &packet) == KEEP, wanted, "{request}");
            let socket = shape(enabled).datagram().unwrap();
            assert_eq!(run(&socket, inbound(&[]), &datagram) == KEEP, wanted, "{request}");
        }
    }
    let program = shape(true).datagram().unwrap();
    assert_eq!(run(&program, inbound(&[]), &udp(&knock(140))), KEEP, "plain knocks pass as well");
}

#[cfg(feature = "pcap")]
mod with_libpcap {
    use proptest::prelude::*;

    use super::*;
    use crate::arrival::{Arrival, Transport};

    /// What the filter is meant to keep, said once more in Rust.
    fn meant(packet: &[u8], libpcap: &pcap::BpfProgram) -> bool {
        let Ok(arrival) = Arrival::from_ip(packet) else {
            return false;
        };
        let text = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
        let plain = arrival.transport == Transport::Udp && !(packet[0] >> 4 == 6 && packet[6] != 17);
        let payload = arrival.payload;
        plain && libpcap.filter(packet) && (140..=1500).contains(&payload.len()) && payload[..12].iter().all(text)
    }

    proptest! {
        #[test]
        fn agrees_with_libpcap_about_the_port(
            six: bool, header in 5u8..=15, length in 130usize..160, port in prop_oneof![Just(62201u16), any::<u16>()],
            spoilt in proptest::collection::vec((0usize..90, any::<u8>()), 0..3),
        ) {
            let mut datagram = udp(&knock(length));
            datagram[2..4].copy_from_slice(&port.to_be_bytes());
            let mut packet = if six { ipv6(17, &datagram) } else { ipv4(header, 0, 17, &datagram) };
            for (at, byte) in spoilt {
                packet[at] = byte;
            }
            let version = packet[0] >> 4;
            prop_assume!(version == if six { 6 } else { 4 }); // the kernel goes by the EtherType
            let libpcap = crate::capture::filter::libpcap::program("udp port 62201").unwrap();
            let kept = keeps(&packet);
            if Arrival::from_ip(&packet).is_ok() {
                prop_assert_eq!(kept, meant(&packet, &libpcap));
            } else if kept {
                // Only a header shorter than a header or a length beyond the packet: the reader refuses those.
                prop_assert!(libpcap.filter(&packet) || version == 4);
            }
        }
    }
}
