//! From the text on the wire to a knock, and back (sections 7 to 9.1).
//!
//! Each step gives a type that only this step can make, so nothing can be decrypted that was not authenticated first, or
//! whose authentication was not waived in so many words.
//!
//! ```text
//! &[u8] ─parse▶ SealedPacket ─authenticate▶ AuthenticPacket ─decrypt▶ Plaintext ─decode▶ Knock
//!                            ─unauthenticated▶
//! Knock ──────────────────────────────seal──────────────────────────────────────────▶ Sealed
//! ```

use std::fmt;
use std::str::FromStr;

use rand_core::CryptoRng;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::base64;
use crate::crypto::{BLOCK, CipherMode, DigestType, SALT};
use crate::wire::{self, DecodeError, Decoding};
use crate::{CipherKey, FieldError, HmacKey, Keys, Knock};

/// The constant beginning of every symmetric packet, which is not sent.
const PREFIX: &str = "U2FsdGVkX1";
/// The same of an OpenPGP packet.
const GPG_PREFIX: &str = "hQ";
const MAGIC: &[u8] = b"Salted__";
/// Texts on the wire have at least this many characters …
const SHORTEST: usize = 36;
/// … and fewer than this.
const END: usize = 1500;
/// From this many characters on, a text counts as OpenPGP (section 9.1).
const GPG_SIZE: usize = 400;
/// The smallest payload that a daemon looks at, and the largest (section 10.1).
const INGRESS: std::ops::RangeInclusive<usize> = 140..=1500;

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
            Self::Alphabet => "E_NOT_BASE64",
        }
    }
}

/// The daemon's rules for a payload before anything else is looked at (section 10.1, rules 1 and 2).
pub fn ingress(payload: &[u8]) -> Result<(), NotSpa> {
    if payload.len() < *INGRESS.start() {
        Err(NotSpa::Short(payload.len()))
    } else if payload.len() > *INGRESS.end() {
        Err(NotSpa::Long(payload.len()))
    } else {
        no_prefix(payload)
    }
}

fn no_prefix(payload: &[u8]) -> Result<(), NotSpa> {
    let gpg = payload.len() > GPG_SIZE && payload.starts_with(GPG_PREFIX.as_bytes());
    if gpg || payload.starts_with(PREFIX.as_bytes()) { Err(NotSpa::Prefix) } else { Ok(()) }
}

/// A packet as it came off the wire: right size, right alphabet, nothing proven.
#[derive(Clone, Copy)]
pub struct SealedPacket<'p>(&'p str);

impl<'p> SealedPacket<'p> {
    /// Refuses, before any cryptography and without allocating, what cannot be SPA.
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
        ReplayDigest(Sha256::digest(self.0).into())
    }

    /// Checks the HMAC, in constant time and without allocating. Nothing of the packet is looked at otherwise.
    pub fn authenticate(&self, key: &HmacKey) -> Result<AuthenticPacket<'p>, OpenError> {
        let tag_at = self.0.len().checked_sub(key.digest().text_length()).filter(|rest| *rest >= SHORTEST);
        let (text, tag) = tag_at.and_then(|at| self.0.split_at_checked(at)).ok_or(OpenError::HmacShort)?;
        let expected = key.state().tag(&[PREFIX.as_bytes(), text.as_bytes()]);
        if expected.as_bytes().ct_eq(tag.as_bytes()).into() {
            Ok(AuthenticPacket { text, authenticated: true })
        } else {
            Err(OpenError::Hmac)
        }
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
        let length = unpadded(&bytes)?;
        bytes.truncate(length);
        Ok(Plaintext(bytes))
    }
}

/// How many bytes are left without padding. Encoders before 2.5 added none to whole blocks; their last byte is text.
fn unpadded(bytes: &[u8]) -> Result<usize, OpenError> {
    let last = usize::from(*bytes.last().ok_or(OpenError::Block)?);
    if last > BLOCK {
        return Ok(bytes.len());
    }
    let length = bytes.len().saturating_sub(last);
    let padding = bytes.get(length..).unwrap_or_default();
    let formed = last > 0 && padding.iter().all(|byte| usize::from(*byte) == last);
    if formed { Ok(length) } else { Err(OpenError::Padding) }
}

/// A packet decrypted, and not looked at yet. Wiped when dropped.
pub struct Plaintext(Zeroizing<Vec<u8>>);

impl Plaintext {
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
    /// Its length makes it an OpenPGP packet.
    #[error("its length belongs to an OpenPGP packet")]
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
    /// It ends in a byte that could be padding, and is not.
    #[error("its padding is wrong")]
    Padding,
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
            Self::Padding => "E_PADDING",
            Self::Decode(why) => why.reason(),
        }
    }
}

/// A used packet's name in the replay store: SHA-256 over the text as sent, HMAC included.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReplayDigest([u8; 32]);

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

/// A packet ready to be sent, with what went into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    text: String,
    fields: String,
    digest: String,
    hmac: Option<String>,
}

