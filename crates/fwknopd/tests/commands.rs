//! Command messages and command cycles, with real processes: packets over loopback to the server in a network namespace.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test that cannot go on is a test that failed

mod namespace;

use std::fs::{self, File, Permissions};
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use spa::{CommandText, DigestType, HmacKey, Keys, Knock, Nat, Nonce, Request, Timeout};

/// What the server says when it misses no packet any more.
const READY: &str = "Kicking off UDP server to listen on port 62201.";
const KEYS: &str = "SOURCE ANY\nKEY correct horse\nHMAC_KEY battery staple\n";

/// A server in the foreground, with its files in a folder of its own.
struct Server {
    folder: tempfile::TempDir,
    process: Child,
}

impl Server {
    /// With more settings, and words before the command.
    fn start_with(access: &str, settings: &str, within: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap(); // commands are run from it
        let run = folder.path().join("run");
        // A listener's account that is anybody's: several tests run at once.
        let config = format!("ENABLE_UDP_SERVER Y\nLISTENER_USER games\nFWKNOP_RUN_DIR {}\n{settings}", run.display());
        let here = folder.path().display().to_string();
        write(&folder.path().join("fwknopd.conf"), &config.replace("FOLDER", &here));
        write(&folder.path().join("access.conf"), &access.replace("FOLDER", &here));
        // Everybody may note deeds: commands run as somebody else.
        for (script, text) in [("note", "\"$*\""), ("sudo", "\"sudo $*\"")] {
            let file = folder.path().join(script);
            fs::write(&file, format!("#!/bin/sh\necho {text} >> {here}/deeds\n")).unwrap();
            fs::set_permissions(&file, Permissions::from_mode(0o755)).unwrap();
        }
        let process = launch(folder.path(), within, &[]);
        let server = Self { folder, process };
        assert!(server.says(READY), "{}", server.log());
        server
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn says(&self, text: &str) -> bool {
        eventually(|| self.log().contains(text))
    }

    fn says_now(&self, text: &str) -> bool {
        self.log().contains(text)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Changes the access file and reloads.
    fn reload(&self, access: &str, times: usize) {
        write(&self.path("access.conf"), &access.replace("FOLDER", &self.folder.path().display().to_string()));
        self.signal(Signal::SIGHUP);
        let over = || {
            let log = self.log();
            log.matches("Re-starting fwknopd").count() + log.matches("stays in force").count() >= times
        };
        assert!(eventually(over), "{}", self.log());
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id().cast_signed()), signal).unwrap();
    }

    /// Ends it, and waits for that.
    fn end(&mut self, signal: Signal) {
        self.signal(signal);
        self.process.wait().unwrap();
    }

