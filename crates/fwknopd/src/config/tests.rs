//! Settings as text in, values and complaints out.

use std::path::Path;

use super::*;
use crate::{args::Mode, firewall::settings::Family};

/// The configuration of these lines, and what was told from warnings on.
fn read_with(args: &Args, text: &str) -> (Option<Config>, Vec<String>) {
    let raw = RawConfig::from_handover(text).unwrap();
    let mut complaints = Complaints::new();
    let config = Config::new(&raw, args, &mut complaints);
    (config, complaints.iter().map(ToString::to_string).collect())
}

fn read(text: &str) -> (Option<Config>, Vec<String>) {
    read_with(&Args::default(), text)
}

fn good(text: &str) -> Config {
    let (config, told) = read(text);
    assert_eq!(told, Vec::<String>::new(), "{text}");
    config.unwrap()
}

#[test]
fn nothing_set_means_the_defaults() {
    let config = good("");
    assert_eq!(config.capture.filter.as_deref(), Some("udp port 62201"));
    assert_eq!(config.max_age, Some(120));
    assert_eq!(config.pid_file, Path::new("/run/fwknop/fwknopd.pid"));
    assert_eq!(config.digest_file.as_deref(), Some(Path::new("/run/fwknop/digest.cache")));
    assert_eq!(config.access, AccessPlace::File("/etc/fwknop/access.conf".into()));
    assert_eq!(config.firewall_exe, None);
    assert_eq!((config.udp_server, config.tcp_server, &config.http), (None, None, &None));
    assert!(config.netfilter.flush_at_start && config.netfilter.flush_at_exit && !config.nat_enabled());
    assert_eq!(config.netfilter.input, ChainSpec::input());
    assert_eq!(config.firewall(), crate::firewall::Settings::default());
    assert_eq!(config.sandbox, Sandbox::Default);
}

#[test]
fn an_explicit_firewall_can_be_told_from_the_default() {
    let config = good("FIREWALL_EXE /usr/sbin/iptables\n");
    assert_eq!(config.firewall_exe.as_deref(), Some(Path::new("/usr/sbin/iptables")));
    assert_eq!(good("").netfilter_word(), "IPT");
    let config = good("FIREWALL_EXE /bin/firewall-cmd\nENABLE_FIREWD_FORWARDING Y\n");
    assert!(config.nat_enabled());
    assert_eq!(config.netfilter_word(), "FIREWD");
}

#[test]
fn proxies_are_believed_by_name_or_with_a_warning() {
    let http = "ENABLE_SPA_OVER_HTTP Y\nENABLE_X_FORWARDED_FOR Y\n";
    let (config, told) = read(http);
    assert_eq!(config.and_then(|config| config.http).unwrap().trusted_proxies, None);
    assert!(told[0].contains("TRUSTED_PROXIES is not set"), "{told:?}");
    let proxies = good(&format!("{http}TRUSTED_PROXIES 10.0.0.80, 2001:db8::/64\n")).http.unwrap().trusted_proxies;
    assert!(proxies.unwrap().covers("2001:db8::7".parse().unwrap()));
    assert!(read(&format!("{http}TRUSTED_PROXIES proxy.example\n")).0.is_none());
}

#[test]
fn ours_are_typed_too() {
    let config = good("NFT_INPUT inet f i\nNFT_INPUT ip6 g j\nNFT_DEFAULT_DROP tcp/22,udp/62201\nSANDBOX Require\n");
    let chain = |family, table: &str, chain: &str| NftInput { family, table: table.into(), chain: chain.into() };
    assert_eq!(config.nft_input, [chain(Family::Inet, "f", "i"), chain(Family::Ip6, "g", "j")]);
    assert_eq!(config.nft_default_drop.map(|ports| ports.iter().count()), Some(2));
    assert_eq!(config.sandbox, Sandbox::Require);
}

#[test]
fn options_and_settings_add_up() {
    let args = Args { verbose: 2, udp_server: true, any_direction: true, ..Args::default() };
    let (config, _) = read_with(&args, "VERBOSE 1\nUDPSERV_PORT 5000\n");
    let config = config.unwrap();
    assert_eq!((config.verbose, config.udp_server.map(NonZeroU16::get)), (3, Some(5000)));
    assert!(config.capture.any_direction);
    assert!(good("ENABLE_PCAP_ANY_DIRECTION Y\n").capture.any_direction);
    assert_eq!(good("PCAP_FILTER \n").capture.filter, None);
}

