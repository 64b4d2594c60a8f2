//! Running one case, and comparing what came out with what was recorded.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream, UdpSocket},
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _, process::CommandExt as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use spa::{CipherKey, Decoding, GpgPlaintext, HmacKey, Keys, Knock, Recipients, SealedPacket};

use super::{
    case::{Case, DecodeWith, Listener},
    pattern,
    ring::Ring,
    surroundings::{Surroundings, own},
};

/// What came out of one run.
pub(crate) struct Outcome {
    pub(crate) exit: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) tty: String,
    /// Files under the home directory, as in the vectors: mode and content.
    pub(crate) files: BTreeMap<String, (String, String)>,
    /// What the listener saw.
    pub(crate) received: Option<Vec<u8>>,
    /// Where that came from.
    pub(crate) received_from: Option<u16>,
    /// The packet, from its file or from the listener, if it can be opened.
    pub(crate) packet: Option<Result<Knock, String>>,
    pub(crate) packet_text: Option<String>,
    pub(crate) started: i64,
    pub(crate) home: String,
    /// Names of the vectors for what is new in each run, and what they stand for.
    names: Vec<(String, String)>,
}

/// Runs a case.
pub(crate) fn run(case: &Case, surroundings: &Surroundings) -> Outcome {
    let home = surroundings.home(&case.id);
    let ring = surroundings.ring.as_ref().filter(|_| case.gpg_fixture).map(|ring| ring.copy_to(&home));
    let names = ring.as_ref().map(names).unwrap_or_default();
    if ring.is_some() {
        assert!(Command::new("chown").args(["-R", "1000:1000"]).arg(home.join("gnupg")).status().unwrap().success());
    }
    let filled = |text: &str| fill(&text.replace("{HOME}", home.to_str().unwrap()), &names);
    for file in &case.files_before {
        let path = filled(&file.path);
        let folder = Path::new(&path).parent().unwrap();
        fs::create_dir_all(folder).unwrap();
        own(folder);
        fs::write(&path, filled(&file.content)).unwrap();
        own(Path::new(&path));
        fs::set_permissions(&path, fs::Permissions::from_mode(u32::from_str_radix(&file.mode, 8).unwrap())).unwrap();
    }
    let listener = case.listener.as_ref().map(Ear::open);
    let capture = case.needs_root.then(capture);
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap();
    let args: Vec<String> = case.args.iter().map(|arg| filled(arg)).collect();
    let (mut child, terminal) = spawn(case, surroundings, &home, &args);
    let tty = terminal.map(|terminal| type_into(terminal, case.tty.as_deref().unwrap_or_default()));
    if let (Some(mut stdin), Some(text)) = (child.stdin.take(), &case.stdin) {
        let _closed = stdin.write_all(text.as_bytes());
    }
    let output = child.wait_with_output().unwrap();
    let heard = listener.and_then(Ear::heard);
    let (received, received_from) = match heard {
        Some((bytes, from)) => (Some(bytes), Some(from)),
        None => (capture.and_then(|capture| capture.recv_timeout(Duration::from_secs(1)).ok()), None),
    };
    let mut files = BTreeMap::new();
    list(&home, &home, &mut files);
    let packet_text = files
        .get("{HOME}/pkt")
        .and_then(|(_, text)| text.lines().last())
        .map(str::to_owned)
        .or_else(|| received.as_deref().and_then(in_request));
    let packet = match (&packet_text, &case.decode_with) {
        (Some(text), Some(with)) if with.enc_key_b64.is_some() => Some(open(text, with)),
        (Some(text), Some(DecodeWith { gpg: Some(_), .. })) => {
            ring.as_ref().zip(case.decode_with.as_ref()).map(|(ring, with)| open_with_gpg(text, with, ring))
        }
        _ => None,
    };
    ring.as_ref().inspect(|ring| ring.end_agent());
    Outcome {
        exit: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        tty: tty.and_then(|tty| tty.join().ok()).unwrap_or_default(),
        files,
        received,
        received_from,
        packet,
        packet_text,
        started,
        home: home.to_str().unwrap().to_owned(),
        names,
    }
}

/// What the vectors call the keys.
fn names(ring: &Ring) -> Vec<(String, String)> {
    let named = |(what, mail)| {
        let fingerprint = ring.fingerprint(mail);
        let id = fingerprint[fingerprint.len() - 8..].to_owned();
        [(format!("{{GPG_{what}_FPR}}"), fingerprint), (format!("{{GPG_{what}_ID}}"), id)]
    };
    [("CLIENT", "spaclient@example.net"), ("SERVER", "spaserver@example.net")].into_iter().flat_map(named).collect()
}

