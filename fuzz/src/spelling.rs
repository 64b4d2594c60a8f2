//! The text forms of the protocol, written from its description and not with `spa`, as a second opinion.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use md5::{Digest, Md5};
use sha2::Sha256;
use spa::DigestType;

/// Puts the right digest behind encoded fields. Only of two kinds: the oldest one, and the usual one.
#[must_use]
pub fn with_digest(fields: &[u8], digest: DigestType) -> Vec<u8> {
    let digest = match digest {
        DigestType::Md5 => STANDARD_NO_PAD.encode(Md5::digest(fields)),
        _ => STANDARD_NO_PAD.encode(Sha256::digest(fields)),
    };
    [fields, b":", digest.as_bytes()].concat()
}

/// The bytes that a text from the wire, without HMAC, stands for.
#[must_use]
pub fn container(text: &str) -> Option<Vec<u8>> {
    STANDARD_NO_PAD.decode(format!("U2FsdGVkX1{text}")).ok()
}

/// The bytes of an inner field. Some genuine clients pad it.
#[must_use]
pub fn field(text: &str) -> Option<Vec<u8>> {
    STANDARD_NO_PAD.decode(text.trim_end_matches('=')).ok()
}
