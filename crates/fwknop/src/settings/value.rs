//! What the values of settings look like, and reading them.
//!
//! A [`Kind`] says what a value may be; [`Kind::read`] makes a [`Value`] of a text or says what is [`Wrong`] with it. The same kinds
//! serve the command line and the rc file; the words of a refusal differ between the two, so [`Wrong`] knows both.
//! A value displays as the rc file writes it.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
};

use spa::{CipherMode, DigestType};

use super::SecretBytes;

/// What the values of a setting look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Yes or no.
    YesNo,
    /// Any text.
    Text,
    /// A key or passphrase as it is.
    Secret,
    /// A key in base64; what messages call it.
    SecretBase64(&'static str),
    /// A port, 0 to 65535.
    Port,
    /// Any number from 0.
    Number,
    /// A small number; what messages call it, and from where to where it goes.
    #[allow(missing_docs)]
    Small { what: &'static str, lowest: u32, highest: u32 },
    /// A timeout.
    Seconds,
    /// A level of verbosity: 0 to 4, or yes.
    Level,
    /// The address to let in.
    Allow,
    /// Time to add to or to take from a timestamp.
    Offset,
    /// The digest inside the packet.
    Digest,
    /// The digest of the HMAC.
    HmacType,
    /// A mode of encryption.
    EncryptionMode,
    /// How the packet travels.
    Vehicle,
}

/// Which address to let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allow {
    /// Whatever address the packet comes from.
    Source,
    /// This one.
    Address(IpAddr),
    /// The one that a web service sees us with.
    Resolve,
}

/// A mode of encryption: one of the symmetric ones, or GnuPG.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Symmetric.
    Cipher(CipherMode),
    /// `Asymmetric`.
    Asymmetric,
}

/// How the packet travels. Displays as the rc file writes it.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportKind {
    Udp,
    Tcp,
    Http,
    UdpRaw,
    TcpRaw,
    Icmp,
}

impl TransportKind {
    const ALL: [Self; 6] = [Self::Udp, Self::Tcp, Self::Http, Self::UdpRaw, Self::TcpRaw, Self::Icmp];

    /// Whether we make the IP header ourselves, and so can forge the source.
    #[must_use]
    pub fn is_raw(self) -> bool {
        matches!(self, Self::UdpRaw | Self::TcpRaw | Self::Icmp)
    }
}

impl fmt::Display for TransportKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Http => "http",
            Self::UdpRaw => "udpraw",
            Self::TcpRaw => "tcpraw",
            Self::Icmp => "icmp",
        })
    }
}

/// The value of a setting. Displays as the rc file writes it, except that secrets hide.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum Value {
    YesNo(bool),
    Text(OsString),
    /// A key, as typed. It has no way to the screen.
    Secret(Hidden),
    Number(u32),
    Allow(Allow),
    /// Seconds.
    Offset(i64),
    Digest(DigestType),
    Mode(Mode),
    Transport(TransportKind),
}

/// A secret as somebody typed it: raw text, or base64.
pub struct Hidden(SecretBytes);

impl Hidden {
    /// The one way to the bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden(..)")
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::YesNo(yes) => f.write_str(if *yes { "Y" } else { "N" }),
            Self::Text(text) => text.to_string_lossy().fmt(f),
            Self::Secret(_) => f.write_str("***"),
            Self::Number(number) => number.fmt(f),
            Self::Allow(Allow::Source) => f.write_str("source"),
            Self::Allow(Allow::Resolve) => f.write_str("resolve"),
            Self::Allow(Allow::Address(address)) => address.fmt(f),
            Self::Offset(seconds) => seconds.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
            Self::Mode(Mode::Cipher(mode)) => mode.fmt(f),
            Self::Mode(Mode::Asymmetric) => f.write_str("Asymmetric"),
            Self::Transport(transport) => transport.fmt(f),
        }
    }
}

/// What is wrong with a value. Carries what its messages need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Not what this kind of value looks like.
    Form,
    /// A number that is too small or too large; so far does it go.
    Range {
        /// The number, as far as it could be read.
        number: String,
        /// The largest that is possible, or -1 where there is no limit.
        highest: i64,
        /// Too long for a C `long`: the original says so in a line of its own.
        overflow: bool,
    },
}

