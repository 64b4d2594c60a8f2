//! Packets that were used up, so that none opens a door twice.
//!
//! A packet is *claimed* after it authenticated and before anything it asks for is done: its digest is written to the
//! digest file first, so that it stays used even if we are killed the next moment. What cannot be written down is not
//! granted, and stays used in memory.
//!
//! The file is the original's (spec `server.md` 10): a header, then one line per packet with seven fields. It is read
//! and written through two descriptors that were opened by somebody with the right to do so; nothing here can create,
//! rename or replace a file.
//!
//! ```text
//! # <digest> <proto> <src_ip> <src_port> <dst_ip> <dst_port> <time>
//! ERHkn3JgB+59DUFEWiBmhiPGbjRMbquTNg8AIlrfYGg 17 10.77.0.2 58810 10.77.0.1 62201 1795332866
//! ```

mod line;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write as _};

use spa::{ReplayDigest, UnixTime};

use crate::arrival::Arrival;

pub use line::{HEADER, Used};

/// Where used packets are remembered.
pub trait ReplayStore {
    /// Where and when this packet was used before, if it was. Changes nothing.
    fn used(&self, digest: &ReplayDigest) -> Option<Used>;

    /// Uses the packet up: in one step, either it was unused and is recorded, or it is refused.
    fn claim(&mut self, digest: ReplayDigest, arrival: &Arrival<'_>, now: UnixTime) -> Result<(), Unclaimed>;
}

/// Why a packet could not be claimed.
#[derive(Debug)]
pub enum Unclaimed {
    /// It was used before.
    Replayed(Used),
    /// It could not be written down; it is used up all the same, and nothing is granted.
    Unrecorded(io::Error),
}

/// The digest file together with what it says, in memory.
pub struct DigestFile {
    reading: BufReader<File>,
    claims: File,
    used: HashMap<ReplayDigest, Used>,
    lines: u64,
    /// The file does not end with a line end: the next line must begin with one.
    torn: bool,
}

/// A line of the digest file that says nothing, and where it stands.
#[derive(Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Counted from 1.
    pub number: u64,
    /// The line, cut to a readable length.
    pub text: String,
}

impl DigestFile {
    /// The file, opened twice: at its beginning for reading, and for appending.
    pub fn new(reading: File, claims: File) -> Self {
        Self { reading: BufReader::new(reading), claims, used: HashMap::new(), lines: 0, torn: false }
    }

    /// Reads on from where reading stopped the last time, to the end of the file. Entries before `floor` are not kept:
    /// their packets are refused for their age. Gives the lines that are no entries.
    pub fn read_on(&mut self, floor: UnixTime) -> io::Result<Vec<BadLine>> {
        let mut bad = Vec::new();
        let mut line = Vec::new();
        loop {
            line.clear();
            if self.reading.read_until(b'\n', &mut line)? == 0 {
                return Ok(bad);
            }
            self.lines += 1;
            self.torn = line.pop_if(|byte| *byte == b'\n').is_none();
            if matches!(line.first(), None | Some(b'#' | b';' | b'\r' | 0)) {
                continue;
            }
            match std::str::from_utf8(&line).ok().and_then(line::parse) {
                Some((digest, used)) if used.time >= floor => {
                    self.used.insert(digest, used);
                }
                Some(_) => {}
                None => bad.push(BadLine {
                    number: self.lines,
                    text: String::from_utf8_lossy(line.get(..200).unwrap_or(&line)).into_owned(),
                }),
            }
        }
    }

    /// How many used packets are remembered.
    pub fn entries(&self) -> usize {
        self.used.len()
    }

    /// Makes the claims survive a crash of the machine as well.
    pub fn sync(&self) -> io::Result<()> {
        self.claims.sync_data()
    }

    fn record(&mut self, digest: &ReplayDigest, used: &Used) -> io::Result<()> {
        let line = format!("{}{}", if self.torn { "\n" } else { "" }, line::Written { digest, used });
        self.torn = true; // until the whole line is there
        self.claims.write_all(line.as_bytes())?;
        self.torn = false;
        Ok(())
    }
}

impl ReplayStore for DigestFile {
    fn used(&self, digest: &ReplayDigest) -> Option<Used> {
        self.used.get(digest).copied()
    }

