//! A packet and the keys of one stanza: which key, and what it opens.
//!
//! ```text
//! SealedPacket ┬─ symmetric key ──────────────────────────────────▶ Opened { knock }
//!              └─ HMAC key ─▶ gpg, elsewhere ─▶ whose signature? ─▶ Opened { knock, signature }
//! ```

use spa::{Knock, Recipients, SealedPacket};

use super::{DECODING, KeyedStanza};
use crate::access::{Gpg, GpgKeys};
use crate::keyring::{Decrypt, GpgFailure, Question, Signature};
use crate::refusal::Refusal;

/// The original's client sends packets for curve 25519 keys, which its server cannot open; ours can.
const RECIPIENTS: Recipients = Recipients::AndElliptic;

/// A packet that a stanza's keys opened.
pub(super) struct Opened {
    /// What it says.
    pub(super) knock: Knock,
    /// The signature that counts, if this stanza looks at signatures.
    pub(super) signature: Option<Signature>,
}

impl KeyedStanza {
    /// Opens a packet with the key of its kind, which its length tells. A stanza that allows commands tries its symmetric key
    /// at any length first: a long command makes a long packet.
    pub(super) fn open(
        &self,
        packet: &SealedPacket<'_>,
        keyring: Option<&mut (dyn Decrypt + 'static)>,
    ) -> Result<Opened, Refusal> {
        let long = packet.is_of_gpg_size();
        let of_gpg = self.keys.gpg.as_ref().zip(self.stanza.gpg.as_ref()).filter(|_| long);
        let symmetric = self.keys.symmetric.as_ref().filter(|_| !long || self.stanza.command.is_some());
        if let Some(keys) = symmetric {
            match packet.open(keys, &DECODING) {
                Ok(knock) => return Ok(Opened { knock, signature: None }),
                Err(why) if of_gpg.is_none() => return Err(Refusal::Stranger(why)),
                Err(_) => {}
            }
        }
        let (keys, gpg) = of_gpg.ok_or(Refusal::NoKeyOfItsKind { long })?;
        open_with_gpg(packet, keys, gpg, keyring)
    }
}

/// HMAC first, so that strangers cost no run of gpg; then gpg, then whose signature it is, and only then what the text says.
fn open_with_gpg(
    packet: &SealedPacket<'_>,
    keys: &GpgKeys,
    gpg: &Gpg,
    keyring: Option<&mut (dyn Decrypt + 'static)>,
) -> Result<Opened, Refusal> {
    let sealed = match &keys.hmac {
        Some(key) => packet.authenticate_gpg(key, RECIPIENTS).map_err(Refusal::BeforeGpg)?,
        None => packet.unauthenticated_gpg(RECIPIENTS).map_err(Refusal::BeforeGpg)?,
    };
    let authenticated = keys.hmac.is_some();
    let ciphertext = sealed.ciphertext().map_err(Refusal::Stranger)?;
    let question = Question { ciphertext: &ciphertext, passphrase: keys.passphrase.expose(), authenticated };
    let keyring = keyring.ok_or_else(|| Refusal::Gpg(GpgFailure::Home(gpg.home.clone())))?;
    let decrypted = keyring.decrypt(gpg, &question).map_err(Refusal::Gpg)?;
    let signature = gpg.signatures.accept(decrypted.signature.as_ref()).map_err(Refusal::Gpg)?;
    let knock = decrypted.plaintext.decode(&DECODING).map_err(|why| Refusal::Stranger(why.into()))?;
    Ok(Opened { knock, signature })
}
