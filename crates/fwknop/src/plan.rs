//! What this run is going to do: settings, checked against each other.
//!
//! All checks between settings live in [`Plan::new`], in the order of the original, because the first one that fails is the one that is told.
//! After it nothing that must be set is missing. A plan asks nobody and opens nothing; what is asked of the server is put together in `message`.
//! Spec: client.md section 1, step 8.
//!
//! ```text
//! Settings ─▶ Plan { server, allow, route, digests, mode }      or the one line that says what does not fit
//! ```

use std::{
    ffi::OsStr,
    fmt,
    net::{IpAddr, Ipv4Addr},
};

use spa::{CipherMode, DigestType};

use crate::{
    keys::wants_hmac,
    output::Output,
    settings::{Allow, Mode, Name, Settings, TransportKind, Value},
};

/// The version we are compatible with. Scripts compare it (`client ([0-9.]+)`), and servers of the original listen over HTTP only to an agent
/// that begins with `Fwknop/`; our own version number would tell them of a client from before all they rely on.
pub const COMPATIBLE_VERSION: &str = "2.6.10";

/// The port that servers listen on, for every transport.
pub const DEFAULT_PORT: u16 = 62201;

/// Settings that do not fit together. Displays as the line for standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // each says what it is
pub enum Unfit {
    #[error("Must use --destination unless --test mode is used")]
    NoServer,
    #[error("Must use one of [-s|-R|-a] to specify IP for SPA access.")]
    NoAllow,
    #[error("Invalid spoof IP")]
    SpoofSource,
    #[error("Must set -P <udpraw|tcpraw|icmp> with a spoofed source IP")]
    SpoofTransport,
    #[error("Cannot set --http-proxy with a non-HTTP protocol.")]
    Proxy,
    #[error("Must specify --gpg-recipient-key when GPG is used.")]
    NoRecipient,
    #[error("Must specify GPG recipient/signing keys when Asymmetric encryption mode is used.")]
    Asymmetric,
    #[error("Legacy encryption mode is incompatible with HMAC usage.")]
    LegacyHmac,
    #[error("[*] Use one of -4 and -6.")]
    Families,
    #[error("[*] -6 does not go with udpraw, tcpraw and icmp: their packets are IPv4.")]
    RawIpv6,
}

/// A family of addresses. Displays as people call it.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    /// Whether an address is one of the family.
    #[must_use]
    pub fn has(self, address: IpAddr) -> bool {
        address.is_ipv4() == (self == Self::V4)
    }

    /// The family of a server that is named by its address, in brackets or without.
    #[must_use]
    pub fn of_server(server: &str) -> Option<Self> {
        let address: IpAddr = server.trim_start_matches('[').trim_end_matches(']').parse().ok()?;
        Some(if address.is_ipv4() { Self::V4 } else { Self::V6 })
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// How the packet gets there.
#[derive(Clone, Debug)]
pub struct Route {
    /// What carries it.
    pub transport: TransportKind,
    /// The server, as typed; empty if none was named.
    pub server: String,
    /// The port there.
    pub port: u16,
    /// The port here, if one was chosen.
    pub source_port: Option<u16>,
    /// The address the packet pretends to come from.
    pub spoofed: Option<Ipv4Addr>,
    /// `host[:port]` or a URL, for http.
    pub proxy: Option<String>,
    /// How we name ourselves over HTTP.
    pub agent: String,
    /// The only family that will do: of the server's addresses, and of ours where it is found out.
    pub family: Option<Family>,
    /// Type and code of an ICMP message.
    pub icmp: (u8, u8),
}

/// A checked plan.
#[derive(Debug)]
pub struct Plan {
    /// Whether to stop before sending.
    pub test: bool,
    /// Whom to let in; only a test or a run that sends nothing has `None`.
    pub allow: Option<Allow>,
    /// How the packet gets there.
    pub route: Route,
    /// The digest inside the packet.
    pub digest: DigestType,
    /// The digest of the HMAC, if there is to be one.
    pub hmac: Option<DigestType>,
    /// The digest of the HMAC that would be.
    pub hmac_digest: DigestType,
    /// How to encrypt; `None` means GnuPG.
    pub mode: Option<CipherMode>,
}

impl Plan {
    /// Checks what is set, and warns of what is only unwise.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn new(settings: &Settings, output: &mut Output<'_>) -> Result<Self, Unfit> {
        let sends_nothing = [Name::Test, Name::KeyGen, Name::Version, Name::ShowLast, Name::LastCommand]
            .into_iter()
            .any(|name| settings.on(name));
        let server = settings.text(Name::Server).unwrap_or_default().into_owned();
        if settings.on(Name::SaveStanza) && settings.raw(Name::Stanza).is_none() && server.is_empty() {
            return Err(Unfit::NoServer);
        }
        let allow = allow(settings);
        if !sends_nothing {
            if server.is_empty() {
                return Err(Unfit::NoServer);
            }
            match allow {
                None => return Err(Unfit::NoAllow),
                Some(Allow::Source) if output.is_verbose() => {
                    output.warn("[-] WARNING: Should use -a or -R to harden SPA against potential MITM attacks");
                }
                Some(_) => (),
            }
        }
        let route = route(settings, server)?;
        let mode = match settings.get(Name::Mode) {
            Some(Value::Mode(mode)) => *mode,
            _ => Mode::Cipher(CipherMode::Cbc),
        };
        let gpg = settings.on(Name::UseGpg);
        if gpg && settings.raw(Name::GpgRecipient).is_none_or(OsStr::is_empty) {
            return Err(Unfit::NoRecipient);
        }
        let wants_hmac = wants_hmac(settings);
        let mode = match mode {
            Mode::Asymmetric if !gpg => return Err(Unfit::Asymmetric),
            Mode::Cipher(CipherMode::Legacy) if wants_hmac => return Err(Unfit::LegacyHmac),
            Mode::Cipher(mode) if !gpg => Some(mode),
            _ => None,
        };
        let hmac_digest = digest(settings, Name::HmacDigest);
        Ok(Self {
            test: settings.on(Name::Test),
            allow,
            route,
            digest: digest(settings, Name::InnerDigest),
            hmac: wants_hmac.then_some(hmac_digest),
            hmac_digest,
            mode,
        })
    }
}

