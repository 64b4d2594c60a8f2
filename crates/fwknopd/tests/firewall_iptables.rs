//! The iptables back end against real kernels and programs: both flavours, both families.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod namespace;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use fwknopd::firewall::choose::installed;
use fwknopd::firewall::iptables::Iptables;
use fwknopd::firewall::runner::Programs;
use fwknopd::firewall::{Firewall, FirewallError, Listing, Settings};
use fwknopd::grant::{Grant, Rule};
use fwknopd::journal::Level;
use namespace::{attempt, enter, has, now, reaches, run};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use spa::UnixTime;

const FLAVOURS: [&str; 2] = ["iptables-nft", "iptables-legacy"];
const LIMIT: Duration = Duration::from_secs(20);

fn firewall(program: &str, settings: Settings) -> Iptables<Programs> {
    Iptables::new(&installed(program).unwrap(), settings, Programs { limit: LIMIT })
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

/// Runs `test` with each flavour that is installed, in a namespace where both drop by default.
fn with_each_flavour(name: &str, test: impl Fn(&str)) {
    if !enter(name) {
        return;
    }
    run("ip -6 addr add 2001:db8::7/128 dev lo nodad");
    for flavour in FLAVOURS {
        if has(name, flavour) {
            run(&format!("{flavour} -P INPUT DROP"));
            run(&format!("{} -P INPUT DROP", flavour.replace("ip", "ip6")));
            test(flavour);
            run(&format!("{flavour} -P INPUT ACCEPT"));
            run(&format!("{} -P INPUT ACCEPT", flavour.replace("ip", "ip6")));
        }
    }
}

#[test]
fn a_door_is_open_from_open_to_close_in_both_families() {
    with_each_flavour("a_door_is_open_from_open_to_close_in_both_families", |flavour| {
        let mut firewall = firewall(flavour, Settings::default());
        let notices = firewall.prepare(now()).unwrap();
        assert!(notices.iter().all(|notice| notice.level == Level::Info), "{notices:?}");
        for client in ["127.0.0.2", "2001:db8::7"] {
            assert!(!reaches(client, 7053), "{flavour}: closed before");
            let grant = grant(client, "tcp/22,udp/7053", later(30));
            let opened = firewall.open(&grant, now()).unwrap();
            assert_eq!(opened.added.len(), 2);
            assert!(reaches(client, 7053), "{flavour}: open for {client}");
            assert!(!reaches(client, 7054), "{flavour}: only the port asked for");
            assert!(firewall.open(&grant, now()).unwrap().added.is_empty(), "once only");
            let removed = firewall.close(&rules(&grant), grant.until).unwrap();
            assert_eq!(removed.iter().map(|rule| rule.number).collect::<Vec<_>>(), [1, 2]);
            assert!(!reaches(client, 7053), "{flavour}: closed after");
        }
        firewall.retire().unwrap();
        assert!(!run(&format!("{flavour} -S")).contains("FWKNOP"), "nothing is left");
    });
}

#[test]
fn the_kernel_ends_a_rule_by_itself() {
    with_each_flavour("the_kernel_ends_a_rule_by_itself", |flavour| {
        let mut firewall = firewall(flavour, Settings::default());
        firewall.prepare(now()).unwrap();
        firewall.open(&grant("127.0.0.2", "udp/7053", later(2)), now()).unwrap();
        assert!(reaches("127.0.0.2", 7053));
        drop(firewall); // as if killed: nobody is left to delete it
        let started = Instant::now();
        while reaches("127.0.0.2", 7053) {
            assert!(started.elapsed() < Duration::from_secs(4), "{flavour}: never closed");
        }
        let listing = run(&format!("{flavour} -t filter -L FWKNOP_INPUT --line-numbers -n"));
        assert!(listing.trim_end().ends_with("*/"), "the comment stands last: {listing}");
    });
}

#[test]
fn ends_beyond_the_time_match_are_added_without_it_and_said_aloud() {
    with_each_flavour("ends_beyond_the_time_match_are_added_without_it_and_said_aloud", |flavour| {
        let mut firewall = firewall(flavour, Settings::default());
        firewall.prepare(now()).unwrap();
        for (until, spoken) in [(UnixTime(1 << 31), false), (UnixTime((1 << 31) + 1), true)] {
            let opened = firewall.open(&grant("127.0.0.2", "udp/7053", until), now()).unwrap();
            assert_eq!(!opened.notices.is_empty(), spoken, "{:?}", opened.notices);
        }
        assert!(reaches("127.0.0.2", 7053));
    });
}

#[test]
fn chain_and_jump_come_back_at_the_next_grant() {
    with_each_flavour("chain_and_jump_come_back_at_the_next_grant", |flavour| {
        let mut firewall = firewall(flavour, Settings::default());
        firewall.prepare(now()).unwrap();
        run(&format!("{flavour} -F"));
        run(&format!("{flavour} -X"));
        let grant = grant("127.0.0.2", "udp/7053", later(30));
        let opened = firewall.open(&grant, now()).unwrap();
        let jump = "Added jump rule from chain: INPUT to chain: FWKNOP_INPUT";
        assert_eq!(opened.notices[0].text, jump);
        assert!(reaches("127.0.0.2", 7053));
        run(&format!("{flavour} -F"));
        assert!(!reaches("127.0.0.2", 7053));
        let notices = firewall.mend(&rules(&grant), now()).unwrap();
        assert_eq!((notices[0].text.as_str(), notices.len()), (jump, 2), "{notices:?}");
        assert!(reaches("127.0.0.2", 7053));
        firewall.retire().unwrap();
    });
}

#[test]
fn what_a_reload_of_iptables_nft_takes_away_is_put_back_at_once() {
    let name = "what_a_reload_of_iptables_nft_takes_away_is_put_back_at_once";
    if !enter(name) || !has(name, "iptables-nft") {
        return;
    }
    run("iptables-nft -P INPUT DROP");
    let folder = tempfile::tempdir().unwrap();
    let saved = folder.path().join("rules.v4");
    fs::write(&saved, run("iptables-nft-save")).unwrap();
    let mut firewall = firewall("iptables-nft", Settings::default());
    firewall.prepare(now()).unwrap();
    let grant = grant("127.0.0.2", "udp/7053", later(30));
    firewall.open(&grant, now()).unwrap();
    let told = |firewall: &Iptables<Programs>, milliseconds: i64| {
        let mut wait = [PollFd::from_borrowed_fd(firewall.events().unwrap(), PollFlags::IN)];
        poll(&mut wait, Some(&Timespec { tv_sec: 0, tv_nsec: milliseconds * 1_000_000 })).unwrap() == 1
    };
    assert!(!told(&firewall, 50), "what we do ourselves is no news");
    run("iptables-nft -A OUTPUT -j ACCEPT");
    assert!(told(&firewall, 50));
    assert!(firewall.mend(&rules(&grant), now()).unwrap().is_empty(), "the output chain is not our business");
    run(&format!("iptables-nft-restore {}", saved.display()));
    assert!(!reaches("127.0.0.2", 7053), "gone");
    assert!(told(&firewall, 50));
    firewall.mend(&rules(&grant), now()).unwrap();
    assert!(reaches("127.0.0.2", 7053), "back");
    assert!(!told(&firewall, 50));
}

#[test]
fn without_flushing_a_start_keeps_what_lives_and_sweeps_what_ended() {
    with_each_flavour("without_flushing_a_start_keeps_what_lives_and_sweeps_what_ended", |flavour| {
        let keep = Settings { flush_at_start: false, flush_at_exit: false, ..Settings::default() };
        let mut first = firewall(flavour, keep.clone());
        first.prepare(now()).unwrap();
        first.open(&grant("127.0.0.2", "udp/7053", later(30)), now()).unwrap();
        first.open(&grant("127.0.0.3", "udp/7053", later(5)), now()).unwrap();
        first.retire().unwrap();
        let mut second = firewall(flavour, keep);
        let notices = second.prepare(later(6)).unwrap();
        assert!(notices.iter().any(|notice| notice.text.starts_with("Removed rule 2 from FWKNOP_INPUT")));
        assert!(reaches("127.0.0.2", 7053), "{flavour}");
        assert!(!reaches("127.0.0.3", 7053), "{flavour}");
        let jumps = run(&format!("{flavour} -S INPUT"));
        assert_eq!(jumps.matches("-j FWKNOP_INPUT").count(), 1, "{jumps}");
        let end = second.foreign_end().expect("the rule of the first run");
        assert_eq!(second.close(&[], end).unwrap().len(), 1);
        assert_eq!(second.foreign_end(), None);
        second.flush().unwrap();
    });
}

#[test]
fn a_rule_of_others_ends_by_its_mark_behind_a_hundred_and_an_unmarked_one_stays() {
    with_each_flavour("a_rule_of_others_ends_by_its_mark_behind_a_hundred_and_an_unmarked_one_stays", |flavour| {
        let mut firewall = firewall(flavour, Settings::default());
        firewall.prepare(now()).unwrap();
        let chain = "FWKNOP_INPUT";
        run(&format!("{flavour} -A {chain} -s 10.9.9.9 -j ACCEPT"));
        let end = later(5);
        for n in 1..=100 {
            let until = if n == 100 { end } else { later(500) };
            run(&format!("{flavour} -A {chain} -s 10.9.8.{n} -m comment --comment x_exp_{until} -j ACCEPT"));
        }
        firewall.open(&grant("127.0.0.2", "udp/7053", later(300)), now()).unwrap();
        assert_eq!(firewall.foreign_end(), Some(end));
        let removed = firewall.close(&[], end).unwrap();
        assert_eq!(removed[0].to_string(), format!("Removed rule 101 from FWKNOP_INPUT with expire time of {end}"));
        assert_eq!(removed.len(), 1);
        assert_eq!(firewall.close(&[], later(501)).unwrap().len(), 99, "in one batch");
        assert!(run(&format!("{flavour} -S {chain}")).contains("10.9.9.9"));
        assert!(reaches("127.0.0.2", 7053));
        firewall.retire().unwrap();
    });
}

#[test]
fn a_jump_position_beyond_the_end_is_said_and_the_door_opens_all_the_same() {
    with_each_flavour("a_jump_position_beyond_the_end_is_said_and_the_door_opens_all_the_same", |flavour| {
        let mut settings = Settings::default();
        settings.input.jump_position = 7;
        let mut firewall = firewall(flavour, settings);
        let notices = firewall.prepare(now()).unwrap();
        assert!(notices[0].text.contains("no position 7"), "{notices:?}");
        firewall.open(&grant("127.0.0.2", "udp/7053", later(30)), now()).unwrap();
        assert!(reaches("127.0.0.2", 7053));
        firewall.retire().unwrap();
    });
}

#[test]
fn a_chain_with_a_short_name_ends_its_rules_too() {
    with_each_flavour("a_chain_with_a_short_name_ends_its_rules_too", |flavour| {
        let mut settings = Settings::default();
        settings.input.to_chain = "K".into();
        settings.prepend = true;
        let mut firewall = firewall(flavour, settings);
        firewall.prepare(now()).unwrap();
        let grant = grant("127.0.0.2", "udp/7053,udp/7054", later(30));
        firewall.open(&grant, now()).unwrap();
        let listing = firewall.list(Listing::Ours).unwrap();
        assert!(listing.starts_with("\nChain K (1 references)\nnum  target"), "{listing}");
        assert!(listing.find("dpt:7054") < listing.find("dpt:7053"), "the new rule stands first: {listing}");
        assert!(firewall.list(Listing::All).unwrap().contains("Chain FORWARD"));
        assert_eq!(firewall.close(&rules(&grant), grant.until).unwrap().len(), 2);
        assert!(!reaches("127.0.0.2", 7053));
        firewall.retire().unwrap();
    });
}

#[test]
fn a_program_that_refuses_or_hangs_opens_nothing() {
    let name = "a_program_that_refuses_or_hangs_opens_nothing";
    if !enter(name) || !has(name, "iptables") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("iptables");
    let script = |body: &str| {
        fs::write(&program, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Iptables::new(&program, Settings::default(), Programs { limit: Duration::from_millis(500) })
    };
    let grant = grant("127.0.0.2", "udp/7053", later(30));
    let error = script("case $1 in -A) echo no >&2; exit 4;; esac").open(&grant, now()).unwrap_err();
    assert!(matches!(&error, FirewallError::Refused { status: 4, output, .. } if output == "no"), "{error}");
    let error = script("exec sleep 30").open(&grant, now()).unwrap_err();
    assert!(matches!(error, FirewallError::TooSlow { .. }), "{error}");
    fs::remove_file(&program).unwrap();
    let mut missing = Iptables::new(&program, Settings::default(), Programs { limit: LIMIT });
    assert!(matches!(missing.prepare(now()), Err(FirewallError::CannotRun { .. })));
    assert!(matches!(missing.open(&grant, now()), Err(FirewallError::CannotRun { .. })));
    assert!(attempt("iptables -S FWKNOP_INPUT").status.code() == Some(1), "nothing was made");
}

#[test]
fn a_lock_that_another_program_holds_is_waited_for() {
    let name = "a_lock_that_another_program_holds_is_waited_for";
    if !enter(name) || !has(name, "iptables-legacy") || !has(name, "flock") {
        return;
    }
    run("iptables-legacy -P INPUT DROP");
    let mut firewall = firewall("iptables-legacy", Settings::default());
    firewall.prepare(now()).unwrap();
    let mut other = Command::new("flock").args(["/run/xtables.lock", "sleep", "1"]).spawn().unwrap();
    sleep(Duration::from_millis(300));
    let started = Instant::now();
    firewall.open(&grant("127.0.0.2", "udp/7053", later(30)), now()).unwrap();
    assert!(started.elapsed() > Duration::from_millis(400), "it has waited");
    assert!(reaches("127.0.0.2", 7053));
    other.wait().unwrap();
}

#[test]
fn a_thousand_grants_stand_and_end_together() {
    let name = "a_thousand_grants_stand_and_end_together";
    if !enter(name) || !has(name, "iptables-legacy") {
        return;
    }
    let mut firewall = firewall("iptables-legacy", Settings::default());
    firewall.prepare(now()).unwrap();
    let until = later(3000);
    let grants: Vec<Grant> =
        (0..1000).map(|n| grant(&format!("10.1.{}.{}", n / 250, n % 250 + 1), "tcp/22", until)).collect();
    for grant in &grants {
        firewall.open(grant, now()).unwrap();
    }
    let all: Vec<Rule> = grants.iter().flat_map(Grant::rules).collect();
    assert_eq!(run("iptables-legacy -S FWKNOP_INPUT").matches("_exp_").count(), 1000);
    assert_eq!(firewall.close(&all, until).unwrap().len(), 1000);
    assert_eq!(run("iptables-legacy -S FWKNOP_INPUT").matches("_exp_").count(), 0);
}
