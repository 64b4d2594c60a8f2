//! From a knock to an OpenPGP packet that every server takes (section 9.2): plaintext out, what gpg made of it in.
//!
//! ```text
//! Knock ─unsealed▶ Unsealed ┄gpg, encrypt and sign┄▶ ciphertext ─seal▶ Sealed
//! ```
//!
//! What servers could not open is refused here, with an error that says which key to use instead.

use thiserror::Error;
use zeroize::Zeroizing;

use crate::packet::{END, GPG_PREFIX, GPG_SIZE};
use crate::{DigestType, Fko, HmacKey, Knock, SealError, Sealed, base64, wire};

/// A knock as text, to be encrypted by gpg: binary, to one recipient, signed in the same operation. Wiped when dropped.
pub struct Unsealed {
    fields: String,
    digest: String,
    plaintext: Zeroizing<String>,
}

impl Knock {
    /// The knock as text with its digest. Refuses what no decoder takes.
    pub fn unsealed(&self, digest: DigestType) -> Result<Unsealed, SealError> {
        self.check()?;
        let fields = wire::encode(self);
        let digest = digest.of(fields.as_bytes()).as_str().to_owned();
        let plaintext = Zeroizing::new(format!("{fields}:{digest}"));
        Ok(Unsealed { fields, digest, plaintext })
    }
}

impl Unsealed {
    /// What gpg is to encrypt; no line end, no terminator.
    #[must_use]
    pub fn plaintext(&self) -> &[u8] {
        self.plaintext.as_bytes()
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

    /// Makes a packet of what gpg made of the plaintext.
    pub fn seal(self, ciphertext: &[u8], hmac: Option<&HmacKey>) -> Result<Sealed, SealError> {
        let full = base64::encode(ciphertext);
        let rest = full.strip_prefix(GPG_PREFIX).ok_or_else(|| SealError::Gpg(unfit(ciphertext)))?;
        let hmac = hmac.map(|key| key.state().tag(&[full.as_bytes()]).as_str().to_owned());
        let text = format!("{rest}{}", hmac.as_deref().unwrap_or_default());
        let longest = text.len().max(full.len());
        if longest >= END {
            return Err(SealError::Gpg(GpgUnfit::TooLong(longest)));
        }
        if full.len() < GPG_SIZE {
            return Err(SealError::Gpg(GpgUnfit::TooShort(full.len())));
        }
        Ok(Sealed { text, fields: self.fields, digest: self.digest, hmac })
    }
}

/// Why what gpg made fits into no packet. Servers put the same two characters before every packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GpgUnfit {
    /// Encrypted to a key of an elliptic curve.
    #[error(
        "it is encrypted to an elliptic-curve key, which servers of this protocol cannot read: let the server have an RSA \
         encryption key of 2048 to 4096 bits (the signing key may be of any kind)"
    )]
    Elliptic,
    /// Encrypted to a key of fewer than 2048 bits.
    #[error(
        "it is encrypted to a key of fewer than 2048 bits, which servers of this protocol cannot read: let the server have \
         an RSA encryption key of 2048 to 4096 bits"
    )]
    ShortKey,
    /// Packet headers of the new form.
    #[error("its packets have headers of the new form, which servers of this protocol cannot read: use GnuPG")]
    NewFormat,
    /// Text in place of binary data.
    #[error("it is armored, and only binary data fits: is there an 'armor' line in gpg.conf?")]
    Armored,
    /// It does not begin with a session key for a recipient.
    #[error("it is not encrypted to a recipient's key")]
    NotEncrypted,
    /// It has 1500 characters or more.
    #[error(
        "encrypted and signed it has {0} characters, and a packet at most 1499: use a smaller key or an ed25519 key to sign \
         with (saves about 280 characters), a recipient's key of 2048 bits, or a shorter HMAC"
    )]
    TooLong(usize),
    /// Servers take fewer than 400 characters for a symmetric packet. No key makes so few.
    #[error("it has {0} characters, and servers take fewer than 400 for a symmetric packet")]
    TooShort(usize),
}

impl GpgUnfit {
    /// The stable reason code of the protocol description, section 12.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::TooLong(_) => "E_PACKET_LEN",
            Self::TooShort(_) => "E_SIZE_CLASS",
            _ => "E_GPG_PREFIX",
        }
    }

    /// What the original would have said, had it noticed.
    #[must_use]
    pub fn fko(self) -> Fko {
        match self {
            Self::TooLong(_) | Self::TooShort(_) => Fko {
                number: 59,
                text: "Args contain invalid data: FKO_ERROR_INVALID_DATA_ENCRYPT_GPG_RESULT_MSGLEN_VALIDFAIL",
            },
            _ => Fko { number: 122, text: "Error during the encrypt and sign operation" },
        }
    }
}

