//! Packets that must lead to nothing: wrong, spoiled, used, stale, odd. Nothing opens, the daemon lives, the log says why.
//!
//! Every bad packet asks for the stranger's address. At the end a good one asks for the client's: when that door
//! is the only one, all that came before it was heard and refused.

use std::net::Ipv4Addr;
use std::time::Duration;

use interop::knock::deliver;
use interop::lab::{CLIENT, SERVER, STRANGER};
use interop::{Daemon, Keys, Knock, Lab, Maker, Setup, Wall, eventually, wire};

use Wall::{Iptables, Nft};

/// The server's SPA port.
const SPA: u16 = 62201;
/// Hears a packet over whatever it comes.
const ANY_TRANSPORT: &str = "PCAP_FILTER udp port 62201 or tcp port 62201 or icmp;";

/// A lab with our server in it. The packets come from the original's client: it makes every kind.
struct Scene {
    lab: Lab,
    daemon: Daemon,
    keys: Keys,
    wall: Wall,
}

fn scene(wall: Wall, access: &str, config: &str, arguments: &[&str]) -> Option<Scene> {
    let lab = Lab::or_skip()?;
    wall.raise(&lab.server);
    let keys = Keys::generate(Maker::Original, &lab.client);
    let setup = Setup::new(Maker::Ours, wall, &(keys.stanza() + access)).line(config).with(arguments);
    let daemon = Daemon::start(&lab, &setup);
    Some(Scene { lab, daemon, keys, wall })
}

impl Scene {
    fn knock(&self) -> Knock {
        Knock::new(Maker::Original, &self.keys)
    }

    /// A good packet for the stranger's address, not sent.
    fn packet(&self) -> String {
        self.knock().allow(STRANGER).packet(&self.lab.client)
    }

    fn deliver(&self, packet: &str) {
        deliver(&self.lab.client, packet);
    }

    /// Lets a good packet open its door, and waits until that has closed again.
    fn use_up(&self, packet: &str) {
        self.deliver(packet);
        assert!(
            eventually(Duration::from_secs(3), || !self.wall.doors(&self.lab.server).is_empty()),
            "{}",
            self.daemon.log()
        );
        assert!(
            eventually(Duration::from_secs(6), || self.wall.doors(&self.lab.server).is_empty()),
            "{}",
            self.daemon.log()
        );
    }

    /// A good knock opens the client's door, and no other stands open.
    fn only_the_good_one_gets_in(&mut self) {
        self.knock().send(&self.lab.client);
        let opened = eventually(Duration::from_secs(3), || !self.wall.doors(&self.lab.server).is_empty());
        assert!(opened && self.daemon.runs(), "{}", self.daemon.log());
        let doors = self.wall.doors(&self.lab.server);
        assert!(doors.iter().all(|door| door.client == CLIENT), "{doors:?}\n{}", self.daemon.log());
    }

    fn says(&self, why: &str) {
        assert!(self.daemon.says(why), "no {why:?} in:\n{}", self.daemon.log());
    }
}

#[test]
fn wrong_keys() {
    let Some(mut scene) = scene(Nft, "", "", &[]) else {
        return;
    };
    let others = Keys::generate(Maker::Original, &scene.lab.client);
    Knock::new(Maker::Original, &others).allow(STRANGER).send(&scene.lab.client);
    scene.says("(stanza #1) SPA Packet from IP: 192.0.2.10 received with access source match");
    scene.says("(stanza #1) Non-corresponding HMAC for this stanza");
    scene.only_the_good_one_gets_in();
}

#[test]
fn the_right_hmac_key_with_the_wrong_cipher_key() {
    let Some(mut scene) = scene(Nft, "", "", &[]) else {
        return;
    };
    let other = Keys::generate(Maker::Original, &scene.lab.client);
    let mixed = Keys { cipher: other.cipher, hmac: scene.keys.hmac.clone() };
    Knock::new(Maker::Original, &mixed).allow(STRANGER).send(&scene.lab.client);
    scene.says("[192.0.2.10] (stanza #1) Error creating fko context:");
    scene.only_the_good_one_gets_in();
}

