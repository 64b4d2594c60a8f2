//! The live demonstration: what is scanned, what is sent, what opened, how long it took, that it closed.
//!
//! Every state it prints comes from nmap, from `connect()`, from `/proc` or from the kernel's listing of the firewall, none from the
//! programs it shows. If one differs from the story, it says so and ends with status 1.
//!
//! `demo` tells it with nftables, `demo iptables` with iptables, `demo original` with the original at both ends.

use std::fs;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use interop::knock::deliver;
use interop::lab::{CLIENT, SERVER, STRANGER};
use interop::stopwatch::{first_connection, tap};
use interop::wall::Door;
use interop::{Daemon, Host, Lab, Maker, PortState, Setup, Sshd, Wall, eventually, nmap};

/// How long the door stays open in this story.
const OPEN_FOR: u64 = 6;

fn main() -> ExitCode {
    let argument = std::env::args().nth(1);
    let (maker, wall) = match argument.as_deref() {
        None | Some("nft") => (Maker::Ours, Wall::Nft),
        Some("iptables") => (Maker::Ours, Wall::Iptables),
        Some("original") => (Maker::Original, Wall::Iptables),
        Some(other) => {
            eprintln!("demo: {other}? Say nft (the default), iptables or original.");
            return ExitCode::FAILURE;
        }
    };
    match Lab::new() {
        Ok(lab) => tell(&lab, maker, wall),
        Err(why) => {
            eprintln!("demo: {why}");
            ExitCode::FAILURE
        }
    }
}