/// What a message is that does not begin as it should.
fn unfit(ciphertext: &[u8]) -> GpgUnfit {
    match ciphertext {
        // one byte of length, version 3, key id, algorithm
        [0x84, _, 3, _, _, _, _, _, _, _, _, 18 | 25, ..] => GpgUnfit::Elliptic,
        [0x84, ..] => GpgUnfit::ShortKey,
        [0xc1, ..] => GpgUnfit::NewFormat,
        [b'-', b'-', b'-', b'-', b'-', b'B', ..] => GpgUnfit::Armored,
        _ => GpgUnfit::NotEncrypted,
    }
}

#[cfg(test)]
mod tests {
    use crate::{Decoding, GpgPlaintext, Nat, Nonce, Recipients, Request, SealedPacket, UnixTime};

    use super::*;

    fn knock() -> Knock {
        let request = Request::Access {
            allow: "198.51.100.7".parse().unwrap(),
            ports: "tcp/22".parse().unwrap(),
            nat: Nat::None,
            timeout: None,
        };
        let nonce: Nonce = "1234567890123456".parse().unwrap();
        Knock::new(nonce, "alice".parse().unwrap(), UnixTime(1_700_000_000), request)
    }

    fn message(head: &[u8], length: usize) -> Vec<u8> {
        let mut bytes = head.to_vec();
        bytes.resize(length, 0x55);
        bytes
    }

    const RSA: [u8; 15] = [0x85, 0x01, 0x0c, 3, 1, 2, 3, 4, 5, 6, 7, 8, 1, 7, 0xff];

    #[test]
    fn what_is_sealed_is_what_a_server_reads() {
        let key = HmacKey::new(DigestType::Sha512, b"a key").unwrap();
        for hmac in [None, Some(&key)] {
            let unsealed = knock().unsealed(DigestType::Sha256).unwrap();
            let plaintext = GpgPlaintext::new(unsealed.plaintext().to_vec());
            let sealed = unsealed.seal(&message(&RSA, 600), hmac).unwrap();
            let packet = SealedPacket::parse(sealed.text().as_bytes()).unwrap();
            let packet = match hmac {
                Some(key) => packet.authenticate_gpg(key, Recipients::Stock),
                None => packet.unauthenticated_gpg(Recipients::Stock),
            };
            assert_eq!(packet.unwrap().ciphertext().unwrap().as_bytes(), message(&RSA, 600));
            assert_eq!(plaintext.decode(&Decoding::default()), Ok(knock()));
        }
    }

    #[test]
    fn what_no_server_could_open_is_refused_with_its_reason() {
        let key = HmacKey::new(DigestType::Sha512, b"a key").unwrap();
        let elliptic = [0x84, 0x5e, 3, 1, 2, 3, 4, 5, 6, 7, 8, 18];
        let short_rsa = [0x84, 0x8c, 3, 1, 2, 3, 4, 5, 6, 7, 8, 1];
        for (bytes, why) in [
            (message(&elliptic, 600), GpgUnfit::Elliptic),
            (message(&short_rsa, 600), GpgUnfit::ShortKey),
            (message(&[0xc1, 0xc0, 0x4c, 3], 600), GpgUnfit::NewFormat),
            (message(b"-----BEGIN PGP MESSAGE-----", 600), GpgUnfit::Armored),
            (message(&[0xa3, 1], 600), GpgUnfit::NotEncrypted),
            (Vec::new(), GpgUnfit::NotEncrypted),
            (message(&RSA, 1125), GpgUnfit::TooLong(1500)),
            (message(&RSA, 1062), GpgUnfit::TooLong(1500)),
            (message(&RSA, 200), GpgUnfit::TooShort(267)),
        ] {
            let hmac = (bytes.len() == 1062).then_some(&key);
            let sealed = knock().unsealed(DigestType::Sha256).unwrap().seal(&bytes, hmac);
            assert_eq!(sealed, Err(SealError::Gpg(why)));
        }
        assert!(knock().unsealed(DigestType::Sha256).unwrap().seal(&message(&RSA, 1124), None).is_ok());
    }
}
