//! The few primitives by name: digests, HMAC, key derivation and the modes of AES (sections 6 to 8).
//!
//! Nothing here is of our own making; this file chooses from well-known implementations and gives them the names of the
//! protocol.

use std::fmt;
use std::str::FromStr;

use aes::Aes256;
use aes::cipher::block_padding::NoPadding;
use aes::cipher::{
    BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, KeyInit, KeyIvInit, StreamCipher,
};
use hmac::{Hmac, Mac};
use md5::digest::common::BlockSizeUser;
use md5::{Digest, Md5};
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};
use sha3::{Sha3_256, Sha3_512};
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::base64::ShortText;

/// Bytes of a block of AES, and of an initialisation vector.
pub(crate) const BLOCK: usize = 16;
/// Bytes of a salt.
pub(crate) const SALT: usize = 8;

/// The digests that a packet can carry, and that its HMAC can be made with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DigestType {
    /// 16 bytes.
    Md5,
    /// 20 bytes.
    Sha1,
    /// 32 bytes; what everybody uses.
    #[default]
    Sha256,
    /// 48 bytes.
    Sha384,
    /// 64 bytes.
    Sha512,
    /// 32 bytes (FIPS 202).
    Sha3_256,
    /// 64 bytes (FIPS 202).
    Sha3_512,
}

impl DigestType {
    /// All of them, by their numbers.
    pub const ALL: [Self; 7] =
        [Self::Md5, Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512, Self::Sha3_256, Self::Sha3_512];

    /// The number that the original's field dump shows, 1 to 7.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Md5 => 1,
            Self::Sha1 => 2,
            Self::Sha256 => 3,
            Self::Sha384 => 4,
            Self::Sha512 => 5,
            Self::Sha3_256 => 6,
            Self::Sha3_512 => 7,
        }
    }

    /// Characters of such a digest, or HMAC, in unpadded base64.
    #[must_use]
    pub const fn text_length(self) -> usize {
        match self {
            Self::Md5 => 22,
            Self::Sha1 => 27,
            Self::Sha256 | Self::Sha3_256 => 43,
            Self::Sha384 => 64,
            Self::Sha512 | Self::Sha3_512 => 86,
        }
    }

    /// Bytes of the HMAC key that key generation makes for it (section 8.2; for SHA-3 the length of its SHA-2 sibling).
    #[must_use]
    pub const fn usual_key_length(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 | Self::Sha3_256 => 64,
            Self::Sha384 | Self::Sha512 | Self::Sha3_512 => 128,
        }
    }

    /// The digest of `text`, as text.
    pub(crate) fn of(self, text: &[u8]) -> ShortText {
        match self {
            Self::Md5 => ShortText::of(&Md5::digest(text)),
            Self::Sha1 => ShortText::of(&Sha1::digest(text)),
            Self::Sha256 => ShortText::of(&Sha256::digest(text)),
            Self::Sha384 => ShortText::of(&Sha384::digest(text)),
            Self::Sha512 => ShortText::of(&Sha512::digest(text)),
            Self::Sha3_256 => ShortText::of(&Sha3_256::digest(text)),
            Self::Sha3_512 => ShortText::of(&Sha3_512::digest(text)),
        }
    }
}

impl fmt::Display for DigestType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Md5 => "MD5",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha384 => "SHA384",
            Self::Sha512 => "SHA512",
            Self::Sha3_256 => "SHA3_256",
            Self::Sha3_512 => "SHA3_512",
        })
    }
}

/// A name that is none of those the protocol knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum UnknownName {
    /// Not a digest.
    #[error("not a digest type: use one of md5, sha1, sha256, sha384, sha512, sha3_256, sha3_512")]
    Digest,
    /// Not a mode.
    #[error("not an encryption mode: use one of CBC, ECB, CFB, OFB, CTR, legacy")]
    Mode,
}

impl FromStr for DigestType {
    type Err = UnknownName;

    /// Any case.
    fn from_str(name: &str) -> Result<Self, UnknownName> {
        let same = |known: &Self| known.to_string().eq_ignore_ascii_case(name);
        Self::ALL.into_iter().find(same).ok_or(UnknownName::Digest)
    }
}

/// How AES is used on a packet's blocks. It is not signalled: both sides must be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CipherMode {
    /// Electronic codebook: equal blocks stay equal. For peers that were configured so.
    Ecb,
    /// Cipher block chaining; what everybody uses.
    #[default]
    Cbc,
    /// Cipher feedback of whole blocks.
    Cfb,
    /// Output feedback of whole blocks.
    Ofb,
    /// Counter, 128 bits, big-endian.
    Ctr,
    /// CBC with the key rule of versions before 2.5: 16 bytes, filled up with the digit 0.
    Legacy,
}

