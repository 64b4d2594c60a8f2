//! What happens when things break: processes killed, rules flushed, the disk full, a firewall that refuses.
//!
//! Doors are probed with real connections. Nothing stays open beyond its end, no packet is good twice.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use interop::daemon::send;
use interop::knock::deliver;
use interop::lab::{CLIENT, SERVER};
use interop::scan::reaches_ssh;
use interop::stopwatch::first_connection;
use interop::{Daemon, Keys, Knock, Lab, Maker, Setup, Sshd, Wall, eventually, now};
use nix::sys::signal::Signal;

use Wall::{Iptables, Nft};

/// A lab with sshd behind a wall, and what our server is to be started with: doors stay open for 3 seconds.
fn lab(wall: Wall) -> Option<(Lab, Sshd, Keys, Setup)> {
    let lab = Lab::or_skip()?;
    let sshd = Sshd::start(&lab);
    wall.raise(&lab.server);
    let keys = Keys::generate(Maker::Original, &lab.client);
    let setup = Setup::new(Maker::Ours, wall, &(keys.stanza() + "FW_ACCESS_TIMEOUT 3\n"));
    Some((lab, sshd, keys, setup))
}

fn packet(lab: &Lab, keys: &Keys) -> String {
    Knock::new(Maker::Original, keys).packet(&lab.client)
}

/// Delivers a packet and waits for its door.
fn open(lab: &Lab, wall: Wall, daemon: &Daemon, packet: &str) -> u64 {
    deliver(&lab.client, packet);
    assert!(eventually(Duration::from_secs(3), || !wall.doors(&lab.server).is_empty()), "{}", daemon.log());
    wall.only_door(&lab.server).ends.expect("a door has an end")
}

/// A connection comes about before the end, and none a second after it.
fn shut_after(lab: &Lab, end: u64) {
    assert!(reaches_ssh(&lab.client, SERVER), "the door is not open");
    assert!(eventually(Duration::from_secs(6), || now() > end), "the clock stands");
    // iptables counts the last second in.
    std::thread::sleep(Duration::from_millis(200));
    assert!(!reaches_ssh(&lab.client, SERVER), "open beyond its end");
    assert!(!reaches_ssh(&lab.stranger, SERVER));
}

/// After a restart the old packet is known, a fresh one works, and a clean exit leaves no trace.
fn starts_clean_again(lab: &Lab, setup: &Setup, keys: &Keys, used: &str, before: &str) {
    let mut daemon = Daemon::start(lab, setup);
    assert_eq!(setup.wall.doors(&lab.server), [], "left over: {}", daemon.log());
    deliver(&lab.client, used);
    assert!(daemon.says("Replay detected from source IP:"), "{}", daemon.log());
    assert_eq!(setup.wall.doors(&lab.server), []);
    open(lab, setup.wall, &daemon, &packet(lab, keys));
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(setup.wall.listing(&lab.server), before);
}

#[test]
fn the_warden_is_killed() {
    for wall in [Nft, Iptables] {
        let Some((lab, _sshd, keys, setup)) = lab(wall) else {
            return;
        };
        let before = wall.listing(&lab.server);
        let mut daemon = Daemon::start(&lab, &setup);
        let listener = daemon.listener().expect("the listener is a process of its own");
        let used = packet(&lab, &keys);
        let end = open(&lab, wall, &daemon, &used);
        daemon.signal(Signal::SIGKILL);
        assert!(daemon.ends());
        assert!(eventually(Duration::from_secs(3), || !listener.alive()), "the listener lives on alone");
        shut_after(&lab, end);
        drop(daemon);
        starts_clean_again(&lab, &setup, &keys, &used, &before);
    }
}

#[test]
fn the_listener_is_killed() {
    for wall in [Nft, Iptables] {
        let Some((lab, _sshd, keys, setup)) = lab(wall) else {
            return;
        };
        let before = wall.listing(&lab.server);
        let mut daemon = Daemon::start(&lab, &setup);
        let used = packet(&lab, &keys);
        let end = open(&lab, wall, &daemon, &used);
        send(daemon.listener().expect("the listener is a process of its own"), Signal::SIGKILL);
        assert!(daemon.ends(), "the warden goes on without a listener:\n{}", daemon.log());
        assert_eq!(daemon.exit_code(), Some(1), "{}", daemon.log());
        assert!(eventually(Duration::from_secs(6), || now() > end));
        std::thread::sleep(Duration::from_millis(200));
        assert!(!reaches_ssh(&lab.client, SERVER), "open beyond its end");
        drop(daemon);
        starts_clean_again(&lab, &setup, &keys, &used, &before);
    }
}

