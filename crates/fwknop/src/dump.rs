//! The dump of a packet's fields, which test suites and front ends parse: labels, numbers, names and order are fixed.
//! Spec: client.md section 4.4.
//!
//! ```text
//! SPA Field Values:
//! =================
//!    Random Value: 6167798629648719
//!        Username: alice
//! ```

use std::fmt;

use spa::{CipherMode, DigestType, Knock};

use crate::gpg::Signature;

/// What is shown of a packet. Displays as the dump, whose last line is empty and has no line feed.
pub struct Fields<'p> {
    /// What it says.
    pub knock: &'p Knock,
    /// The timeout that was asked for, which a command does not carry.
    pub timeout: u32,
    /// The digest inside.
    pub digest: DigestType,
    /// The digest of the HMAC.
    pub hmac_type: Option<DigestType>,
    /// How it is encrypted.
    pub encryption: Encryption<'p>,
    /// The plaintext without its digest.
    pub encoded: &'p str,
    /// The digest of that, in base64.
    pub inner_digest: &'p str,
    /// The HMAC, in base64.
    pub hmac: Option<&'p str>,
    /// The packet.
    pub whole: &'p str,
}

/// How a packet is encrypted.
pub enum Encryption<'p> {
    /// With a key that both sides have.
    Rijndael(CipherMode),
    /// By gpg.
    Gpg {
        /// Whom it is for and who signs it; a packet that was read does not tell how they were named.
        parties: Option<(&'p str, Option<&'p str>)>,
        /// The signature that was found in a packet that was read.
        signature: Option<&'p Signature>,
        /// GnuPG's directory, if one is set.
        home: Option<String>,
        /// The gpg program.
        exe: String,
    },
}

impl fmt::Display for Encryption<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |label: &str, value: &dyn fmt::Display| writeln!(f, "{label:>15}: {value}");
        match self {
            Self::Rijndael(mode) => {
                line("Encryption Type", &"1 (Rijndael)")?;
                line("Encryption Mode", &format_args!("{} ({mode})", mode.number()))
            }
            Self::Gpg { parties, signature, home, exe } => {
                // What GnuPG's library calls valid and by a trusted key, and no error; or that nothing was looked at.
                let (summary, status) = if signature.is_some() { ("3", "0") } else { ("-1", "-1") };
                line("Encryption Type", &"2 (GPG)")?;
                line("Encryption Mode", &"7 (Asymmetric)")?;
                line("GPG signer", &parties.and_then(|(_, signer)| signer).unwrap_or(ABSENT))?;
                line("GPG recipient", &parties.map_or(ABSENT, |(recipient, _)| recipient))?;
                line("GPG sig verify", &"Yes")?;
                line("GPG ignore sig", &"No")?;
                line("GPG sig ID", &signature.map_or(ABSENT, Signature::id))?;
                line("GPG sig fpr", &signature.map_or(ABSENT, |signature| &signature.fingerprint))?;
                line("GPG sig summary", &summary)?;
                line("GPG sig status", &status)?;
                line("GPG home dir", &home.as_deref().unwrap_or(ABSENT))?;
                line("GPG exe", exe)
            }
        }
    }
}

impl fmt::Display for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { knock, .. } = self;
        let message_type = knock.request.message_type();
        let hmac_type = match self.hmac_type {
            Some(digest) => format!("{} ({digest})", digest.number()),
            None => "0 (None)".to_owned(),
        };
        let message = knock.request.message();
        let nat = knock.request.nat_target().map(ToString::to_string);
        let auth = knock.server_auth.as_ref().map(|auth| String::from_utf8_lossy(auth.as_bytes()).into_owned());
        f.write_str("SPA Field Values:\n=================\n")?;
        let mut line = |label: &str, value: &dyn fmt::Display| writeln!(f, "{label:>15}: {value}");
        line("Random Value", &knock.nonce)?;
        line("Username", &knock.username)?;
        line("Timestamp", &knock.time)?;
        line("FKO Version", &knock.version)?;
        line("Message Type", &format_args!("{message_type} ({})", type_name(message_type)))?;
        line("Message String", &String::from_utf8_lossy(&message))?;
        line("Nat Access", &nat.as_deref().unwrap_or(ABSENT))?;
        line("Server Auth", &auth.as_deref().unwrap_or(ABSENT))?;
        line("Client Timeout", &self.timeout)?;
        line("Digest Type", &format_args!("{} ({})", self.digest.number(), self.digest))?;
        line("HMAC Type", &hmac_type)?;
        write!(f, "{}", self.encryption)?;
        let mut line = |label: &str, value: &str| writeln!(f, "{label:>15}: {value}");
        line("Encoded Data", self.encoded)?;
        line("SPA Data Digest", self.inner_digest)?;
        line("HMAC", self.hmac.unwrap_or(ABSENT))?;
        line("Final SPA Data", self.whole)
    }
}

const ABSENT: &str = "<NULL>";

fn type_name(message_type: u8) -> &'static str {
    match message_type {
        0 => "Command msg",
        1 => "Access msg",
        2 => "NAT access msg",
        3 => "Client timeout access msg",
        4 => "Client timeout NAT access msg",
        5 => "Local NAT access msg",
        6 => "Client timeout local NAT access msg",
        _ => "Unknown message type",
    }
}
