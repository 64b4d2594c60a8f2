//! Commands: those that a packet carries, and those that open and close in the place of a firewall rule.
//!
//! ```text
//! Stanza × Order ─▶ Errand ─one line─▶ runner ─▶ a program, its output, how it ended ─lines─▶ log
//!                     ▲
//!     Close (waits) ──┘ when its time has come, or at the end of the daemon
//! ```
//!
//! Nothing here reaches a shell: a command is split at white space, and what came over the wire stays a word. The warden
//! decides what is run and as whom; the *runner*, a process of its own with the rights of an ordinary root service, runs
//! it. So a command that hangs delays no door from being shut. Spec: `server.md` 8.4, 8.5 and 11.

use std::num::NonZeroU32;
use std::path::Path;

use thiserror::Error;

use crate::access::{Account, Commands, Stanza};

pub mod closes;
pub mod command_line;
pub mod cycle;
pub mod errand;
pub mod runner;

use command_line::CommandLine;

/// How long a command may take where `CMD_EXEC_TIMEOUT` is not set. The original waits for ever.
const PATIENCE: NonZeroU32 = NonZeroU32::new(300).unwrap();

/// How long a command may take, in seconds.
pub fn time_limit(configured: Option<u32>) -> NonZeroU32 {
    configured.and_then(NonZeroU32::new).unwrap_or(PATIENCE)
}

/// A command message that sudo would take for something else than a command.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("sudo would take the first word for an option or an assignment of its own")]
pub struct ForSudoItself;

impl Commands {
    /// Whether a text may be run: with sudo, its first word must be the command. Whoever may choose the command must not
    /// choose sudo's options with it, and so the user it becomes.
    ///
    /// # Errors
    /// If not.
    pub fn admit(&self, text: &CommandLine) -> Result<(), ForSudoItself> {
        let first = text.as_bytes().split(|byte| command_line::is_white(*byte)).find(|word| !word.is_empty());
        let misread = first.is_some_and(|word| word.starts_with(b"-") || word.contains(&b'='));
        if self.sudo.is_some() && misread { Err(ForSudoItself) } else { Ok(()) }
    }

    /// What is run for a command message: the text itself, or sudo with it.
    pub fn command_line(&self, text: &CommandLine, sudo_exe: &Path) -> CommandLine {
        let Some(sudo) = &self.sudo else { return text.clone() };
        let mut before = sudo_exe.display().to_string();
        for (option, name) in [("-u", &sudo.user), ("-g", &sudo.group)] {
            if let Some(name) = name {
                before.push_str(&format!(" {option} {name}"));
            }
        }
        text.after(&before)
    }

    /// Whom a command is run as, if not as the daemon itself. Root is told by its number, not by its name (trap T25).
    pub fn other_account(&self) -> Option<&Account> {
        self.account.as_ref().filter(|account| !account.uid.is_root())
    }
}

impl Stanza {
    /// Whether some of its packets make something run.
    pub fn runs_commands(&self) -> bool {
        self.command.is_some() || self.cycle.is_some()
    }

    /// Whether some of its packets open a door in the firewall: a stanza with a cycle leaves it alone.
    pub fn opens_doors(&self) -> bool {
        self.cycle.is_none()
    }
}

#[cfg(test)]
mod tests {
    use nix::unistd::{Gid, Uid};

    use super::*;
    use crate::access::Sudo;

    fn through(user: Option<&str>, group: Option<&str>) -> Commands {
        let sudo = Sudo { user: user.map(Into::into), group: group.map(Into::into) };
        Commands { account: None, sudo: Some(sudo) }
    }

    fn line(commands: &Commands, text: &str) -> Result<String, ForSudoItself> {
        let text = CommandLine::new(text).unwrap();
        commands.admit(&text).map(|()| commands.command_line(&text, Path::new("/usr/bin/sudo")).shown())
    }

    #[test]
    fn sudo_is_told_user_and_group_where_they_are_set() {
        let plain = Commands { account: None, sudo: None };
        assert_eq!(line(&plain, "-x a=b").unwrap(), "-x a=b");
        for (commands, wanted) in [
            (through(None, None), "/usr/bin/sudo id -a"),
            (through(Some("alice"), None), "/usr/bin/sudo -u alice id -a"),
            (through(None, Some("staff")), "/usr/bin/sudo -g staff id -a"),
            (through(Some("alice"), Some("staff")), "/usr/bin/sudo -u alice -g staff id -a"),
        ] {
            assert_eq!(line(&commands, "id -a").unwrap(), wanted);
        }
    }

    #[test]
    fn nobody_chooses_the_options_of_sudo_by_a_packet() {
        for text in ["-u root id", "--user=root id", "  -s", "LD_PRELOAD=/tmp/x id", "\t-e /etc/shadow"] {
            assert_eq!(line(&through(Some("alice"), None), text), Err(ForSudoItself), "{text}");
        }
        assert!(
            line(&through(None, None), "env A=b -u root").is_ok(),
            "what comes behind the command is the command's"
        );
    }

    #[test]
    fn root_is_a_number() {
        let account = |user: &str, uid| Account {
            user: user.into(),
            uid: Uid::from_raw(uid),
            group: user.into(),
            gid: Gid::from_raw(uid),
        };
        let as_whom = |account| Commands { account: Some(account), sudo: None };
        assert!(as_whom(account("rooter", 12345)).other_account().is_some());
        assert!(as_whom(account("toor", 0)).other_account().is_none());
    }
}
