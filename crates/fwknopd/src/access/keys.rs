//! The keys of a stanza. Only the process that hears packets has them; they are wiped when dropped and never shown.

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use fwknop_conf::complaint::{Complaint, Complaints, Severity};
use spa::{CipherKey, CipherMode, DigestType, HmacKey, KeyError, Keys};
use zeroize::Zeroizing;

use super::{data_error, gpg, raw::RawStanza};

/// What opens the packets of a stanza. With neither of both nothing does: that is how a key that no client can use ends up.
#[derive(Debug)]
pub struct StanzaKeys {
    /// For symmetric packets, if the stanza takes them.
    pub symmetric: Option<Keys>,
    /// For GPG packets, if the stanza takes them.
    pub gpg: Option<GpgKeys>,
    /// `HMAC_DIGEST_TYPE`, or its default if there is an HMAC key.
    pub digest: Option<DigestType>,
    /// Bytes of the cipher key as configured.
    pub key_length: usize,
    /// Bytes of the HMAC key as configured.
    pub hmac_length: usize,
}

/// What opens GPG packets, besides the secret key in gpg's own keeping.
#[derive(Debug)]
pub struct GpgKeys {
    /// Opens that secret key; empty with `GPG_ALLOW_NO_PW`.
    pub passphrase: Secret,
    /// What packets must be authenticated with; `None`: nothing.
    pub hmac: Option<HmacKey>,
}

/// A passphrase: wiped when dropped, shown as `Secret(..)`.
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// The one way to the text.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// As generous as the original: padding may be missing, spare bits may be set.
const GENEROUS: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// In legacy mode no more bytes than these count.
const LEGACY_KEY: usize = 16;

type Bytes = Zeroizing<Vec<u8>>;

impl StanzaKeys {
    /// Checks keys and how they are used. `None` if they cannot be; each mistake is told. A key longer than any client can
    /// use is only warned of, as the original starts with it, but opens nothing.
    pub fn new(raw: &RawStanza, complaints: &mut Complaints) -> Option<Self> {
        let before = complaints.errors();
        let mut values = Values { raw, complaints };
        let mut key = values.key("KEY", "KEY_BASE64");
        let hmac = values.key("HMAC_KEY", "HMAC_KEY_BASE64");
        let passphrase = values.passphrase();
        let digest = values.digest(hmac.is_some());
        let mode = values.mode();
        if complaints.errors() > before {
            return None;
        }
        if key.is_none() && passphrase.is_none() {
            let text = format!("[*] No keys found for access stanza source: '{}'", raw.source());
            let hint = "give it a KEY_BASE64 and an HMAC_KEY_BASE64, as fwknop --key-gen prints them";
            complaints.push(raw.locate("SOURCE", Complaint::error(text)).hint(hint));
            complaints.push(data_error(raw));
            return None;
        }
        if let Some(key) = key.as_mut().filter(|key| mode == CipherMode::Legacy && key.len() > LEGACY_KEY) {
            key.truncate(LEGACY_KEY);
            let text = format!(
                "Warning: truncating encryption key in legacy mode to 16 bytes for access stanza source: '{}'",
                raw.source()
            );
            complaints.push(Complaint::new(Severity::Info, text));
        }
        if identical(key.as_ref(), passphrase.as_ref(), hmac.as_ref()) {
            let text = format!(
                "[*] The encryption passphrase and HMAC key should not be identical for access stanza source: '{}'",
                raw.source()
            );
            complaints.push(raw.locate("HMAC_KEY", Complaint::error(text)));
            complaints.push(data_error(raw));
            return None;
        }
        let digest = digest.or(hmac.is_some().then_some(DigestType::Sha256));
        let (key_length, hmac_length) = (length(key.as_ref()), length(hmac.as_ref()));
        let (symmetric, gpg) = typed(key, mode, passphrase, digest.zip(hmac.as_ref())).unwrap_or_else(|unusable| {
            let Unusable(name, why) = unusable;
            let text = format!("Warning: {name}: {why}; no packet opens access stanza source: '{}'", raw.source());
            complaints.push(raw.locate(name, Complaint::warning(text)));
            (None, None)
        });
        Some(Self { symmetric, gpg, digest, key_length, hmac_length })
    }
}

