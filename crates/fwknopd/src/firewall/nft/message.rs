//! Netlink messages as bytes: written one after the other, read back as values.
//!
//! ```text
//! message    length 4 │ kind 2 │ flags 2 │ sequence 4 │ port 4 │ family 1 │ version 1 │ resource 2 │ attributes
//! attribute  length 2 │ kind 2 │ value, padded to 4            (numbers in values are big endian)
//! ```
//!
//! Not here: what the messages mean to nftables, and the socket. Foreign bytes never make this panic:
//! what does not fit ends the reading.

/// Bits of a message's flags.
pub mod flag {
    /// Every question has it.
    pub const REQUEST: u16 = 0x1;
    /// Wants an answer even if all is well.
    pub const ACK: u16 = 0x4;
    /// Wants everything there is.
    pub const DUMP: u16 = 0x300;
    /// The ruleset changed while it was told.
    pub const DUMP_INTERRUPTED: u16 = 0x10;
    /// Makes what is not there.
    pub const CREATE: u16 = 0x400;
    /// Fails if it is there already.
    pub const EXCLUSIVE: u16 = 0x200;
    /// Puts it behind the others; without it, a rule comes first.
    pub const APPEND: u16 = 0x800;
}

const HEADER: usize = 16;
const FAMILY_HEADER: usize = 4;
const NESTED: u16 = 0x8000;
const KIND: u16 = 0x3fff;

/// Attributes in the making.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes(Vec<u8>);

impl Attributes {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes as they are.
    pub fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX); // our values are a few bytes long
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// Adds a text with its final NUL.
    pub fn text(self, kind: u16, value: &str) -> Self {
        self.bytes(kind, &[value.as_bytes(), &[0]].concat())
    }

    /// Adds a number of 32 bits.
    pub fn u32(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// Adds a number of 64 bits.
    pub fn u64(self, kind: u16, value: u64) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// Adds attributes as one attribute.
    pub fn nest(self, kind: u16, inner: &Self) -> Self {
        self.bytes(kind | NESTED, &inner.0)
    }

    /// What was added.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// One message to the kernel.
pub fn write(into: &mut Vec<u8>, kind: u16, flags: u16, sequence: u32, head: [u8; 4], body: &[u8]) {
    let length = u32::try_from(HEADER + FAMILY_HEADER + body.len()).unwrap_or(u32::MAX);
    into.extend(length.to_ne_bytes());
    into.extend(kind.to_ne_bytes());
    into.extend(flags.to_ne_bytes());
    into.extend(sequence.to_ne_bytes());
    into.extend([0; 4]); // the port: the kernel knows who we are
    into.extend(head);
    into.extend(body);
    into.resize(into.len().next_multiple_of(4), 0);
}

/// One message from the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'m> {
    /// What it is.
    pub kind: u16,
    /// Its flags.
    pub flags: u16,
    /// The sequence number of what it answers.
    pub sequence: u32,
    /// The socket whose request caused it.
    pub port: u32,
    /// What follows the header.
    pub body: &'m [u8],
}

impl<'m> Message<'m> {
    /// The family in the header of nftables messages.
    pub fn family(&self) -> u8 {
        self.body.first().copied().unwrap_or_default()
    }

    /// The attributes of nftables messages.
    pub fn attributes(&self) -> Fields<'m> {
        Fields(self.body.get(FAMILY_HEADER..).unwrap_or_default())
    }
}

/// The messages in one datagram.
#[derive(Clone, Debug)]
pub struct Messages<'m>(pub &'m [u8]);

impl<'m> Iterator for Messages<'m> {
    type Item = Message<'m>;

    fn next(&mut self) -> Option<Message<'m>> {
        let length = usize::try_from(u32_at(self.0, 0)?).ok()?;
        let whole = self.0.get(..length)?;
        let message = Message {
            kind: u16_at(whole, 4)?,
            flags: u16_at(whole, 6)?,
            sequence: u32_at(whole, 8)?,
            port: u32_at(whole, 12)?,
            body: whole.get(HEADER..)?,
        };
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    }
}

