//! What gpg's status lines say of a decryption.
//!
//! A message counts as decrypted only if gpg says all of it: one decryption, one text inside it, integrity protection
//! that was there and right, and nothing before or after. What gpg writes to its output is not believed without that: it
//! writes while it still reads.
//!
//! ```text
//! [GNUPG:] BEGIN_DECRYPTION      [GNUPG:] PLAINTEXT 62 1795336765
//! [GNUPG:] NEWSIG                [GNUPG:] GOODSIG D7A24CB1677EBF01 spa-client …
//! [GNUPG:] VALIDSIG 961DEE96…    [GNUPG:] TRUST_ULTIMATE 0 pgp
//! [GNUPG:] DECRYPTION_OKAY       [GNUPG:] GOODMDC      [GNUPG:] END_DECRYPTION
//! ```

use super::Signature;
use super::message::is_fingerprint;

/// What gpg said of one message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    begun: u32,
    ended: u32,
    /// Texts inside the encrypted data.
    texts: u32,
    okay: bool,
    intact: bool,
    /// A line after which nothing is believed.
    spoilt: Option<&'static str>,
    signature: Option<Found>,
}

/// The first signature; only that counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Found {
    fingerprint: String,
    good: bool,
    trusted: bool,
}

/// Lines after which nothing is believed, and what they mean.
const SPOILT: [(&str, &str); 7] = [
    ("DECRYPTION_FAILED", "Decryption failed"),
    ("BADMDC", "Bad integrity protection"),
    ("NODATA", "No data"),
    ("UNEXPECTED", "Unexpected data"),
    ("ERROR", "Bad data"),
    ("NO_SECKEY", "No secret key"),
    ("BADARMOR", "Bad data"),
];

impl Findings {
    /// Reads the status lines.
    pub(super) fn read(lines: &str) -> Self {
        let mut found = Self::default();
        let mut signatures = 0u32;
        for line in lines.lines().filter_map(|line| line.strip_prefix("[GNUPG:] ")) {
            let mut words = line.split(' ');
            let word = words.next().unwrap_or_default();
            let mut next = || words.next().unwrap_or_default();
            if let Some((_, meaning)) = SPOILT.into_iter().find(|(name, _)| *name == word) {
                // The first of them says most, but for "failed", which only says that.
                if found.spoilt.is_none_or(|before| before == "Decryption failed") {
                    found.spoilt = Some(meaning);
                }
                continue;
            }
            match word {
                "BEGIN_DECRYPTION" => found.begun += 1,
                "END_DECRYPTION" => found.ended += 1,
                "PLAINTEXT" if found.begun == 1 && found.ended == 0 => found.texts += 1,
                "PLAINTEXT" => found.spoilt = Some("Bad data"),
                "DECRYPTION_OKAY" => found.okay = true,
                "GOODMDC" => found.intact = true,
                "GOODSIG" | "BADSIG" | "ERRSIG" | "EXPSIG" | "EXPKEYSIG" | "REVKEYSIG" => {
                    signatures += 1;
                    if signatures == 1 {
                        let key_id = next().to_ascii_uppercase();
                        // ERRSIG id algorithm digest class time reason [fingerprint]
                        let fingerprint = words.nth(5).filter(|_| word == "ERRSIG").map(str::to_ascii_uppercase);
                        let fingerprint = fingerprint.filter(|text| is_fingerprint(text)).unwrap_or(key_id);
                        found.signature = Some(Found { fingerprint, good: word == "GOODSIG", trusted: false });
                    }
                }
                "VALIDSIG" if signatures == 1 => {
                    if let Some(signature) = &mut found.signature {
                        next().to_ascii_uppercase().clone_into(&mut signature.fingerprint);
                    }
                }
                "TRUST_MARGINAL" | "TRUST_FULLY" | "TRUST_ULTIMATE" if signatures == 1 => {
                    if let Some(signature) = &mut found.signature {
                        signature.trusted = true;
                    }
                }
                _ => {}
            }
        }
        found
    }

