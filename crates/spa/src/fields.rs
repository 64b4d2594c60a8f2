//! The single values of a knock: [`Nonce`], [`Username`], [`UnixTime`], [`Version`], [`AllowIp`], [`ServerAuth`].
//!
//! Each is read once, at the edge, and cannot hold what the protocol forbids. What is asked for (ports, NAT, commands)
//! is in `request` and `ports`; how values are spelled on the wire is in `wire`.
//!
//! ```
//! assert!("alice".parse::<spa::Username>().is_ok());
//! assert!("CORP\\alice".parse::<spa::Username>().is_err());
//! ```

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use rand_core::CryptoRng;
use thiserror::Error;

/// A value that the protocol does not allow, in words for whoever typed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FieldError {
    /// A random value is 16 digits.
    #[error("a random value has exactly 16 digits")]
    Nonce,
    /// A user name has at least one byte.
    #[error("the user name is empty")]
    UserEmpty,
    /// A user name has at most 48 bytes.
    #[error("the user name has {0} bytes; servers take at most 48: shorten it")]
    UserTooLong(usize),
    /// A byte of the user name, counted from 0, is not allowed.
    #[error("character {} of the user name is not allowed: use letters, digits, blanks and - . @ _ but none of \" / \\ [ ] : ; | = , + * ? < >", .at + 1)]
    UserChar {
        /// Where it stands, from 0.
        at: usize,
    },
    /// A time is seconds since 1970, below 2^32.
    #[error("a time is a number of seconds from 0 to 4294967295")]
    Time,
    /// A version has 1 to 8 printable characters without a colon.
    #[error("a version has 1 to 8 printable characters, none of them a colon")]
    Version,
    /// Not an address that a door can be opened for.
    #[error(
        "not an address to allow: write it as 192.0.2.7 or 2001:db8::7, without leading zeroes, and not as an IPv4 address inside an IPv6 one"
    )]
    AllowIp,
    /// Not a list of ports.
    #[error("not a list of ports: write tcp/22 or tcp/22,udp/53, with ports from 1 to 65535")]
    Ports,
    /// A command has at least one byte and no NUL.
    #[error("a command has at least one byte and no NUL")]
    Command,
    /// A NAT target is a host, one comma and a port.
    #[error("a NAT target is written host,port")]
    NatForm,
    /// The host of a NAT target has at most 70 bytes.
    #[error("the host of a NAT target has {0} bytes; servers take at most 70: shorten it")]
    NatHostTooLong(usize),
    /// The host of a NAT target is neither an IPv4 address nor a host name.
    #[error("the host of a NAT target is an IPv4 address or a host name of letters, digits, hyphens and dots")]
    NatHost,
    /// The port of a NAT target.
    #[error("the port of a NAT target is a number from 1 to 65535")]
    NatPort,
    /// A server authentication text has 1 to 192 bytes and no NUL.
    #[error("a server authentication text has 1 to 192 bytes and no NUL")]
    ServerAuth,
    /// A timeout is written in digits.
    #[error("a timeout is a number of seconds, in digits only")]
    TimeoutDigits,
    /// A timeout is at most 65536 seconds.
    #[error("servers take a timeout of at most 65536 seconds: ask for less")]
    TimeoutTooLong,
}

impl FieldError {
    /// The stable reason code of the protocol description, section 12.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Nonce => "E_RAND",
            Self::UserEmpty => "E_USER_EMPTY",
            Self::UserTooLong(_) => "E_USER_TOO_LONG",
            Self::UserChar { .. } => "E_USER_CHAR",
            Self::Time => "E_TS",
            Self::Version => "E_VERSION",
            Self::AllowIp => "E_MSG_IP",
            Self::Ports | Self::Command => "E_MSG_SPEC",
            Self::NatForm => "E_NAT_FORM",
            Self::NatHostTooLong(_) => "E_NAT_HOST_LEN",
            Self::NatHost => "E_NAT_HOST_CHAR",
            Self::NatPort => "E_NAT_PORT",
            Self::ServerAuth => "E_AUTH_TOO_LONG",
            Self::TimeoutDigits | Self::TimeoutTooLong => "E_TIMEOUT",
        }
    }
}

/// Seconds since 1970-01-01 UTC. On the wire only 0 to 2^32 - 1 (section 5.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(pub u64);

impl UnixTime {
    /// The last time that a packet can carry (in the year 2106).
    pub const LAST_ON_WIRE: Self = Self(u32::MAX as u64);

    /// The distance to `other` in seconds, in whichever direction.
    ///
    /// The age rule of section 11.3 is `knock.time.distance(now) <= max_age`: a packet from the future is as bad as an
    /// old one.
    #[must_use]
    pub fn distance(self, other: Self) -> u64 {
        self.0.abs_diff(other.0)
    }
}

impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for UnixTime {
    type Err = FieldError;

    /// Digits only: no sign, no blanks.
    fn from_str(text: &str) -> Result<Self, FieldError> {
        if !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(FieldError::Time);
        }
        text.parse().map(Self).map_err(|_| FieldError::Time)
    }
}

