//! The warden's side of commands: what the runner is asked for, what waits for its time, and what the log says of it.
//!
//! ```text
//! Order::Command ─────────────────▶ Errand ─▶ runner ─▶ "CMD_EXEC: command returned …"
//! Order::Cycle ─▶ Close enters ───▶ Errand (open) …
//!                      └─ its time, or the end of the daemon ─▶ Errand (close) ─▶ Close leaves
//! ```

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use super::End;
use super::task::{Task, What};
use crate::access::Stanza;
use crate::action::closes::{Close, Closes};
use crate::action::cycle::{Occasion, TooLong};
use crate::action::errand::{Errand, Ids, Turn};
use crate::action::{command_line::CommandLine, time_limit};
use crate::child::{Child, ChildError, Role};
use crate::clock::Moment;
use crate::config::Config;
use crate::journal::{Journal, Level};
use crate::order::Order;
use crate::refusal::{Refusal, refused_order};
use crate::report::Report;

/// Commands of one stanza that may be asked for and not done; a close is always taken.
const MOST_AT_ONCE: usize = 64;
/// When a close is tried again that the runner had no room for.
const RETRY: Duration = Duration::from_secs(1);
/// How long the end of the daemon waits for the closes it runs; a service manager has less patience than they may have.
const GRACE: Duration = Duration::from_secs(20);

/// The runner, if one was started, and all that is to be done.
#[derive(Debug, Default)]
pub(super) struct Actions {
    runner: Option<Child>,
    closes: Closes,
    underway: BTreeMap<u64, Task>,
    /// The last number that was given out.
    tickets: u64,
}

impl Actions {
    /// Starts the runner if it is `wanted`, or if an earlier daemon has left closes. It keeps all rights of the warden at
    /// this moment, so there is no other.
    pub(super) fn take_up(
        wanted: bool,
        run_dir: &Path,
        folder: &Path,
        journal: &mut Journal,
    ) -> Result<Self, ChildError> {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let closes = Closes::in_folder(run_dir, boot.trim()).unwrap_or_else(|error| {
            journal.write(Level::Error, crate::chain(&error));
            Closes::anew(run_dir, boot.trim())
        });
        let left = closes.count();
        if left > 0 {
            let text =
                format_args!("{left} CMD_CYCLE_CLOSE commands are left from a daemon that did not end by itself");
            journal.write(Level::Warning, text);
        }
        let runner = match wanted || left > 0 {
            true => Some(Child::start(Role::Runner, &[], folder)?),
            false => None,
        };
        Ok(Self { runner, tickets: u64::try_from(left).unwrap_or(u64::MAX), closes, underway: BTreeMap::new() })
    }

    /// Whether commands can be run.
    pub(super) fn can_run(&self) -> bool {
        self.runner.is_some()
    }

