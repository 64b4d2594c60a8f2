//! Asking for a key: on the terminal, or from a descriptor.
//!
//! The terminal is the controlling one, never standard input, so that we can be asked in the middle of a pipe. What is typed is not shown;
//! Ctrl-C ends the run and sends nothing. Several keys may come from one descriptor, one on each line.
//! Where else keys come from is `keys`' business. Spec: client.md section 8.4.
//!
//! ```text
//! Enter encryption key: ·······⏎      Backspace and Ctrl-H take one back, Ctrl-U all, Ctrl-C everything
//! ```

#[cfg_attr(unix, path = "passphrase/unix.rs")]
#[cfg_attr(not(unix), path = "passphrase/other.rs")]
mod system;

use std::io::{self, Read};

use crate::{output::reason, settings::SecretBytes};

/// Why no key was given. Displays as the lines for standard error.
#[derive(Debug, thiserror::Error)]
pub enum PassphraseError {
    /// There is no terminal, it failed, or Ctrl-C was pressed.
    #[error("[*] getpasswd() key error.")]
    Terminal(#[source] io::Error),
    /// The descriptor cannot be read.
    #[error(
        "getpasswd() - Unable to create a stream from the file descriptor : {}\n[*] getpasswd() key error.",
        reason(.0)
    )]
    Descriptor(#[source] io::Error),
}

/// Who is asked for keys.
pub trait Passphrase {
    /// Asks for one; the prompt is shown where there is somebody to see it.
    ///
    /// # Errors
    /// If none was given.
    fn ask(&mut self, prompt: &str) -> Result<SecretBytes, PassphraseError>;
}

/// The terminal, or a descriptor that is opened when the first key is needed.
pub struct Keyboard {
    descriptor: Option<u32>,
    opened: Option<Box<dyn Read>>,
}

impl Keyboard {
    /// Asks the terminal, or reads from this descriptor.
    #[must_use]
    pub fn new(descriptor: Option<u32>) -> Self {
        Self { descriptor, opened: None }
    }
}

impl Passphrase for Keyboard {
    fn ask(&mut self, prompt: &str) -> Result<SecretBytes, PassphraseError> {
        let Some(descriptor) = self.descriptor else {
            return system::ask_terminal(prompt).map_err(PassphraseError::Terminal);
        };
        let source = match &mut self.opened {
            Some(opened) => opened,
            none => none.insert(open(descriptor).map_err(PassphraseError::Descriptor)?),
        };
        read_line(source, false).map_err(PassphraseError::Descriptor)
    }
}

fn open(descriptor: u32) -> io::Result<Box<dyn Read>> {
    if descriptor == 0 { Ok(Box::new(io::stdin())) } else { system::open(descriptor) }
}

/// More than any key may have, so that one that is too long is seen to be.
const LONGEST: usize = 1024;

/// Reads up to a line feed, byte by byte, so that what follows stays for others.
fn read_line(source: &mut dyn Read, is_terminal: bool) -> io::Result<SecretBytes> {
    let mut key = SecretBytes::new(Vec::with_capacity(LONGEST)); // it never grows, so leaves no pieces behind
    let mut ended = false; // by a NUL, as the original's text does
    let mut byte = [0];
    loop {
        if source.read(&mut byte)? == 0 {
            return Ok(key);
        }
        match byte {
            [b'\n'] => return Ok(key),
            [0x03] => return Err(io::ErrorKind::Interrupted.into()),
            [0x04] if is_terminal => return Ok(key),
            [0x08 | 0x7f] => drop(key.pop()),
            [0x15] => key.clear(),
            [0] => ended = true,
            [byte] if !ended && key.len() < LONGEST => key.push(byte),
            _ => (),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(mut text: &[u8]) -> Vec<u8> {
        read_line(&mut text, true).unwrap().to_vec()
    }

    #[test]
    fn editing_keys_edit() {
        for (text, key) in [
            (&b"sekret\nrest"[..], &b"sekret"[..]),
            (b"junk\x15seX\x08kret\n", b"sekret"),
            (b"sekretX\x7f", b"sekret"),
            (b"\x08\x7fsekret\x04more", b"sekret"),
            (b"sekret\r\n", b"sekret\r"),
            (b"sek\0ret\n", b"sek"),
        ] {
            assert_eq!(typed(text), key, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn control_c_gives_no_key() {
        assert!(read_line(&mut &b"sek\x03"[..], true).is_err());
    }

    #[test]
    fn a_key_that_is_too_long_does_not_become_shorter_than_that() {
        assert_eq!(typed(&[b'k'; 5000]).len(), LONGEST);
    }
}
