//! A decoded knock says what stands in the plaintext, and can be sealed again.
//!
//! The first byte chooses digest and decoder option; the rest are the encoded fields, to which the right digest is added.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use spa::{CipherKey, CipherMode, Decoding, DigestType, Keys, Knock, Nat, Plaintext, Request, SealError, SealedPacket};
use spa_fuzz::spelling::{field, with_digest};

static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys {
    cipher: CipherKey::from_text("correct horse").expect("a key"),
    mode: CipherMode::Cbc,
    hmac: None,
});

fuzz_target!(|data: &[u8]| {
    let Some((options, fields)) = data.split_first() else { return };
    let digest = if options & 1 == 0 { DigestType::Sha256 } else { DigestType::Md5 };
    let decoding = Decoding { ipv6_allow: options & 2 != 0 };
    let plaintext = Plaintext::new(with_digest(fields, digest));
    let Some((knock, found)) = decode(&plaintext, &decoding) else { return };

    assert_eq!(found, digest);
    says(&knock, std::str::from_utf8(fields).expect("printable"));
    match knock.seal_with_salt(&KEYS, digest, *b"NaClNaCl") {
        Ok(sealed) => {
            let again = SealedPacket::parse(sealed.text().as_bytes()).expect("it was made to be one");
            assert_eq!(again.open(&KEYS, &decoding).as_ref(), Ok(&knock));
        }
        Err(SealError::TooShort(_) | SealError::TooLong { .. }) => {} // for a server; a decoder takes any length
        Err(why) => panic!("it was decoded, and cannot be encoded: {why}"),
    }
});

/// Reads the fields as the protocol's table of them has it, and compares.
fn says(knock: &Knock, fields: &str) {
    let mut fields = fields.split(':');
    let mut next = || fields.next().expect("a field");
    let unpack = |text: &str| field(text).expect("base64");
    assert_eq!(knock.nonce.as_str(), next(), "the random value");
    assert_eq!(knock.username.as_str().as_bytes(), unpack(next()), "the user name");
    assert_eq!(Ok(knock.time.0), next().parse(), "the time");
    assert_eq!(knock.version.as_str(), next(), "the version");
    let kind: u8 = next().parse().expect("a digit");
    let message = unpack(next());
    assert!(!message.contains(&0));
    match &knock.request {
        Request::Command { .. } => {
            assert_eq!(kind, 0);
            assert_eq!(message, knock.request.message());
        }
        Request::Access { allow, ports, nat, timeout } => {
            let message = String::from_utf8(message).expect("text");
            let (address, list) = message.split_once(',').expect("an address and ports");
            assert_eq!(address, allow.to_string());
            assert!(list.split(',').map(str::parse).eq(ports.iter().map(|port| Ok(*port))));
            let target = match nat {
                Nat::None => None,
                Nat::Forward(target) => Some((matches!(kind, 2 | 4), target)),
                Nat::Local(target) => Some((matches!(kind, 5 | 6), target)),
            };
            if let Some((right_kind, target)) = target {
                assert!(right_kind);
                let text = String::from_utf8(unpack(next())).expect("text");
                assert_eq!(text.parse().as_ref(), Ok(target));
            }
            let seconds = timeout.map_or(0, |timeout| timeout.seconds());
            let last = matches!(kind, 3 | 4 | 6).then(|| fields.next_back().expect("a timeout"));
            assert_eq!(last.map_or(Ok(0), str::parse), Ok(seconds));
        }
    }
    assert_eq!(fields.next().map(unpack).as_deref(), knock.server_auth.as_ref().map(|auth| auth.as_bytes()));
    assert_eq!(fields.next(), None);
}

#[cfg(not(feature = "planted"))]
fn decode(plaintext: &Plaintext, decoding: &Decoding) -> Option<(Knock, DigestType)> {
    plaintext.decode_with_digest(decoding).ok()
}

/// Planted: a version ends at its first blank.
#[cfg(feature = "planted")]
fn decode(plaintext: &Plaintext, decoding: &Decoding) -> Option<(Knock, DigestType)> {
    let (mut knock, digest) = plaintext.decode_with_digest(decoding).ok()?;
    let cut = knock.version.as_str().split(' ').next().and_then(|version| version.parse().ok());
    knock.version = cut.unwrap_or(knock.version);
    Some((knock, digest))
}
