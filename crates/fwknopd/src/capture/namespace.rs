//! A network of its own for a test: nothing in it but a loopback that is up. Test code only.

use std::{env, io::Write, process::Command, thread};

/// Runs `test` in a new network namespace, on a thread of its own; the namespace ends with the thread. Needs root: without
/// it, says so where a person sees it, and in CI fails.
pub(crate) fn inside(test: impl FnOnce() + Send + 'static) {
    let entered = thread::spawn(|| {
        if nix::unistd::geteuid().is_root() {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            ip("link set lo up");
            test();
            return true;
        }
        false
    });
    if !entered.join().unwrap() {
        assert_ne!(env::var("CI").as_deref(), Ok("true"), "CI has to run this as root");
        writeln!(std::io::stderr(), "skipped: a network namespace needs root").unwrap();
    }
}

/// Runs `ip` with these words.
pub(crate) fn ip(words: &str) {
    let status = Command::new("ip").args(words.split(' ')).status().unwrap();
    assert!(status.success(), "ip {words}");
}
