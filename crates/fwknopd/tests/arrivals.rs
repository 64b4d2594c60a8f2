//! Every way a packet can reach the built program: sent by the original client over a wire, or lying in a capture file.
//!
//! Each test has a network of its own (`namespace`), with the client on another machine of it, and looks at what the
//! server says it opened.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test that cannot go on is a test that failed

mod namespace;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use namespace::{Outside, enter, has, run};

const PATIENCE: Duration = Duration::from_secs(10);
const ADDED: &str = "Added access rule to FWKNOP_INPUT for 10.5.5.2 -> 0.0.0.0/0 tcp/22";

/// Our server in the foreground, and what it says.
struct Server {
    process: Child,
    lines: Receiver<String>,
    said: Vec<String>,
    _folder: tempfile::TempDir,
}

impl Server {
    /// Starts with these settings; gives no guarantee that it hears yet.
    fn start(settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (config, access) = (folder.path().join("fwknopd.conf"), folder.path().join("access.conf"));
        std::fs::write(&config, format!("FIREWALL_EXE /usr/sbin/iptables\nPCAP_INTF wire\n{settings}")).unwrap();
        std::fs::write(&access, "SOURCE ANY\nKEY correct horse\nHMAC_KEY battery staple\nFW_ACCESS_TIMEOUT 60\n")
            .unwrap();
        for file in [&config, &access] {
            std::fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        }
        let mut process = Command::new(env!("CARGO_BIN_EXE_fwknopd"))
            .args(["-f", "-v", "-c", config.to_str().unwrap(), "-a", access.to_str().unwrap()])
            .args(["-r", folder.path().join("run").to_str().unwrap()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let output = BufReader::new(process.stderr.take().unwrap());
        std::thread::spawn(move || output.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok()));
        Self { process, lines, said: Vec::new(), _folder: folder }
    }

    /// Starts, and hears.
    fn hears(settings: &str) -> Self {
        let mut server = Self::start(settings);
        server.says("Starting fwknopd main event loop.");
        server
    }

    /// Waits until it has said a line that contains this.
    fn says(&mut self, wanted: &str) {
        while !self.said.iter().any(|line| line.contains(wanted)) {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => self.said.push(line),
                Err(_) => panic!("never said {wanted:?}, but\n{}", self.said.join("\n")),
            }
        }
    }

    /// Waits for its end.
    fn ends(mut self) -> (ExitStatus, Vec<String>) {
        self.said.extend(self.lines.iter());
        (self.process.wait().unwrap(), std::mem::take(&mut self.said))
    }