#[test]
fn both_are_killed_right_after_a_packet() {
    let Some((lab, _sshd, keys, setup)) = lab(Nft) else {
        return;
    };
    let mut daemon = Daemon::start(&lab, &setup);
    for round in 0..10_u64 {
        let used = packet(&lab, &keys);
        deliver(&lab.client, &used);
        std::thread::sleep(Duration::from_micros(round * 150));
        for process in daemon.family() {
            send(process, Signal::SIGKILL);
        }
        assert!(daemon.ends());
        let opened = Nft.doors(&lab.server);
        drop(daemon);
        Nft.reload(&lab.server);
        daemon = Daemon::start(&lab, &setup);
        if !opened.is_empty() {
            // It was good once, so it must not be good again.
            deliver(&lab.client, &used);
            assert!(daemon.says("Replay detected from source IP:"), "round {round}: {}", daemon.log());
            assert_eq!(Nft.doors(&lab.server), [], "round {round}");
        }
    }
}

#[test]
fn a_reloaded_ruleset_is_mended_with_the_doors_that_were_open() {
    let Some((lab, _sshd, keys, setup)) = lab(Nft) else { return };
    let setup = Setup { access: keys.stanza(), ..setup };
    let mut daemon = Daemon::start(&lab, &setup);
    let end = open(&lab, Nft, &daemon, &packet(&lab, &keys));
    let mended = |_| {
        Nft.reload(&lab.server);
        let reloaded = Instant::now();
        let answered = lab.client.inside(|| first_connection(SERVER, 22, reloaded, Duration::from_secs(2)));
        let took = answered.map(|answered| answered - reloaded);
        let door = Nft.only_door(&lab.server).ends.expect("a door has an end");
        assert!(door.abs_diff(end) <= 2, "mended with another end: {door} for {end}");
        took.unwrap_or_else(|| panic!("{}\n{}", daemon.log(), Nft.listing(&lab.server)))
    };
    let mut took: Vec<Duration> = (0..5).map(mended).collect();
    took.sort();
    println!("a connection was answered again after a median of {:?}", took[2]);
    // The reloaded rules are the administrator's again once we are gone.
    assert_eq!(daemon.stop(), Some(0));
    let left = Nft.listing(&lab.server);
    Nft.reload(&lab.server);
    assert_eq!(left, Nft.listing(&lab.server));
}

#[test]
fn a_jump_that_was_taken_away_comes_back() {
    let Some((lab, _sshd, keys, setup)) = lab(Iptables) else {
        return;
    };
    let daemon = Daemon::start(&lab, &setup);
    lab.server.sh("iptables -D INPUT -j FWKNOP_INPUT");
    let back = || Iptables.listing(&lab.server).contains("-A INPUT -j FWKNOP_INPUT");
    assert!(eventually(Duration::from_secs(5), back), "{}\n{}", daemon.log(), Iptables.listing(&lab.server));
    open(&lab, Iptables, &daemon, &packet(&lab, &keys));
    assert!(reaches_ssh(&lab.client, SERVER), "{}", Iptables.listing(&lab.server));
}

