//! The nftables back end against a real kernel; `nft` is only here to set the stage and to look.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod namespace;

use std::os::fd::BorrowedFd;
use std::thread::sleep;
use std::time::{Duration, Instant};

use fwknopd::firewall::nft::Nft;
use fwknopd::firewall::{Firewall, FirewallError, Listing, Settings};
use fwknopd::grant::{Grant, Rule};
use namespace::{Outside, enter, has, load, now, reaches, run};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use spa::UnixTime;

/// What an administrator may have: the comment, the counter and the order must survive us.
const HOUSE: &str = "table inet filter {
    chain input {
        type filter hook input priority 0; policy drop;
        ct state established,related accept comment \"known\"
        tcp dport 443 counter accept
    }
}
";

fn firewall(settings: Settings) -> Nft {
    Nft::new(settings).unwrap()
}

/// A firewall that is prepared in a ruleset, and the list of that ruleset before.
fn prepared(ruleset: &str) -> (Nft, String) {
    load(ruleset);
    run("ip -6 addr replace 2001:db8::7/128 dev lo nodad");
    let before = run("nft list ruleset");
    let mut firewall = firewall(Settings::default());
    firewall.prepare(now()).unwrap();
    (firewall, before)
}

fn ready(name: &str) -> bool {
    enter(name) && has(name, "nft")
}

fn grant(client: &str, ports: &str, until: UnixTime) -> Grant {
    Grant { stanza: 1, client: client.parse().unwrap(), ports: ports.parse().unwrap(), until }
}

fn rules(grant: &Grant) -> Vec<Rule> {
    grant.rules().collect()
}

fn later(seconds: u64) -> UnixTime {
    UnixTime(now().0 + seconds)
}

fn is_readable(fd: BorrowedFd<'_>, patience: Duration) -> bool {
    let mut wait = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    poll(&mut wait, Some(&Timespec::try_from(patience).unwrap())).unwrap() == 1
}

/// What the warden's loop does about events, until they cease.
fn attend(firewall: &mut Nft, open: &[Rule]) -> Vec<String> {
    let mut lines = Vec::new();
    while is_readable(firewall.events().unwrap(), Duration::from_millis(100)) {
        lines.extend(firewall.mend(open, now()).unwrap().into_iter().map(|notice| notice.text));
    }
    lines
}

#[test]
fn a_door_is_open_from_open_to_close_and_nothing_stays_behind() {
    if !ready("a_door_is_open_from_open_to_close_and_nothing_stays_behind") {
        return;
    }
    let (mut firewall, before) = prepared(HOUSE);
    for client in ["127.0.0.2", "2001:db8::7"] {
        assert!(!reaches(client, 7053), "closed before");
        let grant = grant(client, "tcp/22,udp/7053", later(30));
        assert_eq!(firewall.open(&grant, now()).unwrap().added.len(), 2);
        assert!(reaches(client, 7053), "open for {client}");
        assert!(!reaches(client, 7054), "only the port asked for");
        assert!(firewall.open(&grant, now()).unwrap().added.is_empty(), "once only");
        let removed = firewall.close(&rules(&grant), grant.until).unwrap();
        assert_eq!(removed.iter().map(|rule| rule.number).collect::<Vec<_>>(), [1, 2]);
        assert!(!reaches(client, 7053), "closed after");
    }
    firewall.open(&grant("127.0.0.2", "udp/7053", later(30)), now()).unwrap();
    firewall.retire().unwrap();
    assert!(!reaches("127.0.0.2", 7053));
    assert_eq!(run("nft list ruleset"), before, "byte for byte");
}

