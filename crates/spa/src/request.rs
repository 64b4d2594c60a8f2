//! What a knock asks for: a [`Request`] for ports (perhaps with NAT and a timeout) or for a command to be run.
//!
//! The number of the message on the wire is worked out from the request, so the two cannot disagree.
//!
//! ```
//! use spa::{AllowIp, Nat, Request};
//!
//! let request = Request::Access { allow: AllowIp::Source, ports: "tcp/22".parse()?, nat: Nat::None, timeout: None };
//! assert_eq!(request.message_type(), 1);
//! # Ok::<(), spa::FieldError>(())
//! ```

use std::fmt;
use std::net::Ipv4Addr;
use std::num::{NonZeroU16, NonZeroU32};
use std::str::FromStr;

use crate::ports::port;
use crate::{AllowIp, FieldError, PortList};

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// Run a command on the server.
    Command {
        /// Named by the original's format, and checked like any allow address.
        allow: AllowIp,
        /// What to run.
        command: CommandText,
    },
    /// Open ports for a while.
    Access {
        /// For whom.
        allow: AllowIp,
        /// Which ports.
        ports: PortList,
        /// Where the opened ports lead.
        nat: Nat,
        /// For how long; the server's own default if `None`, and never longer than its limit.
        timeout: Option<Timeout>,
    },
}

impl Request {
    /// The type of the message on the wire, 0 to 6 (section 5.6).
    #[must_use]
    pub fn message_type(&self) -> u8 {
        match self {
            Self::Command { .. } => 0,
            Self::Access { nat: Nat::None, timeout: None, .. } => 1,
            Self::Access { nat: Nat::Forward(_), timeout: None, .. } => 2,
            Self::Access { nat: Nat::None, timeout: Some(_), .. } => 3,
            Self::Access { nat: Nat::Forward(_), timeout: Some(_), .. } => 4,
            Self::Access { nat: Nat::Local(_), timeout: None, .. } => 5,
            Self::Access { nat: Nat::Local(_), timeout: Some(_), .. } => 6,
        }
    }

    /// For whom.
    #[must_use]
    pub fn allow(&self) -> AllowIp {
        match self {
            Self::Command { allow, .. } | Self::Access { allow, .. } => *allow,
        }
    }

    /// The NAT target, if one is asked for.
    #[must_use]
    pub fn nat_target(&self) -> Option<&NatTarget> {
        match self {
            Self::Access { nat: Nat::Forward(target) | Nat::Local(target), .. } => Some(target),
            Self::Command { .. } | Self::Access { nat: Nat::None, .. } => None,
        }
    }

    /// The timeout, if one is asked for.
    #[must_use]
    pub fn timeout(&self) -> Option<Timeout> {
        match self {
            Self::Command { .. } => None,
            Self::Access { timeout, .. } => *timeout,
        }
    }

    /// The message as it stands in the packet, before base64: `198.51.100.7,tcp/22`.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        match self {
            Self::Command { allow, command } => {
                let mut message = format!("{allow},").into_bytes();
                message.extend_from_slice(command.as_bytes());
                message
            }
            Self::Access { allow, ports, .. } => format!("{allow},{ports}").into_bytes(),
        }
    }
}

/// Whether the opened ports lead somewhere else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Nat {
    /// They lead to the server itself.
    None,
    /// Types 2 and 4: to a host behind the server.
    Forward(NatTarget),
    /// Types 5 and 6: to another port of the server itself.
    Local(NatTarget),
}

/// Where a port leads: `10.0.0.5,80` on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NatTarget {
    /// The host.
    pub host: NatHost,
    /// The port there.
    pub port: NonZeroU16,
}

impl NatTarget {
    /// Reads the bytes of a message: exactly one comma, then a host, then a port.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, FieldError> {
        let mut parts = bytes.split(|&b| b == b',');
        let (Some(host), Some(number), None) = (parts.next(), parts.next(), parts.next()) else {
            return Err(FieldError::NatForm);
        };
        let host = NatHost::read(host)?;
        let port = std::str::from_utf8(number).ok().and_then(port).ok_or(FieldError::NatPort)?;
        Ok(Self { host, port })
    }
}

impl FromStr for NatTarget {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, FieldError> {
        Self::read(text.as_bytes())
    }
}

impl fmt::Display for NatTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.host, self.port)
    }
}

/// An IPv4 address or a host name of at most 70 bytes: labels of letters, digits and inner hyphens between single dots, and
/// perhaps a final dot. Nothing that a shell, a file name or an option parser could mistake for its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NatHost(String);

