//! The keys of a stanza: [`CipherKey`] encrypts, [`HmacKey`] authenticates.
//!
//! Both are read as the original reads them (sections 7.1 and 8.2), wiped when dropped, and never printed. Neither can be
//! empty: an empty key is a mistake of whoever configured it.

use std::fmt;

use rand_core::CryptoRng;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::base64;
use crate::crypto::{CipherMode, Derived, DigestType, HmacState, SALT};

/// Why bytes or text are no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// No bytes at all.
    #[error("the key is empty")]
    Empty,
    /// A cipher key has at most 32 bytes, a cipher key for legacy mode too.
    #[error("an encryption key has at most 32 bytes; this one has {0}")]
    CipherTooLong(usize),
    /// An HMAC key has at most 136 bytes.
    #[error("an HMAC key has at most 136 bytes; this one has {0}")]
    HmacTooLong(usize),
    /// Not base64.
    #[error("the key does not look like base64")]
    Base64,
}

impl KeyError {
    /// The stable reason code of the protocol description, section 12.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Empty | Self::CipherTooLong(_) => "E_KEY_LEN",
            Self::HmacTooLong(_) => "E_HMAC_KEY_LEN",
            Self::Base64 => "E_NOT_BASE64",
        }
    }
}

/// The key that encrypts: 1 to 32 bytes that are treated as a passphrase, whatever they are.
pub struct CipherKey(Zeroizing<Vec<u8>>);

impl CipherKey {
    /// The most bytes.
    pub const LONGEST: usize = 32;

    /// A key of these bytes.
    pub fn new(bytes: &[u8]) -> Result<Self, KeyError> {
        match bytes.len() {
            0 => Err(KeyError::Empty),
            1..=Self::LONGEST => Ok(Self(Zeroizing::new(bytes.to_vec()))),
            length => Err(KeyError::CipherTooLong(length)),
        }
    }

    /// A key of the bytes of this text (`KEY`).
    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        Self::new(text.as_bytes())
    }

    /// A key from base64 (`KEY_BASE64`), padded or not.
    pub fn from_base64(text: &str) -> Result<Self, KeyError> {
        Self::new(&Zeroizing::new(base64::decode_generously(text).map_err(|_| KeyError::Base64)?))
    }

    /// A new key of `length` random bytes.
    pub fn generate(rng: &mut impl CryptoRng, length: usize) -> Result<Self, KeyError> {
        Self::new(&random(rng, length.min(Self::LONGEST + 1)))
    }

    /// The key as base64 with padding, as files hold it.
    #[must_use]
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(base64::encode_key(self.expose()))
    }

    /// How many bytes it has.
    #[must_use]
    pub fn length(&self) -> usize {
        self.0.len()
    }

    /// What a packet with this salt is encrypted with.
    pub(crate) fn derive(&self, mode: CipherMode, salt: &[u8; SALT]) -> Derived {
        if mode != CipherMode::Legacy {
            return Derived::new(self.expose(), salt);
        }
        const LEGACY: usize = 16;
        let mut key = Zeroizing::new([b'0'; LEGACY]);
        key.iter_mut().zip(self.expose()).for_each(|(filled, byte)| *filled = *byte);
        Derived::new(&*key, salt)
    }

    /// The one way to the bytes, so that every use can be found by its name.
    pub(crate) fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for CipherKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CipherKey(..)")
    }
}

/// The key that authenticates: 1 to 136 bytes, and the digest it is used with.
pub struct HmacKey {
    bytes: Zeroizing<Vec<u8>>,
    digest: DigestType,
    state: HmacState,
}

impl HmacKey {
    /// The most bytes.
    pub const LONGEST: usize = 136;

    /// A key of these bytes, for HMAC with this digest.
    pub fn new(digest: DigestType, bytes: &[u8]) -> Result<Self, KeyError> {
        if bytes.len() > Self::LONGEST {
            return Err(KeyError::HmacTooLong(bytes.len()));
        }
        let state = HmacState::new(digest, bytes).filter(|_| !bytes.is_empty()).ok_or(KeyError::Empty)?;
        Ok(Self { bytes: Zeroizing::new(bytes.to_vec()), digest, state })
    }