#[test]
fn what_nft_shows_is_what_we_mean() {
    if !ready("what_nft_shows_is_what_we_mean") {
        return;
    }
    let (mut firewall, _) = prepared(HOUSE);
    let time = now();
    firewall.open(&grant("10.0.0.7", "tcp/22", UnixTime(time.0 + 30)), time).unwrap();
    let shown = run("nft list ruleset");
    for line in [
        "ip saddr . meta l4proto . th dport @FWKNOP_INPUT4 counter packets 0 bytes 0 accept",
        "ip6 saddr . meta l4proto . th dport @FWKNOP_INPUT6 counter packets 0 bytes 0 accept",
        "type ipv4_addr . inet_proto . inet_service",
        "10.0.0.7 . tcp . 22 timeout 30s expires ",
        "comment \"_exp_",
    ] {
        assert!(shown.contains(line), "{line} is not in {shown}");
    }
    let chain: Vec<&str> = shown.lines().skip_while(|line| !line.contains("chain input")).collect();
    assert_eq!(chain[2].trim(), "jump FWKNOP_INPUT", "first rule");
    let listing = firewall.list(Listing::Ours).unwrap();
    assert!(listing.starts_with("\nChain FWKNOP_INPUT (1 references)"), "{listing}");
    let wanted = "1    ACCEPT     6    --  10.0.0.7             0.0.0.0/0            tcp dpt:22 /* _exp_";
    assert!(listing.lines().any(|line| line.starts_with(wanted)), "{listing}");
    assert!(firewall.list(Listing::All).unwrap().contains("table inet filter"));
}

#[test]
fn the_kernel_ends_a_door_by_itself() {
    if !ready("the_kernel_ends_a_door_by_itself") {
        return;
    }
    let (mut firewall, _) = prepared(HOUSE);
    let (started, time) = (Instant::now(), now());
    firewall.open(&grant("127.0.0.2", "udp/7053", UnixTime(time.0 + 2)), time).unwrap();
    assert!(reaches("127.0.0.2", 7053));
    drop(firewall); // as if killed
    while reaches("127.0.0.2", 7053) {
        assert!(started.elapsed() < Duration::from_secs(4), "never closed");
    }
    assert!(started.elapsed() > Duration::from_secs(1), "too early");
}

#[test]
fn after_a_kill_the_next_start_sweeps_or_takes_over() {
    if !ready("after_a_kill_the_next_start_sweeps_or_takes_over") {
        return;
    }
    let (mut first, before) = prepared(HOUSE);
    first.open(&grant("127.0.0.2", "udp/7053", later(300)), now()).unwrap();
    drop(first);
    let keep = Settings { flush_at_start: false, ..Settings::default() };
    let mut second = firewall(keep);
    second.prepare(now()).unwrap();
    assert!(reaches("127.0.0.2", 7053), "kept");
    assert_eq!(run("nft list ruleset").matches("jump FWKNOP_INPUT").count(), 1);
    let end = second.foreign_end().expect("the door of the first");
    load(&format!("flush ruleset\n{HOUSE}"));
    attend(&mut second, &[]);
    assert!(reaches("127.0.0.2", 7053), "kept over a reload too");
    assert_eq!(second.close(&[], end).unwrap().len(), 1);
    assert!(!reaches("127.0.0.2", 7053));
    second.open(&grant("127.0.0.3", "udp/7053", later(300)), now()).unwrap();
    drop(second);
    let mut third = firewall(Settings::default());
    third.prepare(now()).unwrap();
    assert!(!reaches("127.0.0.3", 7053), "swept");
    assert_eq!(third.foreign_end(), None);
    third.retire().unwrap();
    assert_eq!(run("nft list ruleset"), before);
}

#[test]
fn a_reload_a_flush_and_a_lost_jump_are_mended_at_once_with_the_time_that_is_left() {
    if !ready("a_reload_a_flush_and_a_lost_jump_are_mended_at_once_with_the_time_that_is_left") {
        return;
    }
    let (mut firewall, _) = prepared(HOUSE);
    let grant = grant("127.0.0.2", "udp/7053", later(100));
    firewall.open(&grant, now()).unwrap();
    let open = rules(&grant);
    attend(&mut firewall, &open);
    sleep(Duration::from_secs(3));
    let reload = format!("flush ruleset\n{HOUSE}");
    for (what, act) in [
        ("reload", "reload"),
        ("flush of the chain with the jump", "nft flush chain inet filter input"),
        ("flush of our chain", "nft flush chain inet filter FWKNOP_INPUT"),
        ("flush of our set", "nft flush set inet filter FWKNOP_INPUT4"),
    ] {
        match act {
            "reload" => load(&reload),
            command => drop(run(command)),
        }
        assert!(!reaches("127.0.0.2", 7053), "{what}: gone");
        let started = Instant::now();
        assert!(is_readable(firewall.events().unwrap(), Duration::from_millis(100)), "{what}: we hear of it");
        let notices = firewall.mend(&open, now()).unwrap();
        assert!(started.elapsed() < Duration::from_millis(100), "{what}: {:?}", started.elapsed());
        assert!(reaches("127.0.0.2", 7053), "{what}: {notices:?}");
        assert!(attend(&mut firewall, &open).is_empty(), "{what}: our own changes are no news");
    }
    let shown = run("nft list set inet filter FWKNOP_INPUT4");
    let left = shown.split("expires ").nth(1).unwrap();
    assert!(left.starts_with("9") || left.starts_with("1m3"), "not the whole time again: {shown}");
    assert!(!left.starts_with("1m4"), "not the whole time again: {shown}");
}

