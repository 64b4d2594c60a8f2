//! The command lines of the iptables back end, without a firewall: a script answers.
use super::super::runner::Script;
use super::*;

const NOW: UnixTime = UnixTime(1_795_332_840);

fn firewall(settings: Settings, answers: &[(&str, i32, &str)]) -> Iptables<Script> {
    let mut runner = Script::default();
    for (part, status, text) in answers {
        runner.answer(part, *status, text);
    }
    Iptables::new(Path::new("/sbin/iptables"), settings, runner)
}

fn grant(client: &str, ports: &str) -> Grant {
    let (client, ports) = (client.parse().unwrap(), ports.parse().unwrap());
    Grant { stanza: 1, client, ports, until: UnixTime(1_795_332_870) }
}

/// What was asked of the IPv4 program, without the words that all have.
fn asked(firewall: &mut Iptables<Script>) -> Vec<String> {
    let asked = std::mem::take(&mut firewall.runner.asked);
    let four = |line: &String| line.strip_prefix("/sbin/iptables ").map(|line| line.replace(" -w 5", ""));
    asked.iter().filter_map(four).collect()
}

#[test]
fn a_start_flushes_as_the_original_does_and_probes_the_matches() {
    let mut firewall = firewall(Settings::default(), &[("-D INPUT", 1, ""), ("-C INPUT", 1, "")]);
    let notices = firewall.prepare(NOW).unwrap();
    assert_eq!(
        asked(&mut firewall),
        [
            "-t filter -L INPUT -n",
            "-t filter -D INPUT -j FWKNOP_INPUT",
            "-t filter -F FWKNOP_INPUT",
            "-t filter -X FWKNOP_INPUT",
            "-C INPUT -t filter -j FWKNOP_INPUT",
            "-t filter -N FWKNOP_INPUT",
            "-t filter -I INPUT 1 -j FWKNOP_INPUT",
            "-A FWKNOP_INPUT -t filter -s 127.0.0.2 -m time --datestop 2038-01-01T00:00:00 \
             -m comment --comment __TMPCOMMENT__ -j ACCEPT",
            "-D FWKNOP_INPUT -t filter -s 127.0.0.2 -m time --datestop 2038-01-01T00:00:00 \
             -m comment --comment __TMPCOMMENT__ -j ACCEPT",
            "-t filter -S FWKNOP_INPUT",
        ]
    );
    assert_eq!(notices[0], Notice::info("Added jump rule from chain: INPUT to chain: FWKNOP_INPUT"));
    assert_eq!(notices[1], Notice::info("iptables 'comment' match is available"));
}

#[test]
fn a_grant_adds_each_door_then_checks_the_jump_and_looks_at_the_rest() {
    let mut firewall = firewall(Settings::default(), &[]);
    let opened = firewall.open(&grant("10.77.0.2", "tcp/22,udp/53"), NOW).unwrap();
    assert_eq!(opened.added.len(), 2);
    assert_eq!(
        asked(&mut firewall),
        [
            "-A FWKNOP_INPUT -t filter -p 6 -s 10.77.0.2 -d 0.0.0.0/0 --dport 22 -m comment --comment _exp_1795332870 -j ACCEPT",
            "-A FWKNOP_INPUT -t filter -p 17 -s 10.77.0.2 -d 0.0.0.0/0 --dport 53 -m comment --comment _exp_1795332870 -j ACCEPT",
            "-C INPUT -t filter -j FWKNOP_INPUT",
            "-t filter -S FWKNOP_INPUT",
        ]
    );
    let again = firewall.open(&grant("10.77.0.2", "tcp/22"), NOW).unwrap();
    assert!(again.added.is_empty(), "the same rule with the same end stands already");
}

#[test]
fn ipv6_goes_to_the_program_beside() {
    let mut firewall = firewall(Settings::default(), &[]);
    firewall.open(&grant("2001:db8::7", "tcp/22"), NOW).unwrap();
    assert!(asked(&mut firewall).is_empty());
}

#[test]
fn without_ip6tables_an_ipv6_grant_is_refused_and_the_start_says_so() {
    let mut firewall = firewall(Settings::default(), &[("/sbin/ip6tables", 127, "not found")]);
    let notices = firewall.prepare(NOW).unwrap();
    assert!(notices.iter().any(|notice| notice.text.contains("no door can be opened for IPv6")));
    let error = firewall.open(&grant("2001:db8::7", "tcp/22"), NOW).unwrap_err();
    assert!(matches!(error, FirewallError::NoPlace { .. }), "{error}");
}

#[test]
fn a_refused_rule_is_an_error_and_half_a_grant_is_taken_back() {
    let half =
        "-A FWKNOP_INPUT -s 10.77.0.2/32 -p tcp -m tcp --dport 22 -m comment --comment _exp_1795332870 -j ACCEPT\n";
    let mut firewall = firewall(Settings::default(), &[("--dport 53", 4, "lock held"), ("-S FWKNOP_INPUT", 0, half)]);
    let error = firewall.open(&grant("10.77.0.2", "tcp/22,udp/53"), NOW).unwrap_err();
    assert!(error.to_string().starts_with("create_rule() Error 4 from cmd:'/sbin/iptables -A FWKNOP_INPUT"));
    assert!(error.to_string().ends_with("lock held"));
    assert!(asked(&mut firewall).last().unwrap().starts_with("-t filter -D FWKNOP_INPUT -s 10.77.0.2/32"));
}

