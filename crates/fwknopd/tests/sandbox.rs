//! Tries from inside the sandbox what somebody would try who has taken the listener over.
//!
//! A sandbox cannot be left again, so each attempt has a process of its own: this program starts itself, the copy puts
//! itself into the sandbox (or into one layer of it), makes one attempt and says how it ended. Needs root; without, it says so
//! and tests nothing, except in CI, where that is a failure.

use std::{
    env,
    fs::{self, OpenOptions},
    io::{self, Read, Write},
    net::{TcpStream, UdpSocket},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{
            net::UnixDatagram,
            process::{CommandExt, ExitStatusExt},
        },
    },
    process::{Command, ExitCode, Output, Stdio},
};

use fwknopd::{
    capture::{self, Capture, filter::Filter, interfaces::Interfaces, tcp::TcpServer},
    sandbox::{self, Confinement, calls, filesystem, rights, user::Account, warden},
};
use nix::{
    errno::Errno,
    sys::{ptrace, signal},
    unistd::{self, Pid, Uid},
};
use rustix::thread::CapabilitySet;

/// Tells the copy which layers it shall have, and what to try.
const TRY: &str = "FWKNOPD_TEST_TRY";

/// How the copy's process ends when the attempt worked.
const DONE: i32 = 10; // a program that is executed ends like this, too
/// And when it was refused.
const REFUSED: i32 = 11;
const SIGSYS: i32 = 31;

type Attempt = fn() -> io::Result<()>;

/// What an attacker could want, by name, and the layers that refuse it by themselves.
const ATTEMPTS: &[(&str, Attempt, &[&str])] = &[
    ("read a file that all may read", || fs::read("/etc/passwd").map(drop), &["filesystem", "calls"]),
    ("read a file of root's", || fs::read("/etc/shadow").map(drop), &["rights", "filesystem", "calls"]),
    ("list a directory", || fs::read_dir("/").map(drop), &["filesystem", "calls"]),
    ("write a file", write_a_file, &["filesystem", "calls"]),
    ("execute a program", || Err(Command::new("/bin/sh").args(["-c", "exit 10"]).exec()), &["filesystem", "calls"]),
    ("start a process", || Command::new("/bin/true").status().map(drop), &["rights", "filesystem", "calls"]),
    ("start a thread", || std::thread::Builder::new().spawn(|| ()).map(drop), &["rights", "calls"]),
    ("open a UDP socket", || UdpSocket::bind("127.0.0.1:0").map(drop), &["calls"]),
    ("connect by TCP", || TcpStream::connect(("127.0.0.1", peer_port())).map(drop), &["filesystem", "calls"]),
    (
        "open a packet socket",
        || capture::packet::open(&Interfaces::new("any")).map(drop).map_err(io::Error::other),
        &["rights", "calls"],
    ),
    ("talk to a Unix socket", || UnixDatagram::unbound()?.send_to(b"x", "/run/none").map(drop), &["calls"]),
    ("become root again", || become_root().map_err(Into::into), &["rights", "calls"]),
    (
        "signal the parent",
        || Ok(signal::kill(Pid::parent(), signal::Signal::SIGURG)?),
        &["rights", "filesystem", "calls"],
    ),
    (
        "trace the parent",
        || Ok(ptrace::seize(Pid::parent(), ptrace::Options::empty())?),
        &["rights", "filesystem", "calls"],
    ),
    (
        "read its own memory through /proc",
        || fs::File::open("/proc/self/mem").map(drop),
        &["rights", "filesystem", "calls"],
    ),
];

fn write_a_file() -> io::Result<()> {
    tempfile::NamedTempFile::new()?.write_all(b"x")
}

fn become_root() -> nix::Result<()> {
    let root = Uid::from_raw(0);
    unistd::setresuid(root, root, root)?;
    unistd::setgroups(&[]) // to be root by name alone would not be worth much
}

