//! Sending: exactly one packet leaves, by exactly one of the ways below.
//!
//! Success means that the kernel took it: nothing ever answers, and a closed UDP port is no failure. Names are looked up here and not before,
//! so that a test needs no network (the raw ways look up even then, as in the original). Spec: client.md section 12.
//!
//! | way | what is sent | module |
//! | --- | --- | --- |
//! | udp | one datagram | `socket` |
//! | tcp | a connection, the packet, the end | `socket` |
//! | http | one GET request with the packet in its path | `http` |
//! | udpraw, tcpraw, icmp | an IPv4 packet made by hand, for root | `raw` |

mod http;
mod raw;
mod socket;

use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
};

use rand_core::Rng;

use crate::{
    output::{Output, reason},
    plan::{Family, Route},
    settings::TransportKind,
};

/// Why the packet was not sent. Displays as the lines for standard error.
#[derive(Debug, thiserror::Error)]
#[error("{0}\nsend_spa_packet: packet not sent.")]
pub struct NotSent(String);

/// What a failing way says, before all say that nothing was sent.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("error in getaddrinfo: {0}")]
    Lookup(String),
    #[error("resolve_dst_addr() : {reason}\n[*] Unable to resolve {server} as an ip address")]
    RawLookup { reason: String, server: String },
    #[error("[-] proxy port value is invalid, must be in [1-65535]")]
    ProxyPort,
    #[error("[*] the user agent has a line break or another control character in it")]
    Agent,
    #[error("send_spa_packet_{0}: {1}: {2}")]
    Socket(&'static str, &'static str, String),
}

impl Trouble {
    fn socket(way: &'static str, step: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Socket(way, step, reason(&error))
    }
}

/// Sends the packet, or in a test says that it was not; tells about it if verbose.
///
/// # Errors
/// If the kernel did not take it.
pub fn send(
    route: &Route,
    test: bool,
    packet: &str,
    rng: &mut impl Rng,
    output: &mut Output<'_>,
) -> Result<(), NotSent> {
    output.info(format_args!(
        "Generating SPA packet:\n            protocol: {}\n         source port: {}\n    destination port: {}\n             IP/host: {}",
        route.transport,
        route.source_port.map_or("<OS assigned>".into(), |port| port.to_string()),
        route.port,
        route.server,
    ));
    let sent = match route.transport {
        TransportKind::Http => http::send(route, test, packet, output),
        kind if kind.is_raw() => raw::send(route, test, packet.as_bytes(), rng),
        _ if test => Ok(0),
        TransportKind::Tcp => socket::tcp(route, packet.as_bytes()),
        _ => socket::udp(route, packet.as_bytes()),
    };
    let sent = sent.map_err(|trouble| NotSent(trouble.to_string()))?;
    if test {
        let first = if route.transport == TransportKind::Http { 'T' } else { 't' };
        output.say(format_args!("{first}est mode enabled, SPA packet not actually sent."));
    }
    output.info(format_args!("send_spa_packet: bytes sent: {sent}"));
    Ok(())
}

/// Looks a server up: IPv4 addresses first, since servers that know no IPv6 are the rule.
pub(crate) fn look_up(server: &str, port: u16, family: Option<Family>) -> Result<Vec<SocketAddr>, String> {
    let bare = server.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(server);
    let found = match bare.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, port)],
        Err(_) => (bare, port).to_socket_addrs().map_err(|error| lookup_reason(&error))?.collect(),
    };
    let mut found: Vec<_> =
        found.into_iter().filter(|address| family.is_none_or(|family| family.has(address.ip()))).collect();
    found.sort_by_key(SocketAddr::is_ipv6);
    if found.is_empty() { Err("Address family for hostname not supported".into()) } else { Ok(found) }
}

/// What the resolver said, without what Rust says before it.
fn lookup_reason(error: &io::Error) -> String {
    let told = reason(error);
    match told.split_once("failed to lookup address information: ") {
        Some((_, words)) => words.to_owned(),
        None => told,
    }
}
