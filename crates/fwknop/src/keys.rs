//! Where the two keys come from, or the passphrase of the key that signs.
//!
//! The strongest place that gives a key at all decides: command line, stanza, `[default]`. Within one place raw text wins over base64, and
//! base64 over a key file. If no place gives one, somebody is asked. Spec: client.md sections 8.1 to 8.3.
//!
//! ```text
//! KEY, --key-rijndael ─▶ KEY_BASE64 ─▶ KEY_FILE, -G ─▶ Passphrase      (the first that is there)
//! ```

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use crate::{
    keyfile::{self, KeyFileError},
    output::Output,
    passphrase::{Passphrase, PassphraseError},
    settings::{Layer, Name, SecretBytes, Settings, Value},
};

/// Why there are no keys. Displays as the lines for standard error.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// An encryption key of this many bytes.
    #[error("[*] Invalid key length: '{0}', must be in [1,128]")]
    Length(usize),
    /// An HMAC key of this many bytes, from base64.
    #[error("[*] Invalid decoded key length: '{0}', must be in [0,128]")]
    DecodedLength(usize),
    /// An HMAC key of this many bytes.
    #[error("[*] Invalid HMAC key length: '{0}', must be in [1,128]")]
    HmacLength(usize),
    /// Text over the base64 alphabet that is not base64.
    #[error("[*] {0}: not base64: its length or its last character is impossible")]
    Base64(&'static str),
    /// The same key twice: the HMAC would tell about the encryption.
    #[error("[*] The encryption passphrase and HMAC key should not be identical, no SPA packet sent. Exiting.")]
    Same,
    /// A passphrase that gpg cannot be given.
    #[error("[*] The signing passphrase has a line end or a NUL in it, and gpg takes it as one line. Give it without.")]
    NotALine,
    /// From a key file.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// From whoever was asked.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
}

/// The bytes of the two keys, before they are made ready for use.
pub struct KeyBytes {
    /// Encrypts.
    pub cipher: SecretBytes,
    /// Authenticates, if that is wanted.
    pub hmac: Option<SecretBytes>,
}

/// Whether the packet is to have an HMAC.
///
/// A place that gives an HMAC key says yes; otherwise what it says of `USE_HMAC` counts. Spec: client.md section 8.2.
#[must_use]
pub fn wants_hmac(settings: &Settings) -> bool {
    const GIVES: [Name; 3] = [Name::HmacKey, Name::HmacKeyBase64, Name::HmacKeyFile];
    settings
        .deciding(&[Name::HmacKey, Name::HmacKeyBase64, Name::HmacKeyFile, Name::UseHmac])
        .is_some_and(|layer| layer.says_yes(Name::UseHmac) || GIVES.iter().any(|name| layer.get(*name).is_some()))
}

/// Gets both keys; `server` is the name they have in key files.
///
/// # Errors
/// If there is none, or one that cannot be used.
pub fn obtain(
    settings: &Settings,
    server: &str,
    legacy: bool,
    passphrase: &mut impl Passphrase,
    output: &mut Output<'_>,
) -> Result<KeyBytes, KeyError> {
    let mut cipher = match encryption_key(settings, server)? {
        Some(key) => key,
        None => passphrase.ask("Enter encryption key: ")?,
    };
    if cipher.is_empty() {
        return Err(KeyError::Length(0)); // the original encrypts with it (D2)
    }
    let hmac = hmac_key(settings, server, passphrase)?;
    if hmac.as_ref().is_some_and(|hmac| **hmac == *cipher) {
        return Err(KeyError::Same);
    }
    if legacy && cipher.len() > 16 {
        output.warn(
            "WARNING: Encryption key in '-M legacy' mode must be <= 16 bytes\n\
             long - truncating before sending SPA packet. Upgrading remote\n\
             fwknopd is recommended.",
        );
        cipher.truncate(16);
    }
    Ok(KeyBytes { cipher, hmac })
}

/// What gpg is not given by its own keys.
pub struct GpgKeyBytes {
    /// Unlocks the signing key; `None` if there is nothing to unlock or gpg's agent does it.
    pub passphrase: Option<SecretBytes>,
    /// Authenticates, if that is wanted.
    pub hmac: Option<SecretBytes>,
}

