//! Real packets, packets made by hand, and any bytes at all.

use proptest::prelude::*;

use super::{samples::*, *};

#[test]
fn finds_the_text_in_every_packet_of_the_original_client() {
    let vectors: serde_json::Value = serde_json::from_str(include_str!("../../tests/vectors/frames.json")).unwrap();
    for frame in vectors["frames"].as_array().unwrap() {
        let hex = frame["ip_packet"].as_str().unwrap();
        let bytes: Vec<u8> =
            (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).unwrap()).collect();
        let arrival = Arrival::from_ip(&bytes).unwrap();
        let offset = usize::try_from(frame["payload_offset"].as_u64().unwrap()).unwrap();
        assert_eq!(arrival.payload, &bytes[offset..], "{}", frame["id"]);
        let transport = frame["transport"].as_str().unwrap();
        let carried_by = match arrival.transport {
            Transport::Udp => transport.starts_with("udp"),
            Transport::Tcp => transport.starts_with("tcp") || transport == "http",
            Transport::Icmp => transport.starts_with("icmp"),
            Transport::Icmpv6 | Transport::Stream => false,
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
        assert_eq!(Arrival::from_ip(&packet).unwrap().payload, TEXT, "header of {header} words");
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
        assert_eq!(Arrival::from_ip(&ipv4(5, flags, 17, &udp(TEXT))), Err(Unreadable::Fragment));
    }
    assert_eq!(Arrival::from_ip(&extended(&[44], &udp(TEXT))), Err(Unreadable::Fragment));
    assert_eq!(Arrival::from_ip(&extended(&[60, 44], &udp(TEXT))), Err(Unreadable::Fragment));
}

#[test]
fn skips_a_few_ipv6_extension_headers_and_not_many() {
    for headers in [&[][..], &[0], &[43], &[60], &[0, 43, 60]] {
        let packet = extended(headers, &udp(TEXT));
        let arrival = Arrival::from_ip(&packet).unwrap();
        assert_eq!((arrival.payload, arrival.destination_port), (TEXT, 62201), "{headers:?}");
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
        assert_eq!((arrival.source_port, arrival.destination_port, arrival.payload), (0, 0, TEXT));
    }
    assert_eq!(Arrival::from_ip(&ipv6(1, &message)), Err(Unreadable::Protocol(1)));
    assert_eq!(Arrival::from_ip(&ipv4(5, 0, 58, &message)), Err(Unreadable::Protocol(58)));
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
        ("total length below the header", with(3, 19), Unreadable::Lengths),
        ("total length beyond the capture", with(2, 9), Unreadable::Cut),
        ("a byte missing", good[..good.len() - 1].to_vec(), Unreadable::Cut),
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
            *first = (*first & 0x0f) | ((version * 2 + 2) << 4);
        }
        if let Ok(arrival) = Arrival::from_ip(&bytes) {
            prop_assert!(bytes.as_ptr_range().contains(&arrival.payload.as_ptr()) || arrival.payload.is_empty());
        }
    }
}
