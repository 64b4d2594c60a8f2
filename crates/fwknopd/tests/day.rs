//! A day in a test: the engine, the ledger and a firewall that is a list, under a made-up clock.
//!
//! Packets are sealed by the client's half of `spa`, so everything between the wire and the rule is the real thing but for
//! sockets, processes and the kernel.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test that cannot go on is a test that failed

use std::fs::File;
use std::time::Duration;

use base64::Engine as _;
use fwknop_conf::complaint::Complaints;
use fwknopd::access::{self, Stanza, StanzaKeys};
use fwknopd::args::Args;
use fwknopd::arrival::{Arrival, Transport};
use fwknopd::clock::Moment;
use fwknopd::config::{Config, Http, RawConfig};
use fwknopd::engine::{Engine, KeyedStanza};
use fwknopd::firewall::Firewall as _;
use fwknopd::firewall::memory::Memory;
use fwknopd::forwarded::Requests;
use fwknopd::grant::Grant;
use fwknopd::journal::Level;
use fwknopd::ledger::Ledger;
use fwknopd::order::Order;
use fwknopd::policy::Terms;
use fwknopd::refusal::Note;
use fwknopd::replay::DigestFile;
use spa::{AllowIp, CommandText, DigestType, Keys, Knock, Nat, Nonce, Request, Timeout, UnixTime};

const NOON: u64 = 1_800_000_000;
const CLIENT: &str = "192.0.2.10";
const KEYS: &str = "KEY correct horse\nHMAC_KEY battery staple\n";

/// A server without processes.
struct Day {
    engine: Engine<DigestFile>,
    stanzas: Vec<Stanza>,
    firewall: Memory,
    ledger: Ledger,
    digests: tempfile::NamedTempFile,
    access: String,
}

impl Day {
    fn begins(access: &str) -> Self {
        Self::goes_on(access, tempfile::NamedTempFile::new().unwrap(), false)
    }

    fn of_a_test(access: &str) -> Self {
        Self::goes_on(access, tempfile::NamedTempFile::new().unwrap(), true)
    }

    fn goes_on(access: &str, digests: tempfile::NamedTempFile, test_mode: bool) -> Self {
        let mut told = Complaints::new();
        let config = Config::new(&RawConfig::from_handover("").unwrap(), &Args::default(), &mut told).unwrap();
        let raw = access::from_handover(access).unwrap();
        let zone = jiff::tz::TimeZone::UTC;
        let stanzas: Vec<Stanza> =
            (1..).zip(&raw).map(|(n, raw)| Stanza::new(raw, n, &config, &zone, &mut told).unwrap()).collect();
        let keyed = stanzas
            .iter()
            .cloned()
            .zip(&raw)
            .map(|(stanza, raw)| KeyedStanza::new(stanza, StanzaKeys::new(raw, &mut told).unwrap()).unwrap());
        let reading = File::open(digests.path()).unwrap();
        let claims = File::options().append(true).open(digests.path()).unwrap();
        let mut used = DigestFile::new(reading, claims);
        used.read_on(UnixTime(0)).unwrap();
        let engine = Engine::new(keyed.collect(), used, Terms { max_age: Some(120), test_mode });
        let (firewall, ledger) = (Memory::default(), Ledger::default());
        Self { engine, stanzas, firewall, ledger, digests, access: access.to_owned() }
    }

    /// The same configuration and digest file in a new process.
    fn restarts(self) -> Self {
        Self::goes_on(&self.access, self.digests, false)
    }

    /// A packet arrives; gives the log lines of the whole daemon.
    fn hears(&mut self, packet: &str, from: &str, now: u64) -> Vec<String> {
        let arrival = Arrival {
            source: from.parse().unwrap(),
            source_port: 40_000,
            destination: "192.0.2.20".parse().unwrap(),
            destination_port: 62_201,
            transport: Transport::Udp,
            payload: packet.as_bytes(),
        };
        let mut notes: Vec<Note> = Vec::new();
        let order = self.engine.hear(&arrival, &moment(now), &mut notes);
        let mut lines: Vec<String> = notes.iter().map(|note| note.line(&arrival).text).collect();
        lines.extend(order.iter().flat_map(|order| self.carries_out(order, now)));
        lines
    }

