//! Failures in the words of the original's packet library.
//!
//! `fwknop: WHAT: Error NUMBER - TEXT`: scripts match on these lines. Numbers and texts are `spa`'s; this module adds WHAT, the library call
//! that fails in the original, and, where the original has no such check, a word for the person on what to do.
//! Spec: client.md section 4.5, output-contract.md section 1.1.
//!
//! ```text
//! fwknop: fko_set_spa_message: Error 102 - Invalid SPA access message format
//! ```

use std::{
    fmt,
    io::{self, IsTerminal as _},
};

use spa::{FieldError, Fko};

/// One such failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    operation: &'static str,
    fko: Fko,
    gpg: Option<String>,
    advice: Option<String>,
}

impl Library {
    /// A failure of this library call.
    #[must_use]
    pub const fn new(operation: &'static str, fko: Fko) -> Self {
        Self { operation, fko, gpg: None, advice: None }
    }

    /// A value that no packet can carry. What the original would have cut or sent in vain comes with advice.
    #[must_use]
    pub fn field(operation: &'static str, error: FieldError) -> Self {
        let told = Self::new(operation, error.fko());
        match error {
            FieldError::UserTooLong(_) | FieldError::NatHostTooLong(_) => told.because(error),
            _ => told,
        }
    }

    /// The same, with a word on what to do.
    #[must_use]
    pub fn because(self, advice: impl fmt::Display) -> Self {
        Self { advice: Some(advice.to_string()), ..self }
    }

    /// The same, with a word on what to do for a person at a terminal. Who reads the lines by program gets those of the original alone.
    #[must_use]
    pub fn for_people(self, advice: impl fmt::Display) -> Self {
        if io::stderr().is_terminal() { self.because(advice) } else { self }
    }

    /// The same, with the reason that gpg gives, which may be empty.
    #[must_use]
    pub fn gpg(self, reason: impl fmt::Display) -> Self {
        Self { gpg: Some(reason.to_string()), ..self }
    }

    /// More text than a message may have.
    #[must_use]
    pub const fn too_long(operation: &'static str) -> Self {
        Self::new(operation, Fko { number: 94, text: "Value or Size of the data exceeded the max allowed" })
    }

    /// A NAT target that is none; what is wrong with it has been told in a line before.
    #[must_use]
    pub const fn nat() -> Self {
        Self::new("fko_set_nat_access_str", Fko { number: 4, text: "Args contain invalid data" })
    }

    /// A length that no encryption key has.
    #[must_use]
    pub const fn key_gen_length() -> Self {
        let text = "Args contain invalid data: FKO_ERROR_INVALID_DATA_FUNCS_GEN_KEYLEN_VALIDFAIL";
        Self::new("fko_key_gen", Fko { number: 68, text })
    }

    /// Where GnuPG's directory should be there is none.
    #[must_use]
    pub const fn gpg_home() -> Self {
        Self::new("fko_set_gpg_home_dir", Fko { number: 135, text: "Unable to stat the given GPG home directory" })
    }

    /// Where the gpg program should be there is none.
    #[must_use]
    pub const fn gpg_exe() -> Self {
        Self::new("fko_set_gpg_exe", Fko { number: 134, text: "Unable to stat the given GPG executable" })
    }
}

impl fmt::Display for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operation, fko: Fko { number, text }, gpg, advice } = self;
        write!(f, "fwknop: {operation}: Error {number} - {text}")?;
        if let Some(reason) = gpg {
            write!(f, "\nGPG ERR: {reason}")?;
        }
        match advice {
            Some(advice) => write!(f, "\n    {advice}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Library {}