/// Whom to let in. Within one place a fixed address wins over finding it out; `N` takes back what weaker places say.
/// Spec: client.md section 9, defects D18 and D38.
fn allow(settings: &Settings) -> Option<Allow> {
    for (strength, layer) in settings.strongest_first().enumerate() {
        if let Some(Value::Allow(allow)) = layer.get(Name::AllowIp) {
            return Some(*allow);
        }
        let by_url = strength == 0 && layer.get(Name::ResolveUrl).is_some();
        match layer.get(Name::Resolve) {
            Some(Value::YesNo(false)) => return fixed(settings, strength),
            Some(_) => return Some(Allow::Resolve),
            None if by_url => return Some(Allow::Resolve),
            None => (),
        }
    }
    settings.raw(Name::ResolveUrl).map(|_| Allow::Resolve)
}

/// The address that a place weaker than `strength` fixes.
fn fixed(settings: &Settings, strength: usize) -> Option<Allow> {
    let weaker = settings.strongest_first().skip(strength);
    weaker.filter_map(|layer| layer.get(Name::AllowIp)).find_map(|value| match value {
        Value::Allow(allow) if *allow != Allow::Resolve => Some(*allow),
        _ => None,
    })
}

fn route(settings: &Settings, server: String) -> Result<Route, Unfit> {
    let spoofed = match settings.text(Name::SpoofSource) {
        None => None,
        Some(text) => Some(text.parse().map_err(|_| Unfit::SpoofSource)?),
    };
    let proxy = settings.text(Name::Proxy).map(|proxy| proxy.into_owned());
    let said = match &proxy {
        // A proxy is only on the command line, and there it forgets every -P before it.
        Some(_) => settings.top().and_then(|layer| layer.get(Name::Transport)),
        None => settings.get(Name::Transport),
    };
    let transport = match said {
        Some(Value::Transport(transport)) => *transport,
        _ if proxy.is_some() => TransportKind::Http,
        _ => TransportKind::Udp,
    };
    if spoofed.is_some() && !transport.is_raw() {
        return Err(Unfit::SpoofTransport);
    }
    if proxy.is_some() && transport != TransportKind::Http {
        return Err(Unfit::Proxy);
    }
    let family = family(settings)?;
    if family == Some(Family::V6) && transport.is_raw() {
        return Err(Unfit::RawIpv6);
    }
    let small = |name| settings.number(name).and_then(|number| u8::try_from(number).ok()).unwrap_or(0);
    Ok(Route {
        transport,
        server,
        port: settings.port(Name::ServerPort).unwrap_or(DEFAULT_PORT),
        source_port: settings.port(Name::SourcePort).filter(|port| *port != 0),
        spoofed,
        proxy,
        agent: agent(settings),
        family,
        icmp: (small(Name::IcmpType), small(Name::IcmpCode)),
    })
}

