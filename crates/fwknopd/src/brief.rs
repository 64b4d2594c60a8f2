//! What the reader hands to the two others: the configuration, checked, without its files.
//!
//! It is text in the dialect of the files themselves: the effective settings as `NAME value` lines, then the stanzas as
//! they came out of all includes. The listener gets it with keys, the warden without; both carry the same generation, so
//! that an order is measured by the policy it was made under.
//!
//! ```text
//! generation 9f86d081884c7d65
//! [settings]
//! PCAP_INTF eth0
//! [stanzas]
//! SOURCE ANY
//! OPEN_PORTS tcp/22
//! ```

use std::fmt;

use fwknop_conf::complaint::Complaints;
use jiff::tz::TimeZone;
use rand_core::{Rng as _, UnwrapErr};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::access::{self, RawStanza, Stanza, StanzaKeys};
use crate::args::Args;
use crate::config::{Config, RawConfig};

const SETTINGS: &str = "[settings]\n";
const STANZAS: &str = "[stanzas]\n";

/// The configuration as a process of ours was told it.
pub struct Brief {
    /// Names this reading of the files.
    pub generation: String,
    /// The settings.
    pub config: Config,
    /// The stanzas, in the order of the files.
    pub stanzas: Vec<Stanza>,
    raw: Vec<RawStanza>,
}

/// A text that our reader does not write.
#[derive(Debug, Error)]
#[error("the reader handed over what cannot be a configuration: {0}")]
pub struct BriefError(String);

/// Names one reading of the files: random, because it goes to a process that must not even guess at keys.
#[derive(Debug)]
pub struct Generation(u64);

impl Generation {
    /// A new name.
    pub fn new() -> Self {
        Self(UnwrapErr(getrandom::SysRng).next_u64())
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The text that is handed over; it holds keys if the stanzas do.
pub fn write(generation: &Generation, settings: &RawConfig, stanzas: &[RawStanza]) -> Zeroizing<String> {
    let head = format!("generation {generation}\n{SETTINGS}{}{STANZAS}", settings.to_handover());
    let stanzas = access::to_handover(stanzas);
    // Room for all of it at once: a text that grows leaves pieces of keys behind.
    let mut text = Zeroizing::new(String::with_capacity(head.len() + stanzas.len()));
    text.push_str(&head);
    text.push_str(&stanzas);
    text
}

impl Brief {
    /// Reads what [`write`] wrote. What is wrong with the files was told when they were read, so it is no matter here.
    pub fn parse(text: &str, args: &Args) -> Result<Self, BriefError> {
        let no = |what: &str| BriefError(what.to_owned());
        let (head, rest) = text.split_once(SETTINGS).ok_or_else(|| no("no settings"))?;
        let (settings, stanzas) = rest.split_once(STANZAS).ok_or_else(|| no("no stanzas"))?;
        let generation = head.strip_prefix("generation ").ok_or_else(|| no("no generation"))?.trim_end().to_owned();
        let mut told = Complaints::new();
        let config = RawConfig::from_handover(settings)
            .and_then(|raw| Config::new(&raw, args, &mut told))
            .ok_or_else(|| no("settings that are wrong"))?;
        let raw = access::from_handover(stanzas).ok_or_else(|| no("stanzas that are wrong"))?;
        let zone = TimeZone::system();
        let stanzas = (1..)
            .zip(&raw)
            .map(|(number, raw)| Stanza::new(raw, number, &config, &zone, &mut told))
            .collect::<Option<_>>()
            .ok_or_else(|| no("a stanza that is wrong"))?;
        Ok(Self { generation, config, stanzas, raw })
    }

    /// The keys, in the order of the stanzas: in the process that was handed them.
    pub fn keys(&self) -> Result<Vec<StanzaKeys>, BriefError> {
        let mut told = Complaints::new();
        self.raw
            .iter()
            .map(|raw| StanzaKeys::new(raw, &mut told))
            .collect::<Option<_>>()
            .ok_or_else(|| BriefError("keys that are wrong".to_owned()))
    }
}
