//! What a packet travels in: a bare payload, or the path of an HTTP request (sections 10.1 and 10.4).
//!
//! Text in, text out: nothing here opens a socket. [`unwrap`] holds a daemon's rules for a payload before any key is tried;
//! [`ingress`] is the part of them for payloads that are not HTTP.
//!
//! ```
//! let packet = "8AESIzRFVmd7zbJm+j3A0R/ewdof2k4YSuIBepgFjSkVyDE15HGB1fD27T7o1JLmPV6LPyGfFS43GIP3yZRLwgT2gOe7ac0zPdZV0bFPT19v0nRe\
//!               rYCNawgut0pY73Xs5qUyy4MDvUWa8mGQwgJc2YH";
//! let request = spa::carrier::Request { packet, server: "192.0.2.10", proxy: None, agent: "Fwknop/2.6.10" }.to_string();
//! assert!(request.starts_with("GET /8AESIzRFVmd7zbJm-j3A0R_ewdof"));
//!
//! let http = spa::carrier::Http::default();
//! let carried = spa::carrier::unwrap(request.as_bytes(), Some(&http))?;
//! assert_eq!(carried.packet()?.text(), packet);
//! # Ok::<(), spa::NotSpa>(())
//! ```

use std::borrow::Cow;
use std::fmt;
use std::net::Ipv4Addr;

use crate::packet::{LEAST_PAYLOAD, MOST_PAYLOAD, no_prefix};
use crate::{NotSpa, SealedPacket};

const GET: &[u8] = b"GET /";
const AGENT: &[u8] = b"User-Agent: Fwknop";
const FORWARDED_FOR: &[u8] = b"X-Forwarded-For: ";

/// How a server takes packets from HTTP requests, if it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Http {
    /// Take any user agent, not only `Fwknop…`.
    pub any_user_agent: bool,
    /// Read `X-Forwarded-For`. Whoever can send to the server directly can write into it what they like.
    pub x_forwarded_for: bool,
}

/// What came out of a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried<'p> {
    text: Cow<'p, [u8]>,
    /// The source that a proxy named, where the server reads it.
    pub forwarded_for: Option<Forwarded<'p>>,
}

impl Carried<'_> {
    /// The packet: the payload itself, or the translated path of the request.
    pub fn packet(&self) -> Result<SealedPacket<'_>, NotSpa> {
        SealedPacket::parse(&self.text)
    }
}

/// The value of `X-Forwarded-For`. It stands in for the source of the packet where the knock asks for `0.0.0.0`, and only there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarded<'p> {
    /// An address.
    For(Ipv4Addr),
    /// Something else, from a stranger; the packet's own source counts.
    Unreadable(&'p [u8]),
}

/// The rules for a bare payload: 140 to 1500 bytes, and no constant prefix left in place.
pub fn ingress(payload: &[u8]) -> Result<(), NotSpa> {
    match payload.len() {
        short @ ..LEAST_PAYLOAD => Err(NotSpa::Short(short)),
        LEAST_PAYLOAD..=MOST_PAYLOAD => no_prefix(payload),
        long => Err(NotSpa::Long(long)),
    }
}

/// Takes the packet out of what carries it, by a daemon's rules; `http` is `None` where HTTP is not enabled.
///
/// The original looks for a prefix left in place before it takes the data out of a request, and so lets a captured packet be
/// replayed in one; here the data is looked at, too (section 13.3). A bare payload is not copied.
pub fn unwrap<'p>(payload: &'p [u8], http: Option<&Http>) -> Result<Carried<'p>, NotSpa> {
    ingress(payload)?;
    let request = payload.split_at_checked(GET.len()).filter(|(method, _)| method.eq_ignore_ascii_case(GET));
    let (Some(http), Some((_, path))) = (http, request) else {
        return Ok(Carried { text: Cow::Borrowed(payload), forwarded_for: None });
    };
    if !http.any_user_agent && find(payload, AGENT, |found, name| found == name).is_none() {
        return Err(NotSpa::Agent);
    }
    let path = word(path);
    ingress(path)?;
    let translate = |byte: &u8| match byte {
        b'-' => b'+',
        b'_' => b'/',
        other => *other,
    };
    let forwarded_for = if http.x_forwarded_for { forwarded_for(payload) } else { None };
    Ok(Carried { text: Cow::Owned(path.iter().map(translate).collect()), forwarded_for })
}

fn forwarded_for(request: &[u8]) -> Option<Forwarded<'_>> {
    let value = word(find(request, FORWARDED_FOR, <[u8]>::eq_ignore_ascii_case)?);
    let address = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    Some(address.map_or(Forwarded::Unreadable(value), Forwarded::For))
}