fn fill(text: &str, names: &[(String, String)]) -> String {
    names.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
}

/// Starts the program as the vectors' environment says.
fn spawn(case: &Case, surroundings: &Surroundings, home: &Path, args: &[String]) -> (Child, Option<fs::File>) {
    let mut descriptors = String::new();
    for (number, text) in &case.fds {
        descriptors.push_str(&format!("exec {number}< <(printf %s '{text}'); "));
    }
    let script = format!("umask 022; {descriptors}exec -a fwknop \"$@\"");
    let mut command = Command::new("setsid");
    command.args(case.tty.is_some().then_some("-c"));
    command.args(["bash", "-c", &script, "bash"]).arg(&surroundings.program).args(args);
    command.env_clear().envs([("LOGNAME", "alice"), ("PATH", "/usr/bin:/bin"), ("LANG", "C")]);
    command.env("HOME", home).current_dir(home).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, value) in &case.env {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    if !case.needs_root {
        command.uid(1000).gid(1000);
    }
    command.stdin(if case.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut terminal = None;
    if case.tty.is_some() {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let path = Path::new(std::ffi::OsStr::from_bytes(name.as_bytes()));
        own(path);
        // It shall be the program's terminal, not ours.
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY;
        command.stdin(rustix::fs::open(path, flags, rustix::fs::Mode::empty()).unwrap());
        terminal = Some(fs::File::from(master));
    }
    (command.spawn().unwrap(), terminal)
}

/// Types when asked to, and gives what the terminal showed.
fn type_into(mut terminal: fs::File, script: &[(String, String)]) -> thread::JoinHandle<String> {
    let script = script.to_vec();
    thread::spawn(move || {
        let mut shown = String::new();
        let mut script = script.into_iter().peekable();
        let mut buffer = [0; 256];
        // The terminal ends with an error once nobody holds its other side.
        while let Ok(length @ 1..) = terminal.read(&mut buffer) {
            shown.push_str(&String::from_utf8_lossy(&buffer[..length]).replace("\r\n", "\n"));
            if let Some((_, answer)) = script.next_if(|(prompt, _)| shown.ends_with(prompt.as_str())) {
                terminal.write_all(answer.as_bytes()).unwrap();
            }
        }
        shown
    })
}

/// A server of the kind that a case wants.
enum Ear {
    /// The kernel keeps the datagram.
    Udp(UdpSocket),
    /// A thread talks to whoever connects, until told that nobody will.
    Tcp(thread::JoinHandle<Option<(Vec<u8>, u16)>>, Arc<AtomicBool>),
}

impl Ear {
    fn open(listener: &Listener) -> Self {
        let at = (listener.addr.as_str(), listener.port);
        if listener.kind == "udp" {
            return Self::Udp(UdpSocket::bind(at).unwrap());
        }
        let socket = TcpListener::bind(at).unwrap();
        socket.set_nonblocking(true).unwrap();
        let reply = match listener.kind.as_str() {
            "tcp" => None,
            "http" => Some("HTTP/1.0 200 OK\r\n\r\n".to_owned()),
            _ => listener.reply.clone(),
        };
        let over = Arc::new(AtomicBool::new(false));
        let is_over = over.clone();
        let thread = thread::spawn(move || {
            loop {
                let ended = is_over.load(Ordering::SeqCst); // looked at first: a connection may come before the end
                match socket.accept() {
                    Ok((stream, from)) => return Some((talk(stream, reply), from.port())),
                    Err(_) if ended => return None,
                    Err(_) => thread::sleep(Duration::from_millis(2)),
                }
            }
        });
        Self::Tcp(thread, over)
    }

    /// What was heard, and from which port.
    fn heard(self) -> Option<(Vec<u8>, u16)> {
        match self {
            Self::Udp(socket) => {
                socket.set_nonblocking(true).unwrap();
                let mut buffer = [0; 2000];
                let (length, from) = socket.recv_from(&mut buffer).ok()?;
                Some((buffer[..length].to_vec(), from.port()))
            }
            Self::Tcp(thread, over) => {
                over.store(true, Ordering::SeqCst);
                thread.join().unwrap()
            }
        }
    }
}

/// Reads to the end, or up to the end of a request and then replies.
fn talk(mut stream: TcpStream, reply: Option<String>) -> Vec<u8> {
    stream.set_nonblocking(false).unwrap();
    let mut request = Vec::new();
    match reply {
        None => drop(stream.read_to_end(&mut request)),
        Some(reply) => {
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
                request.extend(byte);
            }
            let _gone = stream.write_all(reply.as_bytes());
        }
    }
    request
}

