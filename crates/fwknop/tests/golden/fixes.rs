//! What we do where the recorded behaviour is a defect of the original: one claim for each such case.

use super::{case::Case, run::Outcome};

/// What is claimed about an outcome.
enum Claim {
    /// It fails, says this on standard error, and makes no packet.
    Refuses(&'static str),
    /// It succeeds and asks for this.
    Asks(&'static str),
    /// Anything else.
    Holds(fn(&Outcome) -> bool),
}

use Claim::{Asks, Holds, Refuses};

const CLAIMS: &[(&str, Claim)] = &[
    ("info-version-bad-logname", Holds(prints_version)),
    ("info-version-no-home", Holds(prints_version)),
    ("key-hmac-129", Refuses("[*] Invalid HMAC key length: '129'")),
    ("key-stdin-empty", Refuses("[*] Invalid key length: '0'")),
    // The file gives the HMAC key, so what is missing is the encryption key, and there is no terminal to ask on.
    ("key-rc-hmac-file", Refuses("[*] getpasswd() key error.")),
    ("key-prec-raw-over-b64-rc", Holds(|outcome| !opens(outcome) && outcome.exit == 0)),
    ("key-prec-rc-over-getkey", Refuses("Could not open config file: ")),
    ("tty-ctrl-c", Refuses("[*] getpasswd() key error.")),
    ("allow-trunc", Refuses("Invalid allow IP")),
    ("allow-octal", Refuses("Invalid allow IP")),
    ("timeout-nonnum", Refuses("--fw-timeout must be within")),
    ("user-30", Holds(|outcome| user(outcome) == "abcdefghijklmnopqrstuvwxyz0123456789")),
    ("time-sign", Refuses("Invalid time offset: '-60'")),
    ("nat-port-alone", Refuses("need -N or --nat-local")),
    ("nat-badip-hostname", Refuses("Invalid NAT destination '999.1.1.1'")),
    ("nat-empty-host", Refuses("Invalid NAT destination ''")),
    ("udp-srcport", Holds(|outcome| outcome.received_from == Some(5555))),
    (
        "save-pkt-fail",
        Holds(|outcome| outcome.exit == 1 && outcome.received.is_none() && says(outcome, "No such file")),
    ),
    ("res-rc-fixed-vs-cli", Asks("203.0.113.50,tcp/22")),
    ("res-rc-fixed-vs-stanza", Asks("203.0.113.50,tcp/22")),
    ("res-httponly-404", Refuses("Invalid IP (status 404) in HTTP response")),
    // HMAC is on, so its key is asked for, and there is no terminal.
    ("rc-use-hmac-yes", Refuses("[*] getpasswd() key error.")),
    ("rc-verbose-beats-cli", Holds(|outcome| outcome.exit == 0 && outcome.stdout.contains("Dump of the Decoded Data"))),
    ("save-source-lost", Holds(|outcome| rc(outcome).contains("ALLOW_IP                    source\n"))),
    ("save-space-key", Holds(|outcome| rc(outcome).contains("KEY_BASE64                  bXkgc2VjcmV0\n"))),
    ("save-stale-tmp", Holds(keeps_stale_file)),
    ("save-keygen-lost", Holds(|outcome| keeps_stale_file(outcome) && outcome.stdout.is_empty())),
    (
        "save-bad-line",
        Holds(|outcome| outcome.exit == 1 && outcome.files.len() == 1 && rc(outcome).contains("garbage")),
    ),
    ("save-named-middle", Holds(|outcome| rc(outcome) == NAMED_MIDDLE)),
    // This line was written by the original; that ours come back whole is a test of `last`.
    ("last-splits", Asks("0.0.0.0,echo")),
    ("parse-num-suffix", Refuses("[*] Value '22x' is not a number")),
    ("parse-num-alpha", Refuses("[*] Value 'abc' is not a number")),
    ("err-unknown-creates-rc", Holds(|outcome| outcome.exit == 1 && outcome.files.is_empty())),
    ("err-timeout-undecodable", Refuses("--fw-timeout must be within [0-65536]")),
    ("err-stdin-two", Holds(|outcome| outcome.exit == 0 && outcome.stdout.contains("HMAC Type: 3 (SHA256)"))),
    ("err-user-env-empty", Holds(|outcome| outcome.exit == 0 && outcome.stdout.contains("Username: alice\n"))),
    ("err-user-49", Refuses("at most 48")),
    ("err-cmd-400", Refuses("fwknop: fko_spa_data_final: Error ")),
    ("err-cmd-nat", Refuses("A command has no NAT")),
    ("err-rc-indent-comment", Asks("203.0.113.7,tcp/22")),
    ("err-rc-blank-spaces", Asks("203.0.113.7,tcp/22")),
    ("err-rc-longline", Asks("203.0.113.7,tcp/22")),
    ("err-nohome-E", Holds(|outcome| outcome.exit == 0)),
    ("err-home-unset-nosave", Holds(|outcome| outcome.exit == 0)),
    ("err-last-toomany", Holds(|outcome| outcome.exit == 0 && outcome.stdout.contains("Dump of the Decoded Data"))),
    ("err-args-toolong", Holds(|outcome| outcome.exit == 0 && run_line(outcome).len() > 1000)),
    ("err-res-stderr", Asks("203.0.113.50,tcp/22")),
    ("err-res-url-colon", Asks("203.0.113.50,tcp/22")),
    ("err-res-url-test", Asks("203.0.113.50,tcp/22")),
    (
        "err-res-httponly-chunked",
        Holds(|outcome| outcome.exit == 0 && outcome.stdout.contains(": 203.0.113.77,tcp/22\n")),
    ),
    ("save-resolve-ipv4", Holds(|outcome| rc(outcome).contains("SERVER_RESOLVE_IPV4         Y\n"))),
    ("err-cmd-limit", Refuses("fwknop: fko_spa_data_final: Error ")),
    ("err-cmd-limit-hmac", Refuses("fwknop: fko_spa_data_final: Error ")),
];

const NAMED_MIDDLE: &str = "[default]

[a]
ACCESS tcp/1

[b]
ALLOW_IP                    203.0.113.7
ACCESS                      tcp/22
SPA_SERVER                  192.0.2.20
KEY                         sekret
NO_SAVE_ARGS                Y

[c]
ACCESS tcp/3
";

/// Checks the claim about a case; there must be one.
pub(crate) fn check(case: &Case, outcome: &Outcome) -> Result<(), String> {
    let Some((_, claim)) = CLAIMS.iter().find(|(id, _)| *id == case.id) else {
        return Err("  nothing is claimed about this case".into());
    };
    let holds = match claim {
        Refuses(told) => {
            let made = outcome.files.contains_key("{HOME}/pkt") || outcome.stdout.contains("SPA Field Values");
            outcome.exit == 1 && says(outcome, told) && !made
        }
        Asks(message) => outcome.exit == 0 && outcome.stdout.contains(&format!(" Message String: {message}\n")),
        Holds(holds) => holds(outcome),
    };
    if holds {
        return Ok(());
    }
    Err(format!(
        "  exit {}\n  stdout {:?}\n  stderr {:?}\n  files {:?}",
        outcome.exit, outcome.stdout, outcome.stderr, outcome.files
    ))
}

fn says(outcome: &Outcome, told: &str) -> bool {
    outcome.stderr.contains(told)
}

fn prints_version(outcome: &Outcome) -> bool {
    outcome.exit == 0
        && outcome.stdout == "fwknop client 2.6.10, FKO protocol version 3.0.0\n"
        && outcome.stderr.is_empty()
}

fn opens(outcome: &Outcome) -> bool {
    matches!(outcome.packet, Some(Ok(_)))
}

fn user(outcome: &Outcome) -> &str {
    match &outcome.packet {
        Some(Ok(knock)) => knock.username.as_str(),
        _ => "",
    }
}

fn file<'o>(outcome: &'o Outcome, name: &str) -> &'o str {
    outcome.files.get(name).map_or("", |(_, content)| content)
}

fn rc(outcome: &Outcome) -> &str {
    file(outcome, "{HOME}/.fwknoprc")
}

fn run_line(outcome: &Outcome) -> &str {
    file(outcome, "{HOME}/.fwknop.run")
}

/// The leftover may hold the only copy of somebody's keys: it is told about, and left.
fn keeps_stale_file(outcome: &Outcome) -> bool {
    outcome.exit == 1
        && rc(outcome) == "[default]\n"
        && outcome.files.len() == 2
        && says(outcome, ".fwknoprc.updated: File exists")
}
