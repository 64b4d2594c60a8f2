//! A capture file (`PCAP_FILE`), read by libpcap: feature `pcap`.
//!
//! The filter is applied to the packet from its IP header on, exactly as for live packets, so an expression means the same
//! in both. VLAN tags are skipped first. Nothing here ever waits; [`ended`](Capture::ended) says when all has been read.

use std::{
    io,
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
};

use pcap::{BpfProgram, Offline};
use thiserror::Error;

use super::{
    Capture,
    filter::{FilterError, libpcap},
    link::Link,
};
use crate::arrival::Arrival;

/// Why a capture file cannot be read. Its text is the line for the log.
#[derive(Debug, Error)]
pub enum FileError {
    /// libpcap cannot open it.
    #[error("[*] pcap_open_offline() error: {0}")]
    Open(String),
    /// It was taken on a kind of link that we do not know.
    #[error("[*] pcap_open_offline() error: {path} has link type {number}, which fwknopd cannot read")]
    Link {
        /// The file.
        path: PathBuf,
        /// libpcap's number of the link type.
        number: i32,
    },
    /// The filter is wrong.
    #[error(transparent)]
    Filter(#[from] FilterError),
}

/// A capture file that is being read.
pub struct FileCapture {
    path: PathBuf,
    packets: pcap::Capture<Offline>,
    link: Link,
    filter: Option<BpfProgram>,
    packet: Vec<u8>,
    heard: u64,
    ended: bool,
}

impl FileCapture {
    /// Opens a file. Everything that needs the file system happens here, so that reading goes on in a sandbox.
    ///
    /// # Errors
    /// See [`FileError`].
    pub fn open(path: &Path, expression: &str) -> Result<Self, FileError> {
        let packets = pcap::Capture::from_file(path).map_err(|error| FileError::Open(libpcap::said(error)))?;
        let number = packets.get_datalink().0;
        let link = Link::from_number(number).ok_or_else(|| FileError::Link { path: path.into(), number })?;
        let filter = match expression.trim() {
            "" => None,
            expression => Some(libpcap::program(expression)?),
        };
        Ok(Self { path: path.into(), packets, link, filter, packet: Vec::new(), heard: 0, ended: false })
    }

    /// Puts the next packet that passes the filter into `self.packet`; false at the end of the file.
    fn read(&mut self) -> io::Result<bool> {
        loop {
            let frame = match self.packets.next_packet() {
                Ok(frame) => frame,
                Err(pcap::Error::NoMorePackets) => return Ok(false),
                Err(error) => return Err(io::Error::other(libpcap::said(error))),
            };
            let Some(packet) = self.link.ip(frame.data) else {
                continue;
            };
            if self.filter.as_ref().is_none_or(|filter| filter.filter(packet)) {
                self.packet.clear();
                self.packet.extend_from_slice(packet);
                return Ok(true);
            }
        }
    }
}

impl Capture for FileCapture {
    fn next(&mut self) -> io::Result<Option<Arrival<'_>>> {
        while !self.ended {
            match self.read() {
                Ok(true) => self.heard += 1,
                Ok(false) => self.ended = true,
                Err(error) => {
                    self.ended = true; // a file that is damaged here stays so
                    return Err(error);
                }
            }
            if !self.ended && Arrival::from_ip(&self.packet).is_ok() {
                return Ok(Arrival::from_ip(&self.packet).ok());
            }
        }
        Ok(None)
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn ended(&self) -> bool {
        self.ended
    }

    fn heard(&self) -> u64 {
        self.heard
    }

    fn describe(&self) -> String {
        format!("packets in {}", self.path.display())
    }
}

#[cfg(test)]
mod tests;
