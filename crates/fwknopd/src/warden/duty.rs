//! What the warden does while it watches: orders, ends, events and reloads.

use std::io;
use std::net::IpAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use sd_notify::NotifyState;
use spa::UnixTime;

use super::actions::Actions;
use super::start::{Listening, Start, StartError};
use super::{End, PATIENCE};
use crate::access::Stanza;
use crate::child::ChildError;
use crate::clock::Moment;
use crate::firewall::Firewall;
use crate::grant::{Grant, Rule};
use crate::hearing::Promiscuous;
use crate::journal::{Journal, Level};
use crate::ledger::Ledger;
use crate::order::Order;
use crate::pidfile::PidFile;
use crate::policy::Terms;
use crate::refusal::{Refusal, refused_order};
use crate::report::Report;
use crate::runfiles::Digests;
use crate::sandbox::user::Account;

/// After a firewall failed to close or mend: when it is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Everything the warden holds.
pub(super) struct Duty {
    pub(super) start: Start,
    pub(super) listening: Listening,
    /// Kept for as long as we hear; a reload does not change it.
    pub(super) _promiscuous: Vec<Promiscuous>,
    pub(super) account: Account,
    pub(super) digests: Digests,
    /// `None` with `--test`, and where no stanza opens doors.
    pub(super) firewall: Option<Box<dyn Firewall>>,
    pub(super) ledger: Ledger,
    /// Rules that should be closed and may not be, and when to try again.
    pub(super) unclosed: Option<(Duration, Vec<Rule>)>,
    pub(super) unmended: Option<Duration>,
    pub(super) actions: Actions,
    pub(super) _pid_file: PidFile,
}

