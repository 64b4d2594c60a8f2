//! What one packet says, in the clear: a [`Knock`].
//!
//! It holds meaning only. Its spelling is the business of `wire`, its protection that of `packet`.

use crate::{Nonce, ReplayDigest, Request, ServerAuth, UnixTime, Username, Version, wire};

/// The message of one packet: who asks, when, and for what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Knock {
    /// Makes two otherwise equal packets differ. Draw a new one for every packet.
    pub nonce: Nonce,
    /// Who asks.
    pub username: Username,
    /// When the packet was made, by the client's clock.
    pub time: UnixTime,
    /// The protocol version that the client claims; nothing depends on it.
    pub version: Version,
    /// What is asked for.
    pub request: Request,
    /// Carried along, without meaning today.
    pub server_auth: Option<ServerAuth>,
}

impl Knock {
    /// A knock of the present protocol version, without server authentication.
    #[must_use]
    pub fn new(nonce: Nonce, username: Username, time: UnixTime, request: Request) -> Self {
        Self { nonce, username, time, version: Version::default(), request, server_auth: None }
    }

    /// A second name in the replay store: of what is said, not of the packet that said it.
    ///
    /// Where any stanza has no HMAC key, a server should claim this beside
    /// [`SealedPacket::replay_digest`](crate::SealedPacket::replay_digest): anybody can take off an HMAC, or a last block that
    /// is nothing but padding, and for such a stanza the rest may be a good packet that was never seen. Where every stanza
    /// has an HMAC key, the packet's own name is enough.
    #[must_use]
    pub fn content_digest(&self) -> ReplayDigest {
        ReplayDigest::of(&wire::encode(self))
    }
}
