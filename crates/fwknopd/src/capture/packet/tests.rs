//! Real links in a network namespace: loopback, and a cable (veth) into which frames are put by hand.

use std::{net::UdpSocket as Plain, thread, time::Duration};

use super::*;
use crate::{
    arrival::samples::*,
    capture::{
        filter::Wanted,
        namespace::{inside, ip},
    },
};

fn knock() -> Vec<u8> {
    TEXT.repeat(10)
}

fn listen(interface: &str, expression: &str, wanted: &Wanted) -> PacketSocket {
    let filter = Filter::compile(expression, wanted).unwrap();
    let interfaces = Interfaces::new(interface);
    PacketSocket::attach(open(&interfaces).unwrap(), &interfaces, &links(&interfaces), filter).unwrap()
}

fn links(interfaces: &Interfaces) -> Vec<u32> {
    interfaces.present().unwrap().iter().map(|link| link.index).collect()
}

/// A cable: what is put in at `va` comes out at `vb`.
fn cable() -> Socket {
    ip("link add va type veth peer name vb");
    ip("link set va up");
    ip("link set vb up");
    // The kernel brings the two ends up a moment later; what is sent before is lost.
    let up = |end: &str| {
        let shown = std::process::Command::new("ip").args(["-o", "link", "show", end]).output().unwrap();
        String::from_utf8_lossy(&shown.stdout).contains("state UP")
    };
    for _ in 0..250 {
        if up("va") && up("vb") {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    let socket = Socket::new(Domain::PACKET, Type::RAW, None).unwrap();
    nix_socket::bind(socket.as_raw_fd(), &address_of("va").unwrap().unwrap()).unwrap();
    socket
}

fn frame(kind: &[u8], packet: &[u8]) -> Vec<u8> {
    [&[0xff; 6], &[2, 0, 0, 0, 0, 9][..], kind, packet].concat()
}

/// Payloads that are heard until it has been quiet for a while; on a busy machine frames take their time.
fn heard(capture: &mut PacketSocket) -> Vec<Vec<u8>> {
    const QUIET: u32 = 15;
    let (mut payloads, mut quiet) = (vec![], 0);
    while quiet < QUIET {
        match capture.next().unwrap() {
            Some(arrival) => {
                payloads.push(arrival.payload.to_vec());
                quiet = 0;
            }
            None => {
                thread::sleep(Duration::from_millis(20));
                quiet += 1;
            }
        }
    }
    payloads
}

#[test]
fn hears_a_knock_on_the_loopback_once_and_no_junk() {
    inside(|| {
        let mut incoming = listen("lo", "udp port 62201", &Wanted::default());
        let both = Wanted { any_direction: true, ..Wanted::default() };
        let mut both = listen("lo", "udp port 62201", &both);
        let sender = Plain::bind("127.0.0.1:0").unwrap();
        for junk in [&[b'A'; 139][..], &[b'-'; 200], &[0; 200]] {
            sender.send_to(junk, "127.0.0.1:62201").unwrap();
        }
        sender.send_to(&knock(), "127.0.0.1:62202").unwrap();
        sender.send_to(&knock(), "127.0.0.1:62201").unwrap();
        assert_eq!(heard(&mut incoming), [knock()]);
        assert_eq!(incoming.heard(), 1, "the kernel drops the rest");
        assert_eq!(heard(&mut both), [knock(), knock()]);

        let sender = Plain::bind("[::1]:0").unwrap();
        sender.send_to(&knock(), "[::1]:62201").unwrap();
        thread::sleep(Duration::from_millis(20));
        let arrival = incoming.next().unwrap().unwrap();
        assert_eq!(arrival.source, "::1".parse::<std::net::IpAddr>().unwrap());
        assert_eq!(arrival.source_port, sender.local_addr().unwrap().port());
        assert_eq!((arrival.payload, arrival.destination_port), (&knock()[..], 62201));
    });
}

#[test]
fn hears_every_kind_of_frame_on_a_cable() {
    inside(|| {
        let cable = cable();
        let mut capture = listen("vb", "udp port 62201", &Wanted::default());
        let datagram = udp(&knock());
        let four = ipv4(5, 0x4000, 17, &datagram);
        for (name, frame, wanted) in [
            ("IPv4", frame(&[8, 0], &four), true),
            ("trailing bytes", frame(&[8, 0], &[&four[..], &[0; 9]].concat()), true),
            ("IP options", frame(&[8, 0], &ipv4(9, 0, 17, &datagram)), true),
            ("IPv6", frame(&[0x86, 0xdd], &ipv6(17, &datagram)), true),
            ("802.1Q", frame(&[0x81, 0, 0, 5, 8, 0], &four), true),
            ("QinQ", frame(&[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, 8, 0], &four), true),
            ("QinQ IPv6", frame(&[0x88, 0xa8, 0, 5, 0x81, 0, 0x60, 6, 0x86, 0xdd], &ipv6(17, &datagram)), true),
            ("fragment", frame(&[8, 0], &ipv4(5, 0x2000, 17, &datagram)), false),
            ("another protocol", frame(&[8, 6], &four), false),
            ("cut", frame(&[8, 0], &four[..four.len() - 1]), false),
        ] {
            cable.send(&frame).unwrap();
            assert_eq!(heard(&mut capture).pop(), wanted.then(knock), "{name}");
        }
    });
}

#[test]
fn the_empty_filter_and_libpcaps_filters_hear_other_things_too() {
    inside(|| {
        let cable = cable();
        let mut all = listen("vb", "", &Wanted::default());
        let mut web = cfg!(feature = "pcap").then(|| listen("vb", "tcp port 80", &Wanted::default()));
        let mut segment = [&[0, 9, 0, 80][..], &[0; 8], &[0x50, 0x18], &[0; 6]].concat();
        segment.extend(knock());
        for packet in [ipv4(5, 0, 6, &segment), ipv4(5, 0, 1, &udp(&knock()))] {
            cable.send(&frame(&[8, 0], &packet)).unwrap();
        }
        cable.send(&frame(&[0x86, 0xdd], &ipv6(6, &segment))).unwrap();
        let own = heard(&mut all).into_iter().filter(|payload| *payload == knock()).count();
        assert_eq!(own, 3);
        if let Some(web) = &mut web {
            assert_eq!(heard(web), [knock(), knock()]);
        }
    });
}

#[test]
fn hears_only_its_own_interface_unless_it_is_any() {
    inside(|| {
        let cable = cable();
        let mut bound = listen("vb", "udp port 62201", &Wanted::default());
        let mut any = listen("any", "udp port 62201", &Wanted::default());
        Plain::bind("127.0.0.1:0").unwrap().send_to(&knock(), "127.0.0.1:62201").unwrap();
        cable.send(&frame(&[8, 0], &ipv4(5, 0, 17, &udp(&knock())))).unwrap();
        assert_eq!(heard(&mut bound).len(), 1);
        assert_eq!(heard(&mut any).len(), 2);
    });
}

#[test]
fn hears_only_its_own_interface_even_where_the_socket_cannot_be_bound() {
    inside(|| {
        let cable = cable();
        let filter = Filter::compile("udp port 62201", &Wanted::default()).unwrap();
        let vb = Interfaces::new("vb");
        let mut unbound = PacketSocket::attach(open_at(None).unwrap(), &vb, &links(&vb), filter).unwrap();
        Plain::bind("127.0.0.1:0").unwrap().send_to(&knock(), "127.0.0.1:62201").unwrap();
        cable.send(&frame(&[8, 0], &ipv4(5, 0, 17, &udp(&knock())))).unwrap();
        assert_eq!((heard(&mut unbound).len(), unbound.heard()), (1, 1));

        ip("tuntap add tun7 mode tun");
        ip("link set tun7 up");
        let mut tun = listen("tun7", "udp port 62201", &Wanted::default());
        Plain::bind("127.0.0.1:0").unwrap().send_to(&knock(), "127.0.0.1:62201").unwrap();
        assert!(heard(&mut tun).is_empty());
    });
}

#[test]
fn whoever_holds_the_socket_cannot_send_with_it() {
    inside(|| {
        let _cable = cable();
        for socket in [open(&Interfaces::new("vb")).unwrap(), open(&Interfaces::new("any")).unwrap()] {
            let packet = ipv4(5, 0, 17, &udp(&knock()));
            assert!(
                rustix::io::write(&socket, &packet).is_err(),
                "no address to send to, and seccomp refuses to name one"
            );
        }
    });
}

#[test]
fn says_once_that_the_link_is_down_and_hears_again_when_it_is_up() {
    inside(|| {
        let cable = cable();
        let mut capture = listen("vb", "udp port 62201", &Wanted::default());
        ip("link set vb down");
        assert_eq!(capture.next().unwrap_err().raw_os_error(), Some(Errno::ENETDOWN as i32));
        assert!(capture.next().unwrap().is_none());
        let mut early = listen("vb", "udp port 62201", &Wanted::default()); // may be down when we start
        ip("link set vb up");
        thread::sleep(Duration::from_millis(50));
        cable.send(&frame(&[8, 0], &ipv4(5, 0, 17, &udp(&knock())))).unwrap();
        assert_eq!(heard(&mut capture), [knock()]);
        assert_eq!(heard(&mut early), [knock()]);
        ip("link del va");
        assert_eq!(capture.next().unwrap_err().raw_os_error(), Some(Errno::ENETDOWN as i32));
    });
}

#[test]
fn hears_several_interfaces_and_those_that_come_later() {
    inside(|| {
        let lo = || Plain::bind("127.0.0.1:0").unwrap().send_to(&knock(), "127.0.0.1:62201").unwrap();
        let packet = frame(&[8, 0], &ipv4(5, 0, 17, &udp(&knock())));
        let mut late = listen("vb", "udp port 62201", &Wanted::default());
        let mut both = listen("lo, v*b", "udp port 62201", &Wanted::default());
        lo();
        assert_eq!((heard(&mut late).len(), heard(&mut both).len()), (0, 1), "vb is not there yet");
        for round in 1..3 {
            let cable = cable();
            bind(late.socket.as_fd(), "vb").unwrap();
            for capture in [&mut late, &mut both] {
                let links = links(&capture.interfaces);
                capture.follow(&links).unwrap();
            }
            lo();
            cable.send(&packet).unwrap();
            assert_eq!((heard(&mut late).len(), heard(&mut both).len()), (1, 2), "round {round}");
            ip("link del va");
            let _ = late.next(); // says that the network is down
        }
    });
}

#[test]
fn binding_to_an_interface_takes_no_right() {
    inside(|| {
        let _cable = cable();
        let socket = open(&Interfaces::new("absent")).unwrap();
        rustix::thread::set_capabilities(
            None,
            rustix::thread::CapabilitySets {
                effective: rustix::thread::CapabilitySet::empty(),
                permitted: rustix::thread::CapabilitySet::empty(),
                inheritable: rustix::thread::CapabilitySet::empty(),
            },
        )
        .unwrap();
        bind(socket.as_fd(), "vb").unwrap();
    });
}

#[test]
fn hears_nothing_from_before_the_filter() {
    inside(|| {
        let lo = Interfaces::new("lo");
        let socket = open(&lo).unwrap();
        let sender = Plain::bind("127.0.0.1:0").unwrap();
        sender.send_to(&knock(), "127.0.0.1:62201").unwrap();
        let filter = Filter::compile("udp port 62201", &Wanted::default()).unwrap();
        let mut capture = PacketSocket::attach(socket, &lo, &links(&lo), filter).unwrap();
        assert!(heard(&mut capture).is_empty());
    });
}

#[test]
fn a_packet_cut_by_the_wanted_length_is_not_read() {
    inside(|| {
        let short = Wanted { keep: 200, ..Wanted::default() };
        let mut capture = listen("lo", "udp port 62201", &short);
        let sender = Plain::bind("127.0.0.1:0").unwrap();
        for length in [172, 173] {
            sender.send_to(&vec![b'A'; length], "127.0.0.1:62201").unwrap();
        }
        assert_eq!(heard(&mut capture), [[b'A'; 172]]);
        assert_eq!(capture.heard(), 2);
    });
}

#[cfg(feature = "pcap")]
#[test]
fn an_interface_is_promiscuous_while_somebody_holds_it_so() {
    inside(|| {
        let _cable = cable();
        let flags = || {
            let shown = std::process::Command::new("ip").args(["-d", "link", "show", "vb"]).output().unwrap();
            String::from_utf8_lossy(&shown.stdout).contains("promiscuity 1")
        };
        let held = crate::capture::promiscuous::Promiscuous::hold("vb").unwrap();
        assert!(flags());
        drop(held);
        assert!(!flags());
        let error = crate::capture::promiscuous::Promiscuous::hold("eth99").err().unwrap().to_string();
        assert!(error.starts_with("[*] pcap_open_live() error: eth99: "), "{error}");
    });
}