/// Gets the passphrase of the signing key, if somebody `signs`, and the HMAC key.
///
/// The passphrase has the settings of the encryption key. That the agent has it, or that there is none, counts like one that is given: the
/// strongest place that says any of this decides.
///
/// # Errors
/// If there is none, or one that cannot be used.
pub fn obtain_for_gpg(
    settings: &Settings,
    server: &str,
    signs: bool,
    passphrase: &mut impl Passphrase,
    output: &mut Output<'_>,
) -> Result<GpgKeyBytes, KeyError> {
    let switches = [
        (Name::GpgAgent, "[+] GPG mode set, signing passphrase acquired via gpg-agent"),
        (Name::GpgNoPassphrase, "[+] GPG mode set, signing passphrase not required"),
    ];
    let on = |layer: &Layer| switches.into_iter().find(|(name, _)| settings.on(*name) && layer.says_yes(*name));
    let gives = |layer: &&Layer| on(layer).is_some() || CIPHER_KEY.iter().any(|name| layer.get(*name).is_some());
    let layer = settings.strongest_first().find(gives);
    let is_given = layer.is_some_and(|layer| CIPHER_KEY.iter().any(|name| layer.get(*name).is_some()));
    let unlocks = match layer.and_then(on) {
        _ if is_given => encryption_key(settings, server)?,
        Some((_, told)) => {
            output.say(told);
            None
        }
        None if signs => Some(passphrase.ask("Enter passphrase for signing: ")?),
        None => None,
    };
    if unlocks.as_ref().is_some_and(|passphrase| passphrase.iter().any(|byte| matches!(byte, b'\n' | 0))) {
        return Err(KeyError::NotALine);
    }
    let hmac = hmac_key(settings, server, passphrase)?;
    if hmac.is_some() && hmac == unlocks {
        return Err(KeyError::Same);
    }
    Ok(GpgKeyBytes { passphrase: unlocks, hmac })
}

const CIPHER_KEY: [Name; 3] = [Name::Key, Name::KeyBase64, Name::KeyFile];

fn encryption_key(settings: &Settings, server: &str) -> Result<Option<SecretBytes>, KeyError> {
    match given(settings, CIPHER_KEY, server)? {
        Some(Given::Decoded(key)) if key.is_empty() || key.len() >= 128 => Err(KeyError::Length(key.len())),
        Some(Given::Decoded(key) | Given::Raw(key)) => Ok(Some(key)),
        None => Ok(None),
    }
}

fn hmac_key(
    settings: &Settings,
    server: &str,
    passphrase: &mut impl Passphrase,
) -> Result<Option<SecretBytes>, KeyError> {
    if !wants_hmac(settings) {
        return Ok(None);
    }
    let key = match given(settings, [Name::HmacKey, Name::HmacKeyBase64, Name::HmacKeyFile], server)? {
        Some(Given::Decoded(key)) if key.len() > 128 => return Err(KeyError::DecodedLength(key.len())),
        Some(Given::Decoded(key) | Given::Raw(key)) => key,
        None => passphrase.ask("Enter HMAC key: ")?,
    };
    match key.len() {
        1..=128 => Ok(Some(key)),
        length => Err(KeyError::HmacLength(length)),
    }
}

/// A key from a setting: base64 has limits of its own.
enum Given {
    Raw(SecretBytes),
    Decoded(SecretBytes),
}

fn given(settings: &Settings, [raw, base64, file]: [Name; 3], server: &str) -> Result<Option<Given>, KeyError> {
    let Some(layer) = settings.deciding(&[raw, base64, file]) else {
        return Ok(None);
    };
    if let Some(key) = secret(layer, raw) {
        return Ok(Some(Given::Raw(SecretBytes::new(key.to_vec()))));
    }
    if let Some(text) = secret(layer, base64) {
        return decode(text, base64).map(Given::Decoded).map(Some);
    }
    match layer.get(file) {
        Some(Value::Text(path)) => Ok(Some(Given::Raw(keyfile::key_for(server, path.as_ref())?))),
        _ => Ok(None),
    }
}

fn secret(layer: &Layer, name: Name) -> Option<&[u8]> {
    match layer.get(name) {
        Some(Value::Secret(secret)) => Some(secret.expose()),
        _ => None,
    }
}

