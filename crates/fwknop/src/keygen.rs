//! Making keys, for `--key-gen`.
//!
//! Two keys from the system's generator, shown as two lines that are right in the client's rc file and in the server's `access.conf` alike.
//! A file gets mode 0600 whatever the umask. Spec: client.md section 7.
//!
//! ```text
//! KEY_BASE64: jKcZAamSJEtbEW6Az/lqJzgs+pPktx/Ndp1NBDR0iTk=
//! HMAC_KEY_BASE64: 3/LF6eValpBhXCEPei1aVp2cqVjLiXuKomJpu9cAGZEw70co…
//! ```

use std::{
    fs::OpenOptions,
    io::{self, Write},
    path::{Path, PathBuf},
};

use rand_core::CryptoRng;
use spa::{CipherKey, DigestType, HmacKey};
use zeroize::Zeroizing;

use crate::{
    failure::Library,
    output::reason,
    settings::{Name, Settings},
};

/// Why there are no keys. Displays as the line for standard error.
#[derive(Debug, thiserror::Error)]
pub enum GenError {
    /// A length that no key has.
    #[error(transparent)]
    Length(#[from] Library),
    /// The file cannot be written.
    #[error("Unable to create key gen file: {}: {}", .path.display(), reason(.source))]
    #[allow(missing_docs)]
    File { path: PathBuf, source: io::Error },
}

/// Two new keys, in base64.
pub struct NewKeys {
    /// Encrypts.
    pub cipher: Zeroizing<String>,
    /// Authenticates.
    pub hmac: Zeroizing<String>,
}

impl NewKeys {
    /// Makes them as long as is set, or as is usual for the digest of the HMAC.
    ///
    /// # Errors
    /// If the encryption key is to have more than 32 bytes.
    pub fn new(settings: &Settings, digest: DigestType, rng: &mut impl CryptoRng) -> Result<Self, GenError> {
        let length =
            |name, usual| settings.number(name).and_then(|length| usize::try_from(length).ok()).unwrap_or(usual);
        let cipher = length(Name::KeyLength, CipherKey::LONGEST);
        let hmac = length(Name::HmacKeyLength, digest.usual_key_length());
        Ok(Self {
            cipher: CipherKey::generate(rng, cipher).map_err(|_| Library::key_gen_length())?.to_base64(),
            hmac: HmacKey::generate(rng, digest, hmac)
                .map_err(|error| Library::new("fko_key_gen", error.fko()))?
                .to_base64(),
        })
    }

    /// The two lines, without the last line feed.
    #[must_use]
    pub fn lines(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("KEY_BASE64: {}\nHMAC_KEY_BASE64: {}", *self.cipher, *self.hmac))
    }

    /// Writes the two lines to a file of their own; one that is there is emptied and keeps its mode.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), GenError> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options
            .open(path)
            .and_then(|mut file| file.write_all(Zeroizing::new(format!("{}\n", *self.lines())).as_bytes()))
            .map_err(|source| GenError::File { path: path.to_owned(), source })
    }
}
