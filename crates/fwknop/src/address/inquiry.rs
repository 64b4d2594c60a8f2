//! Asking several services, one after the other, until one knows.
//!
//! Each has its time, and all together have theirs. Pages are asked before STUN servers, because an answer over HTTPS comes from whom we
//! asked; an answer over STUN may come from anybody on the way, so it is used with a warning. Who names a page of their own is asked about
//! that page only: nobody else is told that somebody is about to knock.
//!
//! ```text
//! https page ─✗─▶ https page ─✗─▶ https page ─✗─▶ STUN (warns) ─✗─▶ STUN ─✗─▶ one error with all the reasons
//! ```

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use super::{Unresolved, https::Browser, stun};
use crate::{output::Output, plan::Family};

/// Whom to ask, and how long to wait.
#[derive(Clone, Copy, Debug)]
pub struct Inquiry<'a> {
    /// Pages that answer with the bare address; https all.
    pub pages: &'a [&'a str],
    /// STUN servers, `host:port`.
    pub stun: &'a [&'a str],
    /// How long each may take.
    pub each: Duration,
    /// How long all together may take.
    pub all: Duration,
}

impl Default for Inquiry<'_> {
    /// Public services by independent houses, that answer with the bare address and nothing else.
    ///
    /// The original's own page comes first: it is what users of fwknop agreed to tell about their knocks, and what their firewalls let out.
    /// It knows IPv4 only; the two after it know both families.
    fn default() -> Self {
        Self {
            pages: &[super::DEFAULT_URL, "https://icanhazip.com", "https://api64.ipify.org"],
            stun: &["stun.cloudflare.com:3478", "stun.l.google.com:19302"],
            each: Duration::from_secs(3),
            all: Duration::from_secs(12),
        }
    }
}

impl Inquiry<'_> {
    /// Asks until one knows.
    ///
    /// # Errors
    /// [`Unresolved::Nobody`] with what everybody said.
    pub fn ask(self, agent: &str, family: Family, output: &mut Output<'_>) -> Result<IpAddr, Unresolved> {
        let end = Instant::now() + self.all;
        let mut reasons = Vec::new();
        let browser = if self.pages.is_empty() { Err(String::new()) } else { Browser::new() };
        let pages = self.pages.iter().map(|page| ((*page).to_owned(), Some(*page)));
        let servers = self.stun.iter().map(|server| (format!("stun:{server}"), None));
        for (name, page) in pages.chain(servers) {
            let within = self.each.min(end.saturating_duration_since(Instant::now()));
            if within.is_zero() {
                reasons.push(format!("{name}: no time left"));
                continue;
            }
            let told = match (page, &browser) {
                (Some(page), Ok(browser)) => browser.ask(page, agent, family, within),
                (Some(_), Err(why)) => Err(why.clone()),
                (None, _) => stun::ask(name.trim_start_matches("stun:"), family, within),
            };
            match told.and_then(|address| fitting(address, family)) {
                Ok(address) => {
                    if page.is_none() {
                        output.warn(format_args!(
                            "[-] Warning: the address {address} comes from {name}, and whoever is on the way can forge such an answer."
                        ));
                    }
                    output.info(format_args!("\n[+] Resolved external IP (via '{name}') as: {address}"));
                    return Ok(address);
                }
                Err(why) => reasons.push(format!("{name}: {}", why.escape_debug())),
            }
        }
        Err(Unresolved::Nobody(reasons.join("\n    ")))
    }
}

/// The address, if it is of the family that is needed.
fn fitting(address: IpAddr, family: Family) -> Result<IpAddr, String> {
    if family.has(address) { Ok(address) } else { Err(format!("{address} is no {family} address")) }
}
