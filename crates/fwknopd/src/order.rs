//! What the listener may ask of the warden, and its one spelling as text.
//!
//! An order is a line of words, so that a role can be run and read by hand. The first word says what is asked; every
//! other is `name=value`, in a fixed order. Parsing is strict because the writer is: nothing is guessed, nothing is left over.
//!
//! ```text
//! open stanza=1 from=192.0.2.10 client=192.0.2.10 ports=tcp/22,udp/53 seconds=30
//! command stanza=2 from=192.0.2.10 text=id%20-a
//! cycle stanza=3 from=192.0.2.10 client=192.0.2.10 to=192.0.2.20 ports=tcp/22 made=1800000000 seconds=30
//! ```

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::str::FromStr;

use spa::PortList;
use thiserror::Error;

use crate::action::command_line::CommandLine;
use crate::action::cycle::Occasion;

/// What is asked of the warden.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Let a client reach some ports for a while.
    Open {
        /// The stanza, counted from 1, whose limits allow it.
        stanza: u32,
        /// Where the packet came from.
        from: IpAddr,
        /// Whom to let in.
        client: IpAddr,
        /// Which ports.
        ports: PortList,
        /// For how long.
        seconds: NonZeroU32,
    },
    /// Run the command of a command message.
    Command {
        /// The stanza, counted from 1, that allows it.
        stanza: u32,
        /// Where the packet came from.
        from: IpAddr,
        /// What to run.
        text: CommandLine,
    },
    /// Run the open command of a cycle, and its close command later.
    Cycle {
        /// The stanza, counted from 1, that has the commands.
        stanza: u32,
        /// What their variables stand for.
        occasion: Occasion,
    },
}

impl Order {
    /// The stanza that is to allow it.
    pub fn stanza(&self) -> u32 {
        match self {
            Self::Open { stanza, .. } | Self::Command { stanza, .. } | Self::Cycle { stanza, .. } => *stanza,
        }
    }

    /// Where the packet came from.
    pub fn from(&self) -> IpAddr {
        match self {
            Self::Open { from, .. } | Self::Command { from, .. } => *from,
            Self::Cycle { occasion, .. } => occasion.from,
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { stanza, from, client, ports, seconds } => {
                write!(f, "open stanza={stanza} from={from} client={client} ports={ports} seconds={seconds}")
            }
            Self::Command { stanza, from, text } => write!(f, "command stanza={stanza} from={from} text={text}"),
            Self::Cycle { stanza, occasion } => write!(f, "cycle stanza={stanza} {occasion}"),
        }
    }
}

/// A line that is not an order.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("not an order: {0}")]
pub struct NotAnOrder(&'static str);

impl FromStr for Order {
    type Err = NotAnOrder;

    fn from_str(line: &str) -> Result<Self, NotAnOrder> {
        let mut words = line.split(' ');
        let kind = words.next();
        let order = match kind {
            Some("open") => Self::Open {
                stanza: field(&mut words, "stanza")?,
                from: field(&mut words, "from")?,
                client: field(&mut words, "client")?,
                ports: field(&mut words, "ports")?,
                seconds: field(&mut words, "seconds")?,
            },
            Some("command") => Self::Command {
                stanza: field(&mut words, "stanza")?,
                from: field(&mut words, "from")?,
                text: field(&mut words, "text")?,
            },
            Some("cycle") => Self::Cycle {
                stanza: field(&mut words, "stanza")?,
                occasion: Occasion {
                    from: field(&mut words, "from")?,
                    client: field(&mut words, "client")?,
                    to: field(&mut words, "to")?,
                    ports: field(&mut words, "ports")?,
                    made: field(&mut words, "made")?,
                    seconds: field(&mut words, "seconds")?,
                },
            },
            _ => return Err(NotAnOrder("its first word")),
        };
        // One order has one spelling: whatever else was read is not the order that was written.
        if words.next().is_some() || order.to_string() != line { Err(NotAnOrder("its spelling")) } else { Ok(order) }
    }
}

/// The value of the next word, which must be `name=value`.
pub(crate) fn field<'w, T: FromStr>(
    words: &mut impl Iterator<Item = &'w str>,
    name: &'static str,
) -> Result<T, NotAnOrder> {
    words
        .next()
        .and_then(|word| word.split_once('='))
        .filter(|(given, _)| *given == name)
        .and_then(|(_, value)| value.parse().ok())
        .ok_or(NotAnOrder(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_read_back_as_it_was_written() {
        for line in [
            "open stanza=1 from=192.0.2.10 client=2001:db8::7 ports=tcp/22,udp/53 seconds=30",
            "command stanza=2 from=192.0.2.10 text=rm%20-rf%20/%0Aopen%20stanza=1",
            "cycle stanza=3 from=::1 client=192.0.2.10 to=0.0.0.0 ports=tcp/22 made=1800000000 seconds=0",
        ] {
            assert_eq!(line.parse::<Order>().unwrap().to_string(), line);
        }
    }

    #[test]
    fn every_other_spelling_is_refused() {
        for (wrong, why) in [
            ("", "its first word"),
            ("shut stanza=1", "its first word"),
            ("open", "stanza"),
            ("open stanza=x from=192.0.2.10 client=192.0.2.10 ports=tcp/22 seconds=30", "stanza"),
            ("open from=192.0.2.10 stanza=1 client=192.0.2.10 ports=tcp/22 seconds=30", "stanza"),
            ("open stanza=1 from=192.0.2.10 client=bob ports=tcp/22 seconds=30", "client"),
            ("open stanza=1 from=192.0.2.10 client=192.0.2.10 ports=icmp/0 seconds=30", "ports"),
            ("open stanza=1 from=192.0.2.10 client=192.0.2.10 ports=tcp/22 seconds=0", "seconds"),
            ("open stanza=1 from=192.0.2.10 client=192.0.2.10 ports=tcp/22 seconds=-1", "seconds"),
            ("open stanza=1 from=192.0.2.10 client=192.0.2.10 ports=tcp/22 seconds=30 more=1", "its spelling"),
            ("open stanza=01 from=192.0.2.10 client=192.0.2.10 ports=tcp/22 seconds=30", "its spelling"),
            ("open stanza=1 from=192.0.2.10 client=192.0.2.10 ports=tcp/22 seconds=+30", "its spelling"),
            ("command stanza=2 from=192.0.2.10 text=", "text"),
            ("command stanza=2 from=192.0.2.10 text=a b", "its spelling"),
            ("command stanza=2 from=192.0.2.10 text=%61", "text"),
            ("cycle stanza=3 from=::1 client=::1 to=:: ports=tcp/22 made=-1 seconds=0", "made"),
            ("cycle stanza=3 from=::1 client=::1 to=:: ports=tcp/22 made=1 seconds=0 text=id", "its spelling"),
        ] {
            assert_eq!(wrong.parse::<Order>(), Err(NotAnOrder(why)), "{wrong}");
        }
    }
}
