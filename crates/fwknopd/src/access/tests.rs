//! Whole files in, stanzas and complaints out.

use std::{fs, net::IpAddr};

use proptest::prelude::*;

use super::*;
use crate::args::Args;

/// A folder with these files, and the configuration that reads `access.conf` in it.
struct Files {
    folder: tempfile::TempDir,
    config: Config,
}

impl Files {
    fn new(settings: &str, files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().display().to_string();
        let settings = format!("ACCESS_FILE @/access.conf\n{settings}");
        for (name, text) in files.iter().chain(&[("fwknopd.conf", settings.as_str())]) {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text.replace("@", &place)).unwrap();
        }
        let args = Args { config_file: Some(format!("{place}/fwknopd.conf")), ..Args::default() };
        let mut complaints = Complaints::new();
        let (_, config) = Config::load(&args, &mut complaints).unwrap_or_else(|| panic!("{complaints:?}"));
        Self { folder, config }
    }

    /// Every stanza that is good, and everything from warnings on that was told, without the folder's name.
    fn read(&self) -> (Vec<Stanza>, Vec<String>) {
        let mut complaints = Complaints::new();
        let raws = read(&self.config, &mut complaints);
        let mut stanzas = Vec::new();
        for (number, raw) in (1..).zip(&raws) {
            let keys = StanzaKeys::new(raw, &mut complaints);
            let stanza = Stanza::new(raw, number, &self.config, &TimeZone::UTC, &mut complaints);
            stanzas.extend(stanza.filter(|_| keys.is_some()));
        }
        let place = format!("{}/", self.folder.path().display());
        let loud = complaints.iter().filter(|complaint| complaint.severity >= Severity::Warning);
        let told = loud.map(|complaint| complaint.to_string().replace(&place, ""));
        (stanzas, told.filter(|text| !text.contains("0600")).collect())
    }
}

fn read_one(text: &str) -> (Vec<Stanza>, Vec<String>) {
    Files::new("ENABLE_IPT_FORWARDING Y\n", &[("access.conf", text)]).read()
}

fn sources(stanzas: &[Stanza]) -> Vec<String> {
    stanzas.iter().map(|stanza| stanza.source.to_string()).collect()
}

#[test]
fn all_mistakes_of_all_stanzas_are_told_with_their_places() {
    let (stanzas, told) = read_one(
        "SOURCE ANY\nOPEN_PORT tcp/22\nKEY a\nFW_ACCESS_TIMEOUT -1\n\nSOURCE localhost\nKEY b\nOPEN_PORTS tcp/22-25\n\
         CMD_CYCLE_OPEN x\n",
    );
    assert_eq!(stanzas, []);
    assert_eq!(
        told,
        [
            "[*] Ignoring unknown access parameter: 'OPEN_PORT' in access.conf\n    access.conf:2: perhaps OPEN_PORTS was meant",
            "[*] FW_ACCESS_TIMEOUT value not in range.\n    access.conf:4: '-1' is not a number of seconds from 0 to 8388608",
            "[*] Cannot set CMD_CYCLE_OPEN without also setting CMD_CYCLE_CLOSE: 'localhost'\n    access.conf:9",
            "[*] Data error in access file: 'access.conf'",
            "[*] Fatal error parsing IP to int for: localhost\n    access.conf:6",
            "[*] Fatal invalid SOURCE in access stanza",
            "OPEN_PORTS 'tcp/22-25' is read as port 22 alone\n    access.conf:8: write every port as a number, as in tcp/22,tcp/80",
        ]
    );
}

