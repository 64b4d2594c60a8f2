//! A server under test: its files, its start, its log, its end.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::eventually;
use crate::host::{Finished, Host};
use crate::lab::Lab;
use crate::program::Maker;
use crate::vitals::Vitals;
use crate::wall::Wall;

/// The lines after which a packet is not missed (output contract, 2.3).
const READY: [&str; 2] = ["Starting fwknopd main event loop.", "Kicking off UDP server to listen on port"];

/// What is written to `/etc/fwknop` and given as arguments.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Whose server.
    pub maker: Maker,
    /// Which firewall hides the port.
    pub wall: Wall,
    /// Whether `FIREWALL_EXE` names it, or the server must find out.
    pub names_wall: bool,
    /// Lines of `fwknopd.conf` besides `PCAP_INTF` and `FIREWALL_EXE`.
    pub config: String,
    /// `access.conf`.
    pub access: String,
    /// Arguments besides `-f`.
    pub arguments: Vec<String>,
}

impl Setup {
    /// The usual one: listens on `eth0`, one `access.conf`.
    pub fn new(maker: Maker, wall: Wall, access: &str) -> Self {
        Self { maker, wall, names_wall: true, config: String::new(), access: access.into(), arguments: Vec::new() }
    }

    /// With another line in `fwknopd.conf`.
    #[must_use]
    pub fn line(mut self, line: &str) -> Self {
        self.config += line;
        self.config.push('\n');
        self
    }

    /// With more arguments.
    #[must_use]
    pub fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// Writes both files, 0600.
    ///
    /// # Panics
    /// When the lab's folder cannot be written.
    pub fn write(&self, server: &Host) {
        let wall =
            if self.names_wall { format!("FIREWALL_EXE {};\n", self.wall.firewall_exe()) } else { String::new() };
        let config = format!("PCAP_INTF eth0;\n{wall}{}", self.config);
        for (name, text) in [("fwknopd.conf", &config), ("access.conf", &self.access)] {
            let file = server.etc().join(name);
            fs::write(&file, text).expect("the lab's folder can be written");
            fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("the file was just written");
        }
    }

    /// The command line. Both files are where they are looked for anyway, unless this machine has no `/etc/fwknop` to mount them on.
    pub fn argv(&self, server: &Host) -> Vec<String> {
        let mut argv = vec![self.maker.server().to_string_lossy().into_owned()];
        if !Path::new("/etc/fwknop").is_dir() {
            for (option, name) in [("-c", "fwknopd.conf"), ("-a", "access.conf")] {
                argv.extend([option.to_owned(), server.etc().join(name).to_string_lossy().into_owned()]);
            }
        }
        argv.extend(self.arguments.iter().cloned());
        argv
    }

    /// Runs the server to its end with more arguments, as `-S`, `-K` or a wrong configuration do.
    /// One that does not end within 10 seconds is ended, with status 124.
    pub fn run(&self, server: &Host, more: &[&str]) -> Finished {
        let mut argv: Vec<String> = ["timeout", "-k", "1", "10"].map(String::from).into();
        argv.extend(self.argv(server));
        argv.extend(more.iter().map(|&argument| argument.to_owned()));
        server.run(&argv)
    }
}

/// A server in the foreground.
#[derive(Debug)]
pub struct Daemon {
    process: Child,
    log: PathBuf,
    /// From its start to the line that says a packet is not missed any more.
    pub start_took: Duration,
}

impl Daemon {
    /// Writes the files, starts it and waits until it is ready.
    ///
    /// # Panics
    /// When it does not get ready within 10 seconds.
    pub fn start(lab: &Lab, setup: &Setup) -> Self {
        Self::start_within(lab, setup, &[])
    }

    /// The same, with a command in front that arranges something and then executes what follows.
    ///
    /// # Panics
    /// When it does not get ready within 10 seconds.
    pub fn start_within(lab: &Lab, setup: &Setup, within: &[&str]) -> Self {
        let mut daemon = Self::launch_within(lab, setup, within);
        assert!(daemon.ready() && daemon.runs(), "not ready: {setup:?}\n{}", daemon.log());
        daemon
    }

    /// Writes the files, starts it, and waits until it is ready or has ended.
    ///
    /// # Panics
    /// When the lab's folder cannot be written.
    pub fn launch(lab: &Lab, setup: &Setup) -> Self {
        Self::launch_within(lab, setup, &[])
    }

    fn launch_within(lab: &Lab, setup: &Setup, within: &[&str]) -> Self {
        setup.write(&lab.server);
        let log = lab.folder().join("fwknopd.log");
        let sink = File::create(&log).expect("the lab's folder can be written");
        let mut argv: Vec<String> = within.iter().map(|&word| word.to_owned()).collect();
        argv.extend(setup.argv(&lab.server));
        argv.push("-f".into());
        let start = Instant::now();
        let process = lab.server.start(&argv, |command| {
            let copy = sink.try_clone().expect("a descriptor can be copied");
            command.stdin(Stdio::null()).stdout(copy).stderr(sink);
        });
        let mut daemon = Self { process, log, start_took: Duration::ZERO };
        // Looked at without pause, so that the figure is the daemon's and not ours.
        while start.elapsed() < Duration::from_secs(10) && daemon.runs() {
            if daemon.ready() {
                break;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        daemon.start_took = start.elapsed();
        daemon
    }

    fn ready(&self) -> bool {
        let log = self.log();
        READY.iter().any(|line| log.contains(line))
    }

    /// Everything it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits for text in the log; says whether it came.
    pub fn says(&self, text: &str) -> bool {
        eventually(Duration::from_secs(5), || self.log().contains(text))
    }

    /// Waits until the log contains a text for the n-th time.
    pub fn says_times(&self, text: &str, times: usize) -> bool {
        eventually(Duration::from_secs(5), || self.log().matches(text).count() >= times)
    }

    /// The process that was started: the warden, in our case.
    pub fn main(&self) -> Vitals {
        Vitals(self.process.id())
    }

    /// The process that hears packets: our listener is the child of the warden, the original does it all in one.
    pub fn listener(&self) -> Option<Vitals> {
        self.main().children().first().copied()
    }

    /// All its processes.
    pub fn family(&self) -> Vec<Vitals> {
        let mut family = vec![self.main()];
        family.extend(self.main().children());
        family
    }

    /// Whether the main process still runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }

    /// Sends a signal to the main process.
    pub fn signal(&self, signal: Signal) {
        send(self.main(), signal);
    }

    /// `kill -TERM`, and waits for the end. Gives its exit status.
    ///
    /// # Panics
    /// When it does not end within 5 seconds.
    pub fn stop(&mut self) -> Option<i32> {
        self.signal(Signal::SIGTERM);
        assert!(self.ends(), "does not end after SIGTERM:\n{}", self.log());
        self.process.wait().ok().and_then(|status| status.code())
    }

    /// Waits up to 5 seconds for its end.
    pub fn ends(&mut self) -> bool {
        eventually(Duration::from_secs(5), || !self.runs())
    }

    /// Exit status, once it has ended.
    pub fn exit_code(&mut self) -> Option<i32> {
        self.process.try_wait().ok().flatten().and_then(|status| status.code())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.runs() {
            self.signal(Signal::SIGTERM);
            if !self.ends() {
                let _ = self.process.kill();
            }
        }
        let _ = self.process.wait();
    }
}

/// Sends a signal to one process, by its id.
pub fn send(to: Vitals, signal: Signal) {
    if let Ok(pid) = i32::try_from(to.0) {
        let _ = kill(Pid::from_raw(pid), signal);
    }
}
