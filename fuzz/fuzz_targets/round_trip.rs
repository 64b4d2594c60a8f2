//! What is sealed opens to the same knock; under an HMAC no byte can be changed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use spa::{Decoding, DigestType, Keys, Knock, Request, SealError, Sealed, SealedPacket};
use spa_fuzz::draw::Draw;

fuzz_target!(|data: &[u8]| {
    let mut draw = Draw(data);
    let (keys, knock) = (draw.keys(), draw.knock());
    let digest = draw.one_of(&DigestType::ALL);
    let sealed = match seal(&knock, &keys, digest, draw.bytes()) {
        Ok(sealed) => sealed,
        Err(SealError::Field(why)) => panic!("drawn knocks have good fields: {why}"),
        Err(_) => return, // too long or too short for a server
    };
    let (text, decoding) = (sealed.text(), Decoding { ipv6_allow: true });
    let packet = SealedPacket::parse(text.as_bytes()).expect("it was made to be one");
    // Servers that allow commands try the symmetric key whatever the length.
    let command = matches!(knock.request, Request::Command { .. });
    assert!(spa::ingress(text.as_bytes()).is_ok() && (command || !packet.is_of_gpg_size()));
    assert_eq!(packet.open(&keys, &decoding).as_ref(), Ok(&knock), "it opens to another knock");

    let Some(hmac) = &keys.hmac else { return };
    let (at, other) = (usize::from(u16::from_le_bytes(draw.bytes())) % text.len(), draw.byte());
    let mut changed = text.as_bytes().to_vec();
    changed[at] = other;
    if changed != text.as_bytes()
        && let Ok(changed) = SealedPacket::parse(&changed)
    {
        assert!(changed.authenticate(hmac).is_err(), "byte {at} was changed");
    }
});

#[cfg(not(feature = "planted"))]
fn seal(knock: &Knock, keys: &Keys, digest: DigestType, salt: [u8; 8]) -> Result<Sealed, SealError> {
    knock.seal_with_salt(keys, digest, salt)
}

/// Planted: of two ports the second is lost where a host name of one letter follows, and the packet has no HMAC.
#[cfg(feature = "planted")]
fn seal(knock: &Knock, keys: &Keys, digest: DigestType, salt: [u8; 8]) -> Result<Sealed, SealError> {
    let mut knock = knock.clone();
    if let spa::Request::Access { ports, nat: spa::Nat::Forward(target), .. } = &mut knock.request
        && let [first, _] = *ports.as_slice()
        && target.host.as_str().len() == 1
        && keys.hmac.is_none()
    {
        *ports = first.into();
    }
    knock.seal_with_salt(keys, digest, salt)
}
