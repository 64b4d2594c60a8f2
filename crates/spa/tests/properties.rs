//! What holds for every knock, every key and every byte a stranger can send.
//!
//! The fuzz targets state more of the same for longer; these run with every build.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has found something")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use spa::carrier::{self, Http};
use spa::{
    AllowIp, CipherKey, CipherMode, CommandText, Decoding, DigestType, HmacKey, Keys, Knock, Nat, NatTarget, Plaintext,
    PortList, PortSpec, Protocol, Request, SealError, Sealed, SealedPacket, ServerAuth, Timeout, UnixTime,
};

const DECODING: Decoding = Decoding { ipv6_allow: true };
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn port() -> impl Strategy<Value = NonZeroU16> {
    (1..=u16::MAX).prop_map(|port| NonZeroU16::new(port).unwrap())
}

fn ports() -> impl Strategy<Value = PortList> {
    let port = (select(vec![Protocol::Tcp, Protocol::Udp]), port());
    vec(port.prop_map(|(protocol, port)| PortSpec { protocol, port }), 1..6)
        .prop_map(|ports| PortList::new(ports).unwrap())
}

fn allow() -> impl Strategy<Value = AllowIp> {
    let address = prop_oneof![
        any::<Ipv4Addr>().prop_map(IpAddr::from), //
        any::<Ipv6Addr>().prop_map(IpAddr::from)
    ];
    address.prop_map(|address| address.try_into().unwrap_or(AllowIp::Source))
}

fn nat() -> impl Strategy<Value = Nat> {
    let host = "[a-z0-9]{1,10}(-[a-z0-9]{1,5})?(\\.[a-z0-9]{1,5}){0,2}";
    let target = (host, port()).prop_map(|(host, port)| NatTarget { host: host.parse().unwrap(), port }).boxed();
    prop_oneof![Just(Nat::None), target.clone().prop_map(Nat::Forward), target.prop_map(Nat::Local)]
}

fn request() -> impl Strategy<Value = Request> {
    let command = vec(1..=u8::MAX, 1..60).prop_map(|bytes| CommandText::new(bytes).unwrap());
    let timeout = prop_oneof![Just(None), (1..=65_536_u32).prop_map(|seconds| Timeout::new(seconds).unwrap())];
    prop_oneof![
        (allow(), command).prop_map(|(allow, command)| Request::Command { allow, command }),
        (allow(), ports(), nat(), timeout).prop_map(|(allow, ports, nat, timeout)| Request::Access {
            allow,
            ports,
            nat,
            timeout
        }),
    ]
}

fn knock() -> impl Strategy<Value = Knock> {
    let auth = proptest::option::weighted(0.2, vec(1..=u8::MAX, 1..20).prop_map(|auth| ServerAuth::new(auth).unwrap()));
    let name = "[A-Za-z0-9 !#$%&'().@^_`{}~-]{1,48}";
    ("[0-9]{16}", name, 1_000_000_000..=u64::from(u32::MAX), "[ -9;-~]{1,8}", request(), auth).prop_map(
        |(nonce, username, time, version, request, server_auth)| Knock {
            nonce: nonce.parse().unwrap(),
            username: username.parse().unwrap(),
            time: UnixTime(time),
            version: version.parse().unwrap(),
            request,
            server_auth,
        },
    )
}

fn digest() -> impl Strategy<Value = DigestType> {
    select(DigestType::ALL.to_vec())
}

fn cipher() -> impl Strategy<Value = (CipherKey, CipherMode)> {
    let key = vec(any::<u8>(), 1..=CipherKey::LONGEST).prop_map(|bytes| CipherKey::new(&bytes).unwrap());
    (key, select(CipherMode::ALL.to_vec()))
}

fn hmac() -> impl Strategy<Value = HmacKey> {
    (digest(), vec(any::<u8>(), 1..=HmacKey::LONGEST)).prop_map(|(digest, key)| HmacKey::new(digest, &key).unwrap())
}

/// Keys without or with an HMAC key.
fn keys() -> impl Strategy<Value = Keys> {
    (cipher(), proptest::option::of(hmac())).prop_map(|((cipher, mode), hmac)| Keys { cipher, mode, hmac })
}

/// Whatever a server can take; the rest is refused for its size and nothing else.
fn seal(knock: &Knock, keys: &Keys, digest: DigestType) -> Option<Sealed> {
    match knock.seal_with_salt(keys, digest, *b"saltsalt") {
        Ok(sealed) => Some(sealed),
        Err(SealError::TooLong { .. } | SealError::TooShort(_)) => None,
        Err(why) => panic!("{why}"),
    }
}

