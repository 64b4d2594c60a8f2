//! Packets that only gpg opens, through gpg: those of the original, good and bad, and some of our own.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has found something")]

mod gpg_home;
mod namespace;

use std::cell::Cell;
use std::fs::File;
use std::rc::Rc;
use std::time::Duration;

use fwknop_conf::complaint::Complaints;
use fwknopd::access::{self, Gpg, Stanza, StanzaKeys};
use fwknopd::args::Args;
use fwknopd::arrival::{Arrival, Transport};
use fwknopd::clock::Moment;
use fwknopd::config::{Config, RawConfig};
use fwknopd::engine::{Engine, KeyedStanza};
use fwknopd::keyring::program::Program;
use fwknopd::keyring::{Decrypt, Decrypted, GpgFailure, Question};
use fwknopd::policy::Terms;
use fwknopd::refusal::Note;
use fwknopd::replay::DigestFile;
use gpg_home::Home;
use serde::Deserialize;
use spa::{DigestType, GpgUnfit, HmacKey, Knock, Nat, Nonce, Request, SealError, UnixTime};

const NOW: u64 = 1_795_400_000;
const SIGNER: &str = "961DEE967C6F63741B418045D7A24CB1677EBF01";

#[derive(Deserialize)]
struct Vector {
    id: String,
    note: String,
    inputs: Inputs,
    server: Server,
    packet: String,
    expect: String,
    strict: Option<String>,
    #[serde(default)]
    reasons: Vec<String>,
}

#[derive(Deserialize)]
struct Inputs {
    hmac_key: Option<Key>,
    hmac_type: Option<String>,
}

#[derive(Deserialize)]
struct Key {
    text: String,
}

#[derive(Deserialize)]
struct Server {
    remote_ids: Option<Vec<String>>,
    fingerprints: Option<Vec<String>>,
    require_sig: Option<bool>,
    #[serde(default)]
    ignore_sig_error: bool,
}

fn vectors() -> Vec<Vector> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../spa/tests/vectors/gpg.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

impl Vector {
    fn named(id: &str) -> Self {
        vectors().into_iter().find(|v| v.id == id).unwrap()
    }

    /// The stanza that the vector is meant for.
    fn stanza(&self) -> String {
        let mut lines = String::new();
        let mut list = |name: &str, ids: &Option<Vec<String>>| {
            if let Some(ids) = ids {
                lines += &format!("{name} {}\n", ids.join(", "));
            }
        };
        list("GPG_REMOTE_ID", &self.server.remote_ids);
        list("GPG_FINGERPRINT_ID", &self.server.fingerprints);
        if self.server.require_sig == Some(false) {
            lines += "GPG_DISABLE_SIG Y\n";
        }
        if self.server.ignore_sig_error {
            lines += "GPG_IGNORE_SIG_VERIFY_ERROR Y\n";
        }
        if let Some(key) = &self.inputs.hmac_key {
            let digest = self.inputs.hmac_type.as_deref().unwrap();
            lines += &format!("HMAC_KEY {}\nHMAC_DIGEST_TYPE {digest}\n", key.text);
        }
        lines
    }
}

/// The keyring's code in this process, counting how often gpg is run.
struct Here {
    program: Program,
    runs: Rc<Cell<u32>>,
}

impl Decrypt for Here {
    fn decrypt(&mut self, gpg: &Gpg, question: &Question<'_>) -> Result<Decrypted, GpgFailure> {
        assert_eq!(gpg.home, self.program.home.home);
        self.runs.set(self.runs.get() + 1);
        self.program.decrypt(question.ciphertext.as_bytes(), question.passphrase)
    }
}

/// A server without processes.
struct Ears {
    engine: Engine<DigestFile>,
    runs: Rc<Cell<u32>>,
    _digests: tempfile::NamedTempFile,
}

