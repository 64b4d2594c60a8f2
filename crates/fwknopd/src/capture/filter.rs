//! `PCAP_FILTER`: which packets the kernel hands to us at all.
//!
//! The usual filter, `udp port N` in any spelling, is ours and also looks at the [`Shape`] of a packet. The empty filter is no
//! filter. Every other expression is compiled by libpcap (feature `pcap`), for packets that begin at their IP header: one
//! program then serves Ethernet, tun, ppp and WireGuard alike. So expressions about the link itself (`ether host`, `vlan`)
//! never match.
//!
//! ```
//! use fwknopd::capture::filter::{Filter, Wanted};
//!
//! let filter = Filter::compile("udp port 62201", &Wanted::default()).unwrap();
//! assert!(filter.knows_the_shape());
//! ```

use std::num::NonZeroU16;

use thiserror::Error;

use super::{
    bpf::{Ancillary, Assembler, BadJump, Instruction, Test},
    shape::{self, Ends, Shape},
};

/// The largest part of a packet that we ever read: the longest payload behind the longest headers fits well.
pub const PACKET: u16 = 2048;

/// What the settings say about a capture, besides the expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// `--pcap-any-direction`: packets that leave this machine, too.
    pub any_direction: bool,
    /// `ENABLE_SPA_OVER_HTTP`: a payload may be an HTTP request.
    pub http: bool,
    /// Bytes of an IP packet to keep, at most [`PACKET`]; what is cut by it is not read (`MAX_SNIFF_BYTES`, which counts
    /// 14 bytes of link header, too).
    pub keep: u16,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { any_direction: false, http: false, keep: PACKET }
    }
}

/// A compiled filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    program: Vec<Instruction>,
    shaped: bool,
}

/// Why an expression is not a filter. Its text is the line for the log.
#[derive(Debug, Error)]
pub enum FilterError {
    /// What libpcap says about it.
    #[error("[*] Error compiling pcap filter: {0}")]
    Expression(String),
    /// This build has no libpcap.
    #[error(
        "[*] Error compiling pcap filter: '{0}' needs libpcap, and this fwknopd was built without it; \
         it can do 'udp port N', 'udp dst port N' and the empty filter"
    )]
    NeedsLibpcap(String),
    /// The kernel's filter language cannot hold it.
    #[error("[*] Error compiling pcap filter: {0}")]
    Jump(#[from] BadJump),
}

impl Filter {
    /// Compiles an expression for a packet socket.
    ///
    /// # Errors
    /// If libpcap refuses it, or would be needed and is not built in.
    pub fn compile(expression: &str, wanted: &Wanted) -> Result<Self, FilterError> {
        let keep = u32::from(wanted.keep.min(PACKET));
        if let Some((ends, port)) = udp_port(expression) {
            let shape = Shape { http: wanted.http, keep };
            let program = shape.udp_port(port, ends, wanted.any_direction)?;
            return Ok(Self { program, shaped: true });
        }
        let mut program = prologue(wanted.any_direction)?;
        if expression.trim().is_empty() {
            program.extend(keep_all(keep)?);
        } else {
            // Every program of the language only jumps forward and relative, so it can stand behind another as it is.
            program.extend(kept(libpcap::instructions(expression)?, keep));
        }
        Ok(Self { program, shaped: false })
    }

    /// The instructions for the kernel.
    #[must_use]
    pub fn program(&self) -> &[Instruction] {
        &self.program
    }

    /// Whether junk is dropped in the kernel by its shape, or only what the expression says.
    #[must_use]
    pub fn knows_the_shape(&self) -> bool {
        self.shaped
    }
}

/// The port, if the expression means `udp port N` or `udp dst port N` and nothing else.
pub(super) fn udp_port(expression: &str) -> Option<(Ends, NonZeroU16)> {
    let mut text = expression.trim();
    while let Some(inner) = text.strip_prefix('(').and_then(|text| text.strip_suffix(')')) {
        text = inner.trim();
    }
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let (ends, number) = match words.as_slice() {
        ["udp", "port", number] | ["udp", "and" | "&&", "port", number] | ["port", number, "and" | "&&", "udp"] => {
            (Ends::Either, number)
        }
        ["udp", "dst", "port", number]
        | ["udp", "and" | "&&", "dst", "port", number]
        | ["dst", "port", number, "and" | "&&", "udp"] => (Ends::Destination, number),
        _ => return None,
    };
    let decimal = !number.starts_with(['0', '+']); // libpcap reads 010 as eight
    number.parse().ok().filter(|_| decimal).map(|port| (ends, port))
}

/// In front of a foreign program: incoming only, IP only.
fn prologue(any_direction: bool) -> Result<Vec<Instruction>, BadJump> {
    let mut program = Assembler::default();
    if !any_direction {
        shape::refuse_outgoing(&mut program);
    }
    let ip = program.label();
    program.load_ancillary(Ancillary::Protocol);
    program.when(Test::Equal(0x0800), ip);
    program.when(Test::Equal(0x86dd), ip);
    program.keep(0);
    program.place(ip);
    program.finish()
}

fn keep_all(bytes: u32) -> Result<Vec<Instruction>, BadJump> {
    let mut program = Assembler::default();
    program.keep(bytes);
    program.finish()
}

/// The same program, keeping at most `bytes` of what it keeps.
fn kept(program: Vec<Instruction>, bytes: u32) -> impl Iterator<Item = Instruction> {
    program.into_iter().map(move |instruction| match instruction {
        Instruction { code: super::bpf::RETURN, k, .. } => Instruction { k: k.min(bytes), ..instruction },
        other => other,
    })
}

#[cfg(feature = "pcap")]
pub(super) mod libpcap {
    //! The one place that asks libpcap to compile something.

    use pcap::{BpfProgram, Capture, Error, Linktype};

    use super::{FilterError, Instruction};

    /// An expression for packets that begin at their IP header, optimised, netmask unknown.
    pub(in super::super) fn program(expression: &str) -> Result<BpfProgram, FilterError> {
        Linktype::from_name("RAW")
            .and_then(Capture::dead)
            .and_then(|raw_ip| raw_ip.compile(expression, true))
            .map_err(|error| FilterError::Expression(said(error)))
    }

    /// The same as our own instructions. The crate keeps its fields to itself, but prints them.
    pub(super) fn instructions(expression: &str) -> Result<Vec<Instruction>, FilterError> {
        let unreadable = || FilterError::Expression("libpcap's program cannot be read".into());
        let read = |line: &str| {
            let mut numbers = line.split(' ');
            Some(Instruction {
                code: numbers.next()?.parse().ok()?,
                jt: numbers.next()?.parse().ok()?,
                jf: numbers.next()?.parse().ok()?,
                k: numbers.next()?.parse().ok()?,
            })
        };
        program(expression)?
            .get_instructions()
            .iter()
            .map(|line| read(&line.to_string()).ok_or_else(unreadable))
            .collect()
    }

    /// libpcap's own words, without the crate's.
    pub(in super::super) fn said(error: Error) -> String {
        match error {
            Error::PcapError(text) => text,
            other => other.to_string(),
        }
    }
}

#[cfg(not(feature = "pcap"))]
mod libpcap {
    //! Stands where libpcap would, and says that it is not there.

    use super::{FilterError, Instruction};

    pub(super) fn instructions(expression: &str) -> Result<Vec<Instruction>, FilterError> {
        Err(FilterError::NeedsLibpcap(expression.into()))
    }
}

#[cfg(test)]
mod tests;
