//! Why a packet led to nothing, and what the log says of it.
//!
//! A refusal is an ordinary value, not an error of ours. Each has the level and the line of the output contract (spec
//! `output-contract.md` 2.6) and a stable reason code that never changes its spelling, for machines.

use std::fmt;
use std::net::IpAddr;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use spa::{NotSpa, OpenError};

use crate::action::ForSudoItself;
use crate::arrival::Arrival;
use crate::forwarded::Doubt;
use crate::journal::{Level, Line, escape};
use crate::keyring::{self, GpgFailure, MissingFrom, Signature};
use crate::order::Order;
use crate::replay::Used;

/// The server's own error numbers and texts, misspellings included (spec `output-contract.md` 3.2).
pub const SERVER_ERRORS: [(u16, &str); 17] = [
    (4096, "Data is not a valid SPA message format"),
    (4097, "Not enough data to be a valid SPA message"),
    (4098, "Data is not an SPA message"),
    (4099, "SPA via HTTP request, but ENABLE_SPA_OVER_HTTP is not set"),
    (4100, "Error creating FKO context for incoming data."),
    (4101, "Unable to retrieve digest from the SPA data."),
    (4102, "Error trying to access the digest.cache file"),
    (4103, "Detected SPA message replay"),
    (4104, "SPA message timestamp is outside the allowable window"),
    (4105, "SPA message did not pass access checks"),
    (4106, "An error occurred while executing an SPA command message"),
    (4107, "Unsupported SPA message operation"),
    (4108, "Undefined/unknown fwknopd Error"),
    (4109, "General SPA message processing error"),
    (8192, "An error occurred while tring to add a firewall rule"),
    (8193, "An error occurred while tring to delete a firewall rule"),
    (8194, "Unknown/unclassified firewall rule processing error"),
];

/// Why a packet, or one stanza's reading of it, led to nothing.
#[derive(Debug)]
pub enum Refusal {
    /// It cannot be SPA, whoever sent it.
    NotSpa(NotSpa),
    /// No stanza's SOURCE covers where it comes from.
    NoStanza,
    /// It was used before.
    Replayed(Used),
    /// It came over a connection of ours, and was used when it was seen on the link a moment before.
    HeardBefore,
    /// This stanza's SOURCE or DESTINATION does not cover it.
    Elsewhere,
    /// The stanza has expired.
    Expired {
        /// It was said before: expired stanzas are told of once.
        told: bool,
    },
    /// The stanza's keys do not open it.
    Stranger(OpenError),
    /// The stanza has no key of this packet's kind.
    NoKeyOfItsKind {
        /// It is a GPG packet by its length.
        long: bool,
    },
    /// A GPG packet was turned away before gpg saw it.
    BeforeGpg(OpenError),
    /// gpg did not open it, or its signature will not do.
    Gpg(GpgFailure),
    /// Its signer is not in a list of the stanza.
    Signer(Signature, MissingFrom),
    /// It could not be recorded as used.
    Unrecorded(std::io::Error),
    /// Its time and ours are this many seconds apart.
    WrongAge(u64),
    /// It was made before this machine booted; whoever recorded it then may send it now.
    BeforeBoot,
    /// It says "open for where this comes from", and the stanza wants an address.
    AddressRequired,
    /// The user in it is not the one the stanza wants.
    WrongUser {
        /// In the packet.
        got: String,
        /// In the stanza.
        wanted: String,
    },
    /// It asks for NAT, which is not enabled.
    NatOff,
    /// It asks for a command, which the stanza does not allow.
    CommandsOff,
    /// It asks for a port that the stanza does not allow.
    PortDenied,
    /// `--test`: all is well, and nothing is opened.
    TestMode,
    /// `--test`: all is well, and no command is run.
    CommandTestMode,
    /// The open or close command of a cycle cannot be made for this packet: it becomes too long, or the packet names no
    /// ports.
    Unbuildable(&'static str),
    /// The command of a command message would be an option of sudo, or an assignment.
    ForSudoItself,
    /// An order that goes beyond what its stanza allows: no listener of ours makes one.
    Forbidden(&'static str),
}

impl Refusal {
    /// The stable name of the reason.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotSpa(why) => why.reason(),
            Self::NoStanza => "E_NO_STANZA",
            Self::Replayed(_) => "E_REPLAY",
            Self::HeardBefore => "E_HEARD_BEFORE",
            Self::Elsewhere => "E_ELSEWHERE",
            Self::Expired { .. } => "E_EXPIRED",
            Self::Stranger(why) => why.reason(),
            Self::NoKeyOfItsKind { .. } => "E_SIZE_CLASS",
            Self::BeforeGpg(why) => why.reason(),
            Self::Gpg(why) => why.reason(),
            Self::Signer(..) => "E_GPG_SIGNER",
            Self::Unrecorded(_) => "E_UNRECORDED",
            Self::WrongAge(_) => "E_AGE",
            Self::BeforeBoot => "E_BEFORE_BOOT",
            Self::AddressRequired => "E_ADDRESS_REQUIRED",
            Self::WrongUser { .. } => "E_WRONG_USER",
            Self::NatOff => "E_NAT_OFF",
            Self::CommandsOff => "E_COMMANDS_OFF",
            Self::PortDenied => "E_PORT_DENIED",
            Self::TestMode => "E_TEST_MODE",
            Self::CommandTestMode => "E_COMMAND_TEST_MODE",
            Self::Unbuildable(_) => "E_UNBUILDABLE",
            Self::ForSudoItself => "E_FOR_SUDO_ITSELF",
            Self::Forbidden(_) => "E_FORBIDDEN",
        }
    }

