//! An assembler for the kernel's packet filter language (classic BPF), just large enough for our own filters.
//!
//! A program has an accumulator and one index register, jumps forward only, and ends by saying how many bytes of the packet
//! to keep; none means: drop it. Jumps here name [`Label`]s, and [`Assembler::finish`] turns them into distances.
//!
//! ```
//! use fwknopd::capture::bpf::{Assembler, Size, Test};
//!
//! let mut program = Assembler::default(); // keep what is for port 53 (a UDP header stands at the index)
//! let reject = program.label();
//! program.load_indexed(Size::Half, 2);
//! program.unless(Test::Equal(53), reject);
//! program.keep(2048);
//! program.place(reject);
//! program.keep(0);
//! assert_eq!(program.finish().unwrap().len(), 4);
//! ```
//!
//! It does not know any protocol; [`shape`](super::shape) does.

use std::fmt;

use thiserror::Error;

#[cfg(test)]
pub(crate) mod interpreter;

/// One instruction as the kernel takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What to do.
    pub code: u16,
    /// How many instructions to skip if the test holds.
    pub jt: u8,
    /// How many to skip if it does not.
    pub jf: u8,
    /// The constant of the instruction.
    pub k: u32,
}

impl fmt::Display for Instruction {
    /// The notation of `tcpdump -ddd`: four decimal numbers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {}", self.code, self.jt, self.jf, self.k)
    }
}

/// How much to load: network byte order, zero extended.
#[derive(Clone, Copy, Debug)]
pub enum Size {
    /// Four bytes.
    Word,
    /// Two bytes.
    Half,
    /// One byte.
    Byte,
}

/// A question about the accumulator.
#[derive(Clone, Copy, Debug)]
pub enum Test {
    /// Is it this number?
    Equal(u32),
    /// Is it larger?
    Greater(u32),
    /// Is it as large, or larger?
    AtLeast(u32),
    /// Is one of these bits set?
    AnyBit(u32),
}

/// What the kernel knows about a packet besides its bytes.
#[derive(Clone, Copy, Debug)]
pub enum Ancillary {
    /// The EtherType after all tags that the network card or the kernel has taken off.
    Protocol,
    /// The number of the interface it came through.
    Interface,
    /// For whom it is; 4 is a packet on its way out ([`OUTGOING`]).
    PacketType,
}

/// The [`Ancillary::PacketType`] of a packet that leaves this machine.
pub const OUTGOING: u32 = 4;

/// The opcode of "return a constant": how many bytes to keep.
pub const RETURN: u16 = 0x06;

/// A place in a program that is not known yet.
#[derive(Clone, Copy, Debug)]
pub struct Label(usize);

/// A jump longer than the language has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a jump in the packet filter is too long or goes nowhere")]
pub struct BadJump;

#[derive(Clone, Copy, Debug)]
enum Line {
    Plain { code: u16, k: u32 },
    Jump { test: Test, yes: Option<Label>, no: Option<Label> },
    Go(Label),
}

/// A program that is being written.
#[derive(Debug, Default)]
pub struct Assembler {
    lines: Vec<Line>,
    places: Vec<Option<usize>>,
}

impl Assembler {
    /// A label that can be jumped to before it is [placed](Self::place).
    pub fn label(&mut self) -> Label {
        self.places.push(None);
        Label(self.places.len() - 1)
    }

    /// Says that the next instruction is where `label` leads.
    pub fn place(&mut self, label: Label) {
        if let Some(place) = self.places.get_mut(label.0) {
            *place = Some(self.lines.len());
        }
    }

    /// Loads from a fixed place of the packet.
    pub fn load(&mut self, size: Size, at: u32) {
        self.plain(0x20 | size.code(), at);
    }

    /// Loads from a place counted from the index register.
    pub fn load_indexed(&mut self, size: Size, at: u32) {
        self.plain(0x40 | size.code(), at);
    }

    /// Loads the length of the packet.
    pub fn load_length(&mut self) {
        self.plain(0x80, 0);
    }

    /// Loads something the kernel knows.
    pub fn load_ancillary(&mut self, what: Ancillary) {
        const BASE: u32 = 0xffff_f000;
        let offset = match what {
            Ancillary::Protocol => 0,
            Ancillary::PacketType => 4,
            Ancillary::Interface => 8,
        };
        self.plain(0x20, BASE + offset);
    }

