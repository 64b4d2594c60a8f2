//! `-D` and `--exit-parse-config` as a process: reads, tells, prints, ends.

use std::process::ExitCode;

use fwknop_conf::complaint::{Complaints, Severity};
use jiff::tz::TimeZone;

use super::text;
use crate::args::{Args, Mode};

/// Reads what `args` name, prints what the mode asks for, and gives the exit status. Everything that is wrong goes to
/// standard error, with and without `-f`; the original may tell the log alone.
pub fn run(args: &Args) -> ExitCode {
    let mut complaints = Complaints::new();
    let printed = text(args, &TimeZone::system(), &mut complaints);
    for complaint in complaints.iter().filter(|complaint| complaint.severity > Severity::Debug || args.verbose > 0) {
        eprintln!("{complaint}");
    }
    match printed {
        None => return ExitCode::FAILURE,
        Some(_) if args.mode == Mode::ParseConfig => eprintln!("Configs parsed, exiting."),
        Some(printed) => print!("{printed}"),
    }
    ExitCode::SUCCESS
}
