//! The client: arguments and an rc stanza become one SPA packet on the wire.
//!
//! [`run`] is the story, from top to bottom; each step has its module. Errors go to standard error, everything else to standard output, and
//! a quiet knock that succeeds prints nothing. Exit status 0 is success, 1 everything else. Spec: client.md.
//!
//! ```text
//! arguments ────┐
//! rc [named] ───┼──▶ Settings ──▶ Plan ──▶ Knock ─────▶ Sealed ─────▶ one send
//! rc [default] ─┘    optional     fits     + now, rng   + keys, rng   udp │ tcp │ http │ raw │ none
//! ```
//!
//! | step | module |
//! | --- | --- |
//! | what can be set, and what is | [`settings`], [`args`], [`rc`] |
//! | does it fit together | [`plan`] |
//! | whom to let in, and where the keys come from | [`address`], [`keys`], [`keyfile`], [`passphrase`] |
//! | what is asked | [`message`], [`user`] |
//! | encrypting, showing and sending | [`packet`], [`gpg`], [`dump`], [`transport`] |
//! | runs that send nothing | [`keygen`], [`last`], [`manual`], `phone` |
//! | runs that also go in | `visit` |
#![forbid(unsafe_code)]

pub mod address;
pub mod args;
pub mod dump;
mod errands;
pub mod failure;
pub mod gpg;
pub mod keyfile;
pub mod keygen;
pub mod keys;
pub mod last;
pub mod manual;
pub mod message;
pub mod output;
pub mod packet;
pub mod passphrase;
mod phone;
pub mod plan;
pub mod rc;
pub mod settings;
pub mod transport;
pub mod user;
mod visit;

use std::{
    error::Error,
    ffi::{OsStr, OsString},
    io::{self, BufWriter, Write},
    path::Path,
    process::ExitCode,
};

use rand_core::{CryptoRng, UnwrapErr};

use crate::{
    args::CommandLine,
    output::Output,
    passphrase::Keyboard,
    plan::Plan,
    rc::{RcError, RcFile},
    settings::{Name, Settings},
    visit::Visit,
};

