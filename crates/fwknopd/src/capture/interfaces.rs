//! `PCAP_INTF`: which interfaces are heard, and which of them are there.
//!
//! ```text
//! eth0            one interface
//! eth0, wlan0     several, separated by commas or blanks
//! eth*            every interface of such a name, also those to come
//! any             every interface there is
//! ```
//!
//! Interfaces come and go: a cable is plugged in late, a tunnel is made anew. So the warden keeps a [`Watch`], which is
//! readable when the kernel has something to tell of a link, and says what has changed.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::net::if_::if_nameindex;
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};

/// The word that means every interface.
const ANY: &str = "any";

/// As many interfaces as a filter can name; if more have a name that fits, the rest is not heard.
pub const MOST: usize = 64;

/// The value of `PCAP_INTF`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interfaces {
    text: String,
    words: Vec<String>,
}

/// One that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Its number; one that is removed and made again has another.
    pub index: u32,
}

impl Interfaces {
    /// Reads the value.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let words = text.split([',', ' ', '\t']).filter(|word| !word.is_empty()).map(str::to_owned).collect();
        Self { text: text.to_owned(), words }
    }

    /// Whether it means every interface there is.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.words.iter().any(|word| word == ANY)
    }

    /// The name, if it is exactly one: then a socket can be bound to it.
    #[must_use]
    pub fn single(&self) -> Option<&str> {
        match self.words.as_slice() {
            [name] if !name.contains('*') && name != ANY => Some(name),
            _ => None,
        }
    }

    /// Those that are there now.
    ///
    /// # Errors
    /// What the kernel says when asked for its interfaces.
    pub fn present(&self) -> io::Result<Vec<Link>> {
        let all = if_nameindex()?;
        let links =
            all.iter().map(|link| Link { name: link.name().to_string_lossy().into_owned(), index: link.index() });
        Ok(links.filter(|link| self.words.iter().any(|word| fits(word, &link.name))).take(MOST).collect())
    }

    /// The words that no interface fits.
    #[must_use]
    pub fn missing(&self, present: &[Link]) -> Vec<&str> {
        let nobody = |word: &&String| !present.iter().any(|link| fits(word, &link.name));
        self.words.iter().filter(nobody).map(String::as_str).collect()
    }
}

/// As it was written.
impl fmt::Display for Interfaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether a name fits a word, in which `*` is any text.
fn fits(word: &str, name: &str) -> bool {
    match word.split_once('*') {
        None => word == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|name| {
            name.char_indices()
                .map(|(at, _)| at)
                .chain([name.len()])
                .any(|at| fits(rest, name.get(at..).unwrap_or_default()))
        }),
    }
}

/// Looks after interfaces that come and go.
#[derive(Debug)]
pub struct Watch {
    events: OwnedFd,
    wanted: Interfaces,
    present: Vec<Link>,
}

/// What has changed since the last look.
#[derive(Debug, PartialEq, Eq)]
pub struct Change {
    /// Those that are there now.
    pub present: Vec<Link>,
    /// Those that were not there before.
    pub new: Vec<Link>,
    /// Words whose interfaces were all removed.
    pub gone: Vec<String>,
}

impl Watch {
    /// Begins to watch; nothing counts as there until the first [`look`](Self::look).
    ///
    /// # Errors
    /// If the kernel does not tell of links.
    pub fn new(wanted: Interfaces) -> io::Result<Self> {
        const LINKS: u32 = 1; // RTMGRP_LINK
        let kind = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let events = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, kind, None)?; // protocol 0: routes and links
        rustix::net::bind(&events, &SocketAddrNetlink::new(0, LINKS))?;
        Ok(Self { events, wanted, present: Vec::new() })
    }

    /// What is watched for.
    #[must_use]
    pub fn wanted(&self) -> &Interfaces {
        &self.wanted
    }

    /// Readable when a link has come, gone or changed.
    #[must_use]
    pub fn events(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }

    /// What has changed; `None` if nothing that matters.
    ///
    /// # Errors
    /// As [`Interfaces::present`].
    pub fn look(&mut self) -> io::Result<Option<Change>> {
        self.drain()?;
        let present = self.wanted.present()?;
        if present == self.present {
            return Ok(None);
        }
        let before = std::mem::replace(&mut self.present, present.clone());
        let stayed: Vec<Link> = before.iter().filter(|link| present.contains(link)).cloned().collect();
        let missing_before = self.wanted.missing(&before);
        let gone = self.wanted.missing(&stayed).into_iter().filter(|word| !missing_before.contains(word));
        let gone = gone.map(str::to_owned).collect();
        let new = present.iter().filter(|link| !before.contains(link)).cloned().collect();
        Ok(Some(Change { present, new, gone }))
    }

    /// Takes all events out of the socket: that there were any is all we need to know.
    fn drain(&self) -> io::Result<()> {
        loop {
            match rustix::net::recv(&self.events, &mut [0; 4096], RecvFlags::DONTWAIT) {
                Ok(_) | Err(Errno::INTR | Errno::NOBUFS) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::namespace::{inside, ip};

    #[test]
    fn names_lists_and_wildcards_are_told_apart() {
        assert_eq!(Interfaces::new("eth0").single(), Some("eth0"));
        for several in ["eth0,wlan0", "eth0 wlan0", "eth*", "any", ""] {
            assert_eq!(Interfaces::new(several).single(), None, "{several}");
        }
        assert!(Interfaces::new("any").is_any() && !Interfaces::new("anyone").is_any());
        let table = [
            ("eth*", "eth12", true),
            ("eth*", "wlan0", false),
            ("*", "lo", true),
            ("w*0", "wlan0", true),
            ("w*0", "wlan01", false),
            ("eth", "eth0", false),
        ];
        for (word, name, yes) in table {
            assert_eq!(fits(word, name), yes, "{word} {name}");
        }
    }

    #[test]
    fn tells_what_came_and_what_went() {
        inside(|| {
            let mut watch = Watch::new(Interfaces::new("va*, lo")).unwrap();
            let first = watch.look().unwrap().unwrap();
            assert_eq!((first.new.len(), first.gone.len(), watch.look().unwrap()), (1, 0, None));
            assert_eq!(watch.wanted().missing(&first.present), ["va*"]);
            ip("link add va1 type veth peer name vb1");
            let change = watch.look().unwrap().unwrap();
            assert_eq!((change.new.len(), change.new[0].name.as_str(), change.gone.len()), (1, "va1", 0));
            ip("link del va1");
            ip("link add va1 type veth peer name vb1");
            let change = watch.look().unwrap().unwrap();
            assert_eq!((change.new.len(), change.gone), (1, vec!["va*".to_owned()]), "made anew");
            ip("link set va1 name other");
            assert_eq!(watch.look().unwrap().unwrap().gone, ["va*"]);
        });
    }
}