/// Hears the first packet on the loopback that was made by hand, from its IP header on.
fn capture() -> mpsc::Receiver<Vec<u8>> {
    use socket2::{Domain, Protocol, Socket, Type};
    let (said, heard) = mpsc::channel();
    let every_ip = i32::from(0x0800_u16.to_be());
    let mut socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(every_ip))).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 2000];
        while let Ok(length) = socket.read(&mut buffer) {
            if buffer[8] == 255 {
                let _gone = said.send(buffer[..length].to_vec());
                return;
            }
        }
    });
    heard
}

/// The packet in what a listener saw: alone, in a request's path, or behind the headers of a hand-made packet.
fn in_request(received: &[u8]) -> Option<String> {
    if received.first() == Some(&0x45) {
        let header = if received[9] == 6 { 40 } else { 28 };
        return Some(String::from_utf8_lossy(&received[header..]).into_owned());
    }
    let text = String::from_utf8_lossy(received);
    match text.strip_prefix("GET ") {
        None => Some(text.into_owned()),
        Some(rest) => {
            let path = rest.split(' ').next()?.rsplit('/').next()?;
            Some(path.replace('-', "+").replace('_', "/"))
        }
    }
}

fn hmac(with: &DecodeWith) -> Option<HmacKey> {
    let key = with.hmac_key_b64.as_ref()?;
    let digest = with.hmac_type.as_deref().unwrap().parse().unwrap();
    Some(HmacKey::new(digest, &BASE64_STANDARD.decode(key).unwrap()).unwrap())
}

fn open_with_gpg(text: &str, with: &DecodeWith, ring: &Ring) -> Result<Knock, String> {
    let packet = SealedPacket::parse(text.as_bytes()).map_err(|error| format!("{text}: {error}"))?;
    let packet = match hmac(with) {
        Some(key) => packet.authenticate_gpg(&key, Recipients::Stock),
        None => packet.unauthenticated_gpg(Recipients::Stock),
    };
    let ciphertext = packet.and_then(|packet| packet.ciphertext()).map_err(|error| format!("{text}: {error}"))?;
    let plaintext = GpgPlaintext::new(ring.gpg(&["--decrypt"], ciphertext.as_bytes()));
    plaintext.decode(&Decoding { ipv6_allow: true }).map_err(|error| format!("{text}: {error}"))
}

fn open(text: &str, with: &DecodeWith) -> Result<Knock, String> {
    let keys = Keys {
        cipher: CipherKey::new(&BASE64_STANDARD.decode(with.enc_key_b64.as_ref().unwrap()).unwrap()).unwrap(),
        mode: with.mode.as_deref().unwrap_or("CBC").parse().unwrap(),
        hmac: hmac(with),
    };
    let packet = SealedPacket::parse(text.as_bytes()).map_err(|error| format!("{text}: {error}"))?;
    packet.open(&keys, &Decoding { ipv6_allow: true }).map_err(|error| format!("{text}: {error}"))
}

fn list(folder: &Path, home: &Path, files: &mut BTreeMap<String, (String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        let path = entry.path();
        if metadata.is_dir() {
            if !["bin", "gnupg"].iter().any(|excluded| path == home.join(excluded)) {
                list(&path, home, files);
            }
            continue;
        }
        let content = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
        let mode = format!("{:04o}", metadata.permissions().mode() & 0o7777);
        files.insert(path.to_str().unwrap().replace(home.to_str().unwrap(), "{HOME}"), (mode, content));
    }
}