impl Ears {
    /// With these stanzas, each of them for packets that `home` opens.
    fn of(home: &Home, stanzas: &[&str]) -> Self {
        let gpg =
            format!("SOURCE ANY\nGPG_HOME_DIR {}\nGPG_EXE {}\n", home.path().display(), home.exe_of_then().display());
        let text: String = stanzas.iter().map(|more| format!("{gpg}{more}")).collect();
        let mut told = Complaints::new();
        let config = Config::new(&RawConfig::from_handover("").unwrap(), &Args::default(), &mut told).unwrap();
        let raw = access::from_handover(&text).unwrap();
        let zone = jiff::tz::TimeZone::UTC;
        let keyed = (1..).zip(&raw).map(|(number, raw)| {
            let stanza = Stanza::new(raw, number, &config, &zone, &mut told).unwrap();
            KeyedStanza::new(stanza, StanzaKeys::new(raw, &mut told).unwrap()).unwrap()
        });
        let digests = tempfile::NamedTempFile::new().unwrap();
        let claims = File::options().append(true).open(digests.path()).unwrap();
        let used = DigestFile::new(File::open(digests.path()).unwrap(), claims);
        let runs = Rc::new(Cell::new(0));
        let program = Program { limit: Duration::from_secs(60), ..Program::new(home.path(), home.exe_of_then()) };
        let here = Here { program, runs: runs.clone() };
        let engine = Engine::new(keyed.collect(), used, Terms { max_age: None, test_mode: false });
        Self { engine: engine.with_keyring(Box::new(here)), runs, _digests: digests }
    }

    /// What the log says of a packet, and the reason if it led to nothing.
    fn hear(&mut self, packet: &str) -> (Vec<String>, Result<(), &'static str>) {
        let arrival = Arrival {
            source: "192.0.2.10".parse().unwrap(),
            source_port: 40_000,
            destination: "192.0.2.20".parse().unwrap(),
            destination_port: 62_201,
            transport: Transport::Udp,
            payload: packet.as_bytes(),
        };
        let now = Moment { unix: UnixTime(NOW), since_boot: Duration::from_secs(3600) };
        let mut notes: Vec<Note> = Vec::new();
        let order = self.engine.hear(&arrival, &now, &mut notes);
        let mut reasons = notes.iter().filter_map(|note| match note {
            Note::Refused(_, why) => Some(why.reason()),
            _ => None,
        });
        let outcome = match (order, reasons.next_back()) {
            (Some(_), _) => Ok(()),
            (None, Some(reason)) => Err(reason),
            (None, None) => panic!("no order and no reason"),
        };
        let lines = notes.iter().map(|note| note.line(&arrival).text);
        (lines.filter(|line| !line.contains("received with access source match")).collect(), outcome)
    }
}

fn gpg_is_here(test: &str) -> bool {
    namespace::has(test, "gpg")
}

const OPEN: &str = "GPG_ALLOW_NO_PW Y\n";

#[test]
fn opens_and_refuses_the_packets_of_the_original_as_it_does() {
    if !gpg_is_here("opens_and_refuses_the_packets_of_the_original_as_it_does") {
        return;
    }
    let home = Home::new(Some("server"));
    for v in vectors() {
        let mut ears = Ears::of(&home, &[&format!("{OPEN}{}", v.stanza())]);
        let (lines, outcome) = ears.hear(&v.packet);
        // That the stanza allows no commands and no NAT is not the question here.
        let opened = matches!(outcome, Ok(()) | Err("E_COMMANDS_OFF" | "E_NAT_OFF"));
        let wanted = match v.id.as_str() {
            "G041" | "G042" => "accept", // ids of 16 digits and in small letters count (trap T41)
            "G059" => "accept",          // for a curve 25519 key: the original cannot open what its own client sent
            _ => v.strict.as_ref().unwrap_or(&v.expect),
        };
        assert_eq!(opened, wanted == "accept", "{} ({}): {outcome:?} {lines:?}", v.id, v.note);
        if let (false, Err(reason)) = (opened, outcome) {
            let stated = v.reasons.iter().any(|stated| stated == reason);
            let damaged = reason == "E_NOT_BASE64" && v.reasons.iter().any(|stated| stated == "E_GPG_DECRYPT");
            let strict = v.strict.is_some() && reason == "E_RAND";
            assert!(stated || damaged || strict, "{} ({}): {reason}", v.id, v.note);
        }
    }
}