impl Sealed {
    /// What goes on the wire.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The plaintext without its digest, as the original's dump shows it.
    #[must_use]
    pub fn encoded_fields(&self) -> &str {
        &self.fields
    }

    /// The digest of the fields.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The HMAC, if there is one.
    #[must_use]
    pub fn hmac(&self) -> Option<&str> {
        self.hmac.as_deref()
    }
}

/// Why a knock cannot be sent: every server would drop it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SealError {
    /// A server takes it for an OpenPGP packet.
    #[error(
        "the packet would have {length} characters, and a server drops one of 400 or more: ask for fewer ports or a shorter \
         command, or use a shorter digest or HMAC (at most {most} bytes of plaintext fit, this one has {plaintext})"
    )]
    TooLong {
        /// Characters on the wire.
        length: usize,
        /// Bytes of the plaintext.
        plaintext: usize,
        /// The most bytes of plaintext with these keys.
        most: usize,
    },
    /// The message has more bytes than a decoder takes.
    #[error("address and request together have {0} bytes; servers take at most 192: ask for less")]
    MessageTooLong(usize),
    /// The NAT target has more bytes than a decoder takes.
    #[error("the NAT target has {0} bytes; servers take at most 192: shorten it")]
    NatTooLong(usize),
    /// The time does not fit the format.
    #[error(transparent)]
    Field(#[from] FieldError),
}

impl SealError {
    /// The stable reason code of the protocol description, section 12.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::TooLong { .. } => "E_SIZE_CLASS",
            Self::MessageTooLong(_) => "E_MSG_TOO_LONG",
            Self::NatTooLong(_) => "E_NAT_TOO_LONG",
            Self::Field(why) => why.reason(),
        }
    }
}

/// The longest value of a base64 field, in bytes.
const LONGEST_VALUE: usize = 192;

impl Knock {
    /// Seals the knock with a random salt.
    pub fn seal(&self, keys: &Keys, digest: DigestType, rng: &mut impl CryptoRng) -> Result<Sealed, SealError> {
        let mut salt = [0; SALT];
        rng.fill_bytes(&mut salt);
        self.seal_with_salt(keys, digest, salt)
    }

    /// Seals the knock with a given salt, so that every byte is known. For tests; a salt must not be used twice.
    pub fn seal_with_salt(&self, keys: &Keys, digest: DigestType, salt: [u8; SALT]) -> Result<Sealed, SealError> {
        self.check()?;
        let fields = wire::encode(self);
        let digest = digest.of(fields.as_bytes()).as_str().to_owned();
        let plaintext = Zeroizing::new(format!("{fields}:{digest}"));
        let full = encrypt(&plaintext, keys, &salt);
        let hmac = keys.hmac.as_ref().map(|key| key.state().tag(&[full.as_bytes()]).as_str().to_owned());
        let text = format!("{}{}", full.strip_prefix(PREFIX).unwrap_or_default(), hmac.as_deref().unwrap_or_default());
        if text.len() >= GPG_SIZE {
            let most = most_plaintext(keys);
            return Err(SealError::TooLong { length: text.len(), plaintext: plaintext.len(), most });
        }
        Ok(Sealed { text, fields, digest, hmac })
    }

    fn check(&self) -> Result<(), SealError> {
        self.request.allow().checked()?;
        let message = self.request.message().len();
        if message > LONGEST_VALUE {
            return Err(SealError::MessageTooLong(message));
        }
        let nat = self.request.nat_target().map_or(0, |target| target.to_string().len());
        if nat > LONGEST_VALUE {
            return Err(SealError::NatTooLong(nat));
        }
        if self.time > crate::UnixTime::LAST_ON_WIRE {
            return Err(FieldError::Time.into());
        }
        Ok(())
    }
}

/// Container and base64, prefix included.
fn encrypt(plaintext: &str, keys: &Keys, salt: &[u8; SALT]) -> String {
    let padding = BLOCK - plaintext.len() % BLOCK;
    let mut blocks = Zeroizing::new(Vec::with_capacity(plaintext.len() + padding));
    blocks.extend_from_slice(plaintext.as_bytes());
    blocks.resize(plaintext.len() + padding, u8::try_from(padding).unwrap_or_default());
    keys.cipher.derive(keys.mode, salt).encrypt(keys.mode, &mut blocks);
    let mut container = Vec::with_capacity(BLOCK + blocks.len());
    container.extend_from_slice(MAGIC);
    container.extend_from_slice(salt);
    container.extend_from_slice(&blocks);
    base64::encode(&container)
}

/// The longest plaintext that stays below the size of OpenPGP packets with these keys (section 8.5).
fn most_plaintext(keys: &Keys) -> usize {
    let tag = keys.hmac.as_ref().map_or(0, |key| key.digest().text_length());
    let fits = |plaintext: &usize| {
        let container = (plaintext / BLOCK + 2) * BLOCK;
        (container * 4).div_ceil(3) - PREFIX.len() + tag < GPG_SIZE
    };
    (0..END).take_while(fits).last().unwrap_or_default()
}