fn peer_port() -> u16 {
    env::var("FWKNOPD_TEST_PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(1)
}

fn account() -> Account {
    Account { name: None, uid: sandbox::user::UNASSIGNED, gid: sandbox::user::UNASSIGNED }
}

fn main() -> ExitCode {
    if let Ok(what) = env::var(TRY) {
        return ExitCode::from(u8::try_from(copy(&what)).unwrap_or(u8::MAX));
    }
    if env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    if !unistd::geteuid().is_root() {
        eprintln!("skipped: the sandbox can only be entered by root");
        return if env::var("CI").as_deref() == Ok("true") { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    }
    let mut report = Report::default();
    attempts(&mut report);
    working(&mut report);
    wardens(&mut report);
    println!("\n{} passed, {} failed", report.passed, report.failed);
    if report.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[derive(Default)]
struct Report {
    passed: u32,
    failed: u32,
}

impl Report {
    fn claim(&mut self, claim: &str, holds: bool, seen: &str) {
        println!("test {claim} ... {}", if holds { "ok".into() } else { format!("FAILED: {seen}") });
        *(if holds { &mut self.passed } else { &mut self.failed }) += 1;
    }
}

/// Starts the copy.
fn start(what: &str) -> Command {
    let mut command = Command::new(env::current_exe().expect("this program's own path"));
    command
        .env(TRY, what)
        .env_remove("LLVM_PROFILE_FILE")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn seen(output: &Output) -> String {
    format!("{}: {}{}", output.status, String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn attempts(report: &mut Report) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port to be connected to");
    let port = listener.local_addr().expect("its number").port().to_string();
    for (name, _, layers) in ATTEMPTS {
        let outcome = |with: &str| {
            let output = start(&format!("{with}:{name}")).env("FWKNOPD_TEST_PORT", &port).output().expect("the copy");
            let refused = output.status.code() == Some(REFUSED) || output.status.signal() == Some(SIGSYS);
            (refused, output.status.code() == Some(DONE), seen(&output))
        };
        if *name != "talk to a Unix socket" {
            let (_, done, how) = outcome("nothing");
            report.claim(&format!("{name}: works outside"), done, &how);
        }
        for with in layers.iter().chain(&["everything"]) {
            let (refused, _, how) = outcome(with);
            report.claim(&format!("{name}: refused by {with}"), refused, &how);
        }
    }
}

/// What the listener lives from has to work inside.
fn working(report: &mut Report) {
    let file = tempfile::tempfile().expect("a file");
    let append = file.try_clone().expect("a second descriptor");
    let output = start("work").stdin(Stdio::from(OwnedFd::from(append))).output().expect("the copy");
    let works = output.status.code() == Some(DONE);
    report.claim("receives, waits, tells the time and appends inside", works, &seen(&output));
    let said = String::from_utf8_lossy(&output.stdout);
    let line =
        said.starts_with("sandbox: uid 60922 (unassigned), no capabilities, Landlock ") && said.contains(", seccomp ");
    report.claim("says what it achieved", line, &said);
    report.claim("nothing is missing on this kernel", !said.contains("MISSING"), &said);
    let status = start("status").output().expect("the copy");
    let said = String::from_utf8_lossy(&status.stdout);
    for wanted in [
        "CapPrm:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "CapAmb:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Groups:\t \n",
        "Uid:\t60922\t60922\t60922\t60922",
    ] {
        report.claim(&format!("after giving up rights, {wanted:?}"), said.contains(wanted), &said);
    }
    let output = start("deaf").output().expect("the copy");
    report.claim(
        "takes no connection where none is to be taken",
        output.status.code() == Some(REFUSED),
        &seen(&output),
    );
    let output = start("threads").output().expect("the copy");
    report.claim("a process with two threads is refused", output.status.code() == Some(REFUSED), &seen(&output));
}

fn wardens(report: &mut Report) {
    for (what, effective) in [("warden", "0000000000001000"), ("warden with iptables", "0000000000003000")] {
        let output = start(what).output().expect("the copy");
        let said = String::from_utf8_lossy(&output.stdout);
        let holds = output.status.code() == Some(DONE) && said.contains(&format!("CapEff:\t{effective}"));
        report.claim(&format!("{what}: keeps only what the firewall needs in effect"), holds, &seen(&output));
    }
}

/// The copy: goes in, tries, tells.
fn copy(what: &str) -> i32 {
    let told = match what {
        "work" => work(),
        "deaf" => deaf(),
        "status" => status(),
        "threads" => threads(),
        "warden" => reduced(false),
        "warden with iptables" => reduced(true),
        attempt => attempt.split_once(':').map_or(Err(io::ErrorKind::InvalidInput.into()), |(with, name)| {
            enter(with)?;
            let (_, attempt, _) = ATTEMPTS.iter().find(|(known, ..)| *known == name).ok_or(io::ErrorKind::NotFound)?;
            attempt()
        }),
    };
    match told {
        Ok(()) => DONE,
        Err(error) => {
            eprintln!("{error}");
            REFUSED
        }
    }
}

/// Enters one layer, or all. A copy that cannot enter ends with another code, so that it does not look refused.
fn enter(with: &str) -> io::Result<()> {
    let entered = match with {
        "nothing" => Ok(()),
        "rights" => rights::become_nobody_else(&account()).map(drop).and_then(|()| rights::limit()),
        "filesystem" => filesystem::close().map(drop),
        "calls" => calls::restrict(false).map(drop),
        _ => sandbox::confine(&Confinement { account: &account(), required: true, accepts: false }).map(drop),
    };
    if let Err(error) = entered {
        eprintln!("cannot enter: {error:?}");
        std::process::exit(1);
    }
    Ok(())
}

fn work() -> io::Result<()> {
    let sender = UdpSocket::bind("127.0.0.1:0")?;
    let lo = Interfaces::new("lo");
    let link = capture::packet::open(&lo).map_err(io::Error::other)?;
    let server = capture::udp::open(0).map_err(io::Error::other)?;
    let port = nix::sys::socket::getsockname::<nix::sys::socket::SockaddrIn6>(server.as_raw_fd())?.port();
    let filter =
        Filter::compile(&format!("udp port {port}"), &capture::filter::Wanted::default()).map_err(io::Error::other)?;
    let links: Vec<u32> = lo.present()?.iter().map(|link| link.index).collect();
    sender.connect(("127.0.0.1", port))?;
    let mut door = visited_door()?;
    let (mut pipe, mut out) = io::pipe()?;
    let mut cache = OpenOptions::new().append(true).open("/proc/self/fd/0")?;

    let achieved = sandbox::confine(&Confinement { account: &account(), required: true, accepts: true })
        .map_err(io::Error::other)?;
    println!("{achieved}");
    // the sockets are handed over and get their filters only now
    let mut link = capture::packet::PacketSocket::attach(link, &lo, &links, filter)?;
    let mut server = capture::udp::UdpSocket::attach(server, port, false)?;

    sender.send(&[b'A'; 200])?; // a connected socket may send, it has no address to choose
    for source in [&mut link as &mut dyn Capture, &mut server] {
        let fd = source.as_fd().ok_or(io::ErrorKind::NotFound)?;
        rustix::event::poll(&mut [rustix::event::PollFd::new(&fd, rustix::event::PollFlags::IN)], None)?;
        let arrival = source.next()?.ok_or(io::ErrorKind::WouldBlock)?;
        assert_eq!(arrival.payload, [b'A'; 200]);
        assert!(source.next()?.is_none() && !source.ended());
    }
    assert_eq!(door.next()?.map(|arrival| arrival.payload.to_vec()), Some(b"knock".to_vec()));
    let _ = (std::time::SystemTime::now(), std::time::Instant::now());
    cache.write_all(b"line\n")?;
    cache.sync_data()?;
    out.write_all(b"order")?;
    drop(out);
    let mut order = String::new();
    pipe.read_to_string(&mut order)?;
    let large = vec![1u8; 4 << 20]; // memory by mmap, and back
    assert_eq!((order.as_str(), large.iter().map(|byte| u64::from(*byte)).sum::<u64>()), ("order", 4 << 20));
    let _: std::collections::HashMap<u8, u8> = [(1, 2)].into(); // random seed
    Ok(())
}

/// A TCP port at which somebody has left something already.
fn visited_door() -> io::Result<TcpServer> {
    let socket = capture::tcp::open(0).map_err(io::Error::other)?;
    let port = nix::sys::socket::getsockname::<nix::sys::socket::SockaddrIn6>(socket.as_raw_fd())?.port();
    TcpStream::connect(("127.0.0.1", port))?.write_all(b"knock")?;
    Ok(TcpServer::new(socket, port))
}

/// A listener without a TCP server takes no connection, even on a socket that listens.
fn deaf() -> io::Result<()> {
    let mut door = visited_door()?;
    enter("everything")?;
    door.next().map(drop)
}

fn status() -> io::Result<()> {
    let mut own = fs::File::open("/proc/self/status")?;
    rights::become_nobody_else(&account()).map_err(io::Error::other)?;
    let mut text = String::new();
    own.read_to_string(&mut text)?;
    println!("{text}");
    Ok(())
}

fn threads() -> io::Result<()> {
    let _other = std::thread::spawn(|| std::thread::sleep(std::time::Duration::from_secs(60)));
    sandbox::confine(&Confinement { account: &account(), required: false, accepts: false })
        .map(drop)
        .map_err(io::Error::other)
}

/// A warden: holds only what it should, hands the rest to a program, and can still end a process of another user.
fn reduced(iptables: bool) -> io::Result<()> {
    let mut listener = Command::new("/bin/sleep").arg("60").uid(account().uid).gid(account().gid).spawn()?;
    let pid = Pid::from_raw(i32::try_from(listener.id()).map_err(io::Error::other)?);
    warden::reduce(iptables).map_err(io::Error::other)?;
    print!("{}", fs::read_to_string("/proc/self/status")?);
    let refused = signal::kill(pid, signal::Signal::SIGTERM);
    let ended = warden::with(CapabilitySet::KILL, || signal::kill(pid, signal::Signal::SIGTERM))?;
    let status = listener.wait()?;
    assert_eq!((refused, ended, status.signal()), (Err(Errno::EPERM), Ok(()), Some(15)));
    assert!(warden::with(CapabilitySet::SYS_ADMIN, || ()).is_err());

    let kept = if iptables { "00000000000031e4" } else { "00000000000011e4" };
    let child = Command::new("/bin/cat").arg("/proc/self/status").output()?.stdout;
    let child = String::from_utf8_lossy(&child);
    assert!(child.contains(&format!("CapEff:\t{kept}")) && child.contains(&format!("CapBnd:\t{kept}")), "{child}");
    Ok(())
}
