//! A home for gpg with keys of the vectors in it, that goes away with its agent.
#![allow(dead_code)] // each test binary uses its own part of it
use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The vectors' signatures were made before this; gpg is told that it is now, whatever the machine's clock says.
const THEN: &str = "1795400000";

pub(crate) struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    /// A home with all keys of `server` or `client`, and their owner trust; for `None` an empty one.
    pub(crate) fn new(side: Option<&str>) -> Self {
        // Not below the system's folder for temporary files alone: sockets have short names.
        let home = Self { folder: tempfile::Builder::new().prefix("gpg").tempdir().unwrap() };
        std::fs::create_dir(home.path()).unwrap();
        std::fs::set_permissions(home.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let Some(side) = side else { return home };
        let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/gpg").join(side);
        let mut files: Vec<_> = std::fs::read_dir(&keys).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files.retain(|file| file.extension() == Some(OsStr::new("asc")));
        home.must(
            &[&[OsStr::new("--import")], &files.iter().map(|file| file.as_os_str()).collect::<Vec<_>>()[..]].concat(),
            b"",
        );
        home.must(&[OsStr::new("--import-ownertrust"), keys.join("ownertrust.txt").as_os_str()], b"");
        home
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// Where the home is; others may be let in.
    pub(crate) fn around(&self) -> &Path {
        self.folder.path()
    }

    /// gpg as it was when the vectors were made.
    pub(crate) fn exe_of_then(&self) -> PathBuf {
        let exe = self.folder.path().join("gpg");
        if !exe.exists() {
            let script = format!("#!/bin/sh\nexec gpg --faked-system-time {THEN} \"$@\"\n");
            // Written by another process: a file that one of our threads writes cannot be executed by another's child.
            let line = format!("printf %s '{script}' >{0}.new && chmod 755 {0}.new && mv {0}.new {0}", exe.display());
            assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success());
        }
        exe
    }

    /// Runs gpg in this home.
    pub(crate) fn gpg<S: AsRef<OsStr>>(&self, words: &[S], input: &[u8]) -> Output {
        let mut gpg = Command::new("gpg");
        gpg.args(["--batch", "--no-tty", "--quiet", "--homedir"]).arg(self.path()).args(words);
        let mut gpg = gpg.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        gpg.stdin.take().unwrap().write_all(input).unwrap();
        gpg.wait_with_output().unwrap()
    }

    /// The same, and it must succeed.
    pub(crate) fn must<S: AsRef<OsStr>>(&self, words: &[S], input: &[u8]) -> Vec<u8> {
        let output = self.gpg(words, input);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let mut kill = Command::new("gpgconf");
        let _ = kill.arg("--homedir").arg(self.path()).args(["--kill", "gpg-agent"]).stderr(Stdio::null()).status();
    }
}
