//! A TCP port of our own (`ENABLE_TCP_SERVER`): it completes handshakes, so that a client can send its packet, and reads it.
//!
//! Nothing is ever answered. What a peer has written until it closes, until its HTTP request is whole, or until its time is
//! over is one arrival, with addresses that the handshake has proven. Everything is bounded: connections, connections of one
//! source, bytes, seconds. Who needs more room than there is takes it from the source that has most.
//!
//! ```text
//! warden:    open(62201) ──▶ OwnedFd          listener:  TcpServer::new(fd) ──▶ connections ──▶ Arrivals
//! ```
//!
//! The original's TCP server reads nothing: there the packet is seen by the capture alone, if `PCAP_FILTER` lets it through.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with, getsockname};
use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;

use super::Capture;
use crate::arrival::Arrival;

/// Connections at the same time.
pub const MOST: usize = 32;
/// Connections of one source at the same time.
pub const MOST_OF_ONE: usize = 4;
/// How long a peer may take to send its packet.
pub const TIME: Duration = Duration::from_secs(5);
/// Bytes that are read of one connection: the longest payload, and one more that shows it to be too long.
const BYTES: usize = 1501;

/// The port is not to be had. Its text is the line for the log.
#[derive(Debug, Error)]
#[error("run_tcp_server: bind() failed: {}", super::reason(.0))]
pub struct BindError(#[from] io::Error);

/// Listens on the port on all addresses of both families; on IPv4 alone where the machine has no IPv6.
///
/// # Errors
/// If somebody else has the port, or it needs a right that this process has not.
pub fn open(port: u16) -> Result<OwnedFd, BindError> {
    let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    match listening(both) {
        Err(error) if super::no_ipv6(&error) => Ok(listening(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))?.into()),
        other => Ok(other?.into()),
    }
}

fn listening(address: SocketAddr) -> io::Result<Socket> {
    const WAITING: i32 = 128;
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(WAITING)?;
    Ok(socket)
}

/// A port that takes connections.
#[derive(Debug)]
pub struct TcpServer {
    socket: OwnedFd,
    port: u16,
    /// The oldest first.
    connections: VecDeque<Connection>,
    newcomers: Vec<IpAddr>,
    /// What the last connection that ended had sent.
    payload: Vec<u8>,
    heard: u64,
}

#[derive(Debug)]
struct Connection {
    socket: OwnedFd,
    from: SocketAddr,
    to: SocketAddr,
    ends: Instant,
    read: Vec<u8>,
}

impl TcpServer {
    /// Takes connections on a port that listens. Needs no rights.
    #[must_use]
    pub fn new(socket: OwnedFd, port: u16) -> Self {
        let (connections, newcomers, payload) = (VecDeque::new(), Vec::new(), Vec::new());
        Self { socket, port, connections, newcomers, payload, heard: 0 }
    }

    /// Takes who waits at the door, as many as there is room for.
    fn admit(&mut self) -> io::Result<()> {
        for _ in 0..MOST {
            let (socket, from) = match acceptfrom_with(&self.socket, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok((socket, from)) => (socket, from.and_then(|from| SocketAddr::try_from(from).ok())),
                Err(Errno::AGAIN) => break,
                Err(Errno::CONNABORTED | Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            let to = getsockname(&socket).ok().and_then(|to| SocketAddr::try_from(to).ok());
            let (Some(from), Some(to)) = (from, to) else { continue };
            self.make_room(from.ip());
            self.newcomers.push(from.ip().to_canonical());
            self.connections.push_back(Connection { socket, from, to, ends: Instant::now() + TIME, read: Vec::new() });
        }
        Ok(())
    }

    /// Ends a connection if one more of `source` would be one too many: the oldest of the source that has most.
    fn make_room(&mut self, source: IpAddr) {
        let count = |source| self.connections.iter().filter(|one| one.from.ip() == source).count();
        let greedy = if count(source) >= MOST_OF_ONE {
            Some(source)
        } else if self.connections.len() >= MOST {
            // Of several that have as many, the one that has been here longest.
            self.connections.iter().rev().map(|one| one.from.ip()).max_by_key(|source| count(*source))
        } else {
            None
        };
        if let Some(oldest) = self.connections.iter().position(|one| Some(one.from.ip()) == greedy) {
            self.connections.remove(oldest);
        }
    }

    /// The next connection that has ended with something in it.
    fn finished(&mut self) -> Option<Connection> {
        let now = Instant::now();
        let mut place = 0;
        while let Some(connection) = self.connections.get_mut(place) {
            if !connection.has_ended(now) {
                place += 1;
                continue;
            }
            match self.connections.remove(place) {
                Some(connection) if !connection.read.is_empty() => return Some(connection),
                _ => {} // said nothing
            }
        }
        None
    }
}

impl Connection {
    /// Reads what has come, and says whether that was all.
    fn has_ended(&mut self, now: Instant) -> bool {
        let mut buffer = [0; BYTES];
        while self.read.len() < BYTES {
            let room = BYTES - self.read.len();
            match rustix::io::read(&self.socket, buffer.get_mut(..room).unwrap_or_default()) {
                Ok(0) => return true,
                Ok(length) => self.read.extend_from_slice(buffer.get(..length).unwrap_or_default()),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return now >= self.ends || self.is_whole_request(),
                Err(_) => return true, // reset: what came before counts
            }
        }
        true
    }

    /// An HTTP client waits for an answer, and closes only when it has got none for long.
    fn is_whole_request(&self) -> bool {
        let get = self.read.first_chunk::<4>().is_some_and(|start| start.eq_ignore_ascii_case(b"GET "));
        get && self.read.ends_with(b"\r\n\r\n")
    }
}

impl Capture for TcpServer {
    fn next(&mut self) -> io::Result<Option<Arrival<'_>>> {
        self.admit()?;
        let Some(Connection { from, to, read, .. }) = self.finished() else { return Ok(None) };
        self.heard += 1;
        self.payload = read;
        Ok(Some(Arrival::stream((from.ip(), from.port()), (to.ip(), to.port()), &self.payload)))
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.socket.as_fd())
    }

