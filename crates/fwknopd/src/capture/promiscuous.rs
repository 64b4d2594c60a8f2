//! Hearing packets that are for others, too (`ENABLE_PCAP_PROMISC`): feature `pcap`.
//!
//! An interface is promiscuous as long as somebody who asked for it is there. No crate we use can ask for one of our own
//! sockets without `unsafe`, but libpcap asks for its own: so the warden keeps a libpcap capture that hears nothing. When
//! the process ends, however it ends, the kernel takes the wish back.

use pcap::{Active, Capture};

use super::{filter::libpcap, packet::OpenError};

/// Keeps an interface promiscuous until it is dropped. Needs CAP_NET_RAW to make, nothing to keep.
pub struct Promiscuous {
    _kept: Capture<Active>,
}

impl Promiscuous {
    /// Makes `interface` promiscuous.
    ///
    /// # Errors
    /// If there is no such interface, or it may not be opened. `any` cannot be made promiscuous; libpcap ignores that.
    pub fn hold(interface: &str) -> Result<Self, OpenError> {
        let hold = || {
            let mut capture = Capture::from_device(interface)?.promisc(true).snaplen(16).buffer_size(1 << 12).open()?;
            capture.filter("less 1", true)?; // nothing is shorter than a byte
            Ok(Self { _kept: capture })
        };
        hold().map_err(|error| OpenError::Refused {
            interface: interface.into(),
            source: std::io::Error::other(libpcap::said(error)),
        })
    }
}
