//! The table of the server's options: every name the original has, and what it becomes.

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

const fn value(id: Id, long: &'static str, short: Option<char>) -> Opt<Id> {
    Opt { id, long, short, takes_value: true }
}

const fn plain(id: Id, long: &'static str, short: Option<char>) -> Opt<Id> {
    Opt { id, long, short, takes_value: false }
}

/// Every option of server.md section 2.
pub(super) const OPTIONS: &[Opt<Id>] = &[
    value(Id::Setting("ACCESS_FILE"), "access-file", Some('a')),
    value(Id::Setting("ACCESS_FOLDER"), "access-folder", None),
    plain(Id::Refused(NO_AFL), "afl-fuzzing", Some('A')),
    value(Id::Refused(NO_AFL), "afl-pkt-file", None),
    value(Id::ConfigFile, "config-file", Some('c')),
    value(Id::PacketLimit, "packet-limit", Some('C')),
    value(Id::Setting("DIGEST_FILE"), "digest-file", Some('d')),
    plain(Id::Mode(Mode::Dump), "dump-config", Some('D')),
    plain(Id::Mode(Mode::ErrorCodes), "dump-serv-err-codes", None),
    plain(Id::Mode(Mode::ParseConfig), "exit-parse-config", None),
    plain(Id::Mode(Mode::ParseDigestCache), "exit-parse-digest-cache", None),
    value(Id::Refused(NO_FIU), "fault-injection-tag", None),
    plain(Id::Flag(Flag::Foreground), "foreground", Some('f')),
    plain(Id::Mode(Mode::FirewallFlush), "fw-flush", None),
    plain(Id::Mode(Mode::FirewallList), "fw-list", None),
    plain(Id::Mode(Mode::FirewallListAll), "fw-list-all", None),
    value(Id::Setting("GPG_EXE"), "gpg-exe", None),
    value(Id::Setting("GPG_HOME_DIR"), "gpg-home-dir", None),
    plain(Id::Help, "help", Some('h')),
    value(Id::Key(KeyOption::HmacDigest), "hmac-digest-type", None),
    value(Id::Key(KeyOption::HmacLength), "hmac-key-len", None),
    value(Id::Setting("PCAP_INTF"), "interface", Some('i')),
    plain(Id::Key(KeyOption::Generate), "key-gen", None),
    value(Id::Key(KeyOption::File), "key-gen-file", None),
    value(Id::Key(KeyOption::Length), "key-len", None),
    plain(Id::Mode(Mode::Kill), "kill", Some('K')),
    value(Id::Setting("LOCALE"), "locale", Some('l')),
    plain(Id::Flag(Flag::NoFirewdCheckSupport), "no-firewd-check-support", None),
    plain(Id::Flag(Flag::NoIptCheckSupport), "no-ipt-check-support", None),
    value(Id::Overrides, "override-config", Some('O')),
    value(Id::Setting("FWKNOP_PID_FILE"), "pid-file", Some('p')),
    value(Id::Setting("PCAP_FILTER"), "pcap-filter", Some('P')),
    plain(Id::Flag(Flag::AnyDirection), "pcap-any-direction", None),
    value(Id::Setting("PCAP_FILE"), "pcap-file", None),
    value(Id::Setting("FWKNOP_RUN_DIR"), "run-dir", Some('r')),
    plain(Id::Mode(Mode::Restart), "restart", Some('R')),
    plain(Id::Flag(Flag::RotateDigestCache), "rotate-digest-cache", None),
    plain(Id::Mode(Mode::Status), "status", Some('S')),
    value(Id::Setting("SUDO_EXE"), "sudo-exe", None),
    plain(Id::Flag(Flag::SyslogEnable), "syslog-enable", None),
    plain(Id::Flag(Flag::Test), "test", Some('t')),
    plain(Id::Flag(Flag::UdpServer), "udp-server", Some('U')),
    plain(Id::Verbose, "verbose", Some('v')),
    plain(Id::Version, "version", Some('V')),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_stands_twice() {
        for (index, option) in OPTIONS.iter().enumerate() {
            let later = &OPTIONS[index + 1..];
            assert!(later.iter().all(|other| other.long != option.long), "{}", option.long);
            assert!(option.short.is_none() || later.iter().all(|other| other.short != option.short), "{}", option.long);
        }
    }
}
