//! Finding the address to allow, by asking somebody who sees us from outside.
//!
//! By default we ask several https pages ourselves, and STUN servers where all of them fail; with `--resolve-http-only` a plain http page. A
//! helper program is run only if `-w` or `WGET_CMD` names one, with an argument list, never a shell, and a time limit. Whoever answers decides
//! for whom the door opens, so plain http is only for who asks for it. Spec: client.md section 9.
//!
//! | how | module |
//! | --- | --- |
//! | https pages, then STUN | `inquiry`, `https`, `stun` (feature `https`) |
//! | a helper program | `helper` |
//! | a plain http page | `plain` |
//!
//! ```text
//! https://www.cipherdyne.org/cgi-bin/myip ─▶ "203.0.113.50\n" ─▶ 203.0.113.50
//! ```

mod helper;
#[cfg(feature = "https")]
mod https;
#[cfg(feature = "https")]
mod inquiry;
mod plain;
#[cfg(feature = "https")]
mod stun;

use std::net::IpAddr;

#[cfg(feature = "https")]
pub use inquiry::Inquiry;

use crate::{
    output::Output,
    plan::{Family, Route},
    settings::{Name, Settings},
};

/// Why the address was not found. Displays as the lines for standard error.
#[derive(Debug, thiserror::Error)]
pub enum Unresolved {
    /// The helper gave no address, or could not be run.
    #[error("[-] Could not resolve IP via: '{0}'")]
    Helper(String),
    /// The helper did not end in time.
    #[error("[-] Could not resolve IP via: '{0}'\n    no answer within {1} seconds")]
    Slow(String, u64),
    /// Nobody who was asked knows; what each of them said.
    #[error("[-] Could not resolve IP: nobody who was asked told an address\n    {0}")]
    Nobody(String),
    /// The address is of the other family.
    #[error("[-] Resolved external IP {0} is no {1} address")]
    Family(IpAddr, Family),
    /// A port that is none.
    #[error("[*] resolve-url port value is invalid, must be in [1-65535]\nError parsing resolve-url")]
    Port,
    /// A URL that is none.
    #[error("Error parsing resolve-url")]
    Url,
    /// We cannot do TLS ourselves.
    #[error("[*] https is not supported for --resolve-http-only.")]
    HttpsOnly,
    /// Nobody to ask.
    #[error("resolve_ip_http: Could not create socket: {0}")]
    Connect(String),
    /// The answer has no address, or says that it is none.
    #[error("[-] From http://{page}\n    Invalid IP ({found}) in HTTP response:\n\n{answer}")]
    #[allow(missing_docs)]
    Answer { page: String, found: String, answer: String },
}

/// Asks, and tells what was answered.
///
/// # Errors
/// If nobody could be asked, or the answer is no address or one of the wrong family.
pub fn find(settings: &Settings, route: &Route, output: &mut Output<'_>) -> Result<IpAddr, Unresolved> {
    let agent = route.agent.as_str();
    let url = settings.text(Name::ResolveUrl);
    let url = url.as_deref().map(|url| url.strip_suffix('/').unwrap_or(url));
    let page = url.map(Page::read).transpose()?;
    let found = if settings.on(Name::ResolveHttpOnly) {
        match page {
            Some(page) => plain::ask(&page, agent, output),
            // Two doors of one house: the second is tried if the first is shut.
            None => plain::ask(&Page::read(DEFAULT_HOSTS[0])?, agent, output)
                .or_else(|_| plain::ask(&Page::read(DEFAULT_HOSTS[1])?, agent, output)),
        }
    } else {
        if let Some(url) = url.filter(|url| !url.starts_with("https")) {
            output
                .warn(format_args!("[-] Warning: IP resolution URL '{url}' should begin with 'https://' in -R mode."));
        }
        match (settings.text(Name::Helper), page) {
            (Some(command), _) => {
                let agent = (!settings.on(Name::HelperAgent)).then_some(agent);
                helper::ask(&command, agent, url.unwrap_or(DEFAULT_URL), output)
            }
            (None, Some(page)) if !page.https => plain::ask(&page, agent, output),
            (None, _) => by_ourselves(settings, url, route, output),
        }
    }?;
    match route.family {
        Some(family) if !family.has(found) => Err(Unresolved::Family(found, family)),
        _ => Ok(found),
    }
}

/// Asks without a helper. Unless somebody says otherwise IPv4 is what is asked for, as in the original; at a server that is named by an
/// IPv6 address we arrive with one.
#[cfg(feature = "https")]
fn by_ourselves(
    settings: &Settings,
    url: Option<&str>,
    route: &Route,
    output: &mut Output<'_>,
) -> Result<IpAddr, Unresolved> {
    if settings.on(Name::HelperAgent) {
        output.info("[-] --use-wget-user-agent changes nothing without -w: no wget is run.");
    }
    let family = route.family.or_else(|| Family::of_server(&route.server)).unwrap_or(Family::V4);
    let inquiry = match url {
        Some(url) => {
            let pages = &[url][..];
            return Inquiry { pages, stun: &[], ..Inquiry::default() }.ask(&route.agent, family, output);
        }
        None => Inquiry::default(),
    };
    inquiry.ask(&route.agent, family, output)
}

