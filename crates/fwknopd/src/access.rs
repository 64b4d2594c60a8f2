//! `access.conf`: who may come in, by which keys, and what each may ask for.
//!
//! ```text
//! files ──▶ RawStanza ──┬──▶ Stanza       what is allowed; no keys in it
//!               │       └──▶ StanzaKeys   what opens its packets; only for the process that hears
//!               └──▶ lines ──▶ RawStanza in another process, with or without keys
//! ```
//!
//! [`read`] takes the files in, [`Stanza::new`] and [`StanzaKeys::new`] check every value and tell all mistakes. Whether a
//! packet may do what it asks for is `policy`'s question. Spec: server.md section 5.

use std::net::Ipv4Addr;

use fwknop_conf::{
    complaint::{Complaint, Complaints, Severity},
    networks::Networks,
    value::{Date, Number},
};
use jiff::{SignedDuration, civil, tz::TimeZone};
use spa::UnixTime;

use crate::config::Config;

mod accounts;
mod files;
mod gpg;
mod keys;
mod names;
mod nat;
mod ports;
mod raw;

pub use accounts::Account;
pub use files::read;
pub use gpg::{Gpg, Signatures, Signers};
pub use keys::{GpgKeys, Secret, StanzaKeys};
pub use nat::{ForceNat, Snat, StanzaNat};
pub use ports::{BadPortList, PortSet};
pub use raw::{RawStanza, from_handover, to_handover};

/// The longest timeout, in seconds.
const LONGEST: u32 = 8_388_608;
/// The longest command of a cycle, in bytes.
const LONGEST_COMMAND: usize = 255;

/// What one stanza allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stanza {
    /// Its number, from 1, in the order of the files.
    pub number: u32,
    /// Where packets may come from.
    pub source: Networks,
    /// Where they must have been sent to.
    pub destination: Networks,
    /// The ports that may be asked for; `None`: all.
    pub open_ports: Option<PortSet>,
    /// The ports that may not.
    pub restrict_ports: PortSet,
    /// Seconds a door stays open if the client does not say: `FW_ACCESS_TIMEOUT`, but never more than `max_timeout`.
    pub access_timeout: u32,
    /// The same as it was written: what `-D` shows.
    pub written_access_timeout: u32,
    /// The most seconds a client may ask for (`MAX_FW_TIMEOUT`).
    pub max_timeout: u32,
    /// The user name that packets must carry.
    pub require_username: Option<String>,
    /// Whether packets must name the address to open for.
    pub require_source_address: bool,
    /// From when on the stanza allows nothing.
    pub expires: Option<UnixTime>,
    /// How command messages are carried out; `None`: they are refused.
    pub command: Option<Commands>,
    /// Run these instead of opening a door.
    pub cycle: Option<Cycle>,
    /// Address translation.
    pub nat: StanzaNat,
    /// GPG, if the stanza uses it.
    pub gpg: Option<Gpg>,
}

/// How command messages are carried out (`ENABLE_CMD_EXEC`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commands {
    /// As whom; `None`: as ourselves.
    pub account: Option<Account>,
    /// Through sudo (`ENABLE_CMD_SUDO_EXEC`), and as whom.
    pub sudo: Option<Sudo>,
}

/// Whom sudo is asked to become; names, because sudo's rules are about names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sudo {
    /// `CMD_SUDO_EXEC_USER`; `None`: root, which is what sudo does by itself.
    pub user: Option<String>,
    /// `CMD_SUDO_EXEC_GROUP`, whether or not `CMD_EXEC_GROUP` is set (trap T24); `#number` where it is a user's name.
    pub group: Option<String>,
}

/// A command to open, and one to close later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cycle {
    /// `CMD_CYCLE_OPEN`, with its variables.
    pub open: String,
    /// What is run later; `None` if `CMD_CYCLE_CLOSE` is NONE.
    pub close: Option<String>,
    /// Seconds until then, if the client does not say (`CMD_CYCLE_TIMER`); there if there is something to close.
    pub timer: Option<u32>,
}

impl Stanza {
    /// Checks every value but the keys. `None` if one cannot be used; each is told. `zone` is where dates are midnight.
    pub fn new(
        raw: &RawStanza,
        number: u32,
        config: &Config,
        zone: &TimeZone,
        complaints: &mut Complaints,
    ) -> Option<Self> {
        let before = complaints.errors();
        let mut values = Values { raw, complaints };
        values.source_address_advice();
        let nat = nat::read(raw, config, values.complaints);
        let command = values.commands();
        let cycle = values.cycle();
        let gpg = gpg::read(raw, number, config, values.complaints);
        let source = values.networks("SOURCE");
        let destination = values.networks("DESTINATION");
        let open_ports = values.ports("OPEN_PORTS");
        let restrict_ports = values.ports("RESTRICT_PORTS");
        let (access_timeout, max_timeout) = values.timeouts(number);
        let expires = values.expires(zone);
        if complaints.errors() > before {
            return None;
        }
        Some(Self {
            number,
            source: source?,
            destination: destination.unwrap_or_else(Networks::any),
            open_ports,
            restrict_ports: restrict_ports.unwrap_or_default(),
            access_timeout: access_timeout.min(max_timeout),
            written_access_timeout: access_timeout,
            max_timeout,
            require_username: raw.get("REQUIRE_USERNAME").map(Into::into),
            require_source_address: requires_source_address(raw),
            expires,
            command,
            cycle,
            nat,
            gpg,
        })
    }
}

