//! Listening to a link: every packet that passes, for whatever port and address (AF_PACKET).
//!
//! The work is in two halves, because opening needs CAP_NET_RAW and reading needs nothing:
//!
//! ```text
//! warden:    open("eth0") ── a socket that drops everything ──▶ OwnedFd
//! listener:  PacketSocket::attach(fd, filter) ──▶ Arrivals       (from here on the filter lets some through)
//! ```
//!
//! The socket is of the kind that starts at the IP header on every link (`SOCK_DGRAM`), and it is *bound* to its interface
//! instead of choosing it in the filter. Bound, traffic on other interfaces costs nothing at all, not even a look; the kernel
//! tells us when the interface goes down (`ENETDOWN`) and starts again by itself when it comes back. Unbound, every packet of
//! every interface would pass our filter, and an interface that went away would be silence.
//!
//! Three are unbound all the same: `any`, several interfaces at once, and links that have no hardware address (tun,
//! WireGuard, ppp), because the address that `bind` wants cannot be had for them without `unsafe`. So the filter asks for the
//! interface's number first. An interface that was removed and made again is bound anew by the warden.
//!
//! Plain `recvmmsg`, no memory-mapped ring: a ring costs less per packet, but delays the packet by its block timeout.

use std::{
    array, io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use nix::{
    errno::Errno,
    ifaddrs::getifaddrs,
    sys::socket::{self as nix_socket, MsgFlags, MultiHeaders, SockaddrLike, SockaddrStorage},
};
use rustix::net::sockopt;
use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};
use thiserror::Error;

use super::{
    Capture,
    bpf::{Ancillary, Assembler, Instruction, RETURN, Test},
    filter::{Filter, PACKET},
    interfaces::Interfaces,
    link,
};
use crate::arrival::Arrival;

/// What may wait in the kernel while we are busy: 4 MiB (the kernel grants the double, for its own bookkeeping), which is
/// some ten thousand packets.
pub(super) const BUFFER: usize = 4 << 20;

/// How many packets one system call may bring.
const BATCH: usize = 32;

const ALL_PROTOCOLS: u16 = 0x0003;

/// Why a link cannot be listened to. Its text is the line for the log.
#[derive(Debug, Error)]
pub enum OpenError {
    /// There is no interface of that name, and it is not to be waited for.
    #[error(
        "[*] pcap_open_live() error: {0}: no such interface; PCAP_INTF names one of those that `ip link` lists, or any; \
         with EXIT_AT_INTF_DOWN N it is waited for"
    )]
    NoInterface(String),
    /// The kernel refuses.
    #[error("[*] pcap_open_live() error: {interface}: {}", super::reason(source))]
    Refused {
        /// The interface.
        interface: String,
        /// What the kernel says.
        source: io::Error,
    },
}

/// Opens a socket that drops everything, until [`PacketSocket::attach`]; bound, if it is for one interface that is there.
///
/// Needs CAP_NET_RAW, and CAP_NET_ADMIN for the large buffer; with less it takes the largest it is given. The interface may
/// be down.
///
/// # Errors
/// See [`OpenError`].
pub fn open(interfaces: &Interfaces) -> Result<OwnedFd, OpenError> {
    let refused = |source: io::Error| OpenError::Refused { interface: interfaces.to_string(), source };
    let address = interfaces.single().map(address_of).transpose().map_err(refused)?.flatten();
    open_at(address).map_err(refused)
}

/// Binds a socket to an interface that has appeared. It needs no rights; where the interface has no hardware address, it is
/// the filter that chooses.
///
/// # Errors
/// What the kernel says; `ENODEV` if the interface has gone again.
pub fn bind(socket: BorrowedFd<'_>, interface: &str) -> io::Result<()> {
    match address_of(interface)? {
        Some(address) => Ok(nix_socket::bind(socket.as_raw_fd(), &address)?),
        None => Ok(()),
    }
}

fn open_at(address: Option<SockaddrStorage>) -> io::Result<OwnedFd> {
    let protocol = Protocol::from(i32::from(ALL_PROTOCOLS.to_be()));
    let socket = Socket::new(Domain::PACKET, Type::DGRAM.nonblocking().cloexec(), Some(protocol))?;
    attach(socket.as_fd(), &[Instruction { code: RETURN, jt: 0, jf: 0, k: 0 }])?;
    enlarge(socket.as_fd())?;
    if let Some(address) = address {
        nix_socket::bind(socket.as_raw_fd(), &address)?; // waits until nobody is delivering to the unbound socket
    }
    while sent_before_the_filter(&socket)? {}
    Ok(socket.into())
}

