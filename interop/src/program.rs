//! Which binary is meant, ours or the original's.

use std::path::{Path, PathBuf};

/// Who made the program that plays a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// The release build of this project.
    Ours,
    /// The distribution's package of the original, 2.6.10.
    Original,
}

impl Maker {
    /// The client program, `fwknop`.
    pub fn client(self) -> PathBuf {
        match self {
            Self::Ours => built("fwknop"),
            Self::Original => PathBuf::from("/usr/bin/fwknop"),
        }
    }

    /// The server program, `fwknopd`.
    pub fn server(self) -> PathBuf {
        match self {
            Self::Ours => built("fwknopd"),
            Self::Original => PathBuf::from("/usr/sbin/fwknopd"),
        }
    }
}

/// Where `cargo build --release` in the root of the project has put a program.
///
/// # Panics
/// When it has not been built: these tests never build it themselves, so that what they test is what was released.
fn built(name: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"));
    let path = target.join("release").join(name);
    let found = path.canonicalize();
    found.unwrap_or_else(|_| panic!("{} is not there; build it first: cargo build --release", path.display()))
}
