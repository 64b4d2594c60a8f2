//! The line to nftables: a netlink socket that stays open.
//!
//! ```text
//! Batch [begin, change, change, end] ─▶ all of it, or an error that names the change and the reason
//! dump(what)                         ─▶ every object of that kind
//! ```
//!
//! The kernel works a message off while we send it, so answers are there when we look: nothing here
//! blocks. Whoever sends needs CAP_NET_ADMIN at that moment.
use std::io;
use std::os::fd::OwnedFd;

use nix::libc;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{RcvBufForce, SetBool, SndBufForce};
use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::super::FirewallError;
use super::message::{Attributes, Fields, Message, Messages, flag, u32_at, write};

/// Asks the kernel to say in words what it did not like.
#[derive(Clone, Copy, Debug)]
struct ExtendedAck;
nix::setsockopt_impl!(ExtendedAck, libc::SOL_NETLINK, libc::NETLINK_EXT_ACK, bool, SetBool);

/// The part of netfilter that we speak to, in the upper half of each kind.
pub const NFTABLES: u16 = 10 << 8;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// The resource of a batch: nftables, in network byte order.
const BATCH_HEAD: [u8; 4] = [0, 0, 0, 10];
/// How often a dump is tried again because the ruleset changed meanwhile.
const DUMP_TRIES: usize = 20;

/// Changes that happen together or not at all.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    changes: Vec<Change>,
}

#[derive(Clone, Debug)]
struct Change {
    kind: u16,
    flags: u16,
    family: u8,
    attributes: Attributes,
    doing: String,
}

impl Batch {
    /// Adds a change; `doing` says in words what it does, for when it fails.
    pub fn push(&mut self, kind: u16, flags: u16, family: u8, attributes: Attributes, doing: impl Into<String>) {
        let doing = doing.into();
        self.changes.push(Change { kind, flags, family, attributes, doing });
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// What it does, in words.
    pub fn doings(&self) -> impl Iterator<Item = &str> {
        self.changes.iter().map(|change| change.doing.as_str())
    }
}

/// A socket to nftables.
#[derive(Debug)]
pub struct Socket {
    line: OwnedFd,
    sequence: u32,
}

impl Socket {
    /// Opens a line for questions and changes.
    ///
    /// # Errors
    ///
    /// When this kernel has no netfilter, or the process may not open sockets.
    pub fn open() -> Result<Self, FirewallError> {
        Ok(Self { line: connect(0).map_err(FirewallError::Socket)?, sequence: 0 })
    }

    /// The number by which events name this socket as their cause.
    pub fn port(&self) -> Option<u32> {
        let address = rustix::net::getsockname(&self.line).ok()?;
        SocketAddrNetlink::try_from(address).ok().map(|address| address.pid())
    }

    /// Does all changes of a batch, or none.
    ///
    /// # Errors
    ///
    /// The first change that was refused, with the kernel's reason.
    pub fn commit(&mut self, batch: &Batch) -> Result<(), FirewallError> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        let begin = self.next();
        write(&mut bytes, BATCH_BEGIN, flag::REQUEST, begin, BATCH_HEAD, &[]);
        let last = batch.changes.len().saturating_sub(1);
        for (n, change) in batch.changes.iter().enumerate() {
            let Change { kind, family, attributes, .. } = change;
            // One answer is enough: refusals are told in any case.
            let flags = change.flags | flag::REQUEST | if n == last { flag::ACK } else { 0 };
            let sequence = self.next();
            write(&mut bytes, NFTABLES | kind, flags, sequence, [*family, 0, 0, 0], attributes.as_bytes());
        }
        let end = self.next();
        write(&mut bytes, BATCH_END, flag::REQUEST, end, BATCH_HEAD, &[]);
        let doing = |sequence: u32| {
            let at = usize::try_from(sequence.wrapping_sub(begin).wrapping_sub(1)).unwrap_or(usize::MAX);
            batch.changes.get(at).map_or("the whole change", |change| change.doing.as_str())
        };
        let failed = |doing: &str, source: io::Error| FirewallError::Kernel {
            doing: doing.into(),
            reason: source.to_string(),
            source,
        };
        self.send(&bytes).map_err(|error| failed("sending the change", error))?;
        let mut done = false;
        while let Some(datagram) = self.receive().map_err(|error| failed("hearing of the change", error))? {
            for message in Messages(&datagram).filter(|message| message.kind == ERROR) {
                match refusal(&message) {
                    _ if message.sequence < begin => {} // left over from a question that was given up
                    Some((source, reason)) => {
                        let doing = doing(message.sequence).to_owned();
                        self.receive_all();
                        return Err(FirewallError::Kernel { doing, reason, source });
                    }
                    None => done = true,
                }
            }
        }
        let silence = || failed("the whole change", io::Error::other("the kernel did not answer"));
        if done { Ok(()) } else { Err(silence()) }
    }

