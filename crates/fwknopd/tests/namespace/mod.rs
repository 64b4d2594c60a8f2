//! A network namespace for each test: a machine of its own, with a firewall of its own, that vanishes.
//!
//! A test calls [`enter`] first. Outside, that runs the same test once more under `unshare -n -m` and
//! reports how it went; inside, it says yes. So nothing here can touch the firewall of this machine, nor wait for it:
//! `/run`, where the lock of iptables is, is a new one as well.
#![allow(dead_code)] // each test binary uses its own part of it
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use spa::UnixTime;

const INSIDE: &str = "FWKNOP_TEST_NAMESPACE";

/// Whether we are inside; if not, the test has run there, or was skipped where there is no namespace.
pub(crate) fn enter(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        run("ip link set lo up");
        run("mount -t tmpfs none /run"); // the lock file of iptables-legacy is there
        return true;
    }
    let possible = Command::new("unshare").args(["-n", "-m", "true"]).output();
    if !possible.is_ok_and(|output| output.status.success()) {
        skip(test, "no network namespace can be made here (it takes root and unshare)");
        return false;
    }
    // Its standard output is shown only if it fails: what a runner counts there was counted here.
    let inside = Command::new("unshare")
        .args(["-n", "-m"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(inside.status.success(), "{test} failed in its namespace:\n{}", String::from_utf8_lossy(&inside.stdout));
    false
}

/// Says on the real error stream what was not tested; in CI that is a failure.
pub(crate) fn skip(test: &str, why: &str) {
    std::io::stderr().write_all(format!("skipped: {test}: {why}\n").as_bytes()).unwrap();
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "nothing is skipped in CI");
}

/// Whether a program is there; else the test is skipped.
pub(crate) fn has(test: &str, program: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    if !there {
        skip(test, &format!("{program} is missing"));
    }
    there
}

/// Runs a line of words and hands back what it printed; it must succeed.
pub(crate) fn run(line: &str) -> String {
    let output = attempt(line);
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a line of words.
pub(crate) fn attempt(line: &str) -> Output {
    let mut words = line.split(' ');
    Command::new(words.next().unwrap()).args(words).output().unwrap_or_else(|error| panic!("{line}: {error}"))
}

/// Loads a ruleset with `nft -f`.
pub(crate) fn load(ruleset: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.nft");
    std::fs::write(&file, ruleset).unwrap();
    run(&format!("nft -f {}", file.display()));
}

/// The time.
pub(crate) fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    UnixTime(since.as_secs())
}

/// Whether a datagram from `client` reaches a socket of ours on `port`. Both are on this machine; the
/// packet goes through the input hook all the same.
pub(crate) fn reaches(client: &str, port: u16) -> bool {
    let client: IpAddr = client.parse().unwrap();
    let server = if client.is_ipv4() { "127.0.0.1" } else { "::1" };
    let server = SocketAddr::new(server.parse().unwrap(), port);
    let ears = UdpSocket::bind(server).unwrap();
    ears.set_read_timeout(Some(Duration::from_millis(150))).unwrap();
    UdpSocket::bind((client, 0)).unwrap().send_to(b"knock", server).unwrap();
    ears.recv_from(&mut [0; 16]).is_ok()
}

/// Another machine, 10.5.5.2, on a wire to this one, 10.5.5.1: what comes from there is not loopback.
pub(crate) struct Outside(Child);

impl Outside {
    pub(crate) fn new() -> Self {
        let mut machine = Command::new("unshare").args(["-n", "cat"]).stdin(Stdio::piped()).spawn().unwrap();
        let id = machine.id();
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        while std::fs::read_link(format!("/proc/{id}/ns/net")).unwrap() == own {
            assert!(machine.try_wait().unwrap().is_none(), "the other machine did not start");
        }
        run(&format!("ip link add wire type veth peer name wire netns {id}"));
        run("ip addr add 10.5.5.1/24 dev wire");
        run("ip link set wire up");
        run(&format!("nsenter -t {id} -n ip addr add 10.5.5.2/24 dev wire"));
        run(&format!("nsenter -t {id} -n ip link set wire up"));
        Self(machine)
    }

    /// A command that will run there: add the program and its words.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.0.id().to_string(), "-n"]);
        command
    }

    /// Whether a datagram from there reaches a socket of ours.
    pub(crate) fn reaches(&self, port: u16) -> bool {
        let ears = UdpSocket::bind(("10.5.5.1", port)).unwrap();
        ears.set_read_timeout(Some(Duration::from_millis(150))).unwrap();
        let id = self.0.id().to_string();
        let send = format!("echo knock > /dev/udp/10.5.5.1/{port}");
        let sent = Command::new("nsenter").args(["-t", &id, "-n", "bash", "-c", &send]).status().unwrap();
        assert!(sent.success());
        ears.recv_from(&mut [0; 16]).is_ok()
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
