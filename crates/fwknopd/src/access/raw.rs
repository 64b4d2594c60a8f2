//! A stanza as it was written: names, values and where each stood.
//!
//! The order of lines is kept, because it can matter (the last of `KEY` and `KEY_BASE64` wins). Values that are secret are wiped
//! when dropped and never shown. Stanzas can be written as lines and read back: [`to_handover`], [`from_handover`]; with
//! [`RawStanza::without_keys`] before, the text is fit for a process that must not see keys.

use std::{fmt, path::PathBuf};

use fwknop_conf::{
    complaint::Complaint,
    lines::{Entry, HANDOVER, handover, lines},
};
use zeroize::Zeroizing;

use super::names::{self, Name};

/// One block of `access.conf`, everything included that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawStanza(Vec<RawLine>);

#[derive(Clone)]
struct RawLine {
    name: &'static Name,
    value: Zeroizing<String>,
    place: Option<(PathBuf, u32)>,
}

/// Two are equal if they say the same; where it was written does not count.
impl PartialEq for RawLine {
    fn eq(&self, other: &Self) -> bool {
        self.name.name == other.name.name && self.value == other.value
    }
}

impl Eq for RawLine {}

impl fmt::Debug for RawLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = if self.name.secret { ".." } else { self.value.as_str() };
        write!(f, "{} {value}", self.name.name)
    }
}

impl RawStanza {
    /// A stanza for this source, at this place.
    #[must_use]
    pub fn new(source: &str, place: Option<(PathBuf, u32)>) -> Self {
        Self(vec![RawLine { name: &names::SOURCE, value: source.to_owned().into(), place }])
    }

    pub(super) fn push(&mut self, name: &'static Name, value: &str, place: Option<(PathBuf, u32)>) {
        self.0.push(RawLine { name, value: value.to_owned().into(), place });
    }

    /// The value of `SOURCE`.
    #[must_use]
    pub fn source(&self) -> &str {
        self.get("SOURCE").unwrap_or_default()
    }

    /// The last value of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.last_of(&[name]).map(|(_, value)| value)
    }

    /// The last line that has one of these names.
    #[must_use]
    pub fn last_of(&self, names: &[&str]) -> Option<(&'static str, &str)> {
        let line = self.0.iter().rev().find(|line| names.contains(&line.name.name))?;
        Some((line.name.name, line.value.as_str()))
    }

    /// Every line in order: name and value.
    pub(super) fn values(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|line| (line.name.name, line.value.as_str()))
    }

    /// Whether the last value of a name says yes.
    #[must_use]
    pub fn yes(&self, name: &str) -> bool {
        self.get(name).is_some_and(fwknop_conf::value::says_yes)
    }

    /// The file that has the stanza's `SOURCE`, for the texts that name it.
    #[must_use]
    pub fn file(&self) -> String {
        self.place("SOURCE").map(|(file, _)| file.display().to_string()).unwrap_or_default()
    }

    fn place(&self, name: &str) -> Option<&(PathBuf, u32)> {
        self.0.iter().rev().find(|line| line.name.name == name)?.place.as_ref()
    }

    /// The same complaint, with the place of the last line of this name, else that of the stanza.
    #[must_use]
    pub fn locate(&self, name: &str, complaint: Complaint) -> Complaint {
        match self.place(name).or_else(|| self.place("SOURCE")) {
            Some((file, line)) => complaint.at(file, *line),
            None => complaint,
        }
    }

    /// The same without `KEY`, `KEY_BASE64`, `HMAC_KEY`, `HMAC_KEY_BASE64` and `GPG_DECRYPT_PW`. In the place of the last stands
    /// `GPG_ALLOW_NO_PW Y`, which marks a stanza for GPG just as well.
    #[must_use]
    pub fn without_keys(&self) -> Self {
        let line = |line: &RawLine| match line.name.name {
            "GPG_DECRYPT_PW" if !line.value.is_empty() => {
                Some(RawLine { name: &names::GPG_ALLOW_NO_PW, value: "Y".to_owned().into(), place: line.place.clone() })
            }
            _ if line.name.secret => None,
            _ => Some(line.clone()),
        };
        Self(self.0.iter().filter_map(line).collect())
    }
}

/// Stanzas as lines for another process of ours. The text is wiped when dropped.
#[must_use]
pub fn to_handover(stanzas: &[RawStanza]) -> Zeroizing<String> {
    let written = || stanzas.iter().flat_map(|stanza| &stanza.0);
    // Room for all of it at once: a text that grows leaves pieces of keys behind.
    let size = written().map(|line| line.name.name.len() + line.value.len() + 2).sum();
    let mut text = Zeroizing::new(String::with_capacity(size));
    for line in written() {
        if let Some(line) = handover(line.name.name, &line.value).map(Zeroizing::new) {
            text.push_str(&line);
        }
    }
    text
}

/// Reads what [`to_handover`] wrote; `None` for anything else.
#[must_use]
pub fn from_handover(text: &str) -> Option<Vec<RawStanza>> {
    let mut stanzas: Vec<RawStanza> = Vec::new();
    for (_, entry) in lines(text.as_bytes(), &HANDOVER) {
        let Entry::Setting(line) = entry else { return None };
        match line.key {
            "SOURCE" => stanzas.push(RawStanza::new(line.value, None)),
            key => stanzas.last_mut()?.push(names::find(key)?, line.value, None),
        }
    }
    Some(stanzas)
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A stanza of these lines; `SOURCE ANY` comes first if it is not there.
    pub(in super::super) fn stanza(text: &str) -> RawStanza {
        let text = if text.starts_with("SOURCE ") { text.to_owned() } else { format!("SOURCE ANY\n{text}") };
        from_handover(&text).unwrap().pop().unwrap()
    }

    #[test]
    fn the_last_line_of_a_name_counts() {
        let stanza = stanza("KEY a\nKEY_BASE64 b\nKEY c");
        assert_eq!(stanza.get("KEY"), Some("c"));
        assert_eq!(stanza.last_of(&["KEY", "KEY_BASE64"]), Some(("KEY", "c")));
        assert_eq!(stanza.source(), "ANY");
    }

    #[test]
    fn secrets_are_never_shown() {
        let shown = format!("{:?}", stanza("KEY abc\nGPG_DECRYPT_PW abc\nHMAC_KEY abc\nOPEN_PORTS tcp/22"));
        assert!(!shown.contains("abc"), "{shown}");
        assert!(shown.contains("tcp/22"), "{shown}");
    }

    #[test]
    fn keys_can_be_left_out() {
        let all = stanza("KEY a\nKEY_BASE64 b\nHMAC_KEY c\nHMAC_KEY_BASE64 d\nOPEN_PORTS tcp/22\nGPG_DECRYPT_PW e");
        assert_eq!(all.without_keys(), stanza("OPEN_PORTS tcp/22\nGPG_ALLOW_NO_PW Y"));
    }

    proptest! {
        #[test]
        fn what_is_handed_over_arrives(
            written in proptest::collection::vec(
                ("[^\n\0]*", proptest::collection::vec((0..names::NAMES.len(), "[^\n\0]*"), 0..9)),
                0..5,
            ),
        ) {
            let stanzas: Vec<RawStanza> = written
                .iter()
                .map(|(source, lines)| {
                    let mut stanza = RawStanza::new(source, None);
                    for (index, value) in lines {
                        stanza.push(&names::NAMES[*index], value, None);
                    }
                    stanza
                })
                .collect();
            prop_assert_eq!(from_handover(&to_handover(&stanzas)), Some(stanzas));
        }
    }
}
