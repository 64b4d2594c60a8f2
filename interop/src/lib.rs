//! A small network in a box, and the people in it.
//!
//! A [`Lab`] is four network namespaces that exist as long as the value does: `client`, `stranger` and
//! `server`, joined by a bridge in `wire`. Everything runs in there for real: the firewall, sshd, nmap, the knock and the
//! server that hears it. The machine's own namespace, its firewall, its clock and its files are not touched.
//!
//! ```text
//!   client 192.0.2.10 ─┐
//!                      ├─ wire (br0) ─ server 192.0.2.20: sshd, firewall, fwknopd
//! stranger 192.0.2.11 ─┘                                   (IPv6 the same: 2001:db8::10, ::11, ::20)
//! ```
//!
//! Which program plays client and which plays server is a value, [`Maker`]: ours or the original. So the same scenario runs against
//! both, and what only one of them can do shows.
//!
//! | file | what it is |
//! | --- | --- |
//! | `lab` | the namespaces: made, swept, removed |
//! | `host` | a machine of the lab: runs programs, opens sockets inside |
//! | `program` | which binary is meant, ours or the original's |
//! | `daemon` | a server under test: its files, its start, its log, its end |
//! | `knock` | the client: key generation, knocking, packets made but not sent |
//! | `wall` | the server's firewall, as the kernel lists it |
//! | `scan` | what a stranger can find out: nmap and connection attempts |
//! | `stopwatch` | how soon a connection is accepted after a packet
//! | `ssh` | a real sshd and a session that should live on |
//! | `wire` | packets by hand: any protocol, whole or in pieces |
//! | `vectors` | packets the original made, recorded |
//! | `vitals` | what the kernel knows of a process: CPU, wake-ups, rights |
//!
//! What this is not: a library for others. It needs root, Debian's `iproute2`, and the packages of `scripts/packages`.

pub mod daemon;
pub mod host;
pub mod knock;
pub mod lab;
pub mod program;
pub mod scan;
pub mod ssh;
pub mod stopwatch;
pub mod vectors;
pub mod vitals;
pub mod wall;
pub mod wire;

pub use daemon::{Daemon, Setup};
pub use host::Host;
pub use knock::{Keys, Knock};
pub use lab::Lab;
pub use program::Maker;
pub use scan::{PortState, connects, nmap};
pub use ssh::{Session, Sshd};
pub use wall::Wall;

use std::time::{Duration, Instant, SystemTime};

/// Seconds since 1970 by this machine's clock: what the programs under test see too.
pub fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Asks again, about two hundred times, until the answer is yes; false if it was never yes within `patience`.
pub fn eventually(patience: Duration, mut question: impl FnMut() -> bool) -> bool {
    let pause = (patience / 200).clamp(Duration::from_millis(2), Duration::from_millis(200));
    let end = Instant::now() + patience;
    loop {
        if question() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(pause);
    }
}
