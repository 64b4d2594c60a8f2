//! The process that runs gpg: it belongs to one gpg home, and has no rights but its owner's.
//!
//! It gives up everything else, says that it is ready, and then answers one question after the other until the listener
//! has gone. It knows no policy and no keys; a passphrase is with it for as long as one run takes.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::ExitCode;

use nix::unistd::{Uid, User};
use thiserror::Error;

use super::message::{answer, read_question, receive, send};
use super::program::Program;
use super::{GpgFailure, check};
use crate::handover::Handover;
use crate::journal::Level;
use crate::report::{self, Report};
use crate::sandbox::{SandboxError, rights};

/// The user and group that own nothing: for a home that cannot be found.
const NOBODY: (u32, u32) = (65534, 65534);

/// Why a keyring ended before its time.
#[derive(Debug, Error)]
enum KeyringError {
    #[error("the keyring is started by fwknopd itself; its standard input is no hand-over")]
    NotStartedByUs,
    #[error("cannot give up rights")]
    Sandbox(#[from] SandboxError),
    #[error("cannot talk to the listener")]
    Listener(#[from] io::Error),
}

/// Runs the keyring of the home and program that `words` name, until the listener has gone.
pub(crate) fn run(words: &[OsString]) -> ExitCode {
    match serve(words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without a warden there is nobody to tell.
            let _ = report::log(io::stdout(), Level::Error, crate::chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn serve(words: &[OsString]) -> Result<(), KeyringError> {
    let ([home, exe], Ok(Some(Handover::Questions(questions)))) = (words, Handover::receive(io::stdin())) else {
        return Err(KeyringError::NotStartedByUs);
    };
    let program = Program::new(home.into(), exe.into());
    let (uid, gid) = owner(&program.home.home);
    rights::become_owner(uid, gid)?;
    tell_how_it_looks(&program)?;
    Report::Ready("keyring".to_owned()).send(io::stdout())?;
    answer_all(&program, &questions)
}

fn answer_all(program: &Program, questions: &OwnedFd) -> Result<(), KeyringError> {
    while let Some(packet) = receive(questions).map_err(io::Error::from)? {
        let outcome = match read_question(&packet) {
            Some((ciphertext, passphrase)) => program.open(ciphertext, passphrase),
            None => Err(GpgFailure::Decrypt("No such question".to_owned())),
        };
        drop(packet);
        match send(questions, &answer(&outcome)) {
            Ok(()) => {}
            Err(rustix::io::Errno::PIPE) => return Ok(()), // the listener did not wait for it
            Err(error) => return Err(KeyringError::Listener(error.into())),
        }
    }
    Ok(())
}

/// Who owns the home, and that user's own group.
fn owner(home: &Path) -> (u32, u32) {
    let Ok(found) = std::fs::metadata(home) else { return NOBODY };
    let user = User::from_uid(Uid::from_raw(found.uid())).ok().flatten();
    (found.uid(), user.map_or(found.gid(), |user| user.gid.as_raw()))
}

/// Nothing is refused here that the original starts with; but the log says what no packet will get past.
fn tell_how_it_looks(program: &Program) -> io::Result<()> {
    let home = program.home.home.display();
    let trouble = match check(&program.home.home, &program.home.exe) {
        Err(GpgFailure::Exe(path)) => Some(format!("Error setting GPG path {}: {NO_EXE}", path.display())),
        Err(_) => Some(format!("Error setting GPG keyring path to {home}: {NO_HOME}")),
        Ok(()) => match program.secret_keys() {
            Ok(0) => {
                Some(format!("{home} holds no secret GPG key that its owner can use, so no GPG packet can be opened"))
            }
            Ok(_) => None,
            Err(error) => Some(format!("cannot run {}: {error}", program.home.exe.display())),
        },
    };
    match trouble {
        Some(trouble) => report::log(io::stdout(), Level::Warning, trouble),
        None => Ok(()),
    }
}

/// What the original says of a program that is not there.
pub(crate) const NO_EXE: &str = "Unable to stat the given GPG executable";
/// What the original says of a home that is not there.
pub(crate) const NO_HOME: &str = "Unable to stat the given GPG home directory";