impl Duty {
    pub(super) fn listener_speaks(&self) -> BorrowedFd<'_> {
        self.listening.child.speaks()
    }

    pub(super) fn ruleset_events(&self) -> Option<BorrowedFd<'_>> {
        self.firewall.as_ref()?.events()
    }

    /// When there is something to do even if nothing happens, in time since boot.
    pub(super) fn next_deed(&self) -> Option<Duration> {
        let foreign = self.firewall.as_ref().and_then(|firewall| firewall.foreign_end());
        let unclosed = self.unclosed.as_ref().map(|(at, _)| *at);
        [
            self.ledger.next_end(),
            foreign.map(|end| Moment::now().reaches(end)),
            unclosed,
            self.unmended,
            self.actions.next_due(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Takes what the listener has written: log lines, orders, its end.
    pub(super) fn hear_listener(&mut self, journal: &mut Journal) -> io::Result<Option<End>> {
        let alive = self.listening.child.listen()?;
        loop {
            match self.listening.child.report() {
                Ok(Some(Report::Limit(packets))) => {
                    journal.write(Level::Warning, format_args!("* Incoming packet count limit of {packets} reached"));
                    journal.write(Level::Info, "Gracefully leaving the fwknopd event loop.");
                    journal.write(Level::Info, format_args!("Packet count limit ({packets}) reached. Exiting..."));
                    return Ok(Some(End::Asked));
                }
                Ok(Some(Report::End)) => {
                    journal.write(Level::Info, "The capture file ends here.");
                    journal.write(Level::Info, "Gracefully leaving the fwknopd event loop.");
                    return Ok(Some(End::Asked));
                }
                Ok(Some(report)) => self.heed(report, journal),
                Ok(None) if alive => return Ok(None),
                Ok(None) => {
                    journal.write(Level::Error, "the listener is gone; nothing is heard any more");
                    return Ok(Some(End::ListenerGone));
                }
                Err(nonsense) => {
                    journal.write(Level::Error, nonsense);
                    return Ok(Some(End::ListenerGone));
                }
            }
        }
    }

    fn heed(&mut self, report: Report, journal: &mut Journal) {
        match report {
            Report::Log(line) => journal.line(&line),
            Report::Order(order) => self.carry_out(&order, journal),
            Report::Hearing => self.listening.say_what_appeared(journal),
            Report::Ready(_)
            | Report::Limit(_)
            | Report::End
            | Report::Policy { .. }
            | Report::Said { .. }
            | Report::Done { .. } => {
                journal.write(Level::Warning, format_args!("the listener said '{report}' out of turn"));
            }
        }
    }

    fn carry_out(&mut self, order: &Order, journal: &mut Journal) {
        let now = Moment::now();
        let stanza = match self.permitted(order, &now) {
            Ok(stanza) => stanza.clone(),
            Err(why) => return journal.line(&refused_order(order, &why)),
        };
        let config = &self.listening.config;
        match order {
            Order::Open { from, client, ports, seconds, .. } => {
                let until = UnixTime(now.unix.0 + u64::from(seconds.get()));
                let grant = Grant { stanza: stanza.number, client: *client, ports: ports.clone(), until };
                self.open(order, &grant, *from, &now, journal);
            }
            Order::Command { from, text, .. } => self.actions.message(&stanza, config, *from, text, journal),
            Order::Cycle { occasion, .. } => self.actions.cycle(&stanza, config, occasion, &now, journal),
        }
    }

    /// The stanza of an order, if it allows it.
    fn permitted(&self, order: &Order, now: &Moment) -> Result<&Stanza, Refusal> {
        let stanza = self.listening.stanza(order.stanza()).ok_or(Refusal::Forbidden("no such stanza"))?;
        stanza.permit(order, now.unix)?;
        match order {
            Order::Open { .. } => {}
            Order::Command { .. } | Order::Cycle { .. } if self.start.args.test => {
                return Err(Refusal::CommandTestMode);
            }
            Order::Command { .. } => {}
            Order::Cycle { occasion, .. } => {
                // Its commands are told the packet's time. The listener has looked at it a moment ago.
                let max_age = self.listening.config.max_age.map(|age| u64::from(age) + PATIENCE.as_secs());
                Terms { max_age, test_mode: false }.accept_time(occasion.made, now.unix, now.booted())?;
            }
        }
        Ok(stanza)
    }

    fn open(&mut self, order: &Order, grant: &Grant, from: IpAddr, now: &Moment, journal: &mut Journal) {
        let Some(firewall) = &mut self.firewall else {
            journal.line(&refused_order(order, &Refusal::TestMode));
            return;
        };
        let opened = firewall.open(grant, now.unix);
        tell_commands(&mut **firewall, journal);
        match opened {
            Ok(opened) => {
                for notice in &opened.notices {
                    journal.line(notice);
                }
                for added in &opened.added {
                    journal.write(Level::Info, added.line(grant));
                    self.ledger.enter(added.rule, now);
                }
            }
            Err(error) => {
                let (why, Grant { stanza, client, .. }) = (crate::chain(&error), grant);
                journal.write(
                    Level::Error,
                    format_args!("[{from}] (stanza #{stanza}) no door was opened for {client}: {why}"),
                );
            }
        }
    }

    /// Closes what has ended, and mends what somebody else has broken.
    pub(super) fn keep(&mut self, ruleset_changed: bool, journal: &mut Journal) {
        let now = Moment::now();
        self.actions.keep(&now, journal);
        let Some(firewall) = &mut self.firewall else { return };
        if ruleset_changed || self.unmended.take_if(|at| *at <= now.since_boot).is_some() {
            match firewall.mend(&self.ledger.open(), now.unix) {
                Ok(notices) => notices.iter().for_each(|notice| journal.line(notice)),
                Err(error) => {
                    journal.write(
                        Level::Error,
                        format_args!("the firewall could not be mended: {}", crate::chain(&error)),
                    );
                    self.unmended = Some(now.since_boot + RETRY);
                }
            }
        }
        let mut ended = self.ledger.ended(&now);
        if let Some((_, unclosed)) = self.unclosed.take_if(|(at, _)| *at <= now.since_boot) {
            ended.extend(unclosed);
        }
        let foreign = firewall.foreign_end().is_some_and(|end| end <= now.unix);
        if ended.is_empty() && !foreign {
            return;
        }
        // The ledger counts time since boot: if the wall clock was set back meanwhile, these rules have ended all the same.
        let latest = ended.iter().map(|rule| rule.until).max().unwrap_or(now.unix);
        let closed = firewall.close(&ended, latest.max(now.unix));
        tell_commands(&mut **firewall, journal);
        match closed {
            Ok(removed) => removed.iter().for_each(|removed| journal.write(Level::Info, removed)),
            Err(error) => {
                journal.write(Level::Error, format_args!("ended rules may still be open: {}", crate::chain(&error)));
                self.unclosed = Some((now.since_boot + RETRY, ended));
            }
        }
    }

    /// Reads the configuration again. If it is wrong, or a listener cannot live with it, nothing changes.
    pub(super) fn reload(&mut self, journal: &mut Journal) {
        journal.write(Level::Warning, "Got SIGHUP. Re-reading configs.");
        tell_service_manager_of_reload();
        match self.prepare_successor(journal) {
            Ok((successor, sockets)) => match self.hand_over(successor, sockets, journal) {
                Ok(()) => journal.write(Level::Info, "Re-starting fwknopd"),
                // Our old listener has gone; its end is found at once, and ends the watch.
                Err(error) => journal.write(Level::Error, crate::chain(&error)),
            },
            Err(error) => {
                journal.write(Level::Error, crate::chain(&error));
                journal.write(Level::Error, "the new configuration is not used; the old one stays in force");
            }
        }
        let _ = sd_notify::notify(&[NotifyState::Ready]);
    }

    /// A listener that has understood the new configuration, and what it will hear on. Until here nothing has changed.
    fn prepare_successor(&mut self, journal: &mut Journal) -> Result<(Listening, Vec<OwnedFd>), StartError> {
        let read = self.start.read_configuration(journal)?;
        self.start.tell_what_needs_a_restart(&self.listening, &read, journal);
        let successor = self.start.ready_listener(read, &self.account, &self.digests, journal)?;
        if !self.start.args.test {
            if successor.runs_commands() && !self.actions.can_run() {
                return Err(StartError::NeedsRestart("commands are run by a process that has given up no right yet"));
            }
            if successor.opens_doors() && self.firewall.is_none() {
                return Err(StartError::NeedsRestart("a stanza opens doors, and the firewall was left alone so far"));
            }
        }
        let sockets = self.start.sockets_for(&self.listening, &successor)?;
        Ok((successor, sockets))
    }

    /// The old listener finishes and goes, and only then the new one hears.
    fn hand_over(
        &mut self,
        mut successor: Listening,
        sockets: Vec<OwnedFd>,
        journal: &mut Journal,
    ) -> Result<(), ChildError> {
        self.listening.child.dismiss();
        self.finish_listener(journal)?;
        successor.go(sockets, journal)?;
        self.listening = successor;
        self.listening.say_what_is_heard(journal);
        Ok(())
    }

    /// Carries out what the dismissed listener still asks for, until its pipe ends.
    fn finish_listener(&mut self, journal: &mut Journal) -> Result<(), ChildError> {
        loop {
            match self.listening.child.await_report(PATIENCE) {
                Ok(report) => self.heed(report, journal),
                Err(ChildError::Ended { .. }) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// The end: no more packets, and the firewall as its settings say.
    pub(super) fn retire(&mut self, journal: &mut Journal) {
        self.listening.child.dismiss();
        if let Some(firewall) = &mut self.firewall
            && let Err(error) = firewall.retire()
        {
            journal.write(
                Level::Error,
                format_args!("the firewall could not be left as it was: {}", crate::chain(&error)),
            );
        }
        self.actions.retire(journal);
    }
}

/// Every command that the firewall ran, for who asked with `-v`.
fn tell_commands(firewall: &mut dyn Firewall, journal: &mut Journal) {
    firewall.trace().iter().for_each(|command| journal.line(command));
}

/// Where no service manager listens, there is nobody to tell, and no error.
fn tell_service_manager_of_reload() {
    let mut states = vec![NotifyState::Reloading];
    states.extend(NotifyState::monotonic_usec_now());
    let _ = sd_notify::notify(&states);
}