#[test]
fn a_firewall_that_refuses() {
    let Some((lab, _sshd, keys, mut setup)) = lab(Iptables) else {
        return;
    };
    // A stand-in that does as iptables does, until it is told to refuse what would open a door.
    let (folder, refuse) = (lab.folder().join("bin"), lab.folder().join("refuse"));
    fs::create_dir_all(&folder).expect("the lab's folder can be written");
    for name in ["iptables", "ip6tables"] {
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in *--dport*) if [ -e {} ]; then echo 'iptables: no more rules for you' >&2; exit 4; fi;; esac\nexec /usr/sbin/{name} \"$@\"\n",
            refuse.display()
        );
        fs::write(folder.join(name), script).expect("the lab's folder can be written");
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o755)).expect("the file was just written");
    }
    setup = setup.line(&format!("FIREWALL_EXE {};", folder.join("iptables").display()));
    let mut daemon = Daemon::start(&lab, &setup);
    fs::write(&refuse, "").expect("the lab's folder can be written");
    let used = packet(&lab, &keys);
    deliver(&lab.client, &used);
    assert!(daemon.says("no more rules for you"), "{}", daemon.log());
    assert!(!daemon.log().contains("Added access rule"), "{}", daemon.log());
    assert_eq!(Iptables.doors(&lab.server), []);
    assert!(daemon.runs());
    // The packet stays used up, although it opened nothing.
    fs::remove_file(&refuse).expect("the file is there");
    deliver(&lab.client, &used);
    assert!(daemon.says("Replay detected from source IP:"), "{}", daemon.log());
    assert_eq!(Iptables.doors(&lab.server), []);
    open(&lab, Iptables, &daemon, &packet(&lab, &keys));
}

#[test]
fn a_full_disk() {
    let Some((lab, _sshd, keys, setup)) = lab(Nft) else {
        return;
    };
    // The run directory is a file system of 64 KiB, mounted where only the daemon sees it.
    let mounted = "mkdir -p /run/fwknop && mount -t tmpfs -o size=64k,mode=0700 tmpfs /run/fwknop && exec \"$@\"";
    let mut daemon = Daemon::start_within(&lab, &setup, &["sh", "-c", mounted, "sh"]);
    let run = format!("/proc/{}/root/run/fwknop", daemon.main().0);
    fill_up(&run);
    let used = packet(&lab, &keys);
    deliver(&lab.client, &used);
    let said = eventually(Duration::from_secs(3), || {
        let log = daemon.log();
        log.contains("Could not add digest to replay cache") || log.contains("No space left on device")
    });
    assert!(said, "{}", daemon.log());
    assert_eq!(Nft.doors(&lab.server), [], "a grant without a recorded claim");
    assert!(!reaches_ssh(&lab.client, SERVER));
    assert!(daemon.runs(), "{}", daemon.log());
    // With space again it goes on as before.
    fs::remove_file(format!("{run}/ballast")).expect("the ballast is there");
    open(&lab, Nft, &daemon, &packet(&lab, &keys));
    assert_eq!(Nft.only_door(&lab.server).client, CLIENT);
}

/// Fills a small file system to the last byte, and the last page of the digest file too.
fn fill_up(run: &str) {
    let digests = format!("{run}/digest.cache");
    let length = fs::metadata(&digests).expect("the daemon made its digest file").len();
    let rest = usize::try_from(length.next_multiple_of(4096) - length).expect("a page is small");
    if rest > 0 {
        let line = format!("#{}\n", "-".repeat(rest - 2));
        let mut file = fs::OpenOptions::new().append(true).open(&digests).expect("root may append");
        std::io::Write::write_all(&mut file, line.as_bytes()).expect("the page is there already");
    }
    let mut ballast = fs::File::create(format!("{run}/ballast")).expect("there is space still");
    while std::io::Write::write(&mut ballast, &[0; 4096]).is_ok_and(|written| written > 0) {}
}

#[test]
fn a_digest_file_that_cannot_be_used_stops_the_start() {
    let Some((lab, _sshd, _keys, setup)) = lab(Nft) else {
        return;
    };
    let before = Nft.listing(&lab.server);
    let not_a_file = lab.folder().join("not-a-file");
    fs::create_dir_all(&not_a_file).expect("the lab's folder can be written");
    let setup = setup.line(&format!("DIGEST_FILE {};", not_a_file.display()));
    let mut daemon = Daemon::launch(&lab, &setup);
    assert!(daemon.ends(), "it runs without replay protection:\n{}", daemon.log());
    assert_eq!(daemon.exit_code(), Some(1), "{}", daemon.log());
    assert!(daemon.log().contains("not-a-file"), "the file is not named:\n{}", daemon.log());
    assert_eq!(Nft.listing(&lab.server), before);
}
