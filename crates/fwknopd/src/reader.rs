//! The process that opens and reads the configuration, once, and ends.
//!
//! It tells every mistake of all files, and hands over only what has none: to the warden without keys, on its standard
//! output, and to the listener with keys, through the pipe it was given. No other process of ours opens these files, and
//! the keys pass nobody on their way.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write as _};
use std::process::ExitCode;

use fwknop_conf::complaint::{Complaint, Complaints};
use jiff::tz::TimeZone;
use thiserror::Error;

use crate::access::{self, RawStanza, Stanza, StanzaKeys};
use crate::args::Args;
use crate::brief::{self, Generation};
use crate::config::{Config, RawConfig};
use crate::handover::Handover;
use crate::journal::Level;
use crate::report::{self, Report};
use crate::unserved;

#[derive(Debug, Error)]
enum ReaderError {
    #[error("the reader is started by fwknopd itself; its standard input is no hand-over")]
    NotStartedByUs,
    #[error("cannot hand over the configuration")]
    Handover(#[from] io::Error),
}

/// Reads, tells, hands over.
pub fn run(words: &[OsString]) -> ExitCode {
    match read(words) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE, // what is wrong was told
        Err(error) => {
            // Without a warden there is nobody to tell.
            let _ = report::log(io::stdout(), Level::Error, crate::chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn read(words: &[OsString]) -> Result<bool, ReaderError> {
    let Ok(Some(Handover::Keys(keys))) = Handover::receive(io::stdin()) else {
        return Err(ReaderError::NotStartedByUs);
    };
    let mut complaints = Complaints::new();
    let files = files(&Args::trusted(words), &mut complaints);
    tell(&complaints)?;
    let Some((settings, stanzas)) = files.filter(|_| complaints.errors() == 0) else { return Ok(false) };

    let generation = Generation::new();
    let without_keys: Vec<_> = stanzas.iter().map(RawStanza::without_keys).collect();
    let public = brief::write(&generation, &settings, &without_keys);
    Report::Policy { generation: generation.to_string(), bytes: public.len() }.send(io::stdout())?;
    io::stdout().write_all(public.as_bytes())?;
    io::stdout().flush()?;
    let secret = brief::write(&generation, &settings, &stanzas);
    File::from(keys).write_all(secret.as_bytes())?;
    Ok(true)
}

/// Everything the files say, and what is wrong with it.
fn files(args: &Args, complaints: &mut Complaints) -> Option<(RawConfig, Vec<RawStanza>)> {
    let (settings, config) = Config::load(args, complaints)?;
    let stanzas = access::read(&config, complaints);
    let zone = TimeZone::system();
    for (number, raw) in (1..).zip(&stanzas) {
        let keys = StanzaKeys::new(raw, complaints);
        if keys.is_some_and(|keys| keys.open_without_hmac()) {
            complaints.push(weak(raw, number));
        }
        let stanza = Stanza::new(raw, number, &config, &zone, complaints);
        complaints.extend(stanza.iter().flat_map(|stanza| unserved::of_stanza(stanza, raw)));
    }
    complaints.extend(unserved::of_settings(&config));
    Some((settings, stanzas))
}

/// It works, as in the original, but a packet without HMAC can be altered, its key guessed at leisure, and anybody can make
/// gpg work.
fn weak(raw: &RawStanza, number: u32) -> Complaint {
    let text = format!("Warning: stanza #{number} has no HMAC key, so its packets are not authenticated");
    let hint = "add an HMAC_KEY_BASE64 as fwknop --key-gen prints it, here and on the client";
    raw.locate("SOURCE", Complaint::warning(text)).hint(hint)
}

fn tell(complaints: &Complaints) -> io::Result<()> {
    for complaint in complaints.iter() {
        for line in complaint.to_string().lines() {
            report::log(io::stdout(), complaint.severity, line)?;
        }
    }
    Ok(())
}