    fn carries_out(&mut self, order: &Order, now: u64) -> Vec<String> {
        let stanza = self.stanzas.iter().find(|known| known.number == order.stanza()).unwrap();
        stanza.permit(order, UnixTime(now)).unwrap();
        let (client, ports, seconds) = match order {
            Order::Open { client, ports, seconds, .. } => (client, ports, seconds),
            Order::Command { text, .. } => return vec![format!("runs {}", text.shown())],
            Order::Cycle { occasion, .. } => {
                let built = stanza.cycle.as_ref().unwrap().build(occasion).unwrap();
                let close = built.close.map_or("nothing".to_owned(), |close| close.shown());
                return vec![format!("runs {}, and after {} seconds {close}", built.open.shown(), occasion.seconds)];
            }
        };
        let until = UnixTime(now + u64::from(seconds.get()));
        let grant = Grant { stanza: stanza.number, client: *client, ports: ports.clone(), until };
        let opened = self.firewall.open(&grant, UnixTime(now)).unwrap();
        opened.added.iter().for_each(|added| self.ledger.enter(added.rule, &moment(now)));
        opened.added.iter().map(|added| added.line(&grant)).collect()
    }

    /// Time passes; gives what is open then.
    fn open_at(&mut self, now: u64) -> Vec<String> {
        let ended = self.ledger.ended(&moment(now));
        if !ended.is_empty() {
            self.firewall.close(&ended, UnixTime(now)).unwrap();
        }
        self.firewall.rules.iter().map(|rule| format!("{} until {}", rule.door, rule.until.0 - NOON)).collect()
    }
}

/// This machine booted an hour before noon.
fn moment(unix: u64) -> Moment {
    Moment { unix: UnixTime(unix), since_boot: Duration::from_secs(unix - NOON + 3600) }
}

/// What a client would have sent.
struct Client {
    user: &'static str,
    allow: &'static str,
    ports: &'static str,
    timeout: u32,
    made: u64,
    keys: &'static str,
}

const ALICE: Client = Client { user: "alice", allow: CLIENT, ports: "tcp/22", timeout: 0, made: NOON, keys: KEYS };

impl Client {
    /// Packets with different numbers differ.
    fn seals(&self, number: u32) -> String {
        self.seals_request(
            number,
            Request::Access {
                allow: self.allow.parse::<AllowIp>().unwrap(),
                ports: self.ports.parse().unwrap(),
                nat: Nat::None,
                timeout: Timeout::new(self.timeout).unwrap(),
            },
        )
    }

    fn seals_command(&self, number: u32, command: &str) -> String {
        let command = CommandText::new(command).unwrap();
        self.seals_request(number, Request::Command { allow: self.allow.parse().unwrap(), command })
    }

    fn seals_request(&self, number: u32, request: Request) -> String {
        let nonce: Nonce = format!("{number:016}").parse().unwrap();
        let knock = Knock::new(nonce, self.user.parse().unwrap(), UnixTime(self.made), request);
        let raw = access::from_handover(&format!("SOURCE ANY\n{}", self.keys)).unwrap();
        let keys: Keys = StanzaKeys::new(&raw[0], &mut Complaints::new()).unwrap().symmetric.unwrap();
        let salt = number.to_be_bytes().repeat(2).try_into().unwrap();
        knock.seal_with_salt(&keys, DigestType::Sha256, salt).unwrap().text().to_owned()
    }
}

fn stanza(more: &str) -> String {
    format!("SOURCE ANY\n{KEYS}{more}")
}

const COVERED: &str = "(stanza #1) SPA Packet from IP: 192.0.2.10 received with access source match";

#[test]
fn a_knock_opens_a_door_that_closes_by_itself() {
    let mut day = Day::begins(&stanza("OPEN_PORTS tcp/22\n"));
    assert_eq!(
        day.hears(&ALICE.seals(1), CLIENT, NOON),
        [COVERED, "Added access rule to FWKNOP_INPUT for 192.0.2.10 -> 0.0.0.0/0 tcp/22, expires at 1800000030",]
    );
    assert_eq!(day.open_at(NOON + 29), ["192.0.2.10 -> tcp/22 until 30"]);
    assert_eq!(day.open_at(NOON + 30), Vec::<String>::new());
}