    /// Starts it anew in the same folder.
    fn again(&mut self) {
        fs::remove_file(self.path("log")).unwrap();
        self.process = launch(self.folder.path(), &[], &[]);
        assert!(self.says(READY), "{}", self.log());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn launch(folder: &Path, within: &[&str], more: &[&str]) -> Child {
    let log = File::create(folder.join("log")).unwrap();
    let mut words: Vec<String> = within.iter().map(|word| (*word).to_owned()).collect();
    words.extend([env!("CARGO_BIN_EXE_fwknopd"), "-f", "-v"].map(String::from));
    for (option, file) in [("-c", "fwknopd.conf"), ("-a", "access.conf")] {
        words.extend([option.to_owned(), folder.join(file).display().to_string()]);
    }
    words.extend(more.iter().map(|word| (*word).to_owned()));
    Command::new(&words[0]).args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

fn write(file: &Path, text: &str) {
    fs::write(file, text).unwrap();
    fs::set_permissions(file, Permissions::from_mode(0o600)).unwrap();
}

fn eventually(what: impl Fn() -> bool) -> bool {
    let until = Instant::now() + Duration::from_secs(10);
    while Instant::now() < until {
        if what() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    what()
}

fn sends(user: &str, request: Request) {
    let nonce = Nonce::new(&mut rand_core::UnwrapErr(getrandom::SysRng));
    let knock = Knock::new(nonce, user.parse().unwrap(), namespace::now(), request);
    let keys = Keys {
        cipher: spa::CipherKey::from_text("correct horse").unwrap(),
        mode: spa::CipherMode::Cbc,
        hmac: Some(HmacKey::from_text(DigestType::Sha256, "battery staple").unwrap()),
    };
    let sealed = knock.seal(&keys, DigestType::Sha256, &mut rand_core::UnwrapErr(getrandom::SysRng)).unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(sealed.text().as_bytes(), "127.0.0.1:62201").unwrap();
}

fn commands(text: &str) {
    sends("alice", Request::Command { allow: "127.0.0.1".parse().unwrap(), command: CommandText::new(text).unwrap() });
}

/// Asks for ports, for some seconds if not 0.
fn knocks(ports: &str, seconds: u32) {
    let (allow, ports) = ("127.0.0.1".parse().unwrap(), ports.parse().unwrap());
    sends("alice", Request::Access { allow, ports, nat: Nat::None, timeout: Timeout::new(seconds).unwrap() });
}

/// A stanza that does nothing but note its cycles.
fn cycle(more: &str) -> String {
    let note = "sh FOLDER/note";
    format!(
        "{KEYS}CMD_CYCLE_OPEN {note} open $SRC $PORT $PROTO $CLIENT_TIMEOUT\nCMD_CYCLE_CLOSE {note} close $SRC $PORT\n\
         CMD_CYCLE_TIMER 600\n{more}"
    )
}

/// A firewall for the stanzas that open doors.
const NFT: &str = "FIREWALL_EXE /usr/sbin/nft\n";

/// Whether the test can be made here: inside its namespace, with a firewall that drops.
fn enter(test: &str) -> bool {
    if !namespace::enter(test) || !namespace::has(test, "nft") {
        return false;
    }
    namespace::load(
        "table inet filter { chain input { type filter hook input priority 0; policy drop; iif lo accept\n }\n }\n",
    );
    true
}

#[test]
fn a_command_runs_as_its_account_alone_and_sees_little_of_the_world() {
    if !enter("a_command_runs_as_its_account_alone_and_sees_little_of_the_world") {
        return;
    }
    let access = format!("{KEYS}ENABLE_CMD_EXEC Y\nCMD_EXEC_USER nobody\nCMD_EXEC_GROUP daemon\n");
    let server = Server::start_with(&access, NFT, &["setpriv", "--groups", "4,27"]);
    commands("id");
    for line in [
        "[127.0.0.1] (stanza #1) Processing SPA Command message: command='id'.",
        "[127.0.0.1] (stanza #1) Running command 'id' setuid/setgid user/group to nobody/daemon (UID=65534,GID=1)",
        "[127.0.0.1] (stanza #1) command output: uid=65534(nobody) gid=1(daemon) groups=1(daemon)\n",
        "[127.0.0.1] (stanza #1) CMD_EXEC: command returned 0, pid_status: 0",
    ] {
        assert!(server.says(line), "{line}\n{}", server.log());
    }
    commands("env");
    assert!(eventually(|| server.log().matches("pid_status: 0").count() == 2), "{}", server.log());
    let log = server.log();
    let output = log.lines().filter(|line| line.contains("command output: ") && line.contains('='));
    assert_eq!(output.count(), 3, "id, PATH and LC_ALL: {log}");
    commands("pwd");
    assert!(server.says("command output: /\n"), "{}", server.log());
    commands("ls /proc/self/fd");
    assert!(server.says("command output: 3\n"), "{}", server.log());
    assert!(
        !server.says_now("command output: 4\n"),
        "it inherits three streams, and opens the folder: {}",
        server.log()
    );
    commands("false");
    assert!(server.says("CMD_EXEC: command returned 0, pid_status: 1"));
    commands("no-such-program");
    assert!(server.says("CMD_EXEC: command returned 0, pid_status: 255"));
    commands(&"w ".repeat(29));
    assert!(server.says("run_extcmd(): Error converting cmd str to argv via strtoargv()"));
    assert!(server.says("CMD_EXEC: command returned -6, pid_status: 0"));
}

#[test]
fn nothing_of_a_command_is_the_business_of_a_shell() {
    if !enter("nothing_of_a_command_is_the_business_of_a_shell") {
        return;
    }
    let server = Server::start_with(&format!("{KEYS}ENABLE_CMD_EXEC Y\n"), NFT, &[]);
    let folder = server.folder.path().display().to_string();
    let words = format!("a;touch {folder}/x $(id) `id` && \\ 'a b' \"c\" | tee >{folder}/y * $HOME ~");
    commands(&format!("sh {folder}/note {words}"));
    assert!(eventually(|| !server.read("deeds").is_empty()), "{}", server.log());
    assert_eq!(server.read("deeds"), format!("{words}\n"));
    assert!(!server.path("x").exists() && !server.path("y").exists());
    commands("printf a\nb");
    let line = "[127.0.0.1] (stanza #1) Running command 'printf a\\x0ab'\n";
    assert!(server.says(line), "{}", server.log());
}

#[test]
fn a_command_that_hangs_is_ended_and_delays_no_door() {
    if !enter("a_command_that_hangs_is_ended_and_delays_no_door") {
        return;
    }
    let settings = format!("{NFT}CMD_EXEC_TIMEOUT 3\n");
    let server = Server::start_with(&format!("{KEYS}ENABLE_CMD_EXEC Y\n"), &settings, &[]);
    commands("sleep 61");
    knocks("tcp/22", 1);
    assert!(server.says("CMD_EXEC command took too long (CMD_EXEC_TIMEOUT) and was ended"), "{}", server.log());
    assert!(server.says("CMD_EXEC: command returned -1, pid_status: 137"));
    let log = server.log();
    let at = |what: &str| log.find(what).unwrap_or_else(|| panic!("{what}: {log}"));
    assert!(at("Removed rule") < at("CMD_EXEC command took too long"), "{log}");
    assert!(!sleeps("61"));
}

/// Whether `sleep` runs somewhere for that many seconds.
fn sleeps(seconds: &str) -> bool {
    let mut programs =
        fs::read_dir("/proc").unwrap().filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok());
    programs.any(|words| words == format!("sleep\0{seconds}\0").as_bytes())
}

#[test]
fn a_command_does_not_outlive_the_daemon() {
    if !enter("a_command_does_not_outlive_the_daemon") {
        return;
    }
    for (signal, seconds) in [(Signal::SIGTERM, "62"), (Signal::SIGKILL, "63")] {
        let mut server = Server::start_with(&format!("{KEYS}ENABLE_CMD_EXEC Y\n"), NFT, &[]);
        commands(&format!("sleep {seconds}"));
        assert!(eventually(|| sleeps(seconds)), "{}", server.log());
        server.end(signal);
        assert!(eventually(|| !sleeps(seconds)), "{signal}");
    }
}

#[test]
fn a_stranger_to_the_stanza_runs_nothing() {
    if !enter("a_stranger_to_the_stanza_runs_nothing") {
        return;
    }
    let access = format!("{KEYS}ENABLE_CMD_EXEC Y\nREQUIRE_USERNAME bob\n");
    let mut server = Server::start_with(&access, NFT, &[]);
    commands("id");
    assert!(server.says("Username in SPA data (alice) does not match required username: bob"), "{}", server.log());
    assert!(!server.log().contains("Running command"));
    server.end(Signal::SIGTERM);
    write(&server.path("access.conf"), &format!("{KEYS}ENABLE_CMD_EXEC Y\nCMD_EXEC_USER nosuchuser99\n"));
    server.process = launch(server.folder.path(), &[], &[]);
    assert!(!server.process.wait().unwrap().success());
    assert!(server.log().contains("[*] Unable to determine UID for CMD_EXEC_USER: Not a user on this system."));
}

#[test]
fn sudo_becomes_whom_the_stanza_names() {
    if !enter("sudo_becomes_whom_the_stanza_names") {
        return;
    }
    let access = format!(
        "{KEYS}ENABLE_CMD_EXEC Y\nENABLE_CMD_SUDO_EXEC Y\nCMD_SUDO_EXEC_USER nobody\nCMD_SUDO_EXEC_GROUP daemon\n"
    );
    // A stand-in that notes its words: sudo itself need not be on this machine.
    let server = Server::start_with(&access, &format!("{NFT}SUDO_EXE FOLDER/sudo\n"), &[]);
    commands("id -a");
    assert!(eventually(|| !server.read("deeds").is_empty()), "{}", server.log());
    assert_eq!(server.read("deeds"), "sudo -u nobody -g daemon id -a\n");
    assert!(server.says("/sudo -u nobody -g daemon id -a'\n"));
    commands("-u root id");
    assert!(server.says("SPA Command message refused: sudo would take the first word for an option"));
    assert_eq!(server.read("deeds").lines().count(), 1);
}

#[test]
fn a_cycle_runs_its_commands_and_leaves_the_firewall_alone() {
    if !enter("a_cycle_runs_its_commands_and_leaves_the_firewall_alone") {
        return;
    }
    let ruleset = namespace::run("nft list ruleset");
    // A firewall that cannot be had is none that is chosen.
    let access = cycle("OPEN_PORTS tcp/22,udp/53\nMAX_FW_TIMEOUT 2\n");
    let mut server = Server::start_with(&access, "FIREWALL_EXE /bin/false\n", &[]);
    knocks("tcp/22", 0);
    knocks("udp/53", 3000);
    for line in [
        "[127.0.0.1] (stanza #1) Running CMD_CYCLE_OPEN command: sh ",
        "[127.0.0.1] (stanza #1) Running CMD_CYCLE_CLOSE command in 600 seconds: sh ",
        "[127.0.0.1] (stanza #1) Running CMD_CYCLE_CLOSE command in 2 seconds: sh ",
        "[127.0.0.1] (stanza #1) Timer expired, running CMD_CYCLE_CLOSE command: sh ",
    ] {
        assert!(server.says(line), "{line}\n{}", server.log());
    }
    knocks("tcp/80", 0);
    assert!(server.says("requested protocol/ports was denied"));
    assert!(eventually(|| server.read("deeds").lines().count() == 3));
    assert_eq!(server.read("deeds"), "open 127.0.0.1 22 6 600\nopen 127.0.0.1 53 17 2\nclose 127.0.0.1 53\n");
    assert_eq!(namespace::run("nft list ruleset"), ruleset);
    server.end(Signal::SIGTERM);
    assert!(server.log().contains("Shutting down, running CMD_CYCLE_CLOSE command: sh "), "{}", server.log());
    assert_eq!(server.read("deeds").lines().last(), Some("close 127.0.0.1 22"));
    assert!(!server.path("run/cycle.closes").exists());
    assert_eq!(namespace::run("nft list ruleset"), ruleset);
}

#[test]
fn closes_outlive_a_reload() {
    if !enter("closes_outlive_a_reload") {
        return;
    }
    let mut server = Server::start_with(&cycle(""), "", &[]);
    knocks("tcp/22", 3);
    knocks("tcp/25", 0);
    assert!(eventually(|| server.read("deeds").lines().count() == 2), "{}", server.log());
    server.reload(&cycle("").replace("note close", "note shut"), 1);
    assert!(
        eventually(|| server.read("deeds").contains("close 127.0.0.1 22\n")),
        "as it was promised: {}",
        server.log()
    );
    knocks("tcp/23", 1);
    assert!(eventually(|| server.read("deeds").contains("shut 127.0.0.1 23\n")), "{}", server.log());
    server.reload("SOURCE nowhere\n", 2);
    server.reload(&format!("{KEYS}OPEN_PORTS tcp/22\n"), 3);
    assert!(
        server.says("a stanza opens doors, and the firewall was left alone so far; this takes a restart of fwknopd")
    );
    server.end(Signal::SIGTERM);
    assert_eq!(server.read("deeds").lines().last(), Some("close 127.0.0.1 25"));
}

#[test]
fn a_reload_that_needs_a_runner_asks_for_a_restart() {
    if !enter("a_reload_that_needs_a_runner_asks_for_a_restart") {
        return;
    }
    let server = Server::start_with(KEYS, NFT, &[]);
    server.reload(&format!("{KEYS}ENABLE_CMD_EXEC Y\n"), 1);
    assert!(server.says("this takes a restart of fwknopd"), "{}", server.log());
    commands("id");
    assert!(server.says("SPA Command messages are not allowed in the current configuration."), "the old one stays");
    knocks("tcp/22", 0);
    assert!(server.says("Added access rule"), "{}", server.log());
}

#[test]
fn closes_outlive_a_killed_daemon() {
    if !enter("closes_outlive_a_killed_daemon") {
        return;
    }
    let mut server = Server::start_with(&cycle(""), "", &[]);
    knocks("tcp/22", 1);
    knocks("tcp/25", 0);
    assert!(eventually(|| server.read("deeds").lines().count() == 2), "{}", server.log());
    server.end(Signal::SIGKILL);
    std::thread::sleep(Duration::from_secs(1));
    assert!(!server.read("deeds").contains("close"));
    // The next one needs no runner by its stanzas, and has one for what is left.
    write(&server.path("fwknopd.conf"), &format!("{}{NFT}", server.read("fwknopd.conf")));
    write(&server.path("access.conf"), KEYS);
    server.again();
    assert!(server.says("2 CMD_CYCLE_CLOSE commands are left from a daemon that did not end by itself"));
    assert!(eventually(|| server.read("deeds").contains("close 127.0.0.1 22\n")), "{}", server.log());
    assert!(!server.read("deeds").contains("close 127.0.0.1 25"), "its time has not come");
    server.end(Signal::SIGTERM);
    assert!(server.read("deeds").ends_with("close 127.0.0.1 25\n"), "{}", server.log());
    assert!(!server.path("run/cycle.closes").exists());
}

#[test]
fn a_runner_that_dies_ends_the_daemon_and_the_next_one_closes() {
    if !enter("a_runner_that_dies_ends_the_daemon_and_the_next_one_closes") {
        return;
    }
    let mut server = Server::start_with(&cycle(""), "", &[]);
    knocks("tcp/22", 1);
    assert!(eventually(|| !server.read("deeds").is_empty()), "{}", server.log());
    let warden = server.process.id();
    let children = fs::read_to_string(format!("/proc/{warden}/task/{warden}/children")).unwrap();
    let is_runner = |pid: &&str| fs::read(format!("/proc/{pid}/cmdline")).unwrap() == b"fwknopd\0run\0";
    let runner = children.split(' ').find(is_runner).unwrap().parse().unwrap();
    kill(Pid::from_raw(runner), Signal::SIGKILL).unwrap();
    assert_eq!(server.process.wait().unwrap().code(), Some(1), "{}", server.log());
    assert!(server.log().contains("the runner is gone"), "{}", server.log());
    server.again();
    assert!(eventually(|| server.read("deeds").contains("close 127.0.0.1 22\n")), "{}", server.log());
}

#[test]
fn a_test_run_opens_and_closes_nothing() {
    if !enter("a_test_run_opens_and_closes_nothing") {
        return;
    }
    let mut server = Server::start_with(&cycle(&format!("{KEYS}ENABLE_CMD_EXEC Y\n")), NFT, &[]);
    server.end(Signal::SIGTERM);
    let left = "boot x\nclose due=1 stanza=1 client=192.0.2.10 seconds=300 text=touch%20/nowhere\n";
    write(&server.path("run/cycle.closes"), left);
    server.process = launch(server.folder.path(), &[], &["--test"]);
    assert!(server.says(READY), "{}", server.log());
    knocks("tcp/22", 1);
    commands("touch /nowhere");
    let skipped = |n| format!("[127.0.0.1] (stanza #{n}) --test mode enabled, skipping command execution.");
    assert!(server.says(&skipped(1)) && server.says(&skipped(2)), "{}", server.log());
    server.end(Signal::SIGTERM);
    assert!(server.read("deeds").is_empty() && !server.log().contains("CMD_CYCLE_CLOSE"), "{}", server.log());
    assert_eq!(server.read("run/cycle.closes"), left, "what waits goes on waiting");
}
