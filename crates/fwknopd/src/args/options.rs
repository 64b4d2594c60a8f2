//! The table of the server's options: every name the original has, what it becomes, and what it is for.

use fwknop_conf::getopt::Opt;

use super::Mode;

/// What an option is to the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Id {
    Version,
    Help,
    Key(KeyOption),
    ConfigFile,
    Overrides,
    /// Sets this setting of fwknopd.conf.
    Setting(&'static str),
    Mode(Mode),
    Flag(Flag),
    Verbose,
    PacketLimit,
    /// For special builds of the original; the text says so.
    Refused(&'static str),
}

/// Switches without a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flag {
    Foreground,
    Test,
    UdpServer,
    AnyDirection,
    RotateDigestCache,
    SyslogEnable,
    NoIptCheckSupport,
    NoFirewdCheckSupport,
}

/// Options of key generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyOption {
    Generate,
    File,
    Length,
    HmacLength,
    HmacDigest,
}

const NO_AFL: &str = "[*] fwknopd not compiled with AFL fuzzing support";
const NO_FIU: &str = "[*] fwknopd not compiled with libfiu support";

/// One option, and what the usage says about it.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) opt: Opt<Id>,
    /// What its value is called.
    pub(super) value: &'static str,
    pub(super) help: &'static str,
}

const fn value(id: Id, long: &'static str, short: Option<char>, value: &'static str, help: &'static str) -> Row {
    Row { opt: Opt { id, long, short, takes_value: true }, value, help }
}

const fn plain(id: Id, long: &'static str, short: Option<char>, help: &'static str) -> Row {
    Row { opt: Opt { id, long, short, takes_value: false }, value: "", help }
}

/// The options alone.
pub(super) fn grammar() -> Vec<Opt<Id>> {
    OPTIONS.iter().map(|row| row.opt).collect()
}

/// The usage: every option with its value and what it does.
pub fn usage() -> String {
    let mut text = "Usage: fwknopd [options]\n\n".to_owned();
    for Row { opt, value, help } in OPTIONS {
        let short = opt.short.map_or("    ".to_owned(), |letter| format!("-{letter}, "));
        let long = if value.is_empty() { format!("--{}", opt.long) } else { format!("--{} {value}", opt.long) };
        text.push_str(&format!("  {short}{long:<26} {help}\n"));
    }
    text.push_str(
        "\nNames in brackets are settings of the configuration file; any beginning of a long option will do.\n",
    );
    text
}