#[test]
fn no_packet_opens_a_door_twice_not_even_after_a_restart() {
    let mut day = Day::begins(&stanza(""));
    let packet = ALICE.seals(1);
    day.hears(&packet, CLIENT, NOON);
    let replay =
        |lines: &[String]| lines.len() == 1 && lines[0].starts_with("Replay detected from source IP: 192.0.2.66");
    assert!(replay(&day.hears(&packet, "192.0.2.66", NOON + 1)));
    let mut day = day.restarts();
    assert!(replay(&day.hears(&packet, "192.0.2.66", NOON + 2)));
    assert_eq!(day.open_at(NOON + 2), Vec::<String>::new());
}

#[test]
fn a_packet_refused_by_policy_is_used_up_all_the_same() {
    let mut day = Day::begins(&stanza("OPEN_PORTS tcp/80\n"));
    let packet = ALICE.seals(1);
    let denied = "[192.0.2.10] (stanza #1) One or more requested protocol/ports was denied per access.conf.";
    assert_eq!(day.hears(&packet, CLIENT, NOON), [COVERED, denied]);
    assert!(day.hears(&packet, CLIENT, NOON)[0].starts_with("Replay detected"));
}

#[test]
fn every_spelling_but_one_is_refused() {
    let mut day = Day::begins(&stanza(""));
    let packet = ALICE.seals(1);
    let mut flipped = packet.clone().into_bytes();
    flipped[50] = if flipped[50] == b'A' { b'B' } else { b'A' };
    let upper = packet.to_ascii_uppercase();
    for wrong in [
        format!("{packet}="),
        format!("{packet}A"),
        format!("U2FsdGVkX1{packet}"),
        format!("{packet}\n"),
        packet[..packet.len() - 1].to_owned(),
        packet[..139].to_owned(),
        String::from_utf8(flipped).unwrap(),
        upper,
        "A".repeat(1501),
        String::new(),
    ] {
        assert!(!day.hears(&wrong, CLIENT, NOON).iter().any(|line| line.starts_with("Added")), "{wrong}");
    }
    assert_eq!(day.open_at(NOON), Vec::<String>::new());
    assert!(day.hears(&packet, CLIENT, NOON)[1].starts_with("Added"), "none of them has used it up");
}

#[test]
fn without_an_hmac_a_shorter_text_that_says_the_same_is_a_replay() {
    let keys = "KEY correct horse\n";
    let opens = |packet: &str| {
        let lines = Day::begins(&format!("SOURCE ANY\n{keys}")).hears(packet, CLIENT, NOON);
        lines.last().unwrap().starts_with("Added")
    };
    // With this user name the plaintext is whole blocks, so its last block is nothing but padding.
    let packet = &Client { user: "alicebobcde", keys, ports: "tcp/22,tcp/80", ..ALICE }.seals(1);
    assert!(opens(&without_last_block(packet)), "it is a good packet");
    let mut day = Day::begins(&format!("SOURCE ANY\n{keys}"));
    assert!(day.hears(packet, CLIENT, NOON)[1].starts_with("Added"));
    let again = day.hears(&without_last_block(packet), "192.0.2.66", NOON + 1);
    assert!(again.last().unwrap().starts_with("Replay detected from source IP: 192.0.2.66"), "{again:?}");
}

/// What anybody can make of a packet that has no HMAC.
fn without_last_block(packet: &str) -> String {
    use base64::engine::general_purpose::STANDARD_NO_PAD;
    let mut container = STANDARD_NO_PAD.decode(format!("U2FsdGVkX1{packet}")).unwrap();
    container.truncate(container.len() - 16);
    STANDARD_NO_PAD.encode(container)["U2FsdGVkX1".len()..].to_owned()
}

