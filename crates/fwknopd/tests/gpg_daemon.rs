//! The original's client and our server, with gpg at both ends, each test in a network namespace of its own.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has found something")]

mod gpg_home;
mod namespace;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use gpg_home::Home;
use namespace::{attempt, enter, has, load, run, skip};

const CLIENT: &str = "/usr/bin/fwknop";
const HMAC: &str = "gpg hmac key";
/// A user without a name: whoever owns a gpg home, gpg runs as that user.
const OWNER: u32 = 61_234;

/// Our server on the loopback interface of a namespace, in UDP mode, with a firewall that drops.
struct Server {
    process: Child,
    folder: PathBuf,
}

impl Server {
    fn starts(folder: &Path, home: &Home, rules: &str) -> Self {
        fs::set_permissions(home.around(), Permissions::from_mode(0o755)).unwrap();
        load(
            "table inet filter {\n chain input {\n type filter hook input priority 0; policy drop;\n \
             udp dport 62201 accept\n }\n}\n",
        );
        // An account of this test's own: others may run servers at the same time.
        let id = 2_000_000 + std::process::id();
        for (file, line) in
            [("passwd", format!("fwknop:x:{id}:{id}::/:/usr/sbin/nologin\n")), ("group", format!("fwknop:x:{id}:\n"))]
        {
            let others = fs::read_to_string(Path::new("/etc").join(file)).unwrap();
            let others: String =
                others.lines().filter(|line| !line.starts_with("fwknop:")).flat_map(|line| [line, "\n"]).collect();
            fs::write(folder.join(file), others + &line).unwrap();
            run(&format!("mount --bind {} /etc/{file}", folder.join(file).display()));
        }
        let gpg = format!("GPG_HOME_DIR {}\nGPG_ALLOW_NO_PW Y\n", home.path().display());
        let access = rules.replace("GPG\n", &gpg);
        let config = format!(
            "ENABLE_UDP_SERVER Y\nFWKNOP_RUN_DIR {}\nFIREWALL_EXE /usr/sbin/nft\n",
            folder.join("run").display()
        );
        for (file, text) in [("access.conf", access), ("fwknopd.conf", config)] {
            fs::write(folder.join(file), text).unwrap();
            fs::set_permissions(folder.join(file), Permissions::from_mode(0o600)).unwrap();
        }
        let log = fs::File::create(folder.join("log")).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_fwknopd"))
            .args(["-f", "-c"])
            .arg(folder.join("fwknopd.conf"))
            .arg("-a")
            .arg(folder.join("access.conf"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let server = Self { process, folder: folder.to_owned() };
        server.says("Kicking off UDP server to listen on port 62201.");
        server
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap()
    }

    /// Waits until it has said so.
    fn says(&self, text: &str) {
        let until = Instant::now() + Duration::from_secs(20);
        while !self.log().contains(text) {
            assert!(Instant::now() < until, "it never said '{text}':\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A process of ours in this role, as `/proc` shows it.
    fn child(&self, role: &str) -> u32 {
        let id = self.process.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        let mut ids = children.split_ascii_whitespace().map(|id| id.parse().unwrap());
        let role = format!("fwknopd\0{role}\0");
        ids.find(|id: &u32| fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap().starts_with(&role)).unwrap()
    }

    fn ends(mut self) -> String {
        run(&format!("kill -TERM {}", self.process.id()));
        assert!(self.process.wait().unwrap().success(), "{}", self.log());
        self.log()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Lets the original's client knock, with these words besides the usual ones.
fn knock(home: &Home, words: &[&str]) {
    let mut client = Command::new(CLIENT);
    client.args(["-A", "tcp/22", "-a", "127.0.0.9", "-D", "127.0.0.1", "--gpg-recipient-key", "spa-server-rsa2048"]);
    client.arg("--gpg-home-dir").arg(home.path()).arg("--gpg-no-signing-pw").args(words).env("HOME", home.around());
    let output = client.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

fn possible(test: &str) -> bool {
    if !Path::new(CLIENT).exists() {
        skip(test, "the original's client is missing");
        return false;
    }
    has(test, "gpg") && has(test, "nft")
}

const SIGNED: &str = "Incoming SPA data signed by '677EBF01' (fingerprint '961DEE967C6F63741B418045D7A24CB1677EBF01').";
const ADDED: &str = "Added access rule to FWKNOP_INPUT for 127.0.0.9 -> 0.0.0.0/0 tcp/22";

/// One client, one server: what it knocks with, the stanza, and what must stand in the log.
fn scenario(test: &str, words: &[&str], rules: &str, said: &str, opens: bool) {
    if !possible(test) || !enter(test) {
        return;
    }
    let (client, server) = (Home::new(Some("client")), Home::new(Some("server")));
    let folder = tempfile::tempdir().unwrap();
    let daemon = Server::starts(folder.path(), &server, rules);
    knock(&client, words);
    daemon.says(said);
    if opens {
        daemon.says(ADDED);
        assert!(run("nft list ruleset").contains("127.0.0.9"));
    }
    let log = daemon.ends();
    assert_eq!(log.contains(ADDED), opens, "{log}");
}

#[test]
fn a_signed_packet_opens_the_door() {
    let rules = "SOURCE ANY\nGPG\nGPG_REMOTE_ID 677EBF01\n";
    scenario("a_signed_packet_opens_the_door", &["--gpg-signer-key", "spa-client-rsa2048"], rules, SIGNED, true);
}

#[test]
fn a_signed_packet_with_an_hmac_opens_the_door() {
    let rules =
        format!("SOURCE ANY\nGPG\nHMAC_KEY {HMAC}\nGPG_FINGERPRINT_ID 961DEE967C6F63741B418045D7A24CB1677EBF01\n");
    let words = ["--gpg-signer-key", "spa-client-rsa2048", "--key-hmac", HMAC];
    scenario("a_signed_packet_with_an_hmac_opens_the_door", &words, &rules, SIGNED, true);
}

#[test]
fn another_hmac_key_is_turned_away_before_gpg_runs() {
    let rules = format!("SOURCE ANY\nGPG\nHMAC_KEY {HMAC}\nGPG_REMOTE_ID 677EBF01\n");
    let words = ["--gpg-signer-key", "spa-client-rsa2048", "--key-hmac", "another key"];
    let said = "Error creating fko context (before decryption): Args contain invalid data: \
                FKO_ERROR_INVALID_DATA_HMAC_COMPAREFAIL";
    scenario("another_hmac_key_is_turned_away_before_gpg_runs", &words, &rules, said, false);
}

#[test]
fn a_signer_of_unknown_validity_is_turned_away() {
    let rules = "SOURCE ANY\nGPG\nGPG_REMOTE_ID 2F736647\n";
    let words = ["--gpg-signer-key", "spa-client-rogue2048"];
    let said = "(stanza #1) Error creating fko context: Bad GPG signature";
    scenario("a_signer_of_unknown_validity_is_turned_away", &words, rules, said, false);
}

#[test]
fn a_signer_who_is_not_listed_is_turned_away() {
    let rules = "SOURCE ANY\nGPG\nGPG_REMOTE_ID 6DE5E635\n";
    let words = ["--gpg-signer-key", "spa-client-rsa2048"];
    let said = "signed by ID: 677EBF01, but that ID is not in the GPG_REMOTE_ID list.";
    scenario("a_signer_who_is_not_listed_is_turned_away", &words, rules, said, false);
}

#[test]
fn a_signature_that_is_missing_is_missed() {
    let rules = "SOURCE ANY\nGPG\nGPG_REMOTE_ID 677EBF01\n";
    let said = "(stanza #1) Error creating fko context: Missing GPG signature";
    scenario("a_signature_that_is_missing_is_missed", &[], rules, said, false);
}

#[test]
fn gpg_runs_as_the_owner_of_its_home_and_survives_a_reload() {
    let test = "gpg_runs_as_the_owner_of_its_home_and_survives_a_reload";
    if !possible(test) || !enter(test) {
        return;
    }
    let (client, server) = (Home::new(Some("client")), Home::new(Some("server")));
    run(&format!("gpgconf --homedir {} --kill gpg-agent", server.path().display()));
    run(&format!("chown -R {OWNER}:{OWNER} {}", server.path().display()));
    let folder = tempfile::tempdir().unwrap();
    let rules = format!("SOURCE ANY\nGPG\nHMAC_KEY {HMAC}\nGPG_REMOTE_ID 677EBF01\n");
    let daemon = Server::starts(folder.path(), &server, &rules);
    let words = ["--gpg-signer-key", "spa-client-rsa2048", "--key-hmac", HMAC];

    let keyring = daemon.child("keyring");
    let status = fs::read_to_string(format!("/proc/{keyring}/status")).unwrap();
    for wanted in [
        format!("Uid:\t{OWNER}\t{OWNER}\t{OWNER}\t{OWNER}"),
        format!("Gid:\t{OWNER}\t{OWNER}\t{OWNER}\t{OWNER}"),
        "Groups:\t \n".into(),
        "CapPrm:\t0000000000000000".into(),
        "CapBnd:\t0000000000000000".into(),
        "NoNewPrivs:\t1".into(),
    ] {
        assert!(status.contains(&wanted), "{wanted}: {status}");
    }
    knock(&client, &words);
    daemon.says(ADDED);

    run(&format!("kill -HUP {}", daemon.process.id()));
    daemon.says("Re-starting fwknopd");
    assert_ne!(daemon.child("keyring"), keyring, "a new listener, a new keyring");
    let knocks = daemon.log().matches(SIGNED).count();
    knock(&client, &words);
    let until = Instant::now() + Duration::from_secs(20);
    while daemon.log().matches(SIGNED).count() == knocks {
        assert!(Instant::now() < until, "{}", daemon.log());
        std::thread::sleep(Duration::from_millis(20));
    }

    // Without its keyring a listener could open no packet any more, so the daemon ends and whoever started it starts it again.
    run(&format!("kill -KILL {}", daemon.child("keyring")));
    daemon.says("a keyring process is gone, and GPG packets could not be opened any more");
    daemon.says("the listener is gone");
    let mut daemon = daemon;
    assert!(!daemon.process.wait().unwrap().success());
    drop(daemon);
    run(&format!("chown -R 0:0 {}", server.path().display()));
    let _ = attempt("true");
}
