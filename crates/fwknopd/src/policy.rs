//! What a stanza allows: the decision about a knock that its keys opened, and the same limits once more for the order
//! that comes of it.
//!
//! ```text
//! listener:  Stanza × Arrival × Knock × now ─▶ judge  ─▶ Order or Refusal
//! warden:    Stanza × Order           × now ─▶ permit ─▶ yes   or Refusal
//! ```
//!
//! The checks and their order are those of spec `server.md` 7.2, steps 21 to 31. The warden's check knows nothing of
//! packets: it makes sure that whoever broke the listener can ask for what some key holder could have asked for, and no
//! more.

use std::net::IpAddr;
use std::num::NonZeroU32;

use spa::{AllowIp, Knock, Nat, PortList, Request, UnixTime};

use crate::access::Stanza;
use crate::action::ForSudoItself;
use crate::action::command_line::CommandLine;
use crate::action::cycle::{Occasion, TooLong};
use crate::arrival::Arrival;
use crate::order::Order;
use crate::refusal::Refusal;

/// What holds for all stanzas.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// How far a packet's time may be from ours, in seconds; `None` if it is not looked at.
    pub max_age: Option<u64>,
    /// `--test`: decide, and open and run nothing.
    pub test_mode: bool,
}

impl Terms {
    /// Whether a packet made at `made` may still, or already, be accepted.
    ///
    /// With ageing on there is one more floor: nothing made before this machine booted is accepted, because what was
    /// used up before may be forgotten (the digest file lies in memory on most machines).
    pub(crate) fn accept_time(&self, made: UnixTime, now: UnixTime, booted: UnixTime) -> Result<(), Refusal> {
        let Some(max_age) = self.max_age else { return Ok(()) };
        let apart = now.distance(made);
        if apart > max_age {
            Err(Refusal::WrongAge(apart))
        } else if made < booted {
            Err(Refusal::BeforeBoot)
        } else {
            Ok(())
        }
    }
}

/// The two times a decision needs.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// The wall clock.
    pub now: UnixTime,
    /// When this machine booted.
    pub booted: UnixTime,
}

impl Stanza {
    /// Whether this stanza's time is over.
    pub fn has_expired(&self, now: UnixTime) -> bool {
        self.expires.is_some_and(|end| now > end)
    }

    /// Whether this stanza's SOURCE and DESTINATION cover a packet.
    pub fn covers(&self, arrival: &Arrival<'_>) -> bool {
        self.source.covers(arrival.source) && self.destination.covers(arrival.destination)
    }

    /// Decides about a knock that this stanza's keys opened. `origin` is the address that "where this comes from" means.
    pub fn judge(
        &self,
        arrival: &Arrival<'_>,
        origin: IpAddr,
        knock: &Knock,
        clocks: Clocks,
        terms: &Terms,
    ) -> Result<Order, Refusal> {
        terms.accept_time(knock.time, clocks.now, clocks.booted)?;
        let client = match knock.request.allow() {
            AllowIp::Address(address) => address,
            AllowIp::Source if self.require_source_address => return Err(Refusal::AddressRequired),
            AllowIp::Source => origin,
        };
        if let Some(wanted) = &self.require_username
            && wanted != knock.username.as_str()
        {
            return Err(Refusal::WrongUser { got: knock.username.to_string(), wanted: wanted.clone() });
        }
        let (ports, timeout) = match &knock.request {
            Request::Command { command, .. } => return self.judge_command(arrival, &command.into(), terms),
            Request::Access { nat: Nat::Forward(_) | Nat::Local(_), .. } => return Err(Refusal::NatOff),
            Request::Access { ports, timeout, .. } => (ports, timeout),
        };
        if !self.allows(ports) {
            return Err(Refusal::PortDenied);
        }
        if let Some(cycle) = &self.cycle {
            let wish = timeout.map(|wish| wish.seconds().min(self.max_timeout));
            let occasion = Occasion {
                from: arrival.source,
                client,
                to: arrival.destination,
                ports: ports.clone(),
                made: knock.time,
                seconds: wish.or(cycle.timer).unwrap_or(0),
            };
            cycle.build(&occasion).map_err(|TooLong(which)| Refusal::Unbuildable(which))?;
            let order = Order::Cycle { stanza: self.number, occasion };
            return if terms.test_mode { Err(Refusal::CommandTestMode) } else { Ok(order) };
        }
        if terms.test_mode {
            return Err(Refusal::TestMode);
        }
        let seconds = timeout.map_or(self.access_timeout, |wish| wish.seconds().min(self.max_timeout));
        let seconds = NonZeroU32::new(seconds).ok_or(Refusal::Forbidden("no time at all"))?;
        Ok(Order::Open { stanza: self.number, from: arrival.source, client, ports: ports.clone(), seconds })
    }

    /// A command message. The text of one is no list of ports, so a stanza with a cycle has nothing to run for it.
    fn judge_command(&self, arrival: &Arrival<'_>, text: &CommandLine, terms: &Terms) -> Result<Order, Refusal> {
        if self.cycle.is_some() {
            return Err(Refusal::Unbuildable("OPEN"));
        }
        let commands = self.command.as_ref().ok_or(Refusal::CommandsOff)?;
        if terms.test_mode {
            return Err(Refusal::CommandTestMode);
        }
        commands.admit(text).map_err(|ForSudoItself| Refusal::ForSudoItself)?;
        Ok(Order::Command { stanza: self.number, from: arrival.source, text: text.clone() })
    }

    /// Whether an order keeps within this stanza's limits. `now` is the warden's.
    pub fn permit(&self, order: &Order, now: UnixTime) -> Result<(), Refusal> {
        let mut limits = vec![
            (order.stanza() == self.number, "another stanza's number"),
            (!self.has_expired(now), "the stanza has expired"),
            (self.source.covers(order.from()), "the source is not covered"),
        ];
        let an_address = |client: IpAddr| !client.is_unspecified() && !client.is_multicast();
        match order {
            Order::Open { client, ports, seconds, .. } => limits.extend([
                (self.opens_doors(), "the stanza opens no doors"),
                (an_address(*client), "no address to let in"),
                (self.allows(ports), "a port is not allowed"),
                (seconds.get() <= self.max_timeout, "longer than MAX_FW_TIMEOUT"),
            ]),
            Order::Command { text, .. } => limits.extend([
                (self.opens_doors(), "the stanza has a cycle"),
                (
                    self.command.as_ref().is_some_and(|commands| commands.admit(text).is_ok()),
                    "the command is not allowed",
                ),
            ]),
            Order::Cycle { occasion, .. } => {
                let timer = self.cycle.as_ref().and_then(|cycle| cycle.timer);
                let in_time = occasion.seconds <= self.max_timeout || Some(occasion.seconds) == timer;
                limits.extend([
                    (self.cycle.is_some(), "the stanza has no cycle"),
                    (self.destination.covers(occasion.to), "the destination is not covered"),
                    (an_address(occasion.client), "no address to run it for"),
                    (self.allows(&occasion.ports), "a port is not allowed"),
                    (in_time, "longer than MAX_FW_TIMEOUT"),
                ]);
            }
        }
        match limits.into_iter().find(|(kept, _)| !kept) {
            Some((_, what)) => Err(Refusal::Forbidden(what)),
            None => Ok(()),
        }
    }

    /// Every port must be allowed, and none forbidden: as sets, whatever stands twice (trap T1).
    fn allows(&self, ports: &PortList) -> bool {
        ports.iter().all(|port| {
            self.open_ports.as_ref().is_none_or(|open| open.contains(*port)) && !self.restrict_ports.contains(*port)
        })
    }
}