fn tell(lab: &Lab, maker: Maker, wall: Wall) -> ExitCode {
    let begin = Instant::now();
    let mut story = Story::new();
    let fwknop = maker.client().to_string_lossy().into_owned();

    story.title("One hidden port, opened by one packet, closed by itself");
    story.note(
        "Live, in network namespaces that exist only for this. Nothing of this machine's own network is touched.",
    );
    story.note(
        "States of ports and rules are what nmap, connect() and the kernel say; the programs' own word is not asked.",
    );
    story.drawing(&[
        "  client   192.0.2.10 ─┐",
        "                       ├─  server 192.0.2.20: sshd, a firewall that drops port 22, fwknopd",
        "  stranger 192.0.2.11 ─┘",
    ]);

    story.chapter("The server hides its SSH port");
    let sshd = Sshd::start(lab);
    wall.raise(&lab.server);
    let before = wall.listing(&lab.server);
    for line in before
        .lines()
        .filter(|line| line.contains("22") || line.contains("established") || line.contains("ESTABLISHED"))
    {
        story.quote("kernel", line.trim());
    }
    story.scan(&lab.client, PortState::Filtered);
    story.scan(&lab.stranger, PortState::Filtered);

    story.chapter("Keys are made, and copied to the server");
    let make = ["--key-gen", "--use-hmac", "--save-rc-stanza", "-A", "tcp/22", "-D", "192.0.2.20"];
    story.command(&lab.client, &format!("fwknop {}", make.join(" ")));
    lab.client.must(&[&[fwknop.as_str()], &make[..]].concat());
    let rc = fs::read_to_string(lab.client.home().join(".fwknoprc")).unwrap_or_default();
    let keys: Vec<&str> =
        rc.lines().filter(|line| line.starts_with("KEY_BASE64") || line.starts_with("HMAC_KEY_BASE64")).collect();
    story.command(&lab.server, "cat /etc/fwknop/access.conf");
    story.quote(
        "",
        &format!(
            "SOURCE ANY    OPEN_PORTS tcp/22    FW_ACCESS_TIMEOUT {OPEN_FOR}    KEY_BASE64 …    HMAC_KEY_BASE64 …"
        ),
    );
    story.state("two keys in the client's ~/.fwknoprc", keys.len() == 2);
    let access = format!("SOURCE ANY\nOPEN_PORTS tcp/22\nFW_ACCESS_TIMEOUT {OPEN_FOR}\n{}\n", keys.join("\n"));

    story.chapter("The server listens, without an open port");
    lab.server.forget_account();
    story.command(&lab.server, "fwknopd");
    let mut daemon = Daemon::start(lab, &Setup::new(maker, wall, &access));
    let sockets = lab.server.must(&["ss", "-Hlun"]);
    story.state("no UDP socket is open on the server (ss -lun)", sockets.trim().is_empty());
    for (process, role) in daemon.family().into_iter().zip(["holds the firewall", "hears packets"]) {
        let uid = process.status("Uid").split_whitespace().next().unwrap_or("?").to_owned();
        let rights = match process.status("CapEff").trim_start_matches('0') {
            "" => "no capabilities".to_owned(),
            some => format!("capabilities 0x{some}"),
        };
        story.quote(
            "/proc",
            &format!("process {}: uid {uid}, {rights}, seccomp {}   {role}", process.0, process.status("Seccomp")),
        );
    }
    story.scan(&lab.client, PortState::Filtered);

    story.chapter("One packet is sent");
    let wire = tap(&lab.server);
    let knocking = [fwknop.as_str(), "-n", "192.0.2.20", "-a", "192.0.2.10"];
    story.command(&lab.client, "fwknop -n 192.0.2.20 -a 192.0.2.10");
    // As soon as the packet is seen on the wire, somebody begins to try the door.
    let (seen, answered, wire) = std::thread::scope(|scope| {
        let trying = scope.spawn(|| {
            lab.client.inside(move || {
                let seen = wire.recv_timeout(Duration::from_secs(5)).ok();
                let answered =
                    seen.as_ref().and_then(|seen| first_connection(SERVER, 22, seen.at, Duration::from_secs(5)));
                (seen, answered, wire)
            })
        });
        lab.client.must(&knocking);
        trying.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    let recorded = match &seen {
        Some(packet) => {
            let text = String::from_utf8_lossy(&packet.payload).into_owned();
            story.quote("wire", &format!("{} → {}  UDP, {} bytes", packet.source, packet.destination, text.len()));
            story.quote("", &format!("{}…", text.chars().take(64).collect::<String>()));
            text
        }
        None => String::new(),
    };
    story.state("one packet to the SPA port, no more", !recorded.is_empty() && wire.try_recv().is_err());

    story.chapter("The door is open: for one address, for a while");
    let took = seen.zip(answered).map(|(packet, answered)| answered.saturating_duration_since(packet.at));
    let says = match took {
        Some(took) => format!("connect() succeeds {} ms after the packet passed by", milliseconds(took)),
        None => "connect() succeeds within 5 s".to_owned(),
    };
    story.state(&says, took.is_some());
    let opened = Instant::now();
    let doors = wall.doors(&lab.server);
    for door in &doors {
        story.quote("kernel", &describe(door));
    }
    let right = matches!(doors.as_slice(), [door] if door.client == CLIENT && door.port == 22 && door.ends.is_some());
    story.state("one rule: 192.0.2.10 to tcp/22, with an end", right);
    story.scan(&lab.client, PortState::Open);
    story.scan(&lab.stranger, PortState::Filtered);
    story.command(&lab.client, "ssh root@192.0.2.20");
    let mut session = sshd.log_in(&lab.client);
    story.state("the session answers", session.lives());

    story.chapter("It closes by itself");
    let closed = eventually(Duration::from_secs(OPEN_FOR + 3), || wall.doors(&lab.server).is_empty());
    let after = opened.elapsed();
    story.state(&format!("no rule any more, {:.1} s after it was seen", after.as_secs_f32()), closed);
    story.scan(&lab.client, PortState::Filtered);
    story.state("the SSH session that was open lives on", session.lives());

    story.chapter("Somebody recorded the packet and sends it again");
    story.command(
        &lab.stranger,
        &format!("echo -n {}… > /dev/udp/192.0.2.20/62201", recorded.chars().take(12).collect::<String>()),
    );
    deliver(&lab.stranger, &recorded);
    std::thread::sleep(Duration::from_millis(200));
    story.state("no rule appears", wall.doors(&lab.server).is_empty());
    story.scan(&lab.stranger, PortState::Filtered);

    story.chapter("The server is stopped");
    story.command(&lab.server, "kill -TERM $(cat /run/fwknop/fwknopd.pid)");
    story.state("exit status 0", daemon.stop() == Some(0));
    story.state("the firewall's listing is byte for byte what it was before", wall.listing(&lab.server) == before);
    story.end(begin.elapsed())
}

fn describe(door: &Door) -> String {
    let left =
        door.ends.map_or_else(|| "no end".to_owned(), |end| format!("{} s left", end.saturating_sub(interop::now())));
    let who = if door.client == STRANGER { " (the stranger!)" } else { "" };
    format!("accept {}{who} → {}/{}, {left}", door.client, door.protocol, door.port)
}

fn milliseconds(took: Duration) -> String {
    let milliseconds = took.as_secs_f64() * 1000.0;
    if milliseconds < 10.0 { format!("{milliseconds:.2}") } else { format!("{milliseconds:.0}") }
}

/// Prints, and counts what differs from the story.
struct Story {
    colour: bool,
    chapters: u32,
    told: u32,
    differing: u32,
}

impl Story {
    fn new() -> Self {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { colour, chapters: 0, told: 0, differing: 0 }
    }

    fn say(&self, style: &str, text: &str) {
        let line =
            if self.colour && !style.is_empty() { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() };
        let mut out = std::io::stdout();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }

    fn title(&self, text: &str) {
        self.say("", "");
        self.say("1", text);
        self.say("", "");
    }

    fn note(&self, text: &str) {
        self.say("2", text);
    }

    fn drawing(&self, lines: &[&str]) {
        self.say("", "");
        for line in lines {
            self.say("", line);
        }
    }

    fn chapter(&mut self, text: &str) {
        self.chapters += 1;
        self.say("", "");
        self.say("1", &format!("{}  {text}", self.chapters));
    }

    fn command(&self, on: &Host, line: &str) {
        self.say("36", &format!("   {:>8} $ {line}", on.role()));
    }

    /// What somebody else says: the kernel, the wire.
    fn quote(&self, who: &str, text: &str) {
        self.say("2", &format!("   {who:>8} │ {text}"));
    }

    fn state(&mut self, text: &str, as_told: bool) {
        self.told += 1;
        if as_told {
            self.say("32", &format!("            ✓ {text}"));
        } else {
            self.differing += 1;
            self.say("1;31", &format!("            ✗ NOT SO: {text}"));
        }
    }

    /// nmap, as the tutorial types it.
    fn scan(&mut self, from: &Host, expected: PortState) {
        self.command(from, "nmap -P0 -n -p 22 192.0.2.20");
        let found = nmap(from, SERVER.into(), 22);
        let word = |state| match state {
            PortState::Open => "open",
            PortState::Closed => "closed",
            PortState::Filtered => "filtered",
        };
        let text = format!("22/tcp {}", word(found));
        if found == expected {
            self.state(&text, true);
        } else {
            self.state(&format!("{} (nmap says {text})", word(expected)), false);
        }
    }

    fn end(&self, took: Duration) -> ExitCode {
        self.say("", "");
        let sum =
            format!("{} of {} states as told, in {:.0} s", self.told - self.differing, self.told, took.as_secs_f32());
        if self.differing == 0 {
            self.say("1;32", &sum);
            ExitCode::SUCCESS
        } else {
            self.say("1;31", &format!("{sum}: {} differ", self.differing));
            ExitCode::FAILURE
        }
    }
}
