//! Asking a STUN server: one small question over UDP, and the answer says where it came from. RFC 5389, section 15.
//!
//! Nothing but the 96 random bits of the transaction shows that an answer is one: who is on the way can forge it. So this comes last.
//!
//! ```text
//! question   0001 0000 2112a442 <transaction>
//! answer     0101 000c 2112a442 <transaction>  0020 0008 00 01 <port ^ 2112> <address ^ 2112a442>
//! ```

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _, UdpSocket},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use crate::{output::reason, plan::Family};

/// The random bits that an answer repeats.
type Transaction = [u8; 12];

const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const BINDING_REQUEST: [u8; 2] = [0x00, 0x01];
const BINDING_SUCCESS: [u8; 2] = [0x01, 0x01];
const MAPPED_ADDRESS: [u8; 2] = [0x00, 0x01];
const XOR_MAPPED_ADDRESS: [u8; 2] = [0x00, 0x20];

/// After this long without an answer the question is sent again; datagrams get lost.
const AGAIN: Duration = Duration::from_millis(500);

/// Asks one server, `host:port`, over this family, within this time.
pub(super) fn ask(server: &str, family: Family, within: Duration) -> Result<IpAddr, String> {
    let end = Instant::now() + within;
    let server = look_up(server.to_owned(), family, within)?;
    let mut transaction = Transaction::default();
    getrandom::fill(&mut transaction).map_err(|error| error.to_string())?;
    converse(server, &transaction, end).map_err(|error| reason(&error))
}

/// Looks the name up on a thread of its own, since the system takes its time.
fn look_up(server: String, family: Family, within: Duration) -> Result<SocketAddr, String> {
    let (said, heard) = mpsc::channel();
    thread::spawn(move || said.send(server.to_socket_addrs().map(|found| found.collect::<Vec<_>>())));
    let found = heard.recv_timeout(within).map_err(|_| "its name was not found in time")?;
    let mut found = found.map_err(|error| reason(&error))?.into_iter();
    found.find(|address| family.has(address.ip())).ok_or_else(|| format!("it has no {family} address"))
}

fn converse(server: SocketAddr, transaction: &Transaction, end: Instant) -> io::Result<IpAddr> {
    let from: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(from)?;
    socket.connect(server)?; // only this server is heard
    loop {
        socket.send(&question(transaction))?;
        let again = (Instant::now() + AGAIN).min(end);
        while let Some(left) = again.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            socket.set_read_timeout(Some(left))?;
            let mut buffer = [0; 512];
            match socket.recv(&mut buffer) {
                Ok(length) => {
                    if let Some(address) = buffer.get(..length).and_then(|packet| answer(packet, transaction)) {
                        return Ok(address);
                    }
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => break,
                Err(error) => return Err(error),
            }
        }
        if Instant::now() >= end {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"));
        }
    }
}

/// The question "where do I come from?".
fn question(transaction: &Transaction) -> Vec<u8> {
    [&BINDING_REQUEST[..], &[0, 0], &COOKIE, transaction].concat()
}

/// The address in an answer to this question; `None` if it is something else.
fn answer(packet: &[u8], transaction: &Transaction) -> Option<IpAddr> {
    let (head, body) = packet.split_at_checked(20)?;
    let (kind, rest) = head.split_first_chunk::<2>()?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let key = [&COOKIE[..], transaction].concat(); // the rest of the head, and what addresses are hidden with
    if *kind != BINDING_SUCCESS || rest != key {
        return None;
    }
    let mut body = body.get(..u16::from_be_bytes(*length).into())?;
    let mut plain = None;
    while let Some((kind, rest)) = body.split_first_chunk::<2>() {
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length));
        let value = rest.get(..length)?;
        match *kind {
            XOR_MAPPED_ADDRESS => return address(value, &key),
            MAPPED_ADDRESS => plain = address(value, &[0; 16]),
            _ => (),
        }
        body = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    plain
}

