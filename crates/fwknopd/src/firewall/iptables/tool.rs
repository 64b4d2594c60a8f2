//! One firewall program for one family: `iptables`, or the `ip6tables` that stands beside it.
//!
//! Knows what this particular program can do (wait for the lock, match the time, take a batch) and how
//! its exit statuses read. Not here: which rules there should be.
use std::path::{Path, PathBuf};

use super::super::runner::{Command, Output, Runner};
use super::super::{ChainSpec, FirewallError, Notice};
use super::listing::{self, Listed};

/// The exit status for "there is no such rule or chain", and the one some versions have for a jump to
/// a chain that does not exist. Everything else that is not 0 means we do not know.
const NO_SUCH: [i32; 2] = [1, 2];
/// How long the program waits for another one that holds the lock, in seconds.
const LOCK_WAIT: &str = "5";
/// From this many rules on, one batch is cheaper than a command for each.
const WORTH_A_BATCH: usize = 4;
/// The most lines we keep for the log.
const MOST_TRACE: usize = 1000;

/// A program and what we know about it.
#[derive(Debug)]
pub struct Tool {
    /// The program.
    pub program: PathBuf,
    /// Whether rules can end in the kernel.
    pub time: bool,
    /// The program's lock can be waited for.
    lock: bool,
    /// Takes many changes at once, if there is such a program.
    restore: PathBuf,
    /// What was run, for the log.
    pub trace: Vec<Notice>,
}

impl Tool {
    /// The program as it is configured.
    pub fn new(program: &Path) -> Self {
        let restore = program.with_file_name(format!("{}-restore", base_name(program)));
        Self { program: program.into(), time: false, lock: true, restore, trace: Vec::new() }
    }

    /// The program for IPv6 that stands beside this one for IPv4; `None` if this one's name does not say
    /// what that one would be called.
    pub fn beside(program: &Path) -> Option<Self> {
        let name = base_name(program);
        let six = name.replacen("iptables", "ip6tables", 1);
        (six != name).then(|| Self::new(&program.with_file_name(six)))
    }

    /// Runs it with the words of one command line, and waits for the lock where it can.
    pub fn ask(&mut self, runner: &mut impl Runner, step: &'static str, words: &str) -> Result<Output, FirewallError> {
        self.ask_words(runner, step, words.split(' ').map(String::from).collect())
    }

    fn ask_words(
        &mut self,
        runner: &mut impl Runner,
        step: &'static str,
        mut words: Vec<String>,
    ) -> Result<Output, FirewallError> {
        if self.lock {
            // At the end, so that whoever reads the first words finds what the original says there.
            words.extend(["-w".into(), LOCK_WAIT.into()]);
        }
        let command = Command::new(&self.program, words);
        let output = runner.run(&command)?;
        self.note(step, &command, &output);
        Ok(output)
    }

    fn note(&mut self, step: &'static str, command: &Command, output: &Output) {
        if self.trace.len() < MOST_TRACE {
            let (status, said) = (output.status, said(output));
            let text = format!("{step}() CMD: '{command}' (res: {status}, err: {said})");
            self.trace.push(Notice::debug(text));
        }
    }

    /// Runs it and takes nothing but success.
    pub fn must(
        &mut self,
        runner: &mut impl Runner,
        step: &'static str,
        words: Vec<String>,
    ) -> Result<Output, FirewallError> {
        let command = Command::new(&self.program, words.clone());
        let output = self.ask_words(runner, step, words)?;
        if output.status == 0 { Ok(output) } else { Err(refused(step, &command, &output)) }
    }

    /// Runs it and says whether what it was asked about was there.
    pub fn found(
        &mut self,
        runner: &mut impl Runner,
        step: &'static str,
        words: Vec<String>,
    ) -> Result<bool, FirewallError> {
        let command = Command::new(&self.program, words.clone());
        let output = self.ask_words(runner, step, words)?;
        match output.status {
            0 => Ok(true),
            status if NO_SUCH.contains(&status) => Ok(false),
            _ => Err(refused(step, &command, &output)),
        }
    }