/// Takes one packet that came between `socket()` and the filter out of the queue.
fn sent_before_the_filter(socket: &Socket) -> io::Result<bool> {
    match nix_socket::recv(socket.as_raw_fd(), &mut [0; 1], MsgFlags::MSG_DONTWAIT) {
        // An interface that is down says so once, to the first who asks.
        Ok(_) | Err(Errno::EINTR | Errno::ENETDOWN) => Ok(true),
        Err(Errno::EAGAIN) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The hardware address of an interface, if it has one: the only thing that `bind` takes here.
fn address_of(interface: &str) -> io::Result<Option<SockaddrStorage>> {
    let link = getifaddrs()?
        .filter(|entry| entry.interface_name == interface)
        .filter_map(|entry| entry.address)
        .find(|address| address.family() == Some(nix_socket::AddressFamily::Packet));
    Ok(link)
}

/// Puts a filter onto a socket, in place of the one that was there.
pub(super) fn attach(socket: BorrowedFd<'_>, program: &[Instruction]) -> io::Result<()> {
    let program: Vec<SockFilter> =
        program.iter().map(|&Instruction { code, jt, jf, k }| SockFilter::new(code, jt, jf, k)).collect();
    SockRef::from(&socket).attach_filter(&program)
}

/// Makes the receive buffer [`BUFFER`] bytes large, or as large as this process may.
pub(super) fn enlarge(socket: BorrowedFd<'_>) -> io::Result<()> {
    match sockopt::set_socket_recv_buffer_size_force(socket, BUFFER) {
        Err(rustix::io::Errno::PERM) => sockopt::set_socket_recv_buffer_size(socket, BUFFER)?,
        other => other?,
    }
    Ok(())
}

/// In front of a filter: drops what came through other interfaces; without any, everything.
fn only_from(interfaces: &[u32]) -> io::Result<Vec<Instruction>> {
    let mut program = Assembler::default();
    let ours = program.label();
    program.load_ancillary(Ancillary::Interface);
    for interface in interfaces {
        program.when(Test::Equal(*interface), ours);
    }
    program.keep(0);
    if !interfaces.is_empty() {
        program.place(ours);
    }
    program.finish().map_err(io::Error::other)
}

/// A link that is listened to.
#[derive(Debug)]
pub struct PacketSocket {
    socket: OwnedFd,
    interfaces: Interfaces,
    filter: Filter,
    batch: Batch,
    heard: u64,
}

impl PacketSocket {
    /// Lets through what `filter` says of packets on `links`, the numbers of the interfaces that are meant and there. Needs
    /// no rights.
    ///
    /// # Errors
    /// If the kernel does not take the filter.
    pub fn attach(socket: OwnedFd, interfaces: &Interfaces, links: &[u32], filter: Filter) -> io::Result<Self> {
        let interfaces = interfaces.clone();
        let mut capture = Self { socket, interfaces, filter, batch: Batch::new(), heard: 0 };
        capture.follow(links)?;
        Ok(capture)
    }
}

impl Capture for PacketSocket {
    fn next(&mut self) -> io::Result<Option<Arrival<'_>>> {
        let readable = loop {
            let Some(place) = self.batch.advance(&self.socket)? else {
                return Ok(None);
            };
            self.heard += 1;
            if Arrival::from_ip(self.batch.packet(place)).is_ok() {
                break place;
            }
        };
        Ok(Arrival::from_ip(self.batch.packet(readable)).ok())
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.socket.as_fd())
    }

    fn follow(&mut self, links: &[u32]) -> io::Result<()> {
        let mut program = if self.interfaces.is_any() { Vec::new() } else { only_from(links)? };
        if self.interfaces.is_any() || !links.is_empty() {
            program.extend(self.filter.program());
        }
        attach(self.socket.as_fd(), &program)
    }

    fn heard(&self) -> u64 {
        self.heard
    }

    fn describe(&self) -> String {
        format!("packets on {}", self.interfaces)
    }
}

/// The packets that one system call brought, in memory that is allocated once.
#[derive(Debug)]
struct Batch {
    headers: MultiHeaders<()>,
    buffers: Box<[[u8; PACKET as usize]; BATCH]>,
    lengths: [usize; BATCH],
    filled: usize,
    next: usize,
}

impl Batch {
    fn new() -> Self {
        Self {
            headers: MultiHeaders::preallocate(BATCH, None),
            buffers: Box::new([[0; PACKET as usize]; BATCH]),
            lengths: [0; BATCH],
            filled: 0,
            next: 0,
        }
    }

    /// The place of the next packet; asks the kernel if there is none left.
    fn advance(&mut self, socket: &OwnedFd) -> io::Result<Option<usize>> {
        if self.next == self.filled {
            // A batch that was not full has emptied the socket; whoever waits for it is told when there is more.
            let emptied = !std::mem::replace(&mut self.filled, 0).is_multiple_of(BATCH);
            self.next = 0;
            if !emptied {
                self.filled = self.fill(socket)?;
            }
        }
        let place = (self.next < self.filled).then_some(self.next);
        self.next += usize::from(place.is_some());
        Ok(place)
    }

    fn fill(&mut self, socket: &OwnedFd) -> io::Result<usize> {
        let mut buffers = self.buffers.iter_mut();
        let mut slices: [[io::IoSliceMut<'_>; 1]; BATCH] =
            array::from_fn(|_| [io::IoSliceMut::new(buffers.next().map_or(&mut [], |buffer| buffer.as_mut_slice()))]);
        let flags = MsgFlags::MSG_DONTWAIT;
        let fd = socket.as_raw_fd();
        let received = match nix_socket::recvmmsg(fd, &mut self.headers, &mut slices, flags, None) {
            Ok(received) => received,
            Err(Errno::EAGAIN) => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        let mut filled = 0;
        for (message, length) in received.zip(&mut self.lengths) {
            *length = message.bytes;
            filled += 1;
        }
        Ok(filled)
    }

    fn packet(&self, place: usize) -> &[u8] {
        let bytes = || self.buffers.get(place)?.get(..*self.lengths.get(place)?);
        link::behind_second_tag(bytes().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;
