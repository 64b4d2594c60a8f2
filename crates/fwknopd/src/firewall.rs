//! Opens doors in a firewall and shuts them again.
//!
//! ```text
//!                     ┌▶ iptables   one rule per door, through the iptables and ip6tables programs
//! Grant ─▶ Firewall ──┼▶ nft        one set element per door, over netlink, no program
//!                     └▶ memory     the fake of the tests
//! ```
//!
//! Not here: who may have a grant (`policy`), when it ends (`ledger`), what is written to the log
//! (`warden`): a back end hands back what it did, as values. Nothing here reads a clock.
use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use spa::UnixTime;
use thiserror::Error;

use crate::grant::{Grant, Rule};

pub mod chain;
pub mod choose;
pub mod iptables;
pub mod memory;
pub mod nft;
pub mod runner;
pub mod settings;
pub mod undecided;

pub use chain::{BadChain, ChainSpec};
pub use settings::Settings;

/// What a back end has to tell, for the log.
pub use crate::journal::Line as Notice;

/// Something that can let a visitor in and shut the door after them.
pub trait Firewall {
    /// What the log and the listings call it: `iptables` or `nftables`.
    fn name(&self) -> &str;

    /// Makes chains, sets and jump stand and sweeps what an earlier run left. To be called once,
    /// before anything else.
    ///
    /// # Errors
    ///
    /// When no door could be opened later: this ends the start.
    fn prepare(&mut self, now: UnixTime) -> Result<Vec<Notice>, FirewallError>;

    /// Opens the doors of a grant. When it returns, those in [`Opened::added`] are open, and those it
    /// leaves out were open already with the same end.
    ///
    /// # Errors
    ///
    /// When a door is not open; nothing may then be called open.
    fn open(&mut self, grant: &Grant, now: UnixTime) -> Result<Opened, FirewallError>;

    /// Makes sure that rules whose time has come are gone: `ended`, of which the ledger says so, and
    /// those in our chains that others made and marked with an end that is not after `now`.
    ///
    /// # Errors
    ///
    /// When some of them may still be there; the next call tries again.
    fn close(&mut self, ended: &[Rule], now: UnixTime) -> Result<Vec<Removed>, FirewallError>;

    /// Shuts doors before their time. That one of them is gone already is no error.
    ///
    /// # Errors
    ///
    /// When some of them may still be open.
    fn revoke(&mut self, rules: &[Rule]) -> Result<(), FirewallError>;

    /// The earliest end of the rules in our chains that we did not make, as of the last time we looked
    /// (at start, at each grant and close, after events): call [`Firewall::close`] then.
    fn foreign_end(&self) -> Option<UnixTime>;

    /// Readable when somebody changed the ruleset and [`Firewall::mend`] should look; `None` where the
    /// firewall cannot tell.
    fn events(&self) -> Option<BorrowedFd<'_>>;

    /// Puts back what others have taken away: chain, jump, and the rules of `open` that have not
    /// ended. Cheap when nothing is missing.
    ///
    /// # Errors
    ///
    /// When doors that should be open may not be.
    fn mend(&mut self, open: &[Rule], now: UnixTime) -> Result<Vec<Notice>, FirewallError>;

    /// The text below the title of `--fw-list` and `--fw-list-all`, every block after an empty line.
    ///
    /// # Errors
    ///
    /// When the firewall cannot be asked at all.
    fn list(&mut self, what: Listing) -> Result<String, FirewallError>;

    /// Takes everything of ours away, for `--fw-flush`. That nothing is there is no error.
    ///
    /// # Errors
    ///
    /// When something of ours may still be there.
    fn flush(&mut self) -> Result<(), FirewallError>;

    /// The clean exit: takes our chains away if the settings say so, and leaves them otherwise.
    ///
    /// # Errors
    ///
    /// When something of ours may still be there.
    fn retire(&mut self) -> Result<(), FirewallError>;

    /// What was done since it was last asked, command by command, for the log at debug level.
    fn trace(&mut self) -> Vec<Notice> {
        Vec::new()
    }
}

/// What [`Firewall::open`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// What had to be put right first, such as a jump that was gone.
    pub notices: Vec<Notice>,
    /// The rules that are new.
    pub added: Vec<Added>,
}

/// A rule that now stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// The door and its end.
    pub rule: Rule,
    /// The chain it is in.
    pub chain: String,
    /// What kind of rule it is, as the log names it: `access`.
    pub label: &'static str,
}

impl Added {
    /// The line of the output contract, section 2.7. It names all ports of the grant, in each of its lines.
    pub fn line(&self, grant: &Grant) -> String {
        let Self { rule, chain, label } = self;
        let anywhere = if grant.client.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
        format!(
            "Added {label} rule to {chain} for {} -> {anywhere} {}, expires at {}",
            grant.client, grant.ports, rule.until
        )
    }
}

/// A rule that is gone because its time had come. Its `Display` is the line for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// Its number in the listing before this pass, from 1.
    pub number: usize,
    /// The chain it was in.
    pub chain: String,
    /// The end it was marked with.
    pub end: UnixTime,
}

impl fmt::Display for Removed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, chain, end } = self;
        write!(f, "Removed rule {number} from {chain} with expire time of {end}")
    }
}

/// What [`Firewall::list`] shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// Our chains: `--fw-list`.
    Ours,
    /// Everything: `--fw-list-all`.
    All,
}

/// Why a firewall did not do what it was asked.
#[derive(Debug, Error)]
pub enum FirewallError {
    /// The firewall program ran and said no.
    #[error("{step}() Error {status} from cmd:'{command}': {output}")]
    Refused {
        /// What we were about to do, by the name the original's log has for it.
        step: &'static str,
        /// The program and its arguments.
        command: String,
        /// Its exit status; -1 if a signal ended it.
        status: i32,
        /// What it printed.
        output: String,
    },
    /// The firewall program could not be started.
    #[error("cannot run {program}; is FIREWALL_EXE right?")]
    CannotRun {
        /// Its path.
        program: String,
        /// The reason.
        source: io::Error,
    },
    /// The firewall program did not end in time and was stopped.
    #[error("'{command}' did not end within {limit:?} and was stopped")]
    TooSlow {
        /// The program and its arguments.
        command: String,
        /// How long it had.
        limit: Duration,
    },
    /// The kernel refused a change or a question.
    #[error("nftables: {doing}: {reason}")]
    Kernel {
        /// What we were about to do.
        doing: String,
        /// The kernel's own words where it has some, and the error.
        reason: String,
        /// The error number as an error.
        source: io::Error,
    },
    /// The netlink socket does not work.
    #[error("cannot talk to nftables: that takes CAP_NET_ADMIN, and a kernel that has it")]
    Socket(#[source] io::Error),
    /// There is no place for a door for this address, as for IPv6 where `ip6tables` is missing.
    #[error("no door can be opened for {client}: {reason}")]
    NoPlace {
        /// Who asked.
        client: std::net::IpAddr,
        /// What is missing.
        reason: String,
    },
    /// The settings or this machine's ruleset leave no place for a door; the text says what to do.
    #[error("{0}")]
    Unfit(String),
}
