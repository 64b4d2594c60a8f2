//! From text to values: every setting is looked at once, and every mistake is told.
//!
//! A mistake in a setting of a firewall that is not in use is a warning only; the original would not even know the name.

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU16,
    path::{Path, PathBuf},
    time::Duration,
};

use fwknop_conf::{
    complaint::{Complaint, Complaints, Severity},
    networks::Networks,
    value::{Number, says_no, says_yes},
};

use super::{
    AccessPlace, Capture, Config, Http, Ipfw, Netfilter, RawConfig, Sandbox, Syslog,
    settings::{FIREWALLD, IPFW, Kind, Origin, PF, SETTINGS, Setting, find},
};
use crate::{
    args::{Args, Mode},
    firewall::{BadChain, ChainSpec},
};

/// The whole configuration; `None` (or an error told) if some value cannot be used.
pub(super) fn config(raw: &RawConfig, args: &Args, complaints: &mut Complaints) -> Option<Config> {
    let mut values = Values { raw, build: build(raw), serves: args.mode == Mode::Serve, complaints };
    for setting in SETTINGS {
        values.check(setting);
    }
    let udp_server = args.udp_server || values.yes("ENABLE_UDP_SERVER");
    let neither = |text: &str| !says_yes(text) && !says_no(text);
    if !udp_server && values.effective("ENABLE_UDP_SERVER").is_some_and(|text| neither(&text)) {
        let complaint = Complaint::error("No available capture mode specified.  Aborting.");
        values.obstacle("ENABLE_UDP_SERVER", complaint.hint("write Y or N"));
    }
    let udp_server = udp_server.then(|| values.port("UDPSERV_PORT")).flatten();
    let tcp_server = values.yes("ENABLE_TCP_SERVER").then(|| values.port("TCPSERV_PORT")).flatten();
    let http = values.yes("ENABLE_SPA_OVER_HTTP").then(|| values.http());
    let netfilter = values.netfilter();
    values.different_ipfw_sets();
    let command_timeout = values.command_timeout();
    let run_dir = values.run_dir();
    // Everything was looked at; what is missing now was told.
    Some(Config {
        capture: values.capture(args)?,
        udp_server,
        tcp_server,
        http,
        max_age: match values.yes("ENABLE_SPA_PACKET_AGING") {
            true => Some(values.number("MAX_SPA_PACKET_AGE")?),
            false => None,
        },
        digest_file: match values.yes("ENABLE_DIGEST_PERSISTENCE") {
            true => Some(values.path("DIGEST_FILE")?),
            false => None,
        },
        run_dir: run_dir?,
        pid_file: values.path("FWKNOP_PID_FILE")?,
        access: match values.path("ACCESS_FOLDER") {
            Some(folder) => AccessPlace::Folder(folder),
            None => AccessPlace::File(values.path("ACCESS_FILE")?),
        },
        syslog: values.syslog()?,
        verbose: values.number("VERBOSE").unwrap_or(0).saturating_add(args.verbose),
        locale: values.text("LOCALE").filter(|name| !name.to_ascii_uppercase().starts_with("NONE")),
        destination_rule: values.yes("ENABLE_DESTINATION_RULE"),
        rule_prepend: values.yes("ENABLE_RULE_PREPEND"),
        nat_dns: values.yes("ENABLE_NAT_DNS"),
        rules_check_threshold: values.number("RULES_CHECK_THRESHOLD")?,
        command_timeout,
        firewall_exe: raw.explicit("FIREWALL_EXE").map(PathBuf::from),
        sudo_exe: values.path("SUDO_EXE")?,
        gpg_exe: values.path("GPG_EXE")?,
        gpg_home: values.path("GPG_HOME_DIR")?,
        netfilter: netfilter?,
        ipfw: values.ipfw()?,
        pf_anchor: values.text("PF_ANCHOR_NAME")?,
        // Mistakes in these two were told by `check`.
        nft_input: raw.all("NFT_INPUT").filter_map(|text| text.parse().ok()).collect(),
        nft_default_drop: raw.explicit("NFT_DEFAULT_DROP").and_then(|text| text.parse().ok()),
        listener_user: values.text("LISTENER_USER"),
        sandbox: match values.text("SANDBOX")?.to_ascii_lowercase().as_str() {
            "require" => Sandbox::Require,
            _ => Sandbox::Default,
        },
    })
}

