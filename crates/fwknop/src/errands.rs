//! What a run does besides knocking, or instead: list stanzas, make keys, save a stanza, remember the command line.
//!
//! Each is one option; when it is its turn stands in the crate's story. How files are written is `rc`'s, `keygen`'s and `last`'s business.

use std::{
    error::Error,
    ffi::{OsStr, OsString},
    io::{self, BufRead as _},
};

use rand_core::CryptoRng;

use crate::{
    args::CommandLine,
    keygen::NewKeys,
    last,
    output::Output,
    plan::{Plan, Unfit},
    rc::{
        self, RcFile,
        save::{self, Overwrite, Variable},
    },
    settings::{Name, Settings},
};

/// `--stanza-list`.
pub(crate) fn list_stanzas(
    line: &CommandLine,
    home: Option<&OsStr>,
    output: &mut Output<'_>,
) -> Result<(), Box<dyn Error>> {
    let rc = RcFile::open_for_list(rc::locate(line, home)?)?;
    output.say(format_args!("The following stanzas are configured in {} :", rc.path().display()));
    rc.stanzas().for_each(|name| output.say(format_args!(" - {name}")));
    Ok(())
}

/// `--key-gen`: two new keys go where they are wanted, and nothing is sent.
pub(crate) fn generate(
    settings: &Settings,
    plan: &Plan,
    rc: Option<&RcFile>,
    rng: &mut impl CryptoRng,
    output: &mut Output<'_>,
) -> Result<(), Box<dyn Error>> {
    let keys = NewKeys::new(settings, plan.hmac_digest, rng)?;
    if settings.on(Name::SaveStanza) {
        save_stanza(settings, plan, rc, Some(&keys), output)?;
    }
    if let Some(path) = settings.path(Name::KeyGenFile) {
        keys.write(path)?;
        output.say(format_args!("[+] Wrote Rijndael and HMAC keys to: {}", path.display()));
    } else if let (true, Some(rc)) = (settings.on(Name::SaveStanza), rc) {
        output.say(format_args!("[+] Wrote Rijndael and HMAC keys to rc file: {}", rc.path().display()));
    } else {
        output.say(&*keys.lines());
    }
    Ok(())
}

/// `--save-rc-stanza`: what was typed goes into the rc file, asking about keys that are there.
pub(crate) fn save_stanza(
    settings: &Settings,
    plan: &Plan,
    rc: Option<&RcFile>,
    keys: Option<&NewKeys>,
    output: &mut Output<'_>,
) -> Result<(), Box<dyn Error>> {
    let (Some(rc), Some(typed)) = (rc, settings.top()) else {
        return Err(Unfit::NoServer.into()); // saving without an rc file has been refused before
    };
    let name = settings.text(Name::Stanza).unwrap_or(plan.route.server.as_str().into());
    let mut variables: Vec<Variable> = save::variables(typed)?;
    if let Some(keys) = keys {
        save::add_keys(&mut variables, keys);
    }
    let mut ask = |output: &mut Output<'_>, variable: &str| {
        output.say(format_args!("Variable '{variable}' found in stanza '{name}'. Overwrite [N/y] ? "));
        output.flush();
        let mut answer = String::new();
        // No answer, or none that can be read, is a no.
        io::stdin().lock().read_line(&mut answer).is_ok() && answer.starts_with('y')
    };
    let ask: Option<&mut Overwrite<'_>> = if settings.on(Name::ForceStanza) { None } else { Some(&mut ask) };
    save::save(rc.path(), &name, variables, ask, output)?;
    Ok(())
}

/// `--show-last`.
pub(crate) fn show_last(
    settings: &Settings,
    home: Option<&OsStr>,
    output: &mut Output<'_>,
) -> Result<(), Box<dyn Error>> {
    let remembered = last::recall(&last::locate(settings, home)?, output)?;
    output.say(format_args!("Last fwknop client command line: {}\n", String::from_utf8_lossy(&remembered)));
    Ok(())
}

/// `--last-cmd`: the words that are to be run instead.
pub(crate) fn last_command(
    settings: &Settings,
    home: Option<&OsStr>,
    output: &mut Output<'_>,
) -> Result<Vec<OsString>, Box<dyn Error>> {
    let remembered = last::recall(&last::locate(settings, home)?, output)?;
    output.info(format_args!("Executing: {}\n", String::from_utf8_lossy(&remembered)));
    Ok(last::words(&remembered))
}

/// Remembers the command line, unless it shall not be.
pub(crate) fn remember(settings: &Settings, home: Option<&OsStr>, words: &[OsString]) -> Result<(), Box<dyn Error>> {
    if settings.on(Name::NoSaveArgs) {
        return Ok(());
    }
    match last::locate(settings, home) {
        Err(last::LastError::NoHome) if settings.on(Name::Version) => Ok(()),
        path => Ok(last::remember(&path?, words)?),
    }
}