    /// Sets the index register to a constant.
    pub fn index(&mut self, to: u32) {
        self.plain(0x01, to);
    }

    /// Sets the index register to the length of the IPv4 header that begins at `at`.
    pub fn index_ipv4_header(&mut self, at: u32) {
        self.plain(0xb1, at);
    }

    /// Subtracts the index register.
    pub fn subtract_index(&mut self) {
        self.plain(0x1c, 0);
    }

    /// Sets bits.
    pub fn or(&mut self, bits: u32) {
        self.plain(0x44, bits);
    }

    /// Goes to `label` if the test holds, on to the next instruction if not.
    pub fn when(&mut self, test: Test, label: Label) {
        self.lines.push(Line::Jump { test, yes: Some(label), no: None });
    }

    /// Goes on to the next instruction if the test holds, to `label` if not.
    pub fn unless(&mut self, test: Test, label: Label) {
        self.lines.push(Line::Jump { test, yes: None, no: Some(label) });
    }

    /// Goes to one label or the other.
    pub fn choose(&mut self, test: Test, yes: Label, no: Label) {
        self.lines.push(Line::Jump { test, yes: Some(yes), no: Some(no) });
    }

    /// Goes to `label` in any case.
    pub fn go(&mut self, label: Label) {
        self.lines.push(Line::Go(label));
    }

    /// Ends: this many bytes are kept; 0 drops the packet.
    pub fn keep(&mut self, bytes: u32) {
        self.plain(RETURN, bytes);
    }

    /// The program.
    ///
    /// # Errors
    /// If a jump would be longer than 255 instructions, go backwards, or its label was never placed.
    pub fn finish(self) -> Result<Vec<Instruction>, BadJump> {
        let distance = |from: usize, to: Option<Label>| match to {
            None => Ok(0),
            Some(Label(label)) => {
                let place = self.places.get(label).copied().flatten().ok_or(BadJump)?;
                let skipped = place.checked_sub(from + 1).ok_or(BadJump)?;
                u8::try_from(skipped).map_err(|_| BadJump)
            }
        };
        let instruction = |(at, line): (usize, &Line)| match *line {
            Line::Plain { code, k } => Ok(Instruction { code, jt: 0, jf: 0, k }),
            Line::Jump { test, yes, no } => {
                let (code, k) = test.code();
                Ok(Instruction { code, jt: distance(at, yes)?, jf: distance(at, no)?, k })
            }
            Line::Go(label) => Ok(Instruction { code: 0x05, jt: 0, jf: 0, k: distance(at, Some(label))?.into() }),
        };
        self.lines.iter().enumerate().map(instruction).collect()
    }

    fn plain(&mut self, code: u16, k: u32) {
        self.lines.push(Line::Plain { code, k });
    }
}

impl Size {
    const fn code(self) -> u16 {
        match self {
            Self::Word => 0x00,
            Self::Half => 0x08,
            Self::Byte => 0x10,
        }
    }
}

impl Test {
    const fn code(self) -> (u16, u32) {
        match self {
            Self::Equal(k) => (0x15, k),
            Self::Greater(k) => (0x25, k),
            Self::AtLeast(k) => (0x35, k),
            Self::AnyBit(k) => (0x45, k),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_labels_into_distances() {
        let mut program = Assembler::default();
        let (yes, no) = (program.label(), program.label());
        program.load(Size::Byte, 9);
        program.choose(Test::Equal(17), yes, no);
        program.place(no);
        program.keep(0);
        program.place(yes);
        program.keep(96);
        let text: Vec<_> = program.finish().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(text, ["48 0 0 9", "21 1 0 17", "6 0 0 0", "6 0 0 96"]);
    }

    #[test]
    fn refuses_jumps_the_language_does_not_have() {
        let mut backwards = Assembler::default();
        let label = backwards.label();
        backwards.place(label);
        backwards.when(Test::Equal(0), label);
        assert_eq!(backwards.finish(), Err(BadJump));

        let mut nowhere = Assembler::default();
        let label = nowhere.label();
        nowhere.when(Test::Equal(0), label);
        assert_eq!(nowhere.finish(), Err(BadJump));

        let mut far = Assembler::default();
        let label = far.label();
        far.when(Test::Equal(0), label);
        (0..256).for_each(|_| far.keep(0));
        far.place(label);
        far.keep(1);
        assert_eq!(far.finish(), Err(BadJump));
    }
}
