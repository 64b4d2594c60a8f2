//! Hears of every change of the ruleset, whoever makes it, and tells which of them matter.
//!
//! ```text
//! somebody reloads their rules ─▶ the line becomes readable ─▶ Told::OfUs ─▶ look, and put back
//! ```
//!
//! The kernel says nothing when an element's time is over; that is no change in this sense.
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::libc;

use super::super::FirewallError;
use super::message::{Message, Messages};
use super::ruleset::kind;
use super::socket::{NFTABLES, connect, receive};

/// The group that hears of every change.
const GROUP: u32 = 1 << 6;

/// The line on which the kernel tells.
#[derive(Debug)]
pub struct Changes(OwnedFd);

impl Changes {
    /// Begins to listen.
    ///
    /// # Errors
    ///
    /// When the kernel does not let us.
    pub fn open() -> Result<Self, FirewallError> {
        connect(GROUP).map(Self).map_err(FirewallError::Socket)
    }

    /// Takes everything that was told until now, and says whether any of it is what `concerns` looks for. If the
    /// kernel had to leave something out because we did not listen in time, we take it that it is.
    pub fn told(&self, concerns: impl Fn(&Message<'_>) -> bool) -> Told {
        let mut told = Told::Nothing;
        loop {
            match receive(&self.0) {
                Ok(Some(datagram)) if Messages(&datagram).any(|message| concerns(&message)) => told = Told::OfUs,
                Ok(Some(_)) => told = told.max(Told::OfOthers),
                Ok(None) => return told,
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => told = Told::OfUs,
                Err(_) => return Told::OfUs,
            }
        }
    }
}

/// What the kernel told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Told {
    /// No change at all.
    Nothing,
    /// Changes that are not our business.
    OfOthers,
    /// A change that we should look at.
    OfUs,
}

impl AsFd for Changes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Whether a change matters to the doors of nftables: not done by the socket with the number `own`, and not to sets
/// other than those whose names begin like our chain.
pub fn concerns_doors(message: &Message<'_>, own: Option<u32>, chain: &str) -> bool {
    const ELEMENTS: [u16; 2] = [NFTABLES | kind::NEW_ELEMENT, NFTABLES | kind::DELETE_ELEMENT];
    if message.kind & 0xff00 != NFTABLES || Some(message.port) == own {
        return false;
    }
    let ours = || message.attributes().text(2).is_some_and(|set| set.starts_with(chain));
    message.kind <= NFTABLES | kind::DELETE_SET || ELEMENTS.contains(&message.kind) && ours()
}

/// Whether a change matters to a jump and the chain it leads to, in any table of this name.
pub fn concerns_chains(message: &Message<'_>, table: &str, chains: [&str; 2]) -> bool {
    const RULES: [u16; 2] = [NFTABLES | kind::NEW_RULE, NFTABLES | kind::DELETE_RULE];
    const WHOLE: [u16; 2] = [NFTABLES | kind::DELETE_TABLE, NFTABLES | kind::DELETE_CHAIN];
    let fields = message.attributes();
    let is_ours = |name: Option<&str>| name.is_some_and(|name| chains.contains(&name));
    let rules = RULES.contains(&message.kind) && is_ours(fields.text(2));
    fields.text(1) == Some(table) && (rules || WHOLE.contains(&message.kind))
}

#[cfg(test)]
mod tests {
    use super::super::message::{Attributes, write};
    use super::*;

    #[test]
    fn what_we_do_ourselves_and_sets_of_others_do_not_concern_us() {
        let told = |kind: u16, set: &str, port: u32| {
            let mut bytes = Vec::new();
            write(&mut bytes, NFTABLES | kind, 0, 0, [1, 0, 0, 0], Attributes::new().text(2, set).as_bytes());
            let message = Message { port, ..Messages(&bytes).next().unwrap() };
            concerns_doors(&message, Some(7), "FWKNOP_INPUT")
        };
        assert!(!told(kind::NEW_RULE, "input", 7), "we did it");
        assert!(told(kind::DELETE_TABLE, "", 8));
        assert!(told(kind::NEW_RULE, "input", 8));
        assert!(told(kind::DELETE_ELEMENT, "FWKNOP_INPUT4", 8));
        assert!(!told(kind::NEW_ELEMENT, "addr-set-sshd", 8));
        const NEW_GENERATION: u16 = 15;
        assert!(!told(NEW_GENERATION, "", 8), "the changes themselves were told before");
    }

    #[test]
    fn of_an_iptables_table_only_our_two_chains_concern_us() {
        let told = |kind: u16, table: &str, chain: &str| {
            let mut bytes = Vec::new();
            let body = Attributes::new().text(1, table).text(2, chain);
            write(&mut bytes, NFTABLES | kind, 0, 0, [2, 0, 0, 0], body.as_bytes());
            concerns_chains(&Messages(&bytes).next().unwrap(), "filter", ["INPUT", "FWKNOP_INPUT"])
        };
        assert!(told(kind::DELETE_RULE, "filter", "INPUT"));
        assert!(told(kind::NEW_RULE, "filter", "FWKNOP_INPUT"));
        assert!(told(kind::DELETE_TABLE, "filter", ""));
        assert!(!told(kind::NEW_RULE, "filter", "f2b-sshd"));
        assert!(!told(kind::NEW_RULE, "nat", "INPUT"));
    }
}
