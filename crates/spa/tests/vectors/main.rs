//! Packets of the original client and library, good and bad; each says what is expected. Most must be refused.
//!
//! `valid`, `frames` and `replay` open; `invalid`, `quirks` and most of `field_rules` do not, and say why; `logged` holds
//! the words that the original's programs print for its error numbers. What gpg would have to do is left out here: `gpg` is
//! read up to the ciphertext, and from the plaintext on. Strings are Latin-1: one character is one byte. The values of
//! `micro.json` are tested inside the crate.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has found something")]

mod gpg;
mod opens;
mod refuses;
mod seals;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use spa::{AllowIp, CipherKey, CipherMode, DigestType, Fko, HmacKey, KeyError, Keys, Knock};

/// The rows of one vector file.
fn vectors<V: DeserializeOwned>(name: &str) -> Vec<V> {
    let path = format!("{}/tests/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let rows: Vec<V> = serde_json::from_str(&std::fs::read_to_string(path).expect("vectors")).expect("rows");
    assert!(!rows.is_empty());
    rows
}

fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|character| u8::try_from(u32::from(character)).expect("Latin-1")).collect()
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal")).collect()
}

/// The reason code of a refusal, and the original's name for it, where it has one.
type Refused = (&'static str, Option<Fko>);

#[derive(Deserialize)]
struct Inputs {
    key: Key,
    mode: String,
    hmac_key: Option<Key>,
    hmac_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Key {
    Text(String),
    Base64(String),
}

impl Inputs {
    /// The keys, or the reason code of what is no key. To a decoder an empty HMAC key means that there is none.
    fn keys(&self) -> Result<Keys, Refused> {
        let unusable = |why: KeyError| (why.reason(), Some(why.fko()));
        let cipher = match &self.key {
            Key::Text(text) => CipherKey::new(&latin1(text)),
            Key::Base64(text) => CipherKey::from_base64(text),
        };
        let mode: CipherMode = self.mode.parse().map_err(|_| ("E_MODE", None))?;
        let digest = match self.hmac_type.as_deref().map(str::parse::<DigestType>) {
            None => DigestType::default(),
            Some(named) => named.map_err(|_| ("E_HMAC_TYPE", None))?,
        };
        let hmac = match &self.hmac_key {
            None => None,
            Some(Key::Text(text) | Key::Base64(text)) if text.is_empty() => None,
            Some(Key::Text(text)) => Some(HmacKey::new(digest, &latin1(text)).map_err(unusable)?),
            Some(Key::Base64(text)) => Some(HmacKey::from_base64(digest, text).map_err(unusable)?),
        };
        let cipher = cipher.map_err(unusable)?;
        Ok(Keys { cipher, mode, hmac })
    }
}

/// What a packet says, as the original shows it.
#[derive(Clone, Deserialize, Debug, PartialEq)]
struct Fields {
    rand: String,
    username: String,
    timestamp: u64,
    version: String,
    message_type: u8,
    message: String,
    nat_access: Option<String>,
    server_auth: Option<String>,
    client_timeout: u32,
    digest_type: Option<String>,
}

impl Fields {
    fn of(knock: &Knock, digest: Option<DigestType>) -> Self {
        let latin1 = |bytes: &[u8]| bytes.iter().map(|byte| char::from(*byte)).collect();
        Self {
            rand: knock.nonce.to_string(),
            username: knock.username.to_string(),
            timestamp: knock.time.0,
            version: knock.version.to_string(),
            message_type: knock.request.message_type(),
            message: latin1(&knock.request.message()),
            nat_access: knock.request.nat_target().map(ToString::to_string),
            server_auth: knock.server_auth.as_ref().map(|auth| latin1(auth.as_bytes())),
            client_timeout: knock.request.timeout().map_or(0, spa::Timeout::seconds),
            digest_type: digest.map(|digest| digest.to_string().to_lowercase()),
        }
    }

    /// The same with each value in its one spelling: the original keeps what was typed, we keep what it means.
    fn canonical(mut self) -> Self {
        if self.message_type != 0 {
            self.message = self.message.split(',').map(without_zeroes).collect::<Vec<_>>().join(",");
        }
        self.nat_access = self.nat_access.map(|target| match target.split_once(',') {
            Some((host, port)) => format!("{host},{}", port.trim_start_matches('0')),
            None => target,
        });
        if self.client_timeout == 0 {
            self.message_type = match self.message_type {
                3 => 1,
                4 => 2,
                6 => 5,
                other => other,
            };
        }
        self
    }
}

fn without_zeroes(item: &str) -> String {
    match item.split_once('/') {
        Some((protocol, port)) => format!("{protocol}/{}", port.trim_start_matches('0')),
        None => item.to_owned(),
    }
}

#[test]
fn an_address_is_never_read_in_two_ways() {
    for text in [
        "010.1.1.1",
        "1.2.3",
        "1.2.3.4 ",
        "0x1.2.3.4",
        "::ffff:192.0.2.7",
        "::ffff:c000:207",
        "::",
        "fe80::1%eth0",
        "2001:DB8::1",
        "2001:db8:0::1",
        "[::1]",
    ] {
        assert!(text.parse::<AllowIp>().is_err(), "{text}");
    }
    for text in ["0.0.0.0", "192.0.2.7", "2001:db8::7", "::1", "64:ff9b::c000:207"] {
        assert_eq!(text.parse::<AllowIp>().map(|allow| allow.to_string()).as_deref(), Ok(text));
    }
}
