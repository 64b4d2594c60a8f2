//! Handing descriptors from one process to another.
//!
//! The warden opens what needs rights (packet sockets, the digest file, pipes) and hands it to a child over a Unix
//! socket that is the child's standard input. Each hand-over says by one byte what it is; descriptors ride along. When
//! the warden's end is closed, or the warden is dead, the child reads the end of its input and knows that it is over.
//! Nothing flows the other way.
//!
//! ```text
//! warden ──▶ Keys                  (to the reader) write the policy with keys into this pipe
//! warden ──▶ Questions             (to a keyring) the listener asks over this socket
//! warden ──▶ Begin                 (to the listener) read the policy from this pipe, and the digests
//!        ──▶ Go                    take over: these sockets are yours
//!        ──▶ Links                 the interfaces that are meant now have these numbers
//!        ──▶ end                   finish what you are doing, and go
//! ```

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

/// Descriptors that one message may carry.
const MOST: usize = 32;

/// What is handed over.
#[derive(Debug)]
pub enum Handover {
    /// To the reader: the pipe into which the policy with its keys goes. Its other end goes to the listener; the warden
    /// keeps neither.
    Keys(OwnedFd),
    /// To a keyring: the socket over which the listener asks.
    Questions(OwnedFd),
    /// To the listener: get ready.
    Begin {
        /// The policy with its keys comes out of this pipe.
        policy: OwnedFd,
        /// The digest file, opened for reading, at its beginning.
        digests: OwnedFd,
        /// The digest file, opened for appending.
        claims: OwnedFd,
        /// Sockets to the keyrings, in the order of [`homes`](crate::keyring::homes).
        keyrings: Vec<OwnedFd>,
    },
    /// To the listener: hear on these sockets from now on.
    Go {
        /// In the order that [`Hearing`](crate::hearing::Hearing) says.
        sockets: Vec<OwnedFd>,
        /// The numbers of the interfaces that are meant.
        links: Vec<u32>,
    },
    /// To the listener: interfaces have come or gone, and these are meant now.
    Links(Vec<u32>),
}

const KEYS: u8 = b'k';
const QUESTIONS: u8 = b'q';
const BEGIN: u8 = b'b';
const GO: u8 = b'g';
const LINKS: u8 = b'l';

impl Handover {
    /// Hands over; the receiver gets its own copies.
    pub fn send(&self, to: &UnixStream) -> io::Result<()> {
        match self {
            Self::Keys(pipe) => send(to, &[KEYS], &[pipe.as_fd()]),
            Self::Questions(socket) => send(to, &[QUESTIONS], &[socket.as_fd()]),
            Self::Begin { policy, digests, claims, keyrings } => {
                let all = [policy, digests, claims].into_iter().chain(keyrings);
                send(to, &[BEGIN], &all.map(AsFd::as_fd).collect::<Vec<_>>())
            }
            Self::Go { sockets, links } => {
                let sockets: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
                send(to, &with_numbers(GO, links)?, &sockets)
            }
            Self::Links(links) => send(to, &with_numbers(LINKS, links)?, &[]),
        }
    }

    /// Waits for the next hand-over; `None` when the other side is done with us.
    pub fn receive(from: impl AsFd) -> io::Result<Option<Self>> {
        let from = from.as_fd();
        let Some((kind, descriptors)) = receive(from)? else { return Ok(None) };
        let mut descriptors = descriptors.into_iter();
        let mut next =
            || descriptors.next().ok_or_else(|| io::Error::other("a descriptor is missing in the hand-over"));
        match kind {
            KEYS => Ok(Some(Self::Keys(next()?))),
            QUESTIONS => Ok(Some(Self::Questions(next()?))),
            BEGIN => {
                let (policy, digests, claims) = (next()?, next()?, next()?);
                Ok(Some(Self::Begin { policy, digests, claims, keyrings: descriptors.collect() }))
            }
            GO => Ok(Some(Self::Go { sockets: descriptors.collect(), links: numbers(from)? })),
            LINKS => Ok(Some(Self::Links(numbers(from)?))),
            _ => Err(io::Error::other("an unknown kind of hand-over")),
        }
    }
}

/// The kind, how many numbers follow, and the numbers.
fn with_numbers(kind: u8, numbers: &[u32]) -> io::Result<Vec<u8>> {
    let count = u8::try_from(numbers.len()).map_err(|_| io::Error::other("too many numbers to hand over"))?;
    Ok([kind, count].into_iter().chain(numbers.iter().flat_map(|number| number.to_be_bytes())).collect())
}

/// What [`with_numbers`] wrote behind the kind.
fn numbers(from: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let [count] = exactly(from)?;
    (0..count).map(|_| Ok(u32::from_be_bytes(exactly(from)?))).collect()
}

fn exactly<const N: usize>(from: BorrowedFd<'_>) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut rest = bytes.as_mut_slice();
    while !rest.is_empty() {
        match rustix::io::read(from, &mut *rest) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => rest = rest.get_mut(read..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(bytes)
}

fn send(to: &UnixStream, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if descriptors.len() > MOST || !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other("too many descriptors to hand over"));
    }
    sendmsg(to, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn receive(from: BorrowedFd<'_>) -> io::Result<Option<(u8, Vec<OwnedFd>)>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut kind = [0];
    let received = recvmsg(from, &mut [IoSliceMut::new(&mut kind)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    if received.bytes == 0 {
        return Ok(None);
    }
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    Ok(Some((kind[0], descriptors)))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read as _, Write as _};

    use super::*;

    #[test]
    fn descriptors_arrive_in_order_and_the_end_is_seen() {
        let (warden, listener) = UnixStream::pair().unwrap();
        let (reading, writing) = io::pipe().unwrap();
        Handover::Keys(reading.into()).send(&warden).unwrap();
        File::from(OwnedFd::from(writing)).write_all(b"SOURCE ANY\n").unwrap();
        let Some(Handover::Keys(pipe)) = Handover::receive(&listener).unwrap() else { panic!("no pipe") };
        let mut policy = String::new();
        File::from(pipe).read_to_string(&mut policy).unwrap();
        assert_eq!(policy, "SOURCE ANY\n");
        drop(warden);
        assert!(Handover::receive(&listener).unwrap().is_none(), "a dead warden is the end");
    }

    #[test]
    fn numbers_arrive_behind_their_kind() {
        let (warden, listener) = UnixStream::pair().unwrap();
        let socket: OwnedFd = File::open("/dev/null").unwrap().into();
        Handover::Go { sockets: vec![socket], links: vec![1, 70_000] }.send(&warden).unwrap();
        Handover::Links(vec![]).send(&warden).unwrap();
        let go = Handover::receive(&listener).unwrap();
        assert!(matches!(go, Some(Handover::Go { sockets, links }) if sockets.len() == 1 && links == [1, 70_000]));
        assert!(matches!(Handover::receive(&listener).unwrap(), Some(Handover::Links(links)) if links.is_empty()));
    }

    #[test]
    fn a_hand_over_without_its_descriptors_is_refused() {
        let (mut warden, listener) = UnixStream::pair().unwrap();
        warden.write_all(&[BEGIN]).unwrap();
        assert!(Handover::receive(&listener).is_err());
        warden.write_all(b"?").unwrap();
        assert!(Handover::receive(&listener).is_err());
    }
}
