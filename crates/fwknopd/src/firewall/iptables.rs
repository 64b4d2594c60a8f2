//! The firewall of iptables and ip6tables, laid out as the original lays it out.
//!
//! ```text
//! -A INPUT -j FWKNOP_INPUT                                                (the jump, at its position)
//! -A FWKNOP_INPUT -s 10.0.0.7/32 -p tcp ... -m comment --comment _exp_E -j ACCEPT   (one per door)
//! ```
//!
//! A grant of n ports runs n + 2 programs: `-C` for the jump, `-A` for each door, and `-S` to see what
//! others have put into our chain. Ended rules go in two: `-S`, and one `-D` or one batch. Exit statuses
//! count, output never decides. Where the program is iptables-nft, the kernel tells us of changes and we put back what
//! a reload took away; with iptables-legacy that happens at the next grant, as in the original. IPv6 goes through the `ip6tables` beside FIREWALL_EXE, with the same
//! chain names.
use std::collections::HashSet;
use std::net::IpAddr;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;

use spa::UnixTime;

use self::listing::Listed;
use self::tool::{Tool, owned, said};
use super::nft::changes::{Changes, Told, concerns_chains};
use super::nft::message::Message;
use super::runner::Runner;
use super::settings::Settings;
use super::{Added, ChainSpec, Firewall, FirewallError, Listing, Notice, Opened, Removed};
use crate::grant::{Grant, Rule};

pub mod listing;
pub mod tool;
pub mod words;

/// How many jumps to our chain are taken away at most, as in the original.
const MOST_JUMPS: usize = 10;

/// The chains of both families and what we put into them.
#[derive(Debug)]
pub struct Iptables<R> {
    runner: R,
    settings: Settings,
    v4: Side,
    v6: Side,
    /// Where iptables-nft is in use, the kernel tells of changes; otherwise this is silent.
    changes: Option<Changes>,
}

/// One family: its program, or why there is none, and what its chain holds.
#[derive(Debug)]
struct Side {
    tool: Tool,
    /// Set while no door of this family can be opened.
    missing: Option<String>,
    /// The rules we made.
    own: HashSet<Rule>,
    /// The ends of marked rules that others made, as of the last listing.
    foreign: Vec<UnixTime>,
}

impl Side {
    fn new(tool: Tool) -> Self {
        Self { tool, missing: None, own: HashSet::new(), foreign: Vec::new() }
    }

    /// Makes chain and jump stand; says so if it had to.
    fn stand(&mut self, runner: &mut impl Runner, spec: &ChainSpec) -> Result<Vec<Notice>, FirewallError> {
        let ChainSpec { table, from_chain, jump_position, to_chain, .. } = spec;
        let check = owned(&format!("-C {from_chain} -t {table} -j {to_chain}"));
        if self.tool.found(runner, "rule_exists", check)? {
            return Ok(Vec::new());
        }
        // Whether it was there already does not matter; if it cannot be made, the jump fails.
        self.tool.ask(runner, "create_chain", &format!("-t {table} -N {to_chain}"))?;
        let insert = format!("-t {table} -I {from_chain} {jump_position} -j {to_chain}");
        let added = format!("Added jump rule from chain: {from_chain} to chain: {to_chain}");
        let refusal = self.tool.ask(runner, "add_jump_rule", &insert)?;
        if refusal.status == 0 {
            return Ok(vec![Notice::info(added)]);
        }
        let append = owned(&format!("-t {table} -A {from_chain} -j {to_chain}"));
        self.tool.must(runner, "add_jump_rule", append)?;
        let warning = format!(
            "{from_chain} has no position {jump_position} for the jump to {to_chain} ({}): it stands at the \
             end, where rules before it may already have dropped what it would let in",
            said(&refusal)
        );
        Ok(vec![Notice::warning(warning), Notice::info(added)])
    }

    /// Takes jump, rules and chain away, as far as they are there.
    fn remove(&mut self, runner: &mut impl Runner, spec: &ChainSpec) -> Result<(), FirewallError> {
        let ChainSpec { table, from_chain, to_chain, .. } = spec;
        let delete = owned(&format!("-t {table} -D {from_chain} -j {to_chain}"));
        for _ in 0..MOST_JUMPS {
            if !self.tool.found(runner, "delete_all_chains", delete.clone())? {
                break;
            }
        }
        let flush = owned(&format!("-t {table} -F {to_chain}"));
        if self.tool.found(runner, "delete_all_chains", flush)? {
            // An administrator's own jump with conditions keeps the empty chain alive; that is theirs.
            self.tool.ask(runner, "delete_all_chains", &format!("-t {table} -X {to_chain}"))?;
        }
        self.own.clear();
        self.foreign.clear();
        Ok(())
    }

