//! The usual tutorial, word for word (client specification, 17.1), with real sshd, real nmap, a real firewall.
//!
//! The same story is told about the original, so that it is known to be true of what we replace.

use std::fs;
use std::time::Duration;

use interop::lab::{CLIENT, SERVER};
use interop::{Daemon, Host, Lab, Maker, PortState, Session, Setup, Sshd, Wall, eventually, nmap, now};
use nix::sys::signal::Signal;

#[test]
fn our_client_and_our_server_with_iptables() {
    tutorial(Maker::Ours, Maker::Ours, Wall::Iptables);
}

#[test]
fn our_client_and_our_server_with_nftables() {
    tutorial(Maker::Ours, Maker::Ours, Wall::Nft);
}

#[test]
fn the_original_at_both_ends() {
    tutorial(Maker::Original, Maker::Original, Wall::Iptables);
}

fn tutorial(client: Maker, server: Maker, wall: Wall) {
    let Some(lab) = Lab::or_skip() else { return };
    let sshd = Sshd::start(&lab);
    wall.raise(&lab.server);
    let before = wall.listing(&lab.server);

    // $ fwknop --key-gen --use-hmac --save-rc-stanza -A tcp/22 -D 192.0.2.20
    let fwknop = client.client().to_string_lossy().into_owned();
    let made =
        lab.client.must(&[&fwknop, "--key-gen", "--use-hmac", "--save-rc-stanza", "-A", "tcp/22", "-D", "192.0.2.20"]);
    assert!(made.contains("Wrote Rijndael and HMAC keys to rc file:"), "{made}");

    // The two key lines go into the server's access.conf.
    let rc = fs::read_to_string(lab.client.home().join(".fwknoprc")).expect("the client wrote its rc file");
    assert!(rc.contains("[192.0.2.20]") && rc.contains("USE_HMAC"), "{rc}");
    let keys: Vec<&str> =
        rc.lines().filter(|line| line.starts_with("KEY_BASE64") || line.starts_with("HMAC_KEY_BASE64")).collect();
    let access = format!("SOURCE ANY\nOPEN_PORTS tcp/22\nMAX_FW_TIMEOUT 300\n{}\n", keys.join("\n"));
    let mut daemon = Daemon::start(&lab, &Setup::new(server, wall, &access));

    // Before the knock nobody sees the port.
    assert_eq!(port_22(&lab.client), PortState::Filtered);
    assert_eq!(port_22(&lab.stranger), PortState::Filtered);

    // $ fwknop -n 192.0.2.20 -a 192.0.2.10 -U bob -v
    let knock = [fwknop.as_str(), "-n", "192.0.2.20", "-a", "192.0.2.10", "-U", "bob", "-v"];
    let said = lab.client.must(&knock);
    for line in [
        "Username: bob",
        "Message Type: 1 (Access msg)",
        "Message String: 192.0.2.10,tcp/22",
        "send_spa_packet: bytes sent: ",
    ] {
        assert!(said.contains(line), "no {line:?} in:\n{said}");
    }
    door_for_the_client(&lab, wall, &daemon, 30);
    assert_eq!(port_22(&lab.client), PortState::Open);
    assert_eq!(port_22(&lab.stranger), PortState::Filtered);

    let mut session = sshd.log_in(&lab.client);
    assert!(session.lives());

    // systemctl reload: ours keeps the door open, the original shuts all doors and must be knocked at again.
    daemon.signal(Signal::SIGHUP);
    assert!(daemon.says("Got SIGHUP. Re-reading configs."), "{}", daemon.log());
    assert!(daemon.says("Re-starting fwknopd"), "{}", daemon.log());
    assert!(daemon.says_times("Starting fwknopd main event loop.", 2), "{}", daemon.log());
    match server {
        Maker::Ours => assert_eq!(wall.only_door(&lab.server).client, CLIENT),
        Maker::Original => {
            lab.client.must(&knock);
            door_for_the_client(&lab, wall, &daemon, 30);
        }
    }
    assert_eq!(port_22(&lab.client), PortState::Open);

    // After 30 seconds it is closed again; the session that was open lives on.
    let end = wall.only_door(&lab.server).ends.expect("a door has an end");
    assert!(
        eventually(Duration::from_secs(33), || wall.doors(&lab.server).is_empty()),
        "{}",
        wall.listing(&lab.server)
    );
    assert!(now() <= end + 2, "closed {} s after its end", now().saturating_sub(end));
    assert_eq!(port_22(&lab.client), PortState::Filtered);
    assert!(session.lives(), "the session ended with the door");

    // $ fwknop … --fw-timeout 300: the end is asserted, not waited for.
    let said = lab.client.must(&[&knock[..], &["--fw-timeout", "300"]].concat());
    assert!(
        said.contains("Message Type: 3 (Client timeout access msg)") && said.contains("Client Timeout: 300"),
        "{said}"
    );
    door_for_the_client(&lab, wall, &daemon, 300);
    assert_eq!(port_22(&lab.client), PortState::Open);
    assert_eq!(port_22(&lab.stranger), PortState::Filtered);

    // A clean exit leaves the firewall as it was found, and the session alone.
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(wall.listing(&lab.server), before);
    assert_eq!(port_22(&lab.client), PortState::Filtered);
    still_there(&mut session);
}

fn still_there(session: &mut Session) {
    assert!(session.lives(), "the session ended with the daemon");
}

fn port_22(from: &Host) -> PortState {
    nmap(from, SERVER.into(), 22)
}

/// One door, for the client to tcp/22, that ends in so many seconds.
fn door_for_the_client(lab: &Lab, wall: Wall, daemon: &Daemon, seconds: u64) {
    let opened = eventually(Duration::from_secs(3), || !wall.doors(&lab.server).is_empty());
    assert!(opened, "{}\n{}", daemon.log(), wall.listing(&lab.server));
    let door = wall.only_door(&lab.server);
    assert_eq!((door.client, door.protocol.as_str(), door.port), (CLIENT.into(), "tcp", 22));
    let left = door.ends.expect("a door has an end").saturating_sub(now());
    assert!((seconds - 2..=seconds + 1).contains(&left), "{left} s left of {seconds}");
}
