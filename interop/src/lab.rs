//! The namespaces: made, swept, removed.
//!
//! Their names carry the process id of who made them, so that labs of parallel runs never meet, and so that a run that was
//! killed leaves nothing a later run could not recognise and clear away. Interfaces are created inside the
//! namespaces: the machine's own one never sees them.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

use crate::host::Host;

/// The client's address.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
/// Somebody else's address, on the same network.
pub const STRANGER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 11);
/// The server's address.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 20);
/// The client's IPv6 address.
pub const CLIENT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10);
/// Somebody else's IPv6 address.
pub const STRANGER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x11);
/// The server's IPv6 address.
pub const SERVER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x20);

const PREFIX: &str = "fwklab";
static SWEEP: Once = Once::new();
static COUNT: AtomicU32 = AtomicU32::new(0);

/// Four namespaces and a folder. All of it, with every process inside, goes away when this value does.
#[derive(Debug)]
pub struct Lab {
    name: String,
    folder: PathBuf,
    /// Who knocks: [`CLIENT`], [`CLIENT6`].
    pub client: Host,
    /// Who must stay outside: [`STRANGER`], [`STRANGER6`].
    pub stranger: Host,
    /// Who hides a port: [`SERVER`], [`SERVER6`].
    pub server: Host,
}

impl Lab {
    /// Builds a lab, or says why that is not possible here.
    ///
    /// # Errors
    /// Not root, or `ip` is missing or refuses.
    pub fn new() -> Result<Self, String> {
        if !geteuid().is_root() {
            return Err("needs root, to make network namespaces".into());
        }
        SWEEP.call_once(sweep);
        let (maker, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let name = format!("{PREFIX}-{maker}-{count}");
        let folder = std::env::temp_dir().join(&name);
        let lab = Self {
            client: Host::new(&name, "client", &folder),
            stranger: Host::new(&name, "stranger", &folder),
            server: Host::new(&name, "server", &folder),
            name,
            folder,
        };
        for host in [&lab.client, &lab.stranger, &lab.server] {
            host.furnish().map_err(|e| format!("cannot make the folders of a lab: {e}"))?;
        }
        let account = lab.server.add_account(1_000_000 + maker % 1_000_000 * 1_000 + count % 1_000);
        account.map_err(|e| format!("cannot make an account for a lab: {e}"))?;
        ip_batch(&lab.blueprint())?;
        Ok(lab)
    }

    /// A lab for a test. Without root the test is skipped, said on the real standard error; in CI that is a failure.
    ///
    /// # Panics
    /// In CI when there is no lab, and anywhere when `ip` refuses although we are root.
    pub fn or_skip() -> Option<Self> {
        match Self::new() {
            Ok(lab) => Some(lab),
            Err(why) => {
                let excused = !geteuid().is_root() && std::env::var("CI").as_deref() != Ok("true");
                assert!(excused, "no lab: {why}");
                // Not eprintln!, which the test harness would swallow.
                let _ = writeln!(std::io::stderr(), "skipped: {why}");
                None
            }
        }
    }

    /// The lab's own folder, for files a scenario needs.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What `ip -batch` reads to build it all in one go.
    fn blueprint(&self) -> String {
        let wire = format!("{}-wire", self.name);
        let mut text = format!("netns add {wire}\n");
        let mut inside = String::new();
        for (host, v4, v6) in
            [(&self.client, CLIENT, CLIENT6), (&self.stranger, STRANGER, STRANGER6), (&self.server, SERVER, SERVER6)]
        {
            let (netns, role) = (host.netns(), host.role());
            text += &format!("netns add {netns}\n");
            inside += &format!("-n {wire} link add {role} type veth peer name eth0 netns {netns}\n");
            inside += &format!("-n {wire} link set {role} master br0 up\n");
            inside += &format!("-n {netns} link set lo up\n");
            inside += &format!("-n {netns} addr add {v4}/24 dev eth0\n");
            inside += &format!("-n {netns} addr add {v6}/64 dev eth0 nodad\n");
            inside += &format!("-n {netns} link set eth0 up\n");
        }
        text += &format!("-n {wire} link add br0 type bridge mcast_snooping 0\n-n {wire} link set br0 up\n");
        text + &inside
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        demolish(&self.name);
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// `ip -batch` does not take `-n` per line, so each line is one call; they take a millisecond each.
fn ip_batch(lines: &str) -> Result<(), String> {
    for line in lines.lines() {
        let done = Command::new("ip")
            .args(line.split_whitespace())
            .stdin(Stdio::null())
            .output()
            .map_err(|e| format!("cannot run ip: {e}"))?;
        if !done.status.success() {
            return Err(format!("ip {line}: {}", String::from_utf8_lossy(&done.stderr).trim()));
        }
    }
    Ok(())
}

/// Ends the processes in the namespaces of one lab, then removes them. Only processes inside are ours to end.
fn demolish(name: &str) {
    for netns in namespaces().filter(|netns| netns.rsplit_once('-').is_some_and(|(lab, _)| lab == name)) {
        let inside = Command::new("ip").args(["netns", "pids", &netns]).output();
        for pid in inside.iter().flat_map(|out| {
            String::from_utf8_lossy(&out.stdout).into_owned().lines().map(str::to_owned).collect::<Vec<_>>()
        }) {
            if let Ok(pid) = pid.trim().parse() {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        let _ = Command::new("ip").args(["netns", "delete", &netns]).stderr(Stdio::null()).status();
    }
}

/// Clears away labs whose maker is gone: killed, or out of power.
fn sweep() {
    let mut stale: Vec<String> = namespaces()
        .filter_map(|netns| Some(netns.rsplit_once('-')?.0.to_owned()))
        .filter(|lab| maker_is_gone(lab))
        .collect();
    stale.dedup();
    for lab in stale {
        demolish(&lab);
        let _ = fs::remove_dir_all(std::env::temp_dir().join(lab));
    }
}

fn maker_is_gone(lab: &str) -> bool {
    let pid = lab.split('-').nth(1).and_then(|pid| pid.parse::<u32>().ok());
    pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
}

fn namespaces() -> impl Iterator<Item = String> {
    fs::read_dir("/run/netns")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with(PREFIX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::pings;

    #[test]
    fn everybody_reaches_the_server_and_nothing_is_left_behind() {
        let Some(lab) = Lab::or_skip() else { return };
        for host in [&lab.client, &lab.stranger] {
            assert!(pings(host, SERVER.into()), "{} does not reach the server", host.role());
            assert!(pings(host, SERVER6.into()), "{} does not reach the server over IPv6", host.role());
        }
        let (name, folder) = (lab.name.clone(), lab.folder.clone());
        drop(lab);
        assert_eq!(namespaces().filter(|netns| netns.starts_with(&format!("{name}-"))).count(), 0);
        assert!(!folder.exists());
    }

    #[test]
    fn a_lab_goes_away_when_its_scenario_panics() {
        let Some(lab) = Lab::or_skip() else { return };
        let name = lab.name.clone();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let lab = lab;
            std::panic::panic_any(lab.folder().to_path_buf());
        }));
        assert!(panicked.is_err());
        assert_eq!(namespaces().filter(|netns| netns.starts_with(&format!("{name}-"))).count(), 0);
    }

    #[test]
    fn labs_of_the_dead_are_recognised() {
        assert!(!maker_is_gone(&format!("{PREFIX}-{}-0", std::process::id())));
        assert!(maker_is_gone(&format!("{PREFIX}-4194304-0")), "no process can have this number");
        assert!(!maker_is_gone("fwklab-something-else"));
    }
}