#[test]
fn says_of_each_packet_what_the_original_says() {
    if !gpg_is_here("says_of_each_packet_what_the_original_says") {
        return;
    }
    let home = Home::new(Some("server"));
    let listed = format!("{OPEN}GPG_REMOTE_ID 677EBF01\n");
    let elsewhere = format!("{OPEN}HMAC_KEY gpg hmac key\nGPG_FINGERPRINT_ID {}\n", "0".repeat(40));
    let signed =
        |n: u32| format!("[192.0.2.10] (stanza #{n}) Incoming SPA data signed by '677EBF01' (fingerprint '{SIGNER}').");
    let hmac = "[192.0.2.10] (stanza #2) Error creating fko context (before decryption): Args contain invalid data: \
                FKO_ERROR_INVALID_DATA_HMAC_COMPAREFAIL";
    let no_key =
        |kind| format!("[192.0.2.10] (stanza #3) No stanza encryption mode match for encryption type: {kind}.");
    let context = |what: &str| format!("[192.0.2.10] (stanza #1) Error creating fko context: {what}");
    let gpg = |what: &str| format!("[192.0.2.10] (stanza #1) - GPG ERROR: {what}");
    for (id, lines) in [
        ("G001", vec![signed(1)]),
        ("G030", vec![context("Bad GPG signature"), gpg(""), hmac.into(), no_key(2)]),
        ("G045", vec![context("Missing GPG signature"), gpg(""), hmac.into(), no_key(2)]),
        ("G055", vec![context("Decryption operation failed"), gpg("Wrong secret key used"), hmac.into(), no_key(2)]),
        ("G060", vec![context("Decryption operation failed"), gpg("No secret key"), hmac.into(), no_key(2)]),
        ("G039", vec![context("The computed digest did not match the digest in the spa data"), hmac.into(), no_key(2)]),
    ] {
        let mut ears = Ears::of(&home, &[&listed, &elsewhere, "KEY abc\n"]);
        assert_eq!(ears.hear(&Vector::named(id).packet).0, lines, "{id}");
    }
    let mut ears = Ears::of(&home, &[&format!("{OPEN}GPG_REMOTE_ID 12345678\n"), &elsewhere]);
    let unlisted = "[192.0.2.10] (stanza #1) Incoming SPA packet signed by ID: 677EBF01, but that ID is not in the \
                    GPG_REMOTE_ID list.";
    assert_eq!(ears.hear(&Vector::named("G001").packet).0, [&signed(1), unlisted, hmac]);
    let unlisted = format!(
        "[192.0.2.10] (stanza #2) Incoming SPA packet signed by: {SIGNER}, but that fingerprint is not in the \
         GPG_FINGERPRINT_ID list."
    );
    assert_eq!(ears.hear(&Vector::named("G006").packet).0[1..], [signed(2), unlisted]);
}

#[test]
fn no_stranger_without_the_hmac_key_makes_gpg_run() {
    if !gpg_is_here("no_stranger_without_the_hmac_key_makes_gpg_run") {
        return;
    }
    let home = Home::new(Some("server"));
    let mut ears = Ears::of(&home, &[&format!("{OPEN}HMAC_KEY gpg hmac key\nGPG_REMOTE_ID 677EBF01\n")]);
    assert_eq!(ears.hear(&Vector::named("G001").packet).1, Err("E_HMAC"));
    assert_eq!(ears.runs.get(), 0);
    assert_eq!(ears.hear(&Vector::named("G006").packet).1, Ok(()));
    assert_eq!(ears.runs.get(), 1);
    let mut ears = Ears::of(&home, &[&format!("{OPEN}GPG_REMOTE_ID 677EBF01\n")]);
    assert_eq!(ears.hear(&"A".repeat(1000)).1, Err("E_GPG_DECRYPT"));
    assert_eq!(ears.runs.get(), 0, "noise is no message");
}

