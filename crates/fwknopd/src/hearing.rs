//! Where we hear: what the settings say of it, what the warden opens for it, and what the listener makes of that.
//!
//! ```text
//! settings ─▶ Hearing ─┬▶ open     (warden, with rights)      ─▶ sockets ─┐
//!                      └▶ prepare  (listener, before it is confined) ─▶ Prepared ─▶ attach ─▶ Capture
//! ```

use std::io;
use std::num::NonZeroU16;
use std::os::fd::OwnedFd;

use thiserror::Error;

use crate::capture::Capture;
#[cfg(feature = "pcap")]
use crate::capture::file::{FileCapture, FileError};
use crate::capture::filter::{Filter, FilterError, Wanted};
use crate::capture::interfaces::{Interfaces, Watch};
use crate::capture::packet::{self, OpenError, PacketSocket};
use crate::capture::tcp::{self, TcpServer};
use crate::capture::udp::{self, BindError, UdpSocket};
use crate::config::Config;

#[cfg(feature = "pcap")]
pub use crate::capture::promiscuous::Promiscuous;
/// Without libpcap no interface is made promiscuous.
#[cfg(not(feature = "pcap"))]
#[derive(Debug)]
pub enum Promiscuous {}

/// What we hear: packets in one way, and beside it perhaps TCP connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hearing {
    way: Way,
    /// `TCPSERV_PORT`, with `ENABLE_TCP_SERVER`.
    tcp_server: Option<u16>,
}