#[test]
fn time_is_measured_in_both_directions_and_from_the_boot_on() {
    for (made, now, why) in [
        (NOON, NOON + 121, "SPA data time difference is too great (121 seconds)."),
        (NOON + 121, NOON, "SPA data time difference is too great (121 seconds)."),
    ] {
        let mut day = Day::begins(&stanza(""));
        let lines = day.hears(&Client { made, ..ALICE }.seals(1), CLIENT, now);
        assert_eq!(lines, [COVERED.to_owned(), format!("[192.0.2.10] (stanza #1) {why}")]);
    }
    for (made, now) in [(NOON, NOON + 120), (NOON + 120, NOON)] {
        let mut day = Day::begins(&stanza(""));
        assert!(day.hears(&Client { made, ..ALICE }.seals(1), CLIENT, now)[1].starts_with("Added"), "{made} {now}");
    }
    let mut day = Day::begins(&stanza(""));
    let just_booted = Moment { unix: UnixTime(NOON), since_boot: Duration::from_secs(10) };
    let packet = Client { made: NOON - 11, ..ALICE }.seals(1);
    let arrival = Arrival {
        source: CLIENT.parse().unwrap(),
        source_port: 1,
        destination: CLIENT.parse().unwrap(),
        destination_port: 62_201,
        transport: Transport::Udp,
        payload: packet.as_bytes(),
    };
    let mut notes = Vec::new();
    assert_eq!(day.engine.hear(&arrival, &just_booted, &mut notes), None, "made before this machine booted");
}

#[test]
fn a_client_asks_for_less_or_more_time_but_never_beyond_the_maximum() {
    let mut day = Day::begins(&stanza("FW_ACCESS_TIMEOUT 40\nMAX_FW_TIMEOUT 60\n"));
    day.hears(&Client { timeout: 5, ..ALICE }.seals(1), CLIENT, NOON);
    day.hears(&Client { timeout: 3600, allow: "192.0.2.11", ..ALICE }.seals(2), CLIENT, NOON);
    day.hears(&Client { allow: "192.0.2.12", ..ALICE }.seals(3), CLIENT, NOON);
    assert_eq!(
        day.open_at(NOON),
        ["192.0.2.10 -> tcp/22 until 5", "192.0.2.11 -> tcp/22 until 60", "192.0.2.12 -> tcp/22 until 40"]
    );
}

#[test]
fn ports_are_compared_as_sets() {
    // The original counts matches: a list that has tcp/22 twice let one unlisted port through (trap T1).
    let mut day = Day::begins(&stanza("OPEN_PORTS tcp/22, tcp/22\n"));
    let denied = |lines: Vec<String>| lines[1].ends_with("denied per access.conf.");
    assert!(denied(day.hears(&Client { ports: "tcp/22,tcp/80", ..ALICE }.seals(1), CLIENT, NOON)));
    assert!(day.hears(&ALICE.seals(2), CLIENT, NOON)[1].starts_with("Added"));
    let mut day = Day::begins(&stanza("RESTRICT_PORTS tcp/25\n"));
    assert!(denied(day.hears(&Client { ports: "tcp/22,tcp/25", ..ALICE }.seals(1), CLIENT, NOON)));
    assert!(day.hears(&Client { ports: "tcp/22,udp/25", ..ALICE }.seals(2), CLIENT, NOON)[1].starts_with("Added"));
}

#[test]
fn the_first_stanza_that_gets_to_an_order_wins_and_failures_fall_through() {
    let access = format!(
        "SOURCE 198.51.100.0/24\n{KEYS}SOURCE ANY\nKEY another\nHMAC_KEY yet another\n\
         SOURCE ANY\n{KEYS}OPEN_PORTS tcp/80\nSOURCE ANY\n{KEYS}OPEN_PORTS tcp/22\nFW_ACCESS_TIMEOUT 7\n"
    );
    let mut day = Day::begins(&access);
    assert_eq!(
        day.hears(&ALICE.seals(1), CLIENT, NOON),
        [
            "(stanza #1) SPA packet (192.0.2.10 -> 192.0.2.20) filtered by SOURCE and/or DESTINATION criteria",
            "(stanza #2) SPA Packet from IP: 192.0.2.10 received with access source match",
            "(stanza #2) Non-corresponding HMAC for this stanza",
            "(stanza #3) SPA Packet from IP: 192.0.2.10 received with access source match",
            "[192.0.2.10] (stanza #3) One or more requested protocol/ports was denied per access.conf.",
            "(stanza #4) SPA Packet from IP: 192.0.2.10 received with access source match",
            "Added access rule to FWKNOP_INPUT for 192.0.2.10 -> 0.0.0.0/0 tcp/22, expires at 1800000007",
        ]
    );
}

