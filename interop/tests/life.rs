//! The life of a daemon: start, control, reload, rights, rest; over IPv6 and from a UDP socket.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use interop::knock::deliver;
use interop::lab::{CLIENT, CLIENT6, SERVER, SERVER6, STRANGER6};
use interop::scan::{nmap, reaches_ssh};
use interop::vitals::Vitals;
use interop::{Daemon, Keys, Knock, Lab, Maker, PortState, Setup, Sshd, Wall, eventually, wire};
use nix::sys::signal::Signal;

use Maker::{Original, Ours};
use Wall::{Iptables, Nft};

fn lab(maker: Maker, wall: Wall) -> Option<(Lab, Keys, Setup)> {
    let lab = Lab::or_skip()?;
    wall.raise(&lab.server);
    let keys = Keys::generate(Original, &lab.client);
    let setup = Setup::new(maker, wall, &keys.stanza());
    Some((lab, keys, setup))
}

fn opens(lab: &Lab, wall: Wall, daemon: &Daemon) {
    assert!(eventually(Duration::from_secs(3), || !wall.doors(&lab.server).is_empty()), "{}", daemon.log());
}

#[test]
fn over_ipv6() {
    for wall in [Nft, Iptables] {
        let Some((lab, keys, setup)) = lab(Ours, wall) else {
            return;
        };
        let _sshd = Sshd::start_behind(&lab, wall);
        let daemon = Daemon::start(&lab, &setup);
        assert_eq!(nmap(&lab.client, SERVER6.into(), 22), PortState::Filtered);
        Knock::new(Ours, &keys).allow(CLIENT6).to(SERVER6).send(&lab.client);
        opens(&lab, wall, &daemon);
        assert_eq!(wall.only_door(&lab.server).client, CLIENT6);
        assert_eq!(nmap(&lab.client, SERVER6.into(), 22), PortState::Open);
        assert!(!reaches_ssh(&lab.stranger, SERVER6) && !reaches_ssh(&lab.client, SERVER));
    }
}

#[test]
fn an_ipv6_address_asked_for_over_ipv4_and_the_source_itself_over_ipv6() {
    let Some((lab, keys, setup)) = lab(Ours, Nft) else {
        return;
    };
    let daemon = Daemon::start(&lab, &setup);
    Knock::new(Ours, &keys).allow(STRANGER6).send(&lab.client);
    opens(&lab, Nft, &daemon);
    assert_eq!(Nft.only_door(&lab.server).client, STRANGER6);
    // 0.0.0.0 in a message means where it came from, for IPv6 too.
    Knock::new(Ours, &keys).allow([0, 0, 0, 0]).to(SERVER6).send(&lab.client);
    let came = eventually(Duration::from_secs(3), || Nft.doors(&lab.server).iter().any(|door| door.client == CLIENT6));
    assert!(came, "{}", daemon.log());
}

#[test]
fn from_a_udp_socket() {
    for (maker, wall) in [(Original, Iptables), (Ours, Iptables), (Ours, Nft)] {
        let Some((lab, keys, setup)) = lab(maker, wall) else {
            return;
        };
        let mut daemon = Daemon::start(&lab, &setup.with(&["-U"]));
        assert!(daemon.says("Kicking off UDP server to listen on port 62201."), "{}", daemon.log());
        let packet = Knock::new(Original, &keys).packet(&lab.client);
        // A socket gets its datagrams whole, however they came.
        let body = wire::udp_body(40000, 62201, packet.as_bytes());
        for fragment in wire::fragments(CLIENT, SERVER, 17, &body, 64) {
            wire::raw(&lab.client, &fragment);
        }
        opens(&lab, wall, &daemon);
        assert_eq!(wall.only_door(&lab.server).client, CLIENT);
        assert_eq!(daemon.stop(), Some(0));
    }
}