#[test]
fn a_grant_right_after_a_reload_is_open_when_it_is_called_open() {
    if !ready("a_grant_right_after_a_reload_is_open_when_it_is_called_open") {
        return;
    }
    let (mut firewall, _) = prepared(HOUSE);
    load(&format!("flush ruleset\n{HOUSE}"));
    let opened = firewall.open(&grant("127.0.0.2", "udp/7053", later(30)), now()).unwrap();
    assert!(opened.notices[0].text.starts_with("Added jump rule from chain: input to chain: FWKNOP_INPUT"));
    assert!(reaches("127.0.0.2", 7053));
}

#[test]
fn closing_right_after_the_ruleset_is_gone_is_no_error() {
    if !ready("closing_right_after_the_ruleset_is_gone_is_no_error") {
        return;
    }
    let (mut firewall, _) = prepared(HOUSE);
    let grant = grant("127.0.0.2", "udp/7053", later(30));
    firewall.open(&grant, now()).unwrap();
    run("nft flush ruleset");
    assert_eq!(firewall.close(&rules(&grant), grant.until).unwrap().len(), 1);
    load(HOUSE);
    attend(&mut firewall, &[]);
    assert!(!reaches("127.0.0.2", 7053), "it does not come back");
}

#[test]
fn a_ruleset_that_was_saved_and_restored_brings_nothing_back() {
    if !ready("a_ruleset_that_was_saved_and_restored_brings_nothing_back") {
        return;
    }
    let (mut firewall, _) = prepared(HOUSE);
    let grant = grant("127.0.0.2", "udp/7053", later(100));
    firewall.open(&grant, now()).unwrap();
    let saved = run("nft list ruleset");
    let end = grant.until;
    firewall.close(&rules(&grant), end).unwrap();
    assert!(!reaches("127.0.0.2", 7053));
    load(&format!("flush ruleset\n{saved}"));
    assert!(reaches("127.0.0.2", 7053), "it is back");
    assert!(is_readable(firewall.events().unwrap(), Duration::from_millis(100)));
    firewall.mend(&[], UnixTime(end.0 + 1)).unwrap();
    assert_eq!(firewall.foreign_end(), Some(end));
    firewall.close(&[], UnixTime(end.0 + 1)).unwrap();
    assert!(!reaches("127.0.0.2", 7053), "it has ended by its mark, whatever time the kernel gave it");
}

#[test]
fn two_grants_for_one_door_keep_it_open_to_the_later_end() {
    if !ready("two_grants_for_one_door_keep_it_open_to_the_later_end") {
        return;
    }
    let (mut firewall, _) = prepared(HOUSE);
    let (short, long) = (grant("127.0.0.2", "udp/7053", later(20)), grant("127.0.0.2", "udp/7053", later(50)));
    for (first, second) in [(&short, &long), (&long, &short)] {
        firewall.open(first, now()).unwrap();
        assert_eq!(firewall.open(second, now()).unwrap().added.len(), 1, "it is a rule of its own");
        assert!(run("nft list ruleset").contains("timeout 50s") || run("nft list ruleset").contains("timeout 49s"));
        assert_eq!(firewall.close(&rules(&short), short.until).unwrap().len(), 1);
        assert!(reaches("127.0.0.2", 7053), "the longer one lives");
        firewall.revoke(&rules(&long)).unwrap();
        assert!(!reaches("127.0.0.2", 7053));
    }
}

