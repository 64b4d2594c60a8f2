//! Which user the listener becomes.
//!
//! It must be nobody else's: whoever shares a user id with the listener could signal it. So never root, never `nobody`,
//! and an id without a name only if no process has it.
//!
//! | configured | account `fwknop` exists | the listener becomes |
//! | --- | --- | --- |
//! | a name or number | | that account, or the start is refused |
//! | nothing | yes | `fwknop` |
//! | nothing | no | uid and gid [`UNASSIGNED`], if that is unused |

use std::ffi::OsStr;
use std::{fmt, fs, io, thread, time::Duration};

use nix::unistd::{Gid, Group, Uid, User};
use thiserror::Error;

/// The account that a package makes for the listener.
pub const NAME: &str = "fwknop";

/// The user id without an account. It lies above what login accounts get (1000 to 60000) and in the one gap of the numbers
/// below 65536 that systemd leaves free (60578 to 61183: above its home directories, below its dynamic users). It is not
/// above 65535, since many containers have no such ids.
pub const UNASSIGNED: u32 = 60922;

/// The user and group that the kernel shows for ids it cannot show.
const OVERFLOW: u32 = 65534;

/// A user to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name; the unassigned id has none.
    pub name: Option<String>,
    /// Its user id.
    pub uid: u32,
    /// Its group id.
    pub gid: u32,
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "user {name} (uid {})", self.uid),
            None => write!(f, "uid {} (unassigned)", self.uid),
        }
    }
}

/// Why there is no user to become.
#[derive(Debug, Error)]
pub enum AccountError {
    /// There is no such account.
    #[error(
        "the listener's user '{0}' does not exist; try: useradd --system --no-create-home --shell /usr/sbin/nologin {0}"
    )]
    Unknown(String),
    /// An account that others have, too.
    #[error("the listener must not run as '{0}': others of that user could signal it; give it an account of its own")]
    Shared(String),
    /// The unassigned id is assigned.
    #[error(
        "there is no account {NAME}, and uid {UNASSIGNED} belongs to {0}; try: useradd --system --no-create-home {NAME}"
    )]
    Assigned(String),
    /// Somebody is there without an account.
    #[error(
        "there is no account {NAME}, and process {0} has uid {UNASSIGNED}; try: useradd --system --no-create-home {NAME}"
    )]
    InUse(u32),
    /// Accounts or processes cannot be looked up.
    #[error("cannot look up {what}")]
    LookUp {
        /// What was looked for.
        what: String,
        /// What the system says.
        source: io::Error,
    },
}

impl Account {
    /// The account for the listener. Asked once, before the first listener exists: the check whether the unassigned id is
    /// unused would find that listener.
    ///
    /// # Errors
    /// See [`AccountError`].
    pub fn choose(configured: Option<&str>) -> Result<Self, AccountError> {
        match configured {
            Some(name) => Self::named(name)?.ok_or_else(|| AccountError::Unknown(name.into())),
            None => Self::named(NAME)?.map_or_else(Self::unassigned, Ok),
        }
    }

    /// As one word, for the command line of a listener; the name stays behind.
    #[must_use]
    pub fn to_word(&self) -> String {
        format!("{}:{}", self.uid, self.gid)
    }

    /// The account that [`Account::to_word`] wrote, with the name it has today. Never root.
    #[must_use]
    pub fn from_word(word: &OsStr) -> Option<Self> {
        let (uid, gid) = word.to_str()?.split_once(':')?;
        let (uid, gid): (u32, u32) = (uid.parse().ok()?, gid.parse().ok()?);
        let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
        (uid != 0 && gid != 0).then(|| Self { name: user.map(|user| user.name), uid, gid })
    }

    fn named(name: &str) -> Result<Option<Self>, AccountError> {
        let failed = look_up(name);
        let user = match name.parse() {
            Ok(number) => User::from_uid(Uid::from_raw(number)),
            Err(_) => User::from_name(name),
        };
        let Some(user) = user.map_err(failed)? else {
            return Ok(None);
        };
        let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
        if uid == 0 || gid == 0 || uid == OVERFLOW || user.name == "nobody" {
            return Err(AccountError::Shared(user.name));
        }
        Ok(Some(Self { name: Some(user.name), uid, gid }))
    }

    fn unassigned() -> Result<Self, AccountError> {
        let failed = look_up("uid 60922");
        if let Some(user) = User::from_uid(Uid::from_raw(UNASSIGNED)).map_err(&failed)? {
            return Err(AccountError::Assigned(format!("user {}", user.name)));
        }
        if let Some(group) = Group::from_gid(Gid::from_raw(UNASSIGNED)).map_err(&failed)? {
            return Err(AccountError::Assigned(format!("group {}", group.name)));
        }
        // A listener of an earlier run sees its warden gone and ends; at a quick restart it may still be about to.
        let mut patience = 20;
        loop {
            match process_of(UNASSIGNED).map_err(|source| AccountError::LookUp { what: "processes".into(), source })? {
                None => return Ok(Self { name: None, uid: UNASSIGNED, gid: UNASSIGNED }),
                Some(process) if patience == 0 => return Err(AccountError::InUse(process)),
                Some(_) => thread::sleep(Duration::from_millis(50)),
            }
            patience -= 1;
        }
    }
}

fn look_up(what: &str) -> impl Fn(nix::errno::Errno) -> AccountError {
    move |source| AccountError::LookUp { what: format!("the account {what}"), source: source.into() }
}

/// A process that has `uid` as one of its four user ids.
fn process_of(uid: u32) -> io::Result<Option<u32>> {
    for entry in fs::read_dir("/proc")? {
        let Some(process) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let Ok(status) = fs::read_to_string(format!("/proc/{process}/status")) else {
            continue;
        }; // it has just ended
        let ids = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
        if ids.split_ascii_whitespace().any(|id| id.parse() == Ok(uid)) {
            return Ok(Some(process));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_becomes_root_or_nobody() {
        for name in ["root", "nobody", "0", "65534"] {
            assert!(matches!(Account::choose(Some(name)), Err(AccountError::Shared(_))), "{name}");
        }
    }

    #[test]
    fn says_how_to_make_an_account_that_does_not_exist() {
        let error = Account::choose(Some("no-such-user")).unwrap_err().to_string();
        assert!(error.contains("'no-such-user' does not exist; try: useradd"), "{error}");
    }

    #[test]
    fn takes_an_account_by_name_or_number() {
        let daemon = Account::choose(Some("daemon")).unwrap();
        assert_eq!((daemon.name.as_deref(), daemon.uid), (Some("daemon"), 1));
        assert_eq!(Account::choose(Some("1")).unwrap(), daemon);
        assert_eq!(daemon.to_string(), "user daemon (uid 1)");
    }

    #[test]
    fn finds_the_process_that_uses_an_id() {
        let own = nix::unistd::getuid().as_raw();
        assert!(process_of(own).unwrap().is_some());
        assert_eq!(process_of(UNASSIGNED + 1).unwrap(), None);
    }
}
