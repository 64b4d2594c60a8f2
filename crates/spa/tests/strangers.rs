//! What a stranger's packet costs: turning it away allocates nothing, so nobody can wear a server's memory down.

#![allow(clippy::unwrap_used, reason = "a test that panics has found something")]

use allocation_counter::measure;
use spa::{DigestType, HmacKey, SealedPacket};

#[test]
fn a_stranger_is_turned_away_without_allocating() {
    let keys: Vec<HmacKey> =
        DigestType::ALL.into_iter().map(|digest| HmacKey::from_text(digest, "battery staple").unwrap()).collect();
    let longest = "A".repeat(1499);
    for payload in [&longest, "not base64, and long enough to be looked at", "short", &"B".repeat(225)] {
        let mut refused = 0;
        let used = measure(|| {
            for key in &keys {
                let opened = SealedPacket::parse(payload.as_bytes()).map(|packet| packet.authenticate(key).is_ok());
                refused += usize::from(opened != Ok(true));
            }
        });
        assert_eq!((refused, used.count_total), (keys.len(), 0), "{} bytes", payload.len());
    }
}

#[test]
fn looking_for_a_replay_allocates_nothing() {
    let packet = "A".repeat(225);
    let used = measure(|| assert!(SealedPacket::parse(packet.as_bytes()).map(|packet| packet.replay_digest()).is_ok()));
    assert_eq!(used.count_total, 0);
}
