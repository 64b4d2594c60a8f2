//! Packets the original made, recorded: `vectors/recorded.json`.

use std::fs;
use std::path::Path;

use serde_json::Value;

/// One packet that the original's client made, with what a server needs to open it and what it asks for.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Name of the vector.
    pub id: String,
    /// The text on the wire.
    pub packet: String,
    /// The IPv4 packet it came in, where that was recorded.
    pub ip_packet: Option<Vec<u8>>,
    /// Lines of a stanza that opens it.
    pub stanza: String,
    /// The address it asks for.
    pub allow: String,
    /// The ports it asks for: `tcp/22,udp/53`.
    pub ports: String,
    /// The timeout it asks for; 0 if it leaves that to the server.
    pub timeout: u64,
}

/// All packets of one group of the file: `frames` or `valid`.
///
/// # Panics
/// When the file is not what this module expects.
pub fn recorded(group: &str) -> Vec<Recorded> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/recorded.json");
    let text = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let file: Value = serde_json::from_str(&text).expect("the vectors are JSON");
    file[group].as_array().expect("a list of vectors").iter().map(read).collect()
}

fn read(vector: &Value) -> Recorded {
    let text = |field: &str| vector[field].as_str().unwrap_or_default().to_owned();
    let (allow, ports) =
        text("message").split_once(',').map(|(a, p)| (a.to_owned(), p.to_owned())).expect("an access message");
    Recorded {
        id: text("id"),
        packet: text("packet"),
        ip_packet: vector["ip_packet"].as_str().map(bytes),
        stanza: text("stanza"),
        allow,
        ports,
        timeout: vector["client_timeout"].as_u64().unwrap_or(0),
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(&String::from_utf8_lossy(pair), 16).expect("hexadecimal digits"))
        .collect()
}
