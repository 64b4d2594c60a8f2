//! Keys for a phone: `fwknop qr -n NAME` shows what the stanza holds as a QR code.
//!
//! The phone's app reads tokens with one blank between them, each `NAME:VALUE`. Raw keys are sent as base64 too, since there a value ends at a
//! colon or blank. Nothing else of a stanza fits into a code; server, ports and digest are typed on the phone. Spec: client.md section 19.
//!
//! ```text
//! KEY_BASE64:c2VrcmV0 HMAC_KEY_BASE64:aG1hY3NlY3JldA==      █▀▀▀▀▀█ ▄▀▄
//! ```
//!
//! Whoever sees the code has the keys, so it is shown to a terminal only, unless somebody insists, and never without a warning. (What is drawn
//! stays in the memory of the terminal anyway: only the text is wiped here.)

use std::{
    error::Error,
    ffi::OsString,
    io::{self, IsTerminal as _},
};

use qrcode::{Color, EcLevel, QrCode, types::QrError};
use spa::{CipherKey, CipherMode, HmacKey};
use zeroize::Zeroizing;

use crate::{
    keys,
    output::Output,
    passphrase::Keyboard,
    plan::Plan,
    settings::{Name, Settings},
};

/// Why there is no code. Displays as the line for standard error.
#[derive(Debug, thiserror::Error)]
enum NoCode {
    #[error("fwknop qr: standard output is not a terminal, and the code holds the keys; add --force if that is meant")]
    NoTerminal,
    #[error("fwknop qr: this stanza uses GnuPG; phones take only an encryption key and an HMAC key")]
    Gpg,
    #[error("fwknop qr: the keys do not fit into a code: {0}")]
    Size(QrError),
}

/// What the command line asks for.
pub(crate) struct Wish {
    /// Options of a knock that sends nothing, and so needs no server.
    pub(crate) options: Vec<OsString>,
    force: bool,
}

impl Wish {
    /// Reads the whole command line, if its first word is `qr`.
    pub(crate) fn read(words: &[OsString]) -> Option<Self> {
        let words = words.get(1..)?.strip_prefix(&["qr".into()])?;
        let mut options: Vec<OsString> = ["--test".into()].into_iter().chain(words.iter().cloned()).collect();
        options.retain(|word| word != "--force");
        Some(Self { force: options.len() <= words.len(), options })
    }
}

/// Shows the keys that a knock with these settings would use.
pub(crate) fn show(wish: &Wish, settings: &Settings, output: &mut Output<'_>) -> Result<(), Box<dyn Error>> {
    let is_terminal = io::stdout().is_terminal();
    if !is_terminal && !wish.force {
        return Err(NoCode::NoTerminal.into());
    }
    let plan = Plan::new(settings, output)?;
    if plan.mode.is_none() {
        return Err(NoCode::Gpg.into());
    }
    let payload = payload(settings, &plan, output)?;
    let code = QrCode::with_error_correction_level(payload.as_bytes(), EcLevel::L).map_err(NoCode::Size)?;
    output.warn(
        "[!] WARNING: whoever sees or photographs this code has the keys, and can open what they open.\n    \
         Let nobody look on, clear the screen afterwards, and do not send the code by mail or chat.",
    );
    let digest = plan.hmac.map_or("no HMAC".to_owned(), |digest| format!("an HMAC of {digest}"));
    output.warn(format_args!(
        "    The code holds nothing but keys: the app must be told the server, the ports, and {digest}."
    ));
    output.say(drawn(&code, is_terminal));
    Ok(())
}

/// What the code says.
fn payload(settings: &Settings, plan: &Plan, output: &mut Output<'_>) -> Result<Zeroizing<String>, Box<dyn Error>> {
    let legacy = plan.mode == Some(CipherMode::Legacy);
    let mut keyboard = Keyboard::new(settings.number(Name::Descriptor));
    let bytes = keys::obtain(settings, &plan.route.server, legacy, &mut keyboard, output)?;
    let cipher = CipherKey::new(&bytes.cipher)?.to_base64();
    let hmac = match &bytes.hmac {
        Some(key) => Some(HmacKey::new(plan.hmac_digest, key)?.to_base64()),
        None => None,
    };
    Ok(Zeroizing::new(match hmac {
        Some(hmac) => format!("KEY_BASE64:{} HMAC_KEY_BASE64:{}", *cipher, *hmac),
        None => format!("KEY_BASE64:{}", *cipher),
    }))
}

/// Empty modules that the standard wants on every side.
const QUIET: i64 = 4;

/// Two modules to a character. A terminal is told to be black on white, whatever its colours are; elsewhere a block is a dark module.
fn drawn(code: &QrCode, is_terminal: bool) -> String {
    let width = i64::try_from(code.width()).unwrap_or_default();
    let is_dark = |x: i64, y: i64| {
        let inside = (0..width).contains(&x) && (0..width).contains(&y);
        let at = (usize::try_from(x).unwrap_or_default(), usize::try_from(y).unwrap_or_default());
        inside && code[at] == Color::Dark
    };
    let (before, after) = if is_terminal { ("\x1b[38;5;16;48;5;231m", "\x1b[0m") } else { ("", "") };
    let row = |y: i64| {
        let modules = (-QUIET..width + QUIET).map(|x| match (is_dark(x, y), is_dark(x, y + 1)) {
            (true, true) => '█',
            (true, false) => '▀',
            (false, true) => '▄',
            (false, false) => ' ',
        });
        format!("{before}{}{after}", modules.collect::<String>())
    };
    let rows: Vec<String> = (-QUIET..width + QUIET).step_by(2).map(row).collect();
    rows.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_is_as_wide_and_high_as_the_code_with_its_quiet_zone() {
        let code = QrCode::with_error_correction_level(b"KEY_BASE64:c2VrcmV0", EcLevel::L).unwrap();
        let text = drawn(&code, false);
        assert!(text.lines().all(|line| line.chars().count() == code.width() + 8), "{text}");
        assert_eq!(text.lines().count(), (code.width() + 8).div_ceil(2));
        assert!(text.lines().take(2).all(|line| line.trim().is_empty()), "{text}");
        assert!(drawn(&code, true).lines().all(|line| line.starts_with("\x1b[") && line.ends_with("\x1b[0m")));
    }

    #[test]
    fn the_largest_keys_fit_on_an_ordinary_screen() {
        let largest = format!("KEY_BASE64:{} HMAC_KEY_BASE64:{}", "k".repeat(44), "h".repeat(88));
        let code = QrCode::with_error_correction_level(largest.as_bytes(), EcLevel::L).unwrap();
        assert!(drawn(&code, false).lines().all(|line| line.chars().count() < 80));
    }
}