#[test]
fn every_chain_that_can_drop_gets_the_jump_and_no_other() {
    if !ready("every_chain_that_can_drop_gets_the_jump_and_no_other") {
        return;
    }
    let several = "table inet filter {
        chain tail { udp dport 7053 reject; }
        chain input { type filter hook input priority 0; policy accept; jump tail; }
        chain count { type filter hook input priority -10; policy accept; meta mark 1 accept; }
    }
    table ip early {
        chain in { type filter hook input priority -20; policy drop; ip saddr 127.0.0.9 accept; }
    }
    table ip6 six {
        chain in { type filter hook input priority 0; policy accept; meta l4proto vmap { udp : drop }; }
    }
    table inet forwards {
        chain f { type filter hook forward priority 0; policy drop; }
    }
    ";
    let (mut firewall, before) = prepared(several);
    let shown = run("nft list ruleset");
    assert_eq!(shown.matches("jump FWKNOP_INPUT").count(), 3, "{shown}");
    for client in ["127.0.0.2", "2001:db8::7"] {
        assert!(!reaches(client, 7053));
        firewall.open(&grant(client, "udp/7053", later(30)), now()).unwrap();
        assert!(reaches(client, 7053), "{client}");
    }
    firewall.retire().unwrap();
    assert_eq!(run("nft list ruleset"), before);
}

#[test]
fn tables_of_iptables_and_of_processes_are_left_alone_and_said() {
    let name = "tables_of_iptables_and_of_processes_are_left_alone_and_said";
    if !ready(name) || !has(name, "iptables-nft") {
        return;
    }
    run("iptables-nft -P INPUT DROP");
    run("iptables-nft -A INPUT -p tcp --dport 443 -j ACCEPT");
    let before = run("iptables-nft -S");
    let mut firewall = firewall(Settings::default());
    let notices = firewall.prepare(now()).unwrap();
    assert!(notices.iter().any(|notice| notice.text.contains("made by iptables-nft")), "{notices:?}");
    let error = firewall.open(&grant("127.0.0.2", "udp/7053", later(30)), now()).unwrap_err();
    assert!(matches!(error, FirewallError::NoPlace { .. }), "{error}");
    assert_eq!(run("iptables-nft -S"), before);
}

#[test]
fn with_no_ruleset_nothing_is_made_and_a_ruleset_that_comes_later_is_found() {
    if !ready("with_no_ruleset_nothing_is_made_and_a_ruleset_that_comes_later_is_found") {
        return;
    }
    let mut firewall = firewall(Settings::default());
    let notices = firewall.prepare(now()).unwrap();
    assert!(notices[0].text.contains("nothing drops input here"), "{notices:?}");
    assert_eq!(run("nft list ruleset"), "");
    load(HOUSE);
    attend(&mut firewall, &[]);
    firewall.open(&grant("127.0.0.2", "udp/7053", later(30)), now()).unwrap();
    assert!(reaches("127.0.0.2", 7053));
}

#[test]
fn a_chain_that_the_settings_name_is_waited_for() {
    if !ready("a_chain_that_the_settings_name_is_waited_for") {
        return;
    }
    let named = vec!["inet filter input".parse().unwrap()];
    let mut firewall = firewall(Settings { nft_input: named, ..Settings::default() });
    let notices = firewall.prepare(now()).unwrap();
    assert!(notices[0].text.contains("table inet filter input, which is not there"), "{notices:?}");
    let error = firewall.open(&grant("127.0.0.2", "udp/7053", later(30)), now()).unwrap_err();
    assert!(matches!(error, FirewallError::NoPlace { .. }), "{error}");
    load(HOUSE);
    firewall.open(&grant("127.0.0.2", "udp/7053", later(30)), now()).unwrap();
    assert!(reaches("127.0.0.2", 7053));
}