fn opens(text: &[u8], keys: &Keys) -> bool {
    SealedPacket::parse(text).is_ok_and(|packet| packet.open(keys, &DECODING).is_ok())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_sealed_opens_to_the_same(knock in knock(), keys in keys(), digest in digest()) {
        let Some(sealed) = seal(&knock, &keys, digest) else { return Ok(()) };
        let carried = carrier::unwrap(sealed.text().as_bytes(), None).unwrap();
        let packet = carried.packet().unwrap();
        // Servers that allow commands try the symmetric key whatever the length.
        let command = matches!(knock.request, Request::Command { .. });
        prop_assert!(command || !packet.is_of_gpg_size());
        prop_assert_eq!(packet.open(&keys, &DECODING), Ok(knock));
    }

    #[test]
    fn under_an_hmac_no_byte_can_be_changed_added_or_left_out(
        knock in knock(), (cipher, mode) in cipher(), hmac in hmac(), digest in digest(), other in any::<u8>(),
    ) {
        let keys = Keys { cipher, mode, hmac: Some(hmac) };
        let Some(sealed) = seal(&knock, &keys, digest) else { return Ok(()) };
        let text = sealed.text().as_bytes();
        let letter = ALPHABET[usize::from(other) % ALPHABET.len()];
        for at in 0..text.len() {
            for changed in [other, letter] {
                let mut packet = text.to_vec();
                packet[at] = changed;
                prop_assert!(packet == text || !opens(&packet, &keys), "byte {} changed", at);
            }
            prop_assert!(!opens(&[&text[..at], &[letter], &text[at..]].concat(), &keys), "one added before {}", at);
            prop_assert!(!opens(&[&text[..at], &text[at + 1..]].concat(), &keys), "{} left out", at);
        }
    }

    #[test]
    fn without_an_hmac_a_packet_still_has_one_spelling(
        knock in knock(), (cipher, mode) in cipher(), digest in digest(), middle in any::<Index>(),
    ) {
        let keys = Keys { cipher, mode, hmac: None };
        let Some(sealed) = seal(&knock, &keys, digest) else { return Ok(()) };
        let text = sealed.text().as_bytes();
        // At both ends base64 has bits to spare; what is changed in between the inner digest finds.
        let places = [0, middle.index(text.len()), text.len() - 1];
        for letter in ALPHABET {
            for at in places {
                let mut changed = text.to_vec();
                changed[at] = *letter;
                prop_assert!(changed == text || !opens(&changed, &keys), "byte {} changed", at);
            }
            prop_assert!(!opens(&[text, &[*letter]].concat(), &keys));
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..1600), keys in keys(), http in any::<(bool, bool)>()) {
        let _ = SealedPacket::parse(&bytes).map(|packet| packet.open(&keys, &DECODING));
        let _ = Plaintext::new(bytes.clone()).decode(&DECODING);
        let http = Http { any_user_agent: http.0, x_forwarded_for: http.1 };
        let _ = carrier::unwrap(&bytes, Some(&http)).map(|carried| carried.packet().is_ok());
        let request = [b"GET /", bytes.as_slice()].concat();
        let _ = carrier::unwrap(&request, Some(&http)).map(|carried| carried.packet().is_ok());
    }

    #[test]
    fn no_text_of_the_alphabet_makes_it_panic(letters in vec(select(ALPHABET.to_vec()), 0..1600), keys in keys()) {
        if let Ok(packet) = SealedPacket::parse(&letters) {
            prop_assert!(packet.open(&keys, &DECODING).is_err());
        }
    }

    #[test]
    fn no_text_makes_reading_a_field_panic(text in ".{0,80}") {
        let _ = (text.parse::<AllowIp>(), text.parse::<PortList>(), text.parse::<NatTarget>());
        let _ = (text.parse::<spa::Username>(), text.parse::<spa::Version>(), text.parse::<spa::Nonce>());
        let _ = (text.parse::<UnixTime>(), text.parse::<DigestType>(), text.parse::<CipherMode>());
        let _ = (text.parse::<spa::ReplayDigest>(), CipherKey::from_base64(&text));
        let _ = HmacKey::from_base64(DigestType::Md5, &text);
    }
}

/// Versions before 2.5 did not pad whole blocks, so decoders must take such packets; and so anybody can take off a block
/// that is nothing but padding. The two texts have different replay digests: for a stanza without an HMAC key a server must
/// not rely on them alone, but claim the name of the content, too.
#[test]
fn without_an_hmac_a_whole_block_of_padding_can_be_taken_off() {
    let mut keys = Keys { cipher: CipherKey::from_text("correct horse").unwrap(), mode: CipherMode::Cbc, hmac: None };
    let named = |length: usize| {
        let ports = "tcp/22".parse().unwrap();
        let request = Request::Access { allow: AllowIp::Source, ports, nat: Nat::None, timeout: None };
        let (nonce, name) = ("1234567890123456".parse().unwrap(), "a".repeat(length).parse().unwrap());
        Knock::new(nonce, name, UnixTime(1_700_000_000), request)
    };
    let whole_blocks = |sealed: &Sealed| (sealed.encoded_fields().len() + 1 + sealed.digest().len()).is_multiple_of(16);
    let mut all = (1..48).map(|length| (named(length), seal(&named(length), &keys, DigestType::Sha256).unwrap()));
    let (knock, sealed) = all.find(|(_, sealed)| whole_blocks(sealed)).expect("one in sixteen");

    let engine = base64::engine::general_purpose::STANDARD_NO_PAD;
    let container = base64::Engine::decode(&engine, format!("U2FsdGVkX1{}", sealed.text())).unwrap();
    let twin = base64::Engine::encode(&engine, &container[..container.len() - 16]).split_off(10);
    let packets = [sealed.text(), &twin].map(|text| SealedPacket::parse(text.as_bytes()).unwrap());
    for packet in packets {
        let opened = packet.open(&keys, &DECODING);
        assert_eq!(opened.as_ref().map(Knock::content_digest), Ok(knock.content_digest()), "this name is the same");
        assert_eq!(opened.as_ref(), Ok(&knock));
    }
    assert_ne!(packets[0].replay_digest(), packets[1].replay_digest());

    drop(all);
    keys.hmac = Some(HmacKey::from_text(DigestType::Sha256, "battery staple").unwrap());
    let text = seal(&knock, &keys, DigestType::Sha256).unwrap().text().to_owned();
    let (body, tag) = text.split_at(sealed.text().len());
    assert!(opens([body, tag].concat().as_bytes(), &keys));
    assert!(!opens([&twin, tag].concat().as_bytes(), &keys), "an HMAC prevents it");
}