    /// Asks it to end.
    fn stop(self) -> (ExitStatus, Vec<String>) {
        run(&format!("kill -TERM {}", self.process.id()));
        self.ends()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The original client on the other machine knocks, with these words besides the usual ones.
fn knock(outside: &Outside, words: &str) {
    let folder = tempfile::tempdir().unwrap();
    let line = format!(
        "fwknop -A tcp/22 -a 10.5.5.2 -D 10.5.5.1 --key-rijndael correct_horse --key-hmac battery_staple --use-hmac \
         --no-save-args --no-rc-file {words}"
    );
    let words = line
        .split_whitespace()
        .map(|word| word.replace("correct_horse", "correct horse").replace("battery_staple", "battery staple"));
    let output = outside.command().args(words).env("HOME", folder.path()).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Inside a namespace, with another machine; `None` if the test is done.
fn outside(test: &str) -> Option<Outside> {
    let inside = enter(test) && has(test, "fwknop") && has(test, "iptables");
    inside.then(|| {
        add_account();
        Outside::new()
    })
}

/// An account for the listener, on this machine of ours alone: nobody else has its number.
fn add_account() {
    let id = 1_500_000_000 + std::process::id();
    for (file, line) in
        [("passwd", format!("fwknop:x:{id}:{id}::/:/bin/false\n")), ("group", format!("fwknop:x:{id}:\n"))]
    {
        let own = format!("/run/{file}");
        let others = std::fs::read_to_string(format!("/etc/{file}")).unwrap();
        std::fs::write(&own, others + &line).unwrap();
        run(&format!("mount --bind {own} /etc/{file}"));
    }
}

#[test]
fn every_transport_of_the_original_client_opens_a_door() {
    let test = "every_transport_of_the_original_client_opens_a_door";
    let Some(outside) = outside(test) else { return };
    for (words, settings) in [
        ("-P udp", ""),
        ("-P udpraw -Q 10.5.5.2", ""),
        ("-P icmp -Q 10.5.5.2", "PCAP_FILTER icmp\n"),
        ("-P icmp --icmp-type 8 --icmp-code 0 -Q 10.5.5.2", "PCAP_FILTER icmp\n"),
        ("-P tcpraw -Q 10.5.5.2", "PCAP_FILTER tcp dst port 62201\n"),
        ("-P udp -p 53", "PCAP_FILTER udp port 53 or udp port 62201\n"),
    ] {
        let mut server = Server::hears(settings);
        knock(&outside, words);
        server.says(ADDED);
        assert_eq!(server.stop().0.code(), Some(0), "{words}");
    }
}

#[test]
fn a_tcp_segment_is_heard_by_the_filter_if_somebody_completes_the_handshake() {
    let test = "a_tcp_segment_is_heard_by_the_filter_if_somebody_completes_the_handshake";
    let Some(outside) = outside(test) else { return };
    let _web_server = std::net::TcpListener::bind("10.5.5.1:80").unwrap();
    let http = "PCAP_FILTER tcp port 80\nENABLE_SPA_OVER_HTTP Y\n";
    for (words, settings) in [("-P tcp -p 80", "PCAP_FILTER tcp dst port 80\n"), ("-P http -p 80", http)] {
        let mut server = Server::hears(settings);
        knock(&outside, words);
        server.says(ADDED);
        let (_, said) = server.stop();
        assert!(!said.iter().any(|line| line.contains("Replay")), "{said:?}");
    }
    let mut server = Server::hears("PCAP_FILTER tcp port 80\n");
    knock(&outside, "-P http -p 80");
    server.says("error 4098");
}

#[test]
fn the_tcp_server_reads_what_is_sent_and_says_nothing_of_a_replay_when_the_filter_sees_it_too() {
    let test = "the_tcp_server_reads_what_is_sent_and_says_nothing_of_a_replay_when_the_filter_sees_it_too";
    let Some(outside) = outside(test) else { return };
    let tcp = "ENABLE_TCP_SERVER Y\nTCPSERV_PORT 62201\n";
    for (words, more) in [
        ("-P tcp", ""),
        ("-P tcp", "PCAP_FILTER tcp port 62201\n"),
        ("-P http -p 62201", "ENABLE_SPA_OVER_HTTP Y\n"),
        ("-P tcp", "ENABLE_UDP_SERVER Y\nUDPSERV_PORT 62202\n"),
    ] {
        let mut server = Server::start(&format!("{tcp}{more}"));
        server.says("Kicking off TCP server to listen on port 62201.");
        server.says(if more.contains("UDP") { "Kicking off UDP" } else { "Starting fwknopd main" });
        knock(&outside, words);
        server.says("tcp_server: Got TCP connection from 10.5.5.2.");
        if more.contains("tcp port") {
            server.says("is the same one");
        }
        server.says(ADDED);
        let (status, said) = server.stop();
        assert_eq!(status.code(), Some(0));
        assert!(!said.iter().any(|line| line.contains("Replay")), "{words} {more}: {said:?}");
    }
}

#[test]
fn the_udp_server_tells_of_datagrams_within_limits() {
    let test = "the_udp_server_tells_of_datagrams_within_limits";
    let Some(outside) = outside(test) else { return };
    let mut server = Server::start("ENABLE_UDP_SERVER Y\nENABLE_SPA_OVER_HTTP Y\n");
    server.says("Kicking off UDP server to listen on port 62201.");
    let flood = "for i in {1..500}; do printf '%0200d' $i > /dev/udp/10.5.5.1/62201; done";
    assert!(outside.command().args(["bash", "-c", flood]).status().unwrap().success());
    knock(&outside, "-P udp");
    server.says(ADDED);
    let (_, said) = server.stop();
    let told = said.iter().filter(|line| line.starts_with("udp_server: Got UDP datagram (200 bytes) from: 10.5.5.2"));
    assert!((1..=60).contains(&told.count()), "{said:?}");
}

#[test]
fn the_end_of_a_capture_file_is_the_end_and_what_is_in_it_is_done() {
    let test = "the_end_of_a_capture_file_is_the_end_and_what_is_in_it_is_done";
    let Some(outside) = outside(test) else { return };
    if !has(test, "tcpdump") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("knocks.pcap");
    record(&outside, &file);
    let server = Server::start(&format!("PCAP_FILE {}\n", file.display()));
    let (status, said) = server.ends();
    assert_eq!(status.code(), Some(0), "{said:?}");
    for added in [ADDED, &ADDED.replace("/22", "/80")] {
        assert_eq!(said.iter().filter(|line| line.contains(added)).count(), 1, "{said:?}");
    }
    assert!(said.iter().any(|line| line == "Gracefully leaving the fwknopd event loop."), "{said:?}");
    assert!(!run("iptables -S").contains("FWKNOP"), "and nothing is left open");
}

/// Records two knocks.
fn record(outside: &Outside, file: &Path) {
    let mut tcpdump = Command::new("tcpdump")
        .args(["-i", "wire", "-U", "-Z", "root", "-c", "2", "-w", file.to_str().unwrap(), "udp port 62201"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut listening = String::new();
    BufReader::new(tcpdump.stderr.as_mut().unwrap()).read_line(&mut listening).unwrap();
    knock(outside, "-P udp");
    knock(outside, "-P udp -A tcp/80");
    assert!(tcpdump.wait().unwrap().success());
}

#[test]
fn an_interface_that_is_missing_or_removed_is_waited_for_or_is_the_end() {
    let test = "an_interface_that_is_missing_or_removed_is_waited_for_or_is_the_end";
    let Some(_first) = outside(test) else { return };
    let (status, said) = Server::start("PCAP_INTF eth7\n").ends();
    let gone = "[*] pcap_open_live() error: eth7: no such interface";
    assert!(status.code() == Some(1) && said.iter().any(|line| line.starts_with(gone)), "{said:?}");

    run("ip link del wire");
    for names in ["wire", "lo, wi*"] {
        let mut server = Server::hears(&format!("PCAP_INTF {names}\nEXIT_AT_INTF_DOWN N\n"));
        server.says("nothing is heard on it until there is");
        for port in ["81", "82"] {
            let outside = Outside::new();
            server.says("Sniffing interface: wire (it is there now)");
            knock(&outside, &format!("-P udp -A tcp/{port}"));
            server.says(&ADDED.replace("22", port));
            server.said.clear();
            run("ip link del wire");
            server.says("the interface is gone");
        }
        assert_eq!(server.stop().0.code(), Some(0));
    }

    let _last = Outside::new();
    let server = Server::hears("");
    run("ip link del wire");
    let (status, said) = server.ends();
    assert_eq!(status.code(), Some(1), "{said:?}");
    assert!(said.contains(&"[*] Fatal error from pcap_dispatch: wire: the interface is gone".to_owned()), "{said:?}");
    assert!(!run("iptables -S").contains("FWKNOP"), "and nothing is left open");
}
