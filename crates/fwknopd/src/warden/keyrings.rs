//! The keyring processes of one listener: started before it, and gone with it.
//!
//! The warden makes the socket between the two, gives each an end, and keeps none: no passphrase and no plaintext comes
//! past it.

use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::PATIENCE;
use super::start::{Start, StartError};
use crate::access::Stanza;
use crate::child::{Child, Role};
use crate::handover::Handover;
use crate::journal::{Journal, Level};
use crate::keyring::homes;
use crate::report::Report;

/// Keyrings that are ready, and the listener's ends of the sockets to them.
#[derive(Default)]
pub(super) struct Ready {
    pub(super) children: Vec<Child>,
    pub(super) sockets: Vec<OwnedFd>,
}

impl Start {
    /// Starts a keyring for each gpg home that the stanzas name, and waits until it has given up its rights.
    pub(super) fn ready_keyrings(&self, stanzas: &[Stanza], journal: &mut Journal) -> Result<Ready, StartError> {
        let mut ready = Ready::default();
        for home in homes(stanzas) {
            let pair = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
            let (asking, answering) =
                pair.map_err(|errno| StartError::System { doing: "cannot make a socket pair", source: errno.into() })?;
            let words = [home.home.into_os_string(), home.exe.into_os_string()];
            let mut child = Child::start(Role::Keyring, &words, &self.folder)?;
            child.hand(&Handover::Questions(answering))?;
            loop {
                match child.await_report(PATIENCE)? {
                    Report::Ready(_) => break,
                    Report::Log(line) => journal.line(&line),
                    other => journal.write(Level::Warning, format_args!("a keyring said '{other}' out of turn")),
                }
            }
            ready.children.push(child);
            ready.sockets.push(asking);
        }
        Ok(ready)
    }
}