/// The two names are synonyms.
fn requires_source_address(raw: &RawStanza) -> bool {
    raw.last_of(&["REQUIRE_SOURCE_ADDRESS", "REQUIRE_SOURCE"])
        .is_some_and(|(_, value)| fwknop_conf::value::says_yes(value))
}

/// The line that ends what is told about a stanza that does not hold together.
fn data_error(raw: &RawStanza) -> Complaint {
    Complaint::error(format!("[*] Data error in access file: '{}'", raw.file()))
}

struct Values<'a> {
    raw: &'a RawStanza,
    complaints: &'a mut Complaints,
}

impl Values<'_> {
    fn tell(&mut self, name: &str, complaint: Complaint) {
        self.complaints.push(self.raw.locate(name, complaint));
    }

    fn source_address_advice(&mut self) {
        if !requires_source_address(self.raw) {
            let text = format!(
                "Warning: REQUIRE_SOURCE_ADDRESS not enabled for access stanza source: '{}'",
                self.raw.source()
            );
            self.complaints.push(Complaint::new(Severity::Info, text));
        }
    }

    fn networks(&mut self, name: &str) -> Option<Networks> {
        let text = self.raw.get(name)?;
        match text.parse::<Networks>() {
            Ok(networks) => {
                for (written, meant) in networks.odd() {
                    let text = format!("{name} '{written}' means {meant}");
                    self.tell(name, Complaint::warning(text).hint("write addresses with four decimal parts"));
                }
                Some(networks)
            }
            Err(error) => {
                self.tell(name, Complaint::error(error.to_string()));
                self.complaints.push(Complaint::error(format!("[*] Fatal invalid {name} in access stanza")));
                None
            }
        }
    }

    fn ports(&mut self, name: &str) -> Option<PortSet> {
        let text = self.raw.get(name)?;
        match text.parse::<PortSet>() {
            Ok(ports) => {
                for (written, port) in ports.odd() {
                    let complaint = match port {
                        0 => Complaint::warning(format!(
                            "{name} '{written}' is read as port 0, which nobody can ask for"
                        )),
                        port => Complaint::warning(format!("{name} '{written}' is read as port {port} alone")),
                    };
                    self.tell(name, complaint.hint("write every port as a number, as in tcp/22,tcp/80"));
                }
                Some(ports)
            }
            Err(error) => {
                self.tell(name, Complaint::error(error.to_string()));
                self.complaints.push(Complaint::error(format!("[*] Fatal invalid {name} in access stanza")));
                None
            }
        }
    }

    /// A number of seconds; 0 stands for the default.
    fn seconds(&mut self, name: &str, default: u32) -> u32 {
        let Some(text) = self.raw.get(name) else { return default };
        let number = Number::read(text);
        let Some(seconds) = number.within(&(0..=LONGEST)) else {
            let complaint = Complaint::error(format!("[*] {name} value not in range."));
            self.tell(name, complaint.hint(format!("'{text}' is not a number of seconds from 0 to {LONGEST}")));
            return default;
        };
        let seconds = if seconds == 0 { default } else { seconds };
        if number.odd {
            let complaint = Complaint::warning(format!("{name} value '{text}' is read as {seconds}"));
            self.tell(name, complaint.hint("write a number of seconds and nothing else"));
        }
        seconds
    }

    /// `FW_ACCESS_TIMEOUT` and `MAX_FW_TIMEOUT` as written.
    fn timeouts(&mut self, number: u32) -> (u32, u32) {
        let access = self.seconds("FW_ACCESS_TIMEOUT", 30);
        let max = self.seconds("MAX_FW_TIMEOUT", 300);
        if max < access {
            let source = self.raw.source();
            let text = format!(
                "Warning: MAX_FW_TIMEOUT < FW_ACCESS_TIMEOUT, honoring MAX_FW_TIMEOUT for stanza source: '{source}' (#{number})"
            );
            let hint = format!("doors stay open for {max} seconds, where fwknop 2.6 left them open for {access}");
            self.tell("MAX_FW_TIMEOUT", Complaint::new(Severity::Info, text).hint(hint));
        }
        (access, max)
    }

    fn expires(&mut self, zone: &TimeZone) -> Option<UnixTime> {
        let (name, text) = self.raw.last_of(&["ACCESS_EXPIRE", "ACCESS_EXPIRE_EPOCH"])?;
        if name == "ACCESS_EXPIRE_EPOCH" {
            let number = Number::read(text);
            if number.value < 0 || number.value == i64::MAX {
                let text = format!("[*] Fatal: invalid epoch seconds value '{text}' for access stanza expiration time");
                self.tell(name, Complaint::error(text));
                return None;
            }
            if number.odd {
                let means = if number.value == 0 { "never".to_owned() } else { number.value.to_string() };
                let complaint = Complaint::warning(format!("{name} '{text}' is read as {means}"));
                self.tell(name, complaint.hint("write seconds since 1970, as date +%s prints them"));
            }
            return u64::try_from(number.value).ok().filter(|&time| time > 0).map(UnixTime);
        }
        let date = Date::read(text);
        let Some((date, midnight)) = date.and_then(|date| Some((date, midnight(date, zone)?))) else {
            let text =
                format!("[*] Fatal: invalid date value '{text}' (need MM/DD/YYYY) for access stanza expiration time");
            self.tell(name, Complaint::error(text));
            return None;
        };
        if date.rolled {
            let complaint = Complaint::warning(format!("{name} '{text}' is not a day of the calendar"));
            self.tell(name, complaint.hint(format!("it is read as {}", asctime(midnight, zone))));
        }
        Some(midnight)
    }

    fn commands(&mut self) -> Option<Commands> {
        let account = accounts::account(self.raw, "CMD_EXEC_USER", "CMD_EXEC_GROUP", self.complaints);
        // Looked up so that a mistake is told now; sudo looks them up again.
        let become_whom = accounts::account(self.raw, "CMD_SUDO_EXEC_USER", "CMD_SUDO_EXEC_GROUP", self.complaints);
        let sudo = self.raw.yes("ENABLE_CMD_SUDO_EXEC").then(|| Sudo {
            user: become_whom.filter(|account| !account.uid.is_root()).map(|account| account.user),
            group: self.raw.get("CMD_SUDO_EXEC_GROUP").and_then(accounts::group_word),
        });
        self.raw.yes("ENABLE_CMD_EXEC").then_some(Commands { account, sudo })
    }

    fn cycle(&mut self) -> Option<Cycle> {
        let source = self.raw.source();
        let timer = self.raw.get("CMD_CYCLE_TIMER").map(|text| (Number::read(text), text));
        let timer = timer.and_then(|(number, text)| {
            let seconds = number.within(&(1..=LONGEST));
            let complaint = match seconds {
                None => Complaint::error(format!("[*] CMD_CYCLE_TIMER value not in range [1,{LONGEST}].")),
                Some(read) if number.odd => Complaint::warning(format!("CMD_CYCLE_TIMER '{text}' is read as {read}")),
                Some(_) => return seconds,
            };
            self.tell("CMD_CYCLE_TIMER", complaint);
            seconds
        });
        let (open, close) = match (self.raw.get("CMD_CYCLE_OPEN"), self.raw.get("CMD_CYCLE_CLOSE")) {
            (None, None) => return None,
            (Some(open), Some(close)) => (open, close),
            (open, _) => {
                let (set, unset) = if open.is_some() { ("OPEN", "CLOSE") } else { ("CLOSE", "OPEN") };
                return self.broken_cycle(format!(
                    "[*] Cannot set CMD_CYCLE_{set} without also setting CMD_CYCLE_{unset}: '{source}'"
                ));
            }
        };
        for (name, command) in [("CMD_CYCLE_OPEN", open), ("CMD_CYCLE_CLOSE", close)] {
            if command.len() > LONGEST_COMMAND {
                return self.broken_cycle(format!("[*] {name} command is too long: '{source}'"));
            }
        }
        let close = (!close.starts_with("NONE")).then_some(close);
        if close.is_some() && self.raw.get("CMD_CYCLE_TIMER").is_none() {
            return self
                .broken_cycle(format!("[*] Must set the CMD_CYCLE_TIMER for command cycle functionality: '{source}'"));
        }
        Some(Cycle { open: open.into(), close: close.map(Into::into), timer })
    }

    fn broken_cycle(&mut self, text: String) -> Option<Cycle> {
        self.tell("CMD_CYCLE_OPEN", Complaint::error(text));
        self.complaints.push(data_error(self.raw));
        None
    }
}

/// The start of a day in a time zone, if it lies behind 1970 and can be computed with.
fn midnight(date: Date, zone: &TimeZone) -> Option<UnixTime> {
    let days = SignedDuration::from_hours(date.days.checked_mul(24)?);
    let day = civil::date(1970, 1, 1).checked_add(days).ok()?;
    let second = zone.to_timestamp(day.at(0, 0, 0, 0)).ok()?.as_second();
    u64::try_from(second).ok().map(UnixTime)
}

/// A time as C's `asctime` writes it: `Tue Dec 31 00:00:00 2030`.
pub(crate) fn asctime(time: UnixTime, zone: &TimeZone) -> String {
    let second = i64::try_from(time.0).ok();
    match second.and_then(|second| jiff::Timestamp::from_second(second).ok()) {
        Some(timestamp) => zone.to_datetime(timestamp).strftime("%a %b %e %H:%M:%S %Y").to_string(),
        None => time.to_string(),
    }
}

/// The address that a value is; only the ordinary four decimal parts.
fn ipv4(text: &str) -> Option<Ipv4Addr> {
    text.parse().ok()
}

#[cfg(test)]
mod tests;
