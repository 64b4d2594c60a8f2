//! What gpg's status lines say of a signature.
//!
//! ```text
//! NEWSIG · GOODSIG id name · VALIDSIG fingerprint … · TRUST_ULTIMATE …      good, and of a trusted key
//! ```

/// A good signature of a trusted key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Of the key that signed.
    pub fingerprint: String,
}

impl Signature {
    /// The end of the fingerprint, by which the original's servers list signers.
    #[must_use]
    pub fn id(&self) -> &str {
        self.fingerprint.get(self.fingerprint.len().saturating_sub(8)..).unwrap_or(&self.fingerprint)
    }
}

/// What is to be thought of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Good(Signature),
    Unsigned,
    /// It is signed, but not well, or not by a key that is trusted here.
    Doubtful,
}

impl Verdict {
    /// Reads status lines.
    pub(super) fn of<'s>(statuses: impl Iterator<Item = &'s str>) -> Self {
        let (mut signatures, mut good, mut trusted, mut fingerprint) = (0, false, false, None);
        for status in statuses {
            let mut words = status.split(' ');
            match words.next().unwrap_or_default() {
                "NEWSIG" => signatures += 1,
                "GOODSIG" => good = true,
                "VALIDSIG" => fingerprint = words.next(),
                "TRUST_FULLY" | "TRUST_ULTIMATE" => trusted = true,
                _ => (),
            }
        }
        match (signatures, fingerprint) {
            (0, None) => Self::Unsigned,
            (1, Some(fingerprint)) if good && trusted => Self::Good(Signature { fingerprint: fingerprint.to_owned() }),
            _ => Self::Doubtful,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_good_signature_of_a_trusted_key_is_good() {
        let fingerprint = "0C464C32C8E722481497A0A159C2BBE5C1461671";
        let valid = format!("VALIDSIG {fingerprint} 2026-11-24 1795524969 0 4 0 1 10 00 {fingerprint}");
        let good = ["NEWSIG", "GOODSIG 59C2BBE5C1461671 a name", &valid, "TRUST_ULTIMATE 0 pgp"];
        let verdict = |lines: &[&str]| Verdict::of(lines.iter().copied());
        let Verdict::Good(signature) = verdict(&good) else { panic!("it is good") };
        assert_eq!(signature.id(), "C1461671");
        assert_eq!(verdict(&["DECRYPTION_OKAY"]), Verdict::Unsigned);
        for doubtful in [
            &["NEWSIG", "GOODSIG 59C2BBE5C1461671 a name", &valid, "TRUST_UNDEFINED 0 pgp"][..],
            &["NEWSIG", "BADSIG 59C2BBE5C1461671 a name"],
            &["NEWSIG", "ERRSIG 59C2BBE5C1461671 1 10 00 1795524969 9 -", "NO_PUBKEY 59C2BBE5C1461671"],
            &["NEWSIG", "EXPKEYSIG 59C2BBE5C1461671 a name", &valid, "TRUST_ULTIMATE 0 pgp"],
            &[good[0], good[1], good[2], good[3], "NEWSIG", "BADSIG 59C2BBE5C1461671 a name"],
        ] {
            assert_eq!(verdict(doubtful), Verdict::Doubtful, "{doubtful:?}");
        }
    }
}