#[test]
fn who_asks_and_from_where_is_checked() {
    let wrong_user = "[192.0.2.10] (stanza #1) Username in SPA data (alice) does not match required username: bob";
    let no_address = "[192.0.2.10] (stanza #1) Got 0.0.0.0 when valid source IP was required.";
    let here = Client { allow: "0.0.0.0", ..ALICE };
    for (more, client, last) in
        [("REQUIRE_USERNAME bob\n", &ALICE, wrong_user), ("REQUIRE_SOURCE_ADDRESS Y\n", &here, no_address)]
    {
        assert_eq!(Day::begins(&stanza(more)).hears(&client.seals(1), CLIENT, NOON), [COVERED, last]);
    }
    let mut day = Day::begins(&stanza(""));
    day.hears(&here.seals(1), CLIENT, NOON);
    assert_eq!(day.open_at(NOON), ["192.0.2.10 -> tcp/22 until 30"], "where it came from");
    let mut day = Day::begins(&format!("SOURCE 10.0.0.0/8\n{KEYS}"));
    assert_eq!(day.hears(&ALICE.seals(1), CLIENT, NOON), ["No access data found for source IP: 192.0.2.10"]);
}

#[test]
fn an_ipv6_client_is_let_in_as_such() {
    let mut day = Day::begins(&format!("SOURCE 2001:db8::/32\n{KEYS}"));
    let lines = day.hears(&Client { allow: "2001:db8::7", ..ALICE }.seals(1), "2001:db8::7", NOON);
    assert_eq!(lines[1], "Added access rule to FWKNOP_INPUT for 2001:db8::7 -> ::/0 tcp/22, expires at 1800000030");
    day.hears(&Client { allow: "0.0.0.0", ..ALICE }.seals(2), "2001:db8::8", NOON);
    assert_eq!(day.open_at(NOON).len(), 2);
}

#[test]
fn an_expired_stanza_opens_nothing_and_says_so_once() {
    let mut day = Day::begins(&stanza(&format!("ACCESS_EXPIRE_EPOCH {}\n", NOON - 1)));
    let expired = "[192.0.2.10] (stanza #1) Access stanza has expired";
    assert_eq!(day.hears(&ALICE.seals(1), CLIENT, NOON), [COVERED, expired]);
    assert_eq!(day.open_at(NOON), Vec::<String>::new());
}

#[test]
fn an_order_beyond_its_stanza_is_not_permitted() {
    let day = Day::begins("SOURCE 192.0.2.0/24\nKEY a\nOPEN_PORTS tcp/22\nMAX_FW_TIMEOUT 60\n");
    let good = "open stanza=1 from=192.0.2.10 client=192.0.2.10 ports=tcp/22 seconds=60";
    assert!(day.stanzas[0].permit(&good.parse().unwrap(), UnixTime(NOON)).is_ok());
    for (from, to) in [
        ("stanza=1", "stanza=2"),
        ("from=192.0.2.10", "from=198.51.100.1"),
        ("client=192.0.2.10", "client=0.0.0.0"),
        ("client=192.0.2.10", "client=::"),
        ("client=192.0.2.10", "client=224.0.0.1"),
        ("ports=tcp/22", "ports=tcp/22,tcp/23"),
        ("seconds=60", "seconds=61"),
    ] {
        let order = good.replace(from, to).parse().unwrap();
        assert!(day.stanzas[0].permit(&order, UnixTime(NOON)).is_err(), "{to}");
    }
}

const CYCLE: &str =
    "CMD_CYCLE_OPEN open $SRC $PORT $PROTO $TIMEOUT $CLIENT_TIMEOUT\nCMD_CYCLE_CLOSE close $IP\nCMD_CYCLE_TIMER 600\n";