/// Decodes up to the first `=`; padding may be missing, as in the original.
fn decode(text: &[u8], name: Name) -> Result<SecretBytes, KeyError> {
    const ENGINE: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::RequireNone)
            .with_decode_allow_trailing_bits(true),
    );
    let text = text.split(|&byte| byte == b'=').next().unwrap_or_default();
    let what = if name == Name::KeyBase64 { "KEY_BASE64" } else { "HMAC_KEY_BASE64" };
    let mut key = SecretBytes::new(Vec::with_capacity(text.len())); // it does not grow, so leaves no pieces behind
    ENGINE.decode_vec(text, &mut key).map_err(|_| KeyError::Base64(what))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsStr, io};

    use super::*;
    use crate::settings::Setting;

    struct Nobody;

    impl Passphrase for Nobody {
        fn ask(&mut self, prompt: &str) -> Result<SecretBytes, PassphraseError> {
            Ok(SecretBytes::new(prompt.as_bytes().to_vec()))
        }
    }

    fn told(layers: &[&[(&str, &str)]]) -> String {
        let mut settings = Settings::default();
        for given in layers {
            let mut layer = Layer::default();
            for (variable, value) in *given {
                let row = Setting::of_variable(variable).unwrap();
                layer.set(row.name, row.kind.read(OsStr::new(value)).unwrap());
            }
            settings.push(layer);
        }
        let mut output = (io::sink(), io::sink());
        let mut output = Output::new(&mut output.0, &mut output.1);
        let shown = |key: Option<SecretBytes>| key.map_or("none".into(), |key| key.escape_ascii().to_string());
        let keys = if settings.on(Name::UseGpg) {
            let signs = settings.raw(Name::GpgSigner).is_some();
            let keys = obtain_for_gpg(&settings, "h", signs, &mut Nobody, &mut output);
            keys.map(|keys| (keys.passphrase, keys.hmac))
        } else {
            let keys = obtain(&settings, "h", false, &mut Nobody, &mut output);
            keys.map(|keys| (Some(keys.cipher), keys.hmac))
        };
        match keys {
            Ok((cipher, hmac)) => format!("{}|{}", shown(cipher), shown(hmac)),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_strongest_place_says_what_unlocks_the_signing_key() {
        let default = [("USE_GPG", "Y"), ("GPG_SIGNER", "me"), ("KEY", "a")];
        let agent = [("USE_GPG", "Y"), ("GPG_SIGNER", "me"), ("USE_GPG_AGENT", "Y")];
        for (layers, keys) in [
            (&[&default[..]][..], "a|none"),
            (&[&default, &[("USE_GPG_AGENT", "Y")]], "none|none"),
            (&[&default, &[("GPG_NO_SIGNING_PW", "Y")]], "none|none"),
            (&[&default, &[("GPG_NO_SIGNING_PW", "N")]], "a|none"),
            (&[&agent, &[("GPG_SIGNING_PW", "b")]], "b|none"),
            (&[&agent, &[("USE_GPG_AGENT", "N")]], "Enter passphrase for signing: |none"),
            (&[&[("USE_GPG", "Y"), ("USE_HMAC", "Y")]], "none|Enter HMAC key: "),
        ] {
            assert_eq!(told(layers), keys, "{layers:?}");
        }
        let base64 = [("USE_GPG", "Y"), ("GPG_SIGNER", "me"), ("GPG_SIGNING_PW_BASE64", "YQpi")];
        assert!(told(&[&base64]).contains("as one line"), "gpg would take the rest for the message");
    }

    #[test]
    fn the_stronger_place_gives_the_key_and_raw_text_wins_within_one_place() {
        for (layers, keys) in [
            (&[&[("KEY", "a"), ("KEY_BASE64", "c2VrcmV0")][..]][..], "a|none"),
            (&[&[("KEY", "a")], &[("KEY_BASE64", "c2VrcmV0=AAAA")]], "sekret|none"),
            (&[&[("KEY", "a"), ("HMAC_KEY", "b")]], "a|b"),
            (&[&[("KEY", "a"), ("HMAC_KEY", "b"), ("USE_HMAC", "N")]], "a|b"),
            (&[&[("KEY", "a"), ("HMAC_KEY", "b")], &[("USE_HMAC", "N")]], "a|none"),
            (&[&[("KEY", "a"), ("HMAC_DIGEST_TYPE", "sha512")]], "a|none"),
            (&[&[("USE_HMAC", "Y")]], "Enter encryption key: |Enter HMAC key: "),
        ] {
            assert_eq!(told(layers), keys, "{layers:?}");
        }
    }

    #[test]
    fn keys_that_cannot_be_used_are_refused() {
        let long = "h".repeat(129);
        for (layers, error) in [
            (&[("KEY", "a"), ("HMAC_KEY_BASE64", "YQ")][..], "should not be identical"),
            (&[("KEY", "a"), ("HMAC_KEY", &long)], "Invalid HMAC key length: '129'"),
            (&[("KEY_BASE64", "")], "Invalid key length: '0'"),
            (&[("KEY_BASE64", "A")], "not base64"),
        ] {
            assert!(told(&[layers]).contains(error), "{}", told(&[layers]));
        }
    }
}