    /// The first signature of a message that decrypted, or why none of it is believed. `success`: gpg's exit status was 0;
    /// it is not where a signature does not verify, which is for the stanza's rules to judge.
    pub(super) fn verdict(self, success: bool) -> Result<Option<Signature>, &'static str> {
        if let Some(why) = self.spoilt {
            return Err(why);
        }
        if (self.begun, self.texts, self.ended) != (1, 1, 1) || !self.okay || !self.intact {
            return Err("Decryption failed");
        }
        let signature = self
            .signature
            .map(|found| Signature { valid: found.good && found.trusted, fingerprint: found.fingerprint })
            .filter(|signature| is_fingerprint(&signature.fingerprint));
        match signature {
            None if !success => Err("Decryption failed"),
            Some(signature) if signature.valid && !success => Err("Bad data"),
            signature => Ok(signature),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNER: &str = "961DEE967C6F63741B418045D7A24CB1677EBF01";
    const GOOD: &str = "BEGIN_DECRYPTION|DECRYPTION_INFO 2 9 0|PLAINTEXT 62 1 |PLAINTEXT_LENGTH 114|NEWSIG|\
         GOODSIG D7A24CB1677EBF01 A Name|VALIDSIG 961DEE967C6F63741B418045D7A24CB1677EBF01 2026-11-22 1 0 4 0 1 10 00 \
         961DEE967C6F63741B418045D7A24CB1677EBF01|TRUST_ULTIMATE 0 pgp|DECRYPTION_OKAY|GOODMDC|END_DECRYPTION";

    fn verdict(lines: &str, success: bool) -> Result<Option<(String, bool)>, &'static str> {
        let lines: String = lines.split('|').map(|line| format!("[GNUPG:] {line}\n")).collect();
        let verdict = Findings::read(&lines).verdict(success)?;
        Ok(verdict.map(|signature| (signature.fingerprint, signature.valid)))
    }

    #[test]
    fn a_good_signature_of_a_valid_key_is_valid() {
        for (trust, valid) in [
            ("TRUST_ULTIMATE", true),
            ("TRUST_FULLY", true),
            ("TRUST_MARGINAL", true),
            ("TRUST_UNDEFINED", false),
            ("TRUST_NEVER", false),
        ] {
            let lines = GOOD.replace("TRUST_ULTIMATE", trust);
            assert_eq!(verdict(&lines, true), Ok(Some((SIGNER.to_owned(), valid))), "{trust}");
        }
        for bad in ["EXPSIG", "EXPKEYSIG", "REVKEYSIG"] {
            let lines = GOOD.replace("GOODSIG", bad);
            assert_eq!(verdict(&lines, true), Ok(Some((SIGNER.to_owned(), false))), "{bad}");
        }
    }

    #[test]
    fn only_the_first_signature_counts() {
        let rogue = "70D8E5034A9A4EBB19EDB666C4F7F40C2F736647";
        let second = |first: &str| GOOD.replace("NEWSIG|", &format!("NEWSIG|{first}|TRUST_UNDEFINED 0 pgp|NEWSIG|"));
        let lines = second(&format!("GOODSIG C4F7F40C2F736647 B|VALIDSIG {rogue} x"));
        assert_eq!(verdict(&lines, true), Ok(Some((rogue.to_owned(), false))));
        let lines = second("BADSIG C4F7F40C2F736647 B");
        assert_eq!(verdict(&lines, false), Ok(Some(("C4F7F40C2F736647".to_owned(), false))));
    }

    #[test]
    fn a_signature_that_cannot_be_checked_names_its_key_as_well_as_it_can() {
        let unsigned = "BEGIN_DECRYPTION|PLAINTEXT 62 1 |{}DECRYPTION_OKAY|GOODMDC|END_DECRYPTION";
        let long = format!("ERRSIG C4F7F40C2F736647 1 10 00 1 9 {SIGNER}|");
        for (lines, fingerprint) in
            [("ERRSIG C4F7F40C2F736647 1 10 00 1 9 -|", "C4F7F40C2F736647"), (long.as_str(), SIGNER)]
        {
            let lines = unsigned.replace("{}", lines);
            assert_eq!(verdict(&lines, false), Ok(Some((fingerprint.to_owned(), false))));
        }
        assert_eq!(verdict(&unsigned.replace("{}", ""), true), Ok(None), "not signed at all");
    }

    #[test]
    fn nothing_is_believed_that_gpg_does_not_say_in_full() {
        for (from, to) in [
            ("DECRYPTION_OKAY|", ""),
            ("GOODMDC|", ""),
            ("|END_DECRYPTION", ""),
            ("BEGIN_DECRYPTION|", ""),
            ("PLAINTEXT 62 1 |", ""),
            ("PLAINTEXT 62 1 |", "PLAINTEXT 62 1 |PLAINTEXT 62 1 |"),
            ("BEGIN_DECRYPTION|", "PLAINTEXT 62 1 |BEGIN_DECRYPTION|"),
            ("END_DECRYPTION", "END_DECRYPTION|PLAINTEXT 62 1 "),
            ("END_DECRYPTION", "END_DECRYPTION|NODATA 3"),
            ("END_DECRYPTION", "END_DECRYPTION|BEGIN_DECRYPTION"),
            ("GOODMDC", "BADMDC"),
            ("DECRYPTION_OKAY", "DECRYPTION_FAILED"),
            ("DECRYPTION_OKAY", "ERROR proc_pkt.plaintext 89_BAD_DATA|DECRYPTION_OKAY"),
        ] {
            assert!(verdict(&GOOD.replace(from, to), true).is_err(), "{from} -> {to}");
        }
        assert!(verdict(GOOD, false).is_err(), "all is well, and yet gpg failed");
        assert!(verdict("", true).is_err());
    }
}