#[test]
fn a_command_is_run_where_commands_are_allowed() {
    let off = "[192.0.2.10] (stanza #1) SPA Command messages are not allowed in the current configuration.";
    assert_eq!(Day::begins(&stanza("")).hears(&ALICE.seals_command(1, "id -a"), CLIENT, NOON), [COVERED, off]);
    let on = stanza("ENABLE_CMD_EXEC Y\nOPEN_PORTS tcp/22\nREQUIRE_USERNAME alice\n");
    let mut day = Day::begins(&on);
    assert_eq!(
        day.hears(&ALICE.seals_command(1, "id; `x` > $HOME\n"), CLIENT, NOON),
        [COVERED, "runs id; `x` > $HOME\\x0a"]
    );
    assert!(day.hears(&ALICE.seals(2), CLIENT, NOON)[1].starts_with("Added"), "it opens doors as well");
    let bob = Client { user: "bob", ..ALICE }.seals_command(3, "id");
    assert!(day.hears(&bob, CLIENT, NOON)[1].ends_with("(bob) does not match required username: alice"));
    let old = Client { made: NOON - 121, ..ALICE }.seals_command(4, "id");
    assert!(day.hears(&old, CLIENT, NOON)[1].ends_with("time difference is too great (121 seconds)."));
    let test = "[192.0.2.10] (stanza #1) --test mode enabled, skipping command execution.";
    assert_eq!(Day::of_a_test(&on).hears(&ALICE.seals_command(1, "id"), CLIENT, NOON), [COVERED, test]);
}

#[test]
fn a_cycle_opens_and_closes_in_the_place_of_the_firewall() {
    let mut day = Day::begins(&stanza(CYCLE));
    let wanted = "runs open 192.0.2.10 22 6 1800000600 600, and after 600 seconds close 192.0.2.10";
    assert_eq!(day.hears(&ALICE.seals(1), CLIENT, NOON), [COVERED, wanted]);
    let wanted = "runs open 192.0.2.11 22 6 1800000007 7, and after 7 seconds close 192.0.2.11";
    let packet = Client { timeout: 7, allow: "192.0.2.11", ..ALICE }.seals(2);
    assert_eq!(day.hears(&packet, CLIENT, NOON), [COVERED, wanted]);
    assert_eq!(day.open_at(NOON), Vec::<String>::new(), "no rule is made");
    let unbuildable = "[192.0.2.10] (stanza #1) Could not build CMD_CYCLE_OPEN command.";
    assert_eq!(day.hears(&ALICE.seals_command(3, "id"), CLIENT, NOON), [COVERED, unbuildable]);
    let test = "[192.0.2.10] (stanza #1) --test mode enabled, skipping command execution.";
    assert_eq!(Day::of_a_test(&stanza(CYCLE)).hears(&ALICE.seals(1), CLIENT, NOON), [COVERED, test], "trap T27");
}

#[test]
fn a_cycle_keeps_to_the_limits_of_its_stanza() {
    // Ports and the longest timeout are nothing to the original's cycles (traps T4, T5); a command too long is cut (T61).
    let denied = "[192.0.2.10] (stanza #1) One or more requested protocol/ports was denied per access.conf.";
    for more in ["OPEN_PORTS tcp/80\n", "RESTRICT_PORTS tcp/22\n"] {
        assert_eq!(
            Day::begins(&stanza(&format!("{CYCLE}{more}"))).hears(&ALICE.seals(1), CLIENT, NOON),
            [COVERED, denied]
        );
    }
    let packet = Client { timeout: 3000, ..ALICE }.seals(1);
    let lines = Day::begins(&stanza(&format!("{CYCLE}MAX_FW_TIMEOUT 3\n"))).hears(&packet, CLIENT, NOON);
    assert!(lines[1].ends_with("and after 3 seconds close 192.0.2.10"), "{lines:?}");
    let long = format!("CMD_CYCLE_OPEN {} $SRC\nCMD_CYCLE_CLOSE NONE\n", "x".repeat(246));
    let unbuildable = "[192.0.2.10] (stanza #1) Could not build CMD_CYCLE_OPEN command.";
    assert_eq!(Day::begins(&stanza(&long)).hears(&ALICE.seals(1), CLIENT, NOON), [COVERED, unbuildable]);
}

