//! The primitives against single values made by the original: base64, key derivation, digests, HMAC, HTTP requests, ages.

use serde_json::Value;

use crate::carrier::Request;
use crate::crypto::SALT;
use crate::{CipherKey, CipherMode, DigestType, HmacKey, UnixTime, base64};

fn table(name: &str) -> Vec<Value> {
    let mut tables: Value = serde_json::from_str(include_str!("../tests/vectors/micro.json")).unwrap();
    serde_json::from_value(tables[name].take()).unwrap()
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} in {value}"))
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn key(value: &Value) -> Vec<u8> {
    match value["text"].as_str() {
        Some(text) => text.bytes().collect(),
        None => base64::decode_generously(text(value, "base64")).unwrap(),
    }
}

#[test]
fn base64_has_no_padding() {
    for v in table("base64") {
        let (bytes, spelled) = (hex(text(&v, "hex")), text(&v, "text"));
        assert_eq!(base64::encode(&bytes), spelled);
        assert_eq!(base64::decode(spelled), Ok(bytes.clone()));
        assert_eq!(base64::decode_field(spelled), Ok(bytes.clone()));
        assert_eq!(base64::decode_generously(&base64::encode_key(&bytes)), Ok(bytes));
    }
}

#[test]
fn keys_are_derived_as_openssl_once_did() {
    for v in table("kdf") {
        let mode: CipherMode = text(&v, "mode").parse().unwrap();
        let salt: [u8; SALT] = hex(text(&v, "salt")).try_into().unwrap();
        let derived = CipherKey::new(&key(&v["key"])).unwrap().derive(mode, &salt);
        let parts = derived.parts();
        assert_eq!((parts.0.to_vec(), parts.1.to_vec()), (hex(text(&v, "aes_key")), hex(text(&v, "aes_iv"))), "{v}");
    }
}

#[test]
fn digests_are_the_standard_ones() {
    for v in table("digest") {
        let kind: DigestType = text(&v, "type").parse().unwrap();
        assert_eq!(kind.of(text(&v, "data").as_bytes()).as_str(), text(&v, "text"), "{v}");
        assert_eq!(kind.text_length(), text(&v, "text").len());
    }
}

#[test]
fn hmacs_are_the_standard_ones_at_every_key_length() {
    for v in table("hmac") {
        let kind: DigestType = text(&v, "type").parse().unwrap();
        let key = HmacKey::new(kind, &key(&v["key"])).unwrap();
        let data = text(&v, "data").as_bytes();
        assert_eq!(key.state().tag(&[data]).as_str(), text(&v, "text"), "{v}");
        let (left, right) = data.split_at(10);
        assert_eq!(key.state().tag(&[left, right]).as_str(), text(&v, "text"), "in two pieces: {v}");
    }
}

#[test]
fn http_requests_are_those_of_the_original_byte_for_byte() {
    for v in table("http") {
        let request = Request {
            packet: text(&v, "packet"),
            server: text(&v, "host"),
            proxy: v["proxy"].as_str(),
            agent: text(&v, "agent"),
        };
        assert_eq!(request.to_string(), text(&v, "request"));
    }
}

#[test]
fn a_packet_from_the_future_is_as_bad_as_an_old_one() {
    for v in table("aging") {
        let number = |name: &str| v[name].as_u64().unwrap();
        let fresh = UnixTime(number("timestamp")).distance(UnixTime(number("now"))) <= number("max_age");
        assert_eq!(Some(fresh), v["fresh"].as_bool(), "{v}");
    }
}