#[test]
fn a_packet_altered_around_its_message_is_still_the_same_packet() {
    use base64::Engine as _;
    let bare = base64::engine::general_purpose::STANDARD_NO_PAD;
    if !gpg_is_here("a_packet_altered_around_its_message_is_still_the_same_packet") {
        return;
    }
    let home = Home::new(Some("server"));
    let original = Vector::named("G001").packet;
    let message = bare.decode(format!("hQ{original}")).unwrap();
    let anonymous = [&message[..4], &[0; 8], &message[12..]].concat(); // the recipient's key id blotted out
    let followed = [&message[..], &[0xca, 3], b"PGP"].concat(); // an empty packet after it
    for altered in [anonymous, followed] {
        let altered = bare.encode(altered).split_off(2);
        let mut ears = Ears::of(&home, &[&format!("{OPEN}GPG_REMOTE_ID 677EBF01\n")]);
        assert_eq!(ears.hear(&altered).1, Ok(()), "gpg itself takes it");
        let mut ears = Ears::of(&home, &[&format!("{OPEN}GPG_REMOTE_ID 677EBF01\n")]);
        assert_eq!(ears.hear(&original).1, Ok(()));
        assert_eq!(ears.hear(&altered).1, Err("E_REPLAY"));
        assert_eq!(ears.hear(&original).1, Err("E_REPLAY"));
    }
}

#[test]
fn what_follows_or_precedes_the_message_is_not_mistaken_for_it() {
    use base64::Engine as _;
    let bare = base64::engine::general_purpose::STANDARD_NO_PAD;
    if !gpg_is_here("what_follows_or_precedes_the_message_is_not_mistaken_for_it") {
        return;
    }
    let home = Home::new(Some("server"));
    let message = bare.decode(format!("hQ{}", Vector::named("G004").packet)).unwrap();
    let literal = [&[0xcb, 10][..], b"b\0\0\0\0\0hell"].concat();
    for added in [&[0x55; 32][..], &literal, &message] {
        let packet = bare.encode([&message[..], added].concat()).split_off(2);
        let mut ears = Ears::of(&home, &[&format!("{OPEN}GPG_DISABLE_SIG Y\n")]);
        assert_eq!(ears.hear(&packet).1, Err("E_GPG_DECRYPT"));
    }
    let zeroes = home.must(&["--trust-model", "always", "-r", "spa-server-rsa2048", "-e"], &[b'0'; 400_000]);
    let packet = bare.encode(zeroes).split_off(2);
    assert!(packet.len() < 1500, "a bomb of {} characters", packet.len());
    let mut ears = Ears::of(&home, &[&format!("{OPEN}GPG_DISABLE_SIG Y\n")]);
    assert_eq!(ears.hear(&packet).1, Err("E_GPG_DECRYPT"));
}

fn knock(number: u64) -> Knock {
    let request = Request::Access {
        allow: "198.51.100.7".parse().unwrap(),
        ports: "tcp/22".parse().unwrap(),
        nat: Nat::None,
        timeout: None,
    };
    let nonce: Nonce = format!("{number:016}").parse().unwrap();
    Knock::new(nonce, "alice".parse().unwrap(), UnixTime(NOW), request)
}

/// Has gpg encrypt, and sign if there is somebody to sign.
fn sealed(
    home: &Home,
    number: u64,
    recipient: &str,
    signer: Option<&str>,
    hmac: Option<&HmacKey>,
) -> Result<String, SealError> {
    let unsealed = knock(number).unsealed(DigestType::Sha256).unwrap();
    let mut words = vec!["--trust-model", "always", "-r", recipient, "--encrypt"];
    words.extend(signer.into_iter().flat_map(|signer| ["-u", signer, "--sign"]));
    let ciphertext = home.must(&words, unsealed.plaintext());
    Ok(unsealed.seal(&ciphertext, hmac)?.text().to_owned())
}