    /// Whether only a holder of the stanza's keys can have caused it.
    pub fn is_of_a_key_holder(&self) -> bool {
        !matches!(
            self,
            Self::NotSpa(_)
                | Self::NoStanza
                | Self::Replayed(_)
                | Self::HeardBefore
                | Self::Elsewhere
                | Self::Expired { .. }
                | Self::Stranger(_)
                | Self::NoKeyOfItsKind { .. }
                | Self::BeforeGpg(_)
                | Self::Gpg(_)
        )
    }

    /// What gpg itself says of it, for the line that follows; empty where gpg has nothing to say.
    pub fn of_gpg(&self) -> Option<String> {
        match self {
            Self::Gpg(GpgFailure::Decrypt(text)) => Some(text.clone()),
            Self::Gpg(GpgFailure::NoSignature | GpgFailure::BadSignature) => Some(String::new()),
            _ => None,
        }
    }

    fn level(&self) -> Level {
        match self {
            Self::NotSpa(_) | Self::HeardBefore | Self::Elsewhere | Self::Expired { told: true } => Level::Debug,
            Self::Expired { told: false } => Level::Info,
            Self::Stranger(why) if why.is_hmac_mismatch() => Level::Info,
            Self::NoKeyOfItsKind { .. } | Self::Unrecorded(_) | Self::Unbuildable(_) | Self::Forbidden(_) => {
                Level::Error
            }
            _ => Level::Warning,
        }
    }
}

/// What the engine has to tell of one packet, in the order of its checks.
#[derive(Debug)]
pub enum Note {
    /// The stanza with this number applies.
    Covered(u32),
    /// What a request says of its sender does not count.
    Doubted(Doubt),
    /// A stanza that looks at signatures found this one.
    Signed(u32, Signature),
    /// What gpg itself said when it did not open a packet for a stanza.
    GpgError(u32, String),
    /// A check said no: for the packet, or for the stanza with this number.
    Refused(Option<u32>, Refusal),
}

impl Note {
    /// How loud it is.
    pub fn level(&self) -> Level {
        match self {
            Self::Covered(_) | Self::Signed(..) => Level::Info,
            Self::Doubted(_) | Self::GpgError(..) => Level::Warning,
            Self::Refused(_, why) => why.level(),
        }
    }

    /// The line for the log about an arrival that this note is of.
    pub fn line(&self, arrival: &Arrival<'_>) -> Line {
        Line::new(self.level(), Told { note: self, arrival })
    }
}

