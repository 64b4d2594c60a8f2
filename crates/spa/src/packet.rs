//! From the text on the wire to a knock (sections 7 to 9.1). The way back is `seal`.
//!
//! Each step gives a type that only this step can make, so nothing can be decrypted that was not authenticated first, or
//! whose authentication was not waived in so many words.
//!
//! ```text
//! &[u8] ─parse▶ SealedPacket ─authenticate────▶ AuthenticPacket ─decrypt▶ Plaintext ─decode▶ Knock
//!                            ─unauthenticated─▶
//! ```
//!
//! Strangers get as far as `authenticate`. Up to there nothing is allocated, and nothing is compared that would tell by its
//! time where it differs.

use std::fmt;

use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::base64;
use crate::crypto::{BLOCK, CipherMode, DigestType, SALT};
use crate::wire::{self, DecodeError, Decoding};
use crate::{CipherKey, HmacKey, Keys, Knock, ReplayDigest};

/// The constant beginning of every symmetric packet, which is not sent.
pub(crate) const PREFIX: &str = "U2FsdGVkX1";
/// The same of an OpenPGP packet.
pub(crate) const GPG_PREFIX: &str = "hQ";
pub(crate) const MAGIC: &[u8] = b"Salted__";
/// Texts on the wire have at least this many characters …
const SHORTEST: usize = 36;
/// … and fewer than this.
pub(crate) const END: usize = 1500;
/// From this many characters on, a text counts as OpenPGP (section 9.1).
pub(crate) const GPG_SIZE: usize = 400;
/// The smallest payload that a daemon looks at (section 10.1) …
pub(crate) const LEAST_PAYLOAD: usize = 140;
/// … and the largest. (One of 1500 passes here and is refused by the packet rules.)
pub(crate) const MOST_PAYLOAD: usize = 1500;

/// Why a payload cannot be SPA. Found before any cryptography.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NotSpa {
    /// Shorter than the daemon's window.
    #[error("{0} bytes are too few for a packet")]
    Short(usize),
    /// Longer than the daemon's window.
    #[error("{0} bytes are too many for a packet")]
    Long(usize),
    /// Not 36 to 1499 characters.
    #[error("a packet has 36 to 1499 characters, not {0}")]
    Length(usize),
    /// A constant prefix that clients leave out: a copy that wants another digest.
    #[error("a prefix that is never sent was left in place")]
    Prefix,
    /// An HTTP request of another user agent.
    #[error("an HTTP request, but not of an SPA client")]
    Agent,
    /// A byte outside the alphabet of base64; `=` is outside, too.
    #[error("a byte is not base64")]
    Alphabet,
}

impl NotSpa {
    /// The stable reason code of the protocol description, section 12.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Short(_) => "E_INGRESS_SHORT",
            Self::Long(_) => "E_INGRESS_LONG",
            Self::Length(_) => "E_PACKET_LEN",
            Self::Prefix => "E_INGRESS_PREFIX",
            Self::Agent => "E_INGRESS_AGENT",
            Self::Alphabet => "E_NOT_BASE64",
        }
    }
}

/// A captured packet with its prefix put back would have another replay digest, and not look like a replay.
pub(crate) fn no_prefix(payload: &[u8]) -> Result<(), NotSpa> {
    let gpg = payload.len() > GPG_SIZE && payload.starts_with(GPG_PREFIX.as_bytes());
    if gpg || payload.starts_with(PREFIX.as_bytes()) { Err(NotSpa::Prefix) } else { Ok(()) }
}

/// A packet as it came off the wire: 36 to 1499 characters, right alphabet, nothing proven.
#[derive(Clone, Copy)]
pub struct SealedPacket<'p>(&'p str);

impl<'p> SealedPacket<'p> {
    /// Refuses, before any cryptography and without allocating, what cannot be SPA.
    ///
    /// A daemon's narrower window of 140 to 1500 bytes is a rule of [`ingress`](crate::ingress).
    pub fn parse(payload: &'p [u8]) -> Result<Self, NotSpa> {
        if !(SHORTEST..END).contains(&payload.len()) {
            return Err(NotSpa::Length(payload.len()));
        }
        no_prefix(payload)?;
        let base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
        match std::str::from_utf8(payload) {
            Ok(text) if payload.iter().all(base64) => Ok(Self(text)),
            _ => Err(NotSpa::Alphabet),
        }
    }

