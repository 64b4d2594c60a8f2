//! Hears of every change of the ruleset, whoever makes it, and tells which of them matter.
//!
//! ```text
//! somebody reloads their rules ─▶ the line becomes readable ─▶ `concern_us` ─▶ look, and put back
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

    /// Takes everything that was told until now, and says whether any of it concerns us: it was not done by the
    /// socket with the number `own`, and not to sets other than those whose names begin like our `chain`. If the
    /// kernel had to leave something out because we did not listen in time, it does.
    pub fn concern_us(&self, own: Option<u32>, chain: &str) -> bool {
        let mut any = false;
        loop {
            match receive(&self.0) {
                Ok(Some(datagram)) => any |= Messages(&datagram).any(|message| concerns(&message, own, chain)),
                Ok(None) => return any,
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => any = true,
                Err(_) => return true,
            }
        }
    }
}

impl AsFd for Changes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn concerns(message: &Message<'_>, own: Option<u32>, chain: &str) -> bool {
    const ELEMENTS: [u16; 2] = [NFTABLES | kind::NEW_ELEMENT, NFTABLES | kind::DELETE_ELEMENT];
    if message.kind & 0xff00 != NFTABLES || Some(message.port) == own {
        return false;
    }
    let ours = || message.attributes().text(2).is_some_and(|set| set.starts_with(chain));
    message.kind <= NFTABLES | kind::DELETE_SET || ELEMENTS.contains(&message.kind) && ours()
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
            concerns(&message, Some(7), "FWKNOP_INPUT")
        };
        assert!(!told(kind::NEW_RULE, "input", 7), "we did it");
        assert!(told(kind::DELETE_TABLE, "", 8));
        assert!(told(kind::NEW_RULE, "input", 8));
        assert!(told(kind::DELETE_ELEMENT, "FWKNOP_INPUT4", 8));
        assert!(!told(kind::NEW_ELEMENT, "addr-set-sshd", 8));
        const NEW_GENERATION: u16 = 15;
        assert!(!told(NEW_GENERATION, "", 8), "the changes themselves were told before");
    }
}