/// The way packets reach us.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Way {
    /// Every packet on an interface that passes the filter; nothing has to be open.
    Passive {
        /// `PCAP_INTF`.
        interfaces: Interfaces,
        /// `EXIT_AT_INTF_DOWN`: one that is missing, or removed, is the end.
        all_needed: bool,
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
    BindTcp(#[from] tcp::BindError),
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
pub struct Prepared {
    way: PreparedWay,
    tcp_server: Option<u16>,
}

enum PreparedWay {
    /// Interfaces, and a compiled filter.
    Passive(Interfaces, Filter),
    /// A port.
    UdpServer(u16, bool),
    /// A file that is open.
    #[cfg(feature = "pcap")]
    File(Box<FileCapture>),
}

impl Hearing {
    /// What the settings say.
    pub fn of(config: &Config) -> Self {
        let way = Way::of(config);
        // The end of a capture file is the end; nobody would wait for connections.
        let tcp_server = config.tcp_server.filter(|_| !matches!(way, Way::File { .. })).map(NonZeroU16::get);
        Self { way, tcp_server }
    }

    /// Whether it takes connections, for which the listener needs one more system call.
    pub fn accepts(&self) -> bool {
        self.tcp_server.is_some()
    }

    /// Whether datagrams come in at a port of ours.
    pub fn is_udp_server(&self) -> bool {
        matches!(self.way, Way::UdpServer { .. })
    }

    /// Opens what needs rights. The sockets drop everything, or let it wait, until a listener takes them.
    pub fn open(&self) -> Result<Vec<OwnedFd>, HearingError> {
        self.find_interfaces()?;
        self.ears().iter().map(Ear::open).collect()
    }

    /// The same for a successor of one who hears on `sockets`: what both need is shared.
    pub fn open_after(&self, present: &Self, sockets: &[OwnedFd]) -> Result<Vec<OwnedFd>, HearingError> {
        self.find_interfaces()?;
        let known: Vec<_> = present.ears().into_iter().zip(sockets).collect();
        let share = |ear: &Ear| known.iter().find(|(known, _)| known == ear).map(|(_, socket)| socket.try_clone());
        self.ears().iter().map(|ear| share(ear).map_or_else(|| ear.open(), |socket| Ok(socket?))).collect()
    }

    /// Makes the interfaces that are there promiscuous if the settings say so, for as long as what is given lives.
    pub fn hold_promiscuous(&self) -> Result<Vec<Promiscuous>, HearingError> {
        match &self.way {
            #[cfg(feature = "pcap")]
            Way::Passive { interfaces, promiscuous: true, .. } => {
                let present = interfaces.present()?;
                present.iter().map(|link| Ok(Promiscuous::hold(&link.name)?)).collect()
            }
            #[cfg(not(feature = "pcap"))]
            Way::Passive { promiscuous: true, .. } => Err(HearingError::NotPromiscuous),
            _ => Ok(Vec::new()),
        }
    }

    /// A watch over the interfaces, where some are named; nothing counts as there before its first look.
    pub fn watch(&self) -> io::Result<Option<Watch>> {
        match &self.way {
            Way::Passive { interfaces, .. } if !interfaces.is_any() => Watch::new(interfaces.clone()).map(Some),
            _ => Ok(None),
        }
    }

    /// Whether an interface that is missing, or removed, is the end (`EXIT_AT_INTF_DOWN`).
    pub fn ends_with_its_interfaces(&self) -> bool {
        matches!(self.way, Way::Passive { all_needed: true, .. })
    }

    /// Compiles the filter, or opens the file: libpcap looks up names and reads files, a confined process does not.
    pub fn prepare(&self) -> Result<Prepared, HearingError> {
        let way = match &self.way {
            Way::Passive { interfaces, filter, wanted, .. } => {
                PreparedWay::Passive(interfaces.clone(), Filter::compile(filter, wanted)?)
            }
            Way::UdpServer { port, http } => PreparedWay::UdpServer(*port, *http),
            #[cfg(feature = "pcap")]
            Way::File { path, filter } => PreparedWay::File(Box::new(FileCapture::open(path, filter)?)),
            #[cfg(not(feature = "pcap"))]
            Way::File { .. } => return Err(HearingError::NoFiles),
        };
        Ok(Prepared { way, tcp_server: self.tcp_server })
    }

    /// The lines of the log that say how we hear; after the last of them no packet is missed.
    pub fn lines(&self) -> Vec<String> {
        const LOOP: &str = "Starting fwknopd main event loop.";
        let passive = |first: String, filter: &str| {
            let filtered = (!filter.is_empty()).then(|| format!("PCAP filter is: '{filter}'"));
            [Some(first), filtered, Some(LOOP.to_owned())].into_iter().flatten().collect()
        };
        let tcp = self.tcp_server.map(|port| format!("Kicking off TCP server to listen on port {port}."));
        let ways: Vec<String> = match &self.way {
            Way::Passive { interfaces, filter, .. } => passive(format!("Sniffing interface: {interfaces}"), filter),
            Way::UdpServer { port, .. } => vec![format!("Kicking off UDP server to listen on port {port}.")],
            Way::File { path, filter } => passive(format!("Reading pcap file: {}", path.display()), filter),
        };
        tcp.into_iter().chain(ways).collect()
    }

    /// With `EXIT_AT_INTF_DOWN`, everything that is named must be there.
    fn find_interfaces(&self) -> Result<(), HearingError> {
        let Way::Passive { interfaces, all_needed: true, .. } = &self.way else { return Ok(()) };
        match interfaces.missing(&interfaces.present()?).first() {
            Some(missing) if !interfaces.is_any() => Err(OpenError::NoInterface((*missing).to_owned()).into()),
            _ => Ok(()),
        }
    }

    /// What has to be open, in the order in which it is handed over.
    fn ears(&self) -> Vec<Ear> {
        let way = match &self.way {
            Way::Passive { interfaces, .. } => Some(Ear::Links(interfaces.clone())),
            Way::UdpServer { port, .. } => Some(Ear::UdpPort(*port)),
            Way::File { .. } => None,
        };
        way.into_iter().chain(self.tcp_server.map(Ear::TcpPort)).collect()
    }
}

impl Way {
    fn of(config: &Config) -> Self {
        let capture = &config.capture;
        let filter = capture.filter.clone().unwrap_or_default();
        let http = config.http.is_some();
        if let Some(port) = config.udp_server {
            return Self::UdpServer { port: port.get(), http };
        }
        match &capture.file {
            Some(path) => Self::File { path: path.clone(), filter },
            None => Self::Passive {
                interfaces: Interfaces::new(&capture.interface),
                all_needed: capture.exit_at_interface_down,
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
}

/// One socket that the warden opens. Equal ones serve a successor as well.
#[derive(PartialEq, Eq)]
enum Ear {
    Links(Interfaces),
    UdpPort(u16),
    TcpPort(u16),
}

impl Ear {
    fn open(&self) -> Result<OwnedFd, HearingError> {
        Ok(match self {
            Self::Links(interfaces) => packet::open(interfaces)?,
            Self::UdpPort(port) => udp::open(*port)?,
            Self::TcpPort(port) => tcp::open(*port)?,
        })
    }
}

impl Prepared {
    /// Hears on the sockets that the warden opened; `links` are the interfaces that are meant and there.
    pub fn attach(self, sockets: Vec<OwnedFd>, links: &[u32]) -> Result<Vec<Box<dyn Capture>>, HearingError> {
        let mut sockets = sockets.into_iter();
        let mut next = || sockets.next().ok_or_else(|| io::Error::other("the warden handed over no socket"));
        let way: Box<dyn Capture> = match self.way {
            PreparedWay::Passive(interfaces, filter) => {
                Box::new(PacketSocket::attach(next()?, &interfaces, links, filter)?)
            }
            PreparedWay::UdpServer(port, http) => Box::new(UdpSocket::attach(next()?, port, http)?),
            #[cfg(feature = "pcap")]
            PreparedWay::File(file) => file,
        };
        let mut captures = vec![way];
        // Behind the link, so that of a packet that both have, the link has it first.
        if let Some(port) = self.tcp_server {
            captures.push(Box::new(TcpServer::new(next()?, port)));
        }
        Ok(captures)
    }
}
