//! Packets that only gpg can open: the engine asks, a process of its own runs gpg.
//!
//! gpg needs its agent, locks and files of its home, so it cannot live under the filter of the listener. A *keyring* is a
//! process of ours that belongs to one gpg home: it is the owner of that home, has no capability, and does one thing: it
//! runs gpg on one message at a time, with a fixed argument list and a time limit.
//!
//! ```text
//! engine ─▶ Keyrings ═socket═▶ keyring process ─▶ gpg ─▶ status lines ─▶ Decrypted ═socket═▶ engine ─▶ whose signature?
//!           (asking)            (process)      (program)    (status)      (message)                     (here)
//! ```
//!
//! The passphrase travels with each question, from the listener, which has it, straight to the keyring: the warden made
//! the socket and kept no end of it. What a signature is worth is decided here, by the rules of the stanza (spec
//! `spa-protocol.md` 9.4), not by the process that ran gpg.

use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use spa::{Ciphertext, GpgPlaintext};

use crate::access::{Gpg, Signatures, Signers, Stanza};

mod asking;
mod message;
mod process;
pub mod program;
mod status;

pub use asking::Keyrings;
pub(crate) use process::{NO_EXE, NO_HOME, run};

/// What the engine asks about a packet of a GPG stanza.
pub struct Question<'q> {
    /// The message.
    pub ciphertext: &'q Ciphertext,
    /// Opens the secret key; empty: it has none, or the agent knows it.
    pub passphrase: &'q str,
    /// The packet's HMAC was right: only a holder of that key can have caused this question.
    pub authenticated: bool,
}

/// Something that can decrypt with the secret keys of gpg.
pub trait Decrypt {
    /// Decrypts with any secret key of the stanza's home.
    ///
    /// # Errors
    /// What gpg says, or why it was not asked.
    fn decrypt(&mut self, gpg: &Gpg, question: &Question<'_>) -> Result<Decrypted, GpgFailure>;

    /// Sockets that become readable, other than during a question, when one it asks has gone.
    fn sockets(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }

    /// Whether one that it asks has gone or does not answer any more.
    fn gone(&self) -> bool {
        false
    }
}

/// What gpg made of a message.
pub struct Decrypted {
    /// The text.
    pub plaintext: GpgPlaintext,
    /// The first signature, if it is signed.
    pub signature: Option<Signature>,
}

/// A signature as gpg found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The fingerprint of the key, or subkey, that made it: 40 hexadecimal digits in capitals. The last 16 of them if gpg knows
    /// no more.
    pub fingerprint: String,
    /// It verifies, and gpg holds its key to be valid: marginally, fully or ultimately.
    pub valid: bool,
}

/// Why gpg opened nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GpgFailure {
    /// `GPG_EXE` is no program.
    Exe(PathBuf),
    /// `GPG_HOME_DIR` is no directory.
    Home(PathBuf),
    /// It does not decrypt; what gpg says.
    Decrypt(String),
    /// It is not signed.
    NoSignature,
    /// Its signature does not verify, or the key is not valid.
    BadSignature,
    /// Too many packets without an HMAC; this one was not looked at.
    Busy,
}

impl GpgFailure {
    /// The stable name of the reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Exe(_) => "E_GPG_EXE",
            Self::Home(_) => "E_GPG_HOME",
            Self::Decrypt(_) => "E_GPG_DECRYPT",
            Self::NoSignature => "E_GPG_NO_SIG",
            Self::BadSignature => "E_GPG_BAD_SIG",
            Self::Busy => "E_GPG_BUSY",
        }
    }
}

impl Signature {
    /// The short name of its key, as the log has it.
    #[must_use]
    pub fn short_id(&self) -> &str {
        self.last(8)
    }

    fn last(&self, digits: usize) -> &str {
        self.fingerprint.get(self.fingerprint.len().saturating_sub(digits)..).unwrap_or_default()
    }
}

impl Signatures {
    /// The signature that counts, if this stanza looks at signatures and this one will do.
    ///
    /// # Errors
    /// A signature is required and there is none, or it is not valid and that is not forgiven.
    pub fn accept(&self, found: Option<&Signature>) -> Result<Option<Signature>, GpgFailure> {
        let Self::Required { ignore_verify_error, .. } = self else { return Ok(None) };
        let signature = found.ok_or(GpgFailure::NoSignature)?;
        if signature.valid || *ignore_verify_error {
            Ok(Some(signature.clone()))
        } else {
            Err(GpgFailure::BadSignature)
        }
    }

    /// Whether this key may sign.
    ///
    /// # Errors
    /// The list it is missing from.
    pub fn admit(&self, signature: &Signature) -> Result<(), MissingFrom> {
        match self {
            Self::Required { signers, .. } => signers.admit(signature),
            Self::Ignored => Ok(()),
        }
    }
}

