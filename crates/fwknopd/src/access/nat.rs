//! What a stanza says about address translation.

use std::net::Ipv4Addr;

use fwknop_conf::{
    complaint::{Complaint, Complaints},
    value::{Number, says_yes},
};

use super::{data_error, ipv4, raw::RawStanza};
use crate::config::Config;

/// Address translation in one stanza.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StanzaNat {
    /// `FORCE_NAT`: where the door leads, whatever the client asks for.
    pub force: Option<ForceNat>,
    /// `FORCE_SNAT` or `FORCE_MASQUERADE`: what the source is translated to. May be set where `ENABLE_IPT_SNAT` is not:
    /// then the stanza alone needs those chains.
    pub snat: Option<Snat>,
    /// `DISABLE_DNAT`.
    pub disable_dnat: bool,
    /// `FORWARD_ALL`: forwarding rules cover all ports and protocols. Together with `snat` and without `force` every request is
    /// forwarded to where it was going anyway: nothing is to be translated to the 0.0.0.0 that the original makes of that.
    pub forward_all: bool,
}

/// The target of `FORCE_NAT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForceNat {
    /// The address.
    pub address: Ipv4Addr,
    /// The port; 0 is what the original takes too.
    pub port: u16,
}

/// What sources are translated to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Snat {
    /// This address.
    Address(Ipv4Addr),
    /// The address of the interface that the packet leaves by.
    Masquerade,
}

/// Reads it. Lines count in their order: `FORCE_MASQUERADE N` cancels a `FORCE_SNAT` before it.
pub(super) fn read(raw: &RawStanza, config: &Config, complaints: &mut Complaints) -> StanzaNat {
    let force = raw.get("FORCE_NAT").and_then(|text| {
        let told = needs_nat("FORCE_NAT", config).map_or_else(|| force_nat(text).map_err(Complaint::error), Err);
        told.map_err(|complaint| complaints.push(raw.locate("FORCE_NAT", complaint))).ok()
    });
    let mut address = None;
    let (mut snat, mut masquerade) = (false, false);
    for (name, value) in raw.values() {
        match name {
            "FORCE_SNAT" => {
                snat = true;
                address = ipv4(value.split([' ', '\t']).next().unwrap_or_default());
                let complaint = match needs_nat(name, config) {
                    None if address.is_none() => {
                        Some(Complaint::error(format!("[*] Fatal: invalid FORCE_SNAT IP '{value}'")))
                    }
                    complaint => complaint,
                };
                complaints.extend(complaint.map(|complaint| raw.locate(name, complaint)));
            }
            "FORCE_MASQUERADE" => {
                masquerade = says_yes(value);
                snat = masquerade;
            }
            _ => {}
        }
    }
    let forward_all = raw.yes("FORWARD_ALL");
    if snat && raw.get("FORCE_NAT").is_none() && !forward_all {
        let text =
            format!("[*] FORCE_SNAT/FORCE_MASQUERADE requires either FORCE_NAT or FORWARD_ALL: '{}'", raw.source());
        complaints.push(raw.locate(if masquerade { "FORCE_MASQUERADE" } else { "FORCE_SNAT" }, Complaint::error(text)));
        complaints.push(data_error(raw));
    }
    let snat = match address {
        _ if !snat => None,
        Some(address) => Some(Snat::Address(address)),
        None if masquerade => Some(Snat::Masquerade),
        None => None,
    };
    StanzaNat { force, snat, disable_dnat: raw.yes("DISABLE_DNAT"), forward_all }
}

fn needs_nat(name: &str, config: &Config) -> Option<Complaint> {
    let word = config.netfilter_word();
    (!config.nat_enabled()).then(|| {
        Complaint::error(format!(
            "[*] {name} requires either ENABLE_{word}_FORWARDING or ENABLE_{word}_LOCAL_NAT in fwknopd.conf"
        ))
    })
}

/// `A.B.C.D port`, and what follows is ignored.
fn force_nat(text: &str) -> Result<ForceNat, String> {
    let mut words = text.split_ascii_whitespace();
    let digits = |word: &str| word.trim_start_matches(['-', '+']).starts_with(|c: char| c.is_ascii_digit());
    let number = |word: &str| digits(word).then(|| Number::read(word));
    let (Some(address), Some(number)) = (words.next(), words.next().and_then(number)) else {
        return Err(format!("[*] Fatal: invalid FORCE_NAT arg '{text}', need <IP> <PORT>"));
    };
    let port = number.within(&(0..=65_535)).and_then(|port| u16::try_from(port).ok());
    let port = port.ok_or_else(|| format!("[*] Fatal: invalid FORCE_NAT port '{}'", number.value))?;
    let address = ipv4(address).ok_or_else(|| format!("[*] Fatal: invalid FORCE_NAT IP '{address}'"))?;
    Ok(ForceNat { address, port })
}