/// The line about an order that the warden does not carry out.
pub fn refused_order(order: &Order, why: &Refusal) -> Line {
    struct Text<'a>(&'a Order, &'a Refusal);
    impl fmt::Display for Text<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let (Self(order, why), from) = (self, self.0.from());
            for_stanza(f, from, from, order.stanza(), why)
        }
    }
    Line::new(why.level(), Text(order, why))
}

struct Told<'a> {
    note: &'a Note,
    arrival: &'a Arrival<'a>,
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ip = self.arrival.source;
        match self.note {
            Note::Covered(n) => write!(f, "(stanza #{n}) SPA Packet from IP: {ip} received with access source match"),
            Note::Doubted(Doubt::Value(value)) => {
                let value = escape(value);
                write!(f, "Error parsing X-Forwarded-For header: value '{value}' is not an IP address")
            }
            Note::Doubted(Doubt::Sender) => {
                write!(f, "X-Forwarded-For header ignored: {ip} is not one of TRUSTED_PROXIES")
            }
            Note::Signed(n, signature) => write!(
                f,
                "[{ip}] (stanza #{n}) Incoming SPA data signed by '{}' (fingerprint '{}').",
                signature.short_id(),
                signature.fingerprint
            ),
            Note::GpgError(n, text) => write!(f, "[{ip}] (stanza #{n}) - GPG ERROR: {}", escape(text)),
            Note::Refused(None, why) => for_all(f, self.arrival, why),
            Note::Refused(Some(n), why) => for_stanza(f, ip, self.arrival.destination, *n, why),
        }
    }
}

fn for_all(f: &mut fmt::Formatter<'_>, arrival: &Arrival<'_>, why: &Refusal) -> fmt::Result {
    let ip = arrival.source;
    match why {
        Refusal::NotSpa(why) => {
            let [form, _, alphabet, ..] = SERVER_ERRORS;
            let (code, text) = if *why == NotSpa::Alphabet { alphabet } else { form };
            write!(f, "[{ip}] preprocess_spa_data() returned error {code}: '{text}' for incoming packet.")
        }
        Refusal::NoStanza => write!(f, "No access data found for source IP: {ip}"),
        Refusal::Replayed(used) => write!(
            f,
            "Replay detected from source IP: {ip}, Destination proto/port: {}/{}, Original source IP: {}, \
             Original dst proto/port: {}/{}, Entry created: {}",
            arrival.transport.number(),
            arrival.destination_port,
            used.source,
            used.protocol,
            used.destination_port,
            created(used),
        ),
        Refusal::HeardBefore => write!(f, "[{ip}] this packet was seen on the link already, and is the same one"),
        other => write!(f, "[{ip}] {other:?}"),
    }
}

