//! How many lines strangers may write into our log.
//!
//! Anyone can send packets that no stanza opens, and each of them is worth a line to the person who looks for the reason.
//! A flood of them is not. So each source may write [`FLOOR`] lines a minute whatever happens, and more while all of
//! them together stay below [`TOTAL`]; what is left out is counted exactly and told when the minute is over.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

/// Lines a minute that each source may always write.
pub const FLOOR: u64 = 20;
/// Lines a minute that all sources together may write beyond their floor.
pub const TOTAL: u64 = 600;
/// Sources whose lines are counted one by one within one minute; the rest share one count and write nothing.
pub const SOURCES: usize = 1024;

const MINUTE: Duration = Duration::from_secs(60);

/// Decides, line by line, what is written of what strangers cause.
#[derive(Debug, Default)]
pub struct Throttle {
    minute_ends: Duration,
    written: u64,
    sources: HashMap<IpAddr, Share>,
    crowd_left_out: u64,
    /// Something was left out, of whomever.
    owes: bool,
}

#[derive(Debug, Default)]
struct Share {
    written: u64,
    left_out: u64,
}

/// What one minute left out.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Sources with the number of their lines that were left out, most first.
    pub sources: Vec<(IpAddr, u64)>,
    /// Lines left out of sources beyond the `SOURCES` that are counted one by one.
    pub crowd: u64,
}

impl Throttle {
    /// Whether a line that `source` caused is written now; if not, it is counted.
    pub fn admit(&mut self, source: IpAddr, since_boot: Duration) -> bool {
        if self.sources.is_empty() {
            self.minute_ends = since_boot + MINUTE;
        }
        if self.is_spent(source) {
            self.leave_out(source, 1);
            return false;
        }
        self.sources.entry(source).or_default().written += 1;
        self.written += 1;
        true
    }

    /// Whether no line that `source` causes would be written in this minute any more.
    pub fn is_spent(&self, source: IpAddr) -> bool {
        match self.sources.get(&source) {
            Some(share) => share.written >= FLOOR && self.written >= TOTAL || share.written >= FLOOR * 3,
            None => self.sources.len() >= SOURCES,
        }
    }

    /// Counts lines that `source` caused and that were not even made.
    pub fn leave_out(&mut self, source: IpAddr, lines: u64) {
        self.owes = true;
        match self.sources.get_mut(&source) {
            Some(share) => share.left_out += lines,
            None => self.crowd_left_out += lines,
        }
    }

    /// When the minute ends in which lines were left out; `None` while nothing was.
    pub fn owes_at(&self) -> Option<Duration> {
        self.owes.then_some(self.minute_ends)
    }

    /// Begins a new minute if the last one is over, and says what that one left out.
    pub fn turn(&mut self, since_boot: Duration) -> Option<Tally> {
        if self.sources.is_empty() || since_boot < self.minute_ends {
            return None;
        }
        let last = std::mem::take(self);
        let mut sources: Vec<_> = last
            .sources
            .into_iter()
            .filter(|(_, share)| share.left_out > 0)
            .map(|(source, share)| (source, share.left_out))
            .collect();
        sources.sort_by_key(|(source, left_out)| (std::cmp::Reverse(*left_out), *source));
        let tally = Tally { sources, crowd: last.crowd_left_out };
        (tally != Tally::default()).then_some(tally)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn a_flood_from_one_source_is_counted_to_the_last_line() {
        let mut throttle = Throttle::default();
        let start = Duration::from_secs(100);
        let written = (0..10_000).filter(|_| throttle.admit(A, start)).count() as u64;
        assert_eq!(written, FLOOR * 3);
        assert_eq!(throttle.owes_at(), Some(start + MINUTE));
        assert_eq!(throttle.turn(start + MINUTE / 2), None, "the minute is not over");
        assert_eq!(throttle.turn(start + MINUTE), Some(Tally { sources: vec![(A, 10_000 - written)], crowd: 0 }));
        assert!(throttle.admit(A, start + MINUTE), "a new minute, a new share");
    }

    #[test]
    fn many_liars_do_not_silence_a_source_nor_grow_the_table() {
        let mut throttle = Throttle::default();
        let now = Duration::ZERO;
        for liar in 0..u32::try_from(SOURCES).unwrap() - 1 {
            let liar = IpAddr::from((0x0a00_0000 + liar).to_be_bytes());
            for _ in 0..FLOOR {
                throttle.admit(liar, now);
            }
        }
        assert_eq!((0..100).filter(|_| throttle.admit(A, now)).count() as u64, FLOOR, "the floor holds");
        for late in 0..50u32 {
            assert!(!throttle.admit(IpAddr::from((0x0b00_0000 + late).to_be_bytes()), now));
        }
        assert_eq!(throttle.turn(MINUTE), Some(Tally { sources: vec![(A, 80)], crowd: 50 }));
    }
}
