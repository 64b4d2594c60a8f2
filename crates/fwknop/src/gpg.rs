//! Leaving encryption to the gpg program of this machine, where the keys are.
//!
//! An [`Envelope`] knows whom a packet is for and who signs it, and has gpg close and open it. What goes in and how the packet looks outside
//! is `spa`'s; `run` starts the program, `signature` reads what it says of a signature. Whether a key is trusted does not matter for sending:
//! who names a recipient has chosen it. Spec: client.md section 14.
//!
//! ```text
//! GPG_RECIPIENT, GPG_SIGNER ─gpg --list-keys─▶ Envelope ─gpg --encrypt [--sign]─▶ ciphertext      in a test: ─gpg --decrypt─▶ text
//! ```

mod run;
mod signature;

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use spa::{Ciphertext, Fko, GpgPlaintext};

use crate::{
    failure::Library,
    settings::{Name, Settings},
};

pub use signature::Signature;

use run::{Answer, Program};
use signature::Verdict;

const FINAL: &str = "fko_spa_data_final";
const DECRYPT: &str = "fko_decrypt_spa_data";

/// A key that was named, and found.
pub struct Party {
    /// As it was named.
    pub name: String,
    fingerprint: String,
}

/// Whom a packet is for, and who signs it.
pub struct Envelope {
    program: Program,
    /// The server's key.
    pub recipient: Party,
    /// Our key; without one the packet is not signed.
    pub signer: Option<Party>,
}

impl Envelope {
    /// Finds the program and the keys that are set.
    ///
    /// # Errors
    /// If there is no such program or directory, or a name is that of no key or of several.
    pub fn new(settings: &Settings) -> Result<Self, Library> {
        let path = settings.path(Name::GpgExe).map_or_else(|| PathBuf::from("/usr/bin/gpg"), PathBuf::from);
        if !path.is_file() {
            return Err(Library::gpg_exe().for_people("install GnuPG, or say where gpg is with --gpg-exe PATH"));
        }
        let home = settings.path(Name::GpgHome).map(without_last_slash);
        if home.as_ref().is_some_and(|home| !home.is_dir()) {
            return Err(Library::gpg_home().for_people("GnuPG's directory is usually ~/.gnupg; see --gpg-home-dir"));
        }
        let program = Program { path, home, agent: settings.on(Name::GpgAgent) };
        let recipient = find(&program, settings.raw(Name::GpgRecipient).unwrap_or_default(), &RECIPIENT)?;
        let signer = settings.raw(Name::GpgSigner).filter(|name| !name.is_empty());
        let signer = signer.map(|name| find(&program, name, &SIGNER)).transpose()?;
        Ok(Self { program, recipient, signer })
    }

    /// The directory of GnuPG, if one is set.
    #[must_use]
    pub fn home(&self) -> Option<String> {
        self.program.home.as_ref().map(|home| home.display().to_string())
    }

    /// The program.
    #[must_use]
    pub fn exe(&self) -> String {
        self.program.path.display().to_string()
    }

    /// Encrypts, and signs if somebody is to. Without a passphrase whoever needs one is asked by gpg's agent.
    ///
    /// # Errors
    /// If gpg did not.
    pub fn close(&self, text: &[u8], passphrase: Option<&[u8]>) -> Result<Vec<u8>, Library> {
        let mut words =
            vec!["--no-armor", "--trust-model", "always", "--no-auto-check-trustdb", "--no-encrypt-to", "--recipient"];
        words.push(&self.recipient.fingerprint);
        if let Some(signer) = &self.signer {
            words.extend(["--local-user", &signer.fingerprint, "--sign"]);
        }
        words.push("--encrypt");
        let failed = || Library::new(FINAL, Fko { number: 122, text: "Error during the encrypt and sign operation" });
        match self.program.run(&words, None, text, passphrase) {
            Ok(answer) if answer.succeeded => Ok(answer.output.to_vec()),
            Ok(answer) => Err(failed().gpg(answer.reason()).because(advice(&answer, passphrase.is_some()))),
            Err(error) => Err(failed().gpg(error)),
        }
    }

    /// Decrypts as the server would, and demands a good signature of a key that is trusted, as the original does in its test mode.
    ///
    /// # Errors
    /// If it does not open here, or nobody, or nobody trusted, signed it.
    pub fn open(
        &self,
        ciphertext: &Ciphertext,
        passphrase: Option<&[u8]>,
    ) -> Result<(GpgPlaintext, Signature), Library> {
        let refused = |number, text, why: String, advice: &str| {
            let told = Library::new(DECRYPT, Fko { number, text });
            told.gpg(format_args!("{why}\nNo access to recipient private key?")).for_people(advice)
        };
        let failed = |why| {
            let advice = "the packet may be good: it is for the server's key, and only the test needs the secret half of it here";
            refused(132, "Decryption operation failed", why, advice)
        };
        let words = ["--no-auto-key-retrieve", "--decrypt"];
        let answer = self
            .program
            .run(&words, None, ciphertext.as_bytes(), passphrase)
            .map_err(|error| failed(error.to_string()))?;
        if !answer.statuses().any(|status| status == "DECRYPTION_OKAY") {
            return Err(failed(answer.reason()));
        }
        let advice = "the packet is good; only the test wants a signature";
        match Verdict::of(answer.statuses()) {
            Verdict::Good(signature) => Ok((GpgPlaintext::new(answer.output.to_vec()), signature)),
            Verdict::Unsigned => Err(refused(137, "Missing GPG signature", String::new(), advice)),
            Verdict::Doubtful => {
                let advice = format!("{advice} of a key that gpg trusts here: gpg --edit-key KEY trust");
                Err(refused(138, "Bad GPG signature", String::new(), &advice))
            }
        }
    }
}