    fn connections(&self) -> Vec<BorrowedFd<'_>> {
        self.connections.iter().map(|connection| connection.socket.as_fd()).collect()
    }

    fn patience(&self) -> Option<Duration> {
        let now = Instant::now();
        self.connections.iter().map(|connection| connection.ends.saturating_duration_since(now)).min()
    }

    fn newcomers(&mut self) -> Vec<IpAddr> {
        std::mem::take(&mut self.newcomers)
    }

    fn heard(&self) -> u64 {
        self.heard
    }

    fn describe(&self) -> String {
        format!("TCP port {}", self.port)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;

    use super::*;
    use crate::arrival::Transport;
    use crate::capture::namespace;

    const PORT: u16 = 62_201;

    fn server() -> TcpServer {
        TcpServer::new(open(PORT).unwrap(), PORT)
    }

    fn payload(server: &mut TcpServer) -> Option<Vec<u8>> {
        std::thread::sleep(Duration::from_millis(20)); // the loopback is quick
        server.next().unwrap().map(|arrival| arrival.payload.to_vec())
    }

    #[test]
    fn what_a_peer_wrote_until_it_closed_is_one_arrival_and_nothing_is_answered() {
        namespace::inside(|| {
            let mut server = server();
            let mut peer = TcpStream::connect(("127.0.0.1", PORT)).unwrap();
            peer.write_all(&[b'A'; 100]).unwrap();
            assert_eq!(payload(&mut server), None, "not yet closed");
            assert_eq!(server.newcomers(), ["127.0.0.1".parse::<IpAddr>().unwrap()]);
            peer.write_all(&[b'B'; 100]).unwrap();
            peer.shutdown(std::net::Shutdown::Write).unwrap();
            std::thread::sleep(Duration::from_millis(20));
            let arrival = server.next().unwrap().unwrap();
            assert_eq!(
                (arrival.source, arrival.source_port),
                ("127.0.0.1".parse().unwrap(), peer.local_addr().unwrap().port())
            );
            assert_eq!((arrival.destination, arrival.destination_port), ("127.0.0.1".parse().unwrap(), PORT));
            assert_eq!((arrival.transport, arrival.transport.number()), (Transport::Stream, 6));
            assert_eq!(arrival.payload, [[b'A'; 100], [b'B'; 100]].concat());
            assert_eq!(peer.read(&mut [0; 10]).unwrap(), 0, "closed without a word");
            TcpStream::connect(("::1", PORT)).unwrap().write_all(b"over IPv6").unwrap();
            assert_eq!(payload(&mut server).as_deref(), Some(&b"over IPv6"[..]));
        });
    }

    #[test]
    fn a_whole_request_does_not_wait_for_the_client_to_close() {
        namespace::inside(|| {
            let mut server = server();
            let mut peer = TcpStream::connect(("127.0.0.1", PORT)).unwrap();
            peer.write_all(b"GET /abc HTTP/1.0\r\n").unwrap();
            assert_eq!(payload(&mut server), None);
            peer.write_all(b"Host: s\r\n\r\n").unwrap();
            assert!(payload(&mut server).is_some());
        });
    }

    #[test]
    fn bytes_and_seconds_have_an_end() {
        namespace::inside(|| {
            let mut server = server();
            let mut wordy = TcpStream::connect(("127.0.0.1", PORT)).unwrap();
            wordy.write_all(&[b'A'; 4000]).unwrap();
            assert_eq!(payload(&mut server).map(|payload| payload.len()), Some(BYTES));
            let mut slow = TcpStream::connect(("127.0.0.1", PORT)).unwrap();
            slow.write_all(b"A").unwrap();
            assert_eq!(payload(&mut server), None);
            assert!(server.patience().unwrap() <= TIME);
            server.connections[0].ends = Instant::now();
            assert_eq!(payload(&mut server).as_deref(), Some(&b"A"[..]));
            assert_eq!(server.patience(), None);
        });
    }

    #[test]
    fn who_takes_all_the_room_keeps_nobody_out() {
        namespace::inside(|| {
            namespace::ip("addr add 10.0.0.1/16 dev lo");
            let from = |last: u8| {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
                socket.bind(&SocketAddr::from(([10, 0, 0, last], 0)).into()).unwrap();
                socket.connect(&SocketAddr::from(([10, 0, 0, 1], PORT)).into()).unwrap();
                socket
            };
            let mut server = server();
            let _hoard: Vec<Socket> = (0..50).map(|_| from(2)).collect();
            assert_eq!(payload(&mut server), None);
            assert_eq!(payload(&mut server), None);
            assert_eq!(server.connections.len(), MOST_OF_ONE);
            let _crowd: Vec<Socket> = (3..60).map(from).collect();
            let mut honest = from(100);
            honest.write_all(b"knock").unwrap();
            drop(honest);
            let heard: Vec<_> = (0..4).filter_map(|_| payload(&mut server)).collect();
            assert_eq!(heard, [b"knock"]);
            assert!(server.connections.len() <= MOST);
        });
    }
}
