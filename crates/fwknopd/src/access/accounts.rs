//! The users and groups that commands run as, looked up by name.

use fwknop_conf::complaint::{Complaint, Complaints, Severity};
use nix::unistd::{Gid, Group, Uid, User};

use super::raw::RawStanza;

/// A user, and the group that commands run with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The user's name.
    pub user: String,
    /// The user's number; compare this, not the name, to find root.
    pub uid: Uid,
    /// The name that was given for a group, else the user's name.
    pub group: String,
    /// The group of that name, else the user's own.
    pub gid: Gid,
}

/// The user and group of two names in a stanza, if the first is set. Unknown ones are errors, an unknown group even
/// where no user is set.
pub(super) fn account(
    raw: &RawStanza,
    user_name: &str,
    group_name: &str,
    complaints: &mut Complaints,
) -> Option<Account> {
    let group = raw.get(group_name);
    let gid = group.and_then(gid);
    if let (Some(name), None) = (group, gid) {
        let text = format!("[*] Unable to determine GID for {group_name}: Not a group on this system.");
        let complaint = raw.locate(group_name, Complaint::error(text));
        complaints.push(complaint.hint(format!("there is no group, and no user, called '{name}'")));
    }
    let name = raw.get(user_name)?;
    let Ok(Some(user)) = User::from_name(name) else {
        let text = format!("[*] Unable to determine UID for {user_name}: Not a user on this system.");
        complaints.push(raw.locate(user_name, Complaint::error(text)));
        return None;
    };
    if group.is_none() {
        let what = if user_name == "CMD_EXEC_USER" { " for setgid() execution" } else { "" };
        let text = format!(
            "Setting gid to group associated with {user_name} '{name}'{what} in stanza source: '{}'",
            raw.source()
        );
        complaints.push(Complaint::new(Severity::Info, text));
    }
    Some(Account {
        user: user.name,
        uid: user.uid,
        group: group.unwrap_or(name).to_owned(),
        gid: gid.unwrap_or(user.gid),
    })
}

/// A group's number. Files written for the original may have a user's name in its place: that user's group is meant.
fn gid(name: &str) -> Option<Gid> {
    match Group::from_name(name) {
        Ok(Some(group)) => Some(group.gid),
        _ => User::from_name(name).ok().flatten().map(|user| user.gid),
    }
}

/// The same as a word for `sudo -g`.
pub(super) fn group_word(name: &str) -> Option<String> {
    match Group::from_name(name) {
        Ok(Some(group)) => Some(group.name),
        _ => gid(name).map(|gid| format!("#{gid}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::raw::tests::stanza;

    fn read(text: &str) -> (Option<Account>, Vec<String>) {
        let mut complaints = Complaints::new();
        let account = account(&stanza(text), "CMD_EXEC_USER", "CMD_EXEC_GROUP", &mut complaints);
        (account, complaints.iter().map(|complaint| complaint.text.clone()).collect())
    }

    #[test]
    fn a_user_brings_its_group_and_that_is_told() {
        let (account, told) = read("CMD_EXEC_USER root");
        assert_eq!(account.map(|account| (account.uid, account.gid)), Some((Uid::from_raw(0), Gid::from_raw(0))));
        assert_eq!(
            told,
            [
                "Setting gid to group associated with CMD_EXEC_USER 'root' for setgid() execution in stanza source: 'ANY'"
            ]
        );
    }

    #[test]
    fn unknown_names_are_errors() {
        let (account, told) = read("CMD_EXEC_USER nosuchuser99\nCMD_EXEC_GROUP nosuchgroup99");
        assert_eq!(account, None);
        assert_eq!(
            told,
            [
                "[*] Unable to determine GID for CMD_EXEC_GROUP: Not a group on this system.",
                "[*] Unable to determine UID for CMD_EXEC_USER: Not a user on this system.",
            ]
        );
    }

    #[test]
    fn sudo_is_told_a_group_by_its_name_or_by_the_number_of_a_user() {
        assert_eq!(group_word("daemon").as_deref(), Some("daemon"));
        let nobody = User::from_name("nobody").unwrap().unwrap();
        let by_number = format!("#{}", nobody.gid);
        let is_a_group = Group::from_name("nobody").unwrap().is_some();
        assert_eq!(group_word("nobody").unwrap(), if is_a_group { "nobody" } else { &by_number });
        assert_eq!(group_word("nosuchgroup99"), None);
    }
}
