//! Packets recorded from the original, opened by ours. They are old, so packet ageing is off.

use std::collections::BTreeSet;
use std::time::Duration;

use interop::knock::deliver;
use interop::vectors::{Recorded, recorded};
use interop::{Daemon, Lab, Maker, Setup, Wall, eventually, now, wire};

const NO_AGEING: &str = "ENABLE_SPA_PACKET_AGING N;";

/// One stanza per distinct set of keys, open to everything the recorded packets ask for.
fn access(packets: &[Recorded]) -> String {
    let stanzas: BTreeSet<&str> = packets.iter().map(|packet| packet.stanza.as_str()).collect();
    // With an HMAC key first: a stanza without one would try to decrypt, and fail, whatever comes.
    let (with, without): (Vec<&str>, Vec<&str>) = stanzas.iter().partition(|stanza| stanza.contains("HMAC_KEY"));
    let write = |keys: &str| format!("SOURCE ANY\nFW_ACCESS_TIMEOUT 200\nMAX_FW_TIMEOUT 100000\n{keys}");
    with.iter().chain(&without).map(|keys| write(keys)).collect()
}

#[test]
fn every_packet_of_the_original_client_opens_what_it_asks_for() {
    let Some(lab) = Lab::or_skip() else { return };
    let packets = recorded("valid");
    Wall::Nft.raise(&lab.server);
    let daemon = Daemon::start(&lab, &Setup::new(Maker::Ours, Wall::Nft, &access(&packets)).line(NO_AGEING));
    for (sent, packet) in packets.iter().enumerate() {
        deliver(&lab.client, &packet.packet);
        let claimed = eventually(Duration::from_secs(3), || claims(&lab) > sent);
        assert!(claimed, "{} was not accepted: {packet:?}\n{}", packet.id, daemon.log());
    }
    // Refused for what it asks, not for what it is: no rule can be made for the broadcast address, and a door
    // for the address it came from is the client's.
    let allow = |packet: &Recorded| {
        if packet.allow == "0.0.0.0" { "192.0.2.10".to_owned() } else { packet.allow.clone() }
    };
    let asked: BTreeSet<String> = packets
        .iter()
        .flat_map(|packet| packet.ports.split(',').map(move |port| format!("{} {port}", allow(packet))))
        .collect();
    let open = || -> BTreeSet<String> {
        let doors = Wall::Nft.doors(&lab.server);
        doors.iter().map(|door| format!("{} {}/{}", door.client, door.protocol, door.port)).collect()
    };
    assert!(
        eventually(Duration::from_secs(3), || open().is_superset(&asked)),
        "{:?}\n{}",
        asked.difference(&open()),
        daemon.log()
    );
}

#[test]
fn a_timeout_that_was_asked_for_is_the_end_of_the_rule() {
    let Some(lab) = Lab::or_skip() else { return };
    let packets: Vec<Recorded> = recorded("valid").into_iter().filter(|packet| packet.timeout > 1).collect();
    assert!(!packets.is_empty());
    for packet in packets {
        Wall::Nft.reload(&lab.server);
        let setup = Setup::new(Maker::Ours, Wall::Nft, &access(std::slice::from_ref(&packet))).line(NO_AGEING);
        let daemon = Daemon::start(&lab, &setup);
        deliver(&lab.client, &packet.packet);
        assert!(eventually(Duration::from_secs(3), || !Wall::Nft.doors(&lab.server).is_empty()), "{}", daemon.log());
        let left = Wall::Nft.doors(&lab.server)[0].ends.expect("a door has an end").saturating_sub(now());
        assert!((packet.timeout - 2..=packet.timeout + 1).contains(&left), "{left} s left of {}", packet.timeout);
    }
}

#[test]
fn frames_as_they_were_captured_are_heard_on_the_loopback() {
    let frames = recorded("frames");
    let filter = "PCAP_INTF lo;\nENABLE_SPA_OVER_HTTP Y;\nPCAP_FILTER udp port 62201 or tcp port 62201 or icmp;";
    let Some(lab) = Lab::or_skip() else { return };
    Wall::Nft.raise(&lab.server);
    let setup = Setup::new(Maker::Ours, Wall::Nft, &access(&frames)).line(NO_AGEING).line(filter);
    let daemon = Daemon::start(&lab, &setup);
    for (sent, frame) in frames.iter().enumerate() {
        wire::raw(&lab.server, frame.ip_packet.as_ref().expect("a frame was captured whole"));
        let claimed = eventually(Duration::from_secs(3), || claims(&lab) > sent);
        assert!(claimed, "{} was not accepted\n{}", frame.id, daemon.log());
    }
    let doors = Wall::Nft.doors(&lab.server);
    assert!(
        doors.iter().any(|door| door.client.to_string() == "1.2.3.4" && door.port == 22),
        "{doors:?}\n{}",
        daemon.log()
    );
}

/// How many packets are used up, by the digest file.
fn claims(lab: &Lab) -> usize {
    let file = lab.server.run_folder().join("fwknop/digest.cache");
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).count()
}