/// An address attribute: a zero byte, the family, the port, and the address, hidden with a key.
fn address(value: &[u8], key: &[u8]) -> Option<IpAddr> {
    let (head, hidden) = value.split_at_checked(4)?;
    let shown: Vec<u8> = hidden.iter().zip(key).map(|(byte, key)| byte ^ key).collect();
    match head.get(1)? {
        1 if hidden.len() == 4 => <[u8; 4]>::try_from(shown).ok().map(IpAddr::from),
        2 if hidden.len() == 16 => <[u8; 16]>::try_from(shown).ok().map(IpAddr::from),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The transaction of the examples in RFC 5769.
    const TRANSACTION: Transaction = [0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae];

    fn answer_of(attributes: &[u8]) -> Vec<u8> {
        let length = u16::try_from(attributes.len()).unwrap().to_be_bytes();
        [&BINDING_SUCCESS[..], &length, &COOKIE, &TRANSACTION, attributes].concat()
    }

    const SOFTWARE: &[u8] = b"\x80\x22\x00\x0btest vector ";
    const XOR_V4: &[u8] = b"\x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43";
    const XOR_V6: &[u8] =
        b"\x00\x20\x00\x14\x00\x02\xa1\x47\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9";
    const PLAIN_V4: &[u8] = b"\x00\x01\x00\x08\x00\x01\x80\x55\xc0\x00\x02\x01";

    #[test]
    fn the_examples_of_rfc_5769_are_read() {
        let told = |attributes: &[&[u8]]| answer(&answer_of(&attributes.concat()), &TRANSACTION).unwrap().to_string();
        assert_eq!(told(&[SOFTWARE, XOR_V4]), "192.0.2.1");
        assert_eq!(told(&[SOFTWARE, XOR_V6]), "2001:db8:1234:5678:11:2233:4455:6677");
        assert_eq!(told(&[PLAIN_V4, SOFTWARE]), "192.0.2.1", "servers from before RFC 5389");
    }

    #[test]
    fn what_does_not_answer_our_question_is_no_answer() {
        let good = answer_of(XOR_V4);
        assert_eq!(answer(&good, &[0; 12]), None, "another transaction");
        let mut refused = good.clone();
        refused[0] = 0x11;
        assert_eq!(answer(&refused, &TRANSACTION), None, "an error");
        for length in 0..good.len() {
            assert_eq!(answer(&good[..length], &TRANSACTION), None, "cut at {length}");
        }
        assert_eq!(answer(&answer_of(b"\x00\x20\x00\x04\x00\x01\x00\x00"), &TRANSACTION), None);
    }

    proptest! {
        #[test]
        fn no_datagram_makes_it_panic(attributes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _read_or_not = answer(&answer_of(&attributes), &TRANSACTION);
            let _read_or_not = answer(&attributes, &TRANSACTION);
        }
    }

    #[test]
    fn a_server_that_answers_late_is_asked_again_and_lies_are_not_heard() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap().to_string();
        let answering = thread::spawn(move || {
            let mut buffer = [0; 64];
            server.recv_from(&mut buffer).unwrap(); // lost
            let (_, client) = server.recv_from(&mut buffer).unwrap();
            let lie = [&BINDING_SUCCESS[..], &[0, 12], &COOKIE, &[7; 12], XOR_V4].concat();
            server.send_to(&lie, client).unwrap();
            let truth = [&BINDING_SUCCESS[..], &[0, 12], &buffer[4..20], PLAIN_V4].concat();
            server.send_to(&truth, client).unwrap();
        });
        assert_eq!(ask(&address, Family::V4, Duration::from_secs(5)), Ok([192, 0, 2, 1].into()));
        answering.join().unwrap();
    }

    #[test]
    fn a_server_that_says_nothing_is_left() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap().to_string();
        let told = ask(&address, Family::V4, Duration::from_millis(100)).unwrap_err();
        assert_eq!(told, "no answer in time");
        assert_eq!(ask(&address, Family::V6, Duration::from_secs(1)).unwrap_err(), "it has no IPv6 address");
    }
}
