//! Finding the address to allow, against servers that this test starts: TLS by an authority made here, everything on the loopback.

#![cfg(feature = "https")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test that cannot go on shall end, and say where

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, UdpSocket},
    path::PathBuf,
    process::{Command, Output},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use fwknop::{address::Inquiry, plan::Family};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ServerConfig, ServerConnection, StreamOwned, pki_types::PrivateKeyDer};

/// An authority whose certificate stands in a file.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("roots.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    fn roots(&self) -> PathBuf {
        self.folder.path().join("roots.pem")
    }

    /// Starts a server with a certificate for this name; it gives everybody this answer. Returns its URL.
    fn serve(&self, name: &str, answer: impl Into<Vec<u8>>) -> String {
        let answer = answer.into();
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap().der().clone();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut tls = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream.unwrap());
                if tls.read(&mut [0; 2048]).is_err() {
                    continue; // it did not like our certificate
                }
                if tls.write_all(&answer).is_ok() {
                    tls.conn.send_close_notify();
                    let _gone = tls.flush();
                }
            }
        });
        format!("https://localhost:{port}/ip")
    }
}

fn page(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

/// Runs the program in test mode; it believes this authority only.
fn fwknop(authority: &Authority, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fwknop"))
        .args(["-T", "-A", "tcp/22", "-D", "127.0.0.1", "--no-rc-file", "--no-save-args", "--key-rijndael", "sekret"])
        .args(words)
        .env_clear()
        .env("SSL_CERT_FILE", authority.roots())
        .env("LOGNAME", "alice")
        .output()
        .unwrap()
}

/// What is asked for with the answer of this page, or what went wrong.
fn asked(authority: &Authority, url: &str, more: &[&str]) -> Result<String, String> {
    let output = fwknop(authority, &[&["-R", "--resolve-url", url][..], more].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    match text.lines().find_map(|line| line.trim().strip_prefix("Message String: ")) {
        Some(message) if output.status.success() => Ok(message.to_owned()),
        _ => Err(String::from_utf8(output.stderr).unwrap()),
    }
}

#[test]
fn an_address_over_https_is_what_is_asked_for() {
    let authority = Authority::new();
    let url = authority.serve("localhost", page("203.0.113.50\n"));
    assert_eq!(asked(&authority, &url, &[]).unwrap(), "203.0.113.50,tcp/22");
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nd\r\n203.0.113.51\n\r\n0\r\n\r\n";
    let url = authority.serve("localhost", chunked);
    assert_eq!(asked(&authority, &url, &[]).unwrap(), "203.0.113.51,tcp/22");
}

#[test]
fn what_is_no_address_is_refused_with_the_reason() {
    let authority = Authority::new();
    for (answer, reason) in [
        (page("<html>203.0.113.50</html>"), "the answer is no address"),
        (page(""), "the answer is no address"),
        (page("0.0.0.0"), "the answer is no address"),
        (page("2001:db8::7"), "2001:db8::7 is no IPv4 address"),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 12\r\n\r\n203.0.113.50".into(), "404"),
        ("SSH-2.0-OpenSSH\r\n".into(), "localhost"),
    ] {
        let url = authority.serve("localhost", answer);
        let told = asked(&authority, &url, &[]).unwrap_err();
        assert!(told.starts_with("[-] Could not resolve IP") && told.contains(&url) && told.contains(reason), "{told}");
    }
}

#[test]
fn a_certificate_for_another_name_or_by_a_stranger_is_refused() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    for url in
        [authority.serve("other.example.net", page("203.0.113.50")), stranger.serve("localhost", page("203.0.113.50"))]
    {
        let told = asked(&authority, &url, &[]).unwrap_err();
        assert!(told.contains("certificate"), "{told}");
    }
}

#[test]
fn a_page_may_move_to_another_https_page_but_not_to_plain_http() {
    let authority = Authority::new();
    let target = authority.serve("localhost", page("203.0.113.50"));
    let moved = |to: &str| format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
    let url = authority.serve("localhost", moved(&target));
    assert_eq!(asked(&authority, &url, &[]).unwrap(), "203.0.113.50,tcp/22");
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    plain.set_nonblocking(true).unwrap();
    let url = authority.serve("localhost", moved(&format!("http://{}/ip", plain.local_addr().unwrap())));
    assert!(asked(&authority, &url, &[]).unwrap_err().contains("Could not resolve IP"));
    assert!(plain.accept().is_err(), "nobody asked the plain page");
    let url = authority.serve("localhost", moved("/ip"));
    assert!(asked(&authority, &url, &[]).is_err(), "a page that moves in circles");
}

#[test]
fn only_the_beginning_of_an_endless_answer_is_read() {
    let authority = Authority::new();
    let endless = |begin: &str| format!("HTTP/1.1 200 OK\r\n\r\n{begin}{}", "x".repeat(64 << 20));
    let start = Instant::now();
    let url = authority.serve("localhost", endless("<html>"));
    assert!(asked(&authority, &url, &[]).unwrap_err().contains("no address"));
    let url = authority.serve("localhost", endless("203.0.113.50 "));
    assert_eq!(asked(&authority, &url, &[]).unwrap(), "203.0.113.50,tcp/22");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

/// A place where connections are taken and nothing is ever said.
fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    (listener, url)
}

#[test]
fn a_service_that_hangs_costs_its_time_and_no_more() {
    let authority = Authority::new();
    let (_listener, url) = silent();
    let start = Instant::now();
    assert!(asked(&authority, &url, &[]).unwrap_err().contains("timeout"));
    assert!((2..9).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
}

/// The library has no door for roots but the environment, so the test runs itself again with it.
const INSIDE: &str = "FWKNOP_RESOLVER_PAGE";

#[test]
fn the_next_is_asked_when_one_fails_and_stun_last() {
    let Ok(good) = std::env::var(INSIDE) else {
        let authority = Authority::new();
        let url = authority.serve("localhost", page("203.0.113.50"));
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["the_next_is_asked_when_one_fails_and_stun_last", "--exact"])
            .env_clear()
            .env("SSL_CERT_FILE", authority.roots())
            .env(INSIDE, url)
            .status();
        return assert!(status.unwrap().success());
    };
    let (_listener, hangs) = silent();
    let refuses = "https://localhost:1/";
    let stun = UdpSocket::bind("127.0.0.1:0").unwrap();
    let stun_server = stun.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let mut question = [0; 64];
        while let Ok((_, client)) = stun.recv_from(&mut question) {
            let head = [&[1, 1, 0, 12][..], &question[4..20]].concat();
            let answer = [&head[..], &[0, 1, 0, 8, 0, 1, 0, 9, 203, 0, 113, 60]].concat();
            stun.send_to(&answer, client).unwrap();
        }
    });
    let inquire = |pages: &[&str], stun: &[&str], all: u64| {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut output = fwknop::output::Output::new(&mut out, &mut err);
        let (each, all) = (Duration::from_millis(300), Duration::from_millis(all));
        let found = Inquiry { pages, stun, each, all }.ask("Fwknop/0", Family::V4, &mut output);
        let warned = String::from_utf8(err).unwrap();
        (found.map(|address| address.to_string()).map_err(|error| error.to_string()), warned)
    };
    let stun = [stun_server.as_str()];
    let (found, warned) = inquire(&[&hangs, refuses, &good], &stun, 9000);
    assert_eq!((found.as_deref(), warned.as_str()), (Ok("203.0.113.50"), ""));
    let (found, warned) = inquire(&[&hangs, refuses], &stun, 9000);
    assert_eq!(found.as_deref(), Ok("203.0.113.60"));
    assert!(warned.starts_with("[-] Warning: the address 203.0.113.60 comes from stun:"), "{warned}");
    let (found, _) = inquire(&[&hangs, &hangs, refuses], &stun, 500);
    let told = found.unwrap_err();
    assert_eq!(told.lines().count(), 5, "each of the four has its line: {told}");
    assert!(told.ends_with("no time left"), "{told}");
}

#[test]
fn over_ipv6_an_ipv6_address_is_found() {
    let authority = Authority::new();
    let url = authority.serve("localhost", page("2001:db8::7"));
    // Whoever wants IPv6 asks over IPv6; this server has none.
    assert!(asked(&authority, &url, &["-6"]).is_err());
    // A plain page answers with whatever it wants; the family is checked all the same.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _asked = stream.read(&mut [0; 1024]).unwrap();
            stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n2001:db8::7\n").unwrap();
        }
    });
    let told = asked(&authority, &url, &["--resolve-http-only", "-4"]).unwrap_err();
    assert_eq!(told, "[-] Resolved external IP 2001:db8::7 is no IPv4 address\n");
    assert_eq!(asked(&authority, &url, &["--resolve-http-only", "-6"]).unwrap(), "2001:db8::7,tcp/22");
    let output = fwknop(&authority, &["--resolve-url", &url]);
    assert!(output.status.success());
    let warned = String::from_utf8(output.stderr).unwrap();
    assert!(warned.contains("should begin with 'https://' in -R mode."), "{warned}");
}