#[test]
fn our_udp_server_reloads_and_hears_ipv6() {
    let Some((lab, keys, setup)) = lab(Ours, Nft) else {
        return;
    };
    let daemon = Daemon::start(&lab, &setup.line("ENABLE_UDP_SERVER Y;"));
    daemon.signal(Signal::SIGHUP);
    assert!(daemon.says_times("Kicking off UDP server to listen on port 62201.", 2), "{}", daemon.log());
    let packet = Knock::new(Ours, &keys).allow([0, 0, 0, 0]).packet(&lab.client);
    wire::udp(&lab.client, SocketAddr::new(SERVER6.into(), 62201), packet.as_bytes());
    opens(&lab, Nft, &daemon);
    assert_eq!(Nft.only_door(&lab.server).client, CLIENT6);
}

#[test]
fn as_a_daemon_with_a_pid_file() {
    for (maker, wall) in [(Original, Iptables), (Ours, Iptables), (Ours, Nft)] {
        let Some((lab, keys, setup)) = lab(maker, wall) else {
            return;
        };
        setup.write(&lab.server);
        let server = &lab.server;
        let before = wall.listing(server);
        let asked = setup.run(server, &["-S"]);
        assert_eq!((asked.code, asked.out.trim()), (Some(1), "No running fwknopd detected."), "{asked:?}");

        let started = setup.run(server, &[]);
        assert_eq!(started.code, Some(0), "{started:?}");
        let pid_file = server.run_folder().join("fwknop/fwknopd.pid");
        let pid = || fs::read_to_string(&pid_file).ok().and_then(|text| text.trim().parse::<u32>().ok());
        let running = |pid: u32| (Some(0), format!("Detected fwknopd is running (pid={pid})."));
        // The original answers its caller before it is ready; ours is ready by then.
        let patience = if maker == Ours { Duration::ZERO } else { Duration::from_secs(3) };
        let mut answer = (None, String::new());
        eventually(patience, || {
            let asked = setup.run(server, &["-S"]);
            answer = (asked.code, asked.out.trim().to_owned());
            asked.code == Some(0)
        });
        let warden = pid().expect("the PID file holds a number");
        assert_eq!(answer, running(warden));
        assert!(Vitals(warden).alive());

        let second = setup.run(server, &["-f"]);
        assert_eq!(second.code, Some(1), "{second:?}");
        let text = format!("[*] An instance of fwknopd is already running: (PID={warden}).");
        assert!(second.err.contains(&text), "{second:?}");

        let packet = Knock::new(Original, &keys).packet(&lab.client);
        let opened = eventually(Duration::from_secs(5), || {
            deliver(&lab.client, &packet);
            std::thread::sleep(Duration::from_millis(50));
            !wall.doors(server).is_empty()
        });
        assert!(opened, "{}", wall.listing(server));

        let reload = setup.run(server, &["-R"]);
        let text = format!("Sent restart signal to fwknopd (pid={warden})");
        assert_eq!((reload.code, reload.out.trim()), (Some(0), text.as_str()), "{reload:?}");
        std::thread::sleep(Duration::from_millis(1500));
        assert_eq!(pid(), Some(warden), "a reload keeps the process");
        assert!(Vitals(warden).alive());
        if maker == Ours {
            assert_eq!(wall.only_door(server).client, CLIENT, "a reload keeps the doors");
        }

        let killed = setup.run(server, &["-K"]);
        assert_eq!(killed.code, Some(0), "{killed:?}");
        assert!(killed.out.contains(&format!("Killed fwknopd (pid={warden})")), "{killed:?}");
        assert!(eventually(Duration::from_secs(3), || !Vitals(warden).alive()));
        assert_eq!(wall.listing(server), before);
        let asked = setup.run(server, &["-S"]);
        assert_eq!(asked.code, Some(1), "{asked:?}");
    }
}