impl Kind {
    /// Reads a value.
    ///
    /// # Errors
    /// [`Wrong`], whose words depend on where the value stood.
    pub fn read(self, given: &OsStr) -> Result<Value, Wrong> {
        match self {
            Self::Text => return Ok(Value::Text(given.to_owned())),
            Self::Secret => return Ok(Value::Secret(Hidden(SecretBytes::new(given.as_encoded_bytes().to_vec())))),
            Self::SecretBase64(_) => return base64_key(given.as_encoded_bytes()),
            _ => (),
        }
        let text = given.to_str().ok_or(Wrong::Form)?;
        match self {
            Self::YesNo => yes_or_no(text).map(Value::YesNo),
            Self::Level => match yes_or_no(text) {
                Ok(yes) => Some(Value::Number(yes.into())),
                Err(_) => number(text, 4).ok().map(Value::Number),
            }
            .ok_or(Wrong::Form),
            Self::Port => number(text, 65535).map(Value::Number),
            Self::Number => number(text, -1).map(Value::Number),
            Self::Small { lowest, highest, .. } => match number(text, highest.into())? {
                below if below < lowest => Err(Wrong::Form),
                number => Ok(Value::Number(number)),
            },
            Self::Seconds => match number(text, 131_072)? {
                // What no server can decode is as wrong as what the option never took (D20).
                seconds @ 65537.. => Err(Wrong::Range { number: seconds.to_string(), highest: 65536, overflow: false }),
                seconds => Ok(Value::Number(seconds)),
            },
            Self::Allow => match text {
                _ if text.eq_ignore_ascii_case("source") => Ok(Value::Allow(Allow::Source)),
                _ if text.eq_ignore_ascii_case("resolve") => Ok(Value::Allow(Allow::Resolve)),
                _ => allow_address(text).map(Value::Allow).ok_or(Wrong::Form),
            },
            Self::Offset => offset(text).map(Value::Offset).ok_or(Wrong::Form),
            Self::Digest | Self::HmacType => DigestType::from_str(text).map(Value::Digest).map_err(|_| Wrong::Form),
            Self::EncryptionMode => mode(text).map(Value::Mode).ok_or(Wrong::Form),
            Self::Vehicle => TransportKind::ALL
                .into_iter()
                .find(|kind| kind.to_string().eq_ignore_ascii_case(text))
                .map(Value::Transport)
                .ok_or(Wrong::Form),
            Self::Text | Self::Secret | Self::SecretBase64(_) => Err(Wrong::Form), // read above
        }
    }
}

/// The original takes `Y` only and silently drops the rest, and with `USE_HMAC yes` the authentication (D3).
fn yes_or_no(text: &str) -> Result<bool, Wrong> {
    match text.to_ascii_lowercase().as_str() {
        "y" | "yes" | "true" | "on" | "1" => Ok(true),
        "n" | "no" | "false" | "off" | "0" => Ok(false),
        _ => Err(Wrong::Form),
    }
}

/// A decimal number from 0 to `highest` (-1: as far as it goes). Digits only: neither `+22` nor `22x` (D35).
fn number(text: &str, highest: i64) -> Result<u32, Wrong> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Wrong::Form);
    }
    let number: Option<i64> = text.parse().ok();
    let limit = if highest < 0 { i64::from(i32::MAX) } else { highest };
    match number.map(|number| (number, u32::try_from(number))) {
        Some((number, Ok(small))) if number <= limit => Ok(small),
        _ => Err(Wrong::Range { number: number.unwrap_or(-1).to_string(), highest, overflow: number.is_none() }),
    }
}

/// An IPv4 address in its usual form, or an IPv6 address in its canonical form. Spec: client.md section 9, decisions.md (IPv6).
fn allow_address(text: &str) -> Option<Allow> {
    let address = IpAddr::from_str(text).ok()?;
    match address {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Some(Allow::Source),
        IpAddr::V4(_) => Some(Allow::Address(address)),
        IpAddr::V6(v6) => (v6.to_ipv4_mapped().is_none() && !v6.is_unspecified()).then_some(Allow::Address(address)),
    }
}

/// Digits and a unit: seconds, minutes, hours or days. The number goes to 65536, before the unit. Spec: client.md section 10.5.
///
/// The original collects digits from anywhere (`1.5h` is 15 hours); we refuse what is not plainly a number and a unit (D35).
fn offset(text: &str) -> Option<i64> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let (digits, unit) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
    let count: i64 = digits.parse().ok().filter(|count| digits.len() <= 8 && *count <= 65536)?;
    let seconds = match unit.to_ascii_lowercase().as_str() {
        "" | "s" | "sec" | "secs" | "second" | "seconds" => 1,
        "m" | "min" | "mins" | "minute" | "minutes" => 60,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3600,
        "d" | "day" | "days" => 86400,
        _ => return None,
    };
    Some(sign * count * seconds)
}

fn mode(text: &str) -> Option<Mode> {
    if text.eq_ignore_ascii_case("asymmetric") {
        return Some(Mode::Asymmetric);
    }
    CipherMode::from_str(text).ok().map(Mode::Cipher)
}

/// Text over the base64 alphabet. What it decodes to is looked at when the key is needed.
fn base64_key(bytes: &[u8]) -> Result<Value, Wrong> {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    if bytes.iter().all(fits) { Ok(Value::Secret(Hidden(SecretBytes::new(bytes.to_vec())))) } else { Err(Wrong::Form) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_a_number_and_a_unit() {
        for (text, seconds) in [
            ("60", Some(60)),
            ("60s", Some(60)),
            ("60sec", Some(60)),
            ("2m", Some(120)),
            ("60min", Some(3600)),
            ("1H", Some(3600)),
            ("2days", Some(172_800)),
            ("-2h", Some(-7200)),
            ("65536", Some(65536)),
            ("65537", None),
            ("123456789", None),
            ("1.5h", None),
            ("10s5m", None),
            ("2 months", None),
            ("2w", None),
            ("--60", None),
            ("", None),
            ("abc", None),
        ] {
            assert_eq!(offset(text), seconds, "{text}");
        }
    }

    #[test]
    fn addresses_have_one_spelling() {
        for text in ["010.0.0.1", "123.123.123.1234", "1.2.3", "::ffff:192.0.2.1", "fe80::1%eth0", "::", "host"] {
            assert_eq!(allow_address(text), None, "{text}");
        }
        assert_eq!(allow_address("0.0.0.0"), Some(Allow::Source));
        assert!(allow_address("2001:db8::7").is_some());
    }
}
