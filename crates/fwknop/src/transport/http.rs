//! The packet in the path of an HTTP request, straight to the server or through a proxy.
//!
//! How the request is written is `spa`'s. The port is the server's usual one, not 80. Nothing is read. Through a proxy `Host:` names the
//! proxy, as in the original: a proxy goes by the request line and makes that header anew (RFC 9112, section 3.2.2).
//! Spec: client.md section 12.3.
//!
//! ```text
//! GET /9-Cu07CoVhyw… HTTP/1.0
//! User-Agent: Fwknop/2.6.10
//! ```

use std::{io::Write, net::IpAddr};

use spa::carrier::Request;

use super::{Trouble, look_up, socket};
use crate::{output::Output, plan::Route};

/// Sends the request; in a test shows it.
pub(super) fn send(route: &Route, test: bool, packet: &str, output: &mut Output<'_>) -> Result<usize, Trouble> {
    if route.agent.contains(char::is_control) {
        return Err(Trouble::Agent); // it would end the header and begin another
    }
    let proxy = match &route.proxy {
        Some(proxy) => Some(read_proxy(proxy, route.port)?),
        None => None,
    };
    let (server, agent) = (in_url(&route.server), route.agent.as_str());
    let proxy_name = proxy.as_ref().map(|(host, _)| in_url(host));
    let request = Request { packet, server: &server, proxy: proxy_name.as_deref(), agent }.to_string();
    if test {
        output.info(&request);
        return Ok(0);
    }
    let (host, port) = proxy.unwrap_or_else(|| (route.server.clone(), route.port));
    let addresses = look_up(&host, port, route.family).map_err(Trouble::Lookup)?;
    let mut stream = socket::connect(addresses, route.source_port)
        .map_err(Trouble::socket("tcp_or_udp", "Could not create socket"))?;
    stream.write_all(request.as_bytes()).map_err(Trouble::socket("tcp_or_udp", "write error"))?;
    Ok(request.len())
}

/// An IPv6 address stands in brackets in a URL.
fn in_url(host: &str) -> String {
    match host.parse() {
        Ok(IpAddr::V6(address)) => format!("[{address}]"),
        _ => host.to_owned(),
    }
}

/// `host`, `host:port` or a URL; without a port the server's is taken.
fn read_proxy(text: &str, default: u16) -> Result<(String, u16), Trouble> {
    let text = text.strip_prefix("http://").unwrap_or(text);
    let authority = text.split('/').next().unwrap_or(text);
    if authority.parse::<IpAddr>().is_ok() {
        return Ok((authority.to_owned(), default));
    }
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => match port.parse() {
            Ok(port) if port > 0 => Ok((host.to_owned(), port)),
            _ => Err(Trouble::ProxyPort),
        },
        _ => Ok((authority.to_owned(), default)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_a_host_or_a_url() {
        for (text, expected) in [
            ("proxy:3128", Some(("proxy", 3128))),
            ("http://proxy:3128/", Some(("proxy", 3128))),
            ("http://proxy/", Some(("proxy", 62201))),
            ("proxy", Some(("proxy", 62201))),
            ("[::1]:3128", Some(("[::1]", 3128))),
            ("[::1]", Some(("[::1]", 62201))),
            ("::1", Some(("::1", 62201))),
            ("proxy:99999", None),
            ("proxy:0", None),
            ("proxy:", None),
        ] {
            let read = read_proxy(text, 62201).ok();
            assert_eq!(read, expected.map(|(host, port)| (host.to_owned(), port)), "{text}");
        }
    }
}
