//! One run of gpg: its arguments, its descriptors, its time.
//!
//! The arguments are fixed but for the home and two descriptor numbers; nothing of a packet is among them. The message is
//! its standard input. The passphrase comes over a descriptor of its own, status lines leave over another one. All of
//! them are pieces of memory, so that nobody waits for anybody. The settings in the home's `gpg.conf` hold, as with the
//! original, except where an argument says otherwise: no network, no output file, no more output than a packet can be.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use spa::GpgPlaintext;
use zeroize::Zeroizing;

use super::status::Findings;
use super::{Decrypted, GpgFailure, Home, Signature, check};

/// How long one run may take. The first one of a home also starts its agent.
pub const LIMIT: Duration = Duration::from_secs(5);
/// More than any packet can say, in bytes; a message that grows beyond it is refused.
const MOST_OUTPUT: &str = "4096";
/// More than gpg writes on its other streams.
const MOST_TEXT: u64 = 1 << 20;

/// gpg, for one home.
#[derive(Clone, Debug)]
pub struct Program {
    /// Which.
    pub home: Home,
    /// How long one run may take.
    pub limit: Duration,
}

impl Program {
    /// gpg for one home, with the usual time limit.
    #[must_use]
    pub fn new(home: PathBuf, exe: PathBuf) -> Self {
        Self { home: Home { home, exe }, limit: LIMIT }
    }

    /// Decrypts a message with any secret key of the home.
    ///
    /// # Errors
    /// Why not, in gpg's words.
    pub fn decrypt(&self, ciphertext: &[u8], passphrase: &str) -> Result<Decrypted, GpgFailure> {
        let (plaintext, signature) = self.open(ciphertext, passphrase)?;
        Ok(Decrypted { plaintext: GpgPlaintext::new(plaintext.to_vec()), signature })
    }

    pub(super) fn open(
        &self,
        ciphertext: &[u8],
        passphrase: &str,
    ) -> Result<(Zeroizing<Vec<u8>>, Option<Signature>), GpgFailure> {
        check(&self.home.home, &self.home.exe)?;
        let mut words =
            vec!["--disable-dirmngr", "--no-auto-key-retrieve", "--max-output", MOST_OUTPUT, "--output", "-"];
        words.extend(["--pinentry-mode", if passphrase.is_empty() { "error" } else { "loopback" }]);
        let ran = self.run(&words, "--decrypt", ciphertext, passphrase);
        let ran = ran.map_err(|error| GpgFailure::Decrypt(error.to_string()))?;
        match Findings::read(&ran.findings).verdict(ran.status.success()) {
            Ok(signature) => Ok((ran.output, signature)),
            Err(why) => Err(GpgFailure::Decrypt(ran.own_words().unwrap_or(why).to_owned())),
        }
    }

    /// How many secret keys the home has. Asking starts the agent, so that the first packet does not wait for it.
    ///
    /// # Errors
    /// gpg cannot be run.
    pub fn secret_keys(&self) -> io::Result<usize> {
        let listing = self.run(&["--with-colons"], "--list-secret-keys", &[], "")?.output;
        Ok(listing.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"sec:")).count())
    }

    fn run(&self, words: &[&str], command: &str, input: &[u8], passphrase: &str) -> io::Result<Ran> {
        let mut stdin = memory(MemfdFlags::CLOEXEC)?;
        stdin.write_all(input)?;
        stdin.rewind()?;
        let (output, messages) = (memory(MemfdFlags::CLOEXEC)?, memory(MemfdFlags::CLOEXEC)?);
        // These two have numbers that the program is told, so they must reach it as they are.
        let findings = memory(MemfdFlags::empty())?;
        let passphrase = (!passphrase.is_empty()).then(|| spoken(passphrase)).transpose()?;
        let mut gpg = Command::new(&self.home.exe);
        gpg.args(["--batch", "--no-tty", "--status-fd", &findings.as_raw_fd().to_string()]);
        if let Some(passphrase) = &passphrase {
            gpg.args(["--passphrase-fd", &passphrase.as_raw_fd().to_string()]);
        }
        gpg.arg("--homedir").arg(&self.home.home).args(words).arg(command);
        gpg.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("LC_ALL", "C").current_dir("/");
        gpg.stdin(stdin).stdout(output.try_clone()?).stderr(messages.try_clone()?).process_group(0);
        let mut child = gpg.spawn()?;
        drop(passphrase);
        let Some(status) = wait(&mut child, Instant::now() + self.limit)? else {
            stop(&mut child);
            return Err(io::Error::other("Timeout"));
        };
        Ok(Ran { status, output: all_of(output)?, messages: text_of(messages)?, findings: text_of(findings)? })
    }
}

/// How a run ended.
struct Ran {
    status: ExitStatus,
    output: Zeroizing<Vec<u8>>,
    messages: String,
    findings: String,
}

