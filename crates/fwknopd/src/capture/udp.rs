//! A UDP port of our own (`ENABLE_UDP_SERVER`): no capture, no rights, and datagrams come put together again.
//!
//! One socket hears both families. The kernel tells the address each datagram was sent to, which the original does not know
//! (spec/server.md T20), and drops what has not the [`Shape`] of a knock, as for a capture.
//!
//! ```text
//! warden:    open(62201) ──▶ OwnedFd          listener:  UdpSocket::attach(fd, shape) ──▶ Arrivals
//! ```
//!
//! Unlike a capture it can be noticed: a port that is open answers a probe with silence, a closed one with an error.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use nix::{
    cmsg_space,
    errno::Errno,
    libc,
    sys::socket::{
        self as nix_socket, ControlMessageOwned, MsgFlags, RecvMsg, SockaddrStorage, setsockopt,
        sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo},
    },
};
use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;

use super::{Capture, filter::PACKET, packet, shape::Shape};
use crate::arrival::Arrival;

/// The port is not to be had. Its text is the line for the log.
#[derive(Debug, Error)]
#[error("run_udp_server: bind() failed: {}", super::reason(.0))]
pub struct BindError(#[from] io::Error);

/// Opens the port on all addresses of both families; on IPv4 alone where the machine has no IPv6.
///
/// # Errors
/// If somebody else has the port, or it needs a right that this process has not.
pub fn open(port: u16) -> Result<OwnedFd, BindError> {
    let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    match bound(both) {
        Err(error) if super::no_ipv6(&error) => Ok(bound(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))?.into()),
        other => Ok(other?.into()),
    }
}

fn bound(address: SocketAddr) -> io::Result<Socket> {
    let kind = Type::DGRAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
        setsockopt(&socket, Ipv6RecvPacketInfo, &true)?;
    } else {
        setsockopt(&socket, Ipv4PacketInfo, &true)?;
    }
    packet::enlarge(socket.as_fd())?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// A port that is listened to.
#[derive(Debug)]
pub struct UdpSocket {
    socket: OwnedFd,
    port: u16,
    buffer: Box<[u8; PACKET as usize]>,
    control: Vec<u8>,
    heard: u64,
}

/// Where a datagram came from, and to which address.
type Ends = ((IpAddr, u16), IpAddr);

impl UdpSocket {
    /// Begins to read from an open port. Needs no rights.
    ///
    /// # Errors
    /// If the kernel does not take the filter.
    pub fn attach(socket: OwnedFd, port: u16, http: bool) -> io::Result<Self> {
        let program = Shape { http, keep: PACKET.into() }.datagram().map_err(io::Error::other)?;
        packet::attach(socket.as_fd(), &program)?;
        Ok(Self {
            socket,
            port,
            buffer: Box::new([0; PACKET as usize]),
            control: cmsg_space!(libc::in_pktinfo, libc::in6_pktinfo),
            heard: 0,
        })
    }

    /// One datagram: how long it is, and its ends.
    fn receive(&mut self) -> io::Result<Option<(usize, Ends)>> {
        let slice = &mut [io::IoSliceMut::new(self.buffer.as_mut_slice())];
        let (fd, flags) = (self.socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
        self.control.resize(self.control.capacity(), 0);
        match nix_socket::recvmsg::<SockaddrStorage>(fd, slice, Some(&mut self.control), flags) {
            Ok(message) => Ok(Some((message.bytes, ends(&message)))),
            Err(Errno::EAGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

fn ends(message: &RecvMsg<'_, '_, SockaddrStorage>) -> Ends {
    const UNKNOWN: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let address = message.address.as_ref();
    let ipv4 = || address?.as_sockaddr_in().map(|from| (from.ip().into(), from.port()));
    let ipv6 = || address?.as_sockaddr_in6().map(|from| (from.ip().into(), from.port()));
    let destination = message.cmsgs().ok().and_then(|mut messages| {
        messages.find_map(|message| match message {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                Some(Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr)).into())
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into()),
            _ => None,
        })
    });
    (ipv4().or_else(ipv6).unwrap_or((UNKNOWN, 0)), destination.unwrap_or(UNKNOWN))
}

impl Capture for UdpSocket {
    fn next(&mut self) -> io::Result<Option<Arrival<'_>>> {
        let Some((length, (source, destination))) = self.receive()? else {
            return Ok(None);
        };
        self.heard += 1;
        let payload = self.buffer.get(..length).unwrap_or_default();
        Ok(Some(Arrival::datagram(source, (destination, self.port), payload)))
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.socket.as_fd())
    }

    fn heard(&self) -> u64 {
        self.heard
    }

    fn describe(&self) -> String {
        format!("UDP port {}", self.port)
    }
}

#[cfg(test)]
mod tests;