/// A build without https has only the program that the original runs.
#[cfg(not(feature = "https"))]
fn by_ourselves(
    settings: &Settings,
    url: Option<&str>,
    route: &Route,
    output: &mut Output<'_>,
) -> Result<IpAddr, Unresolved> {
    let agent = (!settings.on(Name::HelperAgent)).then_some(route.agent.as_str());
    helper::ask(DEFAULT_HELPER, agent, url.unwrap_or(DEFAULT_URL), output)
}

const DEFAULT_URL: &str = "https://www.cipherdyne.org/cgi-bin/myip";
const DEFAULT_HOSTS: [&str; 2] = ["http://www.cipherdyne.org/cgi-bin/myip", "http://www.cipherdyne.com/cgi-bin/myip"];
#[cfg(not(feature = "https"))]
const DEFAULT_HELPER: &str = "/usr/bin/wget";

/// A URL, taken apart.
struct Page {
    https: bool,
    host: String,
    port: u16,
    path: String,
}

impl Page {
    /// The scheme may be missing, the path too. Ports belong to the host: a colon in the path is none.
    fn read(url: &str) -> Result<Self, Unresolved> {
        // A blank or a line break would end the request line, or an argument, and begin something else.
        if url.contains(|character: char| character.is_whitespace() || character.is_control()) {
            return Err(Unresolved::Url);
        }
        let (https, rest) = match url.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            Some(_) => return Err(Unresolved::Url),
            None => (false, url),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let after_bracket = authority.rfind(']').map_or(0, |at| at + 1);
        let (name, port) = authority.split_at_checked(after_bracket).unwrap_or((authority, ""));
        let (host, port) = match port.split_once(':') {
            Some((more, port)) => (format!("{name}{more}"), Some(port)),
            None => (authority.to_owned(), None),
        };
        let port = match port {
            None => {
                if https {
                    443
                } else {
                    80
                }
            }
            Some(digits) => match digits.parse() {
                Ok(port) if port > 0 && digits.bytes().all(|byte| byte.is_ascii_digit()) => port,
                _ => return Err(Unresolved::Port),
            },
        };
        if host.is_empty() || host.len() > 255 || path.len() > 1024 {
            return Err(Unresolved::Url);
        }
        let path = if path.is_empty() { "/".into() } else { path.to_owned() };
        Ok(Self { https, host, port, path })
    }
}

/// The address that a text begins with; what comes after it does not matter, what comes before does. No address that nobody can come from.
fn address_in(text: &str) -> Option<IpAddr> {
    let run = |fits: fn(char) -> bool| text.get(..text.find(|letter| !fits(letter)).unwrap_or(text.len()));
    let v4 = run(|letter| letter.is_ascii_digit() || letter == '.').and_then(|text| text.parse().ok());
    let v6 = || run(|letter| letter.is_ascii_hexdigit() || matches!(letter, ':' | '.'))?.parse().ok();
    let address: IpAddr = v4.map(IpAddr::V4).or_else(|| v6().map(IpAddr::V6))?.to_canonical();
    (!address.is_unspecified() && !address.is_multicast()).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        for (url, expected) in [
            ("https://ip.example.net/me?x=1", "ip.example.net 443 /me?x=1"),
            ("ip.example.net:8000", "ip.example.net 8000 /"),
            ("http://ip.example.net/a:b", "ip.example.net 80 /a:b"),
            ("http://[::1]:8000/ip", "[::1] 8000 /ip"),
            ("http://[::1]/ip", "[::1] 80 /ip"),
        ] {
            let page = Page::read(url).unwrap();
            assert_eq!(format!("{} {} {}", page.host, page.port, page.path), expected);
        }
        for url in ["https://h:99999/", "https://h:0", "h:", "h:+1"] {
            assert!(matches!(Page::read(url), Err(Unresolved::Port)), "{url}");
        }
        for url in ["", "ftp://h", "http://h/ --post-file=x", "http:///x", "http://h\r\nX: y"] {
            assert!(matches!(Page::read(url), Err(Unresolved::Url)), "{url:?}");
        }
    }

    #[test]
    fn only_an_address_that_comes_first_counts() {
        assert_eq!(address_in("203.0.113.50 is you"), Some([203, 0, 113, 50].into()));
        assert_eq!(address_in("2001:db8::1\n").unwrap().to_string(), "2001:db8::1");
        assert_eq!(address_in("::ffff:192.0.2.1").unwrap().to_string(), "192.0.2.1");
        for text in
            ["", "<html>203.0.113.50", " 203.0.113.50", "256.1.1.1", "1.2.3.4.5", "dead", "0.0.0.0", "::", "ff02::1"]
        {
            assert_eq!(address_in(text), None, "{text}");
        }
    }
}