impl Ran {
    /// The reason in gpg's own words, if it has one: the innermost.
    fn own_words(&self) -> Option<&str> {
        let after = |what: &str| self.messages.lines().find_map(|line| line.strip_prefix("gpg: ")?.strip_prefix(what));
        let words = after("public key decryption failed: ").or_else(|| after("decryption failed: "));
        words.map(|words| words.get(..100).unwrap_or(words))
    }
}

fn memory(flags: MemfdFlags) -> io::Result<File> {
    Ok(File::from(memfd_create("gpg", flags)?))
}

/// A pipe out of which a passphrase comes, once. It is gone from there when it was read.
fn spoken(passphrase: &str) -> io::Result<OwnedFd> {
    let (reading, writing) = pipe_with(PipeFlags::NONBLOCK)?;
    File::from(writing).write_all(passphrase.as_bytes())?;
    // Only our own end must not wait; the program reads as usual.
    rustix::io::ioctl_fionbio(&reading, false)?;
    Ok(reading)
}

fn all_of(mut file: File) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    file.rewind()?;
    file.take(MOST_TEXT).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn text_of(file: File) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&all_of(file)?).into_owned())
}

/// Waits for the program's end; `None` when the deadline comes first.
fn wait(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let end = pidfd_open(pid.ok_or(Errno::SRCH)?, PidfdFlags::empty())?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        match poll(&mut [PollFd::new(&end, PollFlags::IN)], Timespec::try_from(left).ok().as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Ends a program we have no more time for, with its children. Its agent is not one of them.
fn stop(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // That it is gone already is as good.
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program that stands in for gpg.
    fn stand_in(script: &str) -> (tempfile::TempDir, Program) {
        let folder = tempfile::tempdir().unwrap();
        let exe = folder.path().join("gpg");
        // Written by another process: a file that one of our threads writes cannot be executed by another's child.
        let mut writer = Command::new("sh");
        writer.args(["-c", r#"printf '#!/bin/sh\n%s\n' "$2" >"$1" && chmod 755 "$1""#, "sh"]).arg(&exe).arg(script);
        assert!(writer.status().unwrap().success());
        let program = Program::new(folder.path().to_owned(), exe);
        (folder, program)
    }

    fn failure(program: &Program, passphrase: &str) -> GpgFailure {
        program.decrypt(b"message", passphrase).err().expect("no stand-in decrypts")
    }

    #[test]
    fn the_program_gets_fixed_arguments_and_the_passphrase_by_a_descriptor() {
        let script = r#"
            echo "$*" >"${0%gpg}words"; env >"${0%gpg}env"
            while [ $# -gt 0 ]; do [ "$1" = --passphrase-fd ] && cat /dev/fd/$2 >"${0%gpg}pass"; shift; done
            cat >"${0%gpg}input""#;
        let (folder, program) = stand_in(script);
        failure(&program, "open sesame");
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        let home = folder.path().display();
        let words = read("words");
        assert!(words.starts_with("--batch --no-tty --status-fd "), "{words}");
        let end = format!(
            " --homedir {home} --disable-dirmngr --no-auto-key-retrieve --max-output 4096 --output - \
             --pinentry-mode loopback --decrypt\n"
        );
        assert!(words.ends_with(&end), "{words}");
        assert!(!words.contains("sesame") && !read("env").contains("sesame") && !read("env").contains("HOME"));
        assert_eq!((read("pass").as_str(), read("input").as_str()), ("open sesame", "message"));
        failure(&program, "");
        assert!(read("words").contains("--pinentry-mode error") && !read("words").contains("--passphrase-fd"));
    }

    #[test]
    fn a_program_that_hangs_is_ended_with_its_children() {
        let (_folder, mut program) = stand_in("sleep 60 & sleep 60");
        program.limit = Duration::from_millis(200);
        let started = Instant::now();
        assert_eq!(failure(&program, ""), GpgFailure::Decrypt("Timeout".into()));
        assert!(started.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn output_without_status_lines_is_not_believed() {
        let (_folder, program) = stand_in("cat; echo 'gpg: decryption failed: No secret key' >&2");
        assert_eq!(failure(&program, ""), GpgFailure::Decrypt("No secret key".into()));
    }

    #[test]
    fn says_what_is_missing() {
        let (folder, program) = stand_in("exit 0");
        let at = |home: &str, exe: &str| Program::new(home.into(), exe.into());
        let exe = program.home.exe.display().to_string();
        assert_eq!(failure(&at("/nonexistent", &exe), ""), GpgFailure::Home("/nonexistent".into()));
        let home = folder.path().display().to_string();
        assert_eq!(failure(&at(&home, "/nonexistent"), ""), GpgFailure::Exe("/nonexistent".into()));
        assert_eq!(failure(&at(&home, &home), ""), GpgFailure::Exe(home.into()), "a directory is no program");
    }
}
