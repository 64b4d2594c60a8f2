//! The two commands of a cycle: what their variables stand for.
//!
//! ```text
//! ipset add in $SRC timeout $CLIENT_TIMEOUT  ×  Occasion  ─▶  ipset add in 192.0.2.10 timeout 30
//! ```
//!
//! Every value is an address or a number of ours, never text of a stranger. The names are tried in a fixed order and need
//! nothing behind them; the dollar of an unknown name disappears (spec `server.md` 8.5).

use std::fmt;
use std::net::IpAddr;

use spa::{PortList, UnixTime};
use thiserror::Error;

use super::command_line::CommandLine;
use crate::access::Cycle;

/// The longest command after its variables have been filled in, in bytes.
const LONGEST: usize = 255;

/// What a packet brings to a cycle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occasion {
    /// Where the packet came from.
    pub from: IpAddr,
    /// Whom it speaks for.
    pub client: IpAddr,
    /// Where it was sent to.
    pub to: IpAddr,
    /// What it asks for; commands are told the first.
    pub ports: PortList,
    /// When it was made, by the client's clock.
    pub made: UnixTime,
    /// How long until the close command, in seconds; 0 where nobody says.
    pub seconds: u32,
}

impl fmt::Display for Occasion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, client, to, ports, made, seconds } = self;
        write!(f, "from={from} client={client} to={to} ports={ports} made={made} seconds={seconds}")
    }
}

/// A cycle for one occasion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// Run at once.
    pub open: CommandLine,
    /// Run when the time has come.
    pub close: Option<CommandLine>,
}

/// A command that its variables make too long; the original cuts it and runs what is left (trap T61).
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("CMD_CYCLE_{0} is longer than {LONGEST} bytes for this packet")]
pub struct TooLong(pub &'static str);

impl Cycle {
    /// Fills in the variables of both commands.
    ///
    /// # Errors
    /// If one becomes too long, or empty.
    pub fn build(&self, occasion: &Occasion) -> Result<Built, TooLong> {
        let fill = |which, text: &str| {
            CommandLine::new(occasion.fill_in(text))
                .filter(|line| line.as_bytes().len() <= LONGEST)
                .ok_or(TooLong(which))
        };
        let close = self.close.as_deref().map(|text| fill("CLOSE", text)).transpose()?;
        Ok(Built { open: fill("OPEN", &self.open)?, close })
    }
}

impl Occasion {
    fn fill_in(&self, text: &str) -> String {
        let mut pieces = text.split('$');
        let mut filled = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            let (value, rest) = self.variable(piece).unwrap_or((String::new(), piece));
            filled.push_str(&value);
            filled.push_str(rest);
        }
        filled
    }

    /// The value of the variable that `text` begins with, and what follows its name.
    fn variable<'t>(&self, text: &'t str) -> Option<(String, &'t str)> {
        let port = self.ports.iter().next();
        let values: [(&str, &dyn Fn() -> String); 8] = [
            ("IP", &|| self.client.to_string()),
            ("SRC", &|| self.client.to_string()),
            ("PKT_SRC", &|| self.from.to_string()),
            ("DST", &|| self.to.to_string()),
            ("PORT", &|| port.map(|port| port.port.to_string()).unwrap_or_default()),
            ("PROTO", &|| port.map(|port| port.protocol.number().to_string()).unwrap_or_default()),
            ("TIMEOUT", &|| self.made.0.saturating_add(self.seconds.into()).to_string()),
            ("CLIENT_TIMEOUT", &|| self.seconds.to_string()),
        ];
        values.into_iter().find_map(|(name, value)| Some((value(), text.strip_prefix(name)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn occasion() -> Occasion {
        Occasion {
            from: "192.0.2.1".parse().unwrap(),
            client: "192.0.2.10".parse().unwrap(),
            to: "192.0.2.20".parse().unwrap(),
            ports: "udp/53,tcp/22".parse().unwrap(),
            made: UnixTime(1_800_000_000),
            seconds: 30,
        }
    }

    fn build(open: &str, close: Option<&str>) -> Result<Built, TooLong> {
        Cycle { open: open.into(), close: close.map(Into::into), timer: Some(30) }.build(&occasion())
    }

    #[test]
    fn variables_are_filled_in_by_name() {
        for (text, wanted) in [
            ("add $IP $SRC $PKT_SRC $DST", "add 192.0.2.10 192.0.2.10 192.0.2.1 192.0.2.20"),
            ("add $PORT $PROTO $TIMEOUT $CLIENT_TIMEOUT", "add 53 17 1800000030 30"),
            ("$IPx$PORT/$PROTO", "192.0.2.10x53/17"),
            ("echo $OTHER $ $$IP a$", "echo OTHER  192.0.2.10 a"),
            ("echo '$ip'; $(id)", "echo 'ip'; (id)"),
        ] {
            assert_eq!(build(text, None).unwrap().open.shown(), wanted);
        }
    }

    #[test]
    fn both_commands_are_built_from_one_packet() {
        let built = build("open $SRC", Some("close $SRC")).unwrap();
        assert_eq!(built.close.unwrap().shown(), "close 192.0.2.10");
        assert_eq!(built.open.shown(), "open 192.0.2.10");
    }

    #[test]
    fn a_command_that_becomes_too_long_is_refused_and_never_cut() {
        let fits = format!("{}$SRC", "x".repeat(245));
        assert_eq!(build(&fits, None).unwrap().open.as_bytes().len(), 255);
        assert_eq!(build(&format!("x{fits}"), None), Err(TooLong("OPEN")));
        assert_eq!(build("open", Some(&format!("x{fits}"))), Err(TooLong("CLOSE")));
    }
}
