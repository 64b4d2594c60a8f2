//! Key files: lines of `server: key`, for `-G` and `--get-hmac-key`.
//!
//! The server is compared as it was typed, nothing is looked up. The key is the rest of the line with all its blanks, and is never base64.
//! The last line that fits is right. Spec: client.md section 8.5.
//!
//! ```text
//! # home and work
//! home.example.net: correct horse battery staple
//! 192.0.2.20:       another one; with #signs
//! ```

use std::{fs, path::Path, path::PathBuf};

use crate::settings::SecretBytes;

/// Why a key file gave no key. Displays as the line for standard error.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read.
    #[error("Could not open config file: {}", .0.display())]
    Open(PathBuf, #[source] std::io::Error),
    /// No line names the server and has a key.
    #[error("Could not get key for IP: {host} from: {}", .path.display())]
    #[allow(missing_docs)]
    NoKey { host: String, path: PathBuf },
}

/// The key for `host`.
///
/// # Errors
/// If the file cannot be read or has no key for that host.
pub fn key_for(host: &str, path: &Path) -> Result<SecretBytes, KeyFileError> {
    let text = fs::read(path).map_err(|error| KeyFileError::Open(path.to_owned(), error))?;
    let text = SecretBytes::new(text);
    text.split(|&byte| byte == b'\n')
        .filter_map(|line| key_in(line, host.as_bytes()))
        .next_back()
        .map(|key| SecretBytes::new(key.to_vec()))
        .ok_or_else(|| KeyFileError::NoKey { host: host.to_owned(), path: path.to_owned() })
}

fn key_in<'l>(line: &'l [u8], host: &[u8]) -> Option<&'l [u8]> {
    let rest = after_filler(line).strip_prefix(host)?.strip_prefix(b":")?;
    let key = after_filler(rest);
    (!host.is_empty() && !key.is_empty()).then_some(key)
}

fn after_filler(mut line: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b'=', rest @ ..] = line {
        line = rest;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_its_server_exactly() {
        for (line, key) in [
            ("h: sekret", Some("sekret")),
            ("h:sekret", Some("sekret")),
            (" \t=h: = sekret  ", Some("sekret  ")),
            ("h: my key #1; x", Some("my key #1; x")),
            ("ho: nope", None),
            ("h : nope", None),
            ("h nope", None),
            ("#h: nope", None),
            ("H: nope", None),
            ("h:", None),
        ] {
            assert_eq!(key_in(line.as_bytes(), b"h"), key.map(str::as_bytes), "{line}");
        }
    }
}
