//! The name of a used packet: [`ReplayDigest`] (section 11.2).
//!
//! It is made over the text as sent, where the HMAC's input is the text with its prefix: the opposite of each other. The
//! store that remembers used packets is the server's.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::base64;

/// A used packet's name in the replay store: SHA-256 over the text as sent, HMAC included.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReplayDigest([u8; 32]);

impl ReplayDigest {
    /// Names the packet with this text: HMAC included, prefix absent, HTTP translation undone.
    pub(crate) fn of(text: &str) -> Self {
        Self(Sha256::digest(text).into())
    }
}

impl fmt::Display for ReplayDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(base64::ShortText::of(&self.0).as_str())
    }
}

impl fmt::Debug for ReplayDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReplayDigest({self})")
    }
}

/// Text that is no replay digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a replay digest is 43 characters of base64")]
pub struct NotADigest;

impl FromStr for ReplayDigest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let bytes = base64::decode(text).map_err(|_| NotADigest)?;
        bytes.try_into().map(Self).map_err(|_| NotADigest)
    }
}