impl NatHost {
    fn read(bytes: &[u8]) -> Result<Self, FieldError> {
        if bytes.len() > 70 {
            return Err(FieldError::NatHostTooLong(bytes.len()));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| FieldError::NatHost)?;
        let label = |label: &str| {
            let inner = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            inner && !label.is_empty() && !label.starts_with('-') && !label.ends_with('-')
        };
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.split('.').all(label) { Ok(Self(text.to_owned())) } else { Err(FieldError::NatHost) }
    }

    /// As written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address, unless it is a name that must be looked up.
    #[must_use]
    pub fn ip(&self) -> Option<Ipv4Addr> {
        self.0.parse().ok()
    }
}

impl FromStr for NatHost {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, FieldError> {
        Self::read(text.as_bytes())
    }
}

impl From<Ipv4Addr> for NatHost {
    fn from(address: Ipv4Addr) -> Self {
        Self(address.to_string())
    }
}

impl fmt::Display for NatHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// For how many seconds a door shall stay open: 1 to 65536.
///
/// 0 stands for "no wish" in the original; here that is `None`, so [`Timeout::new`] gives `Ok(None)` for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timeout(NonZeroU32);

impl Timeout {
    /// Takes 0 (no wish) to 65536 seconds.
    pub fn new(seconds: u32) -> Result<Option<Self>, FieldError> {
        if seconds > 65_536 {
            return Err(FieldError::TimeoutTooLong);
        }
        Ok(NonZeroU32::new(seconds).map(Self))
    }

    /// Reads digits; leading zeroes are allowed.
    pub(crate) fn read(text: &str) -> Result<Option<Self>, FieldError> {
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(FieldError::TimeoutDigits);
        }
        Self::new(text.parse().map_err(|_| FieldError::TimeoutTooLong)?)
    }

    /// The seconds, 1 to 65536.
    #[must_use]
    pub fn seconds(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A command for the server to run: at least one byte, any but NUL. It comes from a stranger's keyboard: escape it before
/// it is shown, and never give it to a shell.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CommandText(Vec<u8>);

impl CommandText {
    /// Takes at least one byte, and no NUL.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, FieldError> {
        let bytes = bytes.into();
        if bytes.is_empty() || bytes.contains(&0) { Err(FieldError::Command) } else { Ok(Self(bytes)) }
    }

    /// The bytes, which need not be UTF-8.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for CommandText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CommandText({})", self.0.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_hosts_that_are_neither_address_nor_name() {
        for host in ["", ".", ".a", "a..b", "-a", "a-", "a_b", "a b", "a;b", "$(id)", "a:b", "h\u{e9}", "a\n", "*"] {
            assert_eq!(host.parse::<NatHost>(), Err(FieldError::NatHost), "{host:?}");
        }
        assert_eq!("h".repeat(71).parse::<NatHost>(), Err(FieldError::NatHostTooLong(71)));
        for host in ["h", "inner.example.net", "a.", "10.0.0.5", "a-b"] {
            assert_eq!(host.parse::<NatHost>().unwrap().as_str(), host);
        }
    }

    #[test]
    fn says_which_part_of_a_nat_target_is_wrong() {
        use FieldError::{NatForm, NatHost, NatPort};
        let table = [
            ("a", NatForm),
            ("a,1,2", NatForm),
            ("a:80", NatForm),
            (",80", NatHost),
            ("a,", NatPort),
            ("a,0", NatPort),
            ("a,65536", NatPort),
            ("a,+80", NatPort),
            ("a,000080", NatPort),
        ];
        for (text, wrong) in table {
            assert_eq!(text.parse::<NatTarget>(), Err(wrong), "{text:?}");
        }
    }

    #[test]
    fn refuses_timeouts_that_a_decoder_would_cut() {
        for (text, wrong) in [
            ("", FieldError::TimeoutDigits),
            ("-1", FieldError::TimeoutDigits),
            ("+1", FieldError::TimeoutDigits),
            ("65537", FieldError::TimeoutTooLong),
            ("4294967297", FieldError::TimeoutTooLong),
        ] {
            assert_eq!(Timeout::read(text), Err(wrong), "{text:?}");
        }
        assert_eq!(Timeout::read("000"), Ok(None));
        assert_eq!(Timeout::read("65536").unwrap().unwrap().seconds(), 65_536);
    }

    #[test]
    fn refuses_commands_that_end_early() {
        assert_eq!(CommandText::new(""), Err(FieldError::Command));
        assert_eq!(CommandText::new("id\0rm"), Err(FieldError::Command));
        assert_eq!(format!("{:?}", CommandText::new("id\x1b[2J").unwrap()), "CommandText(id\\x1b[2J)");
    }
}
