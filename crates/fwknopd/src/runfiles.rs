//! The run folder and the digest file in it: made, checked and opened by the warden, before it gives up its rights.
//!
//! Both stay root's. The listener gets descriptors of the digest file, one to read and one to append, and can create,
//! rename or replace nothing. With `ENABLE_DIGEST_PERSISTENCE N` the "file" is a piece of memory that lives as long as the
//! warden, so that used packets are known across a reload, though not after a restart.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{MemfdFlags, memfd_create};
use thiserror::Error;

use crate::config::Config;
use crate::journal::{Journal, Level};
use crate::replay::HEADER;

/// Why the run folder or the digest file is of no use.
#[derive(Debug, Error)]
pub enum RunFilesError {
    /// Relative to what?
    #[error("Path '{0}' is not absolute.")]
    Relative(PathBuf),
    /// It is something else.
    #[error("Specified {what} directory: {path} is NOT a directory")]
    NotAFolder {
        /// `run` or `digest`.
        what: &'static str,
        /// Its path.
        path: PathBuf,
    },
    /// It cannot be made.
    #[error("Unable to create {what} directory: {path}")]
    Folder {
        /// `run` or `digest`.
        what: &'static str,
        /// Its path.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The digest file cannot be used; without it a used packet could be used again, so there is no start.
    #[error("Could not open digest cache: {path}; used packets could not be remembered, so nothing is started")]
    Digests {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

/// Makes the run folder if it is not there, and the folder of the digest file.
pub fn make_run_folder(config: &Config, journal: &mut Journal) -> Result<(), RunFilesError> {
    make_folder("run", &config.run_dir, journal)?;
    match config.digest_file.as_deref().and_then(Path::parent) {
        Some(folder) => make_folder("digest", folder, journal),
        None => Ok(()),
    }
}

fn make_folder(what: &'static str, path: &Path, journal: &mut Journal) -> Result<(), RunFilesError> {
    if path.is_relative() {
        return Err(RunFilesError::Relative(path.to_owned()));
    }
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => return Err(RunFilesError::NotAFolder { what, path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(RunFilesError::Folder { what, path: path.to_owned(), source }),
    }
    let shown = path.display();
    journal.write(Level::Warning, format_args!("{what} directory: {shown} does not exist. Attempting to create it."));
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|source| RunFilesError::Folder {
        what,
        path: path.to_owned(),
        source,
    })?;
    journal.write(Level::Info, format_args!("Successfully created {what} directory: {shown}"));
    Ok(())
}

/// The digest file, opened once for as long as the warden lives.
#[derive(Debug)]
pub struct Digests {
    appending: File,
}

impl Digests {
    /// Opens the file, and makes it with its header if it is not there. With `rotate` it is renamed to `…-old` first.
    pub fn open(config: &Config, rotate: bool, journal: &mut Journal) -> Result<Self, RunFilesError> {
        let failed = |path: &Path, source| RunFilesError::Digests { path: path.to_owned(), source };
        let Some(path) = config.digest_file.as_deref() else {
            let memory = memfd_create("digests", MemfdFlags::CLOEXEC);
            let memory = memory.map_err(|errno| failed(Path::new("memory"), errno.into()))?;
            return Ok(Self { appending: File::from(memory) });
        };
        let failed = |source| failed(path, source);
        if rotate {
            rename_to_old(path, journal);
        }
        let opened = File::options().read(true).append(true).create(true).mode(0o600).open(path);
        let mut appending = opened.map_err(failed)?;
        let found = appending.metadata().map_err(failed)?;
        if !found.is_file() {
            return Err(failed(io::Error::from(io::ErrorKind::InvalidInput)));
        }
        if found.len() == 0 {
            writeln!(appending, "{HEADER}").map_err(failed)?;
        }
        Ok(Self { appending })
    }

    /// A descriptor for appending.
    pub fn appending(&self) -> io::Result<OwnedFd> {
        Ok(self.appending.try_clone()?.into())
    }

    /// A descriptor for reading, at the beginning, with a position of its own.
    pub fn reading(&self) -> io::Result<OwnedFd> {
        Ok(File::open(format!("/proc/self/fd/{}", self.appending.as_raw_fd()))?.into())
    }
}

fn rename_to_old(path: &Path, journal: &mut Journal) {
    let mut old = path.as_os_str().to_owned();
    old.push("-old");
    journal.write(Level::Info, "Rotating digest cache file.");
    if let Err(error) = fs::rename(path, &old) {
        let (path, old) = (path.display(), Path::new(&old).display());
        journal.write(Level::Error, format_args!("Unable to rename digest file: {path} to {old}: {error}"));
    }
}
