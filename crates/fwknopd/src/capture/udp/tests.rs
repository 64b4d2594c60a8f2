//! A real port on the loopback.

use std::net::UdpSocket as Plain;

use super::*;

fn server() -> (UdpSocket, u16) {
    let socket = open(0).unwrap();
    let port = Socket::from(socket.try_clone().unwrap()).local_addr().unwrap().as_socket().unwrap().port();
    (UdpSocket::attach(socket, port, false).unwrap(), port)
}

#[test]
fn knows_both_ends_of_a_datagram_in_both_families() {
    let (mut server, port) = server();
    for (from, to) in [("127.0.0.1", "127.0.0.5"), ("127.0.0.9", "127.0.0.1"), ("::1", "::1")] {
        let (from, to): (IpAddr, IpAddr) = (from.parse().unwrap(), to.parse().unwrap());
        let sender = Plain::bind((from, 0)).unwrap();
        sender.send_to(&[b'A'; 150], (to, port)).unwrap();
        let arrival = server.next().unwrap().unwrap();
        assert_eq!((arrival.source, arrival.source_port), (from, sender.local_addr().unwrap().port()));
        assert_eq!((arrival.destination, arrival.destination_port), (to, port));
        assert_eq!(arrival.payload, [b'A'; 150]);
    }
    assert_eq!(server.heard(), 3);
}

#[test]
fn never_wakes_for_what_cannot_be_a_knock() {
    let (mut server, port) = server();
    let sender = Plain::bind("127.0.0.1:0").unwrap();
    for junk in [&[b'A'; 139][..], &[b'A'; 1501], &[0; 200], &[b'-'; 200]] {
        sender.send_to(junk, ("127.0.0.1", port)).unwrap();
    }
    assert!(server.next().unwrap().is_none());
    sender.send_to(&[b'A'; 1500], ("127.0.0.1", port)).unwrap();
    assert_eq!(server.next().unwrap().unwrap().payload.len(), 1500);
    assert_eq!(server.heard(), 1);
}

#[test]
fn says_why_a_port_cannot_be_had() {
    let (_server, port) = server();
    let error = open(port).unwrap_err().to_string();
    assert_eq!(error, "run_udp_server: bind() failed: Address already in use");
}
