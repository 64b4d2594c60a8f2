//! What a stanza says about GPG, without its passphrase.

use std::{fs, path::PathBuf};

use fwknop_conf::{
    complaint::{Complaint, Complaints, Severity},
    value::elements,
};

use super::raw::RawStanza;
use crate::config::Config;

/// How packets of a stanza are decrypted with gpg, and whose are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpg {
    /// The home directory of gpg: `GPG_HOME_DIR` of the stanza, else of fwknopd.conf.
    pub home: PathBuf,
    /// The program: `GPG_EXE` of the stanza, else of fwknopd.conf.
    pub exe: PathBuf,
    /// `GPG_DECRYPT_ID`: for people to read; any secret key that fits decrypts.
    pub decrypt_id: Option<String>,
    /// Whether signatures are looked at, and whose count.
    pub signatures: Signatures,
}

/// Whether signatures are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signatures {
    /// `GPG_DISABLE_SIG`: no.
    Ignored,
    /// Yes.
    Required {
        /// Whose signatures count.
        signers: Signers,
        /// `GPG_IGNORE_SIG_VERIFY_ERROR`: signatures that do not verify count, too.
        ignore_verify_error: bool,
    },
}

/// Whose signatures count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signers {
    /// Everybody's: only with `GPG_DISABLE_SIG` and `GPG_REQUIRE_SIG` both, and no list.
    Any,
    /// Those who are in every list there is; nobody, if the lists hold nothing that can match.
    Listed {
        /// `GPG_REMOTE_ID`: key ids of 8, 16 or 40 hexadecimal digits, in capitals; `None`: no such list.
        key_ids: Option<Vec<String>>,
        /// `GPG_FINGERPRINT_ID`: whole fingerprints, in capitals; `None`: no such list.
        fingerprints: Option<Vec<String>>,
    },
}

/// Whether the stanza says to use gpg at all.
pub(super) fn is_used(raw: &RawStanza) -> bool {
    raw.get("GPG_DECRYPT_PW").is_some_and(|passphrase| !passphrase.is_empty()) || raw.yes("GPG_ALLOW_NO_PW")
}

pub(super) fn read(raw: &RawStanza, number: u32, config: &Config, complaints: &mut Complaints) -> Option<Gpg> {
    let home = raw.get("GPG_HOME_DIR");
    if let Some(path) = home {
        check_home(raw, path, complaints);
    }
    if !is_used(raw) {
        return None;
    }
    Some(Gpg {
        home: home.map_or_else(|| config.gpg_home.clone(), Into::into),
        exe: raw.get("GPG_EXE").map_or_else(|| config.gpg_exe.clone(), Into::into),
        decrypt_id: raw.get("GPG_DECRYPT_ID").map(Into::into),
        signatures: signatures(raw, number, complaints),
    })
}

/// A home directory must be one, and no link to one.
fn check_home(raw: &RawStanza, path: &str, complaints: &mut Complaints) {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => return,
        Ok(_) => {}
        Err(error) => complaints.push(crate::args::unreachable(path, &error)),
    }
    let text = format!(
        "[*] GPG_HOME_DIR directory '{path}' stat()/existence problem in stanza source '{}' in access file: '{}'",
        raw.source(),
        raw.file()
    );
    complaints.push(raw.locate("GPG_HOME_DIR", Complaint::error(text)));
}

fn signatures(raw: &RawStanza, number: u32, complaints: &mut Complaints) -> Signatures {
    let source = raw.source();
    let disabled = raw.yes("GPG_DISABLE_SIG");
    let both = disabled && raw.yes("GPG_REQUIRE_SIG");
    if both {
        let text = format!(
            "Warning: GPG_REQUIRE_SIG and GPG_DISABLE_SIG are both set, will check sigs (stanza source: '{source}' #{number})"
        );
        complaints.push(raw.locate("GPG_DISABLE_SIG", Complaint::new(Severity::Info, text)));
    } else if disabled {
        let text =
            format!("Warning: GPG_REQUIRE_SIG should really be enabled for stanza source: '{source}' (#{number})");
        complaints.push(raw.locate("GPG_DISABLE_SIG", Complaint::new(Severity::Info, text)));
        return Signatures::Ignored;
    }
    let key_ids = ids(raw, "GPG_REMOTE_ID", &[8, 16, 40], complaints);
    let fingerprints = ids(raw, "GPG_FINGERPRINT_ID", &[40], complaints);
    let listed = raw.last_of(&["GPG_REMOTE_ID", "GPG_FINGERPRINT_ID"]).is_some();
    if !both && !listed {
        let text = format!(
            "Warning: Must have either sig ID's or fingerprints to check via GPG_REMOTE_ID or GPG_FINGERPRINT_ID (stanza source: '{source}' #{number})"
        );
        let hint = "write the fingerprints of those who may sign as GPG_FINGERPRINT_ID";
        complaints.push(raw.locate("SOURCE", Complaint::error(text)).hint(hint));
    }
    let ignore_verify_error = raw.yes("GPG_IGNORE_SIG_VERIFY_ERROR");
    let signers = if listed { Signers::Listed { key_ids, fingerprints } } else { Signers::Any };
    Signatures::Required { signers, ignore_verify_error }
}

fn ids(raw: &RawStanza, name: &str, lengths: &[usize], complaints: &mut Complaints) -> Option<Vec<String>> {
    let text = raw.get(name)?;
    let mut found = Vec::new();
    for id in elements(text).map(|id| id.trim_end().to_ascii_uppercase()) {
        if lengths.contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            found.push(id);
        } else {
            let complaint = Complaint::warning(format!("{name} '{id}' will never match"));
            complaints.push(raw.locate(name, complaint.hint("write the 40 hexadecimal digits of the fingerprint")));
        }
    }
    Some(found)
}
