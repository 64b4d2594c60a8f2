//! Only a genuine packet opens, and only in its own spelling.
//!
//! The first byte chooses the keys of a packet that the original made; the rest is the payload.

#![no_main]

use libfuzzer_sys::fuzz_target;
use spa::{Decoding, Keys, Knock, OpenError, SealedPacket};
use spa_fuzz::genuine::{GENUINE, Genuine};
use spa_fuzz::spelling::container;

fuzz_target!(|data: &[u8]| {
    let Some((chosen, payload)) = data.split_first() else { return };
    let keys = &GENUINE[usize::from(*chosen) % GENUINE.len()].keys;
    let Ok(packet) = SealedPacket::parse(payload) else { return };
    match open(&packet, keys) {
        Ok(knock) => {
            let origin = GENUINE.iter().find(|genuine| same_packet(genuine, packet.text(), keys.hmac.is_some()));
            let origin = origin.expect("a packet opened that nobody with the keys had made");
            assert_eq!(knock, origin.knock);
        }
        Err(why) => assert!(!why.reason().is_empty() && !why.fko().text.is_empty() && !why.to_string().is_empty()),
    }
});

/// With an HMAC, a packet has one spelling. Without, two changes are open to everybody: an HMAC that was there can be taken
/// off; and, because versions before 2.5 added no padding to whole blocks, so can a last block that is nothing but padding.
fn same_packet(genuine: &Genuine, text: &str, has_hmac: bool) -> bool {
    if has_hmac {
        return genuine.text == text;
    }
    let tag = genuine.keys.hmac.as_ref().map_or(0, |key| key.digest().text_length());
    let whole = container(&genuine.text[..genuine.text.len() - tag]).expect("it is base64");
    let (without_last_block, _) = whole.split_at(whole.len() - 16);
    container(text).is_some_and(|found| found == whole || found == without_last_block)
}

#[cfg(not(feature = "planted"))]
fn open(packet: &SealedPacket<'_>, keys: &Keys) -> Result<Knock, OpenError> {
    packet.open(keys, &Decoding::default())
}

/// Planted: texts are compared without regard to upper and lower case.
#[cfg(feature = "planted")]
fn open(packet: &SealedPacket<'_>, keys: &Keys) -> Result<Knock, OpenError> {
    let genuine = GENUINE.iter().find(|genuine| genuine.text.eq_ignore_ascii_case(packet.text()));
    match genuine {
        Some(genuine) => Ok(genuine.knock.clone()),
        None => packet.open(keys, &Decoding::default()),
    }
}
