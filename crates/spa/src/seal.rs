//! From a knock to a packet that every server takes: [`Knock::seal`], the way back of `packet`.
//!
//! What a server would have to drop is refused here, with an error that says what to shorten.

use rand_core::CryptoRng;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::crypto::{BLOCK, DigestType, SALT};
use crate::packet::{GPG_SIZE, LEAST_PAYLOAD, MAGIC, PREFIX};
use crate::{FieldError, GpgUnfit, Keys, Knock, Request, UnixTime, base64, wire};

/// A packet ready to be sent, with what went into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    pub(crate) text: String,
    pub(crate) fields: String,
    pub(crate) digest: String,
    pub(crate) hmac: Option<String>,
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
    /// A server does not look at payloads this short: a command of a few letters, a user name of one, and MD5 make one.
    #[error(
        "the packet would have {0} characters, and servers look at none with fewer than 140: use a longer user name or digest"
    )]
    TooShort(usize),
    /// The message has more bytes than a decoder takes.
    #[error("address and request together have {0} bytes; servers take at most 192: ask for less")]
    MessageTooLong(usize),
    /// The NAT target has more bytes than a decoder takes.
    #[error("the NAT target has {0} bytes; servers take at most 192: shorten it")]
    NatTooLong(usize),
    /// Server authentication and timeout together have more characters than a decoder takes.
    #[error("the server authentication is too long: it may have at most 192 bytes, and 187 with a timeout")]
    AuthTooLong,
    /// What gpg made of it fits into no packet.
    #[error("servers could not open what gpg made: {0}")]
    Gpg(GpgUnfit),
    /// The time, or the address to allow, does not fit the format.
    #[error(transparent)]
    Field(#[from] FieldError),
}

impl SealError {
    /// The stable reason code of the protocol description, section 12.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::TooLong { .. } => "E_SIZE_CLASS",
            Self::TooShort(_) => "E_INGRESS_SHORT",
            Self::AuthTooLong => "E_AUTH_TOO_LONG",
            Self::MessageTooLong(_) => "E_MSG_TOO_LONG",
            Self::NatTooLong(_) => "E_NAT_TOO_LONG",
            Self::Gpg(why) => why.reason(),
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
        let most = self.most_plaintext(keys);
        if plaintext.len() > most {
            return Err(SealError::TooLong { length: text.len(), plaintext: plaintext.len(), most });
        }
        if text.len() < LEAST_PAYLOAD {
            return Err(SealError::TooShort(text.len()));
        }
        Ok(Sealed { text, fields, digest, hmac })
    }

    /// Refuses what fits no packet of any size.
    pub(crate) fn check(&self) -> Result<(), SealError> {
        self.request.allow().checked()?;
        let message = self.request.message().len();
        if message > LONGEST_VALUE {
            return Err(SealError::MessageTooLong(message));
        }
        let nat = self.request.nat_target().map_or(0, |target| target.to_string().len());
        if nat > LONGEST_VALUE {
            return Err(SealError::NatTooLong(nat));
        }
        let auth = self.server_auth.as_ref().map_or(0, |auth| (auth.as_bytes().len() * 4).div_ceil(3) + 1);
        let timeout = self.request.timeout().map_or(0, |timeout| timeout.to_string().len() + 1);
        if (auth + timeout).saturating_sub(1) > wire::LONGEST_FIELD {
            return Err(SealError::AuthTooLong);
        }
        if self.time > UnixTime::LAST_ON_WIRE {
            return Err(FieldError::Time.into());
        }
        Ok(())
    }
}

impl Knock {
    /// The longest plaintext that a server does not take for an OpenPGP packet with these keys (section 8.5).
    ///
    /// It measures what it received. Only where commands may be run it tries its symmetric keys whatever the size, and
    /// measures the text without its HMAC, but with the prefix.
    fn most_plaintext(&self, keys: &Keys) -> usize {
        let tag = keys.hmac.as_ref().map(|key| key.digest().text_length());
        let fits = |plaintext: &usize| {
            let container = (plaintext / BLOCK + 2) * BLOCK;
            let full = (container * 4).div_ceil(3);
            match (&self.request, tag) {
                (Request::Command { .. }, Some(_)) => full < GPG_SIZE,
                (_, tag) => full - PREFIX.len() + tag.unwrap_or_default() < GPG_SIZE,
            }
        };
        (0..GPG_SIZE).take_while(fits).last().unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CipherKey, CipherMode, HmacKey};

    #[test]
    fn knows_how_much_fits_beside_each_hmac() {
        let keys = |hmac: Option<DigestType>| Keys {
            cipher: CipherKey::from_text("correct horse").unwrap(),
            mode: CipherMode::Cbc,
            hmac: hmac.map(|digest| HmacKey::from_text(digest, "battery staple").unwrap()),
        };
        let knock = |request| {
            let nonce = "1234567890123456".parse().unwrap();
            Knock::new(nonce, "alice".parse().unwrap(), UnixTime(1_700_000_000), request)
        };
        let allow = crate::AllowIp::Source;
        let (nat, timeout) = (crate::Nat::None, None);
        let access = knock(Request::Access { allow, ports: "tcp/22".parse().unwrap(), nat, timeout });
        let command = knock(Request::Command { allow, command: crate::CommandText::new("id").unwrap() });
        assert_eq!(access.most_plaintext(&keys(None)), 287);
        assert_eq!(command.most_plaintext(&keys(None)), 287);
        for (digest, most) in DigestType::ALL.into_iter().zip([271, 255, 255, 239, 223, 255, 223]) {
            assert_eq!(access.most_plaintext(&keys(Some(digest))), most, "{digest}");
            assert_eq!(command.most_plaintext(&keys(Some(digest))), 271, "{digest}");
        }
    }

    #[test]
    fn refuses_what_every_server_drops_and_says_what_to_shorten() {
        let keys = Keys { cipher: CipherKey::from_text("k").unwrap(), mode: CipherMode::Cbc, hmac: None };
        let seal =
            |knock: &Knock| knock.seal_with_salt(&keys, DigestType::Md5, [0; SALT]).map(|sealed| sealed.text().len());
        let command = |length: usize| {
            let command = crate::CommandText::new("x".repeat(length)).unwrap();
            let request = crate::Request::Command { allow: crate::AllowIp::Source, command };
            let (nonce, name) = ("0123456789012345".parse().unwrap(), "a".parse().unwrap());
            Knock::new(nonce, name, UnixTime(1_700_000_000), request)
        };
        assert_eq!(seal(&command(5)), Ok(140));
        assert_eq!(seal(&Knock { time: UnixTime(999_999_999), ..command(5) }), Err(SealError::TooShort(118)));
        assert_eq!(seal(&Knock { time: UnixTime(1 << 32), ..command(5) }), Err(FieldError::Time.into()));
        assert!(matches!(seal(&command(170)), Err(SealError::TooLong { most: 287, .. })));
        assert_eq!(seal(&command(185)), Err(SealError::MessageTooLong(193)));
    }
}
