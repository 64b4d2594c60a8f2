//! What a door leads to: [`Protocol`], [`PortSpec`] (`tcp/22`) and [`PortList`] (`tcp/22,udp/53`).
//!
//! Only TCP and UDP exist: the original's documentation names `icmp` and `none/0`, but its encoder and its decoder refuse
//! them (section 5.7).

use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

use crate::FieldError;

/// TCP or UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// `tcp`, IP protocol 6.
    Tcp,
    /// `udp`, IP protocol 17.
    Udp,
}

impl Protocol {
    /// The number of the protocol in an IP header.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

impl FromStr for Protocol {
    type Err = FieldError;

    /// Lower case only, as on the wire.
    fn from_str(text: &str) -> Result<Self, FieldError> {
        match text {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            _ => Err(FieldError::Ports),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// Reads a port: 1 to 5 digits with a value from 1 to 65535. Leading zeroes are allowed, signs are not.
pub(crate) fn port(text: &str) -> Option<NonZeroU16> {
    let digits = (1..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// One port to open, written `tcp/22`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortSpec {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// 1 to 65535.
    pub port: NonZeroU16,
}

impl FromStr for PortSpec {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, FieldError> {
        let (protocol, number) = text.split_once('/').ok_or(FieldError::Ports)?;
        Ok(Self { protocol: protocol.parse()?, port: port(number).ok_or(FieldError::Ports)? })
    }
}

impl fmt::Display for PortSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.protocol, self.port)
    }
}

/// One or more ports, in the order in which they were written; the same one may occur twice.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PortList(Vec<PortSpec>);

impl PortList {
    /// Takes at least one port.
    #[must_use]
    pub fn new(ports: Vec<PortSpec>) -> Option<Self> {
        if ports.is_empty() { None } else { Some(Self(ports)) }
    }

    /// The ports in order.
    pub fn iter(&self) -> std::slice::Iter<'_, PortSpec> {
        self.0.iter()
    }

    /// The ports in order; never empty.
    #[must_use]
    pub fn as_slice(&self) -> &[PortSpec] {
        &self.0
    }
}

impl From<PortSpec> for PortList {
    fn from(port: PortSpec) -> Self {
        Self(vec![port])
    }
}

impl<'l> IntoIterator for &'l PortList {
    type Item = &'l PortSpec;
    type IntoIter = std::slice::Iter<'l, PortSpec>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl FromStr for PortList {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, FieldError> {
        text.split(',').map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for PortList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, port) in self.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            write!(f, "{comma}{port}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_no_decoder_takes() {
        for text in
            ["", "tcp", "22", "/22", "tcp/", "TCP/22", "icmp/8", "none/0", "tcp/0", "tcp/65536", "tcp/+22", "tcp/-1"]
        {
            assert_eq!(text.parse::<PortSpec>(), Err(FieldError::Ports), "{text:?}");
        }
        for text in [
            "",
            ",",
            "tcp/22,",
            ",tcp/22",
            "tcp/22,,udp/53",
            "tcp/22;udp/53",
            "tcp/22 ",
            " tcp/22",
            "tcp/000022",
            "tcp/22-25",
        ] {
            assert_eq!(text.parse::<PortList>(), Err(FieldError::Ports), "{text:?}");
        }
    }

    #[test]
    fn keeps_order_and_repetition() {
        let list: PortList = "udp/53,tcp/22,udp/53".parse().unwrap();
        assert_eq!(list.to_string(), "udp/53,tcp/22,udp/53");
        assert_eq!("tcp/00022".parse::<PortSpec>().unwrap().to_string(), "tcp/22");
    }
}