/// Which build of the original would have this firewall; `None`: its iptables build.
fn build(raw: &RawConfig) -> Option<&'static str> {
    match Path::new(raw.explicit("FIREWALL_EXE")?).file_name()?.to_str()? {
        "firewall-cmd" => Some(FIREWALLD),
        "ipfw" => Some(IPFW),
        "pfctl" => Some(PF),
        _ => None,
    }
}

struct Values<'a> {
    raw: &'a RawConfig,
    build: Option<&'static str>,
    /// Whether a server is to start.
    serves: bool,
    complaints: &'a mut Complaints,
}

impl Values<'_> {
    fn effective(&self, name: &str) -> Option<Cow<'_, str>> {
        self.raw.effective(name)
    }

    fn text(&self, name: &str) -> Option<String> {
        self.effective(name).map(Cow::into_owned)
    }

    /// Makes a path absolute: the working directory changes when we go into the background.
    fn path(&self, name: &str) -> Option<PathBuf> {
        let text = self.text(name)?;
        Some(std::path::absolute(&text).unwrap_or_else(|_| text.into()))
    }

    fn yes(&self, name: &str) -> bool {
        let Some(text) = self.effective(name) else { return false };
        match find(name).map(|setting| &setting.kind) {
            Some(Kind::UnlessNo) => !says_no(&text),
            _ => says_yes(&text),
        }
    }

    fn number(&self, name: &str) -> Option<u32> {
        let Kind::Number(range) = &find(name)?.kind else { return None };
        Number::read(&self.effective(name)?).within(range)
    }

    fn tell(&mut self, name: &str, complaint: Complaint) {
        let complaint = self.raw.locate(name, complaint);
        self.complaints.push(complaint);
    }

    /// Tells what only a server cannot do with.
    fn obstacle(&mut self, name: &str, mut complaint: Complaint) {
        if !self.serves {
            complaint.severity = Severity::Warning;
        }
        self.tell(name, complaint);
    }

    /// Complains about what a value cannot be, whether it is going to be used or not.
    fn check(&mut self, setting: &Setting) {
        let name = setting.name;
        let Some(text) = self.raw.explicit(name).map(str::to_owned) else { return };
        let complaint = match &setting.kind {
            Kind::Number(range) => number_mistake(name, &text, *range.start(), *range.end()),
            Kind::OneOf(words) => one_of_mistake(name, &text, words),
            Kind::Yes | Kind::UnlessNo if !says_yes(&text) && !says_no(&text) => {
                let read = if self.yes(name) { 'Y' } else { 'N' };
                Some(Complaint::warning(format!("{name} value '{text}' is read as {read}")).hint("write Y or N"))
            }
            Kind::Chain => match text.parse::<ChainSpec>() {
                Err(BadChain::Shape { why, .. }) if !has_chain_shape(&text) => {
                    Some(Complaint::error(BadChain::about(name)).hint(why))
                }
                _ => None,
            },
            Kind::NftChain => self.nft_chain_mistake(name),
            Kind::Ports => text.parse::<spa::PortList>().err().map(|_| {
                Complaint::error(format!("[*] {name} '{text}' is not a list of ports"))
                    .hint("write as in tcp/22,udp/62201")
            }),
            Kind::Networks => text.parse::<Networks>().err().map(|error| {
                Complaint::error(format!("[*] {name} '{text}' is not a list of networks: {error}"))
                    .hint("write as in 10.0.0.80, 192.168.0.0/16")
            }),
            _ => None,
        };
        if let Some(mut complaint) = complaint {
            if matches!(setting.origin, Origin::Build(build) if self.build != Some(build)) {
                complaint.severity = Severity::Warning;
            }
            self.tell(name, complaint);
        }
    }

    fn nft_chain_mistake(&self, name: &str) -> Option<Complaint> {
        let mistakes = self.raw.all(name).map(str::parse::<crate::firewall::settings::NftInput>);
        let why = mistakes.filter_map(Result::err).next()?;
        Some(Complaint::error(format!("[*] {name}: {why}")))
    }

    fn http(&mut self) -> Http {
        let x_forwarded_for = self.yes("ENABLE_X_FORWARDED_FOR");
        // A mistake in it was told by `check`.
        let trusted_proxies: Option<Networks> = self.raw.explicit("TRUSTED_PROXIES").and_then(|text| text.parse().ok());
        if x_forwarded_for && trusted_proxies.is_none() && self.serves {
            let text =
                "ENABLE_X_FORWARDED_FOR is Y and TRUSTED_PROXIES is not set: the header is believed whoever sends it";
            let hint = "set TRUSTED_PROXIES to the addresses of your proxies, as in 10.0.0.80";
            self.tell("ENABLE_X_FORWARDED_FOR", Complaint::warning(text).hint(hint));
        }
        Http { any_user_agent: self.yes("ALLOW_ANY_USER_AGENT"), x_forwarded_for, trusted_proxies }
    }

    /// A port that is going to be used, and so must exist.
    fn port(&mut self, name: &str) -> Option<NonZeroU16> {
        let number = self.number(name)?;
        let port = u16::try_from(number).ok().and_then(NonZeroU16::new);
        if port.is_none() {
            let complaint = Complaint::error(format!("[*] var {name} value '{number}' not in the range 1-65535"));
            self.obstacle(name, complaint.hint("there is no such port"));
        }
        port
    }

    fn capture(&self, args: &Args) -> Option<Capture> {
        let microseconds = |name| Some(Duration::from_micros(self.number(name)?.into()));
        Some(Capture {
            interface: self.text("PCAP_INTF")?,
            file: self.path("PCAP_FILE"),
            promiscuous: self.yes("ENABLE_PCAP_PROMISC"),
            filter: self.text("PCAP_FILTER").filter(|filter| !filter.is_empty()),
            any_direction: args.any_direction || self.yes("ENABLE_PCAP_ANY_DIRECTION"),
            snap_length: self.number("MAX_SNIFF_BYTES")?,
            exit_at_interface_down: self.yes("EXIT_AT_INTF_DOWN"),
            dispatch_count: self.number("PCAP_DISPATCH_COUNT")?,
            loop_sleep: microseconds("PCAP_LOOP_SLEEP")?,
            udp_wait: microseconds("UDPSERV_SELECT_TIMEOUT")?,
        })
    }

    fn run_dir(&mut self) -> Option<PathBuf> {
        let text = self.text("FWKNOP_RUN_DIR")?;
        if !text.starts_with('/') {
            self.tell("FWKNOP_RUN_DIR", Complaint::error(format!("Path '{text}' is not absolute.")));
            return None;
        }
        Some(text.into())
    }

    fn syslog(&self) -> Option<Syslog> {
        let facility = self.text("SYSLOG_FACILITY")?.to_ascii_uppercase();
        let local = facility.strip_prefix("LOG_LOCAL").and_then(|digit| digit.parse().ok());
        Some(Syslog { identity: self.text("SYSLOG_IDENTITY")?, local })
    }

    fn command_timeout(&mut self) -> Option<u32> {
        let text = self.text("CMD_EXEC_TIMEOUT")?;
        let number = Number::read(&text);
        let seconds = number.within(&(1..=u32::MAX)).filter(|_| !number.odd);
        if seconds.is_none() {
            let text = format!("CMD_EXEC_TIMEOUT value '{text}' is not a number of seconds and has no effect");
            self.tell("CMD_EXEC_TIMEOUT", Complaint::warning(text));
        }
        seconds
    }

    fn netfilter(&mut self) -> Option<Netfilter> {
        let word = if self.build == Some(FIREWALLD) { "FIREWD" } else { "IPT" };
        let yes = |values: &Self, middle: &str| values.yes(&middle.replace('*', word));
        let forwarding = yes(self, "ENABLE_*_FORWARDING");
        let local_nat = yes(self, "ENABLE_*_LOCAL_NAT");
        let snat = yes(self, "ENABLE_*_SNAT");
        let output_rules = yes(self, "ENABLE_*_OUTPUT");
        let nat = forwarding || local_nat;
        let mut chain = |kind, used| self.chain(&format!("{word}_{kind}_ACCESS"), used);
        // All six are looked at before the first mistake ends it.
        let (input, output) = (chain("INPUT", true), chain("OUTPUT", output_rules));
        let (forward, dnat) = (chain("FORWARD", nat), chain("DNAT", nat));
        let (snat_chain, masquerade) = (chain("SNAT", nat && snat), chain("MASQUERADE", nat && snat));
        Some(Netfilter {
            forwarding,
            local_nat,
            snat,
            snat_address: if snat { self.snat_address() } else { None },
            output_rules,
            flush_at_start: yes(self, "FLUSH_*_AT_INIT"),
            flush_at_exit: yes(self, "FLUSH_*_AT_EXIT"),
            comment_check: yes(self, "ENABLE_*_COMMENT_CHECK"),
            input: input?,
            output: output?,
            forward: forward?,
            dnat: dnat?,
            snat_chain: snat_chain?,
            masquerade: masquerade?,
        })
    }

    /// A chain definition. What does not have the shape of one was told by `check`; all else matters only where it is used.
    fn chain(&mut self, name: &str, used: bool) -> Option<ChainSpec> {
        let text = self.text(name)?;
        let mistake = match text.parse::<ChainSpec>() {
            Ok(chain) => return Some(chain),
            Err(mistake) => mistake,
        };
        if used && !text.trim_start().starts_with(',') {
            let too_high = |field: &str| Number::read(field).value > 65_536;
            let complaint = match &mistake {
                BadChain::Shape { why, .. } => Complaint::error(BadChain::about(name)).hint(*why),
                _ => Complaint::error(mistake.to_string()).hint("write a number from 0 to 65536"),
            };
            if !has_chain_shape(&text) {
                return None;
            } else if text.split(',').skip(3).any(too_high) {
                self.tell(name, complaint);
                return None;
            }
            // The original starts, and then no door ever opens.
            self.obstacle(name, complaint);
        }
        Some(ChainSpec { target: String::new(), ..ChainSpec::input() })
    }

    fn snat_address(&mut self) -> Option<IpAddr> {
        let text = self.text("SNAT_TRANSLATE_IP")?;
        let address: Option<Ipv4Addr> = text.parse().ok();
        if address.is_none() {
            let complaint = Complaint::error("Invalid IPv4 addr for SNAT_TRANSLATE_IP");
            self.tell("SNAT_TRANSLATE_IP", complaint.hint(format!("'{text}' is not an address like 192.0.2.1")));
        }
        address.map(IpAddr::V4)
    }

    fn ipfw(&self) -> Option<Ipfw> {
        // A mistake matters only where ipfw is used; otherwise nobody looks at what stands in its place.
        let number = |name, fallback| match self.number(name) {
            None if self.build != Some(IPFW) => Some(fallback),
            number => number,
        };
        Some(Ipfw {
            flush_at_start: self.yes("FLUSH_IPFW_AT_INIT"),
            flush_at_exit: self.yes("FLUSH_IPFW_AT_EXIT"),
            first_rule: number("IPFW_START_RULE_NUM", 10_000)?,
            most_rules: number("IPFW_MAX_RULES", 65_535)?,
            active_set: number("IPFW_ACTIVE_SET_NUM", 1)?,
            expire_set: number("IPFW_EXPIRE_SET_NUM", 2)?,
            purge_interval: number("IPFW_EXPIRE_PURGE_INTERVAL", 30)?,
            add_check_state: self.yes("IPFW_ADD_CHECK_STATE"),
        })
    }

    fn different_ipfw_sets(&mut self) {
        let active = self.number("IPFW_ACTIVE_SET_NUM");
        if self.build == Some(IPFW) && active != Some(0) && active == self.number("IPFW_EXPIRE_SET_NUM") {
            self.tell("IPFW_EXPIRE_SET_NUM", Complaint::error("[*] Cannot set identical ipfw active and expire sets."));
        }
    }
}