#[test]
fn a_stanza_says_what_it_allows() {
    let (stanzas, told) = read_one(
        "SOURCE: 192.0.2.0/24, 2001:db8::/32\nKEY a\nDESTINATION 10.0.0.1\nOPEN_PORTS tcp/22\nRESTRICT_PORTS udp/53\n\
         REQUIRE_USERNAME alice\nREQUIRE_SOURCE Y\nACCESS_EXPIRE 1/1/2030\nFW_ACCESS_TIMEOUT 60\nMAX_FW_TIMEOUT 90\n\
         CMD_CYCLE_OPEN /o $IP\nCMD_CYCLE_CLOSE NONE\n",
    );
    assert_eq!(told, Vec::<String>::new());
    let stanza = &stanzas[0];
    let covers = |networks: &Networks, address: &str| networks.covers(address.parse::<IpAddr>().unwrap());
    assert!(covers(&stanza.source, "192.0.2.9") && covers(&stanza.source, "2001:db8::9"));
    assert!(covers(&stanza.destination, "10.0.0.1") && !covers(&stanza.destination, "10.0.0.2"));
    assert!(stanza.open_ports.as_ref().unwrap().contains("tcp/22".parse().unwrap()));
    assert!(stanza.restrict_ports.contains("udp/53".parse().unwrap()));
    assert_eq!(stanza.require_username.as_deref(), Some("alice"));
    assert!(stanza.require_source_address);
    assert_eq!(stanza.expires, Some(UnixTime(1_893_456_000)));
    assert_eq!((stanza.access_timeout, stanza.max_timeout), (60, 90));
    assert_eq!(stanza.cycle, Some(Cycle { open: "/o $IP".into(), close: None, timer: None }));
}

#[test]
fn the_longest_timeout_limits_the_ordinary_one_too() {
    let (stanzas, _) = read_one("SOURCE ANY\nKEY a\nMAX_FW_TIMEOUT 10\n");
    assert_eq!((stanzas[0].access_timeout, stanzas[0].written_access_timeout), (10, 30));
}

#[test]
fn odd_numbers_and_dates_are_taken_as_before_and_told() {
    for (line, told) in [
        ("FW_ACCESS_TIMEOUT 1h", "FW_ACCESS_TIMEOUT value '1h' is read as 1"),
        ("FW_ACCESS_TIMEOUT abc", "FW_ACCESS_TIMEOUT value 'abc' is read as 30"),
        ("ACCESS_EXPIRE_EPOCH never", "ACCESS_EXPIRE_EPOCH 'never' is read as never"),
        ("ACCESS_EXPIRE 13/1/2030", "ACCESS_EXPIRE '13/1/2030' is not a day of the calendar"),
        ("OPEN_PORTS tcp/ssh", "OPEN_PORTS 'tcp/ssh' is read as port 0, which nobody can ask for"),
        ("DESTINATION 10.1", "DESTINATION '10.1' means 10.0.0.1"),
        ("GPG_REMOTE_ID 1\nGPG_ALLOW_NO_PW Y", "GPG_REMOTE_ID '1' will never match"),
        ("HMAC_KEY a;b", "HMAC_KEY: the value ends at a ';', what follows is ignored"),
    ] {
        let (stanzas, all) = read_one(&format!("SOURCE ANY\nKEY k\n{line}\n"));
        assert_eq!(stanzas.len(), 1, "{line}");
        assert_eq!(all[0].lines().next(), Some(told));
    }
}

#[test]
fn nat_lines_count_in_their_order() {
    let nat =
        |lines: &str| read_one(&format!("SOURCE ANY\nKEY k\n{lines}\n")).0.first().map(|stanza| stanza.nat.clone());
    let force = ForceNat { address: Ipv4Addr::new(10, 0, 0, 9), port: 22 };
    let snat = |lines: &str| nat(&format!("FORCE_NAT 10.0.0.9 22\n{lines}")).unwrap().snat;
    assert_eq!(nat("FORCE_NAT 10.0.0.9 22 tcp").unwrap().force, Some(force));
    assert_eq!(snat("FORCE_SNAT 10.0.0.1"), Some(Snat::Address(Ipv4Addr::new(10, 0, 0, 1))));
    assert_eq!(snat("FORCE_MASQUERADE Y"), Some(Snat::Masquerade));
    assert_eq!(snat("FORCE_SNAT 10.0.0.1\nFORCE_MASQUERADE N"), None);
    assert_eq!(nat("FORCE_SNAT 10.0.0.1"), None, "needs FORCE_NAT or FORWARD_ALL");
    assert_eq!(nat("FORWARD_ALL Y\nFORCE_MASQUERADE Y").unwrap().force, None);
}

