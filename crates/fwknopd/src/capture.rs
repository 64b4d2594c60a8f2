//! Where packets come from.
//!
//! A [`Capture`] is asked for the next packet and never waits: the loop waits for its descriptor, together with all else it
//! waits for. One file for each kind:
//!
//! | module | what | needs to open | needs to read |
//! | --- | --- | --- | --- |
//! | [`packet`] | every packet on a link, whoever it is for | CAP_NET_RAW | nothing |
//! | [`udp`] | datagrams to our own port, put together again | nothing (a free port) | nothing |
//! | [`tcp`] | connections to our own port, read to their end | nothing (a free port) | nothing |
//! | `file` | a capture file | the file | nothing |
//!
//! The privileged process opens (a plain `OwnedFd`), hands the descriptor over, and the unprivileged one attaches a filter
//! to it and reads. What the kernel shall throw away by itself is said by [`filter`], put together from [`shape`] and
//! [`bpf`].
//!
//! ```text
//! PCAP_FILTER ─▶ Filter ─▶ kernel ─▶ PacketSocket ─┐
//!                shape  ─▶ kernel ─▶ UdpSocket    ─┤
//!                            kernel ─▶ TcpServer    ─┼─▶ Arrival
//! PCAP_FILTER ─▶ Filter ───────────▶ FileCapture  ─┘
//! ```

use std::{io, net::IpAddr, os::fd::BorrowedFd, time::Duration};

use nix::libc;

use crate::arrival::Arrival;

pub mod bpf;
#[cfg(feature = "pcap")]
pub mod file;
pub mod filter;
pub mod interfaces;
pub mod link;
#[cfg(test)]
pub(crate) mod namespace;
pub mod packet;
#[cfg(feature = "pcap")]
pub mod promiscuous;
pub mod shape;
pub mod tcp;
pub mod udp;

/// A source of packets.
pub trait Capture {
    /// The next packet that can be read, or `None` if there is none now.
    ///
    /// Packets that passed the filter but have no payload for us are skipped; [`heard`](Capture::heard) counts them.
    ///
    /// # Errors
    /// What the kernel says. `ENETDOWN` means that the interface was set down; it is reported once, and packets come again by
    /// themselves when it is up. Whether it was removed is for [`interfaces`] to say.
    fn next(&mut self) -> io::Result<Option<Arrival<'_>>>;

    /// What to wait for before asking again; `None` for a file, which never has to wait.
    fn as_fd(&self) -> Option<BorrowedFd<'_>>;

    /// From now on these interfaces are meant, by their numbers.
    ///
    /// # Errors
    /// If the kernel does not take the filter.
    fn follow(&mut self, _links: &[u32]) -> io::Result<()> {
        Ok(())
    }

    /// Connections that are open: to be waited for, too.
    fn connections(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }

    /// How long to wait at most before asking again, even if there is nothing to read.
    fn patience(&self) -> Option<Duration> {
        None
    }

    /// Who has connected since this was asked last.
    fn newcomers(&mut self) -> Vec<IpAddr> {
        Vec::new()
    }

    /// Whether nothing will come any more: the end of a capture file.
    fn ended(&self) -> bool {
        false
    }

    /// How many packets passed the filter so far, readable or not: what a packet limit counts (spec/server.md 6.6).
    fn heard(&self) -> u64;

    /// What this is, for the log: `packets on eth0`.
    fn describe(&self) -> String;
}

/// Whether an address of IPv6 was refused because this machine has none.
fn no_ipv6(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

/// What the C library calls an error of the kernel's, without the number that Rust adds: for log lines that others parse.
fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => nix::errno::Errno::from_raw(number).desc().into(),
        None => error.to_string(),
    }
}