#[test]
fn a_command_beyond_its_stanza_is_not_permitted() {
    let permits = |more: &str, order: &str| {
        let day = Day::begins(&format!("SOURCE 192.0.2.0/24\nKEY a\n{more}"));
        day.stanzas[0].permit(&order.parse().unwrap(), UnixTime(NOON)).is_ok()
    };
    let command = "command stanza=1 from=192.0.2.10 text=id";
    assert!(permits("ENABLE_CMD_EXEC Y\n", command));
    assert!(!permits("", command));
    assert!(!permits(&format!("ENABLE_CMD_EXEC Y\n{CYCLE}"), command));
    assert!(!permits("ENABLE_CMD_EXEC Y\n", "command stanza=2 from=192.0.2.10 text=id"));
    assert!(!permits("ENABLE_CMD_EXEC Y\n", "command stanza=1 from=198.51.100.1 text=id"));
    assert!(!permits(
        "ENABLE_CMD_EXEC Y\nENABLE_CMD_SUDO_EXEC Y\n",
        "command stanza=1 from=192.0.2.10 text=-u%20root%20id"
    ));
    let cycle =
        "cycle stanza=1 from=192.0.2.10 client=192.0.2.10 to=192.0.2.20 ports=tcp/22 made=1800000000 seconds=300";
    let limited = format!("{CYCLE}OPEN_PORTS tcp/22\nDESTINATION 192.0.2.20\n");
    assert!(permits(&limited, cycle));
    assert!(permits(&limited, &cycle.replace("seconds=300", "seconds=600")), "its own timer");
    assert!(!permits("", cycle));
    for (from, to) in [
        ("from=192.0.2.10", "from=198.51.100.1"),
        ("client=192.0.2.10", "client=0.0.0.0"),
        ("to=192.0.2.20", "to=192.0.2.21"),
        ("ports=tcp/22", "ports=tcp/23"),
        ("seconds=300", "seconds=301"),
    ] {
        assert!(!permits(&limited, &cycle.replace(from, to)), "{to}");
    }
    assert!(!permits(&limited, "open stanza=1 from=192.0.2.10 client=192.0.2.10 ports=tcp/22 seconds=30"));
}

#[test]
fn a_digest_file_that_cannot_be_written_opens_nothing() {
    let mut day = Day::begins(&stanza(""));
    let unwritable = || File::open(day.digests.path()).unwrap();
    let used = DigestFile::new(unwritable(), unwritable());
    *day.engine.replays() = used;
    let lines = day.hears(&ALICE.seals(1), CLIENT, NOON);
    assert!(lines[1].starts_with("[192.0.2.10] (stanza #1) Could not add digest to replay cache: "), "{lines:?}");
    assert!(day.hears(&ALICE.seals(1), CLIENT, NOON)[0].starts_with("Replay detected"), "it stays used up");
}

#[test]
fn a_step_of_the_wall_clock_moves_no_end() {
    let mut day = Day::begins(&stanza(""));
    day.hears(&ALICE.seals(1), CLIENT, NOON);
    let after = |seconds: u64, step: i64| Moment {
        unix: UnixTime(NOON.checked_add_signed(seconds.cast_signed() + step).unwrap()),
        since_boot: moment(NOON).since_boot + Duration::from_secs(seconds),
    };
    assert_eq!(day.ledger.ended(&after(29, 3600)), [], "forward by an hour");
    assert_eq!(day.ledger.ended(&after(30, -3600)).len(), 1, "back by an hour");
}

