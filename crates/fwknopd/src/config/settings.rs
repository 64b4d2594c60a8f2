//! The table of settings: every name `fwknopd.conf` may have, its default, its kind and what it is for.
//!
//! Parser, defaults, `-D` and the suggestions for misspelt names all read it. The settings of the original's iptables build
//! come first, in the order in which its `-D` prints them; scripts read that. What other builds of the original know, and
//! what only we know, follows and is printed by `-D` only where it is set.

use std::ops::RangeInclusive;

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// Its name in the file.
    pub name: &'static str,
    /// Its value if nobody sets it.
    pub default: Builtin,
    /// What its value must look like.
    pub kind: Kind,
    /// Who knows it.
    pub origin: Origin,
    /// What it is for.
    pub help: &'static str,
}

/// The value of a setting that nobody set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Builtin {
    /// It has none, `-D` says `<not set>`.
    Unset,
    /// This text.
    Text(&'static str),
    /// This file in the run directory.
    InRunDir(&'static str),
    /// Y, but N when packets come from a capture file: they are old.
    UnlessCaptureFile,
}

/// What a value must look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// True if it starts with Y or y.
    Yes,
    /// True unless it starts with N or n.
    UnlessNo,
    /// Any text.
    Text,
    /// A path; relative ones belong to the working directory of the start.
    Path,
    /// A number within a range.
    Number(RangeInclusive<u32>),
    /// A chain definition.
    Chain,
    /// One of these words, in any case.
    OneOf(&'static [&'static str]),
    /// `family table chain`.
    NftChain,
    /// A port list such as `tcp/22,udp/53`.
    Ports,
    /// A list of networks such as `10.0.0.80, 2001:db8::/64`.
    Networks,
    /// Known so that old files are no mistake, but without effect; the text says why.
    Dead(&'static str),
}

/// Who knows a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The iptables build of the original: always printed by `-D`.
    Stock,
    /// A build of the original for another firewall; mistakes matter only if that firewall is used.
    Build(&'static str),
    /// Only we.
    Ours,
}

impl Setting {
    /// Whether each line adds a value instead of replacing the one before.
    #[must_use]
    pub fn repeats(&self) -> bool {
        self.kind == Kind::NftChain
    }
}

/// The setting of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

/// What `FIREWALL_EXE` is in a stock build, and what `-V` and `-D` show if nobody set it. It does not mean that it is used.
pub const BUILT_IN_FIREWALL: &str = "/usr/sbin/iptables";

/// The syslog facilities that the original takes.
pub const FACILITIES: &[&str] = &[
    "LOG_DAEMON",
    "LOG_LOCAL0",
    "LOG_LOCAL1",
    "LOG_LOCAL2",
    "LOG_LOCAL3",
    "LOG_LOCAL4",
    "LOG_LOCAL5",
    "LOG_LOCAL6",
    "LOG_LOCAL7",
];

const LARGE: u32 = 8_388_608;
/// The original's limit for ports; what is above 65535 is refused where it is used.
const PORT: RangeInclusive<u32> = 1..=131_071;

const fn stock(name: &'static str, default: Builtin, kind: Kind, help: &'static str) -> Setting {
    Setting { name, default, kind, origin: Origin::Stock, help }
}

const fn build(build: &'static str, name: &'static str, default: Builtin, kind: Kind, help: &'static str) -> Setting {
    Setting { name, default, kind, origin: Origin::Build(build), help }
}

const fn ours(name: &'static str, default: Builtin, kind: Kind, help: &'static str) -> Setting {
    Setting { name, default, kind, origin: Origin::Ours, help }
}

use Builtin::{InRunDir, Text, UnlessCaptureFile, Unset};
use Kind::{Chain, Dead, NftChain, Number, OneOf, Path, Ports, UnlessNo, Yes};

const NO: Builtin = Text("N");
const YES: Builtin = Text("Y");

