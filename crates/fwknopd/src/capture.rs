//! Where packets come from.
//!
//! A [`Capture`] is asked for the next packet and never waits: the loop waits for its descriptor, together with all else it
//! waits for. One file for each kind:
//!
//! | module | what | needs to open | needs to read |
//! | --- | --- | --- | --- |
//! | [`packet`] | every packet on a link, whoever it is for | CAP_NET_RAW | nothing |
//! | [`udp`] | datagrams to our own port, put together again | nothing (a free port) | nothing |
//! | `file` | a capture file | the file | nothing |
//!
//! The privileged process opens (a plain `OwnedFd`), hands the descriptor over, and the unprivileged one attaches a filter
//! to it and reads. What the kernel shall throw away by itself is said by [`filter`], put together from [`shape`] and
//! [`bpf`].
//!
//! ```text
//! PCAP_FILTER ─▶ Filter ─▶ kernel ─▶ PacketSocket ─┐
//!                shape  ─▶ kernel ─▶ UdpSocket    ─┼─▶ Arrival
//! PCAP_FILTER ─▶ Filter ───────────▶ FileCapture  ─┘
//! ```

use std::{io, os::fd::BorrowedFd};

use crate::arrival::Arrival;

pub mod bpf;
#[cfg(feature = "pcap")]
pub mod file;
pub mod filter;
pub mod link;
#[cfg(test)]
pub(crate) mod namespace;
pub mod packet;
#[cfg(feature = "pcap")]
pub mod promiscuous;
pub mod shape;
pub mod udp;

/// A source of packets.
pub trait Capture {
    /// The next packet that can be read, or `None` if there is none now.
    ///
    /// Packets that passed the filter but have no payload for us are skipped; [`heard`](Capture::heard) counts them.
    ///
    /// # Errors
    /// What the kernel says. `ENETDOWN` means that the interface was set down; it is reported once, and packets come again by
    /// themselves when it is up, so whether that is the end is the caller's choice (`EXIT_AT_INTF_DOWN`). Who goes on should
    /// ask [`ended`](Capture::ended) now and then: the kernel does not wake anybody when an interface that is down is removed.
    fn next(&mut self) -> io::Result<Option<Arrival<'_>>>;

    /// What to wait for before asking again; `None` for a file, which never has to wait.
    fn as_fd(&self) -> Option<BorrowedFd<'_>>;

    /// Whether nothing will come any more: the end of a capture file, or the interface has been removed.
    fn ended(&self) -> bool {
        false
    }

    /// How many packets passed the filter so far, readable or not: what a packet limit counts (spec/server.md 6.6).
    fn heard(&self) -> u64;

    /// What this is, for the log: `packets on eth0`.
    fn describe(&self) -> String;
}

/// What the C library calls an error of the kernel's, without the number that Rust adds: for log lines that others parse.
fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => nix::errno::Errno::from_raw(number).desc().into(),
        None => error.to_string(),
    }
}
