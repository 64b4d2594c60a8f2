//! The packet: what is asked becomes a knock, a knock and two keys become text, and a test reads the text back.
//!
//! Everything that is said about a packet that cannot be is said before anything is sent: too long for any server, a key of the wrong length.
//! Cryptography and wire format are `spa`'s. Spec: client.md sections 1 (steps 16 to 23), 12.4, 13.
//!
//! ```text
//! Settings, Plan ─▶ Knock ─▶ Packet ─▶ text      and in a test: text ─▶ Knock
//! ```

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use rand_core::CryptoRng;
use spa::{
    AllowIp, CipherKey, CipherMode, DecodeError, Decoding, DigestType, FieldError, HmacKey, Keys, Knock, Nonce,
    OpenError, Recipients, SealError, Sealed, SealedPacket, Timeout, UnixTime,
};

use crate::{
    address,
    dump::{Encryption, Fields},
    failure::Library,
    gpg::Envelope,
    keys, message,
    output::{Output, reason},
    passphrase::Passphrase,
    plan::Plan,
    settings::{Allow, Name, SecretBytes, Settings, Value},
    user,
};

/// What ends a knock before it is sent. Displays as the lines for standard error.
#[derive(Debug, thiserror::Error)]
pub enum PacketError {
    /// In the words of the original's library.
    #[error(transparent)]
    Library(#[from] Library),
    /// The address to allow was not found.
    #[error(transparent)]
    Address(#[from] address::Unresolved),
    /// What is asked makes no request.
    #[error(transparent)]
    Message(#[from] message::BadRequest),
    /// No keys.
    #[error(transparent)]
    Keys(#[from] keys::KeyError),
    /// The packet file cannot be written.
    #[error("write_spa_packet_data: {}: {}", .path.display(), reason(.source))]
    #[allow(missing_docs)]
    File { path: PathBuf, source: io::Error },
}

/// Puts the knock together: whom to let in is found out, what is asked is checked.
///
/// # Errors
/// If the address is not found or what is asked makes no knock.
pub fn knock(
    settings: &Settings,
    plan: &Plan,
    rng: &mut impl CryptoRng,
    output: &mut Output<'_>,
) -> Result<Knock, PacketError> {
    let time = time(settings)?;
    let allow = match plan.allow {
        None => None,
        Some(Allow::Source) => Some(AllowIp::Source),
        Some(Allow::Address(address)) => {
            Some(AllowIp::try_from(address).map_err(|error| Library::field(message::SET, error))?)
        }
        Some(Allow::Resolve) => Some(AllowIp::Address(address::find(settings, &plan.route, output)?)),
    };
    let request = message::request(settings, &plan.route.server, allow, rng, output)?;
    let environment = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    let user = user::name(settings, &environment, user::account())?;
    Ok(Knock::new(Nonce::new(rng), user, time, request))
}

/// Now, and the offset that was asked for.
fn time(settings: &Settings) -> Result<UnixTime, Library> {
    let refused = || Library::field("fko_set_timestamp", FieldError::Time);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| refused())?;
    let offset = match settings.get(Name::TimeOffset) {
        Some(Value::Offset(seconds)) => *seconds,
        _ => 0,
    };
    let time = now.as_secs().checked_add_signed(offset).map(UnixTime);
    time.filter(|time| *time <= UnixTime::LAST_ON_WIRE).ok_or_else(refused)
}

/// A packet that is ready, and what it was made of.
pub struct Packet {
    knock: Knock,
    /// The timeout that was typed; a command does not carry it, but it is shown.
    timeout: u32,
    digest: DigestType,
    lock: Lock,
    sealed: Sealed,
}

/// What encrypts and authenticates.
enum Lock {
    Keys(Keys),
    Gpg { envelope: Envelope, passphrase: Option<SecretBytes>, hmac: Option<HmacKey> },
}

const FINAL: &str = "fko_spa_data_final";

/// Gets the keys and makes the packet.
///
/// # Errors
/// If there are no keys, or no server could understand the packet.
pub fn seal(
    settings: &Settings,
    plan: &Plan,
    knock: Knock,
    passphrase: &mut impl Passphrase,
    rng: &mut impl CryptoRng,
    output: &mut Output<'_>,
) -> Result<Packet, PacketError> {
    let server = &plan.route.server;
    let prepared = |key: &Option<SecretBytes>| match (plan.hmac, key) {
        (Some(digest), Some(key)) => {
            HmacKey::new(digest, key).map(Some).map_err(|error| Library::new(FINAL, error.fko()))
        }
        _ => Ok(None),
    };
    let refused = |error: SealError| Library::new(FINAL, error.fko()).because(error);
    let (lock, sealed) = match plan.mode {
        Some(mode) => {
            let bytes = keys::obtain(settings, server, mode == CipherMode::Legacy, passphrase, output)?;
            let cipher = CipherKey::new(&bytes.cipher).map_err(|error| Library::new(FINAL, error.fko()))?;
            let keys = Keys { cipher, mode, hmac: prepared(&bytes.hmac)? };
            let sealed = knock.seal(&keys, plan.digest, rng).map_err(refused)?;
            (Lock::Keys(keys), sealed)
        }
        None => {
            let envelope = Envelope::new(settings)?;
            let bytes = keys::obtain_for_gpg(settings, server, envelope.signer.is_some(), passphrase, output)?;
            let hmac = prepared(&bytes.hmac)?;
            let unsealed = knock.unsealed(plan.digest).map_err(refused)?;
            let ciphertext = envelope.close(unsealed.plaintext(), bytes.passphrase.as_deref().map(Vec::as_slice))?;
            let sealed = unsealed.seal(&ciphertext, hmac.as_ref()).map_err(refused)?;
            (Lock::Gpg { envelope, passphrase: bytes.passphrase, hmac }, sealed)
        }
    };
    let timeout = settings.number(Name::Timeout).unwrap_or(0);
    Ok(Packet { knock, timeout, digest: plan.digest, lock, sealed })
}

impl Packet {
    /// The packet as it is sent.
    #[must_use]
    pub fn text(&self) -> &str {
        self.sealed.text()
    }

    /// What is shown of it.
    #[must_use]
    pub fn fields(&self) -> Fields<'_> {
        let (hmac, encryption) = match &self.lock {
            Lock::Keys(keys) => (&keys.hmac, Encryption::Rijndael(keys.mode)),
            Lock::Gpg { envelope, hmac, .. } => {
                let signer = envelope.signer.as_ref().map(|signer| signer.name.as_str());
                let parties = Some((envelope.recipient.name.as_str(), signer));
                (hmac, Encryption::Gpg { parties, signature: None, home: envelope.home(), exe: envelope.exe() })
            }
        };
        Fields {
            knock: &self.knock,
            timeout: self.timeout,
            digest: self.digest,
            hmac_type: hmac.as_ref().map(HmacKey::digest),
            encryption,
            encoded: self.sealed.encoded_fields(),
            inner_digest: self.sealed.digest(),
            hmac: self.sealed.hmac(),
            whole: self.text(),
        }
    }

    /// Opens the packet as a server would, with the keys it was made with; shows what it says if verbose.
    ///
    /// # Errors
    /// What a server would have against it.
    pub fn read_back(&self, output: &mut Output<'_>) -> Result<(), Library> {
        let packet = SealedPacket::parse(self.text().as_bytes())
            .map_err(|error| Library::new(DECRYPT, DecodeError::Beginning.fko()).because(error))?;
        let signature;
        let decoding = Decoding { ipv6_allow: true };
        let (knock, encryption) = match &self.lock {
            Lock::Keys(keys) => (packet.open(keys, &decoding).map_err(unread)?, Encryption::Rijndael(keys.mode)),
            Lock::Gpg { envelope, passphrase, hmac } => {
                let packet = match hmac {
                    Some(key) => packet.authenticate_gpg(key, Recipients::Stock),
                    None => packet.unauthenticated_gpg(Recipients::Stock),
                };
                let ciphertext = packet.and_then(|packet| packet.ciphertext()).map_err(unread)?;
                let (text, found) = envelope.open(&ciphertext, passphrase.as_deref().map(Vec::as_slice))?;
                let knock = text.decode(&decoding).map_err(|error| unread(error.into()))?;
                signature = found;
                let signature = Some(&signature);
                (knock, Encryption::Gpg { parties: None, signature, home: envelope.home(), exe: envelope.exe() })
            }
        };
        let length = self.sealed.hmac().map_or(0, str::len);
        let without_hmac = self.text().split_at_checked(self.text().len().saturating_sub(length));
        output.info("\nDump of the Decoded Data");
        output.info(Fields {
            knock: &knock,
            timeout: knock.request.timeout().map_or(0, Timeout::seconds),
            encryption,
            whole: without_hmac.map_or("", |(text, _)| text),
            ..self.fields()
        });
        Ok(())
    }
}

const DECRYPT: &str = "fko_decrypt_spa_data";

/// What a server has against a packet.
fn unread(error: OpenError) -> Library {
    Library::new(DECRYPT, error.fko())
}

/// Writes the packet and a line feed. A file that is there is replaced, so that a link's other end stays as it is; or appended to.
///
/// # Errors
/// If it cannot be written.
pub fn write(path: &Path, text: &str, append: bool) -> Result<(), PacketError> {
    let mut options = OpenOptions::new();
    if append {
        options.append(true).create(true);
    } else {
        let _was_not_there = fs::remove_file(path);
        options.write(true).create_new(true);
    }
    options
        .open(path)
        .and_then(|mut file| file.write_all(format!("{text}\n").as_bytes()))
        .map_err(|source| PacketError::File { path: path.to_owned(), source })
}