    /// Finds out, with a rule that can match nothing from outside, what rules can carry.
    fn probe(&mut self, runner: &mut impl Runner, settings: &Settings) -> Result<Vec<Notice>, FirewallError> {
        let ChainSpec { table, to_chain, target, .. } = &settings.input;
        let nobody = if self.tool.program.to_string_lossy().contains("ip6tables") { "::1" } else { "127.0.0.2" };
        let rule = |time: &str| {
            format!("{to_chain} -t {table} -s {nobody}{time} -m comment --comment __TMPCOMMENT__ -j {target}")
        };
        let mut works = |tool: &mut Tool, rule: String| -> Result<bool, FirewallError> {
            let works = tool.ask(runner, "comment_match_exists", &format!("-A {rule}"))?.status == 0;
            if works {
                tool.must(runner, "comment_match_exists", owned(&format!("-D {rule}")))?;
            }
            Ok(works)
        };
        self.tool.time = works(&mut self.tool, rule(" -m time --datestop 2038-01-01T00:00:00"))?;
        let comment = self.tool.time || !settings.comment_check || works(&mut self.tool, rule(""))?;
        if !comment {
            let program = self.tool.program.display();
            return Err(FirewallError::Unfit(format!(
                "Warning: Could not use the 'comment' match of {program}: without it no rule can carry its end"
            )));
        }
        let mut notices = vec![Notice::info("iptables 'comment' match is available")];
        if !self.tool.time {
            notices.push(Notice::warning(format!(
                "{} cannot match the time: rules end only while fwknopd runs to delete them; install the 'time' \
                 match (xt_time) to have the kernel end them",
                self.tool.program.display()
            )));
        }
        Ok(notices)
    }

    /// Deletes those that are to go, and remembers what others have there.
    fn delete(
        &mut self,
        runner: &mut impl Runner,
        spec: &ChainSpec,
        goes: impl Fn(&Self, &Listed) -> bool,
    ) -> Result<Vec<Removed>, FirewallError> {
        let listed = self.tool.rules(runner, spec)?;
        let (gone, stays): (Vec<&Listed>, Vec<&Listed>) = listed.iter().partition(|rule| goes(self, rule));
        self.remember(stays);
        self.tool.delete(runner, spec, &gone)?;
        let removed =
            |rule: &&Listed| Some(Removed { number: rule.number, chain: spec.to_chain.clone(), end: rule.end? });
        Ok(gone.iter().filter_map(removed).collect())
    }

    fn remember<'l>(&mut self, listed: impl IntoIterator<Item = &'l Listed>) {
        let theirs = |rule: &&Listed| !rule.rule().is_some_and(|rule| self.own.contains(&rule));
        self.foreign = listed.into_iter().filter(theirs).filter_map(|rule| rule.end).collect();
    }

    /// Adds one rule; false if it is there already.
    fn add(&mut self, runner: &mut impl Runner, settings: &Settings, rule: Rule) -> Result<bool, FirewallError> {
        let chain = &settings.input.to_chain;
        let words = words::access(&settings.input, rule).words(self.tool.time);
        let with = |verb: &str| [verb, chain].into_iter().map(String::from).chain(words.clone()).collect();
        if self.own.contains(&rule) && self.tool.found(runner, "rule_exists", with("-C"))? {
            return Ok(false);
        }
        self.tool.must(runner, "create_rule", with(if settings.prepend { "-I" } else { "-A" }))?;
        self.own.insert(rule);
        Ok(true)
    }
}

impl<R: Runner> Iptables<R> {
    /// The firewall behind this program, which is not run before [`Firewall::prepare`].
    pub fn new(program: &Path, settings: Settings, runner: R) -> Self {
        let v4 = Side::new(Tool::new(program));
        let mut v6 = Side::new(Tool::beside(program).unwrap_or_else(|| Tool::new(program)));
        if v6.tool.program == v4.tool.program {
            v6.missing = Some(format!("there is no ip6tables known beside {}", program.display()));
        }
        Self { runner, settings, v4, v6, changes: None }
    }

    fn side(&mut self, client: IpAddr) -> Result<(&mut Side, &mut R, &Settings), FirewallError> {
        let side = if client.is_ipv4() { &mut self.v4 } else { &mut self.v6 };
        match &side.missing {
            Some(reason) => Err(FirewallError::NoPlace { client, reason: reason.clone() }),
            None => Ok((side, &mut self.runner, &self.settings)),
        }
    }