/// The 16 random digits that make two otherwise equal packets differ.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Nonce([u8; 16]);

impl Nonce {
    /// Draws one; every value from 0 to 10^16 - 1 is equally likely.
    pub fn new(rng: &mut impl CryptoRng) -> Self {
        const VALUES: u64 = 10_000_000_000_000_000;
        const FAIR: u64 = u64::MAX - u64::MAX % VALUES; // below it, each value occurs equally often
        let mut draw = rng.next_u64();
        while draw >= FAIR {
            draw = rng.next_u64();
        }
        let mut digits = [b'0'; 16];
        for digit in digits.iter_mut().rev() {
            *digit += u8::try_from(draw % 10).unwrap_or_default();
            draw /= 10;
        }
        Self(digits)
    }

    /// The 16 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default() // digits only, so it is never the default
    }
}

impl FromStr for Nonce {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, FieldError> {
        let digits: [u8; 16] = text.as_bytes().try_into().map_err(|_| FieldError::Nonce)?;
        if digits.iter().all(u8::is_ascii_digit) { Ok(Self(digits)) } else { Err(FieldError::Nonce) }
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Nonce({self})")
    }
}

/// Who knocks: 1 to 48 bytes of printable ASCII without `" / \ [ ] : ; | = , + * ? < >` (section 5.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Username(String);

impl Username {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Username {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, FieldError> {
        let allowed = |b: u8| matches!(b, b' '..=b'~') && !br#""/\[]:;|=,+*?<>"#.contains(&b);
        if text.is_empty() {
            return Err(FieldError::UserEmpty);
        }
        if let Some(at) = text.bytes().position(|b| !allowed(b)) {
            return Err(FieldError::UserChar { at });
        }
        if text.len() > 48 {
            return Err(FieldError::UserTooLong(text.len()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The protocol version that a client claims, `3.0.0` from ours. No decoder acts on it (sections 5.5 and 14).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version(String);

impl Version {
    /// The text, `3.0.0` for instance.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Version {
    fn default() -> Self {
        Self("3.0.0".to_owned())
    }
}

impl FromStr for Version {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, FieldError> {
        let printable = text.bytes().all(|b| matches!(b, b' '..=b'~') && b != b':');
        if printable && (1..=8).contains(&text.len()) { Ok(Self(text.to_owned())) } else { Err(FieldError::Version) }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// For whom the door is opened.
///
/// [`FromStr`] takes the one spelling that [`Display`](fmt::Display) gives: no leading zeroes, IPv6 in its canonical form,
/// no zone, no IPv4 address inside an IPv6 one. To take other spellings from a person, parse an [`IpAddr`] and convert it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AllowIp {
    /// `0.0.0.0`: the address that the packet comes from, of either family.
    Source,
    /// This address. Neither `0.0.0.0` nor `::` nor `::ffff:a.b.c.d`: sealing refuses those.
    Address(IpAddr),
}

impl AllowIp {
    /// Reads the address of a message; IPv6 only where the receiver wants it.
    pub(crate) fn read(text: &str, ipv6_allow: bool) -> Result<Self, FieldError> {
        let address: IpAddr = text.parse().map_err(|_| FieldError::AllowIp)?;
        let canonical = match address {
            IpAddr::V4(_) => true, // the parser refuses leading zeroes, so there is one spelling
            IpAddr::V6(v6) => ipv6_allow && v6.to_string() == text,
        };
        if canonical { address.try_into() } else { Err(FieldError::AllowIp) }
    }

    /// The same, if it is one that a packet can carry.
    pub(crate) fn checked(self) -> Result<Self, FieldError> {
        match self {
            Self::Source => Ok(self),
            Self::Address(address) if Self::try_from(address)? == self => Ok(self),
            Self::Address(_) => Err(FieldError::AllowIp),
        }
    }
}

impl TryFrom<IpAddr> for AllowIp {
    type Error = FieldError;

    fn try_from(address: IpAddr) -> Result<Self, FieldError> {
        match address {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ok(Self::Source),
            IpAddr::V4(_) => Ok(Self::Address(address)),
            IpAddr::V6(v6) if v6 == Ipv6Addr::UNSPECIFIED || v6.to_ipv4_mapped().is_some() => Err(FieldError::AllowIp),
            IpAddr::V6(_) => Ok(Self::Address(address)),
        }
    }
}

impl FromStr for AllowIp {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, FieldError> {
        Self::read(text, true)
    }
}

impl fmt::Display for AllowIp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source => f.write_str("0.0.0.0"),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// Bytes that older servers could check, such as `crypt,<password>`. Kept, and without meaning today (section 5.8).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ServerAuth(Vec<u8>);

impl ServerAuth {
    /// Takes 1 to 192 bytes without NUL. The original's encoder stops at 63.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, FieldError> {
        let bytes = bytes.into();
        if (1..=192).contains(&bytes.len()) && !bytes.contains(&0) {
            Ok(Self(bytes))
        } else {
            Err(FieldError::ServerAuth)
        }
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for ServerAuth {
    /// It may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerAuth(..)")
    }
}
