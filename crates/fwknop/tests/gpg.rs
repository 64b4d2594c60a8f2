//! The built program and a real gpg: passphrases, keys that do not do, and the original's server as the judge.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test that cannot go on shall end, and say where

mod golden {
    pub(crate) mod ring;
}

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use golden::ring::Ring;

const PROTECTED: &str = "protected@example.org";

/// The ring of the golden cases, and a signing key with a passphrase in it, which no agent knows.
fn ring(folder: &Path) -> Option<Ring> {
    let ring = Ring::make(folder)?;
    let words = ["--passphrase", "pass word", "--pinentry-mode", "loopback", "--quick-gen-key", PROTECTED];
    ring.gpg(&[&words[..], &["rsa2048", "sign", "0"]].concat(), b"");
    ring.end_agent();
    Some(ring)
}

/// Runs the program in a test of its own with the ring in this folder.
fn fwknop(folder: &Path, words: &str, more: &[&str], stdin: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_fwknop"))
        .args("-T -A tcp/22 -a 192.0.2.7 -D 192.0.2.1 --no-rc-file --no-save-args --gpg-home-dir".split(' '))
        .arg(folder.join("gnupg"))
        .args(words.split(' '))
        .args(more)
        .env_clear()
        .envs([("HOME", folder.to_str().unwrap()), ("LOGNAME", "alice"), ("PATH", "/usr/bin:/bin"), ("LANG", "C")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _closed = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    child.wait_with_output().unwrap()
}

#[test]
fn the_signing_passphrase_comes_from_wherever_keys_come_from() {
    let folder = tempfile::tempdir().unwrap();
    let Some(ring) = ring(folder.path()) else { return };
    fs::write(folder.path().join("keys"), "192.0.2.1: pass word\n").unwrap();
    let file = folder.path().join("keys");
    let signed = "--gpg-recipient-key spaserver --gpg-signer-key protected -v";
    for (more, stdin) in [
        (&["--key-rijndael", "pass word"][..], ""),
        (&["--key-base64-rijndael", "cGFzcyB3b3Jk"], ""),
        (&["-G", file.to_str().unwrap()], ""),
        (&["--stdin"], "pass word\n"),
        (&["--stdin", "--use-hmac"], "pass word\nhmac key\n"),
    ] {
        let output = fwknop(folder.path(), signed, more, stdin);
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{more:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(told.contains(&format!("GPG sig fpr: {}\n", ring.fingerprint(PROTECTED))), "{more:?}: {told}");
        assert!(!told.contains("pass word"), "{more:?}: {told}");
        ring.end_agent(); // which has it now
    }
    for (more, stdin, reason) in
        [(&["--stdin"][..], "wrong\n", "Bad passphrase"), (&["--gpg-no-signing-pw"], "", "Inappropriate ioctl")]
    {
        let output = fwknop(folder.path(), signed, more, stdin);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1));
        let error = "fwknop: fko_spa_data_final: Error 122 - Error during the encrypt and sign operation\nGPG ERR: ";
        assert!(told.starts_with(&format!("{error}{reason}")), "{told}");
    }
    ring.end_agent();
}

#[test]
fn keys_that_do_not_do_are_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let Some(ring) = ring(folder.path()) else { return };
    let large = "%no-protection\nKey-Type: RSA\nKey-Length: 4096\nKey-Usage: sign,encrypt\nName-Email: large@example.org\n%commit\n";
    ring.gpg(&["--gen-key"], large.as_bytes());
    for (words, told) in [
        (
            "--gpg-recipient-key nobody",
            "fwknop: fko_set_gpg_recipient: Error 130 - The key for the given recipient was not found\nGPG ERR: End of file\n",
        ),
        (
            "--gpg-recipient-key spaserver --gpg-signer-key nobody",
            "fwknop: fko_set_gpg_signer: Error 125 - The key for the given signer was not found\nGPG ERR: End of file\n",
        ),
        (
            "--gpg-recipient-key spaserver --gpg-signer-key example",
            "fwknop: fko_set_gpg_signer: Error 126 - Ambiguous name/id for the signer key (multiple matches)\nGPG ERR: \n",
        ),
        ("--gpg-recipient-key --all", "fwknop: fko_set_gpg_recipient: Error 130 - "),
        (
            "--gpg-no-signing-pw --gpg-signer-key spaclient --gpg-recipient-key eccserver",
            "Error 122 - Error during the encrypt and sign operation\n    servers could not open what gpg made: it is encrypted to an elliptic-curve key",
        ),
        (
            "--gpg-no-signing-pw --gpg-signer-key large --gpg-recipient-key large",
            "Error 59 - Args contain invalid data: FKO_ERROR_INVALID_DATA_ENCRYPT_GPG_RESULT_MSGLEN_VALIDFAIL\n    servers could not open what gpg made: encrypted and signed it has ",
        ),
    ] {
        let packet = folder.path().join("packet");
        let output = fwknop(folder.path(), words, &["-B", packet.to_str().unwrap()], "");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains(told) && !packet.exists(), "{words}: {said}");
    }
    ring.end_agent();
}

