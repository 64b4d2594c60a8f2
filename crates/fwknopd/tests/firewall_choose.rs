//! Which firewall is chosen, on machines that drop in one place, in another, in several and nowhere.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod namespace;

use fwknopd::firewall::choose::{Choice, choose, installed};
use fwknopd::firewall::{FirewallError, Settings};
use fwknopd::grant::Grant;
use fwknopd::journal::Level;
use namespace::{enter, has, load, now, reaches, run};
use spa::UnixTime;

const NATIVE: &str = "table inet filter {
    chain input { type filter hook input priority 0; policy drop; }
}
";

fn ready(name: &str) -> bool {
    enter(name) && ["nft", "iptables-nft", "iptables-legacy"].into_iter().all(|program| has(name, program))
}

fn chosen(settings: &Settings) -> Result<Choice, FirewallError> {
    choose(settings)
}

/// Opens a door with what is chosen here, and says whether a packet came through.
fn opens(choice: &mut Choice) -> bool {
    choice.firewall.prepare(now()).unwrap();
    assert!(!reaches("127.0.0.2", 7053), "closed before");
    let (client, ports) = ("127.0.0.2".parse().unwrap(), "udp/7053".parse().unwrap());
    let grant = Grant { stanza: 1, client, ports, until: UnixTime(now().0 + 30) };
    choice.firewall.open(&grant, now()).unwrap();
    let open = reaches("127.0.0.2", 7053);
    choice.firewall.retire().unwrap();
    open
}

#[test]
fn where_native_tables_drop_nftables_is_chosen() {
    if !ready("where_native_tables_drop_nftables_is_chosen") {
        return;
    }
    load(NATIVE);
    let mut choice = chosen(&Settings::default()).unwrap();
    assert_eq!(choice.firewall.name(), "nftables");
    assert!(choice.notices[0].text.contains("table inet filter input drops"), "{:?}", choice.notices);
    assert!(opens(&mut choice));
}

#[test]
fn where_iptables_drops_its_flavour_is_chosen() {
    if !ready("where_iptables_drops_its_flavour_is_chosen") {
        return;
    }
    for flavour in ["iptables-nft", "iptables-legacy"] {
        run(&format!("{flavour} -P INPUT DROP"));
        let mut choice = chosen(&Settings::default()).unwrap();
        assert_eq!(choice.firewall.name(), "iptables");
        assert!(choice.notices[0].text.starts_with(flavour), "{:?}", choice.notices);
        assert!(opens(&mut choice));
        run(&format!("{flavour} -P INPUT ACCEPT"));
    }
}

#[test]
fn where_several_drop_they_are_named_and_refused_until_a_person_decides() {
    if !ready("where_several_drop_they_are_named_and_refused_until_a_person_decides") {
        return;
    }
    load(NATIVE);
    run("iptables-legacy -A INPUT -p tcp --dport 22 -j REJECT");
    let text = chosen(&Settings::default()).err().unwrap().to_string();
    assert!(text.contains("table inet filter input") && text.contains("iptables-legacy INPUT"), "{text}");
    let decided = Settings { exe: installed("nft"), ..Settings::default() };
    let choice = chosen(&decided).unwrap();
    assert_eq!(choice.firewall.name(), "nftables");
    let warned = choice.notices.iter().any(|notice| notice.level == Level::Warning);
    assert!(warned, "the other one is still worth a word: {:?}", choice.notices);
}

#[test]
fn where_nothing_drops_it_is_said_and_whoever_drops_later_takes_over() {
    if !ready("where_nothing_drops_it_is_said_and_whoever_drops_later_takes_over") {
        return;
    }
    let mut choice = chosen(&Settings::default()).unwrap();
    assert_eq!(choice.firewall.name(), "iptables");
    assert!(choice.notices[0].text.starts_with("nothing drops input here"), "{:?}", choice.notices);
    let firewall = &mut choice.firewall;
    firewall.prepare(now()).unwrap();
    let grant = |client: &str| {
        let (client, ports) = (client.parse().unwrap(), "udp/7053".parse().unwrap());
        Grant { stanza: 1, client, ports, until: UnixTime(now().0 + 30) }
    };
    firewall.open(&grant("127.0.0.2"), now()).unwrap();
    assert!(run("iptables -S").contains("-A FWKNOP_INPUT -s 127.0.0.2/32"));
    load(NATIVE);
    let opened = firewall.open(&grant("127.0.0.3"), now()).unwrap();
    assert!(opened.notices[0].text.contains("nftables takes over"), "{:?}", opened.notices);
    assert_eq!(firewall.name(), "nftables");
    assert!(reaches("127.0.0.3", 7053) && reaches("127.0.0.2", 7053), "old and new doors are open");
    assert!(!run("iptables -S").contains("FWKNOP"));
}

#[test]
fn a_table_that_another_process_owns_is_refused_by_name() {
    if !ready("a_table_that_another_process_owns_is_refused_by_name") {
        return;
    }
    let closed = vec!["udp/7053".parse().unwrap()];
    let guarding = Settings { default_drop: closed, ..Settings::default() };
    let mut first = chosen(&guarding).unwrap();
    assert_eq!(first.firewall.name(), "nftables");
    first.firewall.prepare(now()).unwrap();
    let mut second = chosen(&guarding).unwrap();
    let error = second.firewall.prepare(now()).unwrap_err();
    assert!(error.to_string().contains("belongs to another program"), "{error}");
    drop(first);
    let mut third = chosen(&Settings::default()).unwrap();
    assert_eq!(third.firewall.name(), "nftables", "our own table of an earlier run drops");
    let notices = third.firewall.prepare(now()).unwrap();
    assert!(notices[0].text.contains("it is deleted"), "the setting is gone, so is the table: {notices:?}");
    assert_eq!(run("nft list ruleset"), "");
}
