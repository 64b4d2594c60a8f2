//! What can be set, and what is: settings by name, in layers.
//!
//! Everything that can be set stands in one table, [`SETTINGS`]. The rc file's `[default]`, the named stanza and the command line
//! each fill one [`Layer`]; [`Settings`] is their pile, and the topmost layer that says something about a thing is right.
//! Whether what is set makes sense together is the business of `plan`.
//!
//! ```text
//! command line   -a 192.0.2.1            ┐
//! [home]         RESOLVE_IP_HTTPS Y      ├─▶ who is asked about AllowIp? the command line
//! [default]      ALLOW_IP source         ┘
//! ```

mod refusal;
mod table;
mod value;

use std::{borrow::Cow, collections::BTreeMap, ffi::OsStr, path::Path};

use zeroize::Zeroizing;

pub use table::SETTINGS;
pub use value::{Allow, Kind, Mode, TransportKind, Value, Wrong};

/// The things that can be set, as the program calls them.
#[allow(missing_docs)] // each is explained in the table, in words that users read
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[rustfmt::skip]
pub enum Name {
    Access, AllowIp, AppendPacket, ArgsFile, Command, Descriptor, FaultInjection, ForceStanza, GpgAgent, GpgExe, GpgHome,
    GpgNoPassphrase, GpgRecipient, GpgSigner, Help, Helper, HelperAgent, HmacDigest, HmacKey, HmacKeyBase64, HmacKeyFile,
    HmacKeyLength, IcmpCode, IcmpType, InnerDigest, Key, KeyBase64, KeyFile, KeyGen, KeyGenFile, KeyLength, LastCommand,
    ListStanzas, Mode, NatAccess, NatLocal, NatPort, NatRandomPort, NoHome, NoRcFile, NoSaveArgs, OnlyIpv6, PacketFile, Proxy,
    RandomPort, RcFile, Resolve, ResolveHttpOnly, ResolveIpv4, ResolveUrl, SaveStanza, Server, ServerPort, ShowLast,
    SourcePort, SpoofSource, SpoofUser, Stanza, Test, TimeOffset, Timeout, Transport, UseGpg, UseHmac, UserAgent, Verbose,
    Version,
}

/// What a setting is about; the chapters of the usage text.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    Ask,
    Address,
    Nat,
    Send,
    Keys,
    Gpg,
    KeyGen,
    Files,
    Other,
}

/// Whether `--save-rc-stanza` writes a variable, and whether it asks before an old one is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved {
    /// Never written.
    No,
    /// Written if given.
    Yes,
    /// Written if given; a person is asked before an old one goes.
    Asked,
    /// Never written; a person is asked before an old one goes.
    AskedOnly,
}

/// What an option gives its setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gives {
    /// The value that follows; this is what the usage text calls it.
    Value(&'static str),
    /// The value that follows, with the sign turned.
    Negative(&'static str),
    /// This text; no value follows.
    Fixed(&'static str),
}

/// One option.
#[derive(Clone, Copy, Debug)]
pub struct Spelling {
    /// The long name, without dashes.
    pub long: &'static str,
    /// The short name.
    pub short: Option<char>,
    /// What it gives.
    pub gives: Gives,
    /// What it does, for people.
    pub help: &'static str,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// What is set.
    pub name: Name,
    /// The variable of the rc file.
    pub variable: Option<&'static str>,
    /// What its values look like.
    pub kind: Kind,
    /// The chapter of the usage text.
    pub topic: Topic,
    /// Whether it is written into a stanza.
    pub saved: Saved,
    /// What it switches on besides, when given on the command line.
    pub implies: &'static [Name],
    /// The options that set it.
    pub spellings: &'static [Spelling],
}

impl Setting {
    /// The row with this rc variable.
    #[must_use]
    pub fn of_variable(variable: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|row| row.variable == Some(variable))
    }

    /// The row that stands for `name`: its first.
    #[must_use]
    pub fn of(name: Name) -> Option<&'static Self> {
        SETTINGS.iter().find(|row| row.name == name)
    }
}

/// What one place says: the command line, or one stanza.
#[derive(Debug, Default)]
pub struct Layer(BTreeMap<Name, Value>);

impl Layer {
    /// Sets a thing; what was said about it here before is forgotten.
    pub fn set_instead(&mut self, name: Name, value: Value) {
        self.0.insert(name, value);
    }

    /// Sets a thing from an option: repeating `-v` says more, all else that is repeated replaces.
    pub fn set(&mut self, name: Name, value: Value) {
        let value = match (self.0.get(&name), value) {
            (Some(Value::Number(said)), Value::Number(more)) if name == Name::Verbose => {
                Value::Number(said.saturating_add(more))
            }
            (_, value) => value,
        };
        self.0.insert(name, value);
    }

    /// Takes back what was said about a thing.
    pub fn forget(&mut self, name: Name) {
        self.0.remove(&name);
    }