    /// A key of the bytes of this text (`HMAC_KEY`).
    pub fn from_text(digest: DigestType, text: &str) -> Result<Self, KeyError> {
        Self::new(digest, text.as_bytes())
    }

    /// A key from base64 (`HMAC_KEY_BASE64`), padded or not.
    pub fn from_base64(digest: DigestType, text: &str) -> Result<Self, KeyError> {
        Self::new(digest, &Zeroizing::new(base64::decode_generously(text).map_err(|_| KeyError::Base64)?))
    }

    /// A new key of `length` random bytes; [`DigestType::usual_key_length`] is what the original makes.
    pub fn generate(rng: &mut impl CryptoRng, digest: DigestType, length: usize) -> Result<Self, KeyError> {
        Self::new(digest, &random(rng, length.min(Self::LONGEST + 1)))
    }

    /// The key as base64 with padding, as files hold it.
    #[must_use]
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(base64::encode_key(&self.bytes))
    }

    /// How many bytes it has.
    #[must_use]
    pub fn length(&self) -> usize {
        self.bytes.len()
    }

    /// The digest it is used with.
    #[must_use]
    pub fn digest(&self) -> DigestType {
        self.digest
    }

    /// Whether it has the same bytes as a cipher key, which both programs of the original refuse.
    #[must_use]
    pub fn equals(&self, cipher: &CipherKey) -> bool {
        *self.bytes == *cipher.0
    }

    pub(crate) fn state(&self) -> &HmacState {
        &self.state
    }
}

impl fmt::Debug for HmacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HmacKey({}, ..)", self.digest)
    }
}

fn random(rng: &mut impl CryptoRng, length: usize) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(vec![0; length]);
    rng.fill_bytes(&mut bytes);
    bytes
}

/// The keys of one stanza.
#[derive(Debug)]
pub struct Keys {
    /// Encrypts.
    pub cipher: CipherKey,
    /// How.
    pub mode: CipherMode,
    /// Authenticates. Without one a packet can be altered by anybody; such stanzas work, as in the original.
    pub hmac: Option<HmacKey>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_neither_empty_nor_longer_than_a_server_takes() {
        let cipher = |length| CipherKey::new(&vec![b'k'; length]).map(|key| key.length());
        assert_eq!([0, 1, 32, 33].map(cipher), [Err(KeyError::Empty), Ok(1), Ok(32), Err(KeyError::CipherTooLong(33))]);
        let hmac = |length| HmacKey::new(DigestType::Sha256, &vec![b'k'; length]).map(|key| key.length());
        assert_eq!([0, 1, 136, 137].map(hmac), [Err(KeyError::Empty), Ok(1), Ok(136), Err(KeyError::HmacTooLong(137))]);
        assert_eq!(HmacKey::from_base64(DigestType::Md5, "====").map(|_| ()), Err(KeyError::Empty));
    }

    #[test]
    fn legacy_mode_counts_16_bytes_and_fills_up_with_the_digit_0() {
        let parts = |mode, key: &str| {
            let derived = CipherKey::from_text(key).unwrap().derive(mode, b"NaClNaCl");
            (derived.parts().0.to_vec(), derived.parts().1.to_vec())
        };
        assert_eq!(parts(CipherMode::Legacy, "short"), parts(CipherMode::Cbc, "short00000000000"));
        assert_eq!(parts(CipherMode::Legacy, "longer than sixteen"), parts(CipherMode::Cbc, "longer than sixt"));
        assert_eq!(parts(CipherMode::Legacy, "sixteen bytes..."), parts(CipherMode::Cbc, "sixteen bytes..."));
    }

    #[test]
    fn keys_are_not_shown() {
        let cipher = CipherKey::from_text("secret").unwrap();
        let hmac = Some(HmacKey::from_text(DigestType::Sha256, "secret").unwrap());
        let shown = format!("{:?}", Keys { cipher, mode: CipherMode::Cbc, hmac });
        assert_eq!(shown, "Keys { cipher: CipherKey(..), mode: Cbc, hmac: Some(HmacKey(SHA256, ..)) }");
    }
}
