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
    /// To the listener: hear on these packet or datagram sockets from now on.
    Go(Vec<OwnedFd>),
}

const KEYS: u8 = b'k';
const QUESTIONS: u8 = b'q';
const BEGIN: u8 = b'b';
const GO: u8 = b'g';

impl Handover {
    /// Hands over; the receiver gets its own copies.
    pub fn send(&self, to: &UnixStream) -> io::Result<()> {
        match self {
            Self::Keys(pipe) => send(to, KEYS, &[pipe.as_fd()]),
            Self::Questions(socket) => send(to, QUESTIONS, &[socket.as_fd()]),
            Self::Begin { policy, digests, claims, keyrings } => {
                let all = [policy, digests, claims].into_iter().chain(keyrings);
                send(to, BEGIN, &all.map(AsFd::as_fd).collect::<Vec<_>>())
            }
            Self::Go(sockets) => send(to, GO, &sockets.iter().map(AsFd::as_fd).collect::<Vec<_>>()),
        }
    }

    /// Waits for the next hand-over; `None` when the other side is done with us.
    pub fn receive(from: impl AsFd) -> io::Result<Option<Self>> {
        let Some((kind, descriptors)) = receive(from.as_fd())? else { return Ok(None) };
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
            GO => Ok(Some(Self::Go(descriptors.collect()))),
            _ => Err(io::Error::other("an unknown kind of hand-over")),
        }
    }
}

fn send(to: &UnixStream, kind: u8, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if descriptors.len() > MOST || !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other("too many descriptors to hand over"));
    }
    sendmsg(to, &[IoSlice::new(&[kind])], &mut control, SendFlags::NOSIGNAL)?;
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
    fn a_hand_over_without_its_descriptors_is_refused() {
        let (mut warden, listener) = UnixStream::pair().unwrap();
        warden.write_all(&[BEGIN]).unwrap();
        assert!(Handover::receive(&listener).is_err());
        warden.write_all(b"?").unwrap();
        assert!(Handover::receive(&listener).is_err());
    }
}
