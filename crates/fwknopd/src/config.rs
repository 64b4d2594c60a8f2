//! `fwknopd.conf` and what the command line changes of it, as values that can be used.
//!
//! ```text
//! Args ──▶ RawConfig (text, with places) ──▶ Config (typed, checked)
//!              │  └──▶ lines ──▶ RawConfig in another process of ours
//!              └──▶ -D
//! ```
//!
//! [`SETTINGS`] is the one table of names; [`read`] takes the files in; [`Config::new`] checks every value and tells all
//! mistakes at once. Nothing here opens a device, runs a program or knows a stanza. Spec: server.md section 4.

use std::{net::IpAddr, num::NonZeroU16, path::PathBuf, time::Duration};

use fwknop_conf::{complaint::Complaints, networks::Networks};
use spa::PortList;

use crate::{
    args::Args,
    firewall::{self, ChainSpec, settings::NftInput},
};

mod checked;
mod raw;
pub mod settings;

pub use raw::{RawConfig, read};
pub use settings::{BUILT_IN_FIREWALL, SETTINGS};

/// The configuration, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// How packets come in.
    pub capture: Capture,
    /// Port of the UDP server, if packets come in there instead (`-U` or `ENABLE_UDP_SERVER`).
    pub udp_server: Option<NonZeroU16>,
    /// Port of the TCP server that completes handshakes, if there is to be one.
    pub tcp_server: Option<NonZeroU16>,
    /// Packets in HTTP requests, if they are taken.
    pub http: Option<Http>,
    /// Seconds by which a time stamp may differ from now, in either direction; `None`: age is not looked at.
    pub max_age: Option<u32>,
    /// The file of used packets; `None`: they are remembered in memory only (`ENABLE_DIGEST_PERSISTENCE N`).
    pub digest_file: Option<PathBuf>,
    /// The run directory: absolute.
    pub run_dir: PathBuf,
    /// The PID file.
    pub pid_file: PathBuf,
    /// Where the stanzas are.
    pub access: AccessPlace,
    /// Where the log goes.
    pub syslog: Syslog,
    /// Verbosity: `VERBOSE` and the count of `-v` together.
    pub verbose: u32,
    /// `LOCALE`, unless it says NONE.
    pub locale: Option<String>,
    /// `ENABLE_DESTINATION_RULE`.
    pub destination_rule: bool,
    /// `ENABLE_RULE_PREPEND`.
    pub rule_prepend: bool,
    /// `ENABLE_NAT_DNS`.
    pub nat_dns: bool,
    /// `RULES_CHECK_THRESHOLD`; 0: no deep checks.
    pub rules_check_threshold: u32,
    /// Seconds a command may run, if `CMD_EXEC_TIMEOUT` says so.
    pub command_timeout: Option<u32>,
    /// `FIREWALL_EXE` if somebody set it; unset, the firewall is chosen when the server starts.
    pub firewall_exe: Option<PathBuf>,
    /// `SUDO_EXE`.
    pub sudo_exe: PathBuf,
    /// `GPG_EXE`, for stanzas that name none.
    pub gpg_exe: PathBuf,
    /// `GPG_HOME_DIR`, for stanzas that name none.
    pub gpg_home: PathBuf,
    /// Chains and NAT, from the `IPT` or the `FIREWD` settings.
    pub netfilter: Netfilter,
    /// What only ipfw needs.
    pub ipfw: Ipfw,
    /// `PF_ANCHOR_NAME`.
    pub pf_anchor: String,
    /// `NFT_INPUT`, in order; empty: every chain that can drop.
    pub nft_input: Vec<NftInput>,
    /// `NFT_DEFAULT_DROP`.
    pub nft_default_drop: Option<PortList>,
    /// `LISTENER_USER`.
    pub listener_user: Option<String>,
    /// `SANDBOX`.
    pub sandbox: Sandbox,
}

/// How packets are captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// `PCAP_INTF`.
    pub interface: String,
    /// `PCAP_FILE`: read this instead.
    pub file: Option<PathBuf>,
    /// `ENABLE_PCAP_PROMISC`.
    pub promiscuous: bool,
    /// `PCAP_FILTER`; `None`: everything (`-P ''`).
    pub filter: Option<String>,
    /// `ENABLE_PCAP_ANY_DIRECTION` or `--pcap-any-direction`.
    pub any_direction: bool,
    /// `MAX_SNIFF_BYTES`.
    pub snap_length: u32,
    /// `EXIT_AT_INTF_DOWN`.
    pub exit_at_interface_down: bool,
    /// `PCAP_DISPATCH_COUNT`.
    pub dispatch_count: u32,
    /// `PCAP_LOOP_SLEEP`.
    pub loop_sleep: Duration,
    /// `UDPSERV_SELECT_TIMEOUT`.
    pub udp_wait: Duration,
}

/// Packets in HTTP requests (`ENABLE_SPA_OVER_HTTP`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// `ALLOW_ANY_USER_AGENT`.
    pub any_user_agent: bool,
    /// `ENABLE_X_FORWARDED_FOR`.
    pub x_forwarded_for: bool,
    /// `TRUSTED_PROXIES`: whose header is believed; `None`: everybody's.
    pub trusted_proxies: Option<Networks>,
}