/// Six fields of letters, digits, underscores and blanks: all that the original demands of a definition that is not used.
fn has_chain_shape(text: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ' ' | ',');
    text.chars().all(legal) && text.matches(',').count() == 5
}

fn number_mistake(name: &str, text: &str, low: u32, high: u32) -> Option<Complaint> {
    let number = Number::read(text);
    match number.within(&(low..=high)) {
        Some(value) if number.odd => {
            let text = format!("{name} value '{text}' is read as {value}");
            Some(Complaint::warning(text).hint("write a number and nothing else"))
        }
        Some(_) => None,
        None if name == "VERBOSE" => {
            Some(Complaint::error(format!("[*] VERBOSE value '{text}' not in the range (>0)")))
        }
        None => Some(Complaint::error(format!("[*] var {name} value '{text}' not in the range {low}-{high}"))),
    }
}

fn one_of_mistake(name: &str, text: &str, words: &[&str]) -> Option<Complaint> {
    if words.iter().any(|word| word.eq_ignore_ascii_case(text)) {
        return None;
    }
    let complaint = match name {
        "SYSLOG_FACILITY" => Complaint::error(format!("Invalid SYSLOG_FACILITY setting '{text}'")),
        _ => Complaint::error(format!("[*] Invalid {name} setting '{text}'")),
    };
    Some(complaint.hint(format!("it can be {}", words.join(", "))))
}