#[test]
fn a_packet_in_a_request_is_the_same_packet() {
    let mut day = Day::begins(&stanza(""));
    let packet = ALICE.seals(1);
    let request =
        spa::carrier::Request { packet: &packet, server: "s", proxy: None, agent: "Fwknop/2.6.10" }.to_string();
    assert_eq!(day.hears(&request, CLIENT, NOON).len(), 1, "not enabled");
    day.engine = day.engine.taking(requests(None));
    assert!(day.hears(&request, CLIENT, NOON)[1].starts_with("Added"));
    assert!(day.hears(&packet, CLIENT, NOON)[0].starts_with("Replay detected"));
    // What the client left out stays out: put back, it would be another text of the same packet.
    let respelled = request.replace("GET /", "GET /U2FsdGVkX1");
    assert!(day.hears(&respelled, CLIENT, NOON)[0].contains("error 4096"));
}

#[test]
fn a_proxy_names_whom_the_door_is_for_only_where_the_knock_does_not() {
    let forwarded = |client: &Client, number| {
        let packet = client.seals(number);
        let request = spa::carrier::Request { packet: &packet, server: "s", proxy: None, agent: "Fwknop/2.6.10" };
        request.to_string().replace("Accept:", "X-Forwarded-For: 203.0.113.7\r\nAccept:")
    };
    let anyone = Client { allow: "0.0.0.0", ..ALICE };
    let opened = |day: &mut Day| day.firewall.rules.pop().map(|rule| rule.door.client.to_string());
    let mut day = Day::begins(&format!("SOURCE 192.0.2.10\n{KEYS}"));
    day.engine = day.engine.taking(requests(None));
    day.hears(&forwarded(&anyone, 1), CLIENT, NOON);
    assert_eq!(opened(&mut day).as_deref(), Some("203.0.113.7"));
    day.hears(&forwarded(&ALICE, 2), CLIENT, NOON);
    assert_eq!(opened(&mut day).as_deref(), Some(CLIENT));
    day.engine = day.engine.taking(requests(Some("198.51.100.0/24")));
    let lines = day.hears(&forwarded(&anyone, 3), CLIENT, NOON);
    assert_eq!(lines[0], "X-Forwarded-For header ignored: 192.0.2.10 is not one of TRUSTED_PROXIES");
    assert_eq!(opened(&mut day).as_deref(), Some(CLIENT));
    let mut day = Day::begins(&stanza("REQUIRE_SOURCE_ADDRESS Y\n"));
    day.engine = day.engine.taking(requests(None));
    let lines = day.hears(&forwarded(&anyone, 4), CLIENT, NOON);
    assert!(lines[1].ends_with("Got 0.0.0.0 when valid source IP was required."));
}

fn requests(proxies: Option<&str>) -> Requests {
    let trusted_proxies = proxies.map(|list| list.parse().unwrap());
    Requests::of(Some(&Http { any_user_agent: false, x_forwarded_for: true, trusted_proxies }))
}

#[test]
fn what_was_seen_on_the_link_is_no_replay_when_its_connection_ends() {
    let mut day = Day::begins(&stanza(""));
    let packet = ALICE.seals(1);
    let ends = ((CLIENT.parse().unwrap(), 40_000), ("192.0.2.20".parse().unwrap(), 62_201));
    let over = |transport, port, now| {
        let stream = Arrival::stream((ends.0.0, port), ends.1, packet.as_bytes());
        (Arrival { transport, ..stream }, moment(now))
    };
    let mut hear = |(arrival, now)| {
        let mut notes = Vec::new();
        let order = day.engine.hear(&arrival, &now, &mut notes);
        (order.is_some(), notes.last().unwrap().line(&arrival))
    };
    assert!(hear(over(Transport::Tcp, 40_000, NOON)).0);
    let (opened, line) = hear(over(Transport::Stream, 40_000, NOON + 1));
    assert_eq!((opened, line.level), (false, Level::Debug));
    assert_eq!(line.text, "[192.0.2.10] this packet was seen on the link already, and is the same one");
    for (transport, port, now) in
        [(Transport::Stream, 40_001, 1), (Transport::Stream, 40_000, 60), (Transport::Tcp, 40_000, 1)]
    {
        let (opened, line) = hear(over(transport, port, NOON + now));
        assert_eq!((opened, line.level), (false, Level::Warning), "{transport:?} {port} {now}");
        assert!(line.text.starts_with("Replay detected"));
    }
}
