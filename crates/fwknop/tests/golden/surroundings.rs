//! Where the cases run: a network and names of our own, made once for all of them.
//!
//! The test runs itself again behind `unshare`, in a session without a terminal; there it brings the loopback up and puts its own files over
//! `/etc/hosts`, `/etc/passwd` and `/etc/nsswitch.conf`. Nothing of it is seen outside.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use super::ring::Ring;

const INSIDE: &str = "FWKNOP_GOLDEN_INSIDE";

/// Whether we are inside.
pub(crate) fn are_ours() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs the test of this name inside.
pub(crate) fn enter(test: &str) {
    let unshare = ["-w", "unshare", "--net", "--mount"];
    let can = Command::new("setsid").args(unshare).arg("true").output().is_ok_and(|output| output.status.success());
    if !can {
        let why = "skipped: the golden cases need root, to unshare a network\n";
        std::io::stderr().write_all(why.as_bytes()).unwrap();
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{why}");
        return;
    }
    let status = Command::new("setsid")
        .args(unshare)
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(status.success(), "inside, the test failed");
}

/// What is shared by all cases.
pub(crate) struct Surroundings {
    folder: tempfile::TempDir,
    /// The program, where everybody can run it.
    pub(crate) program: PathBuf,
    /// GnuPG keys, if there is a gpg.
    pub(crate) ring: Option<Ring>,
}

impl Surroundings {
    /// Makes them.
    pub(crate) fn prepare() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for (command, arguments) in [("mount", &["--make-rprivate", "/"][..]), ("ip", &["link", "set", "lo", "up"])] {
            assert!(Command::new(command).args(arguments).status().unwrap().success(), "{command}");
        }
        let hosts = "127.0.0.1 localhost spaserver.example.net\n127.0.0.3 proxy.example.net\n";
        let passwd = "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n";
        for (name, text) in
            [("hosts", hosts), ("passwd", passwd), ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n")]
        {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            let over = Path::new("/etc").join(name);
            assert!(Command::new("mount").arg("--bind").args([&path, &over]).status().unwrap().success(), "{name}");
        }
        let program = folder.path().join("program");
        fs::copy(env!("CARGO_BIN_EXE_fwknop"), &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let ring = Ring::make(folder.path());
        Self { folder, program, ring }
    }

    /// A fresh home directory for one case.
    pub(crate) fn home(&self, id: &str) -> PathBuf {
        let home = self.folder.path().join("homes").join(id);
        let _old = fs::remove_dir_all(&home);
        fs::create_dir_all(&home).unwrap();
        own(&home);
        fs::set_permissions(&home, fs::Permissions::from_mode(0o755)).unwrap();
        home
    }
}

/// Gives a file to alice.
pub(crate) fn own(path: &Path) {
    std::os::unix::fs::chown(path, Some(1000), Some(1000)).unwrap();
}
