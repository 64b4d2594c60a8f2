//! The good packets of the test vectors, with the keys that open them.

use std::sync::LazyLock;

use serde_json::Value;
use spa::{CipherKey, Decoding, HmacKey, Keys, Knock, SealedPacket};

/// A packet that was made by the original, or by the reference encoder.
pub struct Genuine {
    /// Its text.
    pub text: String,
    /// The keys that it was made with.
    pub keys: Keys,
    /// What it says.
    pub knock: Knock,
}

/// All of them, in the order of the file.
pub static GENUINE: LazyLock<Vec<Genuine>> = LazyLock::new(|| {
    let vectors = include_str!("../../crates/spa/tests/vectors/valid.json");
    let vectors: Vec<Value> = serde_json::from_str(vectors).expect("the vectors are JSON");
    vectors.iter().map(genuine).collect()
});

fn genuine(vector: &Value) -> Genuine {
    let inputs = &vector["inputs"];
    let keys = Keys {
        cipher: match key(&inputs["key"]) {
            (text, true) => CipherKey::from_text(text),
            (text, false) => CipherKey::from_base64(text),
        }
        .expect("a key"),
        mode: inputs["mode"].as_str().unwrap_or_default().parse().expect("a mode"),
        hmac: inputs["hmac_type"].as_str().map(|digest| {
            let digest = digest.parse().expect("a digest type");
            match key(&inputs["hmac_key"]) {
                (text, true) => HmacKey::from_text(digest, text),
                (text, false) => HmacKey::from_base64(digest, text),
            }
            .expect("an HMAC key")
        }),
    };
    let text = vector["packet"].as_str().unwrap_or_default().to_owned();
    let packet = SealedPacket::parse(text.as_bytes()).expect("a packet");
    let knock = packet.open(&keys, &Decoding::default()).expect("it opens");
    Genuine { text, keys, knock }
}

/// A key's text, and whether it is the key itself or base64 of it.
fn key(value: &Value) -> (&str, bool) {
    match value["text"].as_str() {
        Some(text) => (text, true),
        None => (value["base64"].as_str().unwrap_or_default(), false),
    }
}
