//! A real sshd with its own host key, and a session that should live on when the door closes behind it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::host::Host;
use crate::lab::{Lab, SERVER};
use crate::scan::connects;
use crate::wall::Wall;

/// sshd on port 22 of the server: root may come in with the key of this lab, and by no other way.
#[derive(Debug)]
pub struct Sshd {
    process: Child,
    key: PathBuf,
}

/// An SSH session that is open: what is typed comes back, as long as the connection lives.
#[derive(Debug)]
pub struct Session {
    process: Child,
    keyboard: ChildStdin,
    screen: Receiver<String>,
}

impl Sshd {
    /// Starts it, and waits until it answers on the server's own loopback.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(lab: &Lab) -> Self {
        let folder = lab.folder().join("ssh");
        fs::create_dir_all(&folder).expect("the lab's folder can be written");
        let (host_key, key) = (folder.join("host_key"), folder.join("user_key"));
        for key in [&host_key, &key] {
            lab.server.must(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", &text(key)]);
        }
        fs::copy(key.with_extension("pub"), folder.join("authorized_keys")).expect("the key was made");
        // Many machines lock root's password, and sshd refuses locked accounts: it sees a shadow file of its own.
        let shadow = folder.join("shadow");
        fs::write(&shadow, "root:*:19000:0:99999:7:::\nsshd:!:19000::::::\n").expect("the lab's folder can be written");
        fs::set_permissions(&shadow, fs::Permissions::from_mode(0o600)).expect("the file was just written");
        let config = folder.join("sshd_config");
        let settings = format!(
            "HostKey {}\nAuthorizedKeysFile {}\nPermitRootLogin prohibit-password\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nPidFile none\nMaxStartups 1000\n",
            text(&host_key),
            text(&folder.join("authorized_keys")),
        );
        fs::write(&config, settings).expect("the lab's folder can be written");
        let log = File::create(folder.join("sshd.log")).expect("the lab's folder can be written");
        let start = "mount --bind \"$1\" /etc/shadow && exec /usr/sbin/sshd -D -e -f \"$2\"";
        let process = lab.server.start(&["sh", "-c", start, "sh", &text(&shadow), &text(&config)], |command| {
            command.stderr(log);
        });
        let sshd = Self { process, key };
        let up = crate::eventually(Duration::from_secs(5), || {
            connects(&lab.server, [127, 0, 0, 1], 22, Duration::from_millis(100))
        });
        assert!(up, "sshd does not answer: {}", fs::read_to_string(folder.join("sshd.log")).unwrap_or_default());
        sshd
    }

    /// Starts it where the port is hidden already: the wall is taken away meanwhile.
    pub fn start_behind(lab: &Lab, wall: Wall) -> Self {
        match wall {
            Wall::Iptables => drop(lab.server.sh("iptables -F INPUT && ip6tables -F INPUT")),
            Wall::Nft => drop(lab.server.must(&["nft", "flush", "ruleset"])),
        }
        let sshd = Self::start(lab);
        wall.raise(&lab.server);
        sshd
    }

    /// Opens a session from a host; it must be let in.
    ///
    /// # Panics
    /// When the session does not come about within 10 seconds.
    pub fn log_in(&self, from: &Host) -> Session {
        let target = format!("root@{SERVER}");
        let key = text(&self.key);
        let mut process = from.start(
            &[
                "ssh",
                "-q",
                "-i",
                &key,
                "-o",
                "StrictHostKeyChecking=no",
                "-o",
                "UserKnownHostsFile=/dev/null",
                "-o",
                "ConnectTimeout=5",
                "-o",
                "BatchMode=yes",
                &target,
                "echo in; exec cat",
            ],
            |command| {
                command.stdin(Stdio::piped()).stdout(Stdio::piped());
            },
        );
        let keyboard = process.stdin.take().expect("stdin is piped");
        let lines = BufReader::new(process.stdout.take().expect("stdout is piped")).lines();
        let (sender, screen) = channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let session = Session { process, keyboard, screen };
        assert_eq!(
            session.screen.recv_timeout(Duration::from_secs(10)).as_deref(),
            Ok("in"),
            "the session did not come about"
        );
        session
    }
}

impl Session {
    /// Types a line and sees whether it comes back from the server.
    pub fn lives(&mut self) -> bool {
        let line = format!("still here at {}", crate::now());
        let typed = writeln!(self.keyboard, "{line}").and_then(|()| self.keyboard.flush());
        typed.is_ok() && self.screen.recv_timeout(Duration::from_secs(5)) == Ok(line)
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