/// Every option of server.md section 2.
const OPTIONS: &[Row] = &[
    value(Id::Setting("ACCESS_FILE"), "access-file", Some('a'), "FILE", "who may do what (ACCESS_FILE)"),
    value(
        Id::Setting("ACCESS_FOLDER"),
        "access-folder",
        None,
        "DIR",
        "a folder of such files, read instead (ACCESS_FOLDER)",
    ),
    plain(Id::Refused(NO_AFL), "afl-fuzzing", Some('A'), "only in special builds of the original"),
    value(Id::Refused(NO_AFL), "afl-pkt-file", None, "FILE", "only in special builds of the original"),
    value(Id::ConfigFile, "config-file", Some('c'), "FILE", "the configuration [/etc/fwknop/fwknopd.conf]"),
    value(Id::PacketLimit, "packet-limit", Some('C'), "N", "stop after N packets; 0 is no limit"),
    value(Id::Setting("DIGEST_FILE"), "digest-file", Some('d'), "FILE", "file of used packets (DIGEST_FILE)"),
    plain(Id::Mode(Mode::Dump), "dump-config", Some('D'), "print all settings and stanzas, and end"),
    plain(
        Id::Mode(Mode::ErrorCodes),
        "dump-serv-err-codes",
        None,
        "print the numbers and texts of the server's errors, and end",
    ),
    plain(Id::Mode(Mode::ParseConfig), "exit-parse-config", None, "read all files, say whether they are good, and end"),
    plain(
        Id::Mode(Mode::ParseDigestCache),
        "exit-parse-digest-cache",
        None,
        "read all files and the file of used packets, and end",
    ),
    value(Id::Refused(NO_FIU), "fault-injection-tag", None, "TAG", "only in special builds of the original"),
    plain(Id::Flag(Flag::Foreground), "foreground", Some('f'), "stay in the foreground, log to standard error"),
    plain(Id::Mode(Mode::FirewallFlush), "fw-flush", None, "remove all our chains and rules, and end"),
    plain(Id::Mode(Mode::FirewallList), "fw-list", None, "list the rules in our chains, and end"),
    plain(Id::Mode(Mode::FirewallListAll), "fw-list-all", None, "list the whole tables our chains are in, and end"),
    value(Id::Setting("GPG_EXE"), "gpg-exe", None, "FILE", "the gpg program (GPG_EXE)"),
    value(Id::Setting("GPG_HOME_DIR"), "gpg-home-dir", None, "DIR", "home directory of gpg (GPG_HOME_DIR)"),
    plain(Id::Help, "help", Some('h'), "print this, and end"),
    value(
        Id::Key(KeyOption::HmacDigest),
        "hmac-digest-type",
        None,
        "NAME",
        "for --key-gen: md5, sha1, sha256, sha384, sha512, sha3_256 or sha3_512",
    ),
    value(Id::Key(KeyOption::HmacLength), "hmac-key-len", None, "N", "for --key-gen: bytes of the HMAC key"),
    value(Id::Setting("PCAP_INTF"), "interface", Some('i'), "NAME", "interface to listen on (PCAP_INTF)"),
    plain(Id::Key(KeyOption::Generate), "key-gen", None, "print a new pair of keys, and end"),
    value(Id::Key(KeyOption::File), "key-gen-file", None, "FILE", "the same, into a file"),
    value(Id::Key(KeyOption::Length), "key-len", None, "N", "for --key-gen: bytes of the encryption key"),
    plain(Id::Mode(Mode::Kill), "kill", Some('K'), "stop the running server"),
    value(Id::Setting("LOCALE"), "locale", Some('l'), "NAME", "locale (LOCALE)"),
    plain(
        Id::Flag(Flag::NoFirewdCheckSupport),
        "no-firewd-check-support",
        None,
        "do not ask firewalld's program whether it can check rules",
    ),
    plain(
        Id::Flag(Flag::NoIptCheckSupport),
        "no-ipt-check-support",
        None,
        "do not ask iptables whether it can check rules",
    ),
    value(
        Id::Overrides,
        "override-config",
        Some('O'),
        "FILES",
        "more configuration files, separated by commas; later ones win",
    ),
    value(Id::Setting("FWKNOP_PID_FILE"), "pid-file", Some('p'), "FILE", "PID file (FWKNOP_PID_FILE)"),
    value(
        Id::Setting("PCAP_FILTER"),
        "pcap-filter",
        Some('P'),
        "EXPR",
        "which packets to look at; '' is all (PCAP_FILTER)",
    ),
    plain(Id::Flag(Flag::AnyDirection), "pcap-any-direction", None, "look at packets that leave, too"),
    value(Id::Setting("PCAP_FILE"), "pcap-file", None, "FILE", "read packets from a capture file (PCAP_FILE)"),
    value(
        Id::Setting("FWKNOP_RUN_DIR"),
        "run-dir",
        Some('r'),
        "DIR",
        "directory of PID file and file of used packets (FWKNOP_RUN_DIR)",
    ),
    plain(Id::Mode(Mode::Restart), "restart", Some('R'), "have the running server read its configuration again"),
    plain(
        Id::Flag(Flag::RotateDigestCache),
        "rotate-digest-cache",
        None,
        "start a new file of used packets; the old one gets the suffix -old",
    ),
    plain(
        Id::Mode(Mode::Status),
        "status",
        Some('S'),
        "say whether a server is running: ends with 0 if one is, else 1",
    ),
    value(Id::Setting("SUDO_EXE"), "sudo-exe", None, "FILE", "the sudo program (SUDO_EXE)"),
    plain(Id::Flag(Flag::SyslogEnable), "syslog-enable", None, "with -f: log to syslog, too"),
    plain(Id::Flag(Flag::Test), "test", Some('t'), "decide about packets, but open nothing and run nothing"),
    plain(Id::Flag(Flag::UdpServer), "udp-server", Some('U'), "hear on a UDP socket instead of capturing"),
    plain(Id::Verbose, "verbose", Some('v'), "say more; may be repeated"),
    plain(Id::Version, "version", Some('V'), "print the version, and end"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_stands_twice() {
        let options = grammar();
        for (index, option) in options.iter().enumerate() {
            let later = &options[index + 1..];
            assert!(later.iter().all(|other| other.long != option.long), "{}", option.long);
            assert!(option.short.is_none() || later.iter().all(|other| other.short != option.short), "{}", option.long);
        }
    }

    #[test]
    fn the_usage_has_every_option_on_a_line_of_its_own() {
        let usage = usage();
        assert_eq!(usage.lines().filter(|line| line.contains("--")).count(), OPTIONS.len());
        assert!(usage.contains("\n  -i, --interface NAME           interface to listen on (PCAP_INTF)\n"), "{usage}");
    }
}