#[test]
fn commands_may_have_a_group_from_the_group_file() {
    let (stanzas, told) = read_one("SOURCE ANY\nKEY k\nENABLE_CMD_EXEC Y\nCMD_EXEC_USER root\nCMD_EXEC_GROUP daemon\n");
    assert_eq!(told, Vec::<String>::new());
    let account = stanzas[0].command.as_ref().unwrap().account.as_ref().unwrap();
    assert_eq!((account.uid.as_raw(), account.group.as_str()), (0, "daemon"));
}

#[test]
fn included_stanzas_come_behind_the_one_being_read() {
    let files = [
        (
            "access.conf",
            "SOURCE 10.0.0.1\nKEY a\n%include @/i.conf\nOPEN_PORTS tcp/22\n%include_folder @/f/\nSOURCE 10.0.0.4\nKEY d",
        ),
        ("i.conf", "BOGUS 1\nSOURCE 10.0.0.2\nKEY b\n"),
        ("f/b.confold", "SOURCE 10.0.0.3\nKEY c\n"),
        ("f/a.conf", "SOURCE 10.0.0.9\nKEY c\n"),
        ("f/c.txt", "SOURCE 10.0.0.8\nKEY c\n"),
    ];
    let (stanzas, told) = Files::new("", &files).read();
    assert_eq!(told, Vec::<String>::new());
    assert_eq!(sources(&stanzas), ["10.0.0.1", "10.0.0.2", "10.0.0.9", "10.0.0.3", "10.0.0.4"]);
    assert!(stanzas[0].open_ports.is_some());
}

#[test]
fn files_that_include_themselves_come_to_an_end() {
    let files = [("access.conf", "SOURCE ANY\nKEY a\n%include_folder @/f\n"), ("f/a.conf", "%include_folder @/f\n")];
    let (_, told) = Files::new("", &files).read();
    assert_eq!(
        told,
        [
            "[*] Refusing to go deeper than 3 levels. Lost in Limbo: 'f/a.conf'\n    f/a.conf:1: does a file include itself?"
        ]
    );
}

#[test]
fn bad_included_keys_drop_one_stanza_and_say_which() {
    let files = [
        ("access.conf", "SOURCE 10.0.0.1\n%include_keys @/none\nOPEN_PORTS tcp/1\nSOURCE ANY\n%include_keys @/k\n"),
        ("k", "KEY a\nOPEN_PORTS tcp/80\nGPG_ALLOW_NO_PW N\n"),
    ];
    let (stanzas, told) = Files::new("", &files).read();
    assert_eq!(sources(&stanzas), ["ANY"]);
    assert_eq!(stanzas[0].open_ports, None);
    assert_eq!(
        told.last().map(String::as_str),
        Some(
            "[*] Data error in included keyfile: 'none', skipping stanza.\n    access.conf:1: the stanza with SOURCE 10.0.0.1 opens nothing"
        )
    );
}

#[test]
fn included_keys_that_are_no_keys_drop_one_stanza() {
    for keys in ["KEY __CHANGEME__\n", "KEY_BASE64 a_b\n", "KEY a\nHMAC_KEY\n", "KEY a\nHMAC_KEY a\n"] {
        let files =
            [("access.conf", "SOURCE 10.0.0.1\n%include_keys @/k\nOPEN_PORTS x\nSOURCE ANY\nKEY b\n"), ("k", keys)];
        let (stanzas, told) = Files::new("", &files).read();
        assert_eq!(sources(&stanzas), ["ANY"], "{keys}");
        assert!(told.last().unwrap().contains("skipping stanza"), "{told:?}");
    }
}

