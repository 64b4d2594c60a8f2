//! Values made from the fuzzer's bytes, one after the other: [`Draw`]. When the bytes run out, zeroes follow.

use spa::{
    AllowIp, CipherKey, CipherMode, CommandText, DigestType, HmacKey, Keys, Knock, Nat, NatTarget, Nonce, PortList,
    PortSpec, Protocol, Request, ServerAuth, Timeout, UnixTime,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;

/// The fuzzer's bytes, as far as they have not been used.
pub struct Draw<'d>(pub &'d [u8]);

impl Draw<'_> {
    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    /// The next `N` bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }

    /// A number from `least` to `most`, both at most 255.
    pub fn number(&mut self, least: usize, most: usize) -> usize {
        least + usize::from(self.byte()) % (most - least + 1)
    }

    /// One of these.
    pub fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::from(self.byte()) % all.len()]
    }

    /// As many characters of `alphabet`.
    pub fn text(&mut self, length: usize, alphabet: &[u8]) -> String {
        (0..length).map(|_| char::from(self.one_of(alphabet))).collect()
    }

    /// Bytes without NUL.
    pub fn blob(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.byte().max(1)).collect()
    }

    /// Any keys.
    pub fn keys(&mut self) -> Keys {
        let hmac = match self.number(0, 3) {
            0 => None,
            _ => {
                let (digest, length) = (self.one_of(&DigestType::ALL), self.number(1, HmacKey::LONGEST));
                Some(HmacKey::new(digest, &self.blob(length)).expect("its length is allowed"))
            }
        };
        let length = self.number(1, CipherKey::LONGEST);
        let cipher = CipherKey::new(&self.blob(length)).expect("its length is allowed");
        Keys { cipher, mode: self.one_of(&CipherMode::ALL), hmac }
    }

    /// Any knock.
    pub fn knock(&mut self) -> Knock {
        const NAME: &[u8] = b"abcXYZ019 !#$%&'()-.@^_`{}~";
        let nonce = format!("{:016}", u64::from_le_bytes(self.bytes()) % 10_000_000_000_000_000);
        let nonce: Nonce = nonce.parse().expect("16 digits");
        let length = self.number(1, 48);
        let username = self.text(length, NAME).parse().expect("allowed characters, at most 48");
        let time = UnixTime(u32::from_le_bytes(self.bytes()).into());
        let request = self.request();
        let mut knock = Knock::new(nonce, username, time, request);
        if self.byte() % 4 == 1 {
            let length = self.number(1, 192);
            knock.server_auth = Some(ServerAuth::new(self.blob(length)).expect("no NUL, at most 192"));
        }
        knock
    }

    fn request(&mut self) -> Request {
        let allow = match self.number(0, 3) {
            0 => AllowIp::Source,
            1 => {
                let address = IpAddr::from(Ipv6Addr::from(self.bytes::<16>()));
                address.try_into().unwrap_or(AllowIp::Source) // mapped addresses are not to be had
            }
            _ => IpAddr::from(Ipv4Addr::from(self.bytes::<4>())).try_into().unwrap_or(AllowIp::Source),
        };
        if self.byte() % 4 == 1 {
            let length = self.number(1, 192);
            return Request::Command { allow, command: CommandText::new(self.blob(length)).expect("no NUL") };
        }
        let ports = (0..self.number(1, 12)).map(|_| self.port()).collect();
        let nat = match self.number(0, 2) {
            0 => Nat::None,
            1 => Nat::Forward(self.target()),
            _ => Nat::Local(self.target()),
        };
        let seconds = u32::from(u16::from_le_bytes(self.bytes())) * u32::from(self.byte() % 3); // often too many, or none
        Request::Access {
            allow,
            ports: PortList::new(ports).expect("at least one"),
            nat,
            timeout: Timeout::new(seconds).unwrap_or_default(),
        }
    }

    fn port(&mut self) -> PortSpec {
        let port = NonZeroU16::new(u16::from_le_bytes(self.bytes())).unwrap_or(NonZeroU16::MAX);
        PortSpec { protocol: self.one_of(&[Protocol::Tcp, Protocol::Udp]), port }
    }

    fn target(&mut self) -> NatTarget {
        let length = self.number(1, 70);
        let host = self.text(length, b"abcXYZ019").parse().expect("one label, at most 70");
        NatTarget { host, port: self.port().port }
    }
}
