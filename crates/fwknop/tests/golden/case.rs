//! A case as it stands in the vectors.

use std::collections::BTreeMap;

use serde::Deserialize;

#[derive(Deserialize)]
struct File {
    cases: Vec<Case>,
}

/// All cases.
pub(crate) fn all() -> Vec<Case> {
    let file: File = serde_json::from_str(include_str!("../vectors/client-cli.json")).unwrap();
    file.cases
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Compat {
    Must,
    Should,
    Fix,
}

#[derive(Deserialize)]
pub(crate) struct Case {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) compat: Compat,
    pub(crate) args: Vec<String>,
    #[serde(default)]
    pub(crate) env: BTreeMap<String, Option<String>>,
    pub(crate) stdin: Option<String>,
    #[serde(default)]
    pub(crate) fds: BTreeMap<String, String>,
    pub(crate) tty: Option<Vec<(String, String)>>,
    #[serde(default)]
    pub(crate) needs_root: bool,
    #[serde(default)]
    pub(crate) gpg_fixture: bool,
    #[serde(default)]
    pub(crate) files_before: Vec<FileBefore>,
    pub(crate) listener: Option<Listener>,
    pub(crate) decode_with: Option<DecodeWith>,
    pub(crate) expect: Expect,
}

#[derive(Deserialize)]
pub(crate) struct FileBefore {
    pub(crate) path: String,
    pub(crate) content: String,
    pub(crate) mode: String,
}

#[derive(Deserialize)]
pub(crate) struct Listener {
    pub(crate) kind: String,
    pub(crate) addr: String,
    pub(crate) port: u16,
    pub(crate) reply: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct DecodeWith {
    /// Which key of the ring; it is always the server's.
    pub(crate) gpg: Option<String>,
    pub enc_key_b64: Option<String>,
    pub(crate) mode: Option<String>,
    pub hmac_key_b64: Option<String>,
    pub(crate) hmac_type: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Expect {
    pub(crate) exit: i32,
    pub(crate) stdout: Vec<String>,
    pub(crate) stderr: Vec<String>,
    pub(crate) tty: Option<String>,
    pub(crate) received: Option<BTreeMap<String, serde_json::Value>>,
    pub(crate) packet: Option<Packet>,
    pub(crate) files_after: Option<BTreeMap<String, FileAfter>>,
}

#[derive(Deserialize)]
pub(crate) struct Packet {
    pub(crate) username: String,
    pub(crate) timestamp_minus_now: i64,
    pub(crate) message_type: u8,
    pub(crate) message: String,
    pub(crate) nat_access: Option<String>,
    pub(crate) client_timeout: u32,
    pub(crate) wire_len: serde_json::Value,
}

#[derive(Deserialize)]
pub(crate) struct FileAfter {
    pub(crate) mode: String,
    pub(crate) content: String,
}
