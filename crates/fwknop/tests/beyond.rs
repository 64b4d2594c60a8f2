//! What the original cannot do, done by the built program: IPv6, keys that stay secret, command lines that come back whole.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test that cannot go on shall end, and say where

use std::{
    fs,
    io::Write as _,
    net::UdpSocket,
    path::Path,
    process::{Command, Output, Stdio},
};

use spa::{CipherKey, CipherMode, Decoding, DigestType, HmacKey, Keys, Knock, SealedPacket};

/// Runs the program in a home directory.
fn fwknop(home: &Path, arguments: &[&str], stdin: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_fwknop"))
        .args(arguments)
        .env_clear()
        .envs([("HOME", home.to_str().unwrap()), ("LOGNAME", "alice"), ("PATH", "/usr/bin:/bin"), ("LANG", "C")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _closed = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    child.wait_with_output().unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn open(packet: &[u8]) -> Knock {
    let keys = Keys {
        cipher: CipherKey::from_text("sekret").unwrap(),
        mode: CipherMode::Cbc,
        hmac: Some(HmacKey::from_text(DigestType::Sha256, "hmacsecret").unwrap()),
    };
    SealedPacket::parse(packet).unwrap().open(&keys, &Decoding { ipv6_allow: true }).unwrap()
}

const KEYS: [&str; 4] = ["--key-rijndael", "sekret", "--key-hmac", "hmacsecret"];

#[test]
fn an_ipv6_address_is_let_in_at_an_ipv6_server() {
    let home = tempfile::tempdir().unwrap();
    let Ok(server) = UdpSocket::bind("[::1]:0") else {
        return std::io::stderr().write_all(b"skipped: this machine has no IPv6\n").unwrap();
    };
    let port = server.local_addr().unwrap().port().to_string();
    let words = ["--no-rc-file", "--no-save-args", "-A", "tcp/22", "-a", "2001:db8::7", "-D", "::1", "-p", &port];
    assert_eq!(said(&fwknop(home.path(), &[&words[..], &KEYS].concat(), "")), "", "a quiet knock says nothing");
    let mut buffer = [0; 1500];
    let length = server.recv(&mut buffer).unwrap();
    assert_eq!(open(&buffer[..length]).request.message(), b"2001:db8::7,tcp/22");
}

#[test]
fn a_remembered_line_does_the_same_again_and_holds_no_key() {
    let home = tempfile::tempdir().unwrap();
    let words = ["--no-rc-file", "-T", "-C", "echo 'a  b'", "-s", "-B", home.path().join("p").to_str().unwrap()]
        .map(str::to_owned);
    let words: Vec<&str> = words.iter().map(String::as_str).chain(["--stdin"]).collect();
    said(&fwknop(home.path(), &[&words[..], &KEYS].concat(), ""));
    let line = fs::read_to_string(home.path().join(".fwknop.run")).unwrap();
    assert!(!line.contains("sekret") && !line.contains("hmacsecret"), "{line}");
    assert!(line.ends_with(" --stdin --use-hmac \n"), "{line}");
    said(&fwknop(home.path(), &["-l", "--no-rc-file"], "sekret\nhmacsecret\n"));
    let packet = fs::read_to_string(home.path().join("p")).unwrap();
    assert_eq!(open(packet.trim_end().as_bytes()).request.message(), b"0.0.0.0,echo 'a  b'");
}

#[test]
fn keys_that_were_made_and_saved_are_used_by_the_stanza() {
    let home = tempfile::tempdir().unwrap();
    let real = home.path().join("real");
    fs::write(&real, "# keep me\n[default]\n").unwrap();
    std::os::unix::fs::symlink(&real, home.path().join(".fwknoprc")).unwrap();
    let words = ["-k", "--use-hmac", "--save-rc-stanza", "-n", "home", "-A", "tcp/22", "-a", "192.0.2.7", "-D", "h"];
    said(&fwknop(home.path(), &words, ""));
    let text = fs::read_to_string(&real).unwrap();
    assert!(text.starts_with("# keep me\n[default]\n\n[home]\nALLOW_IP                    192.0.2.7\n"), "{text}");
    assert!(home.path().join(".fwknoprc").is_symlink());
    let shown = said(&fwknop(home.path(), &["-n", "home", "-T", "-v"], ""));
    assert!(shown.contains("HMAC Type: 3 (SHA256)\n") && shown.contains("Dump of the Decoded Data\n"), "{shown}");
    // Nothing that is shown is a key.
    let keys = text.lines().filter(|line| line.contains("KEY")).filter_map(|line| line.split_whitespace().last());
    let traced = said(&fwknop(home.path(), &["-n", "home", "-T", "-vv", "--no-save-args"], ""));
    keys.for_each(|key| assert!(!traced.contains(key), "{traced}"));
}

#[test]
fn a_stanza_can_take_back_what_the_default_says() {
    let home = tempfile::tempdir().unwrap();
    let rc = "[default]\nKEY sekret\nHMAC_KEY hmacsecret\nRAND_PORT Y\nALLOW_IP source\n[x]\nRAND_PORT N\nUSE_HMAC N\nVERBOSE Y\n";
    fs::write(home.path().join(".fwknoprc"), rc).unwrap();
    let shown = said(&fwknop(home.path(), &["-n", "x", "-T", "-A", "tcp/22"], ""));
    assert!(shown.contains("HMAC Type: 0 (None)\n") && shown.contains("destination port: 62201\n"), "{shown}");
}
