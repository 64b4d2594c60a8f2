//! What the kernel knows of a process: CPU, wake-ups, memory, rights.

use std::fs;
use std::time::Duration;

/// A process, looked at through `/proc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vitals(
    /// Its process id.
    pub u32,
);

impl Vitals {
    /// Whether it is there and not a corpse waiting to be collected.
    pub fn alive(self) -> bool {
        fs::read_to_string(format!("/proc/{}/stat", self.0))
            .is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z')))
    }

    /// Its children.
    pub fn children(self) -> Vec<Self> {
        let list = fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.0)).unwrap_or_default();
        list.split_whitespace().filter_map(|pid| pid.parse().ok().map(Self)).collect()
    }

    /// A field of `/proc/PID/status`, by name; the first word of its value is in `.split_whitespace().next()`.
    ///
    /// # Panics
    /// When the process is gone or the kernel has no such field.
    pub fn status(self, field: &str) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).expect("the process runs");
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {field} in /proc/PID/status")).trim().to_owned()
    }

    /// Resident memory in KiB.
    pub fn resident_kib(self) -> u64 {
        let text = self.status("VmRSS");
        text.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
    }

    /// How often it went to sleep by itself, which is how often it was woken.
    pub fn sleeps(self) -> u64 {
        self.status("voluntary_ctxt_switches").parse().unwrap_or(0)
    }

    /// Processor time it has used, in user space and in the kernel, to the nanosecond.
    pub fn cpu(self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/schedstat", self.0)).unwrap_or_default();
        let nanoseconds = stat.split_whitespace().next().and_then(|number| number.parse().ok());
        Duration::from_nanos(nanoseconds.unwrap_or(0))
    }
}
