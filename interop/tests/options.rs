//! What the options of the server do, seen from outside.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use interop::lab::{CLIENT, SERVER, STRANGER};
use interop::scan::reaches_ssh;
use interop::{Daemon, Keys, Knock, Lab, Maker, Setup, Sshd, Wall, eventually, wire};

use Maker::{Original, Ours};
use Wall::{Iptables, Nft};

fn lab(wall: Wall) -> Option<(Lab, Keys, Setup)> {
    let lab = Lab::or_skip()?;
    wall.raise(&lab.server);
    let keys = Keys::generate(Original, &lab.client);
    let setup = Setup::new(Ours, wall, &keys.stanza());
    Some((lab, keys, setup))
}

fn opens(lab: &Lab, wall: Wall, daemon: &Daemon) {
    let open = || wall.doors(&lab.server).iter().any(|door| door.client == CLIENT);
    assert!(eventually(Duration::from_secs(3), open), "{}", daemon.log());
}

#[test]
fn a_firewall_that_is_not_named_is_found_by_where_the_machine_drops() {
    for wall in [Nft, Iptables] {
        let Some((lab, keys, setup)) = lab(wall) else { return };
        let daemon = Daemon::start(&lab, &Setup { names_wall: false, ..setup });
        Knock::new(Original, &keys).send(&lab.client);
        opens(&lab, wall, &daemon);
    }
}

#[test]
fn two_firewalls_that_drop_are_refused_and_named() {
    let Some((lab, _keys, setup)) = lab(Nft) else { return };
    Iptables.raise(&lab.server);
    let setup = Setup { names_wall: false, ..setup };
    setup.write(&lab.server);
    let done = setup.run(&lab.server, &["-f"]);
    assert_eq!(done.code, Some(1), "{done:?}");
    let said = done.out.clone() + &done.err;
    assert!(said.contains("iptables") && said.contains("nft"), "{said}");
}

#[test]
fn the_chain_to_work_in_can_be_named() {
    let Some((lab, keys, setup)) = lab(Nft) else { return };
    let _sshd = Sshd::start_behind(&lab, Nft);
    lab.server.sh("nft 'table ip6 other { chain in { type filter hook input priority 10; tcp dport 22 drop; }; }'");
    let other = |listing: &str| listing.split_once("table ip6 other").map(|(_, rest)| rest.to_owned());
    let before = Nft.listing(&lab.server);
    let daemon = Daemon::start(&lab, &setup.line("NFT_INPUT inet filter input;"));
    Knock::new(Original, &keys).send(&lab.client);
    opens(&lab, Nft, &daemon);
    assert!(reaches_ssh(&lab.client, SERVER), "{}", Nft.listing(&lab.server));
    assert_eq!(other(&Nft.listing(&lab.server)), other(&before), "the chain that was not named was changed");
}

#[test]
fn every_chain_that_can_drop_gets_the_jump() {
    let Some((lab, keys, setup)) = lab(Nft) else { return };
    let _sshd = Sshd::start_behind(&lab, Nft);
    lab.server.sh("nft 'table ip second { chain in { type filter hook input priority 10; ct state established accept; tcp dport 22 drop; }; }'");
    let before = Nft.listing(&lab.server);
    let mut daemon = Daemon::start(&lab, &setup);
    Knock::new(Original, &keys).send(&lab.client);
    opens(&lab, Nft, &daemon);
    assert!(reaches_ssh(&lab.client, SERVER), "{}", Nft.listing(&lab.server));
    assert!(!reaches_ssh(&lab.stranger, SERVER));
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(Nft.listing(&lab.server), before);
}

