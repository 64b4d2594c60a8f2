//! Opens a file with settings, and says if others could read or change it: the one module here that touches the disk.
//!
//! Kind, mode and owner are those of the file that was opened, not of whatever its name means a moment later. A wrong mode or
//! owner is a warning, as in the original; what is not a regular file is refused. The text is wiped when dropped: it may hold keys.

use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, Read},
    path::Path,
};

use zeroize::Zeroizing;

use crate::complaint::Complaint;

/// The largest file that is read, in bytes. Nobody writes so many stanzas; a mistaken path may be larger.
pub const LARGEST: u64 = 16 << 20;

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// There is none.
    #[error("there is no such file")]
    Missing,
    /// A directory, a device, a pipe…
    #[error("not a regular file")]
    Kind,
    /// More than [`LARGEST`] bytes.
    #[error("larger than {LARGEST} bytes")]
    Large,
    /// The system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A file's text, and the warnings about its mode and owner.
#[derive(Debug)]
pub struct Opened {
    /// Every byte of it.
    pub text: Zeroizing<Vec<u8>>,
    /// [`warnings`] about it.
    pub warnings: Vec<Complaint>,
}

/// Opens and reads a file; links are followed, and nothing is waited for.
///
/// # Errors
/// If it is missing, not a regular file, too large or cannot be read.
pub fn read(path: &Path) -> Result<Opened, Unreadable> {
    let file = open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Unreadable::Missing,
        _ => Unreadable::Io(error),
    })?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(Unreadable::Kind);
    }
    if metadata.len() > LARGEST {
        return Err(Unreadable::Large);
    }
    // Room for all of it at once: a buffer that grows leaves pieces of keys behind.
    let mut text = Zeroizing::new(Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0) + 1));
    file.take(LARGEST).read_to_end(&mut text)?;
    Ok(Opened { text, warnings: warnings(path, &metadata) })
}

/// What the original says about a file's kind, mode and owner, in its order; all of it is advice.
/// Spec: client.md 5.2, output-contract.md 2.4.
#[must_use]
pub fn warnings(path: &Path, metadata: &Metadata) -> Vec<Complaint> {
    let name = path.display();
    let mut told = Vec::new();
    if !metadata.is_file() {
        told.push(format!("[-] file: {name} is not a regular file or symbolic link."));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        if metadata.mode() & 0o777 != 0o600 {
            told.push(format!("[-] file: {name} permissions should only be user read/write (0600, -rw-------)"));
        }
        if metadata.uid() != rustix::process::getuid().as_raw() {
            told.push(format!("[-] file: {name} not owned by current effective user id"));
        }
    }
    told.into_iter().map(|text| Complaint::warning(text).of(path)).collect()
}

#[cfg(unix)]
fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    // A pipe that nobody writes to would keep us here.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().try_into().unwrap_or_default();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

#[cfg(not(unix))]
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).open(path)
}

#[cfg(all(test, unix))]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn a_private_file_is_read_without_a_word() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        fs::write(&path, "x y\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let opened = read(&path).unwrap();
        assert_eq!(*opened.text, b"x y\n");
        assert_eq!(opened.warnings, []);
    }

    #[test]
    fn any_other_mode_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        fs::write(&path, "").unwrap();
        for mode in [0o400, 0o640, 0o644, 0o700] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let told = read(&path).unwrap().warnings;
            let expected =
                format!("[-] file: {} permissions should only be user read/write (0600, -rw-------)", path.display());
            assert_eq!(told.first().map(ToString::to_string), Some(expected), "{mode:o}");
        }
    }

    #[test]
    fn what_is_not_a_file_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(read(folder.path()), Err(Unreadable::Kind)));
        assert!(matches!(read(&folder.path().join("none")), Err(Unreadable::Missing)));
        assert!(matches!(read(Path::new("/dev/null")), Err(Unreadable::Kind)));
    }
}
