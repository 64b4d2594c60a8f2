//! The original library's number and text for each reason, which log parsers and wrapper scripts match on.
//!
//! Our own errors say what happened in words for a person; these are the words of the interface (output contract,
//! section 3.1; client description, section 4.5). Several of our reasons share one of its numbers.

use crate::{DecodeError, FieldError, KeyError, OpenError, SealError};

/// An error as the original's library names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fko {
    /// Its number.
    pub number: u16,
    /// Its text.
    pub text: &'static str,
}

macro_rules! invalid {
    ($number:literal, $symbol:literal) => {
        Fko { number: $number, text: concat!("Args contain invalid data: FKO_ERROR_INVALID_DATA_", $symbol) }
    };
}

const DECRYPTION: Fko = Fko { number: 107, text: "Decryption failed or decrypted data is invalid" };

impl OpenError {
    /// What the original would have said.
    #[must_use]
    pub fn fko(self) -> Fko {
        match self {
            Self::Hmac | Self::HmacShort => invalid!(75, "HMAC_COMPAREFAIL"),
            Self::SizeClass => invalid!(65, "ENCRYPT_TYPE_UNKNOWN"),
            Self::NotBase64 | Self::Block | Self::Magic => invalid!(53, "ENCRYPT_CIPHERLEN_VALIDFAIL"),
            Self::GpgHeader => Fko { number: 132, text: "Decryption operation failed" },
            Self::Decode(why) => why.fko(),
        }
    }

    /// Whether it is a wrong HMAC, which the log treats apart: that stanza is simply not meant.
    #[must_use]
    pub fn is_hmac_mismatch(self) -> bool {
        matches!(self, Self::Hmac | Self::HmacShort)
    }
}

impl DecodeError {
    /// What the original would have said.
    #[must_use]
    pub fn fko(self) -> Fko {
        match self {
            Self::Length(_) => invalid!(6, "DECODE_MSGLEN_VALIDFAIL"),
            Self::Beginning => DECRYPTION,
            Self::NotPrintable => invalid!(7, "DECODE_NON_ASCII"),
            Self::FewFields => invalid!(8, "DECODE_LT_MIN_FIELDS"),
            Self::ManyFields => invalid!(10, "DECODE_WRONG_NUM_FIELDS"),
            Self::DigestLength(_) => Fko { number: 99, text: "Invalid digest type" },
            Self::Digest => Fko { number: 108, text: "The computed digest did not match the digest in the spa data" },
            Self::UserMissing => invalid!(13, "DECODE_USERNAME_MISSING"),
            Self::UserTooLong => invalid!(14, "DECODE_USERNAME_TOOBIG"),
            Self::UserBase64 => invalid!(15, "DECODE_USERNAME_DECODEFAIL"),
            Self::TimeMissing => invalid!(17, "DECODE_TIMESTAMP_MISSING"),
            Self::TimeTooLong => invalid!(18, "DECODE_TIMESTAMP_TOOBIG"),
            Self::VersionMissing => invalid!(20, "DECODE_VERSION_MISSING"),
            Self::VersionTooLong => invalid!(21, "DECODE_VERSION_TOOBIG"),
            Self::TypeMissing => invalid!(22, "DECODE_MSGTYPE_MISSING"),
            Self::TypeTooLong => invalid!(23, "DECODE_MSGTYPE_TOOBIG"),
            Self::Type => invalid!(24, "DECODE_MSGTYPE_DECODEFAIL"),
            Self::MessageMissing => invalid!(25, "DECODE_MESSAGE_MISSING"),
            Self::MessageTooLong => invalid!(26, "DECODE_MESSAGE_TOOBIG"),
            Self::MessageBase64 => invalid!(27, "DECODE_MESSAGE_DECODEFAIL"),
            Self::Command(_) => invalid!(28, "DECODE_MESSAGE_VALIDFAIL"),
            Self::NatMissing => invalid!(30, "DECODE_NATACCESS_MISSING"),
            Self::NatTooLong => invalid!(31, "DECODE_NATACCESS_TOOBIG"),
            Self::NatBase64 => invalid!(32, "DECODE_NATACCESS_DECODEFAIL"),
            Self::AuthTooLong => invalid!(37, "DECODE_EXTRA_TOOBIG"),
            Self::AuthBase64 => invalid!(35, "DECODE_SRVAUTH_DECODEFAIL"),
            Self::EmptyField => invalid!(34, "DECODE_SRVAUTH_MISSING"),
            Self::TimeoutMissing => invalid!(39, "DECODE_TIMEOUT_MISSING"),
            Self::Field(why) => decoding(why),
        }
    }
}