    /// Hands every object of a kind to `see`.
    ///
    /// # Errors
    ///
    /// When the kernel refuses, or the ruleset changes all the time.
    pub fn dump(
        &mut self,
        kind: u16,
        family: u8,
        attributes: &Attributes,
        mut see: impl FnMut(&Message<'_>),
    ) -> Result<(), FirewallError> {
        let failed = |source: io::Error| FirewallError::Kernel {
            doing: "reading the ruleset".into(),
            reason: source.to_string(),
            source,
        };
        for _ in 0..DUMP_TRIES {
            let sequence = self.next();
            let mut question = Vec::new();
            let head = [family, 0, 0, 0];
            let flags = flag::REQUEST | flag::DUMP;
            write(&mut question, NFTABLES | kind, flags, sequence, head, attributes.as_bytes());
            self.send(&question).map_err(failed)?;
            match self.hear_dump(sequence).map_err(failed)? {
                Some(datagrams) => {
                    let answers = |message: &Message<'_>| message.kind & 0xff00 == NFTABLES;
                    datagrams.iter().flat_map(|bytes| Messages(bytes)).filter(answers).for_each(|m| see(&m));
                    return Ok(());
                }
                None => continue,
            }
        }
        Err(failed(io::Error::other("the ruleset never stands still")))
    }

    /// All of one answer; `None` if the ruleset changed meanwhile.
    fn hear_dump(&mut self, sequence: u32) -> io::Result<Option<Vec<Vec<u8>>>> {
        let (mut datagrams, mut whole) = (Vec::new(), true);
        loop {
            let Some(datagram) = self.receive()? else {
                return Err(io::Error::other("the kernel stopped in the middle of its answer"));
            };
            for message in Messages(&datagram).filter(|message| message.sequence == sequence) {
                whole &= message.flags & flag::DUMP_INTERRUPTED == 0;
                match message.kind {
                    DONE => return Ok(whole.then_some(datagrams)),
                    ERROR => match refusal(&message) {
                        Some((error, _)) if error.raw_os_error() == Some(libc::EINTR) => whole = false,
                        Some((error, _)) => return Err(error),
                        None => {}
                    },
                    _ => {}
                }
            }
            datagrams.push(datagram);
        }
    }

    fn next(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        // Named, so that the kernel asks for the rights of this process and not of who opened the socket.
        let kernel = SocketAddrNetlink::new(0, 0);
        let sent = rustix::net::sendto(&self.line, bytes, SendFlags::empty(), &kernel)?;
        if sent == bytes.len() { Ok(()) } else { Err(io::Error::other("the message was cut")) }
    }

    fn receive(&self) -> io::Result<Option<Vec<u8>>> {
        receive(&self.line)
    }

    fn receive_all(&self) {
        while let Ok(Some(_)) = self.receive() {}
    }
}

/// A socket that hears these groups.
pub(super) fn connect(groups: u32) -> io::Result<OwnedFd> {
    let line = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        Some(netlink::NETFILTER),
    )?;
    rustix::net::bind(&line, &SocketAddrNetlink::new(0, groups))?;
    // These only make things nicer: reasons in words, room for bursts of events, and for batches that
    // put back thousands of doors. Room is not taken before it is used.
    let _ = setsockopt(&line, ExtendedAck, &true);
    let _ = setsockopt(&line, RcvBufForce, &(4 << 20));
    let _ = setsockopt(&line, SndBufForce, &(64 << 20));
    Ok(line)
}

/// One datagram, if one is there.
pub(super) fn receive(line: &OwnedFd) -> io::Result<Option<Vec<u8>>> {
    let mut datagram = vec![0; 65536];
    loop {
        match rustix::net::recv(line, datagram.as_mut_slice(), RecvFlags::empty()) {
            Ok((_, length)) => {
                datagram.truncate(length);
                return Ok(Some(datagram));
            }
            Err(Errno::AGAIN) => return Ok(None),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The kernel's error, and its words for it; `None` if it says that all is well.
fn refusal(message: &Message<'_>) -> Option<(io::Error, String)> {
    const CAPPED: u16 = 0x100;
    const HAS_WORDS: u16 = 0x200;
    const IN_WORDS: u16 = 1;
    let number = u32_at(message.body, 0)?.wrapping_neg();
    let source = io::Error::from_raw_os_error(i32::try_from(number).ok()?);
    if number == 0 {
        return None;
    }
    // Behind the number: the header of what we sent, and unless capped all of it, then the words.
    let sent = if message.flags & CAPPED != 0 { 16 } else { u32_at(message.body, 4)? };
    let at = 4 + usize::try_from(sent).ok()?.next_multiple_of(4);
    let words = message.body.get(at..).and_then(|rest| Fields(rest).text(IN_WORDS));
    let said = words.filter(|_| message.flags & HAS_WORDS != 0);
    let reason = said.map_or_else(|| explain(&source), |words| format!("{words} ({source})"));
    Some((source, reason))
}

/// What the usual errors mean here.
fn explain(error: &io::Error) -> String {
    let meaning = match error.raw_os_error() {
        Some(libc::EPERM) => "this takes CAP_NET_ADMIN, or the table belongs to another program",
        Some(libc::ENOENT) => "a table, chain or set it needs is not there",
        Some(libc::EOPNOTSUPP) => "this kernel was built without it",
        Some(libc::ENFILE | libc::ENOSPC) => "a set is full",
        _ => return error.to_string(),
    };
    format!("{meaning} ({error})")
}
