//! What the command line asks for when it is no server: version, keys, dumps, status, listings.
//!
//! Each of these is a short-lived process that reads what it needs itself, prints, and ends with 0 or 1.

use std::ffi::OsString;
use std::process::ExitCode;

use fwknop_conf::complaint::Complaints;

use crate::args::{self, Args, Asked, Mode};
use crate::config::Config;
use crate::firewall::Listing;
use crate::firewall::choose::{self, choose};
use crate::{VERSION, background, dump, keygen, pidfile};

/// Does what the words ask for.
pub fn run(words: &[OsString]) -> ExitCode {
    let mut complaints = Complaints::new();
    let posixly_correct = std::env::var_os("POSIXLY_CORRECT").is_some();
    let asked = args::parse(words.iter().cloned(), posixly_correct, &mut complaints);
    print(&complaints);
    match asked {
        None => {
            print!("{}", args::usage());
            ExitCode::FAILURE
        }
        Some(Asked::Version) => {
            println!("fwknopd server {VERSION}, compiled for firewall bin: {}", choose::BUILT_IN);
            ExitCode::SUCCESS
        }
        Some(Asked::Help) => {
            print!("{}", args::usage());
            ExitCode::SUCCESS
        }
        Some(Asked::KeyGen(wanted)) => keygen::run(&wanted),
        Some(Asked::Run(args)) => with_configuration(words, &args),
    }
}

fn with_configuration(words: &[OsString], args: &Args) -> ExitCode {
    match args.mode {
        Mode::Serve if args.foreground => background::serve(words, args, false),
        Mode::Serve => background::start(words),
        Mode::Dump | Mode::ParseConfig | Mode::ParseDigestCache | Mode::ErrorCodes => dump::run(args),
        Mode::Status => with_settings(args, status),
        Mode::Restart => with_settings(args, restart),
        Mode::Kill => with_settings(args, kill),
        Mode::FirewallList => with_settings(args, |config| list(config, Listing::Ours)),
        Mode::FirewallListAll => with_settings(args, |config| list(config, Listing::All)),
        Mode::FirewallFlush => with_settings(args, flush),
    }
}

/// Reads the settings, but not the stanzas: what needs no stanza must work when they are broken.
fn with_settings(args: &Args, then: impl FnOnce(&Config) -> Result<ExitCode, Box<dyn std::error::Error>>) -> ExitCode {
    let mut complaints = Complaints::new();
    let loaded = Config::load(args, &mut complaints);
    print(&complaints);
    let Some((_, config)) = loaded else { return ExitCode::FAILURE };
    then(&config).unwrap_or_else(|error| {
        eprintln!("{}", crate::chain(&*error));
        ExitCode::FAILURE
    })
}

fn status(config: &Config) -> Result<ExitCode, Box<dyn std::error::Error>> {
    Ok(match pidfile::running(&config.pid_file)? {
        Some(pid) => {
            println!("Detected fwknopd is running (pid={pid}).");
            ExitCode::SUCCESS
        }
        None => {
            println!("No running fwknopd detected.");
            ExitCode::FAILURE
        }
    })
}

fn restart(config: &Config) -> Result<ExitCode, Box<dyn std::error::Error>> {
    Ok(match pidfile::running(&config.pid_file)? {
        Some(pid) => {
            pidfile::restart(pid)?;
            println!("Sent restart signal to fwknopd (pid={pid})");
            ExitCode::SUCCESS
        }
        None => {
            println!("No running fwknopd detected.");
            ExitCode::FAILURE
        }
    })
}

fn kill(config: &Config) -> Result<ExitCode, Box<dyn std::error::Error>> {
    Ok(match pidfile::running(&config.pid_file)? {
        Some(pid) => {
            let how = pidfile::end(&config.pid_file, pid)?;
            println!("Killed fwknopd (pid={pid}){}", how.ending());
            ExitCode::SUCCESS
        }
        None => {
            eprintln!("No running fwknopd detected.");
            ExitCode::FAILURE
        }
    })
}

fn list(config: &Config, what: Listing) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut chosen = choose(&config.firewall())?;
    let name = chosen.firewall.name().to_owned();
    match what {
        Listing::Ours => println!("Listing rules in fwknopd {name} chains..."),
        Listing::All => println!("Listing all {name} rules in applicable tables..."),
    }
    print!("{}", chosen.firewall.list(what)?);
    Ok(ExitCode::SUCCESS)
}

fn flush(config: &Config) -> Result<ExitCode, Box<dyn std::error::Error>> {
    println!("Deleting any existing firewall rules...");
    if let Some(pid) = pidfile::running(&config.pid_file)? {
        eprintln!(
            "a running fwknopd (pid={pid}) puts back the doors that are open; to close them, stop it first: fwknopd -K"
        );
    }
    choose(&config.firewall())?.firewall.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Complaints before logging is set up go to the error stream, in every mode.
fn print(complaints: &Complaints) {
    for complaint in complaints.iter() {
        eprintln!("{complaint}");
    }
}
