//! What is asked of the server: settings become a request, with NAT and all.
//!
//! The access string names the port to connect to; with `--nat-port` or `--nat-rand-port` that port stands in its place and the one that was
//! typed becomes the default of the inner port. No name is looked up here: the server does that. Spec: client.md sections 10, 11.
//!
//! ```text
//! -A tcp/22 -N 10.0.0.2 --nat-port 5000 ─▶ IP,tcp/5000  and  10.0.0.2,22
//! ```

use std::num::NonZeroU16;

use rand_core::Rng;
use spa::{AllowIp, CommandText, FieldError, Nat, NatHost, NatTarget, PortList, PortSpec, Request, Timeout};

use crate::{
    failure::Library,
    output::Output,
    settings::{Name, Settings},
};

/// Why there is no request. Displays as the lines for standard error.
#[derive(Debug, thiserror::Error)]
pub enum BadRequest {
    /// In the words of the original's library.
    #[error(transparent)]
    Library(#[from] Library),
    /// The program says more first.
    #[error("{0}\n{1}")]
    Told(String, Library),
    /// The program refuses by itself.
    #[error("{0}")]
    Refused(&'static str),
}

/// The library call that takes what is asked, in the original.
pub const SET: &str = "fko_set_spa_message";

/// The bytes of text that a request may have, its address and comma included.
const LONGEST_MESSAGE: usize = 255;

/// Puts the request together for this address.
///
/// # Errors
/// If what is asked makes no request.
pub fn request(
    settings: &Settings,
    server: &str,
    allow: Option<AllowIp>,
    rng: &mut impl Rng,
    output: &mut Output<'_>,
) -> Result<Request, BadRequest> {
    let nat = Translation::new(settings);
    if let Some(command) = settings.raw(Name::Command) {
        if nat.is_some() {
            return Err(BadRequest::Refused("[*] A command has no NAT: leave out -C, or -N and --nat-local."));
        }
        return command_request(command.as_encoded_bytes(), allow);
    }
    let access = settings.text(Name::Access).unwrap_or("none/0".into());
    let random = settings.on(Name::NatRandomPort);
    let outer = match random {
        true => NonZeroU16::new(random_port(rng)),
        false => settings.port(Name::NatPort).and_then(NonZeroU16::new),
    };
    if outer.is_some() && nat.is_none() {
        // The original quietly asks for another port than was typed (D21).
        return Err(BadRequest::Refused("[*] --nat-port and --nat-rand-port need -N or --nat-local."));
    }
    let inner = match outer {
        Some(_) => Some(single_port(&access)?),
        None => None,
    };
    let allow = allow.ok_or_else(|| Library::field(SET, FieldError::AllowIp))?;
    if allow.to_string().len() + 1 + access.len() > LONGEST_MESSAGE {
        return Err(Library::too_long(SET).into());
    }
    let mut ports: PortList = access.parse().map_err(|error| Library::field(SET, error))?;
    let default = ports.iter().next().map(|first| first.port);
    if let (Some(port), Some(first)) = (outer, inner) {
        ports = PortSpec { port, ..first }.into();
    }
    let nat = match (nat, default) {
        (Some(nat), Some(default)) => nat.to(default, server)?,
        _ => Nat::None,
    };
    if let (true, Nat::Forward(target) | Nat::Local(target)) = (random, &nat) {
        let port = outer.map_or(0, NonZeroU16::get);
        output.say(format_args!(
            "[+] Randomly assigned port '{port}' on: '{allow},{ports}' will grant access to: '{target}'"
        ));
    }
    let timeout = Timeout::new(settings.number(Name::Timeout).unwrap_or(0))
        .map_err(|error| Library::field("fko_set_spa_client_timeout", error))?;
    Ok(Request::Access { allow, ports, nat, timeout })
}

fn command_request(command: &[u8], allow: Option<AllowIp>) -> Result<Request, BadRequest> {
    let allow = allow.ok_or_else(|| Library::field(SET, FieldError::Command))?;
    if allow.to_string().len() + 1 + command.len() > LONGEST_MESSAGE {
        return Err(Library::too_long(SET).into());
    }
    let command = CommandText::new(command).map_err(|error| Library::field(SET, error))?;
    Ok(Request::Command { allow, command })
}

/// The one `proto/port` that a chosen external port can stand in for.
fn single_port(access: &str) -> Result<PortSpec, BadRequest> {
    if access.contains(',') {
        return Err(BadRequest::Refused("[*] NAT for multiple ports/protocols not yet supported."));
    }
    let Some((_, port)) = access.split_once('/') else {
        return Err(BadRequest::Refused("[*] Expecting <proto>/<port> for -A arg."));
    };
    access.parse().map_err(|error| match number(port) {
        Some(_) => Library::field(SET, error).into(),
        None => BadRequest::Told(format!("[*] Invalid port value '{port}' for -A arg."), Library::nat()),
    })
}

/// A port from 10000 to 65534, each as likely as any other: servers' capture filters are written for that range.
pub fn random_port(rng: &mut impl Rng) -> u16 {
    const FIRST: u16 = 10000;
    const COUNT: u16 = 55535;
    loop {
        let drawn = u16::try_from(rng.next_u32() >> 16).unwrap_or(u16::MAX);
        if drawn < COUNT {
            return FIRST + drawn;
        }
    }
}

/// That the ports lead elsewhere, as it was typed.
struct Translation {
    local: bool,
    target: Option<String>,
}

impl Translation {
    fn new(settings: &Settings) -> Option<Self> {
        let target = settings.text(Name::NatAccess).filter(|text| !text.is_empty());
        let local = settings.on(Name::NatLocal);
        (local || target.is_some()).then(|| Self { local, target: target.map(|text| text.into_owned()) })
    }

    /// The target; its port is `default` unless one was typed.
    fn to(&self, default: NonZeroU16, server: &str) -> Result<Nat, BadRequest> {
        let told = |text: String| BadRequest::Told(text, Library::nat());
        let (host, port) = match self.target.as_deref().map(|target| (target, target.split_once([':', ',']))) {
            None => (server, default),
            Some((host, None)) => (host, default),
            Some((_, Some((host, port)))) => match number(port) {
                Some(port) => (host, port),
                None => return Err(told("[*] Invalid port value in -N arg.".into())),
            },
        };
        // All digits and dots, but no address: no name is like that (the original lets 999.1.1.1 pass).
        let is_number = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let host = host.parse::<NatHost>().and_then(|host| match host.ip() {
            None if is_number => Err(FieldError::NatHost),
            _ => Ok(host),
        });
        let host = match host {
            Ok(host) => host,
            Err(error @ FieldError::NatHostTooLong(_)) => {
                return Err(Library::field("fko_set_nat_access_str", error).into());
            }
            Err(_) => {
                let typed =
                    self.target.as_deref().map_or(server, |target| target.split([':', ',']).next().unwrap_or(target));
                return Err(told(format!("[*] Invalid NAT destination '{typed}' for -N arg.")));
            }
        };
        let target = NatTarget { host, port };
        Ok(if self.local { Nat::Local(target) } else { Nat::Forward(target) })
    }
}

/// A port of digits only.
fn number(text: &str) -> Option<NonZeroU16> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::args::CommandLine;

    /// Draws the same number again and again.
    struct Loaded(u32);

    impl rand_core::TryRng for Loaded {
        type Error = std::convert::Infallible;

        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            Ok(self.0)
        }

        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            Ok(self.0.into())
        }

        fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
            bytes.fill(0);
            Ok(())
        }
    }

    fn told(words: &str) -> String {
        let mut settings = Settings::default();
        settings.push(CommandLine::parse(words.split_whitespace().map(Into::into), false).layer().unwrap());
        let mut streams = (io::sink(), io::sink());
        let mut output = Output::new(&mut streams.0, &mut streams.1);
        let allow = "1.2.3.4".parse().unwrap();
        match request(&settings, "server", Some(allow), &mut Loaded(1 << 16), &mut output) {
            Ok(request) => format!(
                "{} {} {}",
                request.message_type(),
                String::from_utf8(request.message()).unwrap(),
                request.nat_target().map_or("-".into(), ToString::to_string)
            ),
            Err(error) => error.to_string().lines().next().unwrap_or_default().to_owned(),
        }
    }

    #[test]
    fn the_access_string_names_the_outer_port() {
        for (words, expected) in [
            ("-A tcp/22", "1 1.2.3.4,tcp/22 -"),
            ("-A tcp/22 -f 30", "3 1.2.3.4,tcp/22 -"),
            ("-A tcp/22 -f 0", "1 1.2.3.4,tcp/22 -"),
            ("-A tcp/22 -N 10.0.0.2", "2 1.2.3.4,tcp/22 10.0.0.2,22"),
            ("-A tcp/22 -N 10.0.0.2:80", "2 1.2.3.4,tcp/22 10.0.0.2,80"),
            ("-A tcp/22 -N 10.0.0.2,80 -f 9", "4 1.2.3.4,tcp/22 10.0.0.2,80"),
            ("-A tcp/22 -N 10.0.0.2 --nat-port 5000", "2 1.2.3.4,tcp/5000 10.0.0.2,22"),
            ("-A tcp/22 -N 10.0.0.2 --nat-rand-port", "2 1.2.3.4,tcp/10001 10.0.0.2,22"),
            ("-A tcp/22 --nat-local", "5 1.2.3.4,tcp/22 server,22"),
            ("-A tcp/22 --nat-local -N 10.0.0.2:80 -f 9", "6 1.2.3.4,tcp/22 10.0.0.2,80"),
            ("-A tcp/22,udp/53 -N 10.0.0.2", "2 1.2.3.4,tcp/22,udp/53 10.0.0.2,22"),
            ("-A tcp/22 -N=", "1 1.2.3.4,tcp/22 -"),
            ("-A x -C id", "0 1.2.3.4,id -"),
        ] {
            assert_eq!(told(&words.replace("-N=", "--nat-access=")), expected, "{words}");
        }
    }

    #[test]
    fn what_makes_no_request_is_refused() {
        for (words, expected) in [
            ("-A tcp/22 -N :80", "[*] Invalid NAT destination '' for -N arg."),
            ("-A tcp/22 -N 999.1.1.1:80", "[*] Invalid NAT destination '999.1.1.1' for -N arg."),
            ("-A tcp/22 -N [::1]:80", "[*] Invalid port value in -N arg."),
            ("-A tcp/22 -N h:+80", "[*] Invalid port value in -N arg."),
            ("-A tcp/0 -N h --nat-port 1", "[*] Invalid port value '0' for -A arg."),
            ("-A tcp -N h --nat-port 1", "[*] Expecting <proto>/<port> for -A arg."),
            ("-A tcp/1,tcp/2 -N h --nat-port 1", "[*] NAT for multiple ports/protocols not yet supported."),
            ("-A tcp/22 --nat-port 1", "[*] --nat-port and --nat-rand-port need -N or --nat-local."),
            ("-C id -N h", "[*] A command has no NAT: leave out -C, or -N and --nat-local."),
            ("-T", "fwknop: fko_set_spa_message: Error 102 - Invalid SPA access message format"),
        ] {
            assert_eq!(told(words), expected, "{words}");
        }
    }

    #[test]
    fn random_ports_stay_in_their_range() {
        for drawn in [0, 1 << 16, 9999 << 16, 55534 << 16] {
            let port = random_port(&mut Loaded(drawn));
            assert!((10000..=65534).contains(&port), "{port}");
        }
    }
}