/// The only family that will do, if somebody says so: the strongest place that does.
fn family(settings: &Settings) -> Result<Option<Family>, Unfit> {
    let only = settings.deciding(&[Name::OnlyIpv6, Name::ResolveIpv4]);
    match only.map(|layer| (layer.says_yes(Name::ResolveIpv4), layer.says_yes(Name::OnlyIpv6))) {
        Some((true, true)) => Err(Unfit::Families),
        Some((true, false)) => Ok(Some(Family::V4)),
        Some((false, true)) => Ok(Some(Family::V6)),
        Some((false, false)) | None => Ok(None),
    }
}

/// How we name ourselves over HTTP.
fn agent(settings: &Settings) -> String {
    match settings.text(Name::UserAgent) {
        Some(agent) => agent.into_owned(),
        None => format!("Fwknop/{COMPATIBLE_VERSION}"),
    }
}

fn digest(settings: &Settings, name: Name) -> DigestType {
    match settings.get(name) {
        Some(Value::Digest(digest)) => *digest,
        _ => DigestType::Sha256,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::{
        args::CommandLine,
        settings::{Layer, Setting},
    };

    fn plan(rc: &[(&str, &str)], words: &str) -> Result<Plan, Unfit> {
        let mut layer = Layer::default();
        for (variable, value) in rc {
            let row = Setting::of_variable(variable).unwrap();
            layer.set(row.name, row.kind.read(value.as_ref()).unwrap());
        }
        let mut settings = Settings::default();
        settings.push(layer);
        settings.push(CommandLine::parse(words.split_whitespace().map(Into::into), false).layer().unwrap());
        let mut streams = (io::sink(), io::sink());
        Plan::new(&settings, &mut Output::new(&mut streams.0, &mut streams.1))
    }

    #[test]
    fn the_first_thing_that_does_not_fit_is_told() {
        for (words, unfit) in [
            ("-A tcp/22", Unfit::NoServer),
            ("-D h", Unfit::NoAllow),
            ("--save-rc-stanza -T", Unfit::NoServer),
            ("-T -Q 203.0.113.99", Unfit::SpoofTransport),
            ("-T -P udpraw -Q host", Unfit::SpoofSource),
            ("-T -H p:1 -P udp", Unfit::Proxy),
            ("-T -46", Unfit::Families),
            ("-T -6 -P icmp", Unfit::RawIpv6),
            ("-T -g", Unfit::NoRecipient),
            ("-T -M asymmetric", Unfit::Asymmetric),
            ("-T -M legacy --use-hmac", Unfit::LegacyHmac),
            ("-T -M legacy --gpg-recipient-key x --key-hmac y", Unfit::LegacyHmac),
        ] {
            assert_eq!(plan(&[], words).unwrap_err(), unfit, "{words}");
        }
        assert!(plan(&[], "-T -P udp -H p:1").is_ok(), "-H comes later");
    }

    #[test]
    fn the_strongest_place_says_which_family_will_do() {
        let v4 = [("SERVER_RESOLVE_IPV4", "Y")];
        for (rc, words, family) in [
            (&[][..], "-T", None),
            (&v4, "-T", Some(Family::V4)),
            (&v4, "-T -6", Some(Family::V6)),
            (&[], "-T -4", Some(Family::V4)),
            (&[], "-T --ipv6", Some(Family::V6)),
        ] {
            assert_eq!(plan(rc, words).unwrap().route.family, family, "{rc:?} {words}");
        }
        assert_eq!(Family::of_server("[2001:db8::1]"), Some(Family::V6));
    }

    #[test]
    fn the_command_line_decides_whom_to_let_in() {
        let fixed = [("ALLOW_IP", "1.1.1.1")];
        let resolve = [("RESOLVE_IP_HTTPS", "Y")];
        for (rc, words, allow) in [
            (&fixed[..], "-T", Some(Allow::Address([1, 1, 1, 1].into()))),
            (&fixed, "-T -R", Some(Allow::Resolve)),
            (&fixed, "-T --resolve-url https://x", Some(Allow::Resolve)),
            (&fixed, "-T -R -s", Some(Allow::Source)),
            (&resolve, "-T -s", Some(Allow::Source)),
            (&resolve, "-T", Some(Allow::Resolve)),
            (&[], "-T", None),
            (&[("RESOLVE_URL", "https://x")], "-T", Some(Allow::Resolve)),
            (&[("RESOLVE_HTTP_ONLY", "Y")], "-T", None),
        ] {
            assert_eq!(plan(rc, words).unwrap().allow, allow, "{rc:?} {words}");
        }
    }
}
