//! What the original sealed, we open, and read the same from it.

use serde::Deserialize;
use spa::carrier::{self, Http};
use spa::{Decoding, SealedPacket};

use crate::{Fields, Inputs, Key, hex, vectors};

#[derive(Deserialize)]
pub(crate) struct Valid {
    pub(crate) id: String,
    pub(crate) inputs: Inputs,
    pub(crate) fields: Fields,
    pub(crate) packet: String,
    pub(crate) intermediate: Intermediate,
    replay_digest: String,
    pub(crate) server: Server,
    hmac: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Intermediate {
    pub(crate) salt: String,
    pub(crate) encoded: String,
    pub(crate) digest: String,
    pub(crate) padding: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Server {
    pub(crate) accepts: bool,
    #[serde(default)]
    pub(crate) cmd_exec: bool,
}

#[test]
fn opens_what_the_original_sealed() {
    for v in vectors::<Valid>("valid") {
        let keys = v.inputs.keys().unwrap();
        let packet = SealedPacket::parse(v.packet.as_bytes()).unwrap_or_else(|why| panic!("{}: {why}", v.id));
        let authentic = match &keys.hmac {
            Some(key) => packet.authenticate(key).unwrap_or_else(|why| panic!("{}: {why}", v.id)),
            None => packet.unauthenticated(),
        };
        let plaintext = authentic.decrypt(&keys.cipher, keys.mode).unwrap_or_else(|why| panic!("{}: {why}", v.id));
        for ipv6_allow in [false, true] {
            let decoded = plaintext.decode_with_digest(&Decoding { ipv6_allow });
            let (knock, digest) = decoded.unwrap_or_else(|why| panic!("{}: {why}", v.id));
            assert_eq!(packet.open(&keys, &Decoding { ipv6_allow }), Ok(knock.clone()), "{}", v.id);
            assert_eq!(Fields::of(&knock, Some(digest)), v.fields.clone().canonical(), "{}", v.id);
        }
    }
}

#[test]
fn names_packets_as_the_original_does() {
    #[derive(Deserialize)]
    struct Entry {
        packet: String,
        digest: String,
        cache_line: String,
    }
    for v in vectors::<Valid>("valid") {
        let digest = SealedPacket::parse(v.packet.as_bytes()).unwrap().replay_digest();
        assert_eq!(digest.to_string(), v.replay_digest, "{}", v.id);
        assert_eq!(v.replay_digest.parse(), Ok(digest));
    }
    for entry in vectors::<Entry>("replay") {
        let digest = SealedPacket::parse(entry.packet.as_bytes()).unwrap().replay_digest();
        assert_eq!(digest.to_string(), entry.digest);
        assert_eq!(entry.cache_line.split(' ').next().map(str::parse), Some(Ok(digest)));
    }
}

#[test]
fn agrees_with_the_daemon_about_size() {
    for v in vectors::<Valid>("valid") {
        let payload = v.packet.as_bytes();
        let looked_at = carrier::unwrap(payload, None).is_ok();
        let small = !SealedPacket::parse(payload).unwrap().is_of_gpg_size();
        assert_eq!(looked_at && (small || v.server.cmd_exec), v.server.accepts, "{}", v.id);
    }
}

#[test]
fn the_hmac_is_the_end_of_the_packet() {
    for v in vectors::<Valid>("valid") {
        if let (Some(hmac), Some(key)) = (&v.hmac, v.inputs.keys().unwrap().hmac) {
            assert!(v.packet.ends_with(hmac.as_str()), "{}", v.id);
            assert_eq!(hmac.len(), key.digest().text_length(), "{}", v.id);
        }
    }
}

#[test]
fn opens_what_was_seen_on_the_wire_over_every_transport() {
    #[derive(Deserialize)]
    struct Frame {
        id: String,
        transport: String,
        ip_packet: String,
        payload_offset: usize,
        packet: String,
        key: Key,
        hmac_key: Option<Key>,
        hmac_type: Option<String>,
        mode: String,
        fields: Fields,
    }
    for v in vectors::<Frame>("frames") {
        let frame = hex(&v.ip_packet);
        let total = usize::from(u16::from_be_bytes([frame[2], frame[3]]));
        let payload = &frame[v.payload_offset..total];
        let carried = carrier::unwrap(payload, Some(&Http::default())).unwrap();
        let packet = carried.packet().unwrap();
        assert_eq!(packet.text(), v.packet, "{}", v.id);
        assert_eq!(carrier::unwrap(payload, None).unwrap().packet().is_ok(), v.transport != "http", "{}", v.id);
        let inputs = Inputs { key: v.key, mode: v.mode, hmac_key: v.hmac_key, hmac_type: v.hmac_type };
        let knock = packet.open(&inputs.keys().unwrap(), &Decoding::default()).unwrap();
        assert_eq!(
            Fields { digest_type: v.fields.digest_type.clone(), ..Fields::of(&knock, None) },
            v.fields.canonical()
        );
    }
}