impl StanzaKeys {
    /// Whether packets without an HMAC open the stanza.
    #[must_use]
    pub fn open_without_hmac(&self) -> bool {
        let symmetric = self.symmetric.as_ref().is_some_and(|keys| keys.hmac.is_none());
        symmetric || self.gpg.as_ref().is_some_and(|keys| keys.hmac.is_none())
    }
}

/// A key that no client can use: its name, and why.
struct Unusable(&'static str, KeyError);

/// The keys as what they are for. If one of them is unusable there are none: packets must not go unchecked because their
/// HMAC key is no good.
fn typed(
    key: Option<Bytes>,
    mode: CipherMode,
    passphrase: Option<Secret>,
    hmac: Option<(DigestType, &Bytes)>,
) -> Result<(Option<Keys>, Option<GpgKeys>), Unusable> {
    let hmac_key = || {
        let made = hmac.map(|(digest, bytes)| HmacKey::new(digest, bytes)).transpose();
        made.map_err(|why| Unusable("HMAC_KEY", why))
    };
    let symmetric = match key {
        Some(bytes) => {
            let cipher = CipherKey::new(&bytes).map_err(|why| Unusable("KEY", why))?;
            Some(Keys { cipher, mode, hmac: hmac_key()? })
        }
        None => None,
    };
    let gpg = match passphrase {
        Some(passphrase) => Some(GpgKeys { passphrase, hmac: hmac_key()? }),
        None => None,
    };
    Ok((symmetric, gpg))
}

struct Values<'a> {
    raw: &'a RawStanza,
    complaints: &'a mut Complaints,
}

impl Values<'_> {
    /// The key of a stanza: the last of its two names counts. An empty one is none.
    fn key(&mut self, text_name: &str, base64_name: &str) -> Option<Bytes> {
        for name in [text_name, base64_name] {
            self.placeholder(name);
        }
        let (name, value) = self.raw.last_of(&[text_name, base64_name])?;
        if name == text_name || is_placeholder(value) {
            return Some(Zeroizing::new(value.as_bytes().to_vec())).filter(|key| !key.is_empty());
        }
        let Some((bytes, whole)) = decode(value) else {
            // The value is not shown, as the original shows it: it may be a passphrase in the wrong place.
            let text = format!("[*] {name} argument '..' doesn't look like base64-encoded data.");
            let hint = format!("a passphrase as it is belongs into {text_name}");
            self.complaints.push(self.raw.locate(name, Complaint::error(text)).hint(hint));
            return None;
        };
        if !whole {
            let text = format!("{name} is not whole base64; {} bytes of it are used", bytes.len());
            self.complaints.push(self.raw.locate(name, Complaint::warning(text)).hint("is it cut off?"));
        }
        Some(bytes).filter(|key| !key.is_empty())
    }

    /// The sample file's `__CHANGEME__` must not become anybody's key.
    fn placeholder(&mut self, name: &str) {
        if self.raw.get(name).is_some_and(is_placeholder) {
            let text = format!(
                "[*] {name} value is not properly set in stanza source '{}' in access file: '{}'",
                self.raw.source(),
                self.raw.file()
            );
            self.complaints.push(self.raw.locate(name, Complaint::error(text)).hint("fwknop --key-gen prints keys"));
        }
    }

    fn passphrase(&mut self) -> Option<Secret> {
        self.placeholder("GPG_DECRYPT_PW");
        let text = self.raw.get("GPG_DECRYPT_PW").unwrap_or_default();
        gpg::is_used(self.raw).then(|| Secret(text.to_owned().into()))
    }

    fn digest(&mut self, needed: bool) -> Option<DigestType> {
        let text = self.raw.get("HMAC_DIGEST_TYPE")?;
        let digest = text.parse().ok();
        if digest.is_none() {
            let text = format!(
                "[*] HMAC_DIGEST_TYPE argument '{text}' must be one of {{md5,sha1,sha256,sha384,sha512,sha3_256,sha3_512}}"
            );
            self.complaints.push(self.raw.locate("HMAC_DIGEST_TYPE", Complaint::error(text)));
        } else if !needed {
            let text = "HMAC_DIGEST_TYPE without an HMAC key has no effect";
            self.complaints.push(self.raw.locate("HMAC_DIGEST_TYPE", Complaint::warning(text)));
        }
        digest
    }

    /// `Asymmetric` speaks of GPG packets; symmetric ones are then as by default.
    fn mode(&mut self) -> CipherMode {
        let Some(text) = self.raw.get("ENCRYPTION_MODE") else { return CipherMode::Cbc };
        if text.eq_ignore_ascii_case("asymmetric") {
            return CipherMode::Cbc;
        }
        text.parse().unwrap_or_else(|_| {
            let text = format!("[*] Unrecognized ENCRYPTION_MODE '{text}', use {{CBC,CTR,legacy,Asymmetric}}");
            let complaint = self.raw.locate("ENCRYPTION_MODE", Complaint::error(text));
            self.complaints.push(complaint.hint("ECB, CFB and OFB are known too"));
            CipherMode::Cbc
        })
    }
}

