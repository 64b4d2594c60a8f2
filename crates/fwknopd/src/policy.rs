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
use crate::arrival::Arrival;
use crate::order::Order;
use crate::refusal::Refusal;

/// What holds for all stanzas.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// How far a packet's time may be from ours, in seconds; `None` if it is not looked at.
    pub max_age: Option<u64>,
    /// `--test`: decide, and open nothing.
    pub test_mode: bool,
}

impl Terms {
    /// Whether a packet made at `made` may still, or already, be accepted.
    ///
    /// With ageing on there is one more floor: nothing made before this machine booted is accepted, because what was
    /// used up before may be forgotten (the digest file lies in memory on most machines).
    fn accept_time(&self, made: UnixTime, now: UnixTime, booted: UnixTime) -> Result<(), Refusal> {
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
            Request::Command { .. } => return Err(Refusal::CommandsOff),
            Request::Access { nat: Nat::Forward(_) | Nat::Local(_), .. } => return Err(Refusal::NatOff),
            Request::Access { ports, timeout, .. } => (ports, timeout),
        };
        if !self.allows(ports) {
            return Err(Refusal::PortDenied);
        }
        if terms.test_mode {
            return Err(Refusal::TestMode);
        }
        let seconds = timeout.map_or(self.access_timeout, |wish| wish.seconds().min(self.max_timeout));
        let seconds = NonZeroU32::new(seconds).ok_or(Refusal::Forbidden("no time at all"))?;
        Ok(Order::Open { stanza: self.number, from: arrival.source, client, ports: ports.clone(), seconds })
    }

    /// Whether an order keeps within this stanza's limits. `now` is the warden's.
    pub fn permit(&self, order: &Order, now: UnixTime) -> Result<(), Refusal> {
        let Order::Open { stanza, from, client, ports, seconds } = order;
        let limits = [
            (*stanza == self.number, "another stanza's number"),
            (!self.has_expired(now), "the stanza has expired"),
            (self.source.covers(*from), "the source is not covered"),
            (!client.is_unspecified() && !client.is_multicast(), "no address to let in"),
            (self.allows(ports), "a port is not allowed"),
            (seconds.get() <= self.max_timeout, "longer than MAX_FW_TIMEOUT"),
        ];
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
