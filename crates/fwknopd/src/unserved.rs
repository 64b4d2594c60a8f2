//! Settings that the original serves and this version does not yet.
//!
//! Each of them changes what a packet may do or how packets reach us. To go on without them would open less than the
//! administrator counts on, or something else; so they end the start, each with
//! its name.

use fwknop_conf::complaint::Complaint;

use crate::access::{RawStanza, Stanza};
use crate::config::Config;

/// What of the settings is not served.
pub fn of_settings(config: &Config) -> Vec<Complaint> {
    let word = config.netfilter_word();
    [
        (config.netfilter.forwarding, format!("ENABLE_{word}_FORWARDING")),
        (config.netfilter.local_nat, format!("ENABLE_{word}_LOCAL_NAT")),
        (config.netfilter.snat, format!("ENABLE_{word}_SNAT")),
        (config.netfilter.output_rules, format!("ENABLE_{word}_OUTPUT")),
        (config.destination_rule, "ENABLE_DESTINATION_RULE".to_owned()),
    ]
    .into_iter()
    .filter(|(on, _)| *on)
    .map(|(_, name)| refuse(&name))
    .collect()
}

/// What of a stanza is not served.
pub fn of_stanza(stanza: &Stanza, raw: &RawStanza) -> Vec<Complaint> {
    [(stanza.nat.force.is_some(), "FORCE_NAT"), (stanza.nat.forward_all, "FORWARD_ALL")]
        .into_iter()
        .filter(|(on, _)| *on)
        .map(|(_, name)| raw.locate(name, refuse(name)))
        .collect()
}

fn refuse(name: &str) -> Complaint {
    Complaint::error(format!("[*] {name} is not served by this version of fwknopd"))
        .hint("take it out, or keep the original on this machine for now")
}