/// Runs the client with the words of its command line, the program's name first.
pub fn run(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let words: Vec<OsString> = words.into_iter().collect();
    let ended = match Visit::read(&words) {
        // Standard output may belong to the visitor.
        Some(Ok(visit)) => return visit.pay(|knock| sessions(knock, &mut io::stderr())),
        Some(Err(misuse)) => {
            Output::new(&mut io::sink(), &mut io::stderr()).warn(misuse);
            Err(Told)
        }
        None => sessions(words, &mut BufWriter::new(io::stdout())),
    };
    if ended.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One command line, or the remembered one that it asks for.
fn sessions(mut words: Vec<OsString>, out: &mut dyn Write) -> Result<(), Told> {
    let mut err = io::stderr();
    let mut output = Output::new(out, &mut err);
    let mut is_repetition = false;
    let ended = loop {
        match session(&words, is_repetition, &mut output) {
            Ok(End::Done) => break Ok(()),
            Ok(End::Again(_)) if is_repetition => {
                output.warn("[*] The remembered command line asks for the remembered command line.");
                break Err(Told);
            }
            Ok(End::Again(remembered)) => (words, is_repetition) = (remembered, true),
            Err(failure) => {
                let told = failure.to_string();
                if !told.is_empty() {
                    output.warn(told);
                }
                break Err(Told);
            }
        }
    };
    output.flush();
    ended
}

/// How a session ends well.
enum End {
    /// All is done.
    Done,
    /// `--last-cmd`: these words are to be run instead.
    Again(Vec<OsString>),
}

/// What was wrong has been told already.
#[derive(Debug, thiserror::Error)]
#[error("")]
struct Told;

/// One command line, from its words to a packet that is on its way. Spec: client.md section 1.
fn session(words: &[OsString], is_repetition: bool, output: &mut Output<'_>) -> Result<End, Box<dyn Error>> {
    output.set_level(0);
    if let Some(text) = manual::subcommand(words) {
        output.say(text.trim_end());
        return Ok(End::Done);
    }
    let home = std::env::var_os("HOME");
    let home = home.as_deref();
    let posixly_correct = std::env::var_os("POSIXLY_CORRECT").is_some();
    if let Some(wish) = phone::Wish::read(words) {
        let line = CommandLine::parse(wish.options.iter().cloned(), posixly_correct);
        if let Some(misuse) = line.misuse.first() {
            return Err(format!("fwknop: {misuse}").into());
        }
        refuse_without_rc(&line)?;
        let (settings, _) = settings(&line, home, output)?;
        phone::show(&wish, &settings, output)?;
        return Ok(End::Done);
    }
    let line = CommandLine::parse(words.iter().skip(1).cloned(), posixly_correct);
    for misuse in &line.misuse {
        output.warn(format_args!("fwknop: {misuse}"));
    }
    if line.has(Name::Help) {
        output.say(manual::usage().trim_end_matches('\n'));
        output.say("");
        return Ok(End::Done);
    }
    output.set_level(line.verbosity());
    refuse_without_rc(&line)?;
    if line.has(Name::ListStanzas) {
        errands::list_stanzas(&line, home, output)?;
        return Ok(End::Done);
    }
    if !line.misuse.is_empty() {
        output.say(manual::usage().trim_end_matches('\n'));
        output.say("");
        return Err(Told.into());
    }

    let (settings, rc) = settings(&line, home, output)?;
    if let Some(level) = settings.number(Name::Verbose) {
        output.set_level(level);
    }
    let plan = Plan::new(&settings, output)?;
    let mut rng = UnwrapErr(getrandom::SysRng);
    if settings.on(Name::KeyGen) {
        errands::generate(&settings, &plan, rc.as_ref(), &mut rng, output)?;
        return Ok(End::Done);
    }
    if settings.on(Name::SaveStanza) {
        errands::save_stanza(&settings, &plan, rc.as_ref(), None, output)?;
    }
    if settings.on(Name::LastCommand) {
        return errands::last_command(&settings, home, output).map(End::Again);
    }
    if settings.on(Name::ShowLast) {
        errands::show_last(&settings, home, output)?;
        return Ok(End::Done);
    }
    if !is_repetition {
        errands::remember(&settings, home, words)?;
    }
    if settings.on(Name::Version) {
        output.say(manual::version());
        return Ok(End::Done);
    }
    knock(&settings, plan, &mut rng, output)?;
    Ok(End::Done)
}

/// What cannot be had without an rc file.
fn refuse_without_rc(line: &CommandLine) -> Result<(), Box<dyn Error>> {
    let refused = [
        (Name::SaveStanza, "Cannot save an rc stanza in --no-rc-file mode."),
        (Name::Stanza, "Cannot set stanza name in --no-rc-file mode."),
        (Name::ListStanzas, "Cannot list stanzas in --no-rc-file mode."),
    ];
    match refused.into_iter().find(|(name, _)| line.has(Name::NoRcFile) && line.has(*name)) {
        Some((_, told)) => Err(told.into()),
        None => Ok(()),
    }
}

/// All layers: the stanzas that are asked for, and the command line.
fn settings(
    line: &CommandLine,
    home: Option<&OsStr>,
    output: &mut Output<'_>,
) -> Result<(Settings, Option<RcFile>), Box<dyn Error>> {
    let mut settings = Settings::default();
    let mut rc = None;
    let path = match rc::locate(line, home) {
        _ if line.has(Name::NoRcFile) => None,
        // Nobody needs a home directory to know a version (D32).
        Err(RcError::NoHome) if line.has(Name::Version) => None,
        found => Some(found?),
    };
    let saves = line.has(Name::SaveStanza);
    let wanted = line.value(Name::Stanza).filter(|_| !saves).map(OsStr::to_string_lossy);
    let mut named = None;
    if let Some(path) = path {
        let file = RcFile::open(path, output)?;
        if let Some(default) = file.stanza("default", output)? {
            settings.push(default);
        }
        if let Some(wanted) = &wanted {
            named = file.stanza(wanted, output)?;
        }
        rc = Some(file);
    }
    let is_missing = named.is_none();
    settings.extend(named);
    settings.push(line.layer()?);
    match wanted {
        Some(wanted) if is_missing => Err(format!("Named configuration stanza: [{wanted}] was not found.").into()),
        _ => Ok((settings, rc)),
    }
}

/// Puts the packet together, shows it, and sends it.
fn knock(
    settings: &Settings,
    mut plan: Plan,
    rng: &mut impl CryptoRng,
    output: &mut Output<'_>,
) -> Result<(), Box<dyn Error>> {
    let knock = packet::knock(settings, &plan, rng, output)?;
    let mut keyboard = Keyboard::new(settings.number(Name::Descriptor));
    let packet = packet::seal(settings, &plan, knock, &mut keyboard, rng, output)?;
    if plan.test || output.is_verbose() {
        output.say(packet.fields());
    }
    if let Some(path) = settings.path(Name::PacketFile) {
        packet::write(Path::new(path), packet.text(), settings.on(Name::AppendPacket))?;
    }
    let route = &mut plan.route;
    if settings.on(Name::RandomPort) {
        route.port = message::random_port(rng);
    }
    if route.transport.is_raw() {
        route.source_port = route.source_port.or_else(|| Some(message::random_port(rng)));
    }
    transport::send(route, plan.test, packet.text(), rng, output)?;
    if plan.test {
        packet.read_back(output)?;
    }
    Ok(())
}
