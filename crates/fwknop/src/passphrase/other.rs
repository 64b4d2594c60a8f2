//! Consoles of systems that are no Unix. Programs there inherit no numbered descriptors: keys come from standard input, files or stanzas.

use std::io::{self, Read};

use crate::settings::SecretBytes;

/// No such thing here.
pub(super) fn open(_descriptor: u32) -> io::Result<Box<dyn Read>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Asks the console, and shows nothing of what is typed.
pub(super) fn ask_terminal(prompt: &str) -> io::Result<SecretBytes> {
    rpassword::prompt_password(prompt).map(|key| SecretBytes::new(key.into_bytes()))
}
