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
    pub mode: CipherMode,
    /// The plaintext without its digest.
    pub encoded: &'p str,
    /// The digest of that, in base64.
    pub inner_digest: &'p str,
    /// The HMAC, in base64.
    pub hmac: Option<&'p str>,
    /// The packet.
    pub whole: &'p str,
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
        let lines: [(&str, &dyn fmt::Display); 17] = [
            ("Random Value", &knock.nonce),
            ("Username", &knock.username),
            ("Timestamp", &knock.time),
            ("FKO Version", &knock.version),
            ("Message Type", &format_args!("{message_type} ({})", type_name(message_type))),
            ("Message String", &String::from_utf8_lossy(&message)),
            ("Nat Access", &nat.as_deref().unwrap_or(ABSENT)),
            ("Server Auth", &auth.as_deref().unwrap_or(ABSENT)),
            ("Client Timeout", &self.timeout),
            ("Digest Type", &format_args!("{} ({})", self.digest.number(), self.digest)),
            ("HMAC Type", &hmac_type),
            ("Encryption Type", &"1 (Rijndael)"),
            ("Encryption Mode", &format_args!("{} ({})", self.mode.number(), self.mode)),
            ("Encoded Data", &self.encoded),
            ("SPA Data Digest", &self.inner_digest),
            ("HMAC", &self.hmac.unwrap_or(ABSENT)),
            ("Final SPA Data", &self.whole),
        ];
        lines.iter().try_for_each(|(label, value)| writeln!(f, "{label:>15}: {value}"))
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