/// Where the stanzas are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessPlace {
    /// `ACCESS_FILE`.
    File(PathBuf),
    /// `ACCESS_FOLDER`: every file in it, instead.
    Folder(PathBuf),
}

/// How to name ourselves in syslog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syslog {
    /// `SYSLOG_IDENTITY`.
    pub identity: String,
    /// `SYSLOG_FACILITY`: `None` is daemon, else local0 to local7.
    pub local: Option<u8>,
}

/// Chains and NAT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Netfilter {
    /// `ENABLE_…_FORWARDING`.
    pub forwarding: bool,
    /// `ENABLE_…_LOCAL_NAT`.
    pub local_nat: bool,
    /// `ENABLE_…_SNAT`.
    pub snat: bool,
    /// `SNAT_TRANSLATE_IP`, if SNAT is on.
    pub snat_address: Option<IpAddr>,
    /// `ENABLE_…_OUTPUT`.
    pub output_rules: bool,
    /// `FLUSH_…_AT_INIT`.
    pub flush_at_start: bool,
    /// `FLUSH_…_AT_EXIT`.
    pub flush_at_exit: bool,
    /// `ENABLE_…_COMMENT_CHECK`.
    pub comment_check: bool,
    /// `…_INPUT_ACCESS`.
    pub input: ChainSpec,
    /// `…_OUTPUT_ACCESS`.
    pub output: ChainSpec,
    /// `…_FORWARD_ACCESS`.
    pub forward: ChainSpec,
    /// `…_DNAT_ACCESS`.
    pub dnat: ChainSpec,
    /// `…_SNAT_ACCESS`.
    pub snat_chain: ChainSpec,
    /// `…_MASQUERADE_ACCESS`.
    pub masquerade: ChainSpec,
}

/// What only ipfw needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipfw {
    /// `FLUSH_IPFW_AT_INIT`.
    pub flush_at_start: bool,
    /// `FLUSH_IPFW_AT_EXIT`.
    pub flush_at_exit: bool,
    /// `IPFW_START_RULE_NUM`.
    pub first_rule: u32,
    /// `IPFW_MAX_RULES`.
    pub most_rules: u32,
    /// `IPFW_ACTIVE_SET_NUM`.
    pub active_set: u32,
    /// `IPFW_EXPIRE_SET_NUM`.
    pub expire_set: u32,
    /// `IPFW_EXPIRE_PURGE_INTERVAL`, in seconds.
    pub purge_interval: u32,
    /// `IPFW_ADD_CHECK_STATE`.
    pub add_check_state: bool,
}

/// How much confinement a process that reads packets needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sandbox {
    /// What this kernel can do.
    Default,
    /// All of it, or no start.
    Require,
}

impl Config {
    /// Whether a stanza may ask for NAT.
    #[must_use]
    pub fn nat_enabled(&self) -> bool {
        self.netfilter.forwarding || self.netfilter.local_nat
    }

    /// `IPT`, or `FIREWD` if `FIREWALL_EXE` is firewalld's program: the middle of the names of NAT settings.
    #[must_use]
    pub fn netfilter_word(&self) -> &'static str {
        match self.firewall_exe.as_ref().and_then(|exe| exe.file_name()) {
            Some(name) if name == "firewall-cmd" => "FIREWD",
            _ => "IPT",
        }
    }

    /// What the firewall back ends need to know of all this.
    #[must_use]
    pub fn firewall(&self) -> firewall::Settings {
        firewall::Settings {
            exe: self.firewall_exe.clone(),
            input: self.netfilter.input.clone(),
            flush_at_start: self.netfilter.flush_at_start,
            flush_at_exit: self.netfilter.flush_at_exit,
            prepend: self.rule_prepend,
            comment_check: self.netfilter.comment_check,
            nft_input: self.nft_input.clone(),
            default_drop: self.nft_default_drop.iter().flat_map(|ports| ports.iter().copied()).collect(),
        }
    }

    /// Checks every value. `None` if one of them cannot be used; each is told.
    ///
    /// A server ([`Mode::Serve`](crate::args::Mode::Serve)) does not start with some values that the original would take and
    /// then not work with; for `-D` and the other modes those are warnings.
    #[must_use]
    pub fn new(raw: &RawConfig, args: &Args, complaints: &mut Complaints) -> Option<Self> {
        let before = complaints.errors();
        let config = checked::config(raw, args, complaints);
        config.filter(|_| complaints.errors() == before)
    }

    /// Reads files and command line, and checks every value: [`read`], [`Config::new`] and [`Args::check_paths`].
    pub fn load(args: &Args, complaints: &mut Complaints) -> Option<(RawConfig, Self)> {
        let raw = read(args, complaints)?;
        let before = complaints.errors();
        args.check_paths(complaints);
        let config = Self::new(&raw, args, complaints)?;
        (complaints.errors() == before).then_some((raw, config))
    }
}

#[cfg(test)]
mod tests;