    fn claim(&mut self, digest: ReplayDigest, arrival: &Arrival<'_>, now: UnixTime) -> Result<(), Unclaimed> {
        if let Some(before) = self.used.get(&digest) {
            return Err(Unclaimed::Replayed(*before));
        }
        let used = Used::by(arrival, now);
        self.used.insert(digest, used);
        self.record(&digest, &used).map_err(Unclaimed::Unrecorded)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, SeekFrom};

    use super::*;
    use crate::arrival::Transport;

    const FLOOR: UnixTime = UnixTime(0);
    const LINE: &str = "ERHkn3JgB+59DUFEWiBmhiPGbjRMbquTNg8AIlrfYGg 17 10.77.0.2 58810 10.77.0.1 62201 1795332866";

    fn file_with(text: &str) -> (tempfile::NamedTempFile, DigestFile) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let reading = File::open(file.path()).unwrap();
        let claims = File::options().append(true).open(file.path()).unwrap();
        (file, DigestFile::new(reading, claims))
    }

    fn arrival() -> Arrival<'static> {
        Arrival {
            source: "10.77.0.2".parse().unwrap(),
            source_port: 58810,
            destination: "10.77.0.1".parse().unwrap(),
            destination_port: 62201,
            transport: Transport::Udp,
            payload: b"",
        }
    }

    fn digest() -> ReplayDigest {
        LINE.split(' ').next().unwrap().parse().unwrap()
    }

    #[test]
    fn what_the_original_remembered_is_a_replay() {
        let (_file, mut store) = file_with(&format!("{HEADER}\n{LINE}\n"));
        assert_eq!(store.read_on(FLOOR).unwrap(), []);
        let again = store.claim(digest(), &arrival(), UnixTime(1_795_332_999));
        assert!(matches!(again, Err(Unclaimed::Replayed(Used { time: UnixTime(1_795_332_866), .. }))));
    }

    #[test]
    fn a_claim_is_written_as_the_original_writes_it_and_a_packet_is_claimed_once() {
        let (file, mut store) = file_with(&format!("{HEADER}\n"));
        store.read_on(FLOOR).unwrap();
        store.claim(digest(), &arrival(), UnixTime(1_795_332_866)).unwrap();
        assert!(store.claim(digest(), &arrival(), UnixTime(1_795_332_867)).is_err());
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), format!("{HEADER}\n{LINE}\n"));
    }

    #[test]
    fn a_line_torn_by_a_crash_spoils_no_other() {
        let (file, mut store) = file_with(&format!("{HEADER}\n{}", &LINE[..20]));
        assert_eq!(store.read_on(FLOOR).unwrap(), [BadLine { number: 2, text: LINE[..20].to_owned() }]);
        store.claim(digest(), &arrival(), UnixTime(1_795_332_866)).unwrap();
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), format!("{HEADER}\n{}\n{LINE}\n", &LINE[..20]));
    }

    #[test]
    fn what_cannot_be_written_is_not_granted_and_stays_used() {
        let (file, _) = file_with("");
        let unwritable = File::open(file.path()).unwrap();
        let mut store = DigestFile::new(File::open(file.path()).unwrap(), unwritable);
        assert!(matches!(store.claim(digest(), &arrival(), FLOOR), Err(Unclaimed::Unrecorded(_))));
        assert!(matches!(store.claim(digest(), &arrival(), FLOOR), Err(Unclaimed::Replayed(_))));
    }

    #[test]
    fn a_successor_reads_only_the_tail() {
        let (mut file, mut store) = file_with(&format!("{HEADER}\n"));
        store.read_on(FLOOR).unwrap();
        file.seek(SeekFrom::End(0)).unwrap();
        writeln!(file, "{LINE}\nnonsense").unwrap();
        assert_eq!(store.read_on(FLOOR).unwrap(), [BadLine { number: 3, text: "nonsense".to_owned() }]);
        assert!(store.used(&digest()).is_some());
    }

    #[test]
    fn packets_too_old_to_be_accepted_take_no_room() {
        let (_file, mut store) = file_with(&format!("{HEADER}\n{LINE}\n"));
        store.read_on(UnixTime(1_795_332_867)).unwrap();
        assert_eq!(store.entries(), 0);
    }
}
