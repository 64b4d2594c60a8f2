//! Finding the address to allow, by asking somebody who sees us from outside.
//!
//! By default a helper program fetches an https page (wget, or what `-w` names); with `--resolve-http-only` we fetch a plain http page ourselves.
//! The helper gets an argument list, never a shell, and a time limit. Whoever answers decides for whom the door opens, so plain http is only
//! for who asks for it. The two ways are in `helper` and `plain`. Spec: client.md section 9.
//!
//! ```text
//! https://www.cipherdyne.org/cgi-bin/myip ─▶ "203.0.113.50\n" ─▶ 203.0.113.50
//! ```

mod helper;
mod plain;

use std::net::Ipv4Addr;

use crate::{
    output::Output,
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
/// If nobody could be asked or the answer is no address.
pub fn find(settings: &Settings, agent: &str, output: &mut Output<'_>) -> Result<Ipv4Addr, Unresolved> {
    let url = settings.text(Name::ResolveUrl);
    let url = url.as_deref().map(|url| url.strip_suffix('/').unwrap_or(url));
    if settings.on(Name::ResolveHttpOnly) {
        return match url {
            Some(url) => plain::ask(&Page::read(url)?, agent, output),
            // Two doors of one house: the second is tried if the first is shut.
            None => plain::ask(&Page::read(DEFAULT_HOSTS[0])?, agent, output)
                .or_else(|_| plain::ask(&Page::read(DEFAULT_HOSTS[1])?, agent, output)),
        };
    }
    let url = url.unwrap_or(DEFAULT_URL);
    Page::read(url)?;
    if !url.starts_with("https") {
        output.warn(format_args!("[-] Warning: IP resolution URL '{url}' should begin with 'https://' in -R mode."));
    }
    let command = settings.text(Name::Helper).unwrap_or(DEFAULT_HELPER.into());
    let agent = (!settings.on(Name::HelperAgent)).then_some(agent);
    helper::ask(&command, agent, url, output)
}

const DEFAULT_URL: &str = "https://www.cipherdyne.org/cgi-bin/myip";
const DEFAULT_HOSTS: [&str; 2] = ["http://www.cipherdyne.org/cgi-bin/myip", "http://www.cipherdyne.com/cgi-bin/myip"];
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

/// The address that a text begins with; what comes after it does not matter, what comes before does.
fn address_in(text: &str) -> Option<Ipv4Addr> {
    let end = text.find(|character: char| !character.is_ascii_digit() && character != '.');
    text.get(..end.unwrap_or(text.len()))?.parse().ok()
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
        for text in ["", "<html>203.0.113.50", " 203.0.113.50", "2001:db8::1", "256.1.1.1", "1.2.3.4.5"] {
            assert_eq!(address_in(text), None, "{text}");
        }
    }
}