/// Attributes as they were sent: an iterator, and look-ups by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields<'m>(pub &'m [u8]);

impl<'m> Iterator for Fields<'m> {
    type Item = (u16, &'m [u8]);

    fn next(&mut self) -> Option<(u16, &'m [u8])> {
        let length = usize::from(u16_at(self.0, 0)?);
        let kind = u16_at(self.0, 2)? & KIND;
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

impl<'m> Fields<'m> {
    /// The bytes of the first attribute of this kind.
    pub fn get(mut self, kind: u16) -> Option<&'m [u8]> {
        self.find(|(found, _)| *found == kind).map(|(_, value)| value)
    }

    /// A text.
    pub fn text(self, kind: u16) -> Option<&'m str> {
        let value = self.get(kind)?;
        std::str::from_utf8(value.split(|byte| *byte == 0).next()?).ok()
    }

    /// A number of 32 bits.
    pub fn u32(self, kind: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(kind)?.try_into().ok()?))
    }

    /// A number of 64 bits.
    pub fn u64(self, kind: u16) -> Option<u64> {
        Some(u64::from_be_bytes(self.get(kind)?.try_into().ok()?))
    }

    /// The attributes inside an attribute; none if it is not there.
    pub fn inside(self, kind: u16) -> Fields<'m> {
        Fields(self.get(kind).unwrap_or_default())
    }
}

/// A number of the header, which is in the order of this machine.
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let inner = Attributes::new().u64(4, 30_000).bytes(9, &[1, 2, 3]);
        let body = Attributes::new().text(1, "filter").nest(3, &inner).u32(5, 12);
        let mut bytes = Vec::new();
        write(&mut bytes, 0xa0c, flag::REQUEST, 7, [1, 0, 0, 0], body.as_bytes());
        write(&mut bytes, 3, 0, 8, [0; 4], &[]);
        let messages: Vec<Message<'_>> = Messages(&bytes).collect();
        let [first, second] = messages.as_slice() else { panic!("{messages:?}") };
        assert_eq!((first.kind, first.flags, first.sequence, first.family()), (0xa0c, 1, 7, 1));
        assert_eq!(first.attributes().text(1), Some("filter"));
        assert_eq!(first.attributes().inside(3).u64(4), Some(30_000));
        assert_eq!(first.attributes().inside(3).get(9), Some(&[1, 2, 3][..]));
        assert_eq!(first.attributes().u32(5), Some(12));
        assert_eq!((second.kind, second.sequence), (3, 8));
    }

    #[test]
    fn pads_each_attribute_to_four_bytes() {
        let bytes = Attributes::new().text(1, "ab").bytes(2, &[9]).0;
        assert_eq!(bytes.len(), 16);
        assert_eq!(bytes[..8], [7, 0, 1, 0, b'a', b'b', 0, 0].map(|byte: u8| byte), "on little endian machines");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_to_an_end(bytes: Vec<u8>) {
            let attributes = |message: Message<'_>| message.attributes().count();
            proptest::prop_assert!(Messages(&bytes).map(attributes).sum::<usize>() <= bytes.len());
        }
    }

    #[test]
    fn cut_or_lying_lengths_end_the_reading() {
        let mut bytes = Vec::new();
        write(&mut bytes, 1, 0, 0, [0; 4], Attributes::new().u32(1, 1).as_bytes());
        for end in 0..bytes.len() {
            assert_eq!(Messages(&bytes[..end]).count(), 0, "{end}");
        }
        assert_eq!(Messages(&[0; 64]).count(), 0, "a length of nothing");
        assert_eq!(Fields(&[3, 0, 1, 0]).count(), 0, "shorter than its header");
        assert_eq!(Fields(&[200, 0, 1, 0, 1]).count(), 0, "longer than what is there");
    }
}
