//! Wrong configuration: exit 1, the file and the line are named, nothing is half-started.

use std::fs;

use interop::{Lab, Maker, Setup, Wall};

const GOOD: &str = "SOURCE ANY\nOPEN_PORTS tcp/22\nKEY swordfish-1\nHMAC_KEY swordfish-2\n";

#[test]
fn mistakes_are_told_with_file_and_line() {
    let Some(lab) = Lab::or_skip() else { return };
    Wall::Nft.raise(&lab.server);
    let before = Wall::Nft.listing(&lab.server);
    let cases = [
        ("", "SOURCE ANY\nKEY __CHANGEME__\nHMAC_KEY abc\n", "access.conf", 2),
        ("", "SOURCE ANY\nKEY\n", "access.conf", 2),
        ("", "SOURCE ANY\nKEY_BASE64 not*base64\nHMAC_KEY abc\n", "access.conf", 2),
        ("", "SOURCE 192.0.2.0/99\nKEY abc\nHMAC_KEY abcd\n", "access.conf", 1),
        ("", "SOURCE ANY\nKEY abc\nHMAC_KEY abcd\nOPEN_PORTS tcp/22,icmp/3\n", "access.conf", 4),
        ("", "SOURCE ANY\nKEY abc\nHMAC_KEY abcd\nFW_ACCESS_TIMEOUT 99999999\n", "access.conf", 4),
        // Lines 1 and 2 of fwknopd.conf are written by Setup.
        ("MAX_SPA_PACKET_AGE -1;", GOOD, "fwknopd.conf", 3),
        ("UDPSERV_PORT 200000;", GOOD, "fwknopd.conf", 3),
    ];
    for (config, access, file, line) in cases {
        let setup = Setup::new(Maker::Ours, Wall::Nft, access).line(config);
        setup.write(&lab.server);
        let done = setup.run(&lab.server, &["-f"]);
        let said = done.out + &done.err;
        assert_eq!(done.code, Some(1), "{config}{access}\n{said}");
        let places = [format!("{file}:{line}"), format!("{file} at line {line}")];
        assert!(places.iter().any(|place| said.contains(place)), "no {places:?} in:\n{said}");
        assert_eq!(Wall::Nft.listing(&lab.server), before, "{said}");
    }
    assert!(!lab.server.run_folder().join("fwknop/fwknopd.pid").exists(), "half-started");
}

#[test]
fn all_mistakes_are_told_at_once() {
    let Some(lab) = Lab::or_skip() else { return };
    let access = "SOURCE ANY\nKEY __CHANGEME__\nOPEN_PORTS icmp/1\nFW_ACCESS_TIMEOUT 99999999\n";
    let setup = Setup::new(Maker::Ours, Wall::Nft, access);
    setup.write(&lab.server);
    let done = setup.run(&lab.server, &["-f"]);
    let said = done.out + &done.err;
    assert_eq!(done.code, Some(1), "{said}");
    for line in [2, 3, 4] {
        assert!(said.contains(&format!("access.conf:{line}")), "line {line} is not named:\n{said}");
    }
}

#[test]
fn files_that_are_not_there() {
    let Some(lab) = Lab::or_skip() else { return };
    let setup = Setup::new(Maker::Ours, Wall::Nft, GOOD);
    setup.write(&lab.server);
    for (arguments, what) in [
        (&["-f", "-c", "/nonexistent/fwknopd.conf"][..], "[*] Could not open config file: /nonexistent/fwknopd.conf"),
        (&["-f", "-a", "/nonexistent/access.conf"], "/nonexistent/access.conf"),
        (&["-f", "-i", "nonexistent0"], "nonexistent0"),
        (&["-S", "-K"], "The -D, -K, -R, and -S options are mutually exclusive."),
    ] {
        let done = setup.run(&lab.server, arguments);
        assert_eq!(done.code, Some(1), "{done:?}");
        assert!((done.out.clone() + &done.err).contains(what), "no {what:?} in {done:?}");
    }
    fs::remove_file(lab.server.etc().join("access.conf")).expect("it was just written");
    assert_eq!(setup.run(&lab.server, &["-f"]).code, Some(1));
}
