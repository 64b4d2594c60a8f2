//! The user name inside the packet.
//!
//! Only the name that is sent is checked: an account called `CORP\alice` harms nobody who knocks as bob. Spec: client.md section 10.3.
//!
//! ```text
//! -U, SPOOF_USER in a stanza ─▶ $SPOOF_USER ─▶ $LOGNAME ─▶ the account ─▶ $USER ─▶ NO_USER      (the first that is not empty)
//! ```

use spa::Username;

use crate::{
    failure::Library,
    settings::{Name, Settings},
};

/// The name, from the settings or from where the program runs.
///
/// # Errors
/// If it has characters that no packet can carry, or more than 48 bytes.
pub fn name(
    settings: &Settings,
    environment: &dyn Fn(&str) -> Option<String>,
    account: Option<String>,
) -> Result<Username, Library> {
    if let Some(given) = settings.text(Name::SpoofUser) {
        return given.parse().map_err(|error| Library::field("fko_set_username", error));
    }
    let set = |variable| environment(variable).filter(|name| !name.is_empty());
    let found = set("SPOOF_USER").or_else(|| set("LOGNAME")).or(account).or_else(|| set("USER"));
    found.as_deref().unwrap_or("NO_USER").parse().map_err(|error| Library::field("fko_new", error))
}

/// The name of the account we act for.
#[must_use]
#[cfg(unix)]
pub fn account() -> Option<String> {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok()??;
    Some(user.name).filter(|name| !name.is_empty())
}

/// The name of the account we act for, as the system tells its programs.
#[must_use]
#[cfg(not(unix))]
pub fn account() -> Option<String> {
    std::env::var("USERNAME").ok().filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_that_is_there_is_sent() {
        let settings = Settings::default();
        for (environment, account, expected) in [
            (&[("SPOOF_USER", "carol"), ("LOGNAME", "dave")][..], Some("alice"), "carol"),
            (&[("LOGNAME", "dave"), ("USER", "erin")], Some("alice"), "dave"),
            (&[("LOGNAME", ""), ("USER", "erin")], Some("alice"), "alice"),
            (&[("USER", "erin")], None, "erin"),
            (&[], None, "NO_USER"),
        ] {
            let get = |wanted: &str| {
                environment.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned())
            };
            let found = name(&settings, &get, account.map(str::to_owned)).unwrap();
            assert_eq!(found.as_str(), expected);
        }
    }
}