impl CipherMode {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Ecb, Self::Cbc, Self::Cfb, Self::Ofb, Self::Ctr, Self::Legacy];

    /// The number that the original's field dump shows.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Ecb => 1,
            Self::Cbc => 2,
            Self::Cfb => 3,
            Self::Ofb => 5,
            Self::Ctr => 6,
            Self::Legacy => 8,
        }
    }
}

impl fmt::Display for CipherMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ecb => "ECB",
            Self::Cbc => "CBC",
            Self::Cfb => "CFB",
            Self::Ofb => "OFB",
            Self::Ctr => "CTR",
            Self::Legacy => "legacy",
        })
    }
}

impl FromStr for CipherMode {
    type Err = UnknownName;

    /// Any case. `PCBC` and `Asymmetric`, which the original knows by name, are no modes of a symmetric packet.
    fn from_str(name: &str) -> Result<Self, UnknownName> {
        let same = |known: &Self| known.to_string().eq_ignore_ascii_case(name);
        Self::ALL.into_iter().find(same).ok_or(UnknownName::Mode)
    }
}

/// An HMAC whose key is already taken in, ready to be copied for each packet (RFC 2104).
#[derive(Clone)]
pub(crate) enum HmacState {
    Md5(Hmac<Md5>),
    Sha1(Hmac<Sha1>),
    Sha256(Hmac<Sha256>),
    Sha384(Hmac<Sha384>),
    Sha512(Hmac<Sha512>),
    Sha3_256(Sponge<Sha3_256>),
    Sha3_512(Sponge<Sha3_512>),
}

impl HmacState {
    /// Takes the key in. HMAC takes keys of any length; the protocol's limit is checked where keys are read.
    pub(crate) fn new(digest: DigestType, key: &[u8]) -> Option<Self> {
        Some(match digest {
            DigestType::Md5 => Self::Md5(KeyInit::new_from_slice(key).ok()?),
            DigestType::Sha1 => Self::Sha1(KeyInit::new_from_slice(key).ok()?),
            DigestType::Sha256 => Self::Sha256(KeyInit::new_from_slice(key).ok()?),
            DigestType::Sha384 => Self::Sha384(KeyInit::new_from_slice(key).ok()?),
            DigestType::Sha512 => Self::Sha512(KeyInit::new_from_slice(key).ok()?),
            DigestType::Sha3_256 => Self::Sha3_256(Sponge::new(key)),
            DigestType::Sha3_512 => Self::Sha3_512(Sponge::new(key)),
        })
    }

    /// The tag over the pieces, one after the other, as text.
    pub(crate) fn tag(&self, pieces: &[&[u8]]) -> ShortText {
        fn finish<M: Mac + Clone>(state: &M, pieces: &[&[u8]]) -> ShortText {
            let mut mac = state.clone();
            pieces.iter().for_each(|piece| mac.update(piece));
            ShortText::of(&mac.finalize().into_bytes())
        }
        match self {
            Self::Md5(state) => finish(state, pieces),
            Self::Sha1(state) => finish(state, pieces),
            Self::Sha256(state) => finish(state, pieces),
            Self::Sha384(state) => finish(state, pieces),
            Self::Sha512(state) => finish(state, pieces),
            Self::Sha3_256(state) => state.tag(pieces),
            Self::Sha3_512(state) => state.tag(pieces),
        }
    }
}

/// HMAC with SHA-3. `hmac::SimpleHmac` computes the same, but leaves the key in memory when it is dropped; these two states
/// wipe themselves.
#[derive(Clone)]
pub(crate) struct Sponge<D> {
    inner: D,
    outer: D,
}

impl<D: Digest + BlockSizeUser + Clone> Sponge<D> {
    fn new(key: &[u8]) -> Self {
        let mut block = Zeroizing::new(vec![0; D::block_size()]);
        if key.len() > block.len() {
            block.iter_mut().zip(D::digest(key)).for_each(|(to, from)| *to = from);
        } else {
            block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
        }
        let mut padded = |pad: u8| {
            block.iter_mut().for_each(|byte| *byte ^= pad);
            D::new_with_prefix(&*block)
        };
        let inner = padded(0x36);
        let outer = padded(0x36 ^ 0x5c); // undoes the first
        Self { inner, outer }
    }

    fn tag(&self, pieces: &[&[u8]]) -> ShortText {
        let mut inner = self.inner.clone();
        pieces.iter().for_each(|piece| inner.update(piece));
        ShortText::of(&self.outer.clone().chain_update(inner.finalize()).finalize())
    }
}

/// What one packet is encrypted with: derived from the key and the packet's salt, wiped after use (section 7.2).
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct Derived {
    key: [u8; 32],
    iv: [u8; BLOCK],
}