fn without_last_slash(path: &Path) -> PathBuf {
    match path.to_str().and_then(|text| text.strip_suffix('/')) {
        Some(shorter) if !shorter.is_empty() => shorter.into(),
        _ => path.into(),
    }
}

/// What one kind of key is looked for with, and what is said if there is not exactly one.
struct Search {
    command: &'static str,
    /// The record that a listing has once for each key.
    record: &'static str,
    operation: &'static str,
    missing: (Fko, &'static str),
    ambiguous: Fko,
}

const RECIPIENT: Search = Search {
    command: "--list-keys",
    record: "pub",
    operation: "fko_set_gpg_recipient",
    missing: (
        Fko { number: 130, text: "The key for the given recipient was not found" },
        "import the server's public key first: gpg --import FILE",
    ),
    ambiguous: Fko { number: 131, text: "Ambiguous name/id for the recipient key (multiple matches)" },
};

const SIGNER: Search = Search {
    command: "--list-secret-keys",
    record: "sec",
    operation: "fko_set_gpg_signer",
    missing: (
        Fko { number: 125, text: "The key for the given signer was not found" },
        "the keys that can sign are shown by: gpg --list-secret-keys",
    ),
    ambiguous: Fko { number: 126, text: "Ambiguous name/id for the signer key (multiple matches)" },
};

/// Finds the one key of this name. Everything later is done with its fingerprint.
fn find(program: &Program, name: &OsStr, search: &Search) -> Result<Party, Library> {
    let (missing, advice) = search.missing;
    let missing = || Library::new(search.operation, missing);
    let words = ["--with-colons", "--no-auto-check-trustdb", search.command, "--"];
    let answer = program.run(&words, Some(name), b"", None).map_err(|error| missing().gpg(error))?;
    let listing = String::from_utf8_lossy(&answer.output);
    let mut fingerprints = fingerprints(&listing, search.record);
    match (fingerprints.next(), fingerprints.next()) {
        // In the words of the original, whose listing ends.
        (None, _) if answer.statuses().any(|status| status.starts_with("ERROR keylist.getkey")) => {
            Err(missing().gpg("End of file").for_people(advice))
        }
        (None, _) => Err(missing().gpg(answer.reason()).because("gpg cannot read its keys; are they yours?")),
        (Some(fingerprint), None) => {
            Ok(Party { name: name.to_string_lossy().into_owned(), fingerprint: fingerprint.to_owned() })
        }
        (Some(_), Some(_)) => {
            let told = Library::new(search.operation, search.ambiguous).gpg("");
            Err(told.for_people("use a fingerprint, which only one key has: gpg --list-keys"))
        }
    }
}

/// The fingerprints of the primary keys, each of which follows its key's record.
fn fingerprints<'l>(listing: &'l str, record: &str) -> impl Iterator<Item = &'l str> {
    let mut lines = listing.lines();
    std::iter::from_fn(move || {
        lines.find(|line| line.split(':').next() == Some(record))?;
        lines.find(|line| line.starts_with("fpr:"))?.split(':').nth(9)
    })
}

/// What to do when gpg did not encrypt.
fn advice(answer: &Answer, had_passphrase: bool) -> &'static str {
    match answer.reason().as_str() {
        "Bad passphrase" => "the passphrase is not that of the signing key",
        _ if had_passphrase => "gpg says more when asked directly: gpg --sign --encrypt --recipient KEY",
        _ => {
            "if the signing key has a passphrase: give it when asked or with --fd, or unlock the key in gpg's agent first"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_a_listing_counts_once() {
        let listing = "tru::1:1:0:3:1:5\nsec:u:2048:1:AA:::::\nfpr:::::::::FIRST:\ngrp:::::::::G:\nuid:u::::::::sec:\n\
                       ssb:u:2048:1:BB:\nfpr:::::::::SUBKEY:\nsec:u:255:22:CC:\nfpr:::::::::SECOND:\n";
        assert_eq!(fingerprints(listing, "sec").collect::<Vec<_>>(), ["FIRST", "SECOND"]);
        assert_eq!(fingerprints(listing, "pub").count(), 0);
    }

    #[test]
    fn one_slash_at_the_end_of_a_directory_is_nothing() {
        for (given, meant) in [("/a/", "/a"), ("/a", "/a"), ("/", "/"), ("a//", "a/")] {
            assert_eq!(without_last_slash(Path::new(given)).as_os_str(), meant);
        }
    }
}