    /// What was told of changes since we last asked. Our own are done by programs whose changes look like anybody's,
    /// so they are taken off the line right after they were made.
    fn told(&self) -> Told {
        let ChainSpec { table, from_chain, to_chain, .. } = &self.settings.input;
        let concerns = |message: &Message<'_>| concerns_chains(message, table, [from_chain, to_chain]);
        self.changes.as_ref().map_or(Told::Nothing, |changes| changes.told(concerns))
    }

    /// Does the same for both families, as far as they are there.
    fn on_both<T>(
        &mut self,
        mut act: impl FnMut(&mut Side, &mut R, &Settings) -> Result<Vec<T>, FirewallError>,
    ) -> Result<Vec<T>, FirewallError> {
        let mut results = Vec::new();
        let mut failure = Ok(());
        for side in [&mut self.v4, &mut self.v6] {
            if side.missing.is_none() {
                match act(side, &mut self.runner, &self.settings) {
                    Ok(more) => results.extend(more),
                    Err(error) => failure = failure.and(Err(error)), // the other family all the same
                }
            }
        }
        failure.map(|()| results)
    }
}

/// Everything that is done once at start, for one family.
fn start<R: Runner>(
    side: &mut Side,
    runner: &mut R,
    settings: &Settings,
    now: UnixTime,
) -> Result<Vec<Notice>, FirewallError> {
    let spec = &settings.input;
    if settings.flush_at_start {
        side.remove(runner, spec)?;
    }
    let mut notices = side.stand(runner, spec)?;
    notices.extend(side.probe(runner, settings)?);
    let swept = side.delete(runner, spec, |_, rule| rule.end.is_some_and(|end| end <= now))?;
    notices.extend(swept.iter().map(|rule| Notice::info(rule.to_string())));
    Ok(notices)
}

impl<R: Runner> Firewall for Iptables<R> {
    fn name(&self) -> &str {
        "iptables"
    }

    fn prepare(&mut self, now: UnixTime) -> Result<Vec<Notice>, FirewallError> {
        // Without it, a lost rule is put back at the next grant only, as in the original.
        self.changes = Changes::open().ok();
        let Self { runner, settings, v4, v6, .. } = self;
        if !settings.input.is_enabled() {
            return Err(FirewallError::Unfit(
                "IPT_INPUT_ACCESS has no target, so no door can be opened; write ACCEPT there".into(),
            ));
        }
        v4.tool.try_out(runner, &settings.input)?;
        let mut notices = start(v4, runner, settings, now)?;
        if let Some(reason) = &v6.missing {
            notices.push(Notice::warning(format!("{reason}: no door can be opened for IPv6 addresses")));
            return Ok(notices);
        }
        let outcome = v6.tool.try_out(runner, &settings.input);
        match outcome.and_then(|()| start(v6, runner, settings, now)) {
            Ok(more) => notices.extend(more),
            Err(error) => {
                let program = v6.tool.program.display().to_string();
                notices.push(Notice::warning(format!(
                    "{program} does not work here ({error}): no door can be opened for IPv6 addresses"
                )));
                v6.missing = Some(format!("{program} did not work at start"));
            }
        }
        self.told();
        Ok(notices)
    }

    fn open(&mut self, grant: &Grant, _now: UnixTime) -> Result<Opened, FirewallError> {
        let (side, runner, settings) = self.side(grant.client)?;
        let spec = &settings.input;
        let mut opened = Opened::default();
        if side.tool.time && words::last_second(grant.until).is_none() {
            opened.notices.push(Notice::warning(
                "this grant ends after January 2038, which the 'time' match cannot say: only fwknopd will end it",
            ));
        }
        // The rule first, for the client is waiting. Chain and jump are almost always there; they are looked at before
        // anything is called open, and put right before a second try where the first one fails.
        let mut add = |rule| match side.add(runner, settings, rule) {
            Err(_) => {
                opened.notices.extend(side.stand(runner, spec)?);
                side.add(runner, settings, rule)
            }
            added => added,
        };
        let mut new = Vec::new();
        let tried = grant.rules().try_for_each(|rule| {
            new.extend(add(rule)?.then_some(rule));
            Ok(())
        });
        match tried.and_then(|()| side.stand(runner, spec)) {
            Ok(notices) => opened.notices.extend(notices),
            Err(error) => {
                let _ = self.revoke(&new); // half a grant is none: nobody would know of it
                return Err(error);
            }
        }
        opened.added.extend(new.into_iter().map(|rule| Added { rule, chain: spec.to_chain.clone(), label: "access" }));
        if let Ok(listed) = side.tool.rules(runner, spec) {
            side.remember(&listed); // the doors are open, whether or not we can see what others did
        }
        self.told();
        Ok(opened)
    }