    /// Sets a time offset from an option: subtracting wins over adding, in whatever order they stand.
    pub fn set_offset(&mut self, seconds: i64) {
        let subtracts = matches!(self.0.get(&Name::TimeOffset), Some(Value::Offset(said)) if *said < 0);
        if seconds < 0 || !subtracts {
            self.0.insert(Name::TimeOffset, Value::Offset(seconds));
        }
    }

    /// What this place says about a thing.
    #[must_use]
    pub fn get(&self, name: Name) -> Option<&Value> {
        self.0.get(&name)
    }

    /// Whether this place says yes to a thing.
    #[must_use]
    pub fn says_yes(&self, name: Name) -> bool {
        matches!(self.get(name), Some(Value::YesNo(true)))
    }
}

/// The pile of layers, the weakest first.
#[derive(Debug, Default)]
pub struct Settings {
    layers: Vec<Layer>,
}

impl Settings {
    /// Lays a stronger layer on top.
    pub fn push(&mut self, layer: Layer) {
        self.layers.push(layer);
    }

    /// Lays a stronger layer on top, if there is one.
    pub fn extend(&mut self, layer: Option<Layer>) {
        self.layers.extend(layer);
    }

    /// The layers, the strongest first.
    pub fn strongest_first(&self) -> impl Iterator<Item = &Layer> {
        self.layers.iter().rev()
    }

    /// The strongest layer: the command line, once it has been read.
    #[must_use]
    pub fn top(&self) -> Option<&Layer> {
        self.layers.last()
    }

    /// What is right about a thing.
    #[must_use]
    pub fn get(&self, name: Name) -> Option<&Value> {
        self.strongest_first().find_map(|layer| layer.get(name))
    }

    /// The strongest layer that says anything about one of these.
    #[must_use]
    pub fn deciding(&self, names: &[Name]) -> Option<&Layer> {
        self.strongest_first().find(|layer| names.iter().any(|name| layer.get(*name).is_some()))
    }

    /// Whether a thing is switched on.
    #[must_use]
    pub fn on(&self, name: Name) -> bool {
        matches!(self.get(name), Some(Value::YesNo(true)))
    }

    /// A number, if one is set.
    #[must_use]
    pub fn number(&self, name: Name) -> Option<u32> {
        match self.get(name) {
            Some(Value::Number(number)) => Some(*number),
            _ => None,
        }
    }

    /// A port, if one is set.
    #[must_use]
    pub fn port(&self, name: Name) -> Option<u16> {
        self.number(name).and_then(|number| u16::try_from(number).ok())
    }

    /// A text, if one is set; bytes that are not UTF-8 are replaced, which no text with a meaning survives.
    #[must_use]
    pub fn text(&self, name: Name) -> Option<Cow<'_, str>> {
        self.raw(name).map(OsStr::to_string_lossy)
    }

    /// A text as it was given, if one is set.
    #[must_use]
    pub fn raw(&self, name: Name) -> Option<&OsStr> {
        match self.get(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// A path, if one is set.
    #[must_use]
    pub fn path(&self, name: Name) -> Option<&Path> {
        self.raw(name).map(Path::new)
    }
}

/// Bytes that are wiped when dropped.
pub type SecretBytes = Zeroizing<Vec<u8>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_option_or_variable_stands_twice_by_mistake() {
        const OURS: usize = 2; // -4 and -6, which the original does not know
        let mut long = Vec::new();
        let mut short = Vec::new();
        let mut variables = Vec::new();
        for row in SETTINGS {
            long.extend(row.spellings.iter().map(|spelling| spelling.long));
            short.extend(row.spellings.iter().filter_map(|spelling| spelling.short));
            variables.extend(row.variable);
        }
        for (what, count, mut names) in
            [("long options", 71 + OURS, long.clone()), ("variables", 44, variables.clone())]
        {
            assert_eq!(names.len(), count, "{what}");
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count, "a name stands twice among the {what}");
        }
        assert_eq!(short.len(), 32 + OURS);
        short.sort_unstable();
        short.dedup();
        assert_eq!(short.len(), 32 + OURS);
    }

    #[test]
    fn the_strongest_layer_decides() {
        let mut settings = Settings::default();
        for said in [true, false] {
            let mut layer = Layer::default();
            layer.set(Name::RandomPort, Value::YesNo(said));
            settings.push(layer);
        }
        assert!(!settings.on(Name::RandomPort), "a stanza can say no");
    }

    #[test]
    fn subtracting_from_the_time_wins_over_adding() {
        for order in [[60, -120], [-120, 60]] {
            let mut layer = Layer::default();
            order.into_iter().for_each(|seconds| layer.set_offset(seconds));
            assert!(matches!(layer.get(Name::TimeOffset), Some(Value::Offset(-120))));
        }
    }
}
