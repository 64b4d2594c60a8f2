//! Which expressions are ours, and that libpcap's programs still mean the same behind our prologue.

use super::*;

#[test]
fn knows_the_spellings_of_the_default() {
    let port = |number| NonZeroU16::new(number).unwrap();
    for (expression, wanted) in [
        ("udp port 62201", Some((Ends::Either, port(62201)))),
        ("  udp   port\t62201 ", Some((Ends::Either, port(62201)))),
        ("(udp port 53)", Some((Ends::Either, port(53)))),
        ("udp and port 53", Some((Ends::Either, port(53)))),
        ("port 53 && udp", Some((Ends::Either, port(53)))),
        ("udp dst port 53", Some((Ends::Destination, port(53)))),
        ("dst port 53 and udp", Some((Ends::Destination, port(53)))),
        ("udp port 0", None),
        ("udp port 065", None),
        ("udp port +65", None),
        ("udp port 65536", None),
        ("udp port domain", None),
        ("udp src port 53", None),
        ("(udp port 1) or (udp port 2)", None),
        ("tcp port 80", None),
        ("port 53", None),
        ("", None),
    ] {
        assert_eq!(udp_port(expression), wanted, "{expression:?}");
    }
}

#[test]
fn the_empty_filter_keeps_all_incoming_ip() {
    let filter = Filter::compile(" ", &Wanted::default()).unwrap();
    assert!(!filter.knows_the_shape());
    let both = Filter::compile("", &Wanted { any_direction: true, ..Wanted::default() }).unwrap();
    assert!(both.program().len() < filter.program().len());
}

#[test]
fn keeps_no_more_than_was_wanted() {
    for (keep, wanted) in [(1500, 1500), (u16::MAX, u32::from(PACKET))] {
        for expression in ["udp port 1", ""] {
            let filter = Filter::compile(expression, &Wanted { keep, ..Wanted::default() }).unwrap();
            let most = filter
                .program()
                .iter()
                .filter(|line| line.code == crate::capture::bpf::RETURN)
                .map(|line| line.k)
                .max();
            assert_eq!(most, Some(wanted), "{expression:?}");
        }
    }
}

#[cfg(not(feature = "pcap"))]
#[test]
fn says_that_other_expressions_need_libpcap() {
    let error = Filter::compile("tcp port 80", &Wanted::default()).unwrap_err().to_string();
    assert!(error.contains("'tcp port 80' needs libpcap"), "{error}");
}

#[cfg(feature = "pcap")]
mod with_libpcap {
    use super::{super::*, *};
    use crate::{
        arrival::samples::*,
        capture::bpf::interpreter::{Known, run},
    };

    #[test]
    fn repeats_what_libpcap_says_about_a_mistake() {
        let error = Filter::compile("udp prot 62201", &Wanted::default()).unwrap_err().to_string();
        assert!(error.starts_with("[*] Error compiling pcap filter: "), "{error}");
        assert!(error.contains("syntax error"), "{error}");
    }

    #[test]
    fn a_program_of_libpcap_means_the_same_behind_our_prologue() {
        let bodies = [udp(TEXT), [&[0, 80, 1, 187][..], &[0; 8], &[0x50, 2], &[0; 40]].concat()];
        let mut packets = vec![];
        for body in &bodies {
            for protocol in [1, 6, 17, 58] {
                packets.push(ipv4(5, 0, protocol, body));
                packets.push(ipv4(8, 0, protocol, body));
                packets.push(ipv4(5, 0x2001, protocol, body));
                packets.push(ipv6(protocol, body));
            }
        }
        for expression in [
            "udp",
            "tcp",
            "icmp",
            "icmp6",
            "ip6",
            "port 80",
            "udp port 62201 or tcp port 443",
            "not udp port 62201",
            "udp portrange 62000-63000",
            "src net 192.0.2.0/24",
            "dst host 2001:db8::9",
            "len > 70",
            "tcp[tcpflags] & tcp-syn != 0",
            "ip[0] & 0xf > 5",
            "udp[8:2] = 0x386c",
            "host 192.0.2.7 and (udp or tcp) and not port 22",
        ] {
            let filter = Filter::compile(expression, &Wanted::default()).unwrap();
            let libpcap = libpcap::program(expression).unwrap();
            let mut kept = 0;
            for packet in &packets {
                let protocol = if packet[0] >> 4 == 6 { 0x86dd } else { 0x0800 };
                let verdict = run(filter.program(), Known { protocol, packet_type: 0 }, packet) > 0;
                assert_eq!(verdict, libpcap.filter(packet), "{expression}: {packet:x?}");
                kept += usize::from(verdict);
                assert_eq!(run(filter.program(), Known { protocol, packet_type: 4 }, packet), 0, "outgoing");
                assert_eq!(run(filter.program(), Known { protocol: 0x0806, packet_type: 0 }, packet), 0, "not IP");
            }
            assert!((1..packets.len()).contains(&kept), "{expression} tells nothing apart");
        }
    }
}
