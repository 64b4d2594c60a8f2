//! Every name a stanza may have, besides `SOURCE`, which starts one.

/// One name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Name {
    /// As it is written.
    pub(super) name: &'static str,
    /// Whether its value must never be shown, and not leave the process that has keys.
    pub(super) secret: bool,
    /// Whether a file of `%include_keys` may have it.
    pub(super) in_key_file: bool,
}

const fn plain(name: &'static str) -> Name {
    Name { name, secret: false, in_key_file: false }
}

const fn gpg(name: &'static str) -> Name {
    Name { name, secret: false, in_key_file: true }
}

const fn secret(name: &'static str) -> Name {
    Name { name, secret: true, in_key_file: true }
}

/// What starts a stanza.
pub(super) static SOURCE: Name = plain("SOURCE");

/// What marks a stanza for GPG without a passphrase.
pub(super) static GPG_ALLOW_NO_PW: Name = gpg("GPG_ALLOW_NO_PW");

/// Spec: server.md 5.3; for key files 5.2.
pub(super) static NAMES: &[Name] = &[
    plain("DESTINATION"),
    plain("OPEN_PORTS"),
    plain("RESTRICT_PORTS"),
    secret("KEY"),
    secret("KEY_BASE64"),
    secret("HMAC_KEY"),
    secret("HMAC_KEY_BASE64"),
    plain("HMAC_DIGEST_TYPE"),
    plain("ENCRYPTION_MODE"),
    plain("FW_ACCESS_TIMEOUT"),
    plain("MAX_FW_TIMEOUT"),
    plain("REQUIRE_USERNAME"),
    plain("REQUIRE_SOURCE_ADDRESS"),
    plain("REQUIRE_SOURCE"),
    plain("ACCESS_EXPIRE"),
    plain("ACCESS_EXPIRE_EPOCH"),
    plain("ENABLE_CMD_EXEC"),
    plain("CMD_EXEC_USER"),
    plain("CMD_EXEC_GROUP"),
    plain("ENABLE_CMD_SUDO_EXEC"),
    plain("CMD_SUDO_EXEC_USER"),
    plain("CMD_SUDO_EXEC_GROUP"),
    plain("CMD_CYCLE_OPEN"),
    plain("CMD_CYCLE_CLOSE"),
    plain("CMD_CYCLE_TIMER"),
    plain("FORCE_NAT"),
    plain("FORCE_SNAT"),
    plain("FORCE_MASQUERADE"),
    plain("DISABLE_DNAT"),
    plain("FORWARD_ALL"),
    plain("GPG_HOME_DIR"),
    plain("GPG_EXE"),
    gpg("GPG_DECRYPT_ID"),
    secret("GPG_DECRYPT_PW"),
    gpg("GPG_ALLOW_NO_PW"),
    gpg("GPG_REQUIRE_SIG"),
    gpg("GPG_DISABLE_SIG"),
    gpg("GPG_IGNORE_SIG_VERIFY_ERROR"),
    gpg("GPG_REMOTE_ID"),
    gpg("GPG_FINGERPRINT_ID"),
];

/// The name as the table has it.
#[must_use]
pub(super) fn find(name: &str) -> Option<&'static Name> {
    NAMES.iter().find(|known| known.name == name)
}

/// All names, for suggestions.
pub(super) fn all() -> impl Iterator<Item = &'static str> {
    ["SOURCE", "%include", "%include_folder", "%include_keys"].into_iter().chain(NAMES.iter().map(|known| known.name))
}