    /// Finds out whether it works here at all, and whether it can wait for the lock.
    pub fn try_out(&mut self, runner: &mut impl Runner, spec: &ChainSpec) -> Result<(), FirewallError> {
        let words = format!("-t {} -L {} -n", spec.table, spec.from_chain);
        self.lock = true;
        if self.ask(runner, "fw_initialize", &words)?.status == 0 {
            return Ok(());
        }
        self.lock = false; // versions before 1.4.20 do not know the option
        self.must(runner, "fw_initialize", owned(&words)).map(drop)
    }

    /// What a chain of ours holds; nothing if it is not there.
    pub fn rules(&mut self, runner: &mut impl Runner, spec: &ChainSpec) -> Result<Vec<Listed>, FirewallError> {
        let words = owned(&format!("-t {} -S {}", spec.table, spec.to_chain));
        let command = Command::new(&self.program, words.clone());
        let output = self.ask_words(runner, "check_firewall_rules", words)?;
        match output.status {
            0 => Ok(listing::read(&output.text, &spec.to_chain)),
            status if NO_SUCH.contains(&status) => Ok(Vec::new()),
            _ => Err(refused("check_firewall_rules", &command, &output)),
        }
    }

    /// Deletes rules that were just listed; that one is gone by now is as good.
    pub fn delete(
        &mut self,
        runner: &mut impl Runner,
        spec: &ChainSpec,
        rules: &[&Listed],
    ) -> Result<(), FirewallError> {
        if rules.len() >= WORTH_A_BATCH && self.delete_together(runner, spec, rules) {
            return Ok(());
        }
        let mut failure = Ok(());
        for rule in rules {
            let outcome = self.delete_one(runner, spec, rule);
            failure = failure.and(outcome); // the others must go all the same
        }
        failure
    }

    /// All or nothing, in one run; false if it was nothing.
    fn delete_together(&mut self, runner: &mut impl Runner, spec: &ChainSpec, rules: &[&Listed]) -> bool {
        let mut command = Command::new(&self.restore, vec!["--noflush".into()]);
        if self.lock {
            command.words.extend(["-w".into(), LOCK_WAIT.into()]);
        }
        let lines = rules.iter().map(|rule| format!("-D {} {}\n", spec.to_chain, rule.text));
        command.input = format!("*{}\n{}COMMIT\n", spec.table, lines.collect::<String>());
        let Ok(output) = runner.run(&command) else {
            return false; // there may be no such program: then one by one
        };
        self.note("rm_expired_rules", &command, &output);
        output.status == 0
    }

    fn delete_one(&mut self, runner: &mut impl Runner, spec: &ChainSpec, rule: &Listed) -> Result<(), FirewallError> {
        let delete = owned(&format!("-t {} -D {}", spec.table, spec.to_chain));
        let by_words = delete.iter().chain(&rule.words).cloned().collect();
        if self.ask_words(runner, "rm_expired_rules", by_words)?.status == 0 {
            return Ok(());
        }
        // Gone meanwhile, or a rule that the program prints in words it does not take back.
        let same = |listed: &&Listed| listed.text == rule.text;
        let Some(number) = self.rules(runner, spec)?.iter().find(same).map(|listed| listed.number) else {
            return Ok(());
        };
        let by_number = delete.into_iter().chain([number.to_string()]).collect();
        self.must(runner, "rm_expired_rules", by_number).map(drop)
    }
}

/// The words of a text in which no word holds a blank.
pub fn owned(words: &str) -> Vec<String> {
    words.split(' ').map(String::from).collect()
}

fn base_name(program: &Path) -> String {
    program.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What a program said about itself, on one line.
pub fn said(output: &Output) -> String {
    let text = if output.complaints.trim().is_empty() { &output.text } else { &output.complaints };
    text.trim().replace('\n', "; ")
}

fn refused(step: &'static str, command: &Command, output: &Output) -> FirewallError {
    let (status, output) = (output.status, said(output));
    FirewallError::Refused { step, command: command.to_string(), status, output }
}
