//! Paths given as options: judged as the original does, without following a link.
//!
//! The same paths in fwknopd.conf are not checked here: what opens them will say so.

use std::fs;

use fwknop_conf::complaint::{Complaint, Complaints};

use super::Args;

enum Kind {
    File,
    Folder,
    Program,
}

/// Setting, what it has to be, and the refusal: what stands before the path, and behind it.
const CHECKED: &[(&str, Kind, &str, &str)] = &[
    ("ACCESS_FILE", Kind::File, "[*] Invalid access.conf file path '", "'"),
    (
        "ACCESS_FOLDER",
        Kind::Folder,
        "[*] Invalid access folder directory '",
        "' could not lstat(), does not exist, or too large?",
    ),
    ("GPG_EXE", Kind::Program, "[*] gpg path '", "' could not lstat()/not executable?"),
    ("GPG_HOME_DIR", Kind::Folder, "[*] gpg home directory '", "' could not lstat(), does not exist, or too large?"),
    ("PCAP_FILE", Kind::File, "[*] Invalid pcap file path '", "'"),
    ("SUDO_EXE", Kind::Program, "[*] sudo path '", "' could not stat()/not executable?"),
];

impl Args {
    /// Complains about paths given as options that are missing or of the wrong kind. To be called after the configuration
    /// was read, as in the original.
    pub fn check_paths(&self, complaints: &mut Complaints) {
        for (name, kind, before, after) in CHECKED {
            for (_, path) in self.settings.iter().filter(|(given, _)| given == name) {
                if !fits(path, kind, complaints) {
                    complaints.push(Complaint::error(format!("{before}{path}{after}")));
                }
            }
        }
    }
}

fn fits(path: &str, kind: &Kind, complaints: &mut Complaints) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => {
            complaints.push(unreachable(path, &error));
            return false;
        }
    };
    match kind {
        Kind::File => metadata.is_file(),
        Kind::Folder => metadata.is_dir(),
        Kind::Program => metadata.is_file() && metadata.mode() & 0o100 != 0,
    }
}

/// What the original says when it cannot look at a path.
pub(crate) fn unreachable(path: &str, error: &std::io::Error) -> Complaint {
    let reason = error
        .raw_os_error()
        .map_or_else(|| error.to_string(), |code| nix::errno::Errno::from_raw(code).desc().to_owned());
    Complaint::error(format!("[-] unable to lstat() path: {path}: {reason}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn told(name: &'static str, path: &str) -> Vec<String> {
        let args = Args { settings: vec![(name, path.into())], ..Args::default() };
        let mut complaints = Complaints::new();
        args.check_paths(&mut complaints);
        complaints.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_missing_path_is_told_twice_as_in_the_original() {
        assert_eq!(
            told("PCAP_FILE", "/no/pcap"),
            [
                "[-] unable to lstat() path: /no/pcap: No such file or directory",
                "[*] Invalid pcap file path '/no/pcap'"
            ]
        );
    }

    #[test]
    fn links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("l");
        let link = link.to_str().unwrap();
        fs::write(folder.path().join("f"), "").unwrap();
        symlink(folder.path().join("f"), link).unwrap();
        assert_eq!(told("ACCESS_FILE", link), [format!("[*] Invalid access.conf file path '{link}'")]);
        assert_eq!(told("GPG_HOME_DIR", folder.path().to_str().unwrap()), Vec::<String>::new());
    }

    #[test]
    fn programs_must_be_executable() {
        assert_eq!(told("SUDO_EXE", "/etc/passwd").len(), 1);
        assert_eq!(told("PCAP_INTF", "/no").len(), 0);
    }
}
