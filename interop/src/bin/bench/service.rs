//! A server as it runs on a real host: in the background, logging to a syslog that takes every line.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use interop::daemon::send;
use interop::vitals::Vitals;
use interop::{Lab, Setup, eventually};
use nix::sys::signal::Signal;

/// `/dev` with little more in it than our syslog; seen by the server only.
const OWN_DEV: &str = "mount -t tmpfs tmpfs /dev && mknod -m 666 /dev/null c 1 3 && mknod -m 666 /dev/urandom c 1 9 && \
                       mknod -m 666 /dev/random c 1 8 && ln -s \"$1\" /dev/log && shift && exec \"$@\"";

/// A server in the background. It is stopped when this value goes.
pub(crate) struct Service {
    warden: Vitals,
}

impl Service {
    /// Starts it, and waits until it has said that it is ready.
    pub(crate) fn start(lab: &Lab, setup: &Setup) -> Result<Self, String> {
        setup.write(&lab.server);
        let socket = lab.folder().join("syslog");
        let log = syslog(&socket).map_err(|e| format!("no syslog: {e}"))?;
        let mut argv =
            vec!["sh".to_owned(), "-c".into(), OWN_DEV.into(), "sh".into(), socket.to_string_lossy().into_owned()];
        argv.extend(setup.argv(&lab.server));
        let started = lab.server.run(&argv);
        let heard = || log.lock().is_ok_and(|log| log.contains("Starting fwknopd main event loop."));
        if started.code != Some(0) || !eventually(Duration::from_secs(10), heard) {
            return Err(format!("not ready: {started:?}"));
        }
        let pid = fs::read_to_string(lab.server.run_folder().join("fwknop/fwknopd.pid")).map_err(|e| e.to_string())?;
        let pid = pid.trim().parse().map_err(|_| format!("{pid:?} is no process"))?;
        Ok(Self { warden: Vitals(pid) })
    }

    /// Processor time of all its processes so far.
    pub(crate) fn cpu(&self) -> Duration {
        self.warden.cpu() + self.warden.children().into_iter().map(Vitals::cpu).sum::<Duration>()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        send(self.warden, Signal::SIGTERM);
        eventually(Duration::from_secs(5), || !self.warden.alive());
    }
}

/// Takes every line that comes, and remembers the first few.
fn syslog(path: &std::path::Path) -> std::io::Result<Arc<Mutex<String>>> {
    let socket = UnixDatagram::bind(path)?;
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o666))?;
    let log = Arc::new(Mutex::new(String::new()));
    let remembered = Arc::clone(&log);
    std::thread::spawn(move || {
        let mut line = [0; 4096];
        while let Ok(length) = socket.recv(&mut line) {
            let mut log = remembered.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if log.len() < 100_000 {
                log.push_str(&String::from_utf8_lossy(&line[..length]));
                log.push('\n');
            }
        }
    });
    Ok(log)
}