/// The list that a signer is missing from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingFrom {
    /// `GPG_FINGERPRINT_ID`.
    Fingerprints,
    /// `GPG_REMOTE_ID`.
    KeyIds,
}

impl Signers {
    /// It must be in every list that the stanza has, first that of fingerprints. A subkey that
    /// signs counts by itself; the primary key's id does not match it.
    fn admit(&self, signature: &Signature) -> Result<(), MissingFrom> {
        let Self::Listed { key_ids, fingerprints } = self else { return Ok(()) };
        if fingerprints.as_ref().is_some_and(|listed| !listed.contains(&signature.fingerprint)) {
            return Err(MissingFrom::Fingerprints);
        }
        let known = |id: &String| id == signature.last(id.len());
        if key_ids.as_ref().is_some_and(|listed| !listed.iter().any(known)) {
            return Err(MissingFrom::KeyIds);
        }
        Ok(())
    }
}

/// A gpg home and the program for it: one keyring process each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// `GPG_HOME_DIR`.
    pub home: PathBuf,
    /// `GPG_EXE`.
    pub exe: PathBuf,
}

impl Home {
    /// Whether a stanza means this one.
    fn serves(&self, gpg: &Gpg) -> bool {
        self.home == gpg.home && self.exe == gpg.exe
    }
}

/// The homes that some stanzas need, each once, in their order. Warden and listener count them alike.
pub fn homes(stanzas: &[Stanza]) -> Vec<Home> {
    let mut homes: Vec<Home> = Vec::new();
    for gpg in stanzas.iter().filter_map(|stanza| stanza.gpg.as_ref()) {
        if !homes.iter().any(|home| home.serves(gpg)) {
            homes.push(Home { home: gpg.home.clone(), exe: gpg.exe.clone() });
        }
    }
    homes
}

/// Whether gpg can be run at all.
fn check(home: &Path, exe: &Path) -> Result<(), GpgFailure> {
    use std::os::unix::fs::PermissionsExt as _;
    let program = std::fs::metadata(exe).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
    if !program {
        return Err(GpgFailure::Exe(exe.to_owned()));
    }
    if !std::fs::metadata(home).is_ok_and(|found| found.is_dir()) {
        return Err(GpgFailure::Home(home.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNER: &str = "961DEE967C6F63741B418045D7A24CB1677EBF01";

    fn signature(valid: bool) -> Signature {
        Signature { fingerprint: SIGNER.into(), valid }
    }

    fn required(ignore_verify_error: bool) -> Signatures {
        Signatures::Required { signers: Signers::Any, ignore_verify_error }
    }

    #[test]
    fn a_signature_is_required_unless_signatures_are_disabled() {
        let (good, doubtful) = (signature(true), signature(false));
        for (rules, found, accepted) in [
            (required(false), Some(&good), Ok(Some(good.clone()))),
            (required(false), Some(&doubtful), Err(GpgFailure::BadSignature)),
            (required(false), None, Err(GpgFailure::NoSignature)),
            (required(true), Some(&doubtful), Ok(Some(doubtful.clone()))),
            (required(true), None, Err(GpgFailure::NoSignature)),
            (Signatures::Ignored, Some(&doubtful), Ok(None)),
            (Signatures::Ignored, None, Ok(None)),
        ] {
            assert_eq!(rules.accept(found), accepted, "{rules:?} {found:?}");
        }
    }

    #[test]
    fn a_signer_must_be_in_every_list_there_is() {
        let list = |ids: &[&str]| (!ids.is_empty()).then(|| ids.iter().map(|id| (*id).to_owned()).collect());
        for (key_ids, fingerprints, admitted) in [
            (&["677EBF01"][..], &[][..], Ok(())),
            (&["D7A24CB1677EBF01"], &[], Ok(())),
            (&[SIGNER], &[], Ok(())),
            (&["12345678", "677EBF01"], &[SIGNER], Ok(())),
            (&["677EBF02"], &[], Err(MissingFrom::KeyIds)),
            (&["077EBF01"], &[], Err(MissingFrom::KeyIds)),
            (&["00A24CB1677EBF01"], &[], Err(MissingFrom::KeyIds)),
            (&["12345678"], &[SIGNER], Err(MissingFrom::KeyIds)),
            (&["677EBF01"], &["70D8E5034A9A4EBB19EDB666C4F7F40C2F736647"], Err(MissingFrom::Fingerprints)),
        ] {
            let signers = Signers::Listed { key_ids: list(key_ids), fingerprints: list(fingerprints) };
            assert_eq!(signers.admit(&signature(true)), admitted, "{signers:?}");
        }
        let unusable = Signers::Listed { key_ids: Some(Vec::new()), fingerprints: None };
        assert_eq!(
            unusable.admit(&signature(true)),
            Err(MissingFrom::KeyIds),
            "a list without a usable id admits nobody"
        );
    }
}
