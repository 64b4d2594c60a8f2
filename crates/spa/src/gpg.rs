//! OpenPGP packets, without running OpenPGP (section 9): what a receiver hands to gpg, and what it makes of the answer.
//!
//! Nothing here encrypts, decrypts or verifies: that is done by the gpg program, where its keys are. Whose signature counts
//! is the receiver's business too. The way back is `sealing`.
//!
//! ```text
//! SealedPacket ─authenticate_gpg────▶ GpgPacket ─ciphertext▶ Ciphertext ┄gpg┄▶ GpgPlaintext ─decode▶ Knock
//!              ─unauthenticated_gpg─▶
//! ```
//!
//! The first two characters of such a packet are never sent. All of its senders leave them out whatever they are, and all
//! receivers put `hQ` in their place, which is right for RSA keys from 2048 bits on. A sender that encrypts to a curve 25519 key
//! leaves out `hF`. [`Recipients`] says whether such packets are read as well.

use zeroize::Zeroizing;

use crate::packet::{GPG_PREFIX, GPG_SIZE};
use crate::wire;
use crate::{DecodeError, Decoding, DigestType, HmacKey, Knock, OpenError, SealedPacket, base64};

mod sealing;

pub use sealing::{GpgUnfit, Unsealed};

/// What senders leave out when they encrypt to a curve 25519 key.
const ELLIPTIC_PREFIX: &str = "hF";
/// Characters of which both readings can be told apart: 15 bytes.
const HEAD: usize = 20;

/// Whose packets are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recipients {
    /// Those for RSA keys from 2048 and ElGamal keys from 1024 bits on, as the protocol has it and as the original reads them.
    #[default]
    Stock,
    /// Those for curve 25519 keys as well. The original's client sends them, and no server of its can open them. One packet is
    /// never read in both ways: its head tells which one it is.
    AndElliptic,
}

/// An OpenPGP packet whose HMAC was right, or whose receiver has no HMAC key and said so.
#[derive(Clone, Copy)]
pub struct GpgPacket<'p> {
    text: &'p str,
    prefix: &'static str,
}

impl<'p> SealedPacket<'p> {
    /// Checks the HMAC of an OpenPGP packet, in constant time.
    pub fn authenticate_gpg(&self, key: &HmacKey, recipients: Recipients) -> Result<GpgPacket<'p>, OpenError> {
        let prefix = self.gpg_prefix(recipients)?;
        let text = self.authentic_text(key, prefix)?;
        // As the original does, its size is measured once more without the HMAC, and with the prefix.
        if prefix.len() + text.len() < GPG_SIZE {
            return Err(OpenError::SizeClass);
        }
        Ok(GpgPacket { text, prefix })
    }

    /// Takes an OpenPGP packet as it is, for a stanza without an HMAC key. Whoever sent it may have altered it: key ids in it
    /// are not protected by anything, and foreign packets can stand before and after the message. So a receiver claims what
    /// it says as well: [`Knock::content_digest`].
    pub fn unauthenticated_gpg(&self, recipients: Recipients) -> Result<GpgPacket<'p>, OpenError> {
        Ok(GpgPacket { text: self.text(), prefix: self.gpg_prefix(recipients)? })
    }

    fn gpg_prefix(&self, recipients: Recipients) -> Result<&'static str, OpenError> {
        let text = self.text();
        if !self.is_of_gpg_size() {
            return Err(OpenError::SizeClass);
        }
        if text.starts_with(GPG_PREFIX) {
            return Err(OpenError::GpgHeader); // nothing begins with it twice: it was left in place
        }
        let elliptic = recipients == Recipients::AndElliptic && head(ELLIPTIC_PREFIX, text).is_ok_and(for_elliptic);
        Ok(if elliptic { ELLIPTIC_PREFIX } else { GPG_PREFIX })
    }
}

impl GpgPacket<'_> {
    /// The message as gpg takes it. Refuses what does not begin as one, so that noise never costs a run of gpg.
    pub fn ciphertext(&self) -> Result<Ciphertext, OpenError> {
        let begins = match self.prefix {
            ELLIPTIC_PREFIX => for_elliptic,
            _ => for_rsa,
        };
        if !begins(head(self.prefix, self.text)?) {
            return Err(OpenError::GpgHeader);
        }
        let bytes = base64::decode(&format!("{}{}", self.prefix, self.text)).map_err(|_| OpenError::NotBase64)?;
        Ok(Ciphertext(bytes))
    }
}

fn head(prefix: &str, text: &str) -> Result<[u8; HEAD / 4 * 3], OpenError> {
    let beginning = text.get(..HEAD - prefix.len()).unwrap_or_default();
    let bytes = base64::decode(&format!("{prefix}{beginning}")).map_err(|_| OpenError::NotBase64)?;
    bytes.try_into().map_err(|_| OpenError::GpgHeader)
}

/// A session key for an RSA (1, 2) or ElGamal (16) key: packet kind, two bytes of length, version, key id, algorithm.
fn for_rsa(head: [u8; 15]) -> bool {
    matches!(head, [0x85, _, _, 3, _, _, _, _, _, _, _, _, 1 | 2 | 16, ..])
}