/// What follows the first place that is `same` as `name`.
fn find<'t>(text: &'t [u8], name: &[u8], same: impl Fn(&[u8], &[u8]) -> bool) -> Option<&'t [u8]> {
    let at = text.windows(name.len()).position(|found| same(found, name))?;
    text.get(at + name.len()..)
}

/// Everything up to the first white space (of the C locale).
fn word(text: &[u8]) -> &[u8] {
    let space = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let end = text.iter().position(space).unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

/// The HTTP request that carries a packet; its [`Display`](fmt::Display) is the request, byte for byte as clients of 2.6.10 send it.
///
/// The fields are put into it as they are: a line end in one of them would begin another header, so check them before.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r> {
    /// The packet, as it goes on the wire.
    pub packet: &'r str,
    /// The server, as given.
    pub server: &'r str,
    /// The proxy, if the request goes through one.
    pub proxy: Option<&'r str>,
    /// The user agent, `Fwknop/2.6.10` for instance.
    pub agent: &'r str,
}

impl fmt::Display for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { packet, server, proxy, agent } = self;
        let path = packet.replace('+', "-").replace('/', "_");
        match proxy {
            Some(proxy) => {
                write!(f, "GET http://{server}/{path} HTTP/1.0\r\nUser-Agent: {agent}\r\nAccept: */*\r\nHost: {proxy}")
            }
            None => write!(f, "GET /{path} HTTP/1.0\r\nUser-Agent: {agent}\r\nAccept: */*\r\nHost: {server}"),
        }?;
        f.write_str("\r\nConnection: close\r\n\r\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENABLED: Http = Http { any_user_agent: false, x_forwarded_for: true };

    fn request(path: &str, headers: &str) -> String {
        format!("GET /{path} HTTP/1.0\r\nUser-Agent: Fwknop/2.6.10\r\n{headers}\r\n")
    }

    #[test]
    fn looks_for_a_prefix_inside_a_request_too() {
        let captured = request(&format!("U2FsdGVkX1{}", "A".repeat(200)), "");
        assert_eq!(unwrap(captured.as_bytes(), Some(&ENABLED)), Err(NotSpa::Prefix));
        let gpg = request(&format!("hQ{}", "A".repeat(500)), "");
        assert_eq!(unwrap(gpg.as_bytes(), Some(&ENABLED)), Err(NotSpa::Prefix));
    }

    #[test]
    fn wants_the_agent_and_the_length() {
        let other = request(&"A".repeat(200), "").replace("Fwknop", "fwknop");
        assert_eq!(unwrap(other.as_bytes(), Some(&ENABLED)), Err(NotSpa::Agent));
        assert!(unwrap(other.as_bytes(), Some(&Http { any_user_agent: true, ..ENABLED })).is_ok());
        let short = request(&"A".repeat(139), &"X: y\r\n".repeat(20));
        assert_eq!(unwrap(short.as_bytes(), Some(&ENABLED)), Err(NotSpa::Short(139)));
    }

    #[test]
    fn takes_no_request_where_http_is_not_enabled() {
        let request = request(&"A".repeat(200), "");
        let carried = unwrap(request.as_bytes(), None).unwrap();
        assert_eq!(carried.packet().unwrap_err(), NotSpa::Alphabet);
    }

    #[test]
    fn reads_one_address_of_a_proxy_and_no_list() {
        let table: [(&str, Option<Forwarded<'_>>); 6] = [
            ("x-forwarded-for: 192.0.2.7\r\n", Some(Forwarded::For(Ipv4Addr::new(192, 0, 2, 7)))),
            ("X-Forwarded-For: 192.0.2.7, 10.0.0.1\r\n", Some(Forwarded::Unreadable(b"192.0.2.7,"))),
            ("X-Forwarded-For: 010.0.0.1\r\n", Some(Forwarded::Unreadable(b"010.0.0.1"))),
            ("X-Forwarded-For: ::1\r\n", Some(Forwarded::Unreadable(b"::1"))),
            ("X-Forwarded-For:192.0.2.7\r\n", None),
            ("", None),
        ];
        for (header, expected) in table {
            let request = request(&"A".repeat(200), header);
            assert_eq!(unwrap(request.as_bytes(), Some(&ENABLED)).unwrap().forwarded_for, expected, "{header:?}");
            let deaf = Http { x_forwarded_for: false, ..ENABLED };
            assert_eq!(unwrap(request.as_bytes(), Some(&deaf)).unwrap().forwarded_for, None);
        }
    }
}