#[test]
fn what_we_seal_with_gpg_we_open_with_gpg() {
    if !gpg_is_here("what_we_seal_with_gpg_we_open_with_gpg") {
        return;
    }
    let (client, server) = (Home::new(Some("client")), Home::new(Some("server")));
    let hmac = HmacKey::new(DigestType::Sha512, b"gpg hmac key").unwrap();
    for (recipient, signer, hmac) in [
        ("spa-server-rsa2048", "spa-client-rsa2048", None),
        ("spa-server-rsa3072", "spa-client-ed25519", Some(&hmac)),
        ("spa-server-rsa4096", "spa-client-rsa2048", None),
    ] {
        let packet = sealed(&client, 1, recipient, Some(signer), hmac).unwrap();
        let key = if hmac.is_some() { "HMAC_KEY gpg hmac key\nHMAC_DIGEST_TYPE sha512\n" } else { "" };
        let rules = format!("{OPEN}{key}GPG_REMOTE_ID 677ebf01, EE18E2596DE5E635\n");
        assert_eq!(Ears::of(&server, &[&rules]).hear(&packet).1, Ok(()), "{recipient} {signer}");
    }
    let curve = sealed(&client, 1, "spa-server-cv25519", None, None);
    assert_eq!(curve, Err(SealError::Gpg(GpgUnfit::Elliptic)));
}

#[test]
fn the_passphrase_opens_the_secret_key_and_a_wrong_one_does_not() {
    if !gpg_is_here("the_passphrase_opens_the_secret_key_and_a_wrong_one_does_not") {
        return;
    }
    let home = Home::new(None);
    let key = ["--pinentry-mode", "loopback", "--passphrase", "open sesame", "--quick-gen-key", "server", "rsa2048"];
    home.must(&[&key[..], &["sign,encrypt", "never"]].concat(), b"");
    // Nothing must be remembered from making it.
    let mut reload = std::process::Command::new("gpgconf");
    reload.arg("--homedir").arg(home.path()).args(["--reload", "gpg-agent"]);
    assert!(reload.status().unwrap().success());
    let packet = sealed(&home, 1, "server", None, None).unwrap();
    let rules = |passphrase: &str| format!("{passphrase}\nGPG_DISABLE_SIG Y\n");
    for (passphrase, outcome) in [
        ("GPG_DECRYPT_PW sesame", Err("E_GPG_DECRYPT")),
        (OPEN, Err("E_GPG_DECRYPT")),
        ("GPG_DECRYPT_PW open sesame", Ok(())),
    ] {
        let (lines, heard) = Ears::of(&home, &[&rules(passphrase)]).hear(&packet);
        assert_eq!(heard, outcome, "{passphrase}: {lines:?}");
        assert!(!lines.iter().any(|line| line.contains("sesame")));
    }
}

#[test]
fn a_stanza_may_have_both_kinds_of_keys_and_the_size_decides() {
    if !gpg_is_here("a_stanza_may_have_both_kinds_of_keys_and_the_size_decides") {
        return;
    }
    let server = Home::new(Some("server"));
    let rules = format!("{OPEN}KEY correct horse\nGPG_REMOTE_ID 677EBF01\n");
    let mut ears = Ears::of(&server, &[&rules]);
    let keys =
        spa::Keys { cipher: spa::CipherKey::new(b"correct horse").unwrap(), mode: spa::CipherMode::Cbc, hmac: None };
    let small = knock(7).seal_with_salt(&keys, DigestType::Sha256, *b"saltsalt").unwrap();
    assert_eq!(ears.hear(small.text()).1, Ok(()));
    assert_eq!(ears.runs.get(), 0);
    assert_eq!(ears.hear(&Vector::named("G001").packet).1, Ok(()));
    assert!(ears.hear(&Vector::named("G061").packet).1.is_err());
    assert_eq!(ears.runs.get(), 1, "399 characters are no GPG packet");
    let mut ears = Ears::of(&server, &[&format!("{OPEN}GPG_REMOTE_ID 677EBF01\n")]);
    assert_eq!(ears.hear(small.text()).1, Err("E_SIZE_CLASS"));
}
