//! Packets in HTTP requests: whose word counts about where a request came from.
//!
//! Behind a proxy the source of a packet is the proxy. `X-Forwarded-For` names the sender, and stands in for the source
//! where the knock says "open for where this comes from", and only there; SOURCE is always compared with the packet's own
//! source. Whoever can reach the server without the proxy can write into that header what they like, so `TRUSTED_PROXIES`
//! says whose word is believed. Unset, it is everybody's, as in the original.
//!
//! ```text
//! Carried ─▶ Origin::Packet                  no header, or not read
//!         ─▶ Origin::Forwarded(192.0.2.7)    a proxy we believe says so
//!         ─▶ Doubt                           its value is no address of a host, or we do not believe the sender
//! ```

use std::net::{IpAddr, Ipv4Addr};

use fwknop_conf::networks::Networks;
use spa::carrier::{self, Carried, Forwarded};

use crate::config::Http;

/// How HTTP requests are taken, if they are.
#[derive(Clone, Debug, Default)]
pub struct Requests {
    http: Option<carrier::Http>,
    proxies: Option<Networks>,
}

/// Why the value of `X-Forwarded-For` does not count; the packet's own source does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// It is not the address of a host. This is what it is.
    Value(String),
    /// `TRUSTED_PROXIES` does not name who sent it.
    Sender,
}

impl Requests {
    /// What the settings say; `None`: no requests are taken.
    #[must_use]
    pub fn of(settings: Option<&Http>) -> Self {
        let http = settings.map(|settings| carrier::Http {
            any_user_agent: settings.any_user_agent,
            x_forwarded_for: settings.x_forwarded_for,
        });
        Self { http, proxies: settings.and_then(|settings| settings.trusted_proxies.clone()) }
    }

    /// What `spa` needs to know of it.
    #[must_use]
    pub fn http(&self) -> Option<&carrier::Http> {
        self.http.as_ref()
    }

    /// The address that a packet from `source` is for where it asks for its own.
    ///
    /// # Errors
    /// A [`Doubt`] if the header says something that does not count; then it is `source`.
    pub fn origin(&self, source: IpAddr, carried: &Carried<'_>) -> Result<IpAddr, Doubt> {
        let Some(forwarded) = carried.forwarded_for else { return Ok(source) };
        if self.proxies.as_ref().is_some_and(|proxies| !proxies.covers(source)) {
            return Err(Doubt::Sender);
        }
        match forwarded {
            Forwarded::For(address) if is_host(address) => Ok(address.into()),
            Forwarded::For(address) => Err(Doubt::Value(address.to_string())),
            Forwarded::Unreadable(value) => Err(Doubt::Value(String::from_utf8_lossy(value).into_owned())),
        }
    }
}

/// 0.0.0.0 would be everybody to some firewalls.
fn is_host(address: Ipv4Addr) -> bool {
    !address.is_unspecified() && !address.is_multicast() && !address.is_broadcast()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(proxies: Option<&str>, header: &str) -> Result<IpAddr, Doubt> {
        let trusted_proxies = proxies.map(|list| list.parse().unwrap());
        let requests = Requests::of(Some(&Http { any_user_agent: false, x_forwarded_for: true, trusted_proxies }));
        let request = format!("GET /{} HTTP/1.0\r\nUser-Agent: Fwknop\r\n{header}\r\n", "A".repeat(200));
        let carried = carrier::unwrap(request.as_bytes(), requests.http()).unwrap();
        requests.origin("10.0.0.80".parse().unwrap(), &carried)
    }

    #[test]
    fn the_word_of_a_trusted_proxy_counts_and_of_nobody_else() {
        const HEADER: &str = "X-Forwarded-For: 192.0.2.7\r\n";
        let address = |text: &str| Ok(text.parse().unwrap());
        assert_eq!(origin(None, HEADER), address("192.0.2.7"));
        assert_eq!(origin(Some("10.0.0.0/24"), HEADER), address("192.0.2.7"));
        assert_eq!(origin(Some("10.0.1.0/24"), HEADER), Err(Doubt::Sender));
        assert_eq!(origin(Some("10.0.0.0/24"), ""), address("10.0.0.80"));
    }

    #[test]
    fn what_is_no_host_does_not_count() {
        for value in ["0.0.0.0", "255.255.255.255", "224.0.0.1", "192.0.2.7,", "bob"] {
            assert_eq!(origin(None, &format!("X-Forwarded-For: {value}\r\n")), Err(Doubt::Value(value.to_owned())));
        }
    }
}