fn is_placeholder(value: &str) -> bool {
    value.eq_ignore_ascii_case("__CHANGEME__")
}

/// The bytes up to the first `=`, as the original reads them, and whether that was all there is. `None` if another character
/// than those of base64 is in it.
fn decode(text: &str) -> Option<(Bytes, bool)> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    if !text.bytes().all(legal) {
        return None;
    }
    let (bare, padding) = text.split_at(text.find('=').unwrap_or(text.len()));
    // One character alone is not a byte.
    let even = if bare.len() % 4 == 1 { bare.get(..bare.len() - 1)? } else { bare };
    let whole = even.len() == bare.len() && padding.bytes().all(|byte| byte == b'=');
    Some((GENEROUS.decode(even).ok()?.into(), whole))
}

fn length(bytes: Option<&Bytes>) -> usize {
    bytes.map_or(0, |bytes| bytes.len())
}

/// Whether the HMAC key is the cipher key; the passphrase is compared if there is no cipher key of that length.
fn identical(key: Option<&Bytes>, passphrase: Option<&Secret>, hmac: Option<&Bytes>) -> bool {
    let Some(hmac) = hmac else { return false };
    match key.filter(|key| key.len() == hmac.len()) {
        Some(key) => key == hmac,
        None => passphrase.is_some_and(|passphrase| passphrase.expose().as_bytes() == hmac.as_slice()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::raw::tests::stanza;

    fn read(text: &str) -> (Option<StanzaKeys>, Vec<String>) {
        let mut complaints = Complaints::new();
        let keys = StanzaKeys::new(&stanza(text), &mut complaints);
        (keys, complaints.iter().map(|complaint| complaint.text.clone()).collect())
    }

    #[test]
    fn the_last_of_both_names_counts() {
        for (text, length, warnings) in [
            ("KEY_BASE64 dGVzdGtleTEyMzQ=\nKEY abc", 3, 0),
            ("KEY abc\nKEY_BASE64 dGVzdGtleTEyMzQ", 11, 0),
            ("KEY two words", 9, 0),
            ("KEY_BASE64 abcde", 3, 1),
            ("KEY_BASE64 ab=cd", 1, 1),
        ] {
            let (keys, told) = read(text);
            assert_eq!(keys.unwrap().key_length, length, "{text}");
            assert_eq!(told.len(), warnings, "{told:?}");
        }
    }

    #[test]
    fn an_hmac_key_is_for_sha256_unless_it_says_otherwise() {
        assert_eq!(read("KEY a\nHMAC_KEY b").0.unwrap().digest, Some(DigestType::Sha256));
        assert_eq!(read("KEY a\nHMAC_KEY b\nHMAC_DIGEST_TYPE sha3_512").0.unwrap().digest, Some(DigestType::Sha3_512));
        assert_eq!(read("KEY a").0.unwrap().digest, None);
    }

    #[test]
    fn legacy_keys_are_cut_before_they_are_compared() {
        let (keys, told) = read("KEY 0123456789abcdefXYZ\nENCRYPTION_MODE legacy");
        assert_eq!(keys.unwrap().key_length, 16);
        assert_eq!(told.len(), 1);
        let (keys, _) = read("KEY 0123456789abcdefXYZ\nENCRYPTION_MODE legacy\nHMAC_KEY 0123456789abcdef");
        assert!(keys.is_none());
    }

    #[test]
    fn a_key_that_no_client_can_use_opens_nothing() {
        for text in
            [format!("KEY abc\nGPG_DECRYPT_PW x\nHMAC_KEY {}", "h".repeat(200)), format!("KEY {}", "k".repeat(33))]
        {
            let (keys, told) = read(&text);
            let keys = keys.unwrap();
            assert!(keys.symmetric.is_none() && keys.gpg.is_none(), "{text}");
            assert!(keys.hmac_length == 200 || keys.key_length == 33);
            assert!(told[0].contains("no packet opens access stanza source: 'ANY'"), "{told:?}");
        }
    }

    #[test]
    fn both_kinds_of_packets_are_checked_with_the_same_hmac_key() {
        let keys = read("KEY abc\nGPG_DECRYPT_PW x\nHMAC_KEY h").0.unwrap();
        assert!(keys.symmetric.is_some_and(|keys| keys.hmac.is_some()));
        assert!(keys.gpg.is_some_and(|keys| keys.hmac.is_some() && keys.passphrase.expose() == "x"));
    }

    #[test]
    fn what_cannot_be_a_key_is_refused_without_showing_it() {
        for (text, told) in [
            ("HMAC_KEY abc", "[*] No keys found for access stanza source: 'ANY'"),
            ("KEY_BASE64 ====", "[*] No keys found for access stanza source: 'ANY'"),
            ("GPG_ALLOW_NO_PW N", "[*] No keys found for access stanza source: 'ANY'"),
            ("KEY_BASE64 my_secret", "[*] KEY_BASE64 argument '..' doesn't look like base64-encoded data."),
            ("KEY_BASE64 a", "KEY_BASE64 is not whole base64; 0 bytes of it are used"),
            ("KEY __changeme__", "[*] KEY value is not properly set in stanza source 'ANY' in access file: ''"),
            (
                "KEY samekey\nHMAC_KEY_BASE64 c2FtZWtleQ==",
                "[*] The encryption passphrase and HMAC key should not be identical for access stanza source: 'ANY'",
            ),
            (
                "GPG_DECRYPT_PW samekey\nHMAC_KEY samekey",
                "[*] The encryption passphrase and HMAC key should not be identical for access stanza source: 'ANY'",
            ),
            ("KEY a\nENCRYPTION_MODE PCBC", "[*] Unrecognized ENCRYPTION_MODE 'PCBC', use {CBC,CTR,legacy,Asymmetric}"),
        ] {
            let (keys, complaints) = read(text);
            assert!(keys.is_none(), "{text}");
            assert_eq!(complaints[0], told);
        }
    }

    #[test]
    fn keys_are_never_shown() {
        let (keys, _) = read("KEY abcdefgh\nHMAC_KEY ijklmnop\nGPG_DECRYPT_PW qrstuvwx");
        let shown = format!("{keys:?}");
        for secret in ["abcdefgh", "ijklmnop", "qrstuvwx"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}
