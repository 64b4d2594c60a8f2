//! One line in `~/.ssh/config`, and `ssh server` knocks by itself: a real ssh, a real sshd, a real firewall, our two programs.
//!
//! The port is asked first, and nobody knocks at an open door: what a tap on the client's interface sees is counted.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use interop::host::Finished;
use interop::lab::{CLIENT, SERVER};
use interop::stopwatch::{Seen, tap};
use interop::{Daemon, Keys, Lab, Maker, PortState, Setup, Sshd, Wall, nmap};

/// A lab with a hidden sshd, and a client that has a stanza and an ssh configuration with the line in question.
struct Scene {
    packets: std::sync::mpsc::Receiver<Seen>,
    _daemon: Daemon,
    _sshd: Sshd,
    lab: Lab,
}

impl Scene {
    fn set(wall: Wall, line: &str) -> Option<Self> {
        let lab = Lab::or_skip()?;
        let sshd = Sshd::start(&lab);
        wall.raise(&lab.server);
        let keys = Keys::generate(Maker::Ours, &lab.client);
        let daemon = Daemon::start(&lab, &Setup::new(Maker::Ours, wall, &keys.stanza()));
        let home = lab.client.home();
        let stanza = format!(
            "[server]\nSPA_SERVER {SERVER}\nACCESS tcp/22\nALLOW_IP {CLIENT}\nKEY_BASE64 {}\nHMAC_KEY_BASE64 {}\nUSE_HMAC Y\n",
            keys.cipher, keys.hmac
        );
        fs::write(home.join(".fwknoprc"), stanza).expect("the lab's folder can be written");
        fs::set_permissions(home.join(".fwknoprc"), fs::Permissions::from_mode(0o600)).expect("it was just written");
        let fwknop = Maker::Ours.client().to_string_lossy().into_owned();
        let config = format!(
            "{}\nHost server\n    HostName {SERVER}\n    User root\n    IdentityFile {}\n    BatchMode yes\n    \
             StrictHostKeyChecking no\n    UserKnownHostsFile /dev/null\n    ConnectTimeout 20\n    LogLevel ERROR\n",
            line.replace("fwknop ", &format!("{fwknop} ")),
            lab.folder().join("ssh/user_key").display(),
        );
        fs::write(home.join("ssh_config"), config).expect("the lab's folder can be written");
        let packets = tap(&lab.client);
        Some(Self { packets, _daemon: daemon, _sshd: sshd, lab })
    }

    /// `ssh server COMMAND`, as somebody would type it.
    fn ssh(&self, command: &str) -> Finished {
        let config = self.lab.client.home().join("ssh_config");
        self.lab.client.run(&["timeout", "40", "ssh", "-F", &config.to_string_lossy(), "server", command])
    }

    fn fwknop(&self, words: &str) -> Finished {
        let fwknop = Maker::Ours.client().to_string_lossy().into_owned();
        let words: Vec<&str> = [fwknop.as_str()].into_iter().chain(words.split(' ')).collect();
        self.lab.client.run(&words)
    }

    /// How many packets went by since this was asked last.
    fn knocks(&self) -> usize {
        std::iter::from_fn(|| self.packets.recv_timeout(Duration::from_millis(200)).ok()).count()
    }
}

/// Knocks once and no more, carries every byte, and does not knock while the port is open.
fn works(wall: Wall, line: &str) {
    let Some(scene) = Scene::set(wall, line) else { return };
    assert_eq!(nmap(&scene.lab.client, SERVER.into(), 22), PortState::Filtered);
    let begin = Instant::now();
    let done = scene.ssh("echo in; seq 1 200000 | cksum");
    let took = begin.elapsed();
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""), "{done:?}");
    assert!(done.out.starts_with("in\n"), "{done:?}");
    assert!(took < Duration::from_secs(8), "in after {took:?}");
    assert_eq!(scene.knocks(), 1);

    // The door is still open: no second packet, and a megabyte comes through in one piece.
    let done = scene.ssh("seq 1 200000");
    assert_eq!(done.out.lines().count(), 200_000);
    assert!(done.out.ends_with("199999\n200000\n"));
    assert_eq!(scene.knocks(), 0, "knocked at an open door");
    assert_eq!(nmap(&scene.lab.stranger, SERVER.into(), 22), PortState::Filtered);
}

#[test]
fn a_proxy_command_knocks_and_carries_the_session() {
    works(Wall::Iptables, "Host server\n    ProxyCommand fwknop connect %h %p -n server");
}

#[test]
fn a_match_line_knocks_and_ssh_connects_by_itself() {
    // After HostName, so that %h is the address.
    let line =
        format!("Host server\n    HostName {SERVER}\nMatch originalhost server exec \"fwknop wait %h 22 -n server\"");
    works(Wall::Nft, &line);
}

#[test]
fn what_is_typed_into_ssh_gets_through_and_its_end_too() {
    let Some(scene) = Scene::set(Wall::Nft, "Host server\n    ProxyCommand fwknop connect %h %p -n server -v") else {
        return;
    };
    let config = scene.lab.client.home().join("ssh_config");
    let line = format!(
        "seq 1 100000 | timeout 40 ssh -F {} server 'cksum; echo end' > got; seq 1 100000 | cksum",
        config.display()
    );
    let sum = scene.lab.client.sh(&line);
    let got = fs::read_to_string(scene.lab.client.home().join("got")).expect("the shell wrote it");
    assert_eq!(got, format!("{sum}end\n"));
}

#[test]
fn a_door_that_stays_shut_is_told_in_time() {
    let Some(scene) = Scene::set(Wall::Nft, "Host server\n    ProxyCommand fwknop connect %h %p -n server --wait 2")
    else {
        return;
    };
    // A stanza with another key: the server says nothing.
    let rc = scene.lab.client.home().join(".fwknoprc");
    let text = fs::read_to_string(&rc).expect("it was written");
    let other = text.replace("HMAC_KEY_BASE64 ", "HMAC_KEY_BASE64 AAAA");
    fs::write(&rc, other).expect("the lab's folder can be written");
    let begin = Instant::now();
    let done = scene.ssh("echo in");
    assert_eq!((done.code, done.out.as_str()), (Some(255), ""), "{done:?}");
    assert!(done.err.contains("port 22 did not open within 2 s of the knock"), "{done:?}");
    assert!(begin.elapsed() < Duration::from_secs(6), "{:?}", begin.elapsed());
    assert_eq!(scene.knocks(), 1);

    // The same as a condition of a shell: told on standard error, and nothing follows.
    let done = scene.fwknop("wait 192.0.2.20 22 -n server --wait 1");
    assert_eq!((done.code, done.out.as_str()), (Some(1), ""), "{done:?}");
    // What cannot knock does not wait.
    let begin = Instant::now();
    let done = scene.fwknop("wait 192.0.2.20 22 -n nobody --wait 30");
    assert_eq!(done.code, Some(1));
    assert!(done.err.contains("[nobody] was not found") && begin.elapsed() < Duration::from_secs(5), "{done:?}");
}