/// Compares; with `words`, the text of both streams too.
pub(crate) fn compare(case: &Case, outcome: &Outcome, words: bool) -> Result<(), String> {
    let expect = &case.expect;
    let filled = |text: &str| {
        let text = text.replace("{HOME}", &outcome.home).replace("{VERSION}", "2.6.10").replace("{HTTPVER}", "1.0");
        fill(&text, &outcome.names)
    };
    let mut wrong = Vec::new();
    let mut check = |what: &str, expected: &str, found: &str| {
        if !pattern::fits(&filled(expected), found) {
            wrong.push(format!("  {what}\n    expected {:?}\n    found    {found:?}", filled(expected)));
        }
    };
    check("exit", &expect.exit.to_string(), &outcome.exit.to_string());
    if words {
        let joined = |lines: &[String]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        check("stdout", &joined(&expect.stdout), &outcome.stdout);
        check("stderr", &joined(&expect.stderr), &outcome.stderr);
        check("terminal", expect.tty.as_deref().unwrap_or(&outcome.tty), &outcome.tty);
    }
    if let Some(files) = &expect.files_after {
        let names = |names: Vec<&String>| format!("{names:?}").replace("{HOME}", &outcome.home);
        check("files", &names(files.keys().collect()), &names(outcome.files.keys().collect()));
        for (name, file) in files {
            if let Some((mode, content)) = outcome.files.get(name) {
                check(&format!("mode of {name}"), &file.mode, mode);
                check(&format!("content of {name}"), &file.content, content);
            }
        }
    }
    if let Some(packet) = &expect.packet {
        match &outcome.packet {
            None => check("packet", "one", "none"),
            Some(Err(error)) => check("packet", "one that opens", error),
            Some(Ok(knock)) => {
                let time = i64::try_from(knock.time.0).unwrap() - outcome.started;
                let off = time - packet.timestamp_minus_now;
                check("time", "within 5 s", if (-1..=5).contains(&off) { "within 5 s" } else { "off" });
                check("user", &packet.username, knock.username.as_str());
                check("type", &packet.message_type.to_string(), &knock.request.message_type().to_string());
                check("message", &packet.message, &String::from_utf8_lossy(&knock.request.message()));
                let nat = knock.request.nat_target().map(ToString::to_string);
                check("nat", packet.nat_access.as_deref().unwrap_or("none"), nat.as_deref().unwrap_or("none"));
                let timeout = knock.request.timeout().map_or(0, |timeout| timeout.seconds());
                check("timeout", &packet.client_timeout.to_string(), &timeout.to_string());
                let length = outcome.packet_text.as_ref().map_or(0, String::len);
                let wanted = packet.wire_len.as_str().map_or_else(|| packet.wire_len.to_string(), str::to_owned);
                check("length", &wanted, &length.to_string());
            }
        }
    }
    if let Some(expected) = &expect.received {
        match &outcome.received {
            None => check("received", "something", "nothing"),
            Some(bytes) => {
                for (key, value) in expected {
                    match key.as_str() {
                        "payload" | "request" => {
                            check(key, value.as_str().unwrap(), &String::from_utf8_lossy(bytes));
                        }
                        "payload_equals_saved_packet" | "url_payload_is_packet_with_plus_minus_slash_underscore" => {
                            let saved = outcome.packet_text.clone().unwrap_or_default();
                            check(key, &saved, &in_request(bytes).unwrap_or_default());
                        }
                        "ip" => {
                            let found = header(bytes);
                            for (name, value) in value.as_object().unwrap() {
                                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                                check(name, &value, found.get(name.as_str()).map_or("", String::as_str));
                            }
                        }
                        _ => (),
                    }
                }
            }
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// The header fields of a hand-made packet, by the vectors' names.
fn header(packet: &[u8]) -> BTreeMap<&'static str, String> {
    let u16_at = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    let address = |at: usize| packet[at..at + 4].iter().map(u8::to_string).collect::<Vec<_>>().join(".");
    let sum =
        packet[20..].chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum::<u32>();
    let sum = (sum & 0xffff) + (sum >> 16);
    let mut fields = BTreeMap::from([
        ("ip_version", (packet[0] >> 4).to_string()),
        ("ttl", packet[8].to_string()),
        ("protocol", packet[9].to_string()),
        ("tos", packet[1].to_string()),
        ("flags_fragment", u16_at(6).to_string()),
        ("src", address(12)),
        ("dst", address(16)),
        ("total_len", u16_at(2).to_string()),
    ]);
    match packet[9] {
        17 => fields.extend([
            ("sport", u16_at(20).to_string()),
            ("dport", u16_at(22).to_string()),
            ("udp_len", u16_at(24).to_string()),
            ("udp_checksum", u16_at(26).to_string()),
        ]),
        6 => fields.extend([
            ("sport", u16_at(20).to_string()),
            ("dport", u16_at(22).to_string()),
            ("seq", u16_at(26).to_string()),
            ("ack", u16_at(30).to_string()),
            ("data_offset", (packet[32] >> 4).to_string()),
            ("tcp_flags", packet[33].to_string()),
            ("window", u16_at(34).to_string()),
            ("tcp_checksum", u16_at(36).to_string()),
        ]),
        _ => fields.extend([
            ("icmp_type", packet[20].to_string()),
            ("icmp_code", packet[21].to_string()),
            ("icmp_ident", u16_at(24).to_string()),
            ("icmp_seq", u16_at(26).to_string()),
            ("icmp_checksum_valid", ((sum & 0xffff) + (sum >> 16) == 0xffff).to_string()),
        ]),
    }
    fields
}