/// All of them. Spec: server.md 4.3 to 4.8, 14.2.
pub const SETTINGS: &[Setting] = &[
    stock("CONFIG_FILE", Text("/etc/fwknop/fwknopd.conf"), Dead("use the option -c"), "the file in use"),
    stock("OVERRIDE_CONFIG", Unset, Kind::Text, "files read after the main file, separated by commas"),
    stock("PCAP_INTF", Text("eth0"), Kind::Text, "interface to listen on; any is all of them"),
    stock("PCAP_FILE", Unset, Path, "read packets from a capture file"),
    stock("ENABLE_PCAP_PROMISC", NO, Yes, "listen in promiscuous mode"),
    stock("PCAP_FILTER", Text("udp port 62201"), Kind::Text, "which packets to look at, in pcap's language"),
    stock("PCAP_DISPATCH_COUNT", Text("100"), Number(1..=LARGE), "packets taken at once"),
    stock("PCAP_LOOP_SLEEP", Text("100000"), Number(1..=LARGE), "microseconds between two looks"),
    stock("ENABLE_PCAP_ANY_DIRECTION", Unset, Yes, "look at packets that leave, too"),
    stock("EXIT_AT_INTF_DOWN", YES, Yes, "end when the interface goes down"),
    stock("MAX_SNIFF_BYTES", Text("1500"), Number(1..=32_768), "bytes captured of each frame"),
    stock("ENABLE_SPA_PACKET_AGING", UnlessCaptureFile, Yes, "refuse packets with an old time stamp"),
    stock("MAX_SPA_PACKET_AGE", Text("120"), Number(1..=100_000), "seconds a time stamp may differ from now"),
    stock("ENABLE_DIGEST_PERSISTENCE", YES, Yes, "remember used packets in a file"),
    stock(
        "RULES_CHECK_THRESHOLD",
        Text("20"),
        Number(0..=131_071),
        "loops between deep checks of the rules; 0 is never",
    ),
    stock("CMD_EXEC_TIMEOUT", Unset, Kind::Text, "seconds a command may run"),
    stock("ENABLE_SPA_OVER_HTTP", NO, Yes, "take packets in HTTP requests"),
    stock("ENABLE_TCP_SERVER", NO, Yes, "accept TCP connections, so that their payload can be heard"),
    stock("TCPSERV_PORT", Text("62201"), Number(PORT), "port of the TCP server"),
    stock("ENABLE_UDP_SERVER", NO, Yes, "hear on a UDP socket instead of capturing"),
    stock("UDPSERV_PORT", Text("62201"), Number(PORT), "port of the UDP server"),
    stock("UDPSERV_SELECT_TIMEOUT", Text("500000"), Number(1..=LARGE), "microseconds of one wait in UDP server mode"),
    stock("LOCALE", Unset, Kind::Text, "locale"),
    stock("SYSLOG_IDENTITY", Text("fwknopd"), Kind::Text, "name in syslog"),
    stock("SYSLOG_FACILITY", Text("LOG_DAEMON"), OneOf(FACILITIES), "facility in syslog"),
    stock("ENABLE_X_FORWARDED_FOR", NO, Yes, "believe X-Forwarded-For in HTTP requests"),
    stock("ENABLE_DESTINATION_RULE", NO, Yes, "open doors only towards the address the packet was sent to"),
    stock("ENABLE_RULE_PREPEND", NO, Yes, "new rules at the top of the chain"),
    stock("ENABLE_NAT_DNS", YES, Yes, "resolve host names in NAT requests"),
    stock("ENABLE_IPT_FORWARDING", NO, Yes, "allow forwarding NAT"),
    stock("ENABLE_IPT_LOCAL_NAT", NO, Yes, "allow local NAT"),
    stock("ENABLE_IPT_SNAT", NO, Yes, "add SNAT rules"),
    stock("SNAT_TRANSLATE_IP", Unset, Kind::Text, "static address for SNAT"),
    stock("ENABLE_IPT_OUTPUT", NO, Yes, "mirror access rules into an OUTPUT chain"),
    stock("FLUSH_IPT_AT_INIT", YES, Yes, "remove what an earlier run left, at start"),
    stock("FLUSH_IPT_AT_EXIT", YES, UnlessNo, "remove chains and rules at exit"),
    stock("IPT_INPUT_ACCESS", Text("ACCEPT, filter, INPUT, 1, FWKNOP_INPUT, 1"), Chain, "where access rules go"),
    stock(
        "IPT_OUTPUT_ACCESS",
        Text("ACCEPT, filter, OUTPUT, 1, FWKNOP_OUTPUT, 1"),
        Chain,
        "where their mirror rules go",
    ),
    stock(
        "IPT_FORWARD_ACCESS",
        Text("ACCEPT, filter, FORWARD, 1, FWKNOP_FORWARD, 1"),
        Chain,
        "where forwarding rules go",
    ),
    stock("IPT_DNAT_ACCESS", Text("DNAT, nat, PREROUTING, 1, FWKNOP_PREROUTING, 1"), Chain, "where DNAT rules go"),
    stock("IPT_SNAT_ACCESS", Text("SNAT, nat, POSTROUTING, 1, FWKNOP_POSTROUTING, 1"), Chain, "where SNAT rules go"),
    stock(
        "IPT_MASQUERADE_ACCESS",
        Text("MASQUERADE, nat, POSTROUTING, 1, FWKNOP_MASQUERADE, 1"),
        Chain,
        "where MASQUERADE rules go",
    ),
    stock("ENABLE_IPT_COMMENT_CHECK", YES, Yes, "prove at start that rules can carry a comment"),
    stock("FWKNOP_RUN_DIR", Text("/run/fwknop"), Path, "directory of PID file and digest file"),
    stock("FWKNOP_CONF_DIR", Text("/etc/fwknop"), Dead("nothing reads it"), "directory of the configuration"),
    stock("ACCESS_FILE", Text("/etc/fwknop/access.conf"), Path, "who may do what"),
    stock("ACCESS_FOLDER", Unset, Path, "a folder of such files, read instead of ACCESS_FILE"),
    stock("FWKNOP_PID_FILE", InRunDir("fwknopd.pid"), Path, "PID file"),
    stock("DIGEST_FILE", InRunDir("digest.cache"), Path, "file of used packets"),
    stock("GPG_HOME_DIR", Text("/root/.gnupg"), Path, "home of gpg, for stanzas that do not name one"),
    stock("GPG_EXE", Text("/usr/bin/gpg"), Path, "the gpg program, for stanzas that do not name one"),
    stock("SUDO_EXE", Text("/usr/bin/sudo"), Path, "the sudo program"),
    stock(
        "FIREWALL_EXE",
        Text(BUILT_IN_FIREWALL),
        Path,
        "the firewall's program; unset, the firewall that drops is found",
    ),
    stock("VERBOSE", Unset, Number(0..=i32::MAX as u32), "verbosity, as that many -v"),
    stock("FAULT_INJECTION_TAG", Unset, Dead("only special builds of the original have it"), "fault injection"),
    // builds of the original for other purposes
    build("2.6.11", "ALLOW_ANY_USER_AGENT", NO, Yes, "take HTTP requests of any User-Agent"),
    build("dbm", "DIGEST_DB_FILE", Unset, Dead("used packets are kept in DIGEST_FILE"), "database of used packets"),
    build("afl", "AFL_PKT_FILE", Unset, Dead("only special builds of the original have it"), "fuzzing"),
    build(FIREWALLD, "ENABLE_FIREWD_FORWARDING", NO, Yes, "allow forwarding NAT"),
    build(FIREWALLD, "ENABLE_FIREWD_LOCAL_NAT", NO, Yes, "allow local NAT"),
    build(FIREWALLD, "ENABLE_FIREWD_SNAT", NO, Yes, "add SNAT rules"),
    build(FIREWALLD, "ENABLE_FIREWD_OUTPUT", NO, Yes, "mirror access rules into an OUTPUT chain"),
    build(FIREWALLD, "FLUSH_FIREWD_AT_INIT", YES, Yes, "remove what an earlier run left, at start"),
    build(FIREWALLD, "FLUSH_FIREWD_AT_EXIT", YES, UnlessNo, "remove chains and rules at exit"),
    build(
        FIREWALLD,
        "FIREWD_INPUT_ACCESS",
        Text("ACCEPT, filter, INPUT, 1, FWKNOP_INPUT, 1"),
        Chain,
        "as with iptables",
    ),
    build(
        FIREWALLD,
        "FIREWD_OUTPUT_ACCESS",
        Text("ACCEPT, filter, OUTPUT, 1, FWKNOP_OUTPUT, 1"),
        Chain,
        "as with iptables",
    ),
    build(
        FIREWALLD,
        "FIREWD_FORWARD_ACCESS",
        Text("ACCEPT, filter, FORWARD, 1, FWKNOP_FORWARD, 1"),
        Chain,
        "as with iptables",
    ),
    build(
        FIREWALLD,
        "FIREWD_DNAT_ACCESS",
        Text("DNAT, nat, PREROUTING, 1, FWKNOP_PREROUTING, 1"),
        Chain,
        "as with iptables",
    ),
    build(
        FIREWALLD,
        "FIREWD_SNAT_ACCESS",
        Text("SNAT, nat, POSTROUTING, 1, FWKNOP_POSTROUTING, 1"),
        Chain,
        "as with iptables",
    ),
    build(
        FIREWALLD,
        "FIREWD_MASQUERADE_ACCESS",
        Text("MASQUERADE, nat, POSTROUTING, 1, FWKNOP_MASQUERADE, 1"),
        Chain,
        "as with iptables",
    ),
    build(FIREWALLD, "ENABLE_FIREWD_COMMENT_CHECK", YES, Yes, "prove at start that rules can carry a comment"),
    build(IPFW, "FLUSH_IPFW_AT_INIT", YES, Yes, "delete the active set at start"),
    build(IPFW, "FLUSH_IPFW_AT_EXIT", YES, UnlessNo, "delete the active set at exit"),
    build(IPFW, "IPFW_START_RULE_NUM", Text("10000"), Number(0..=131_071), "first rule number"),
    build(IPFW, "IPFW_MAX_RULES", Text("65535"), Number(1..=131_071), "how many rule numbers may be used"),
    build(IPFW, "IPFW_ACTIVE_SET_NUM", Text("1"), Number(0..=63), "set of live rules"),
    build(IPFW, "IPFW_EXPIRE_SET_NUM", Text("2"), Number(0..=63), "disabled set of expired rules"),
    build(IPFW, "IPFW_EXPIRE_PURGE_INTERVAL", Text("30"), Number(1..=131_071), "seconds between purges"),
    build(IPFW, "IPFW_ADD_CHECK_STATE", NO, Yes, "add a check-state rule"),
    build(PF, "PF_ANCHOR_NAME", Text("fwknop"), Kind::Text, "anchor that the main policy links"),
    build(PF, "PF_EXPIRE_INTERVAL", Text("30"), Dead("rules end on time"), "seconds between looks for expired rules"),
    build(NFQ, "ENABLE_NFQ_CAPTURE", NO, Dead(NO_NFQ), "hear through a netfilter queue"),
    build(NFQ, "NFQ_INTERFACE", Unset, Dead(NO_NFQ), "interface"),
    build(NFQ, "NFQ_PORT", Text("62201"), Dead(NO_NFQ), "UDP port"),
    build(NFQ, "NFQ_TABLE", Text("mangle"), Dead(NO_NFQ), "table"),
    build(NFQ, "NFQ_CHAIN", Text("FWKNOP_NFQ"), Dead(NO_NFQ), "chain"),
    build(NFQ, "NFQ_QUEUE_NUMBER", Text("1"), Dead(NO_NFQ), "queue"),
    build(NFQ, "NFQ_LOOP_SLEEP", Text("500000"), Dead(NO_NFQ), "microseconds per loop"),
    // ours
    ours(
        "NFT_INPUT",
        Unset,
        NftChain,
        "an nftables base chain that gets the jump, as in: inet filter input; may be repeated",
    ),
    ours(
        "NFT_DEFAULT_DROP",
        Unset,
        Ports,
        "ports that a table of our own closes to all without a grant, as in tcp/22,udp/62201",
    ),
    ours(
        "LISTENER_USER",
        Unset,
        Kind::Text,
        "user of the process that hears packets; unset: fwknop, else an unused id",
    ),
    ours(
        "TRUSTED_PROXIES",
        Unset,
        Kind::Networks,
        "networks of the proxies whose X-Forwarded-For is believed; unset: everybody's is",
    ),
    ours("SANDBOX", Text("default"), OneOf(SANDBOX), "default: what the kernel can; require: refuse to start without"),
];

/// The build for firewalld.
pub const FIREWALLD: &str = "firewalld";
/// The build for ipfw.
pub const IPFW: &str = "ipfw";
/// The build for pf.
pub const PF: &str = "pf";
const NFQ: &str = "netfilter queue";
const NO_NFQ: &str = "packets are not heard through a netfilter queue";

/// The words of `SANDBOX`.
pub const SANDBOX: &[&str] = &["default", "require"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_stands_twice() {
        for (index, setting) in SETTINGS.iter().enumerate() {
            assert!(SETTINGS[index + 1..].iter().all(|other| other.name != setting.name), "{}", setting.name);
        }
    }

    #[test]
    fn the_settings_of_the_original_come_first_and_in_its_order() {
        let stock = SETTINGS.iter().take_while(|setting| setting.origin == Origin::Stock);
        assert_eq!(stock.count(), 55);
        assert_eq!(SETTINGS[54].name, "FAULT_INJECTION_TAG");
        assert!(SETTINGS[55..].iter().all(|setting| setting.origin != Origin::Stock));
    }
}
