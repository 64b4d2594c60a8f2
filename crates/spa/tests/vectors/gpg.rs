//! OpenPGP packets: what can be said of them without gpg. (With gpg they are opened in the server's tests.)

use serde::Deserialize;
use spa::{Ciphertext, Decoding, DigestType, GpgPlaintext, HmacKey, Recipients, SealedPacket};

use crate::{Fields, Key, latin1, vectors};

#[derive(Deserialize)]
struct Gpg {
    id: String,
    inputs: GpgInputs,
    packet: String,
    plaintext: Option<String>,
    fields: Option<Fields>,
    expect: String,
    strict: Option<String>,
    #[serde(default)]
    reasons: Vec<String>,
    replay_digest: String,
}

#[derive(Deserialize)]
struct GpgInputs {
    hmac_key: Option<Key>,
    hmac_type: Option<String>,
}

impl Gpg {
    fn ciphertext(&self, recipients: Recipients) -> Result<Ciphertext, &'static str> {
        let digest = || self.inputs.hmac_type.as_deref().unwrap().parse::<DigestType>().unwrap();
        let packet = SealedPacket::parse(self.packet.as_bytes()).map_err(|why| why.reason())?;
        let authentic = match &self.inputs.hmac_key {
            None => packet.unauthenticated_gpg(recipients),
            Some(Key::Text(text)) => {
                packet.authenticate_gpg(&HmacKey::new(digest(), &latin1(text)).unwrap(), recipients)
            }
            Some(Key::Base64(text)) => {
                packet.authenticate_gpg(&HmacKey::from_base64(digest(), text).unwrap(), recipients)
            }
        };
        authentic.and_then(|packet| packet.ciphertext()).map_err(|why| why.reason())
    }
}

#[test]
fn gives_gpg_what_the_original_gives_it() {
    let mut refused = 0;
    for v in vectors::<Gpg>("gpg") {
        match v.ciphertext(Recipients::Stock) {
            Ok(ciphertext) => assert!(ciphertext.as_bytes().starts_with(&[0x85]), "{}", v.id),
            Err(reason) => {
                refused += 1;
                assert_eq!(v.expect, "reject", "{}", v.id);
                // Bits that were flipped or cut off may leave text that is not the one spelling of anything.
                let damaged = reason == "E_NOT_BASE64" && v.reasons.iter().any(|stated| stated == "E_GPG_DECRYPT");
                assert!(damaged || v.reasons.iter().any(|stated| stated == reason), "{}: {reason}", v.id);
            }
        }
        if v.packet.len() >= 400 {
            let digest = SealedPacket::parse(v.packet.as_bytes()).unwrap().replay_digest();
            assert_eq!(digest.to_string(), v.replay_digest, "{}", v.id);
        }
    }
    assert!(refused >= 4, "{refused}");
}

#[test]
fn a_message_for_an_elliptic_curve_is_read_if_asked_for() {
    for v in vectors::<Gpg>("gpg").iter().filter(|v| v.id == "G059") {
        assert_eq!(v.ciphertext(Recipients::Stock), Err("E_GPG_DECRYPT"));
        assert!(v.ciphertext(Recipients::AndElliptic).unwrap().as_bytes().starts_with(&[0x84, 0x5e, 3]));
    }
}

#[test]
fn reads_what_gpg_decrypted_and_refuses_the_rest_for_its_reason() {
    let mut read = 0;
    for v in vectors::<Gpg>("gpg") {
        let Some(plaintext) = &v.plaintext else { continue };
        read += 1;
        let decoded = GpgPlaintext::new(latin1(plaintext)).decode_with_digest(&Decoding::default());
        match (decoded, v.strict.as_ref().unwrap_or(&v.expect).as_str()) {
            (Ok((knock, digest)), "accept") => {
                assert_eq!(Fields::of(&knock, Some(digest)), v.fields.unwrap().canonical(), "{}", v.id);
            }
            (Err(why), "reject") => {
                let stated = v.reasons.iter().any(|stated| stated == why.reason());
                assert!(stated || (v.strict.is_some() && why.reason() == "E_RAND"), "{}: {}", v.id, why.reason());
            }
            (got, wanted) => panic!("{}: {got:?}, not {wanted}", v.id),
        }
    }
    assert!(read >= 9, "{read}");
}