#[test]
fn every_kind_of_mutation() {
    let Some(mut scene) = scene(Nft, "", "", &[]) else {
        return;
    };
    let good = scene.packet();
    for at in (0..good.len()).step_by(7) {
        let mut spoiled = good.clone().into_bytes();
        spoiled[at] = if spoiled[at] == b'A' { b'B' } else { b'A' };
        wire::udp(&scene.lab.client, (SERVER, SPA).into(), &spoiled);
    }
    scene.deliver(&good[1..]);
    scene.deliver(&good[..good.len() - 1]);
    scene.deliver(&format!("{good}A"));
    scene.deliver(&format!("{good}\n"));
    scene.deliver(&good.to_lowercase());
    scene.says("Non-corresponding HMAC for this stanza");
    scene.only_the_good_one_gets_in();
}

#[test]
fn replayed_in_every_spelling_and_over_every_transport() {
    for wall in [Nft, Iptables] {
        let Some(mut scene) = scene(wall, "FW_ACCESS_TIMEOUT 2\n", ANY_TRANSPORT, &[]) else {
            return;
        };
        let packet = scene.packet();
        scene.use_up(&packet);

        scene.deliver(&packet);
        scene.says("Replay detected from source IP: 192.0.2.10, Destination proto/port: 17/62201, Original source IP: 192.0.2.10");
        deliver(&scene.lab.stranger, &packet);
        scene.says("Replay detected from source IP: 192.0.2.11");
        for spelling in [
            format!("{packet}="),
            format!("{packet}=="),
            format!("U2FsdGVkX1{packet}"),
            format!(" {packet}"),
            format!("{packet}\0"),
            packet.replace('+', "-").replace('/', "_"),
            format!("GET /{packet} HTTP/1.0\r\nUser-Agent: Fwknop/2.6.10\r\n\r\n"),
        ] {
            scene.deliver(&spelling);
        }
        let client = &scene.lab.client;
        wire::raw(client, &wire::ipv4(CLIENT, SERVER, 6, &wire::tcp_body(40000, SPA, packet.as_bytes())));
        wire::raw(client, &wire::ipv4(CLIENT, SERVER, 1, &wire::icmp_body(packet.as_bytes())));
        wire::raw(
            client,
            &wire::ipv4(Ipv4Addr::new(192, 0, 2, 77), SERVER, 17, &wire::udp_body(1, SPA, packet.as_bytes())),
        );
        scene.only_the_good_one_gets_in();
    }
}

#[test]
fn stale_and_from_the_future() {
    let Some(mut scene) = scene(Nft, "", "", &[]) else {
        return;
    };
    for offset in ["--time-offset-minus", "--time-offset-plus"] {
        let packet = scene.knock().allow(STRANGER).with(&[offset, "10M"]).packet(&scene.lab.client);
        let before = scene.daemon.log().matches("SPA data time difference is too great (").count();
        scene.deliver(&packet);
        assert!(
            scene.daemon.says_times("SPA data time difference is too great (", before + 1),
            "{}",
            scene.daemon.log()
        );
        // Used up although it was refused: whoever recorded it cannot wait for its time to come.
        let before = scene.daemon.log().matches("Replay detected from source IP:").count();
        scene.deliver(&packet);
        assert!(scene.daemon.says_times("Replay detected from source IP:", before + 1), "{}", scene.daemon.log());
    }
    scene.only_the_good_one_gets_in();
}

#[test]
fn sizes_no_packet_has() {
    let Some(mut scene) = scene(Nft, "", "", &[]) else {
        return;
    };
    let good = scene.packet();
    for length in [0, 1, 35, 36, 139, 140, 399, 400, 401, 1400, 1472, 1499, 1500, 1501, 9000, 65507] {
        let text: String = good.chars().cycle().take(length).collect();
        scene.deliver(&text);
        scene.deliver(&"hQ".chars().cycle().take(length).collect::<String>());
        wire::udp(&scene.lab.client, (SERVER, SPA).into(), &vec![0xff; length]);
    }
    scene.only_the_good_one_gets_in();
}