#[test]
fn a_packet_that_cannot_be_read_here_is_good_but_its_test_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let Some(ring) = Ring::make(folder.path()) else { return };
    let server = ring.fingerprint("spaserver");
    ring.gpg(&["--yes", "--delete-secret-keys", &server], b"");
    let packet = folder.path().join("packet");
    let words = "--gpg-recipient-key spaserver --gpg-signer-key spaclient --gpg-no-signing-pw -B";
    let output = fwknop(folder.path(), words, &[packet.to_str().unwrap()], "");
    let told = "fwknop: fko_decrypt_spa_data: Error 132 - Decryption operation failed\nGPG ERR: No secret key\n\
                No access to recipient private key?\n";
    assert_eq!(String::from_utf8_lossy(&output.stderr), told);
    assert!(output.status.code() == Some(1) && fs::metadata(packet).unwrap().len() > 1000);
    ring.end_agent();
}

const INSIDE: &str = "FWKNOP_GPG_INSIDE";

#[test]
fn the_original_server_accepts_what_gpg_made_for_us() {
    let original = "/usr/sbin/fwknopd";
    if std::env::var_os(INSIDE).is_some() {
        return ask_the_original(original);
    }
    let unshare = ["-w", "unshare", "--net"];
    let can = Command::new("setsid").args(unshare).arg("true").output().is_ok_and(|output| output.status.success());
    if !can || !Path::new(original).is_file() {
        let why = "skipped: the original's server is asked in a network of its own, which needs root and fwknopd\n";
        std::io::stderr().write_all(why.as_bytes()).unwrap();
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{why}");
        return;
    }
    let mut inside = Command::new("setsid");
    inside.args(unshare).arg(std::env::current_exe().unwrap());
    inside.args(["the_original_server_accepts_what_gpg_made_for_us", "--exact", "--nocapture"]).env(INSIDE, "1");
    assert!(inside.status().unwrap().success(), "inside, the test failed");
}

/// Starts the original's server on the loopback, knocks once for each stanza, and waits for what it says.
fn ask_the_original(original: &str) {
    let folder = tempfile::tempdir().unwrap();
    let Some(ring) = Ring::make(folder.path()) else { return };
    assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
    let client = ring.fingerprint("spaclient");
    let home = folder.path().join("gnupg");
    let servers = folder.path().join("server");
    fs::create_dir(&servers).unwrap();
    let servers = ring.copy_to(&servers);
    for (hmac, rest) in [
        ("", &["--gpg-no-signing-pw"][..]),
        ("HMAC_KEY hmacsecret\n", &["--gpg-no-signing-pw", "--key-hmac", "hmacsecret"]),
    ] {
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let access = format!(
            "SOURCE ANY\nOPEN_PORTS tcp/22\nGPG_HOME_DIR {}\nGPG_DECRYPT_ID {}\nGPG_ALLOW_NO_PW Y\nGPG_REQUIRE_SIG Y\n\
             GPG_FINGERPRINT_ID {client}\n{hmac}",
            folder.path().join("server/gnupg").display(),
            &ring.fingerprint("spaserver")[32..],
        );
        fs::write(at("access.conf"), access).unwrap();
        let config = format!("ENABLE_UDP_SERVER Y\nUDPSERV_PORT 62201\nFWKNOP_RUN_DIR {}\n", folder.path().display());
        fs::write(at("fwknopd.conf"), config).unwrap();
        let log = fs::File::create(at("log")).unwrap();
        let mut server = Command::new(original)
            .args([
                "-f",
                "-U",
                "--test",
                "-c",
                &at("fwknopd.conf"),
                "-a",
                &at("access.conf"),
                "-p",
                &at("pid"),
                "-d",
                &at("cache"),
            ])
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let said = |words: &str| {
            let end = Instant::now() + Duration::from_secs(20);
            while Instant::now() < end {
                if fs::read_to_string(at("log")).unwrap().contains(words) {
                    return true;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            false
        };
        let listens = said("Kicking off UDP server");
        let mut client_run = Command::new(env!("CARGO_BIN_EXE_fwknop"));
        client_run.args("-A tcp/22 -a 192.0.2.7 -D 127.0.0.1 --no-rc-file --no-save-args --gpg-recipient-key spaserver --gpg-signer-key spaclient --gpg-home-dir".split(' '));
        let sent = client_run.arg(&home).args(rest).status().unwrap();
        let accepted = said(&format!("(fingerprint '{client}')"));
        let granted = said("skipping firewall manipulation");
        server.kill().unwrap();
        server.wait().unwrap();
        let log = fs::read_to_string(at("log")).unwrap();
        assert!(listens && sent.success() && accepted && granted && !log.contains("Error "), "{log}");
    }
    ring.end_agent();
    servers.end_agent();
}
