//! What an errand was for, and the lines of the log about how it ended.

use std::net::IpAddr;

use crate::action::errand::Ending;
use crate::journal::{Journal, Level};

/// What an errand is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Task {
    pub(super) stanza: u32,
    /// The source of a packet, or whom something was opened for: what its lines begin with.
    pub(super) ip: IpAddr,
    pub(super) what: What,
}

/// Which of the commands it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// That of a command message.
    Message,
    /// The first of a cycle.
    Open,
    /// The second of a cycle: undoes what the errand with this ticket has done.
    Close(u64),
}

impl Task {
    /// Says how a command ended.
    pub(super) fn tell(&self, ending: &Ending, journal: &mut Journal) {
        let head = format!("[{}] (stanza #{})", self.ip, self.stanza);
        let which = match self.what {
            What::Message => "CMD_EXEC",
            What::Open => "CMD_CYCLE_OPEN",
            What::Close(_) => "CMD_CYCLE_CLOSE",
        };
        let level = match self.what {
            What::Close(_) => Level::Error, // something may still be open
            What::Message | What::Open => Level::Warning,
        };
        match ending {
            Ending::Exit(_) => {}
            Ending::Signal(number) => {
                journal.write(level, format_args!("{head} {which} command was ended by signal {number}"));
            }
            Ending::Late => {
                let text = format_args!("{head} {which} command took too long (CMD_EXEC_TIMEOUT) and was ended");
                journal.write(level, text);
            }
            Ending::Unsplittable => {
                journal.write(Level::Error, "run_extcmd(): Error converting cmd str to argv via strtoargv()");
            }
            Ending::Failed(why) => {
                journal.write(Level::Error, format_args!("run_extcmd(): execvpe() failed: {why}"));
            }
        }
        let (returned, status) = result(ending);
        match self.what {
            What::Message => {
                let text = format_args!("{head} CMD_EXEC: command returned {returned}, pid_status: {status}");
                journal.write(Level::Info, text);
            }
            _ if matches!(ending, Ending::Exit(1..)) => {
                journal.write(level, format_args!("{head} {which} command failed with exit status {status}"));
            }
            _ => {}
        }
    }
}

/// The two numbers that the log gives of a command message: whether it was run, and its exit status.
fn result(ending: &Ending) -> (i32, i32) {
    match ending {
        Ending::Exit(status) => (0, *status),
        Ending::Signal(number) => (-1, 128 + number), // as a shell would tell it
        Ending::Late => (-1, 128 + 9),
        Ending::Unsplittable => (-6, 0),
        Ending::Failed(_) => (0, 255),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_told_by_the_numbers_of_the_original() {
        for (ending, wanted) in [
            (Ending::Exit(0), (0, 0)),
            (Ending::Exit(3), (0, 3)),
            (Ending::Signal(15), (-1, 143)),
            (Ending::Late, (-1, 137)),
            (Ending::Unsplittable, (-6, 0)),
            (Ending::Failed("No such file".into()), (0, 255)),
        ] {
            assert_eq!(result(&ending), wanted, "{ending}");
        }
    }
}