#[test]
fn in_fragments() {
    let Some(mut scene) = scene(Nft, "", "", &[]) else {
        return;
    };
    let body = wire::udp_body(40000, SPA, scene.packet().as_bytes());
    for fragment in wire::fragments(CLIENT, SERVER, 17, &body, 64) {
        wire::raw(&scene.lab.client, &fragment);
    }
    // A first fragment that says more will come, although it holds everything.
    let mut padded = wire::udp_body(40000, SPA, scene.packet().as_bytes());
    padded.resize(padded.len().next_multiple_of(8) + 8, b'A');
    let whole = padded.len() - 8;
    wire::raw(&scene.lab.client, &wire::fragments(CLIENT, SERVER, 17, &padded, whole)[0]);
    scene.only_the_good_one_gets_in();
}

#[test]
fn headers_that_lie() {
    let Some(mut scene) = scene(Nft, "FW_ACCESS_TIMEOUT 2\n", ANY_TRANSPORT, &[]) else { return };
    // As the original, ours does not care what the UDP header says of the length. So the packet is a used one.
    let used = scene.packet();
    scene.use_up(&used);
    let mut short_udp = wire::udp_body(40000, SPA, used.as_bytes());
    short_udp[4..6].copy_from_slice(&7_u16.to_be_bytes());
    let mut long_udp = wire::udp_body(40000, SPA, used.as_bytes());
    long_udp[4..6].copy_from_slice(&9999_u16.to_be_bytes());
    let mut tcp = wire::tcp_body(40000, SPA, used.as_bytes());
    tcp[12] = 0xf0;
    for (protocol, body) in [(17, short_udp), (17, long_udp), (6, tcp), (6, vec![0; 3]), (17, vec![]), (1, vec![8])] {
        wire::raw(&scene.lab.client, &wire::ipv4(CLIENT, SERVER, protocol, &body));
    }
    scene.only_the_good_one_gets_in();
}

#[test]
fn from_a_source_no_stanza_covers() {
    let Some(mut scene) = scene(Nft, "", "", &[]) else {
        return;
    };
    // The first stanza covers everybody; write it anew so that it covers the client only.
    let access = scene.keys.stanza().replace("SOURCE ANY", "SOURCE 192.0.2.10");
    drop(scene.daemon);
    scene.daemon = Daemon::start(&scene.lab, &Setup::new(Maker::Ours, Nft, &access));
    deliver(&scene.lab.stranger, &scene.packet());
    scene.says("No access data found for source IP: 192.0.2.11");
    scene.only_the_good_one_gets_in();
}

#[test]
fn what_the_stanza_forbids() {
    let refused = [
        (
            "",
            &["-A", "tcp/23"][..],
            "[192.0.2.10] (stanza #1) One or more requested protocol/ports was denied per access.conf.",
        ),
        (
            "",
            &["-A", "tcp/22,udp/22"],
            "[192.0.2.10] (stanza #1) One or more requested protocol/ports was denied per access.conf.",
        ),
        (
            "REQUIRE_USERNAME alice\n",
            &["-U", "mallory"],
            "[192.0.2.10] (stanza #1) Username in SPA data (mallory) does not match required username: alice",
        ),
        (
            "REQUIRE_SOURCE_ADDRESS Y\n",
            &["-s"],
            "[192.0.2.10] (stanza #1) Got 0.0.0.0 when valid source IP was required.",
        ),
        ("ACCESS_EXPIRE_EPOCH 1000000000\n", &[], "[192.0.2.10] (stanza #1) Access stanza has expired"),
    ];
    for (access, arguments, why) in refused {
        let Some(mut scene) = scene(Nft, access, "", &[]) else {
            return;
        };
        scene.knock().allow(STRANGER).with(arguments).send(&scene.lab.client);
        scene.says(why);
        assert_eq!(scene.wall.doors(&scene.lab.server), [], "{}", scene.daemon.log());
        assert!(scene.daemon.runs());
    }
}

#[test]
fn a_command_where_none_is_allowed() {
    let Some(mut scene) = scene(Nft, "", "", &[]) else {
        return;
    };
    let trace = scene.lab.folder().join("trace");
    let command = format!("touch {}", trace.display());
    scene.knock().allow(STRANGER).with(&["-C", &command]).send(&scene.lab.client);
    scene.says("[192.0.2.10] (stanza #1) SPA Command messages are not allowed in the current configuration.");
    scene.only_the_good_one_gets_in();
    assert!(!trace.exists());
}