#[test]
fn the_service_manager_is_told_when_it_is_ready() {
    let Some((lab, _keys, setup)) = lab(Nft) else { return };
    let path = lab.folder().join("notify");
    let manager = UnixDatagram::bind(&path).expect("the lab's folder can be written");
    manager.set_read_timeout(Some(Duration::from_secs(5))).expect("a time limit can be set");
    let told = format!("NOTIFY_SOCKET={}", path.display());
    let _daemon = Daemon::start_within(&lab, &setup, &["env", &told]);
    let mut message = [0; 1024];
    let length = manager.recv(&mut message).expect("a message comes");
    let message = String::from_utf8_lossy(&message[..length]).into_owned();
    assert!(message.lines().any(|line| line == "READY=1"), "{message}");
}

#[test]
fn test_mode_decides_and_opens_nothing() {
    let Some((lab, keys, setup)) = lab(Nft) else { return };
    let before = Nft.listing(&lab.server);
    let daemon = Daemon::start(&lab, &setup.with(&["-t"]));
    Knock::new(Original, &keys).send(&lab.client);
    assert!(daemon.says("--test mode enabled, skipping firewall manipulation."), "{}", daemon.log());
    assert_eq!(Nft.listing(&lab.server), before);
}

#[test]
fn a_packet_limit_ends_it_with_status_0() {
    let Some((lab, keys, setup)) = lab(Nft) else { return };
    let before = Nft.listing(&lab.server);
    let mut daemon = Daemon::start(&lab, &setup.with(&["-C", "2"]));
    Knock::new(Original, &keys).send(&lab.client);
    opens(&lab, Nft, &daemon);
    Knock::new(Original, &keys).send(&lab.client);
    assert!(daemon.ends(), "{}", daemon.log());
    assert_eq!(daemon.exit_code(), Some(0));
    assert!(daemon.log().contains("Packet count limit (2) reached. Exiting..."), "{}", daemon.log());
    assert_eq!(Nft.listing(&lab.server), before);
}

#[test]
fn another_filter_hears_another_port() {
    let Some((lab, keys, setup)) = lab(Nft) else { return };
    let daemon = Daemon::start(&lab, &setup.with(&["-P", "udp dst port 5353"]));
    assert!(daemon.says("PCAP filter is: 'udp dst port 5353'"), "{}", daemon.log());
    Knock::new(Original, &keys).allow(STRANGER).send(&lab.client);
    let packet = Knock::new(Original, &keys).packet(&lab.client);
    wire::udp(&lab.client, SocketAddr::new(SERVER.into(), 5353), packet.as_bytes());
    opens(&lab, Nft, &daemon);
    assert_eq!(Nft.only_door(&lab.server).client, CLIENT);
}

#[test]
fn other_places_for_files_and_a_second_configuration() {
    let Some((lab, keys, setup)) = lab(Nft) else { return };
    let folder = lab.server.etc();
    let write = |name: &str, text: &str| {
        fs::write(folder.join(name), text).expect("the lab's folder can be written");
        folder.join(name).to_string_lossy().into_owned()
    };
    let access = write("another-access.conf", &keys.stanza());
    let over = write("override.conf", "UDPSERV_PORT 4000;\nENABLE_UDP_SERVER Y;\n");
    let setup = Setup { access: "SOURCE ANY\nKEY nobody\nHMAC_KEY nothing\n".into(), ..setup };
    let arguments = ["-a", &access, "-O", &over, "-r", "/run/elsewhere", "-p", "/run/elsewhere/my.pid"];
    let mut daemon = Daemon::start(&lab, &setup.with(&arguments));
    assert!(daemon.says("Kicking off UDP server to listen on port 4000."), "{}", daemon.log());
    let run = lab.server.run_folder().join("elsewhere");
    let pid = fs::read_to_string(run.join("my.pid")).expect("the PID file is where it was asked for");
    assert_eq!(pid.trim(), daemon.main().0.to_string());
    assert!(run.join("digest.cache").exists());
    let packet = Knock::new(Original, &keys).packet(&lab.client);
    wire::udp(&lab.client, SocketAddr::new(SERVER.into(), 4000), packet.as_bytes());
    opens(&lab, Nft, &daemon);
    assert_eq!(daemon.stop(), Some(0));
}
