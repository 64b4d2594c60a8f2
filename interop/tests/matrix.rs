//! Who understands whom: {our client, the original's} × {our server, the original's} × {iptables, nftables where ours}.

use std::time::Duration;

use interop::lab::{CLIENT, SERVER};
use interop::{Daemon, Keys, Knock, Lab, Maker, PortState, Setup, Sshd, Wall, eventually, nmap};

use Maker::{Original, Ours};
use Wall::{Iptables, Nft};

#[test]
fn our_client_at_our_server_with_iptables() {
    knock_open_close(Ours, Ours, Iptables);
}

#[test]
fn our_client_at_our_server_with_nftables() {
    knock_open_close(Ours, Ours, Nft);
}

#[test]
fn our_client_at_the_original_server() {
    knock_open_close(Ours, Original, Iptables);
}

#[test]
fn the_original_client_at_our_server_with_iptables() {
    knock_open_close(Original, Ours, Iptables);
}

#[test]
fn the_original_client_at_our_server_with_nftables() {
    knock_open_close(Original, Ours, Nft);
}

#[test]
fn the_original_client_at_the_original_server() {
    knock_open_close(Original, Original, Iptables);
}

/// Filtered, knock, open for the one and filtered for the other, closed again after 3 seconds, the session lives on.
fn knock_open_close(client: Maker, server: Maker, wall: Wall) {
    let Some(lab) = Lab::or_skip() else { return };
    let sshd = Sshd::start(&lab);
    wall.raise(&lab.server);
    let keys = Keys::generate(client, &lab.client);
    let access = keys.stanza() + "FW_ACCESS_TIMEOUT 3\n";
    let mut daemon = Daemon::start(&lab, &Setup::new(server, wall, &access));
    assert_eq!(nmap(&lab.client, SERVER.into(), 22), PortState::Filtered);

    Knock::new(client, &keys).send(&lab.client);
    let opened =
        eventually(Duration::from_secs(3), || wall.doors(&lab.server).iter().any(|door| door.client == CLIENT));
    assert!(opened, "{}", daemon.log());
    let mut session = sshd.log_in(&lab.client);
    assert_eq!(nmap(&lab.stranger, SERVER.into(), 22), PortState::Filtered);

    let closed = eventually(Duration::from_secs(6), || wall.doors(&lab.server).is_empty());
    assert!(closed, "{}", wall.listing(&lab.server));
    assert_eq!(nmap(&lab.client, SERVER.into(), 22), PortState::Filtered);
    assert!(session.lives(), "the session ended with the door");
    assert_eq!(daemon.stop(), Some(0));
}
