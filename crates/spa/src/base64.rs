//! Unpadded base64 with one spelling for each value (section 4).
//!
//! One packet must not have two texts: each text has its own replay digest, and would be taken as new. So what a stranger
//! sends must have the strict form. Only our own configured keys are read as generously as the original reads them.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, NO_PAD};
use base64::engine::{DecodePaddingMode, general_purpose};

const BARE: GeneralPurpose = GeneralPurpose::new(&STANDARD, NO_PAD);
const PADDED: GeneralPurpose = general_purpose::STANDARD;
const GENEROUS: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(true)
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// Text that is not base64, or not its only spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotBase64;

/// The longest text of a digest or HMAC: 64 bytes.
const LONGEST_SHORT: usize = 86;

/// The text of a digest or HMAC. It lives on the stack, so that turning a stranger away allocates nothing.
#[derive(Clone, Copy)]
pub(crate) struct ShortText {
    bytes: [u8; LONGEST_SHORT],
    len: usize,
}

impl ShortText {
    /// Encodes at most 64 bytes.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut text = Self { bytes: [0; LONGEST_SHORT], len: 0 };
        text.len = BARE.encode_slice(bytes, &mut text.bytes).unwrap_or_default();
        text
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

/// Without padding.
pub(crate) fn encode(bytes: &[u8]) -> String {
    BARE.encode(bytes)
}

/// With padding, as keys are written into files.
pub(crate) fn encode_key(bytes: &[u8]) -> String {
    PADDED.encode(bytes)
}

/// Reads the text of a container or digest: no `=`, spare bits zero.
pub(crate) fn decode(text: &str) -> Result<Vec<u8>, NotBase64> {
    BARE.decode(text).map_err(|_| NotBase64)
}

/// Reads an inner field, which some genuine clients pad: no `=` at all, or exactly the right number.
pub(crate) fn decode_field(text: &str) -> Result<Vec<u8>, NotBase64> {
    let engine = if text.ends_with('=') { &PADDED } else { &BARE };
    engine.decode(text).map_err(|_| NotBase64)
}

/// Reads what the original reads: up to the first `=`; spare bits and a lone last character are ignored.
pub(crate) fn decode_generously(text: &str) -> Result<Vec<u8>, NotBase64> {
    let text = text.split('=').next().unwrap_or_default();
    let whole = if text.len() % 4 == 1 { text.get(..text.len() - 1) } else { Some(text) };
    GENEROUS.decode(whole.ok_or(NotBase64)?).map_err(|_| NotBase64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_every_second_spelling() {
        for text in ["Y", "YQ=", "YR", "YQ==", "YQ=x", "YW_j", "YW j", "=YQ", "YQ\n"] {
            assert_eq!(decode(text), Err(NotBase64), "{text:?}");
        }
        for text in ["Y", "YQ=", "YWI==", "YR==", "YQ==x", "YWJj=", "=", "YWJjZ"] {
            assert_eq!(decode_field(text), Err(NotBase64), "{text:?}");
        }
        assert_eq!(decode_field("YQ=="), Ok(b"a".to_vec()));
        assert_eq!(decode_field("YQ"), Ok(b"a".to_vec()));
    }

    #[test]
    fn reads_keys_as_the_original_does() {
        for text in ["YWI=", "YWI", "YWJ=", "YWI=rest"] {
            assert_eq!(decode_generously(text), Ok(b"ab".to_vec()), "{text:?}");
        }
        assert_eq!(decode_generously("YWJjZ"), Ok(b"abc".to_vec()));
        assert_eq!(decode_generously("YW-j"), Err(NotBase64));
    }
}
