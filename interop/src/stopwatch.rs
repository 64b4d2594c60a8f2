//! How soon after a packet was on the wire a connection is accepted, to a fraction of a millisecond.
//!
//! A connection attempt that comes too early is dropped, and its own retry comes a second later: far too coarse. So fresh
//! attempts are made all the time, each from a port of its own: at first every 20 µs or so, later every fiftieth of the time that
//! has passed. The first that is answered counts, however late. That is exact to two in a hundred, and takes a few hundred attempts.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Protocol, Socket, Type};

use crate::host::Host;
use crate::lab::SERVER;

/// Sends a payload to the server's SPA port and tries to connect until that succeeds; `None` if it never does within `limit`.
///
/// Sending and connecting are done by the same thread, so the figure starts when the kernel has taken the packet.
pub fn from_packet_to_connection(from: &Host, payload: &[u8], port: u16, limit: Duration) -> Option<Duration> {
    from.inside(|| {
        let sender = UdpSocket::bind("0.0.0.0:0").ok()?;
        sender.send_to(payload, (SERVER, 62201)).ok()?;
        let sent = Instant::now();
        Some(first_connection(SERVER, port, sent, limit)? - sent)
    })
}

/// Tries to connect until somebody answers; gives the moment of the answer. To be called inside a host, right after `start`.
pub fn first_connection(to: Ipv4Addr, port: u16, start: Instant, limit: Duration) -> Option<Instant> {
    let to = SocketAddr::from((to, port)).into();
    let mut attempts: Vec<Socket> = Vec::new();
    let mut next = start;
    while start.elapsed() < limit {
        if Instant::now() >= next {
            let attempt = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).ok()?;
            attempt.set_nonblocking(true).ok()?;
            // "In progress" is the only way this can end here.
            let _ = attempt.connect(&to);
            attempts.push(attempt);
            next = Instant::now() + start.elapsed() / 50;
        }
        if answered(&attempts) {
            return Some(Instant::now());
        }
    }
    None
}

fn answered(attempts: &[Socket]) -> bool {
    let mut wanted: Vec<PollFd<'_>> =
        attempts.iter().map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLOUT)).collect();
    poll(&mut wanted, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
        && attempts.iter().any(|socket| matches!(socket.take_error(), Ok(None)) && socket.peer_addr().is_ok())
}

/// An SPA packet that went by, and when.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The moment the kernel handed it over.
    pub at: Instant,
    /// Source address and port.
    pub source: SocketAddr,
    /// Destination address and port.
    pub destination: SocketAddr,
    /// The UDP payload.
    pub payload: Vec<u8>,
}

/// Watches a host's interface for datagrams to the SPA port, as anybody on the way could.
pub fn tap(host: &Host) -> Receiver<Seen> {
    const EVERY_PROTOCOL: u16 = 0x0003;
    let (sender, seen) = channel();
    let tap = host.inside(|| {
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(i32::from(EVERY_PROTOCOL.to_be()))));
        let socket = socket.expect("root may open a packet socket");
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a time limit can be set");
        socket
    });
    std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok(length) = (&tap).read(&mut buffer) {
            let at = Instant::now();
            if datagram(&buffer[..length], at).is_some_and(|packet| sender.send(packet).is_err()) {
                return;
            }
        }
    });
    seen
}

fn datagram(ip: &[u8], at: Instant) -> Option<Seen> {
    let word = |at: usize| Some(u16::from_be_bytes([*ip.get(at)?, *ip.get(at + 1)?]));
    let address = |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(ip.get(at..at + 4)?).ok()?));
    if ip.first() != Some(&0x45) || ip.get(9) != Some(&17) || word(22)? != 62201 {
        return None;
    }
    Some(Seen {
        at,
        source: (address(12)?, word(20)?).into(),
        destination: (address(16)?, word(22)?).into(),
        payload: ip.get(28..)?.to_vec(),
    })
}
