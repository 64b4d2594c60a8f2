//! The client: key generation, knocking, packets made but not sent.

use std::net::{IpAddr, SocketAddr};

use crate::host::{Finished, Host};
use crate::lab::{CLIENT, SERVER};
use crate::program::Maker;
use crate::wire;

/// The pair of keys a client and a stanza share, in base64.
#[derive(Clone, Debug)]
pub struct Keys {
    /// For encryption.
    pub cipher: String,
    /// For authentication.
    pub hmac: String,
}

impl Keys {
    /// Lets a client make keys: `fwknop --key-gen`.
    ///
    /// # Panics
    /// When it does not print two keys.
    pub fn generate(maker: Maker, host: &Host) -> Self {
        let printed = host.must(&[maker.client().to_string_lossy().as_ref(), "--key-gen"]);
        let value = |name: &str| {
            printed.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned))
        };
        match (value("KEY_BASE64"), value("HMAC_KEY_BASE64")) {
            (Some(cipher), Some(hmac)) => Self { cipher, hmac },
            _ => panic!("no keys in what --key-gen printed:\n{printed}"),
        }
    }

    /// The stanza of the tutorial with these keys: from anywhere, to SSH, 30 seconds, at most 300.
    pub fn stanza(&self) -> String {
        format!(
            "SOURCE ANY\nOPEN_PORTS tcp/22\nMAX_FW_TIMEOUT 300\nKEY_BASE64 {}\nHMAC_KEY_BASE64 {}\n",
            self.cipher, self.hmac
        )
    }
}

/// One knock: whose client, with which keys, asking what. Starts as "SSH for the client, please".
#[derive(Clone, Debug)]
pub struct Knock {
    maker: Maker,
    keys: Keys,
    allow: IpAddr,
    ports: String,
    to: IpAddr,
    more: Vec<String>,
}

impl Knock {
    /// `-A tcp/22 -a 192.0.2.10 -D 192.0.2.20` with these keys.
    pub fn new(maker: Maker, keys: &Keys) -> Self {
        Self {
            maker,
            keys: keys.clone(),
            allow: CLIENT.into(),
            ports: "tcp/22".into(),
            to: SERVER.into(),
            more: Vec::new(),
        }
    }

    /// For another address.
    #[must_use]
    pub fn allow(mut self, address: impl Into<IpAddr>) -> Self {
        self.allow = address.into();
        self
    }

    /// For other ports.
    #[must_use]
    pub fn ports(mut self, ports: &str) -> Self {
        self.ports = ports.into();
        self
    }

    /// Sent to another address.
    #[must_use]
    pub fn to(mut self, address: impl Into<IpAddr>) -> Self {
        self.to = address.into();
        self
    }

    /// With more arguments.
    #[must_use]
    pub fn with(mut self, arguments: &[&str]) -> Self {
        self.more.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// Sends it from a host; the client must succeed.
    pub fn send(&self, from: &Host) -> Finished {
        let done = from.run(&self.arguments());
        assert_eq!(done.code, Some(0), "{done:?}");
        done
    }

    /// The packet it would have sent: nothing leaves the host.
    ///
    /// # Panics
    /// When the client does not print one.
    pub fn packet(&self, on: &Host) -> String {
        let mut arguments = self.arguments();
        arguments.extend(["--test".into(), "--verbose".into()]);
        let done = on.run(&arguments);
        assert_eq!(done.code, Some(0), "{done:?}");
        let line = done.out.lines().find_map(|line| line.trim().strip_prefix("Final SPA Data: "));
        line.unwrap_or_else(|| panic!("no packet in {done:?}")).to_owned()
    }

    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![
            self.maker.client().to_string_lossy().into_owned(),
            "--key-base64-rijndael".into(),
            self.keys.cipher.clone(),
            "--key-base64-hmac".into(),
            self.keys.hmac.clone(),
            "-A".into(),
            self.ports.clone(),
            "-a".into(),
            self.allow.to_string(),
            "-D".into(),
            self.to.to_string(),
        ];
        arguments.extend(self.more.iter().cloned());
        arguments
    }
}

/// Sends a ready-made packet to the server's SPA port.
pub fn deliver(from: &Host, packet: &str) {
    wire::udp(from, SocketAddr::new(SERVER.into(), 62201), packet.as_bytes());
}
