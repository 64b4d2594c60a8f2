//! Packets made by hand for tests: one function for each header, the inner one first. Test code only.

use std::net::Ipv6Addr;

/// What an SPA packet looks like, though shorter.
pub(crate) const TEXT: &[u8] = b"8lRlCH0bHkOP1WHqztagaYJm";

pub(crate) fn udp(payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len() + 8).unwrap().to_be_bytes();
    [&[0x30, 0x39, 0xf2, 0xf9], &length[..], &[0, 0], payload].concat()
}

pub(crate) fn ipv4(header: u8, flags: u16, protocol: u8, body: &[u8]) -> Vec<u8> {
    let options = vec![1; usize::from(header) * 4 - 20];
    let total = u16::try_from(20 + options.len() + body.len()).unwrap().to_be_bytes();
    let fixed = [0x40 | header, 0, total[0], total[1], 0, 1, flags.to_be_bytes()[0], flags.to_be_bytes()[1]];
    let rest = [64, protocol, 0, 0, 192, 0, 2, 7, 198, 51, 100, 9];
    [&fixed[..], &rest[..], &options, body].concat()
}

pub(crate) fn ipv6(next: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    let source = "2001:db8::7".parse::<Ipv6Addr>().unwrap().octets();
    let destination = "2001:db8::9".parse::<Ipv6Addr>().unwrap().octets();
    [&[0x60, 0, 0, 0, length[0], length[1], next, 64][..], &source, &destination, body].concat()
}

pub(crate) fn extended(headers: &[u8], body: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    for (place, _) in headers.iter().enumerate() {
        let after = headers.get(place + 1).copied().unwrap_or(17);
        packet.extend([after, 1].iter().chain([0; 14].iter()));
    }
    packet.extend(body);
    ipv6(headers.first().copied().unwrap_or(17), &packet)
}