#[test]
fn a_list_of_signers_that_cannot_match_lets_nobody_in() {
    let signatures = |lines: &str| {
        let (stanzas, _) = read_one(&format!("SOURCE ANY\nGPG_ALLOW_NO_PW Y\n{lines}\n"));
        stanzas.into_iter().next().and_then(|stanza| stanza.gpg).map(|gpg| gpg.signatures)
    };
    let required = |signers| Some(Signatures::Required { signers, ignore_verify_error: false });
    let listed = |key_ids: &[&str]| Signers::Listed {
        key_ids: Some(key_ids.iter().map(|id| (*id).to_owned()).collect()),
        fingerprints: None,
    };
    assert_eq!(signatures("GPG_REMOTE_ID 12345678 , abcdefab"), required(listed(&["12345678", "ABCDEFAB"])));
    assert_eq!(signatures("GPG_REMOTE_ID ,"), required(listed(&[])));
    assert_eq!(signatures("GPG_DISABLE_SIG Y\nGPG_REQUIRE_SIG Y"), required(Signers::Any));
    assert_eq!(signatures("GPG_DISABLE_SIG Y"), Some(Signatures::Ignored));
    assert_eq!(signatures("GPG_REQUIRE_SIG N"), None);
}

#[test]
fn a_malformed_line_is_shown_unless_it_may_be_a_key() {
    for (line, shown) in [
        ("OPEN_PORTS", "OPEN_PORTS"),
        ("  KEY", "  KEY"),
        ("KEY;sekret", ".."),
        ("KEY=sekret", ".."),
        ("OPEN_PORTS=tcp/22", "OPEN_PORTS=tcp/22"),
        ("   ", "   "),
        ("dGhpcyBpcyBhIHdyYXBwZWQga2V5", ".."),
    ] {
        let (_, told) = read_one(&format!("SOURCE ANY\nKEY k\n{line}\n"));
        let expected = format!("[*] Invalid access file entry in access.conf at line 3.\n - '{shown}'\n    ");
        assert!(told[0].starts_with(&expected), "{told:?}");
    }
}

#[test]
fn a_folder_of_files_replaces_the_access_file() {
    let files = Files::new(
        "ACCESS_FOLDER @/f\n",
        &[("f/b.conf", "SOURCE 10.0.0.2\nKEY b\n"), ("f/a.conf", "SOURCE 10.0.0.1\nKEY a\n")],
    );
    let (stanzas, told) = files.read();
    assert_eq!(told, Vec::<String>::new());
    assert_eq!(sources(&stanzas), ["10.0.0.1", "10.0.0.2"]);
    let (_, told) = Files::new("ACCESS_FOLDER @/f\n", &[("f/x", "")]).read();
    assert_eq!(told, ["Fatal, could not find any valid access.conf stanzas"]);
}

#[test]
fn what_is_handed_over_without_keys_means_the_same() {
    let files = Files::new(
        "",
        &[("access.conf", "SOURCE ANY\nKEY a\nOPEN_PORTS tcp/22\nGPG_DECRYPT_PW x\nGPG_REMOTE_ID 12345678\n")],
    );
    let mut complaints = Complaints::new();
    let raws = read(&files.config, &mut complaints);
    let without: Vec<_> = raws.iter().map(RawStanza::without_keys).collect();
    let text = to_handover(&without);
    assert!(!text.contains("KEY") && !text.contains("_PW x"), "{}", *text);
    let there = from_handover(&text).unwrap();
    let stanza = |raw| Stanza::new(raw, 1, &files.config, &TimeZone::UTC, &mut Complaints::new()).unwrap();
    assert_eq!(stanza(&there[0]), stanza(&raws[0]));
}

#[test]
fn dates_are_midnight_where_the_server_stands() {
    let zone = TimeZone::fixed(jiff::tz::offset(2));
    let date = Date::read("12/31/2030").unwrap();
    let time = midnight(date, &zone).unwrap();
    assert_eq!(time, UnixTime(1_924_905_600 - 7200));
    assert_eq!(asctime(time, &zone), "Tue Dec 31 00:00:00 2030");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_file_makes_it_panic(lines in proptest::collection::vec((0..names::NAMES.len(), "[^\n]{0,20}"), 0..12)) {
        let mut text = "SOURCE ANY\n".to_owned();
        for (index, value) in lines {
            text.push_str(&format!("{} {value}\n", names::NAMES[index].name));
        }
        read_one(&text);
    }
}
