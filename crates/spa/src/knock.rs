//! What one packet says, in the clear: a [`Knock`].
//!
//! It holds meaning only. Its spelling is the business of `wire`, its protection that of `packet`.

use crate::{Nonce, Request, ServerAuth, UnixTime, Username, Version};

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
}