    /// The text, as it was sent.
    #[must_use]
    pub fn text(&self) -> &'p str {
        self.0
    }

    /// Whether its size makes it an OpenPGP packet for a receiver that has no reason to try otherwise (section 9.1).
    #[must_use]
    pub fn is_of_gpg_size(&self) -> bool {
        self.0.len() >= GPG_SIZE
    }

    /// The name of this packet in the replay store (section 11.2).
    #[must_use]
    pub fn replay_digest(&self) -> ReplayDigest {
        ReplayDigest::of(self.0)
    }

    /// Checks the HMAC, in constant time and without allocating. Nothing of the packet is looked at otherwise.
    pub fn authenticate(&self, key: &HmacKey) -> Result<AuthenticPacket<'p>, OpenError> {
        Ok(AuthenticPacket { text: self.authentic_text(key, PREFIX)?, authenticated: true })
    }

    /// The text without its HMAC, which must be right for the text with this prefix.
    pub(crate) fn authentic_text(&self, key: &HmacKey, prefix: &str) -> Result<&'p str, OpenError> {
        let tag_at = self.0.len().checked_sub(key.digest().text_length()).filter(|rest| *rest >= SHORTEST);
        let (text, tag) = tag_at.and_then(|at| self.0.split_at_checked(at)).ok_or(OpenError::HmacShort)?;
        let expected = key.state().tag(&[prefix.as_bytes(), text.as_bytes()]);
        if expected.as_bytes().ct_eq(tag.as_bytes()).into() { Ok(text) } else { Err(OpenError::Hmac) }
    }

    /// Takes the packet as it is, for a stanza without an HMAC key. Whoever sent it may have altered it.
    #[must_use]
    pub fn unauthenticated(&self) -> AuthenticPacket<'p> {
        AuthenticPacket { text: self.0, authenticated: false }
    }

    /// All steps: authenticate (where the keys have an HMAC key), decrypt, decode.
    pub fn open(&self, keys: &Keys, decoding: &Decoding) -> Result<Knock, OpenError> {
        let packet = match &keys.hmac {
            Some(key) => self.authenticate(key)?,
            None => self.unauthenticated(),
        };
        Ok(packet.decrypt(&keys.cipher, keys.mode)?.decode(decoding)?)
    }
}

impl fmt::Debug for SealedPacket<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedPacket({} characters)", self.0.len())
    }
}

/// A packet whose HMAC was right, or whose receiver has no HMAC key and said so.
#[derive(Clone, Copy)]
pub struct AuthenticPacket<'p> {
    text: &'p str,
    authenticated: bool,
}

impl AuthenticPacket<'_> {
    /// Decrypts (sections 7.2 to 7.5).
    pub fn decrypt(&self, key: &CipherKey, mode: CipherMode) -> Result<Plaintext, OpenError> {
        // The original measures the text it then has: with the prefix if an HMAC was verified, else as received.
        let measured = self.text.len() + if self.authenticated { PREFIX.len() } else { 0 };
        if measured >= GPG_SIZE {
            return Err(OpenError::SizeClass);
        }
        let container = base64::decode(&format!("{PREFIX}{}", self.text)).map_err(|_| OpenError::NotBase64)?;
        if container.len() < 2 * BLOCK || container.len() % BLOCK != 0 {
            return Err(OpenError::Block);
        }
        let (header, blocks) = container.split_at(BLOCK);
        let (magic, salt) = header.split_at(MAGIC.len());
        let salt: &[u8; SALT] = salt.try_into().map_err(|_| OpenError::Block)?;
        if magic != MAGIC {
            return Err(OpenError::Magic);
        }
        let mut bytes = Zeroizing::new(blocks.to_vec());
        key.derive(mode, salt).decrypt(mode, &mut bytes);
        let length = bytes.len() - padding(&bytes);
        bytes.truncate(length);
        Ok(Plaintext(bytes))
    }
}

/// How many bytes of padding there are at the end (section 7.5).
///
/// Encoders before 2.5 added none to whole blocks. Whatever is not well-formed padding stays, and is no error of its own: a
/// byte below 17 is not printable, so the decoder refuses it.
fn padding(bytes: &[u8]) -> usize {
    let last = bytes.last().copied().unwrap_or_default();
    let length = usize::from(last);
    let formed = bytes.iter().rev().take(length).all(|byte| *byte == last);
    if length <= BLOCK && formed { length } else { 0 }
}

/// A packet decrypted, and not looked at yet. Wiped when dropped.
pub struct Plaintext(Zeroizing<Vec<u8>>);