/// A session key for a key of an elliptic curve (18); there is one byte of length.
fn for_elliptic(head: [u8; 15]) -> bool {
    matches!(head, [0x84, _, 3, _, _, _, _, _, _, _, _, 18, ..])
}

/// An OpenPGP message, to be decrypted: at most 1126 bytes. Only a packet that authenticated gives one, or one whose
/// authentication was waived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ciphertext(Vec<u8>);

impl Ciphertext {
    /// The message, binary.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What gpg made of a [`Ciphertext`], not looked at yet. Wiped when dropped.
pub struct GpgPlaintext(Zeroizing<Vec<u8>>);

impl GpgPlaintext {
    /// What gpg gave.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Reads the knock, whose inner digest must agree (sections 5.10 and 9.3).
    ///
    /// A wrong key shows in gpg already, so a random value that is not 16 digits is a fault of its own here. The original takes
    /// any 16 characters and ends the text at its first NUL; both are refused.
    pub fn decode(&self, decoding: &Decoding) -> Result<Knock, DecodeError> {
        Ok(self.decode_with_digest(decoding)?.0)
    }

    /// The same, with the digest type that the packet was made with.
    pub fn decode_with_digest(&self, decoding: &Decoding) -> Result<(Knock, DigestType), DecodeError> {
        wire::decode_gpg(&self.0, decoding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message that begins like one for an RSA key of 2048 bits.
    fn message() -> Vec<u8> {
        let mut bytes = vec![0x85, 0x01, 0x0c, 3, 1, 2, 3, 4, 5, 6, 7, 8, 1, 7, 0xff];
        bytes.resize(600, 0x55);
        bytes
    }

    fn sent(message: &[u8]) -> String {
        base64::encode(message).split_off(2)
    }

    fn read(text: &str, recipients: Recipients) -> Result<Ciphertext, OpenError> {
        SealedPacket::parse(text.as_bytes()).unwrap().unauthenticated_gpg(recipients)?.ciphertext()
    }

    #[test]
    fn the_prefix_is_put_back() {
        let text = sent(&message());
        for recipients in [Recipients::Stock, Recipients::AndElliptic] {
            assert_eq!(read(&text, recipients).unwrap().as_bytes(), message());
        }
    }

    #[test]
    fn what_does_not_begin_as_a_message_is_refused_before_gpg_sees_it() {
        let versions = |at: usize, byte: u8| {
            let mut bytes = message();
            bytes[at] = byte;
            read(&sent(&bytes), Recipients::AndElliptic)
        };
        for (at, byte) in [(3, 2), (3, 6), (12, 18), (12, 0)] {
            assert_eq!(versions(at, byte), Err(OpenError::GpgHeader), "byte {at} is {byte}");
        }
        assert!(versions(12, 16).is_ok(), "ElGamal");
        assert_eq!(read(&"A".repeat(500), Recipients::Stock), Err(OpenError::GpgHeader));
        let kept = format!("hQ{}", &sent(&message())[..398]);
        assert_eq!(read(&kept, Recipients::Stock), Err(OpenError::GpgHeader), "the prefix was left in place");
    }

    #[test]
    fn a_message_for_an_elliptic_curve_is_read_only_by_those_who_ask() {
        let mut bytes = vec![0x84, 0x5e, 3, 1, 2, 3, 4, 5, 6, 7, 8, 18, 1, 7, 0x40];
        bytes.resize(500, 0x55);
        let text = sent(&bytes);
        assert_eq!(read(&text, Recipients::Stock), Err(OpenError::GpgHeader));
        assert_eq!(read(&text, Recipients::AndElliptic).unwrap().as_bytes(), bytes);
    }

    #[test]
    fn size_decides_the_kind() {
        let text = sent(&message());
        assert_eq!(read(&text[..399], Recipients::Stock), Err(OpenError::SizeClass));
        let key = HmacKey::new(DigestType::Sha256, b"a key").unwrap();
        let short = &text[..300];
        let hmac = key.state().tag(&[b"hQ", short.as_bytes()]);
        let packet = format!("{short}{}{}", hmac.as_str(), "A".repeat(400 - 343));
        let packet = SealedPacket::parse(packet.as_bytes()).unwrap();
        assert_eq!(packet.authenticate_gpg(&key, Recipients::Stock).err(), Some(OpenError::Hmac));
        let short = &text[..370];
        let packet = format!("{short}{}", key.state().tag(&[b"hQ", short.as_bytes()]).as_str());
        let packet = SealedPacket::parse(packet.as_bytes()).unwrap();
        assert_eq!(packet.authenticate_gpg(&key, Recipients::Stock).err(), Some(OpenError::SizeClass));
    }

    #[test]
    fn the_hmac_covers_the_prefix_that_was_left_out() {
        let key = HmacKey::new(DigestType::Sha256, b"a key").unwrap();
        let text = sent(&message());
        for (prefix, right) in [("hQ", true), ("hF", false), ("", false)] {
            let packet = format!("{text}{}", key.state().tag(&[prefix.as_bytes(), text.as_bytes()]).as_str());
            let packet = SealedPacket::parse(packet.as_bytes()).unwrap();
            assert_eq!(packet.authenticate_gpg(&key, Recipients::Stock).is_ok(), right, "{prefix}");
        }
    }
}