fn for_stanza(f: &mut fmt::Formatter<'_>, ip: IpAddr, to: IpAddr, n: u32, why: &Refusal) -> fmt::Result {
    match why {
        Refusal::Elsewhere => {
            write!(f, "(stanza #{n}) SPA packet ({ip} -> {to}) filtered by SOURCE and/or DESTINATION criteria")
        }
        Refusal::Expired { .. } => write!(f, "[{ip}] (stanza #{n}) Access stanza has expired"),
        Refusal::Stranger(why) if why.is_hmac_mismatch() => {
            write!(f, "(stanza #{n}) Non-corresponding HMAC for this stanza")
        }
        Refusal::Stranger(why) => write!(f, "[{ip}] (stanza #{n}) Error creating fko context: {}", why.fko().text),
        Refusal::NoKeyOfItsKind { long } => {
            let kind = if *long { 2 } else { 1 };
            write!(f, "[{ip}] (stanza #{n}) No stanza encryption mode match for encryption type: {kind}.")
        }
        Refusal::BeforeGpg(why) => {
            let text = why.fko().text;
            write!(f, "[{ip}] (stanza #{n}) Error creating fko context (before decryption): {text}")
        }
        Refusal::Gpg(why) => write!(f, "[{ip}] (stanza #{n}) {}", of_gpg(why)),
        Refusal::Signer(signature, MissingFrom::Fingerprints) => write!(
            f,
            "[{ip}] (stanza #{n}) Incoming SPA packet signed by: {}, but that fingerprint is not in the \
             GPG_FINGERPRINT_ID list.",
            signature.fingerprint
        ),
        Refusal::Signer(signature, MissingFrom::KeyIds) => write!(
            f,
            "[{ip}] (stanza #{n}) Incoming SPA packet signed by ID: {}, but that ID is not in the GPG_REMOTE_ID list.",
            signature.short_id()
        ),
        Refusal::Unrecorded(why) => write!(f, "[{ip}] (stanza #{n}) Could not add digest to replay cache: {why}"),
        Refusal::WrongAge(seconds) => {
            write!(f, "[{ip}] (stanza #{n}) SPA data time difference is too great ({seconds} seconds).")
        }
        Refusal::BeforeBoot => {
            write!(f, "[{ip}] (stanza #{n}) SPA packet was made before this machine booted, ignoring SPA packet")
        }
        Refusal::AddressRequired => {
            write!(f, "[{ip}] (stanza #{n}) Got 0.0.0.0 when valid source IP was required.")
        }
        Refusal::WrongUser { got, wanted } => write!(
            f,
            "[{ip}] (stanza #{n}) Username in SPA data ({}) does not match required username: {wanted}",
            escape(got)
        ),
        Refusal::NatOff => {
            write!(f, "(stanza #{n}) SPA packet from {ip} requested NAT access, but is not enabled/supported")
        }
        Refusal::CommandsOff => {
            write!(f, "[{ip}] (stanza #{n}) SPA Command messages are not allowed in the current configuration.")
        }
        Refusal::PortDenied => {
            write!(f, "[{ip}] (stanza #{n}) One or more requested protocol/ports was denied per access.conf.")
        }
        Refusal::TestMode => {
            write!(f, "[{ip}] (stanza #{n}) --test mode enabled, skipping firewall manipulation.")
        }
        Refusal::CommandTestMode => {
            write!(f, "[{ip}] (stanza #{n}) --test mode enabled, skipping command execution.")
        }
        Refusal::Unbuildable(which) => write!(f, "[{ip}] (stanza #{n}) Could not build CMD_CYCLE_{which} command."),
        Refusal::ForSudoItself => {
            write!(f, "[{ip}] (stanza #{n}) SPA Command message refused: {ForSudoItself}")
        }
        Refusal::Forbidden(what) => {
            write!(f, "[{ip}] (stanza #{n}) an order beyond the limits of its stanza was refused: {what}")
        }
        Refusal::NotSpa(_) | Refusal::NoStanza | Refusal::Replayed(_) | Refusal::HeardBefore => {
            write!(f, "[{ip}] (stanza #{n}) {why:?}")
        }
    }
}

/// What the original's library says of each, and our own words for what is ours.
fn of_gpg(why: &GpgFailure) -> String {
    const CONTEXT: &str = "Error creating fko context";
    match why {
        GpgFailure::Exe(path) => format!("Error setting GPG path {}: {}", path.display(), keyring::NO_EXE),
        GpgFailure::Home(path) => format!("Error setting GPG keyring path to {}: {}", path.display(), keyring::NO_HOME),
        GpgFailure::Decrypt(_) => format!("{CONTEXT}: Decryption operation failed"),
        GpgFailure::NoSignature => format!("{CONTEXT}: Missing GPG signature"),
        GpgFailure::BadSignature => format!("{CONTEXT}: Bad GPG signature"),
        GpgFailure::Busy => {
            "gpg is busy with packets that have no HMAC, and did not look at this one; give the stanza an HMAC key"
                .into()
        }
    }
}

/// `MM/DD/YY HH:MM:SS` in local time, as the original's replay line has it.
fn created(used: &Used) -> String {
    let time = i64::try_from(used.time.0).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    match time {
        Some(time) => TimeZone::system().to_datetime(time).strftime("%m/%d/%y %H:%M:%S").to_string(),
        None => used.time.to_string(), // a year that has more than four digits
    }
}
