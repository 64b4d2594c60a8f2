//! What is wrong in a file, where it stands, and what was probably meant.
//!
//! Reading goes on after a mistake, so that all mistakes of all files are told at once; [`Complaints`] collects them in order.
//! A complaint's first line is the original's text, which log parsers know; a second, indented line has the place and a hint.
//!
//! ```
//! use fwknop_conf::complaint::{Complaint, Severity};
//!
//! let complaint = Complaint::error("[*] FW_ACCESS_TIMEOUT value not in range.")
//!     .at("access.conf", 7)
//!     .hint("write seconds, 1 to 8388608");
//! assert_eq!(complaint.severity, Severity::Error);
//! assert_eq!(
//!     complaint.to_string(),
//!     "[*] FW_ACCESS_TIMEOUT value not in range.\n    access.conf:7: write seconds, 1 to 8388608"
//! );
//! ```

use std::{
    fmt,
    path::{Path, PathBuf},
};

/// How bad it is; the names of the log levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing when looking for something (`-v`).
    Debug,
    /// Advice.
    Info,
    /// Work goes on, but not as written.
    Warning,
    /// It cannot be used like this.
    Error,
}

/// One mistake, or piece of advice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// The file it is about, as the user named it.
    pub file: Option<PathBuf>,
    /// The line, from 1.
    pub line: Option<u32>,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong; the original's words where it has any.
    pub text: String,
    /// What was probably meant, or what to do.
    pub hint: Option<String>,
}

impl Complaint {
    /// A complaint of any severity, without a place.
    #[must_use]
    pub fn new(severity: Severity, text: impl Into<String>) -> Self {
        Self { file: None, line: None, severity, text: text.into(), hint: None }
    }

    /// One that ends the start.
    #[must_use]
    pub fn error(text: impl Into<String>) -> Self {
        Self::new(Severity::Error, text)
    }

    /// One after which work goes on.
    #[must_use]
    pub fn warning(text: impl Into<String>) -> Self {
        Self::new(Severity::Warning, text)
    }

    /// The same, with its place.
    #[must_use]
    pub fn at(mut self, file: impl AsRef<Path>, line: u32) -> Self {
        self.line = Some(line);
        self.of(file)
    }

    /// The same, about a whole file.
    #[must_use]
    pub fn of(mut self, file: impl AsRef<Path>) -> Self {
        self.file = Some(file.as_ref().to_path_buf());
        self
    }

    /// The same, with advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        let place = match (&self.file, self.line) {
            (Some(file), Some(line)) => Some(format!("{}:{line}", file.display())),
            // A file alone is named in the text already.
            _ => None,
        };
        match (place, &self.hint) {
            (None, None) => Ok(()),
            (Some(place), None) => write!(f, "\n    {place}"),
            (None, Some(hint)) => write!(f, "\n    {hint}"),
            (Some(place), Some(hint)) => write!(f, "\n    {place}: {hint}"),
        }
    }
}

/// All complaints, in the order in which they came up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Complaints(Vec<Complaint>);

impl Complaints {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One more.
    pub fn push(&mut self, complaint: Complaint) {
        self.0.push(complaint);
    }

    /// Whether something cannot be used.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.errors() > 0
    }

    /// How many things cannot be used. Compare before and after to learn whether a step went well.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.iter().filter(|complaint| complaint.severity == Severity::Error).count()
    }

    /// In the order in which they came up.
    pub fn iter(&self) -> std::slice::Iter<'_, Complaint> {
        self.0.iter()
    }
}

impl Extend<Complaint> for Complaints {
    fn extend<I: IntoIterator<Item = Complaint>>(&mut self, more: I) {
        self.0.extend(more);
    }
}

impl IntoIterator for Complaints {
    type Item = Complaint;
    type IntoIter = std::vec::IntoIter<Complaint>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Complaints {
    type Item = &'a Complaint;
    type IntoIter = std::slice::Iter<'a, Complaint>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// The known name that `word` was probably meant to be: the closest one, letter case ignored, if it is close enough.
///
/// ```
/// use fwknop_conf::complaint::closest;
///
/// assert_eq!(closest("OPEN_PORT", ["KEY", "OPEN_PORTS"]), Some("OPEN_PORTS"));
/// assert_eq!(closest("BANANA", ["KEY", "OPEN_PORTS"]), None);
/// ```
pub fn closest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    // Longer words are nobody's slip of the finger, and the distance takes time.
    let word: Vec<char> = word.chars().take(64).map(|letter| letter.to_ascii_uppercase()).collect();
    let (distance, name) =
        known.into_iter().map(|name| (distance(&word, name), name)).min_by_key(|&(distance, _)| distance)?;
    (distance <= 1 + word.len() / 5).then_some(name)
}

/// The edit distance (insert, delete, replace).
fn distance(word: &[char], name: &str) -> usize {
    let mut row: Vec<usize> = (0..=word.len()).collect();
    for (index, wanted) in name.chars().enumerate() {
        let mut diagonal = index;
        let mut left = index + 1;
        let mut next = vec![left];
        for (&above, &letter) in row.iter().skip(1).zip(word) {
            let replaced = diagonal + usize::from(letter != wanted.to_ascii_uppercase());
            left = replaced.min(above + 1).min(left + 1);
            next.push(left);
            diagonal = above;
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_complaint_shows_what_it_has() {
        let complaint = Complaint::warning("odd");
        assert_eq!(complaint.to_string(), "odd");
        assert_eq!(complaint.clone().of("f").to_string(), "odd");
        assert_eq!(complaint.clone().at("f", 2).to_string(), "odd\n    f:2");
        assert_eq!(complaint.hint("do that").to_string(), "odd\n    do that");
    }

    #[test]
    fn only_errors_are_errors() {
        let mut complaints = Complaints::new();
        complaints.push(Complaint::warning("odd"));
        assert!(!complaints.has_errors());
        complaints.push(Complaint::error("bad"));
        assert!(complaints.has_errors());
    }

    #[test]
    fn suggests_the_closest_name() {
        let known = ["PCAP_INTF", "PCAP_FILTER", "KEY", "HMAC_KEY"];
        for (word, expected) in [
            ("pcap_intf", Some("PCAP_INTF")),
            ("PCAP_FLITER", Some("PCAP_FILTER")),
            ("KEYS", Some("KEY")),
            ("HMACKEY", Some("HMAC_KEY")),
            ("#", None),
            ("", None),
        ] {
            assert_eq!(closest(word, known), expected, "{word}");
        }
    }

    proptest! {
        #[test]
        fn a_name_is_closest_to_itself(word in "[A-Z_]{1,20}") {
            prop_assert_eq!(closest(&word, ["ZZZZ", &word]), Some(word.as_str()));
        }
    }
}