impl Derived {
    /// OpenSSL's EVP_BytesToKey with MD5 and one iteration.
    pub(crate) fn new(passphrase: &[u8], salt: &[u8; SALT]) -> Self {
        let round = |before: &[u8]| -> [u8; 16] {
            Md5::new().chain_update(before).chain_update(passphrase).chain_update(salt).finalize().into()
        };
        let (mut first, mut second) = (round(&[]), [0; 16]);
        second.copy_from_slice(&round(&first));
        let iv = round(&second);
        let mut key = [0; 32];
        let (left, right) = key.split_at_mut(16);
        left.copy_from_slice(&first);
        right.copy_from_slice(&second);
        first.zeroize();
        second.zeroize();
        Self { key, iv }
    }

    /// Key and initialisation vector, to be compared with those of the original.
    #[cfg(test)]
    pub(crate) fn parts(&self) -> (&[u8], &[u8]) {
        (&self.key, &self.iv)
    }

    /// Encrypts whole blocks in place.
    pub(crate) fn encrypt(&self, mode: CipherMode, blocks: &mut [u8]) {
        let (key, iv, length) = ((&self.key).into(), (&self.iv).into(), blocks.len());
        let done = match mode {
            CipherMode::Ecb => {
                let aes = Aes256::new(key);
                ecb(blocks, |block| aes.encrypt_block(block));
                Ok(())
            }
            CipherMode::Cbc | CipherMode::Legacy => {
                cbc::Encryptor::<Aes256>::new(key, iv).encrypt_padded::<NoPadding>(blocks, length).map(drop)
            }
            CipherMode::Cfb => {
                cfb_mode::Encryptor::<Aes256>::new(key, iv).encrypt(blocks);
                Ok(())
            }
            CipherMode::Ofb | CipherMode::Ctr => {
                self.stream(mode, blocks);
                Ok(())
            }
        };
        debug_assert!(done.is_ok(), "only whole blocks are encrypted");
    }

    /// Decrypts whole blocks in place.
    pub(crate) fn decrypt(&self, mode: CipherMode, blocks: &mut [u8]) {
        let (key, iv) = ((&self.key).into(), (&self.iv).into());
        match mode {
            CipherMode::Ecb => {
                let aes = Aes256::new(key);
                ecb(blocks, |block| aes.decrypt_block(block));
            }
            CipherMode::Cbc | CipherMode::Legacy => {
                let done = cbc::Decryptor::<Aes256>::new(key, iv).decrypt_padded::<NoPadding>(blocks).map(drop);
                debug_assert!(done.is_ok(), "only whole blocks are decrypted");
            }
            CipherMode::Cfb => cfb_mode::Decryptor::<Aes256>::new(key, iv).decrypt(blocks),
            CipherMode::Ofb | CipherMode::Ctr => self.stream(mode, blocks),
        }
    }

    fn stream(&self, mode: CipherMode, bytes: &mut [u8]) {
        let (key, iv) = ((&self.key).into(), (&self.iv).into());
        match mode {
            CipherMode::Ctr => ctr::Ctr128BE::<Aes256>::new(key, iv).apply_keystream(bytes),
            _ => ofb::Ofb::<Aes256>::new(key, iv).apply_keystream(bytes),
        }
    }
}

fn ecb(blocks: &mut [u8], each: impl Fn(&mut aes::Block)) {
    for block in blocks.chunks_exact_mut(BLOCK) {
        if let Ok(block) = block.try_into() {
            each(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_decrypts_what_it_encrypted_and_no_other_mode_does() {
        let derived = Derived::new(b"correct horse", b"NaClNaCl");
        let plain = [b"sixteen bytes...".as_slice(), &[7; 48]].concat();
        for mode in CipherMode::ALL {
            let mut sealed = plain.clone();
            derived.encrypt(mode, &mut sealed);
            for other in CipherMode::ALL {
                let mut opened = sealed.clone();
                derived.decrypt(other, &mut opened);
                let alike = |mode| if mode == CipherMode::Legacy { CipherMode::Cbc } else { mode };
                assert_eq!(opened == plain, alike(mode) == alike(other), "{mode}, read as {other}");
            }
        }
    }

    #[test]
    fn names_are_read_in_any_case_and_only_those_that_exist() {
        for mode in CipherMode::ALL {
            assert_eq!(mode.to_string().to_uppercase().parse(), Ok(mode));
        }
        for digest in DigestType::ALL {
            assert_eq!(digest.to_string().to_lowercase().parse(), Ok(digest));
        }
        for name in ["", "pcbc", "asymmetric", "CBC ", "aes"] {
            assert_eq!(name.parse::<CipherMode>(), Err(UnknownName::Mode), "{name:?}");
        }
        for name in ["", "sha", "sha-256", "sha3", "sha224"] {
            assert_eq!(name.parse::<DigestType>(), Err(UnknownName::Digest), "{name:?}");
        }
    }
}
