//! The words with which values are refused, on the command line and in the rc file.
//!
//! Scripts and tests match on them, and they differ between the two places. What is wrong with a value is found in `value`.
//! Spec: output-contract.md sections 1.6 and 1.8.
//!
//! ```text
//! -p 70000                 [*] Value 70000 out of range [(0)-(65535)]
//! TIME_OFFSET xyz          TIME_OFFSET argument 'xyz' invalid.
//! ```

use std::ffi::OsStr;

use super::{Kind, Wrong};

impl Kind {
    /// What stderr says when `given` was refused on the command line. Spec: output-contract.md section 1.8.
    #[must_use]
    pub fn refused_as_option(self, given: &OsStr, wrong: &Wrong) -> String {
        let given = given.to_string_lossy();
        match self {
            Self::SecretBase64(what) => {
                format!("Base64 encoded {what} argument '{given}' doesn't look like base64-encoded data.")
            }
            Self::Small { what, lowest, highest } => {
                format!("Invalid {what} '{given}', must be in [{lowest}-{highest}]")
            }
            Self::Seconds => match wrong {
                Wrong::Range { highest: 65536, .. } => {
                    "--fw-timeout must be within [0-65536]: no server understands more".into()
                }
                _ => "--fw-timeout must be within [0-131072]".into(),
            },
            Self::Allow => INVALID_ALLOW.into(),
            Self::Offset => format!("Invalid time offset: '{given}'"),
            Self::Digest => format!("* Invalid digest type: {given}, use {{{DIGESTS}}}"),
            Self::HmacType => format!("* Invalid hmac digest type: {given}, use {{{DIGESTS}}}"),
            Self::EncryptionMode => format!("* Invalid encryption mode: {given}, use {{CBC,CTR,legacy,Asymmetric}}"),
            Self::Vehicle => format!("Unrecognized protocol: {given}"),
            _ => match wrong {
                Wrong::Range { number, highest, overflow } => format!(
                    "{}[*] Value {number} out of range [(0)-({highest})]",
                    if *overflow { "strtol: Numerical result out of range\n" } else { "" }
                ),
                Wrong::Form => format!("[*] Value '{given}' is not a number"),
            },
        }
    }

    /// The line before `Parameter error in …` that says more about a value in the rc file. Spec: output-contract.md section 1.6.
    #[must_use]
    pub fn refused_as_variable(self, variable: &str, given: &OsStr) -> Option<String> {
        let given = given.to_string_lossy();
        match self {
            Self::SecretBase64(_) => {
                // The original calls this one by another name.
                let variable = if variable == "GPG_SIGNING_PW_BASE64" { "GPG_SIGNING_KEY_BASE64" } else { variable };
                Some(format!("{variable} argument '{given}' doesn't look like base64-encoded data."))
            }
            Self::HmacType => Some(format!("{variable} argument '{given}' must be one of {{{DIGESTS}}}")),
            Self::Offset => Some(format!("{variable} argument '{given}' invalid.")),
            _ => None,
        }
    }
}

const INVALID_ALLOW: &str = "Invalid allow IP specified for SPA access";

const DIGESTS: &str = "md5,sha1,sha256,sha384,sha512,sha3_256,sha3_512";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_digits_and_within_their_range() {
        let told = |text: &str| match Kind::Port.read(OsStr::new(text)) {
            Ok(value) => value.to_string(),
            Err(wrong) => Kind::Port.refused_as_option(OsStr::new(text), &wrong),
        };
        for (text, expected) in [
            ("0", "0"),
            ("65535", "65535"),
            ("65536", "[*] Value 65536 out of range [(0)-(65535)]"),
            ("-1", "[*] Value -1 out of range [(0)-(65535)]"),
            ("99999999999999999999", "strtol: Numerical result out of range\n[*] Value -1 out of range [(0)-(65535)]"),
            ("+22", "[*] Value '+22' is not a number"),
            ("22x", "[*] Value '22x' is not a number"),
            ("", "[*] Value '' is not a number"),
        ] {
            assert_eq!(told(text), expected);
        }
    }
}
