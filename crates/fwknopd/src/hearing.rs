//! Where we hear: what the settings say of it, what the warden opens for it, and what the listener makes of that.
//!
//! ```text
//! settings ─▶ Hearing ─┬▶ open     (warden, with rights)      ─▶ sockets ─┐
//!                      └▶ prepare  (listener, before it is confined) ─▶ Prepared ─▶ attach ─▶ Capture
//! ```

use std::io;
use std::os::fd::OwnedFd;

use thiserror::Error;

use crate::capture::Capture;
#[cfg(feature = "pcap")]
use crate::capture::file::{FileCapture, FileError};
use crate::capture::filter::{Filter, FilterError, Wanted};
use crate::capture::packet::{self, OpenError, PacketSocket};
use crate::capture::udp::{self, BindError, UdpSocket};
use crate::config::Config;

#[cfg(feature = "pcap")]
pub use crate::capture::promiscuous::Promiscuous;
/// Without libpcap no interface is made promiscuous.
#[cfg(not(feature = "pcap"))]
#[derive(Debug)]
pub enum Promiscuous {}

/// The way packets reach us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hearing {
    /// Every packet on an interface that passes the filter; nothing has to be open.
    Passive {
        /// `PCAP_INTF`.
        interface: String,
        /// `PCAP_FILTER`.
        filter: String,
        /// What else the settings say of it.
        wanted: Wanted,
        /// `ENABLE_PCAP_PROMISC`.
        promiscuous: bool,
    },
    /// Datagrams to a UDP port of ours.
    UdpServer {
        /// `UDPSERV_PORT`.
        port: u16,
        /// `ENABLE_SPA_OVER_HTTP`.
        http: bool,
    },
    /// A capture file, from its beginning to its end.
    File {
        /// `PCAP_FILE`.
        path: std::path::PathBuf,
        /// `PCAP_FILTER`.
        filter: String,
    },
}

/// Why we cannot hear.
#[derive(Debug, Error)]
pub enum HearingError {
    #[error(transparent)]
    #[allow(missing_docs)]
    Open(#[from] OpenError),
    #[error(transparent)]
    #[allow(missing_docs)]
    Bind(#[from] BindError),
    #[error(transparent)]
    #[allow(missing_docs)]
    Filter(#[from] FilterError),
    #[cfg(feature = "pcap")]
    #[error(transparent)]
    #[allow(missing_docs)]
    File(#[from] FileError),
    /// A capture file, and no libpcap in this build.
    #[cfg(not(feature = "pcap"))]
    #[error("this fwknopd was built without libpcap and cannot read capture files")]
    NoFiles,
    /// A promiscuous interface, and no libpcap in this build.
    #[cfg(not(feature = "pcap"))]
    #[error("this fwknopd was built without libpcap and cannot serve ENABLE_PCAP_PROMISC")]
    NotPromiscuous,
    /// The kernel does not take the filter, or a socket is missing.
    #[error("cannot attach the packet filter")]
    Attach(#[from] io::Error),
}

/// What the listener needs besides the sockets, made while it still may.
pub enum Prepared {
    /// An interface with its number, and a compiled filter.
    Passive(String, Option<u32>, Filter),
    /// A port.
    UdpServer(u16, bool),
    /// A file that is open.
    #[cfg(feature = "pcap")]
    File(Box<FileCapture>),
}

impl Hearing {
    /// What the settings say.
    pub fn of(config: &Config) -> Self {
        let capture = &config.capture;
        let filter = capture.filter.clone().unwrap_or_default();
        let http = config.http.is_some();
        if let Some(port) = config.udp_server {
            return Self::UdpServer { port: port.get(), http };
        }
        match &capture.file {
            Some(path) => Self::File { path: path.clone(), filter },
            None => Self::Passive {
                interface: capture.interface.clone(),
                filter,
                wanted: Wanted {
                    any_direction: capture.any_direction,
                    http,
                    keep: u16::try_from(capture.snap_length).unwrap_or(u16::MAX),
                },
                promiscuous: capture.promiscuous,
            },
        }
    }

    /// Opens what needs rights. The sockets drop everything until a listener attaches its filter.
    pub fn open(&self) -> Result<Vec<OwnedFd>, HearingError> {
        Ok(match self {
            Self::Passive { interface, .. } => vec![packet::open(interface)?],
            Self::UdpServer { port, .. } => vec![udp::open(*port)?],
            Self::File { .. } => Vec::new(),
        })
    }

    /// Makes the interface promiscuous if the settings say so, for as long as what is given lives.
    pub fn hold_promiscuous(&self) -> Result<Option<Promiscuous>, HearingError> {
        match self {
            #[cfg(feature = "pcap")]
            Self::Passive { interface, promiscuous: true, .. } => Ok(Some(Promiscuous::hold(interface)?)),
            #[cfg(not(feature = "pcap"))]
            Self::Passive { promiscuous: true, .. } => Err(HearingError::NotPromiscuous),
            _ => Ok(None),
        }
    }

    /// Whether sockets opened for the one serve the other.
    pub fn shares_sockets_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Passive { interface: one, .. }, Self::Passive { interface: other, .. }) => one == other,
            (Self::UdpServer { port: one, .. }, Self::UdpServer { port: other, .. }) => one == other,
            _ => false,
        }
    }

    /// Compiles the filter, or opens the file: libpcap looks up names and reads files, a confined process does not.
    pub fn prepare(&self) -> Result<Prepared, HearingError> {
        Ok(match self {
            Self::Passive { interface, filter, wanted, .. } => {
                Prepared::Passive(interface.clone(), packet::index_of(interface)?, Filter::compile(filter, wanted)?)
            }
            Self::UdpServer { port, http } => Prepared::UdpServer(*port, *http),
            #[cfg(feature = "pcap")]
            Self::File { path, filter } => Prepared::File(Box::new(FileCapture::open(path, filter)?)),
            #[cfg(not(feature = "pcap"))]
            Self::File { .. } => return Err(HearingError::NoFiles),
        })
    }

    /// The lines of the log that say how we hear; after the last of them no packet is missed.
    pub fn lines(&self) -> Vec<String> {
        const LOOP: &str = "Starting fwknopd main event loop.";
        let filtered = |filter: &str| (!filter.is_empty()).then(|| format!("PCAP filter is: '{filter}'"));
        match self {
            Self::Passive { interface, filter, .. } => {
                let mut lines = vec![format!("Sniffing interface: {interface}")];
                lines.extend(filtered(filter));
                lines.push(LOOP.to_owned());
                lines
            }
            Self::UdpServer { port, .. } => vec![format!("Kicking off UDP server to listen on port {port}.")],
            Self::File { path, filter } => {
                let mut lines = vec![format!("Reading pcap file: {}", path.display())];
                lines.extend(filtered(filter));
                lines.push(LOOP.to_owned());
                lines
            }
        }
    }
}

impl Prepared {
    /// Hears on the sockets that the warden opened.
    pub fn attach(self, sockets: Vec<OwnedFd>) -> Result<Vec<Box<dyn Capture>>, HearingError> {
        let missing = || io::Error::other("the warden handed over no socket");
        let mut sockets = sockets.into_iter();
        Ok(vec![match self {
            Self::Passive(interface, index, filter) => {
                Box::new(PacketSocket::attach(sockets.next().ok_or_else(missing)?, &interface, index, &filter)?)
            }
            Self::UdpServer(port, http) => {
                Box::new(UdpSocket::attach(sockets.next().ok_or_else(missing)?, port, http)?)
            }
            #[cfg(feature = "pcap")]
            Self::File(file) => file,
        }])
    }
}