    fn close(&mut self, ended: &[Rule], now: UnixTime) -> Result<Vec<Removed>, FirewallError> {
        let ended: HashSet<&Rule> = ended.iter().collect();
        let ends = |side: &Side, listed: &Listed| match listed.rule() {
            Some(rule) if ended.contains(&rule) => true,
            Some(rule) if side.own.contains(&rule) => false,
            _ => listed.end.is_some_and(|end| end <= now),
        };
        let removed = self.on_both(|side, runner, settings| {
            let concerned = ended.iter().any(|rule| side.own.contains(*rule));
            if !concerned && side.foreign.iter().all(|end| *end > now) {
                return Ok(Vec::new());
            }
            let removed = side.delete(runner, &settings.input, ends);
            if removed.is_ok() {
                side.own.retain(|rule| !ended.contains(rule));
            } else {
                // Whoever asked will ask again for theirs; for the others this is when.
                side.foreign.iter_mut().for_each(|end| *end = UnixTime(now.0 + 1).max(*end));
            }
            removed
        });
        self.told();
        removed
    }

    fn revoke(&mut self, rules: &[Rule]) -> Result<(), FirewallError> {
        let revoked = |_: &Side, listed: &Listed| listed.rule().is_some_and(|rule| rules.contains(&rule));
        let removed = self.on_both(|side, runner, settings| {
            if !rules.iter().any(|rule| side.own.contains(rule)) {
                return Ok(Vec::new());
            }
            side.own.retain(|rule| !rules.contains(rule));
            side.delete(runner, &settings.input, revoked)
        });
        self.told();
        removed.map(drop)
    }

    fn foreign_end(&self) -> Option<UnixTime> {
        self.v4.foreign.iter().chain(&self.v6.foreign).min().copied()
    }

    fn events(&self) -> Option<BorrowedFd<'_>> {
        self.changes.as_ref().map(|changes| changes.as_fd())
    }

    fn mend(&mut self, open: &[Rule], now: UnixTime) -> Result<Vec<Notice>, FirewallError> {
        if self.told() == Told::OfOthers {
            return Ok(Vec::new());
        }
        let notices = self.on_both(|side, runner, settings| {
            let mut notices = side.stand(runner, &settings.input)?;
            let listed = side.tool.rules(runner, &settings.input)?;
            side.remember(&listed);
            let there: HashSet<Rule> = listed.iter().filter_map(Listed::rule).collect();
            let lost = |rule: &&Rule| side.own.contains(*rule) && !there.contains(*rule) && rule.until > now;
            let lost: Vec<Rule> = open.iter().filter(lost).copied().collect();
            for rule in &lost {
                side.own.remove(rule);
                side.add(runner, settings, *rule)?;
            }
            if !lost.is_empty() {
                let chain = &settings.input.to_chain;
                notices.push(Notice::warning(format!("put back {} rules that were gone from {chain}", lost.len())));
            }
            Ok(notices)
        });
        self.told();
        notices
    }

    fn list(&mut self, what: Listing) -> Result<String, FirewallError> {
        let ChainSpec { table, to_chain, .. } = &self.settings.input;
        let words = match what {
            Listing::Ours => format!("-t {table} -L {to_chain} --line-numbers -n"),
            Listing::All => format!("-t {table} -v -n -L --line-numbers"),
        };
        let four = self.v4.tool.ask(&mut self.runner, "fw_dump_rules", &words)?;
        let mut text = format!("\n{}{}", four.text, four.complaints);
        // Where there is no ip6tables, the listing is the one of the original.
        if self.v6.missing.is_none()
            && let Ok(six) = self.v6.tool.ask(&mut self.runner, "fw_dump_rules", &words)
            && six.status == 0
        {
            text.push('\n');
            text.push_str(&six.text);
        }
        Ok(text)
    }

    fn flush(&mut self) -> Result<(), FirewallError> {
        let Self { runner, settings, v4, v6, .. } = self;
        // A process that only flushes has not tried the programs out.
        v4.tool.try_out(runner, &settings.input)?;
        if v6.missing.is_none() && v6.tool.try_out(runner, &settings.input).is_err() {
            v6.missing = Some("ip6tables does not work here".into());
        }
        self.on_both(|side, runner, settings| side.remove(runner, &settings.input).map(|()| Vec::<()>::new())).map(drop)
    }

    fn retire(&mut self) -> Result<(), FirewallError> {
        if !self.settings.flush_at_exit {
            return Ok(());
        }
        self.on_both(|side, runner, settings| side.remove(runner, &settings.input).map(|()| Vec::<()>::new())).map(drop)
    }

    fn trace(&mut self) -> Vec<Notice> {
        let mut trace = std::mem::take(&mut self.v4.tool.trace);
        trace.append(&mut self.v6.tool.trace);
        trace
    }
}

#[cfg(test)]
mod tests;