#[test]
fn who_hears_packets_has_no_rights() {
    for (mode, prepared) in [(&[][..], true), (&["-U"], true), (&[], false)] {
        let Some((lab, keys, setup)) = lab(Ours, Nft) else {
            return;
        };
        if !prepared {
            lab.server.forget_account();
        }
        let daemon = Daemon::start(&lab, &setup.with(mode));
        let listener = daemon.listener().expect("the listener is a process of its own");
        assert_eq!(daemon.family().len(), 2, "two processes are enough");
        for id in listener.status("Uid").split_whitespace().chain(listener.status("Gid").split_whitespace()) {
            assert!(!["0", "65534"].contains(&id), "the listener is {id}");
        }
        for set in ["CapEff", "CapPrm", "CapInh", "CapAmb", "CapBnd"] {
            let rights = u64::from_str_radix(&listener.status(set), 16).expect("capabilities are hexadecimal");
            assert!(rights == 0 || set == "CapBnd", "{set} is {rights:x}");
        }
        assert_eq!(listener.status("Groups"), "", "supplementary groups");
        assert_eq!(listener.status("NoNewPrivs"), "1");
        assert_eq!(listener.status("Seccomp"), "2");
        // All that and it still does its work.
        Knock::new(Original, &keys).send(&lab.client);
        opens(&lab, Nft, &daemon);
    }
}

#[test]
fn nothing_wakes_up_while_nothing_happens() {
    for wall in [Nft, Iptables] {
        let Some((lab, _keys, setup)) = lab(Ours, wall) else {
            return;
        };
        let daemon = Daemon::start(&lab, &setup);
        std::thread::sleep(Duration::from_millis(300));
        let sleeps = || -> Vec<u64> { daemon.family().into_iter().map(Vitals::sleeps).collect() };
        let before = sleeps();
        std::thread::sleep(Duration::from_secs(2));
        assert_eq!(sleeps(), before, "woken up with nothing to do ({wall:?})");
    }
}

#[test]
fn lists_its_doors_and_flushes_what_a_killed_daemon_left() {
    for (maker, wall) in [(Original, Iptables), (Ours, Iptables)] {
        let Some((lab, keys, setup)) = lab(maker, wall) else {
            return;
        };
        let before = wall.listing(&lab.server);
        let mut daemon = Daemon::start(&lab, &setup);
        Knock::new(Original, &keys).send(&lab.client);
        opens(&lab, wall, &daemon);
        let listed = setup.run(&lab.server, &["--fw-list"]);
        let text = listed.out + &listed.err;
        assert_eq!(listed.code, Some(0), "{text}");
        let title = text.lines().find(|line| !line.is_empty());
        assert_eq!(title, Some("Listing rules in fwknopd iptables chains..."), "{text}");
        assert!(
            text.lines().any(|line| line.starts_with("1 ") && line.contains("192.0.2.10") && line.contains("/* _exp_")),
            "{text}"
        );
        daemon.signal(Signal::SIGKILL);
        assert!(daemon.ends());
        let flushed = setup.run(&lab.server, &["--fw-flush"]);
        assert_eq!(flushed.code, Some(0), "{flushed:?}");
        assert_eq!(wall.listing(&lab.server), before);
    }
}

#[test]
fn a_wrong_configuration_is_refused_at_a_reload_and_nothing_changes() {
    let Some((lab, keys, setup)) = lab(Ours, Nft) else {
        return;
    };
    let mut daemon = Daemon::start(&lab, &setup);
    Knock::new(Original, &keys).send(&lab.client);
    opens(&lab, Nft, &daemon);
    Setup { access: "SOURCE ANY\nKEY __CHANGEME__\n".into(), ..setup.clone() }.write(&lab.server);
    daemon.signal(Signal::SIGHUP);
    assert!(daemon.says("access.conf"), "{}", daemon.log());
    std::thread::sleep(Duration::from_millis(300));
    assert!(daemon.runs(), "{}", daemon.log());
    assert_eq!(Nft.only_door(&lab.server).client, CLIENT);
    let daemon_hears = Knock::new(Original, &keys).allow([192, 0, 2, 11]);
    daemon_hears.send(&lab.client);
    assert!(eventually(Duration::from_secs(3), || Nft.doors(&lab.server).len() == 2), "{}", daemon.log());
}
