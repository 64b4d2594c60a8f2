//! Where the program talks: results on one stream, complaints on the other, and how much of it.
//!
//! A quiet knock that succeeds says nothing at all, since people run us where standard output carries data. Nothing here
//! knows what is said. Spec: client.md section 4, output-contract.md section 1.1.
//!
//! ```text
//! say    standard output, always          info    standard output, from one -v
//! warn   standard error, always           debug   standard output, from two -v
//! ```

use std::{fmt::Display, io, io::Write};

/// The two streams and the level.
pub struct Output<'w> {
    out: &'w mut dyn Write,
    err: &'w mut dyn Write,
    level: u32,
}

impl<'w> Output<'w> {
    /// Talks to these streams; says nothing extra until told to.
    pub fn new(out: &'w mut dyn Write, err: &'w mut dyn Write) -> Self {
        Self { out, err, level: 0 }
    }

    /// Sets how many `-v` there are.
    pub fn set_level(&mut self, level: u32) {
        self.level = level;
    }

    /// Whether one `-v` was given.
    #[must_use]
    pub fn is_verbose(&self) -> bool {
        self.level >= 1
    }

    /// Says it. A reader that has gone away is not our trouble: what we do counts, not who listens.
    pub fn say(&mut self, line: impl Display) {
        let _gone = writeln!(self.out, "{line}");
    }

    /// Says it if verbose.
    pub fn info(&mut self, line: impl Display) {
        if self.level >= 1 {
            self.say(line);
        }
    }

    /// Says it if very verbose.
    pub fn debug(&mut self, line: impl Display) {
        if self.level >= 2 {
            self.say(line);
        }
    }

    /// Complains.
    pub fn warn(&mut self, line: impl Display) {
        self.flush(); // so that both streams tell the story in one order
        let _gone = writeln!(self.err, "{line}");
    }

    /// Sees to it that what was said is there before somebody is asked.
    pub fn flush(&mut self) {
        let _gone = self.out.flush();
    }
}

/// The C library's words for an error, which the messages of the original end in; without Rust's number.
#[must_use]
pub fn reason(error: &io::Error) -> String {
    let told = error.to_string();
    match told.split_once(" (os error ") {
        Some((words, _)) => words.to_owned(),
        None => told,
    }
}
