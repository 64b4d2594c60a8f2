//! The port lists of `OPEN_PORTS` and `RESTRICT_PORTS`: what may, and what may not be opened.
//!
//! Elements are read as the original reads them, because files rely on that: `tcp/22-25` is port 22 and `tcp/ssh` is port 0, which
//! nobody can ask for. [`PortSet::odd`] tells which those are. Spec: server.md 5.6.

use std::{collections::BTreeSet, str::FromStr};

use fwknop_conf::value::{Number, elements};
use spa::{PortSpec, Protocol};

/// A set of ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortSet {
    ports: BTreeSet<PortSpec>,
    odd: Vec<(String, u32)>,
}

impl PortSet {
    /// Whether the port is in it.
    #[must_use]
    pub fn contains(&self, port: PortSpec) -> bool {
        self.ports.contains(&port)
    }

    /// Elements that were more or less than protocol and number, and the port number each was read as.
    #[must_use]
    pub fn odd(&self) -> &[(String, u32)] {
        &self.odd
    }
}

/// Why a list is none. Displays in the original's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPortList {
    /// No slash in it.
    #[error("[*] Parse error on access port entry: {0}")]
    Shape(String),
    /// Beyond 65535, or negative.
    #[error("[*] Invalid port '{0}' in access request, must be in [0,65535]")]
    Port(String),
    /// Neither tcp nor udp.
    #[error("[*] Invalid protocol in access port entry: {0}")]
    Protocol(String),
}

impl FromStr for PortSet {
    type Err = BadPortList;

    fn from_str(text: &str) -> Result<Self, BadPortList> {
        let mut set = Self::default();
        for element in elements(text) {
            let (protocol, port) = element
                .split_once('/')
                .filter(|_| element.len() <= 31)
                .ok_or_else(|| BadPortList::Shape(element.into()))?;
            let number = Number::read(port);
            let port = number.within(&(0..=65_535)).ok_or_else(|| BadPortList::Port(element.into()))?;
            let protocol = match protocol.to_ascii_lowercase().as_str() {
                "tcp" => Protocol::Tcp,
                "udp" => Protocol::Udp,
                _ => return Err(BadPortList::Protocol(element.into())),
            };
            if number.odd || port == 0 {
                set.odd.push((element.trim_end().into(), port));
            }
            // Port 0 is in the list, but nobody can ask for it.
            if let Some(port) = u16::try_from(port).ok().and_then(std::num::NonZeroU16::new) {
                set.ports.insert(PortSpec { protocol, port });
            }
        }
        Ok(set)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn contains_what_was_written() {
        let set: PortSet = "tcp/22, UDP/53 ,tcp/8080-8090".parse().unwrap();
        for (port, inside) in
            [("tcp/22", true), ("udp/53", true), ("tcp/8080", true), ("tcp/8081", false), ("udp/22", false)]
        {
            assert_eq!(set.contains(port.parse().unwrap()), inside, "{port}");
        }
        assert_eq!(set.odd(), [("tcp/8080-8090".to_owned(), 8080)]);
    }

    #[test]
    fn a_name_is_port_0_and_opens_nothing() {
        let set: PortSet = "tcp/ssh,tcp/0".parse().unwrap();
        assert_eq!(set.odd(), [("tcp/ssh".to_owned(), 0), ("tcp/0".to_owned(), 0)]);
        assert_eq!(set.ports, BTreeSet::new());
    }

    #[test]
    fn refuses_in_the_words_of_the_original() {
        for (list, told) in [
            ("22", "[*] Parse error on access port entry: 22"),
            ("tcp/22,", "[*] Parse error on access port entry: "),
            ("", "[*] Parse error on access port entry: "),
            ("tcp/65536", "[*] Invalid port 'tcp/65536' in access request, must be in [0,65535]"),
            ("tcp/-1", "[*] Invalid port 'tcp/-1' in access request, must be in [0,65535]"),
            ("tcp/4294967318", "[*] Invalid port 'tcp/4294967318' in access request, must be in [0,65535]"),
            ("22/tcp", "[*] Invalid protocol in access port entry: 22/tcp"),
            ("icmp/8", "[*] Invalid protocol in access port entry: icmp/8"),
        ] {
            assert_eq!(list.parse::<PortSet>().unwrap_err().to_string(), told);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".*|[tcudp/0-9, -]{0,40}") {
            let _ = text.parse::<PortSet>();
        }
    }
}
