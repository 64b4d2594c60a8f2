//! GnuPG keys as the vectors want them, made once for all cases.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const KEYS: &str = "%no-protection
Key-Type: RSA
Key-Length: 2048
Key-Usage: sign
Subkey-Type: RSA
Subkey-Length: 2048
Subkey-Usage: encrypt
Name-Email: spaclient@example.net
Expire-Date: 0
%commit
Key-Type: RSA
Key-Length: 2048
Key-Usage: sign
Subkey-Type: RSA
Subkey-Length: 2048
Subkey-Usage: encrypt
Name-Email: spaserver@example.net
Expire-Date: 0
%commit
Key-Type: EDDSA
Key-Curve: ed25519
Key-Usage: sign
Subkey-Type: ECDH
Subkey-Curve: cv25519
Subkey-Usage: encrypt
Name-Email: eccserver@example.net
Expire-Date: 0
%commit
";

/// A directory of GnuPG with the three secret keys, which are trusted.
pub(crate) struct Ring(PathBuf);

impl Ring {
    /// Makes it; where there is no gpg there is none.
    pub(crate) fn make(folder: &Path) -> Option<Self> {
        if !Path::new("/usr/bin/gpg").is_file() {
            let why = "skipped: what needs GnuPG, which is not installed\n";
            std::io::stderr().write_all(why.as_bytes()).unwrap();
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{why}");
            return None;
        }
        let ring = Self(folder.join("gnupg"));
        fs::create_dir(&ring.0).unwrap();
        fs::set_permissions(&ring.0, fs::Permissions::from_mode(0o700)).unwrap();
        ring.gpg(&["--quiet", "--gen-key"], KEYS.as_bytes());
        ring.end_agent();
        Some(ring)
    }

    /// A copy of it, with an agent of its own.
    pub(crate) fn copy_to(&self, home: &Path) -> Self {
        let copied = Command::new("cp").arg("-a").args([&self.0, home]).status().unwrap();
        assert!(copied.success());
        Self(home.join("gnupg"))
    }

    /// The fingerprint of the primary key of this name.
    pub(crate) fn fingerprint(&self, name: &str) -> String {
        let listing = self.gpg(&["--with-colons", "--list-keys", name], b"");
        let listing = String::from_utf8(listing).unwrap();
        let line = listing.lines().find(|line| line.starts_with("fpr:")).unwrap();
        line.split(':').nth(9).unwrap().to_owned()
    }

    /// Runs gpg on it, which must succeed.
    pub(crate) fn gpg(&self, words: &[&str], input: &[u8]) -> Vec<u8> {
        let mut command = Command::new("/usr/bin/gpg");
        command.args(["--batch", "--homedir"]).arg(&self.0).args(words);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Ends the agent that gpg has started.
    pub(crate) fn end_agent(&self) {
        let ended = Command::new("gpgconf").arg("--homedir").arg(&self.0).args(["--kill", "gpg-agent"]).status();
        assert!(ended.unwrap().success());
    }
}
