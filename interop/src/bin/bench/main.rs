//! Ours and the original side by side, in the same run, on the same machine: medians and their ratios.
//!
//! ```text
//! bench [--rounds N] [--json FILE]
//! ```
//!
//! Everything happens in network namespaces of its own and is bounded: about two minutes with 15 rounds. Read the ratios,
//! not the digits: figures move with the machine and its load. Needs root, release builds, and the original's packages.

mod figures;
mod junk;
mod latency;
mod rest;
mod service;

use std::process::ExitCode;

use interop::{Maker, Wall};

use crate::figures::Figures;

/// One server, in one way of working.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contender {
    /// Its name in table and JSON.
    pub(crate) name: &'static str,
    /// Whose.
    pub(crate) maker: Maker,
    /// Which firewall.
    pub(crate) wall: Wall,
    /// Arguments that choose how it takes packets.
    pub(crate) arguments: &'static [&'static str],
}

/// The original as it is installed.
pub(crate) const ORIGINAL: Contender =
    Contender { name: "original", maker: Maker::Original, wall: Wall::Iptables, arguments: &[] };
/// The original with a UDP socket.
pub(crate) const ORIGINAL_UDP: Contender = Contender { name: "original, UDP mode", arguments: &["-U"], ..ORIGINAL };
/// Ours with nftables.
pub(crate) const OURS_NFT: Contender =
    Contender { name: "ours, nft", maker: Maker::Ours, wall: Wall::Nft, arguments: &[] };
/// Ours with iptables.
pub(crate) const OURS_IPTABLES: Contender = Contender { name: "ours, iptables", wall: Wall::Iptables, ..OURS_NFT };

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bench: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let mut rounds = 15;
    let mut json = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{argument} needs a value"))?;
        match argument.as_str() {
            "--rounds" => {
                rounds = value.parse().map_err(|_| format!("{value} is no number of rounds"))?;
            }
            "--json" => json = Some(value),
            _ => return Err(format!("{argument}? There are --rounds N and --json FILE")),
        }
    }
    let mut figures = Figures::default();
    latency::measure(&mut figures, rounds)?;
    junk::measure(&mut figures)?;
    rest::measure(&mut figures)?;
    print!("{}", figures.table());
    if let Some(path) = json {
        std::fs::write(&path, figures.json()).map_err(|e| format!("{path}: {e}"))?;
        println!("\nwritten to {path}");
    }
    Ok(())
}
