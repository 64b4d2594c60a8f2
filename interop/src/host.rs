//! A machine of the lab: runs programs, opens sockets inside.
//!
//! A program on a host sees the host's own network, home folder, `/run` and `/etc/fwknop`; everything else is the machine's.
//! That is done with a network namespace and with bind mounts in a mount namespace that ends with the program.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use nix::sched::{CloneFlags, setns};

/// What a program on a host finds in other places than the machine has them. `$1` is the host's folder.
const FURNISH: &str = r#"
set -e; host=$1; shift
mount --bind "$host/run" /run
[ ! -d /etc/fwknop ] || mount --bind "$host/etc" /etc/fwknop
for file in passwd group; do [ ! -e "$host/$file" ] || mount --bind "$host/$file" "/etc/$file"; done
exec "$@""#;

/// One host of a lab.
#[derive(Clone, Debug)]
pub struct Host {
    role: &'static str,
    netns: String,
    folder: PathBuf,
}

/// How a program ended and what it printed.
#[derive(Debug)]
pub struct Finished {
    /// What was run, for messages.
    pub what: String,
    /// Exit status; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Host {
    pub(crate) fn new(lab: &str, role: &'static str, folder: &Path) -> Self {
        Self { role, netns: format!("{lab}-{role}"), folder: folder.join(role) }
    }

    /// Makes the folders that this host sees as its own.
    pub(crate) fn furnish(&self) -> io::Result<()> {
        for folder in [self.home(), self.run_folder(), self.run_folder().join("sshd"), self.etc()] {
            fs::create_dir_all(&folder)?;
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
        }
        Ok(())
    }

    /// `client`, `stranger` or `server`.
    pub fn role(&self) -> &'static str {
        self.role
    }

    /// The name of the network namespace.
    pub fn netns(&self) -> &str {
        &self.netns
    }

    /// The home folder of the user on this host.
    pub fn home(&self) -> PathBuf {
        self.folder.join("home")
    }

    /// What programs on this host see as `/run`.
    pub fn run_folder(&self) -> PathBuf {
        self.folder.join("run")
    }

    /// What programs on this host see as `/etc/fwknop`.
    pub fn etc(&self) -> PathBuf {
        self.folder.join("etc")
    }

    /// Gives the host an account `fwknop`, as a package would. Its number is for this lab only, so that servers
    /// of labs that exist at the same time are strangers to each other.
    pub(crate) fn add_account(&self, id: u32) -> io::Result<()> {
        for (file, line) in
            [("passwd", format!("fwknop:x:{id}:{id}::/:/usr/sbin/nologin\n")), ("group", format!("fwknop:x:{id}:\n"))]
        {
            let machines = fs::read_to_string(Path::new("/etc").join(file))?;
            let others: String =
                machines.lines().filter(|line| !line.starts_with("fwknop:")).flat_map(|line| [line, "\n"]).collect();
            fs::write(self.folder.join(file), others + &line)?;
        }
        Ok(())
    }

    /// Takes that account away: this host is a machine where nobody has prepared anything.
    pub fn forget_account(&self) {
        for file in ["passwd", "group"] {
            let _ = fs::remove_file(self.folder.join(file));
        }
    }

    /// A command that will run on this host: its process id is that of the program itself, nothing stands between.
    pub fn command<S: AsRef<OsStr>>(&self, argv: &[S]) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.netns, "sh", "-c"])
            .arg(FURNISH)
            .arg("sh")
            .arg(&self.folder)
            .args(argv)
            .current_dir(self.home())
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.home())
            .env("LOGNAME", "alice")
            .env("USER", "alice")
            .env("LANG", "C")
            .env("TZ", "UTC")
            .stdin(Stdio::null());
        command
    }

    /// Runs a program to its end.
    ///
    /// # Panics
    /// When it cannot be started at all.
    pub fn run<S: AsRef<OsStr>>(&self, argv: &[S]) -> Finished {
        let what = words(argv);
        let done = self.command(argv).output();
        match done {
            Ok(done) => Finished::of(what, &done),
            Err(e) => panic!("cannot start anything on {}: {e}", self.netns),
        }
    }

    /// Runs a program that must succeed; gives its standard output.
    ///
    /// # Panics
    /// When it fails.
    pub fn must<S: AsRef<OsStr>>(&self, argv: &[S]) -> String {
        let done = self.run(argv);
        assert_eq!(done.code, Some(0), "on {}: {done:?}", self.role);
        done.out
    }

    /// Runs a shell line that must succeed; gives its standard output.
    pub fn sh(&self, line: &str) -> String {
        self.must(&["sh", "-c", line])
    }

    /// Starts a program that goes on by itself.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start<S: AsRef<OsStr>>(&self, argv: &[S], arrange: impl FnOnce(&mut Command)) -> Child {
        let mut command = self.command(argv);
        arrange(&mut command);
        command.spawn().unwrap_or_else(|e| panic!("cannot start {}: {e}", words(argv)))
    }

    /// Does something with this host's network: sockets opened inside belong to it.
    /// A thread of its own goes there, so the caller stays where it is.
    ///
    /// # Panics
    /// When the namespace is gone, and when `work` panics.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let netns = File::open(Path::new("/run/netns").join(&self.netns)).expect("the lab stands");
        let arrive = move || {
            setns(&netns, CloneFlags::CLONE_NEWNET).expect("root may enter its own namespaces");
            work()
        };
        std::thread::scope(|scope| scope.spawn(arrive).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Finished {
    fn of(what: String, done: &Output) -> Self {
        Self {
            what,
            code: done.status.code(),
            out: String::from_utf8_lossy(&done.stdout).into_owned(),
            err: String::from_utf8_lossy(&done.stderr).into_owned(),
        }
    }
}

fn words<S: AsRef<OsStr>>(argv: &[S]) -> String {
    let words: Vec<_> = argv.iter().map(|word| word.as_ref().to_string_lossy()).collect();
    words.join(" ")
}