#[test]
fn a_position_beyond_the_end_falls_back_to_the_end_and_says_so() {
    let mut settings = Settings::default();
    settings.input.jump_position = 9;
    let mut firewall = firewall(settings, &[("-C INPUT", 1, ""), ("-I INPUT 9", 4, "Index of insertion too big.")]);
    let opened = firewall.open(&grant("10.77.0.2", "tcp/22"), NOW).unwrap();
    assert!(opened.notices[0].text.contains("INPUT has no position 9"), "{:?}", opened.notices);
    assert!(asked(&mut firewall).contains(&"-t filter -A INPUT -j FWKNOP_INPUT".into()));
}

#[test]
fn an_unclear_answer_about_the_jump_never_makes_a_second_one() {
    let added =
        "-A FWKNOP_INPUT -s 10.77.0.2/32 -p tcp -m tcp --dport 22 -m comment --comment _exp_1795332870 -j ACCEPT\n";
    let script = [("-C INPUT", 4, "lock held"), ("-S FWKNOP_INPUT", 0, added)];
    let mut firewall = firewall(Settings::default(), &script);
    assert!(firewall.open(&grant("10.77.0.2", "tcp/22"), NOW).is_err());
    let asked = asked(&mut firewall);
    assert!(!asked.iter().any(|asked| asked.contains("-I INPUT")), "{asked:?}");
    assert!(asked.last().unwrap().contains("-D FWKNOP_INPUT"), "what may be open is closed again: {asked:?}");
}

#[test]
fn rules_of_others_end_by_their_mark_and_the_rest_stays() {
    let listing = "-N FWKNOP_INPUT\n\
        -A FWKNOP_INPUT -s 10.0.0.1/32 -j ACCEPT\n\
        -A FWKNOP_INPUT -s 10.0.0.2/32 -m comment --comment _exp_1795332845 -j ACCEPT\n\
        -A FWKNOP_INPUT -s 10.0.0.3/32 -m comment --comment x_exp_1795332900 -j ACCEPT\n";
    let mut firewall = firewall(Settings::default(), &[("-S FWKNOP_INPUT", 0, listing)]);
    firewall.open(&grant("10.77.0.2", "tcp/22"), NOW).unwrap();
    assert_eq!(firewall.foreign_end(), Some(UnixTime(1_795_332_845)));
    let removed = firewall.close(&[], UnixTime(1_795_332_845)).unwrap();
    assert_eq!(removed[0].to_string(), "Removed rule 2 from FWKNOP_INPUT with expire time of 1795332845");
    assert_eq!(removed.len(), 1);
    assert_eq!(firewall.foreign_end(), Some(UnixTime(1_795_332_900)));
}

#[test]
fn without_the_time_match_it_goes_on_and_says_so_and_without_the_comment_match_it_does_not() {
    let mut plain = firewall(Settings::default(), &[("-m time", 2, "Couldn't load match `time'")]);
    let notices = plain.prepare(NOW).unwrap();
    assert!(notices.iter().any(|notice| notice.text.contains("rules end only while fwknopd runs")), "{notices:?}");
    plain.open(&grant("10.77.0.2", "tcp/22"), NOW).unwrap();
    assert!(asked(&mut plain).iter().all(|line| !line.contains("_exp_") || !line.contains("-m time")));
    let mut none = firewall(Settings::default(), &[("-m comment", 2, "Couldn't load match `comment'")]);
    let error = none.prepare(NOW).unwrap_err().to_string();
    assert!(error.starts_with("Warning: Could not use the 'comment' match"), "{error}");
}

#[test]
fn a_wrapper_of_another_name_is_called_for_ipv4_only() {
    let mut firewall = Iptables::new(Path::new("/opt/wrapper"), Settings::default(), Script::default());
    let notices = firewall.prepare(NOW).unwrap();
    assert!(notices.iter().any(|notice| notice.text.contains("no ip6tables known beside /opt/wrapper")));
    assert!(firewall.open(&grant("2001:db8::7", "tcp/22"), NOW).is_err());
}

#[test]
fn what_could_not_be_closed_is_tried_again_and_not_at_once() {
    let listing = "-A FWKNOP_INPUT -s 10.0.0.2/32 -m comment --comment _exp_1795332845 -j ACCEPT\n";
    let mut firewall = firewall(Settings::default(), &[("-S FWKNOP_INPUT", 0, listing)]);
    let grant = grant("10.77.0.2", "tcp/22");
    let ended: Vec<Rule> = grant.rules().collect();
    firewall.open(&grant, NOW).unwrap();
    firewall.runner.answer("-S FWKNOP_INPUT", 4, "lock held");
    assert!(firewall.close(&ended, grant.until).is_err());
    assert_eq!(firewall.foreign_end(), Some(UnixTime(grant.until.0 + 1)));
    firewall.runner.answer("-S FWKNOP_INPUT", 0, listing);
    assert_eq!(firewall.close(&ended, grant.until).unwrap().len(), 1);
    assert_eq!(firewall.foreign_end(), None);
}