impl Plaintext {
    /// What another decryption gave. (For OpenPGP see [`GpgPlaintext`](crate::GpgPlaintext).)
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Reads the knock, whose inner digest must agree (section 5.10).
    pub fn decode(&self, decoding: &Decoding) -> Result<Knock, DecodeError> {
        Ok(self.decode_with_digest(decoding)?.0)
    }

    /// The same, with the digest type that the packet was made with.
    pub fn decode_with_digest(&self, decoding: &Decoding) -> Result<(Knock, DigestType), DecodeError> {
        wire::decode(&self.0, decoding)
    }
}

/// Why a packet does not open. The sender is never told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Too short to carry an HMAC.
    #[error("nothing is left once the HMAC is taken off")]
    HmacShort,
    /// The HMAC is wrong.
    #[error("the HMAC is wrong")]
    Hmac,
    /// Its length makes it a packet of the other kind.
    #[error("its length belongs to the other kind of packet")]
    SizeClass,
    /// Not the only spelling of its bytes.
    #[error("it is not base64, or not its only spelling")]
    NotBase64,
    /// Not whole blocks, or too few.
    #[error("it is not made of whole blocks")]
    Block,
    /// It does not begin as a symmetric packet does.
    #[error("its header is wrong")]
    Magic,
    /// It does not begin as an OpenPGP packet does.
    #[error("it does not begin as an OpenPGP message to an RSA key does")]
    GpgHeader,
    /// What was decrypted is not a knock.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

impl OpenError {
    /// The stable reason code of the protocol description, section 12.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::HmacShort => "E_HMAC_SHORT",
            Self::Hmac => "E_HMAC",
            Self::SizeClass => "E_SIZE_CLASS",
            Self::NotBase64 => "E_NOT_BASE64",
            Self::Block => "E_BLOCK",
            Self::Magic => "E_MAGIC",
            Self::GpgHeader => "E_GPG_DECRYPT",
            Self::Decode(why) => why.reason(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_36_to_1499_characters_of_the_alphabet() {
        for length in [0, 35, 1500, 9000] {
            let parsed = SealedPacket::parse(&vec![b'A'; length]).map(|packet| packet.text().len());
            assert_eq!(parsed, Err(NotSpa::Length(length)));
        }
        for length in [36, 399, 400, 1499] {
            let packet = vec![b'A'; length];
            assert_eq!(SealedPacket::parse(&packet).map(|packet| packet.is_of_gpg_size()), Ok(length >= 400));
        }
        for byte in (0..=u8::MAX).filter(|byte| !byte.is_ascii_alphanumeric() && !b"+/".contains(byte)) {
            for at in [0, 100, 199] {
                let mut packet = [b'A'; 200];
                packet[at] = byte;
                assert_eq!(SealedPacket::parse(&packet).map(|_| ()), Err(NotSpa::Alphabet), "{byte:#x} at {at}");
            }
        }
    }

    #[test]
    fn a_prefix_left_in_place_is_found_before_anything_else() {
        let with = |prefix: &str, length| prefix.to_owned() + &"A".repeat(length - prefix.len());
        let parse = |text: String| SealedPacket::parse(text.as_bytes()).map(|_| ());
        assert_eq!(parse(with("U2FsdGVkX1", 200)), Err(NotSpa::Prefix));
        assert_eq!(parse(with("hQ", 401)), Err(NotSpa::Prefix));
        assert_eq!(parse(with("hQ", 400)), Ok(()), "a symmetric packet may begin so, one of GPG is longer");
    }

    #[test]
    fn something_must_be_left_once_the_hmac_is_taken_off() {
        let key = HmacKey::from_text(DigestType::Sha512, "battery staple").unwrap();
        for (length, why) in [(36, OpenError::HmacShort), (121, OpenError::HmacShort), (122, OpenError::Hmac)] {
            let text = "A".repeat(length);
            let authentic = SealedPacket::parse(text.as_bytes()).unwrap().authenticate(&key);
            assert_eq!(authentic.map(|_| ()), Err(why), "{length}");
        }
    }

    #[test]
    fn only_well_formed_padding_is_taken_off() {
        let table: [(&[u8], usize); 7] = [
            (&[16; 16], 16),
            (b"fifteen bytes..\x01", 1),
            (b"fourteen bytes\x02\x02", 2),
            (b"fourteen bytes\x01\x02", 0),
            (b"whole blocks end", 0), // of versions before 2.5
            (b"fifteen bytes..\x00", 0),
            (&[17; 32], 0),
        ];
        for (bytes, length) in table {
            assert_eq!(padding(bytes), length, "{}", bytes.escape_ascii());
        }
    }
}