#[test]
fn rules_and_elements_of_others_end_by_their_mark() {
    if !ready("rules_and_elements_of_others_end_by_their_mark") {
        return;
    }
    let (mut firewall, _) = prepared(HOUSE);
    let (soon, far) = (later(50), later(90));
    run(&format!("nft add rule inet filter FWKNOP_INPUT udp dport 7053 accept comment \"x_exp_{soon}\""));
    run("nft add rule inet filter FWKNOP_INPUT udp dport 7054 accept");
    run(&format!("nft add element inet filter FWKNOP_INPUT4 {{ 127.0.0.2 . udp . 7055 comment \"_exp_{far}\" }}"));
    attend(&mut firewall, &[]);
    assert_eq!(firewall.foreign_end(), Some(soon));
    assert!(reaches("127.0.0.2", 7053) && reaches("127.0.0.2", 7055));
    assert_eq!(firewall.close(&[], soon).unwrap()[0].end, soon);
    assert!(!reaches("127.0.0.2", 7053) && reaches("127.0.0.2", 7055));
    assert_eq!(firewall.close(&[], far).unwrap()[0].end, far);
    assert!(!reaches("127.0.0.2", 7055));
    assert!(reaches("127.0.0.2", 7054), "what is not marked stays");
}

#[test]
fn our_own_table_closes_the_ports_named_survives_us_and_a_flush_of_the_ruleset() {
    if !ready("our_own_table_closes_the_ports_named_survives_us_and_a_flush_of_the_ruleset") {
        return;
    }
    let outside = Outside::new();
    assert!(outside.reaches(7053), "open before");
    let closed = vec!["udp/7053".parse().unwrap(), "udp/62201".parse().unwrap()];
    let settings = Settings { default_drop: closed, ..Settings::default() };
    let mut first = firewall(settings.clone());
    let notices = first.prepare(now()).unwrap();
    assert!(notices.iter().any(|notice| notice.text.contains("closes udp/7053,udp/62201")), "{notices:?}");
    let shown = run("nft list ruleset");
    for line in
        ["iifname \"lo\" accept", "ct state established,related accept", "udp dport 7053 drop", "udp dport 62201 drop"]
    {
        assert!(shown.contains(line), "{line} is not in {shown}");
    }
    assert!(!outside.reaches(7053), "closed now");
    assert!(outside.reaches(7054), "only the ports named");
    first.open(&grant("10.5.5.2", "udp/7053", later(60)), now()).unwrap();
    assert!(outside.reaches(7053), "open by grant");
    if shown.contains("owner") {
        run("nft flush ruleset");
        assert!(run("nft list ruleset").contains("10.5.5.2 . udp . 7053"), "a flush does not reach it");
    }
    drop(first); // killed
    assert!(run("nft list ruleset").contains("udp dport 7053 drop"), "closed without us");
    let mut second = firewall(Settings { flush_at_start: false, ..settings.clone() });
    second.prepare(now()).unwrap();
    assert!(run("nft list ruleset").contains("10.5.5.2 . udp . 7053"), "the door is taken over");
    second.retire().unwrap();
    let shown = run("nft list ruleset");
    assert!(shown.contains("udp dport 7053 drop") && !shown.contains("10.5.5.2"), "closed after a clean exit: {shown}");
    assert!(!outside.reaches(7053));
    drop(second);
    firewall(settings).flush().unwrap();
    assert_eq!(run("nft list ruleset"), "");
}

#[test]
fn a_thousand_doors_stand_and_end_together() {
    if !ready("a_thousand_doors_stand_and_end_together") {
        return;
    }
    let (mut firewall, before) = prepared(HOUSE);
    let until = later(3000);
    let grants: Vec<Grant> =
        (0..1000).map(|n| grant(&format!("10.1.{}.{}", n / 250, n % 250 + 1), "tcp/22", until)).collect();
    let started = Instant::now();
    for grant in &grants {
        firewall.open(grant, now()).unwrap();
    }
    println!("1000 grants: {:?}", started.elapsed());
    let all: Vec<Rule> = grants.iter().flat_map(Grant::rules).collect();
    assert_eq!(run("nft list ruleset").matches("_exp_").count(), 1000);
    load(&format!("flush ruleset\n{HOUSE}"));
    let started = Instant::now();
    firewall.mend(&all, now()).unwrap();
    println!("mended 1000: {:?}", started.elapsed());
    assert_eq!(run("nft list ruleset").matches("_exp_").count(), 1000);
    assert_eq!(firewall.close(&all, until).unwrap().len(), 1000);
    assert_eq!(run("nft list ruleset").matches("_exp_").count(), 0);
    firewall.retire().unwrap();
    assert_eq!(run("nft list ruleset"), before);
}
