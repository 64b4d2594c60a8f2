//! What is taken out of a request is a packet that could have been put in, never one with a prefix.
//!
//! The first byte holds the server's settings; the rest is the payload.

#![no_main]

use libfuzzer_sys::fuzz_target;
use spa::carrier::{Carried, Http, Request, unwrap};
use spa::{NotSpa, SealedPacket};

fuzz_target!(|data: &[u8]| {
    let Some((settings, payload)) = data.split_first() else { return };
    let http = Http { any_user_agent: settings & 2 != 0, x_forwarded_for: settings & 4 != 0 };
    let http = (settings & 1 != 0).then_some(http);
    let Some(text) = packet_of(payload, http.as_ref()) else { return };

    spa::ingress(&text).expect("the rules for payloads hold for what a request carried, too");
    let packet = SealedPacket::parse(&text).expect("it is a packet");
    if http.is_none() {
        assert_eq!(text, payload, "a bare payload is taken as it is");
    }
    let server = "192.0.2.10";
    let again = Request { packet: packet.text(), server, proxy: None, agent: "Fwknop/2.6.10" }.to_string();
    if again.len() <= 1500 {
        assert_eq!(packet_of(again.as_bytes(), Some(&Http::default())).as_ref(), Some(&text));
    }
});

fn packet_of(payload: &[u8], http: Option<&Http>) -> Option<Vec<u8>> {
    let carried: Result<Carried<'_>, NotSpa> = unwrap(payload, http);
    if cfg!(feature = "planted") && carried == Err(NotSpa::Prefix) {
        return planted(payload, http);
    }
    let carried = carried.ok()?;
    Some(carried.packet().ok()?.text().as_bytes().to_vec())
}

/// Planted: a prefix is looked for in the payload only, as the original does, and not in the data of a request.
fn planted(payload: &[u8], http: Option<&Http>) -> Option<Vec<u8>> {
    const BEGINNING: &[u8] = b"GET /U2FsdGVkX1";
    let rest = payload.strip_prefix(BEGINNING)?;
    let inner = packet_of(&[b"GET /", rest].concat(), http)?;
    Some([&BEGINNING[5..], &inner].concat())
}