/// A value that was refused in a received message.
fn decoding(why: FieldError) -> Fko {
    match why {
        FieldError::Nonce => DECRYPTION,
        FieldError::UserTooLong(_) => invalid!(14, "DECODE_USERNAME_TOOBIG"),
        FieldError::UserEmpty | FieldError::UserChar { .. } => invalid!(16, "DECODE_USERNAME_VALIDFAIL"),
        FieldError::Time => invalid!(19, "DECODE_TIMESTAMP_DECODEFAIL"),
        FieldError::Version => invalid!(20, "DECODE_VERSION_MISSING"),
        FieldError::AllowIp | FieldError::Ports => invalid!(29, "DECODE_ACCESS_VALIDFAIL"),
        FieldError::Command => invalid!(28, "DECODE_MESSAGE_VALIDFAIL"),
        FieldError::NatForm | FieldError::NatHostTooLong(_) | FieldError::NatHost | FieldError::NatPort => {
            invalid!(33, "DECODE_NATACCESS_VALIDFAIL")
        }
        FieldError::ServerAuth => invalid!(35, "DECODE_SRVAUTH_DECODEFAIL"),
        FieldError::TimeoutDigits => invalid!(41, "DECODE_TIMEOUT_VALIDFAIL"),
        FieldError::TimeoutTooLong => invalid!(42, "DECODE_TIMEOUT_DECODEFAIL"),
    }
}

impl FieldError {
    /// What the original's library says when a client wants to send such a value.
    #[must_use]
    pub fn fko(self) -> Fko {
        const TOO_BIG: Fko = Fko { number: 94, text: "Value or Size of the data exceeded the max allowed" };
        match self {
            Self::UserEmpty => invalid!(89, "USER_MISSING"),
            Self::UserChar { at: 0 } => invalid!(90, "USER_FIRSTCHAR_VALIDFAIL"),
            Self::UserChar { .. } => invalid!(91, "USER_REMCHAR_VALIDFAIL"),
            Self::UserTooLong(_) => invalid!(14, "DECODE_USERNAME_TOOBIG"),
            Self::Time => invalid!(88, "TIMESTAMP_VALIDFAIL"),
            Self::AllowIp => Fko { number: 100, text: "Invalid allow IP address in the SPA message data" },
            Self::Command => Fko { number: 101, text: "Invalid SPA command message format" },
            Self::Ports => Fko { number: 102, text: "Invalid SPA access message format" },
            Self::NatForm | Self::NatHostTooLong(_) | Self::NatHost | Self::NatPort => {
                Fko { number: 103, text: "Invalid SPA nat_access message format" }
            }
            Self::TimeoutDigits | Self::TimeoutTooLong => invalid!(42, "DECODE_TIMEOUT_DECODEFAIL"),
            Self::Nonce | Self::Version | Self::ServerAuth => TOO_BIG,
        }
    }
}

impl SealError {
    /// What the original would have said, had it noticed.
    #[must_use]
    pub fn fko(self) -> Fko {
        match self {
            Self::TooLong { .. } => invalid!(65, "ENCRYPT_TYPE_UNKNOWN"),
            Self::TooShort(_) | Self::AuthTooLong | Self::MessageTooLong(_) => {
                Fko { number: 94, text: "Value or Size of the data exceeded the max allowed" }
            }
            Self::NatTooLong(_) => Fko { number: 103, text: "Invalid SPA nat_access message format" },
            Self::Gpg(why) => why.fko(),
            Self::Field(why) => why.fko(),
        }
    }
}

impl KeyError {
    /// What the original would have said.
    #[must_use]
    pub fn fko(self) -> Fko {
        match self {
            Self::HmacTooLong(_) => Fko { number: 109, text: "Invalid HMAC key length" },
            Self::Empty | Self::CipherTooLong(_) | Self::Base64 => Fko { number: 95, text: "Invalid key length" },
        }
    }
}