#[test]
fn all_mistakes_are_told_at_once() {
    let (config, told) = read(
        "MAX_SNIFF_BYTES 0\nSYSLOG_FACILITY LOG_AUTH\nENABLE_IPT_SNAT Y\nSNAT_TRANSLATE_IP 1.2.3\nFWKNOP_RUN_DIR run\n\
         IPT_INPUT_ACCESS A,b,C,65537,D,1\nIPT_OUTPUT_ACCESS A,b\nNFT_INPUT inet f\nNFT_DEFAULT_DROP ssh\nVERBOSE -1\nSANDBOX maybe\n",
    );
    assert!(config.is_none());
    let mut told: Vec<_> = told.iter().map(|text| text.lines().next().unwrap()).collect();
    told.sort_unstable();
    assert_eq!(
        told,
        [
            "Invalid IPT_OUTPUT_ACCESS specification, see fwknopd.conf comments",
            "Invalid IPv4 addr for SNAT_TRANSLATE_IP",
            "Invalid SYSLOG_FACILITY setting 'LOG_AUTH'",
            "Path 'run' is not absolute.",
            "[*] Invalid SANDBOX setting 'maybe'",
            "[*] NFT_DEFAULT_DROP 'ssh' is not a list of ports",
            "[*] NFT_INPUT: 'inet f' is not a family, a table and a chain, as in: inet filter input",
            "[*] VERBOSE value '-1' not in the range (>0)",
            "[*] invalid jump rule position in Line: A,b,C,65537,D,1",
            "[*] var MAX_SNIFF_BYTES value '0' not in the range 1-32768",
        ]
    );
}

/// What is told when this is only printed, and what keeps a server from starting.
fn dumped_and_served(text: &str) -> (Option<Config>, Vec<String>) {
    let (config, _) = read_with(&Args { mode: Mode::Dump, ..Args::default() }, text);
    let (served, told) = read(text);
    assert!(served.is_none());
    (config, told)
}

#[test]
fn a_port_beyond_all_ports_matters_only_where_it_is_used() {
    good("TCPSERV_PORT 70000\n");
    let (config, told) = dumped_and_served("TCPSERV_PORT 70000\nENABLE_TCP_SERVER Y\n");
    assert_eq!(config.map(|config| config.tcp_server), Some(None));
    assert_eq!(told, ["[*] var TCPSERV_PORT value '70000' not in the range 1-65535\n    there is no such port"]);
}

#[test]
fn chains_with_which_nothing_works_keep_a_server_from_starting() {
    for chain in ["ACCEPT, filter, INPUT, x, F, 1", "ACCEPT, filter, , 1, F, 1"] {
        let (config, told) = dumped_and_served(&format!("IPT_INPUT_ACCESS {chain}\n"));
        assert!(config.is_some_and(|config| !config.netfilter.input.is_enabled()), "{chain}");
        assert_eq!(told.len(), 1, "{chain}");
        good(&format!("IPT_OUTPUT_ACCESS {chain}\n"));
    }
    assert!(!good("IPT_INPUT_ACCESS , , , , ,\n").netfilter.input.is_enabled());
}

#[test]
fn what_is_neither_yes_nor_no_is_told() {
    let (config, told) = read("ENABLE_IPT_OUTPUT true\nFLUSH_IPT_AT_EXIT 0\n");
    let config = config.unwrap();
    assert!(!config.netfilter.output_rules && config.netfilter.flush_at_exit);
    assert_eq!(told.len(), 2);
    let (config, told) = dumped_and_served("ENABLE_UDP_SERVER 1\n");
    assert_eq!(config.map(|config| config.udp_server), Some(None));
    assert_eq!(told.len(), 2);
}

#[test]
fn mistakes_for_another_firewall_only_warn() {
    let (config, told) = read("IPFW_MAX_RULES 0\nFIREWD_INPUT_ACCESS x\n");
    assert!(config.is_some());
    assert_eq!(told.len(), 2);
    let (config, _) = read("FIREWALL_EXE /sbin/ipfw\nIPFW_MAX_RULES 0\n");
    assert!(config.is_none());
    let (config, told) = read("FIREWALL_EXE /sbin/ipfw\nIPFW_ACTIVE_SET_NUM 2\n");
    assert!(config.is_none());
    assert_eq!(told, ["[*] Cannot set identical ipfw active and expire sets."]);
}
