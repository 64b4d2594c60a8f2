//! The server: packets become grants, grants become firewall rules, and rules come to an end.
//!
//! One program, several processes; each is one thread around `poll`:
//!
//! ```text
//!  reader    opens and reads the files once, tells every mistake, hands over what they say, ends
//!  keyring   runs gpg as the owner of its home, one message at a time; only if a stanza uses gpg
//!     ⇅ questions with a message, answers with its text
//!  listener  hears packets and decides; has the keys and no rights          (engine, policy, replay, capture)
//!     │ orders, one line each
//!     ▼
//!  warden    checks each order again, opens and closes; has the firewall and no keys   (ledger, firewall)
//!     │ errands, one line each
//!     ▼
//!  runner    runs commands, where a stanza has some                                   (action)
//! ```
//!
//! The path of a packet: [`arrival`] → [`engine`] (with [`replay`] and [`policy`]) → [`order`] → `warden` →
//! [`grant`] → [`firewall`], and at its end [`ledger`] → [`firewall`] again.

pub mod access;
pub mod action;
pub mod args;
pub mod arrival;
mod background;
mod brief;
pub mod capture;
mod child;
pub mod clock;
mod commands;
pub mod config;
pub mod dump;
pub mod engine;
pub mod firewall;
pub mod forwarded;
pub mod grant;
mod handover;
mod hearing;
pub mod journal;
mod keygen;
pub mod keyring;
pub mod ledger;
mod listener;
pub mod order;
mod pidfile;
pub mod policy;
mod reader;
pub mod refusal;
pub mod replay;
pub mod report;
mod runfiles;
pub mod sandbox;
mod unserved;
mod warden;

use std::error::Error;
use std::ffi::OsString;
use std::process::ExitCode;

use child::Role;

/// The version that `-V` prints. Scripts compare it with versions of the original, so it names the one we replace.
pub const VERSION: &str = "2.6.10";

/// Runs the process that the words of the command line (without the program's name) ask for.
pub fn run(words: &[OsString]) -> ExitCode {
    let role = words.split_first().and_then(|(first, rest)| Some((Role::from_word(first.to_str()?)?, rest)));
    match role {
        Some((Role::Reader, rest)) => reader::run(rest),
        Some((Role::Listener, rest)) => listener::run(rest),
        Some((Role::Runner, _)) => action::runner::run(),
        Some((Role::Keyring, rest)) => keyring::run(rest),
        Some((Role::Daemon, rest)) => background::run(rest),
        None => commands::run(words),
    }
}

/// An error and its causes, on one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}
