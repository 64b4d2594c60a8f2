//! Ordinary UDP and TCP, over IPv4 and IPv6.
//!
//! A chosen source port is bound; the original only shows it.

use std::{
    io::{self, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};

use super::{Trouble, look_up};
use crate::plan::Route;

/// How long a connection may take to stand.
const PATIENCE: Duration = Duration::from_secs(30);

const WAY: &str = "tcp_or_udp";

/// Sends one datagram to the first address that there is a way to.
pub(super) fn udp(route: &Route, packet: &[u8]) -> Result<usize, Trouble> {
    let addresses = look_up(&route.server, route.port, route.family).map_err(Trouble::Lookup)?;
    let mut last = Trouble::socket(WAY, "Could not create socket")(io::ErrorKind::NotFound.into());
    for address in addresses {
        match open(address, Type::DGRAM, Protocol::UDP, route.source_port) {
            Ok(socket) => match socket.send_to(packet, &address.into()) {
                Ok(sent) => return Ok(sent),
                Err(error) => last = Trouble::socket(WAY, "write error")(error),
            },
            Err(error) => last = Trouble::socket(WAY, "Could not create socket")(error),
        }
    }
    Err(last)
}

/// Connects to the first address that lets us, sends, and ends.
pub(super) fn tcp(route: &Route, packet: &[u8]) -> Result<usize, Trouble> {
    let addresses = look_up(&route.server, route.port, route.family).map_err(Trouble::Lookup)?;
    let mut stream = connect(addresses, route.source_port).map_err(Trouble::socket(WAY, "Could not create socket"))?;
    stream.write_all(packet).map_err(Trouble::socket(WAY, "write error"))?;
    Ok(packet.len())
}

/// A connection to the first address that lets us.
pub(super) fn connect(addresses: Vec<SocketAddr>, source_port: Option<u16>) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in addresses {
        let connected = open(address, Type::STREAM, Protocol::TCP, source_port)
            .and_then(|socket| socket.connect_timeout(&address.into(), PATIENCE).map(|()| socket));
        match connected {
            Ok(socket) => return Ok(socket.into()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn open(to: SocketAddr, kind: Type, protocol: Protocol, source_port: Option<u16>) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), kind, Some(protocol))?;
    if let Some(port) = source_port {
        // A second knock soon after the first would find its port still in use.
        socket.set_reuse_address(true)?;
        let from: SocketAddr = match to {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, port).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, port).into(),
        };
        socket.bind(&from.into())?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read,
        net::{TcpListener, UdpSocket},
    };

    use super::*;
    use crate::{plan::Route, settings::TransportKind};

    fn route(server: &str, port: u16, source_port: Option<u16>) -> Route {
        Route {
            transport: TransportKind::Udp,
            server: server.into(),
            port,
            source_port,
            spoofed: None,
            proxy: None,
            agent: String::new(),
            family: None,
            icmp: (0, 0),
        }
    }

    #[test]
    fn a_datagram_arrives_from_the_port_that_was_chosen() {
        for address in ["127.0.0.1", "::1"] {
            let Ok(server) = UdpSocket::bind((address, 0)) else {
                continue; // a machine without IPv6
            };
            let free = UdpSocket::bind((address, 0)).unwrap().local_addr().unwrap().port();
            udp(&route(address, server.local_addr().unwrap().port(), Some(free)), b"packet").unwrap();
            let mut buffer = [0; 16];
            let (length, from) = server.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..length], from.port()), (&b"packet"[..], free));
        }
    }

    #[test]
    fn a_connection_carries_the_packet_and_ends() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        tcp(&route("127.0.0.1", server.local_addr().unwrap().port(), None), b"packet").unwrap();
        let mut text = String::new();
        server.accept().unwrap().0.read_to_string(&mut text).unwrap();
        assert_eq!(text, "packet");
    }
}
