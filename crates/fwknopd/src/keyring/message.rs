//! What listener and keyring say to each other: one question, one answer, each in one packet of their socket.
//!
//! ```text
//! decrypt 11\n                passphrase of 11 bytes, then the message
//! hunter2hunt<binary>
//!
//! failed No secret key\n      or: no-exe, no-home
//! unsigned\n<plaintext>       or: valid FINGERPRINT, doubtful FINGERPRINT
//! ```

use std::os::fd::AsFd;

use rustix::io::Errno;
use spa::GpgPlaintext;
use zeroize::Zeroizing;

use super::{Decrypted, GpgFailure, Home, Signature};

/// The longest packet of either side; a packet that is longer is cut, and then refused.
pub(super) const LONGEST: usize = 16 * 1024;
/// The longest text of gpg's that is passed on.
const LONGEST_TEXT: usize = 200;

/// The packet of a question.
pub(super) fn question(ciphertext: &[u8], passphrase: &str) -> Zeroizing<Vec<u8>> {
    let head = format!("decrypt {}\n", passphrase.len());
    // Room for all of it at once: what grows leaves pieces of the passphrase behind.
    let mut packet = Zeroizing::new(Vec::with_capacity(head.len() + passphrase.len() + ciphertext.len()));
    packet.extend_from_slice(head.as_bytes());
    packet.extend_from_slice(passphrase.as_bytes());
    packet.extend_from_slice(ciphertext);
    packet
}

/// Reads the packet of a question: the message and the passphrase. `None` for what no listener asks.
pub(super) fn read_question(packet: &[u8]) -> Option<(&[u8], &str)> {
    let (head, rest) = split(packet)?;
    let length = head.strip_prefix("decrypt ")?.parse().ok()?;
    let (passphrase, ciphertext) = rest.split_at_checked(length)?;
    Some((ciphertext, std::str::from_utf8(passphrase).ok()?))
}

/// The packet of an answer. Wiped when dropped, as the plaintext in it.
pub(super) fn answer(outcome: &Result<(Zeroizing<Vec<u8>>, Option<Signature>), GpgFailure>) -> Zeroizing<Vec<u8>> {
    let (head, plaintext) = match outcome {
        Ok((plaintext, None)) => ("unsigned".to_owned(), plaintext.as_slice()),
        Ok((plaintext, Some(signature))) => {
            let word = if signature.valid { "valid" } else { "doubtful" };
            (format!("{word} {}", signature.fingerprint), plaintext.as_slice())
        }
        Err(GpgFailure::Exe(_)) => ("no-exe".to_owned(), &[][..]),
        Err(GpgFailure::Home(_)) => ("no-home".to_owned(), &[][..]),
        Err(GpgFailure::Decrypt(text)) => {
            let text: String = text.chars().filter(|c| *c != '\n').take(LONGEST_TEXT).collect();
            (format!("failed {text}"), &[][..])
        }
        Err(other) => (format!("failed {other:?}"), &[][..]),
    };
    let mut packet = Zeroizing::new(Vec::with_capacity(head.len() + 1 + plaintext.len()));
    packet.extend_from_slice(head.as_bytes());
    packet.push(b'\n');
    packet.extend_from_slice(plaintext);
    packet
}

/// Reads the packet of an answer of this home's keyring. `None` for what no keyring answers.
pub(super) fn read_answer(packet: &[u8], home: &Home) -> Option<Result<Decrypted, GpgFailure>> {
    let (head, rest) = split(packet)?;
    let (word, what) = head.split_once(' ').unwrap_or((head, ""));
    let signature = match word {
        "unsigned" => None,
        "valid" | "doubtful" if is_fingerprint(what) => {
            Some(Signature { fingerprint: what.to_owned(), valid: word == "valid" })
        }
        "failed" => return Some(Err(GpgFailure::Decrypt(what.to_owned()))),
        "no-exe" => return Some(Err(GpgFailure::Exe(home.exe.clone()))),
        "no-home" => return Some(Err(GpgFailure::Home(home.home.clone()))),
        _ => return None,
    };
    Some(Ok(Decrypted { plaintext: GpgPlaintext::new(rest.to_vec()), signature }))
}

/// A whole fingerprint, or the key id that gpg tells where it has no key.
pub(super) fn is_fingerprint(text: &str) -> bool {
    matches!(text.len(), 16 | 40 | 64) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F'))
}

fn split(packet: &[u8]) -> Option<(&str, &[u8])> {
    let at = packet.iter().position(|byte| *byte == b'\n')?;
    Some((std::str::from_utf8(packet.get(..at)?).ok()?, packet.get(at + 1..)?))
}

/// Sends one packet; the socket keeps packets apart.
pub(super) fn send(to: impl AsFd, packet: &[u8]) -> rustix::io::Result<()> {
    loop {
        match rustix::io::write(&to, packet) {
            Ok(written) if written == packet.len() => return Ok(()),
            Ok(_) => return Err(Errno::MSGSIZE),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Waits for one packet; `None` when the other side has gone.
pub(super) fn receive(from: impl AsFd) -> rustix::io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut packet = Zeroizing::new(vec![0; LONGEST]);
    loop {
        match rustix::io::read(&from, &mut packet[..]) {
            Ok(0) => return Ok(None),
            Ok(length) => {
                packet.truncate(length);
                return Ok(Some(packet));
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_arrive_as_they_were_asked() {
        for passphrase in ["", "pass phrase", "é\u{1}"] {
            let packet = question(b"\x85\n\0message", passphrase);
            assert_eq!(read_question(&packet), Some((&b"\x85\n\0message"[..], passphrase)));
        }
        for packet in
            [&b""[..], b"decrypt 5\nabc", b"decrypt\nabc", b"decrypt -1\nabc", b"run 1\nabc", b"decrypt 1\n\xff"]
        {
            assert_eq!(read_question(packet), None);
        }
    }

    #[test]
    fn answers_arrive_as_they_were_given() {
        let home = Home { home: "/h".into(), exe: "/e".into() };
        let text = "1234567890123456:YWxpY2U:1700000000:3.0.0:1:MTk4LjUxLjEwMC43LHRjcC8yMg:\
                    fkTNKAZ1Dsu83Xww7bHl8gBPgbMp50BHSc2Dbapyy0Y";
        let fingerprint = "961DEE967C6F63741B418045D7A24CB1677EBF01";
        for signature in [None, Some((true, fingerprint)), Some((false, &fingerprint[24..]))] {
            let signature =
                signature.map(|(valid, fingerprint)| Signature { fingerprint: fingerprint.to_owned(), valid });
            let read = read_answer(&answer(&Ok((Zeroizing::new(text.into()), signature.clone()))), &home).unwrap();
            let read = read.unwrap_or_else(|why| panic!("{why:?}"));
            assert_eq!(read.signature, signature);
            assert!(read.plaintext.decode(&spa::Decoding::default()).is_ok());
        }
        for failure in
            [GpgFailure::Exe("/e".into()), GpgFailure::Home("/h".into()), GpgFailure::Decrypt("No secret key".into())]
        {
            let read = read_answer(&answer(&Err(failure.clone())), &home).unwrap();
            assert_eq!(read.err(), Some(failure));
        }
        for packet in [&b""[..], b"valid\nx", b"valid 12345\nx", b"yes\nx", b"unsigned"] {
            assert!(read_answer(packet, &home).is_none());
        }
    }
}