    /// Readable when the runner has something to say.
    pub(super) fn runner_speaks(&self) -> Option<BorrowedFd<'_>> {
        self.runner.as_ref().map(Child::speaks)
    }

    /// When the next close is due, in time since boot.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.closes.next_due()
    }

    /// Runs the command of a command message. The order is permitted.
    pub(super) fn message(
        &mut self,
        stanza: &Stanza,
        config: &Config,
        from: IpAddr,
        text: &CommandLine,
        journal: &mut Journal,
    ) {
        let Some(commands) = &stanza.command else { return };
        let head = format!("[{from}] (stanza #{})", stanza.number);
        let shown = text.shown();
        journal.write(Level::Info, format_args!("{head} Processing SPA Command message: command='{shown}'."));
        let text = commands.command_line(text, &config.sudo_exe);
        let account = commands.other_account();
        let as_whom = account.map_or_else(String::new, |account| {
            let (user, group, uid, gid) = (&account.user, &account.group, account.uid, account.gid);
            format!(" setuid/setgid user/group to {user}/{group} (UID={uid},GID={gid})")
        });
        journal.write(Level::Info, format_args!("{head} Running command '{}'{as_whom}", text.shown()));
        let errand = Errand {
            ticket: self.ticket(),
            stanza: stanza.number,
            turn: Turn::InOrder,
            account: account.map(|account| Ids { user: account.uid.as_raw(), group: account.gid.as_raw() }),
            seconds: time_limit(config.command_timeout),
            text,
        };
        if let Err(error) = self.ask(&errand, from, What::Message) {
            journal.write(Level::Error, format_args!("{head} the command was not run: {error}"));
        }
    }

    /// Runs the open command of a cycle, and sees to it that the close command will be run. The order is permitted.
    pub(super) fn cycle(
        &mut self,
        stanza: &Stanza,
        config: &Config,
        occasion: &Occasion,
        now: &Moment,
        journal: &mut Journal,
    ) {
        let Some(cycle) = &stanza.cycle else { return };
        let Occasion { from, client, seconds, .. } = occasion;
        let head = format!("[{from}] (stanza #{})", stanza.number);
        let built = match cycle.build(occasion) {
            Ok(built) => built,
            Err(TooLong(which)) => {
                let order = Order::Cycle { stanza: stanza.number, occasion: occasion.clone() };
                journal.line(&refused_order(&order, &Refusal::Unbuildable(which)));
                return;
            }
        };
        let (ticket, limit) = (self.ticket(), time_limit(config.command_timeout));
        if let Some(text) = &built.close {
            let close = Close { stanza: stanza.number, client: *client, seconds: limit, text: text.clone() };
            let due = now.since_boot + Duration::from_secs((*seconds).into());
            if let Err(error) = self.closes.enter(due, ticket, close) {
                let why = crate::chain(&error);
                journal
                    .write(Level::Error, format_args!("{head} nothing is opened, for nothing would close it: {why}"));
                return;
            }
        }
        let open = built.open.shown();
        journal.write(Level::Info, format_args!("{head} Running CMD_CYCLE_OPEN command: {open}"));
        let turn = Turn::InOrder;
        let errand = Errand { ticket, stanza: stanza.number, turn, account: None, seconds: limit, text: built.open };
        if let Err(error) = self.ask(&errand, *from, What::Open) {
            journal.write(Level::Error, format_args!("{head} the command was not run: {error}"));
            self.forget_close(ticket, journal);
            return;
        }
        if let Some(text) = &built.close {
            let text = text.shown();
            let line = format_args!("{head} Running CMD_CYCLE_CLOSE command in {seconds} seconds: {text}");
            journal.write(Level::Info, line);
        }
    }

    /// Runs the closes whose time has come.
    pub(super) fn keep(&mut self, now: &Moment, journal: &mut Journal) {
        while let Some((undoes, close)) = self.closes.take_due(now.since_boot) {
            if let Err(error) = self.ask_close(undoes, &close) {
                let Close { client, stanza, .. } = close;
                let text = format_args!("[{client}] (stanza #{stanza}) the CMD_CYCLE_CLOSE command must wait: {error}");
                journal.write(Level::Error, text);
                return self.closes.put_back(undoes, now.since_boot + RETRY);
            }
            let (Close { client, stanza, .. }, text) = (&close, close.text.shown());
            let line =
                format_args!("[{client}] (stanza #{stanza}) Timer expired, running CMD_CYCLE_CLOSE command: {text}");
            journal.write(Level::Info, line);
        }
    }

    /// Takes what the runner tells.
    pub(super) fn hear_runner(&mut self, journal: &mut Journal) -> io::Result<Option<End>> {
        let Some(runner) = &mut self.runner else { return Ok(None) };
        let alive = runner.listen()?;
        loop {
            match self.runner.as_mut().map(Child::report) {
                Some(Ok(Some(report))) => self.heed(report, journal),
                Some(Ok(None)) if alive => return Ok(None),
                Some(Err(nonsense)) => {
                    journal.write(Level::Error, nonsense);
                    break;
                }
                _ => break,
            }
        }
        journal.write(Level::Error, "the runner is gone; no command can be run any more");
        self.runner = None;
        Ok(Some(End::RunnerGone))
    }

    /// The end: what was opened is closed now, since nobody will be there when its time comes.
    pub(super) fn retire(&mut self, journal: &mut Journal) {
        let until = Instant::now() + GRACE;
        while let Some((undoes, close)) = self.closes.take_due(Duration::MAX) {
            let mut asked = self.ask_close(undoes, &close);
            while asked.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
                && self.wait_for_runner(until, journal)
            {
                asked = self.ask_close(undoes, &close);
            }
            if asked.is_ok() {
                let (Close { client, stanza, .. }, text) = (&close, close.text.shown());
                let head = format_args!("[{client}] (stanza #{stanza}) Shutting down, running CMD_CYCLE_CLOSE command");
                journal.write(Level::Info, format_args!("{head}: {text}"));
            }
        }
        while self.closes.count() > 0 && self.wait_for_runner(until, journal) {}
        let left = self.closes.count();
        if left > 0 {
            let text = format_args!("{left} CMD_CYCLE_CLOSE commands have not ended; the next start runs them again");
            journal.write(Level::Error, text);
        }
        if let Some(runner) = &mut self.runner {
            runner.dismiss();
        }
        let until = Instant::now() + RETRY;
        while self.runner.is_some() && self.wait_for_runner(until, journal) {}
    }

    /// Waits for one line of the runner; `false` when there is none in time, or none at all any more.
    fn wait_for_runner(&mut self, until: Instant, journal: &mut Journal) -> bool {
        let Some(runner) = &mut self.runner else { return false };
        match runner.await_report(until.saturating_duration_since(Instant::now())) {
            Ok(report) => {
                self.heed(report, journal);
                true
            }
            Err(_) => false,
        }
    }

    fn ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    fn ask(&mut self, errand: &Errand, ip: IpAddr, what: What) -> io::Result<()> {
        let runner = self.runner.as_ref().ok_or_else(|| io::Error::other("there is no runner"))?;
        let stanza = errand.stanza;
        let waits = |task: &&Task| task.stanza == stanza && !matches!(task.what, What::Close(_));
        if !matches!(what, What::Close(_)) && self.underway.values().filter(waits).count() >= MOST_AT_ONCE {
            return Err(io::Error::other(format!("{MOST_AT_ONCE} commands of this stanza have not ended")));
        }
        runner.ask(errand)?;
        self.underway.insert(errand.ticket, Task { stanza, ip, what });
        Ok(())
    }

    fn ask_close(&mut self, undoes: u64, close: &Close) -> io::Result<()> {
        let Close { stanza, client, seconds, text } = close.clone();
        let (ticket, turn) = (self.ticket(), Turn::After(undoes));
        self.ask(&Errand { ticket, stanza, turn, account: None, seconds, text }, client, What::Close(undoes))
    }

    fn heed(&mut self, report: Report, journal: &mut Journal) {
        match report {
            Report::Log(line) => journal.line(&line),
            Report::Said { ticket, text } => {
                if let Some(Task { stanza, ip, .. }) = self.underway.get(&ticket) {
                    journal.write(Level::Debug, format_args!("[{ip}] (stanza #{stanza}) command output: {text}"));
                }
            }
            Report::Done { ticket, ending } => {
                if let Some(task) = self.underway.remove(&ticket) {
                    task.tell(&ending, journal);
                    if let What::Close(undoes) = task.what {
                        self.forget_close(undoes, journal);
                    }
                }
            }
            other => journal.write(Level::Warning, format_args!("the runner said '{other}' out of turn")),
        }
    }

    fn forget_close(&mut self, undoes: u64, journal: &mut Journal) {
        if let Err(error) = self.closes.forget(undoes) {
            let text = format_args!("the file of CMD_CYCLE_CLOSE commands cannot be written: {error}");
            journal.write(Level::Error, text);
        }
    }
}
